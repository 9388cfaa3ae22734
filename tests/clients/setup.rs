//! The programs in Go and Java, each made once from its directory here. All of them are below cargo's target directory, so that
//! `cargo clean` takes them along, and are made again when what describes them changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::install::{self, InstallDirectory, remove};
use crate::support::sdks::source;

/// What to do where a tool is missing; the rest of the tests need none of them.
const NEEDS: &str = "the tests of real clients need Python 3.10 with venv, Go 1.25, Node.js 20 with npm, Java 17 with \
                     Maven, and curl, or newer ones (`make test-rust` runs what needs only Rust)";

/// The sender in Go.
pub(crate) fn go() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| go_build("go", "client"))
}

/// The Collector.
pub(crate) fn collector() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| go_build("collector", "collector"))
}

/// The directory with the SDK for Java, one `.jar` beside the other.
pub(crate) fn java() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = directory("java");
        let jars = room.path("jars");
        room.once(&["pom.xml"], || {
            remove(&jars);
            run(Command::new("mvn")
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(room.source("pom.xml"))
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", jars.display())));
        });
        jars
    })
}

/// Where a program is made.
fn directory(name: &'static str) -> InstallDirectory {
    InstallDirectory::enter("clients", name, source(name))
}

/// Runs a command that has to succeed.
fn run(command: &mut Command) {
    install::run(command, NEEDS);
}

/// Builds a program in Go. Go itself knows what has changed.
fn go_build(name: &'static str, program: &str) -> PathBuf {
    let room = directory(name);
    let built = room.path(program);
    run(Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&built)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .current_dir(source(name)));
    built
}
