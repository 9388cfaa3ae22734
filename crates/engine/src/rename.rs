//! Renaming files where nothing may be lost that has the new name already.

use std::path::Path;
use std::{fs, io};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Renames a file, and leaves it if there is anything of the new name.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_if_absent(from, to),
        renamed => Ok(renamed?),
    }
}

/// The same for file systems that can't do it in one step, such as NFS.
fn rename_if_absent(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_never_replaces_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "theirs").unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for (number, rename) in [rename_to_new, rename_if_absent].into_iter().enumerate() {
            fs::write(at("ours"), "ours").unwrap();
            for there in ["file", "link", "directory"] {
                let error = rename(&at("ours"), &at(there)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{there}");
            }
            rename(&at("ours"), &at(&format!("new {number}"))).unwrap();
            assert_eq!(fs::read(at(&format!("new {number}"))).unwrap(), b"ours");
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"theirs");
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("nowhere"));
    }
}
