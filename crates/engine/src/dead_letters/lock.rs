//! The lock of a directory of dead letters: one walk that replays or deletes letters has it at a time, in whatever process.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Held while letters are replayed or deleted, so that no other walk sends the same ones meanwhile. New letters are stored all the
/// same. A process that ends releases it.
#[derive(Debug)]
pub struct DeadLettersLock {
    /// The directory itself, which has the lock, so that no file in it has to. None where the file system has no locks.
    _directory: Option<File>,
}

impl DeadLettersLock {
    /// Takes the lock of a directory; `None` if somebody else has it. Blocks for as long as the disk takes.
    pub fn take(directory: &Path) -> io::Result<Option<Self>> {
        let file = File::open(directory)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _directory: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            // The file system can't lock, such as a network file system that locks only files that are written to.
            Err(TryLockError::Error(_)) => Ok(Some(Self { _directory: None })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_lock_of_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let lock = DeadLettersLock::take(root.path()).unwrap().unwrap();
        assert!(DeadLettersLock::take(root.path()).unwrap().is_none());
        drop(lock);
        assert!(DeadLettersLock::take(root.path()).unwrap().is_some());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "it leaves no file");
        assert!(DeadLettersLock::take(&root.path().join("gone")).is_err());
    }
}
