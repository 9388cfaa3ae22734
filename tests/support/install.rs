//! What tests install from registries, below cargo's target directory: `cargo clean` takes it along, and it is made again when
//! what describes it changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory in which something is installed. One process at a time is in it.
pub struct InstallDirectory {
    /// Where that stands which says what is installed.
    source: PathBuf,
    directory: PathBuf,
    _lock: File,
}

impl InstallDirectory {
    /// The directory of this name among those of `group`, once nobody else is in it.
    pub fn enter(group: &str, name: &str, source: PathBuf) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(group).join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let lock = File::create(directory.join(".lock")).expect("the target directory can be written");
        lock.lock().expect("files can be locked");
        Self { source, directory, _lock: lock }
    }

    /// The path of something in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of something beside what says what is installed.
    pub fn source(&self, name: &str) -> PathBuf {
        self.source.join(name)
    }

    /// Calls `make`, unless it has been called to its end with these files as they are now.
    pub fn once(&self, files: &[&str], make: impl FnOnce()) {
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

    /// Installs what `package-lock.json` pins, and runs none of its scripts.
    pub fn npm_ci(&self, needs: &str) {
        let files = ["package.json", "package-lock.json"];
        self.once(&files, || {
            for file in files {
                fs::copy(self.source(file), self.path(file)).expect("the target directory can be written");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&self.directory);
            run(&mut npm, needs);
        });
    }
}

/// Removes a file, or a directory with all that is in it, if it is there.
pub fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", path.display());
    }
}

/// Runs a command that has to succeed; `needs` says what it takes.
pub fn run(command: &mut Command, needs: &str) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("can't start {}: {error}. {needs}", command.get_program().display());
    });
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}{}\n{needs}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
