//! The tools, and how they are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::blocks::{CodeBlock, blocks, pages};

/// What to do where a tool is missing; the rest of the tests need none of them.
const NEEDS: &str = "the tests of `deploy/` need Debian or Ubuntu with systemd-analyze, Go 1.25 and Python 3.10 with venv, or newer \
                     (`make test-rust` runs what needs only Rust)";

/// The blocks of code of this kind in the documents.
pub(crate) fn shown(language: &str, word: &str) -> Vec<CodeBlock> {
    let all = pages().into_iter().flat_map(|page| blocks(&page));
    all.filter(|block| block.language == language && block.word.as_deref() == Some(word)).collect()
}

/// A file or directory of the repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where `deploy/tool` installs tools for the tests.
pub(crate) fn tools_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools")
}

/// Where a tool of `deploy/tool` is, installed if it was not.
pub(crate) fn tool(name: &str) -> PathBuf {
    let mut command = Command::new(root("deploy/tool"));
    PathBuf::from(run(command.arg(name).env("SLUICE_TOOLS", tools_directory())).trim_end())
}

/// Runs a command that has to succeed, and returns what it prints.
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}:\n{printed}{said}\n{NEEDS}", output.status);
    printed
}

/// Runs a command to its end, whatever that is.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("can't start {}: {error}. {NEEDS}", command.get_program().display());
    })
}
