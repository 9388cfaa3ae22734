//! Whole configurations: what they compile to, and every mistake's text.

use super::{Compiled, Problems, Surroundings, read, substitute::Files};

/// What the tests take for the machine's memory.
const MEMORY: u64 = 8 << 30;

fn load_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Compiled, Problems> {
    read(text, "config.yaml", Files::default(), &Surroundings { env, memory: Some(MEMORY) })
}

fn load(text: &str) -> Result<Compiled, Problems> {
    load_with(text, &|_| None)
}

/// The problems of a configuration as people see them; the warnings if it has no errors.
fn problems(text: &str) -> String {
    match load(text) {
        Ok(compiled) => compiled.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(problems) => problems.to_string(),
    }
}
