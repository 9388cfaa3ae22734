//! One growing file of lines.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::export::FileSettings;
use crate::export::utc;

/// How much of a file's end is read at a time to find its last whole line.
const STEP: u64 = 64 * 1024;

/// A file of lines, opened when it is first written to.
///
/// Others may write to it at the same time: another exporter with the same path, the one that this one replaces
/// at a reload, `sluice replay`. So whoever measures, cuts, rotates or appends holds the file's lock (`flock`)
/// from before to after. A file system without locks goes without.
#[derive(Debug)]
pub(super) struct Log {
    path: Arc<Path>,
    /// The open file, and its length after the last line that was written here.
    file: Option<(File, u64)>,
}

impl Log {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, file: None }
    }

    /// Appends a line as a whole or not at all, after rotating if the file would grow too large. An error of kind
    /// `WouldBlock` says that somebody else is writing to it.
    pub(super) fn append(&mut self, line: &[u8], settings: &FileSettings) -> io::Result<()> {
        let (mut file, mut len) = self.open()?;
        if len > 0 && len.saturating_add(line.len() as u64) > settings.max_file_size {
            // The lock of the old file is held until it has its new name.
            self.rotate(settings.max_backups)?;
            (file, len) = self.open()?;
        }
        if let Err(error) = file.write_all(line) {
            // Should this fail as well, the next to write finds the torn line.
            let _ = file.set_len(len);
            return Err(error);
        }
        // A file that can't be unlocked is closed, which unlocks it.
        if file.unlock().is_ok() {
            self.file = Some((file, len + line.len() as u64));
        }
        Ok(())
    }

    /// Opens the file, unless it is open and still the one at its path: it may have been moved or removed.
    /// Returns it locked and ending with a whole line, and its length. Dropping it unlocks it.
    fn open(&mut self) -> io::Result<(File, u64)> {
        if let Some((mut file, end)) = self.file.take() {
            lock(&file)?;
            if self.is_at_path(&file)? {
                let len = file.metadata()?.len();
                let len = if len == end { len } else { cut_torn_line(&mut file)? };
                return Ok((file, len));
            }
        }
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        loop {
            let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
            lock(&file)?;
            // It may have been rotated before it was locked.
            if self.is_at_path(&file)? {
                let len = cut_torn_line(&mut file)?;
                return Ok((file, len));
            }
        }
    }

    fn is_at_path(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames the file and removes the oldest of those renamed before.
    fn rotate(&self, max_backups: usize) -> io::Result<()> {
        let mut time = SystemTime::now();
        let backup = loop {
            let candidate = self.backup_path(time);
            if !candidate.try_exists()? {
                break candidate;
            }
            time += Duration::from_millis(1);
        };
        fs::rename(&self.path, backup)?;
        if max_backups > 0
            && let Err(error) = self.remove_old_backups(max_backups)
        {
            warn!(path = %self.path.display(), %error, "can't remove old rotated files");
        }
        Ok(())
    }

    fn stem(&self) -> &str {
        self.path.file_stem().and_then(|stem| stem.to_str()).expect("the file is named after its signal")
    }

    fn backup_path(&self, time: SystemTime) -> PathBuf {
        self.path.with_file_name(format!("{}-{}.jsonl", self.stem(), utc::compact(time)))
    }

    fn remove_old_backups(&self, keep: usize) -> io::Result<()> {
        let directory = self.path.parent().expect("the file is in its key's directory");
        let prefix = format!("{}-", self.stem());
        let mut backups = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(&prefix) && Path::new(name).extension().is_some_and(|end| end == "jsonl") {
                backups.push(name.to_owned());
            }
        }
        backups.sort_unstable();
        let surplus = backups.len().saturating_sub(keep);
        backups[..surplus].iter().try_for_each(|name| fs::remove_file(directory.join(name)))
    }
}

/// Takes the file's lock without waiting for it: a thread that waits can't be called back.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "another exporter or process has locked the file"))
        }
        // The file system has no locks.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

/// Cuts off what follows the last line break: half a line, left by a process that was killed or a disk that was
/// full. Returns the length.
fn cut_torn_line(file: &mut File) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut end = len;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        (&*file).take(end - start).read_to_end(&mut piece)?;
        if let Some(newline) = memchr::memrchr(b'\n', &piece) {
            end = start + newline as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len {
        file.set_len(end)?;
    }
    Ok(end)
}
