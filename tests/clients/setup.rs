//! The programs, each made once from its directory here. All of them are below cargo's target directory, so that
//! `cargo clean` takes them along, and are made again when what describes them changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What to do where a tool is missing; the rest of the tests need none of them.
const NEEDS: &str = "the tests of real clients need Python 3.10 with venv, Go 1.25, Node.js 20 with npm, Java 17 with \
                     Maven, and curl, or newer ones (`make test-rust` runs what needs only Rust)";

/// The interpreter of a virtual environment with the SDK for Python.
pub(crate) fn python() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = Room::enter("python");
        let interpreter = room.path("venv/bin/python");
        room.once(&["requirements.txt"], || {
            remove(&room.path("venv"));
            run(Command::new("python3").args(["-m", "venv"]).arg(room.path("venv")));
            run(Command::new(&interpreter)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--require-hashes", "--requirement"])
                .arg(room.source("requirements.txt")));
        });
        interpreter
    })
}

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

/// The directory whose `node_modules` are the SDK for Node.js, with the sender in it.
pub(crate) fn node() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = Room::enter("node");
        room.once(&["package.json", "package-lock.json"], || {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(room.source(file), room.path(file)).expect("the target directory can be written");
            }
            run(Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
                .current_dir(&room.directory));
        });
        room.directory.clone()
    })
}

/// The directory with the SDK for Java, one `.jar` beside the other.
pub(crate) fn java() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = Room::enter("java");
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

/// The directory of a program here.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Builds a program in Go. Go itself knows what has changed.
fn go_build(name: &'static str, program: &str) -> PathBuf {
    let room = Room::enter(name);
    let built = room.path(program);
    run(Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&built)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .current_dir(source(name)));
    built
}

/// Where a program is made. One process at a time is in it.
struct Room {
    name: &'static str,
    directory: PathBuf,
    _lock: File,
}

impl Room {
    fn enter(name: &'static str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let lock = File::create(directory.join(".lock")).expect("the target directory can be written");
        lock.lock().expect("files can be locked");
        Self { name, directory, _lock: lock }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn source(&self, name: &str) -> PathBuf {
        source(self.name).join(name)
    }

    /// Calls `make`, unless it has been called to its end with these files as they are now.
    fn once(&self, files: &[&str], make: impl FnOnce()) {
        let now: Vec<u8> = files
            .iter()
            .flat_map(|file| fs::read(self.source(file)).expect("the sources are here"))
            .collect();
        let stamp = self.path(".made-from");
        if fs::read(&stamp).is_ok_and(|then| then == now) {
            return;
        }
        remove(&stamp);
        make();
        fs::write(&stamp, now).expect("the target directory can be written");
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", path.display());
    }
}

/// Runs a command that has to succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("can't start {}: {error}. {NEEDS}", command.get_program().display());
    });
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}{}\n{NEEDS}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
