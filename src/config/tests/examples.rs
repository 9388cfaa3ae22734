//! The files in `config/`.

use super::*;
use crate::config::{EMBEDDED, Source};

fn env(name: &str) -> Option<String> {
    matches!(name, "S2_BASIN" | "S2_ACCESS_TOKEN" | "ACME_TOKEN" | "GLOBEX_TOKEN" | "BETTER_STACK_TOKEN")
        .then(|| "my-value".to_owned())
}

fn examples() -> Vec<std::path::PathBuf> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_example_loads() {
    let examples = examples();
    assert!(examples.len() >= 6);
    for file in examples {
        if let Err(problems) = crate::config::load(&Source::File(file), &env) {
            panic!("{problems}");
        }
    }
}

#[test]
fn the_embedded_default_has_no_problem() {
    let compiled = good(EMBEDDED);
    assert_eq!(compiled.warnings, []);
    assert_eq!(compiled.listeners[0].endpoint, "127.0.0.1:4318".parse().unwrap());
    assert_eq!(compiled.admin, Some("127.0.0.1:8888".parse().unwrap()));
    let names: Vec<&str> = compiled.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["s2", "highlight", "service"]);
}

#[test]
fn a_collectors_blocks_give_warnings_that_say_why_and_no_error() {
    let file = examples().into_iter().find(|file| file.ends_with("collector-paste.yaml")).unwrap();
    let compiled = crate::config::load(&Source::File(file), &env).unwrap();
    let keys: Vec<&str> = compiled
        .warnings
        .iter()
        .filter_map(|problem| problem.message.split_once(" has no effect: ").map(|(key, _)| key))
        .collect();
    assert_eq!(
        keys,
        [
            "`include_metadata`",
            "the processor `batch`",
            "`read_buffer_size`",
            "`reload_interval`",
            "`keepalive`",
            "`sampling_initial`",
            "`service`"
        ]
    );
}

#[test]
fn the_source_is_chosen_in_the_documented_order() {
    let named = |name: &str| (name == "SLUICE_CONFIG").then(|| "/etc/sluice.yaml".to_owned());
    assert_eq!(Source::choose(Some("a.yaml".into()), &named), Source::File("a.yaml".into()));
    assert_eq!(Source::choose(None, &named), Source::File("/etc/sluice.yaml".into()));
    // Tests run in the directory of the crate, where the default file is.
    assert_eq!(Source::choose(None, &|_| None), Source::File("./config/sluice.yaml".into()));
}
