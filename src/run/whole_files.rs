//! Atomic writes of the files of rows and of operators' holds: each file is there whole or not at all, also after a power cut.
//!
//! A file is written under a temporary name that is no name of a row. A process that is killed leaves the temporary file, which is never
//! read.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tracing::warn;

use super::watched_directories::directory_of;
use crate::regular;
use crate::rename::rename_to_new;

/// The mode of new files: a row may hold secrets, so that a file is for this user alone unless its mode was changed.
const MODE: u32 = 0o600;

/// Writes a new file. If there is a file of its name, the error is `AlreadyExists`. Blocks.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    put(path, text, Permissions::from_mode(MODE), |temporary| rename_to_new(temporary, path))
}

/// Replaces a file, if its content is `before`. Returns whether it was. Blocks.
pub(super) fn replace(path: &Path, before: &str, text: &str) -> io::Result<bool> {
    let mut is_same = false;
    let permissions = fs::metadata(path)?.permissions();
    put(path, text, permissions, |temporary| {
        is_same = regular::read(path, before.len() as u64).is_ok_and(|now| now == before.as_bytes());
        if is_same { fs::rename(temporary, path) } else { fs::remove_file(temporary) }
    })?;
    Ok(is_same)
}

/// Writes a file, and replaces one that may be there. Blocks.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    put(path, text, Permissions::from_mode(MODE), |temporary| fs::rename(temporary, path))
}

/// Removes a file. Blocks.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync(path);
    Ok(())
}

/// Writes a text to a temporary file, which `place` then moves to its place.
fn put(
    path: &Path,
    text: &str,
    permissions: Permissions,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:016x}.tmp", rand::random::<u64>()));
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
    let put = fill(file, text, permissions).and_then(|()| place(&temporary));
    if put.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    put?;
    sync(path);
    Ok(())
}

fn fill(mut file: File, text: &str, permissions: Permissions) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.set_permissions(permissions)?;
    file.sync_all()
}

/// Syncs the directory of `path`. The change is made and in use, whether that succeeds or not.
fn sync(path: &Path) {
    if let Err(error) = File::open(directory_of(path)).and_then(|directory| directory.sync_all()) {
        warn!("`{}` is changed, which a power cut may undo: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_for_this_user_alone_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.yaml");
        create(&path, "id: acme\n").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap(), mode(&path)), ("id: acme\n".to_owned(), 0o600));
        assert_eq!(create(&path, "other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "id: acme\n");
        assert_eq!(names(directory.path()), ["acme.yaml"], "nothing is left of what was not written");
        remove(&path).unwrap();
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_file_that_somebody_has_changed_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.yaml");
        fs::write(&path, "by hand").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        for before in ["by han", "by hand!", "by hane"] {
            assert!(!replace(&path, before, "by API").unwrap(), "{before}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "by hand");
        }
        assert!(replace(&path, "by hand", "by API").unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap(), mode(&path)), ("by API".to_owned(), 0o640));
        assert_eq!(names(directory.path()), ["acme.yaml"]);
    }
}
