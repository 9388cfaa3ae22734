//! OpenTelemetry's SDKs for Python and Node.js, each set up once from its registry with pinned versions, and the programs of
//! `tests/clients` that send with them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::process::Command;

use super::install::{self, InstallDirectory, remove};

/// What to do where a tool is missing.
const NEEDS: &str = "the tests with real SDKs need Python 3.10 with venv, and Node.js 20 with npm, or newer ones (`make test-rust` runs \
                     what needs only Rust)";

/// The directory of a program and of what says what it needs.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A program that sends with the SDK for Python.
pub fn python(script: &str) -> Command {
    cleared(program(interpreter(), &[script], "python"))
}

/// The same with the SDK for Node.js.
pub fn node(script: &str) -> Command {
    let mut command = cleared(program("node".as_ref(), &[script], "node"));
    command.env("NODE_PATH", modules());
    command
}

/// A program that runs beside its source.
pub fn program(program: &Path, args: &[&str], directory: &str) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(source(directory));
    command
}

/// With nothing in its environment but what it is told: no `OTEL_` variables, no proxy.
pub fn cleared(mut command: Command) -> Command {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// The interpreter of a virtual environment with the SDK.
fn interpreter() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = InstallDirectory::enter("clients", "python", source("python"));
        let interpreter = room.path("venv/bin/python");
        let run = |command: &mut std::process::Command| install::run(command, NEEDS);
        room.once(&["requirements.txt"], || {
            remove(&room.path("venv"));
            run(std::process::Command::new("python3").args(["-m", "venv"]).arg(room.path("venv")));
            run(std::process::Command::new(&interpreter)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--require-hashes", "--requirement"])
                .arg(room.source("requirements.txt")));
        });
        interpreter
    })
}

/// The directory of the modules that are the SDK for Node.js.
fn modules() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = InstallDirectory::enter("clients", "node", source("node"));
        room.npm_ci(NEEDS);
        room.path("node_modules")
    })
}
