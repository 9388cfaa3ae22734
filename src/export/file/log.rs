//! One growing file of lines.

use std::fs::{self, File, OpenOptions};
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
#[derive(Debug)]
pub(super) struct Log {
    path: Arc<Path>,
    file: Option<File>,
}

impl Log {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, file: None }
    }

    /// Appends a line as a whole or not at all, after rotating if the file would grow too large.
    pub(super) fn append(&mut self, line: &[u8], settings: &FileSettings) -> io::Result<()> {
        let mut len = self.open()?;
        if len > 0 && len.saturating_add(line.len() as u64) > settings.max_file_size {
            self.rotate(settings.max_backups)?;
            len = self.open()?;
        }
        let file = self.file.as_mut().expect("just opened");
        let written = file.write_all(line);
        if written.is_err() {
            // Should this fail as well, the next opening finds the torn line.
            let _ = file.set_len(len);
            self.file = None;
        }
        written
    }

    /// Opens the file, unless it is open and still the one at its path: it may have been moved or removed.
    /// Returns its length.
    fn open(&mut self) -> io::Result<u64> {
        if let Some(file) = &self.file {
            let ours = file.metadata()?;
            match fs::metadata(&self.path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(ours.len()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let len = cut_torn_line(&mut file)?;
        self.file = Some(file);
        Ok(len)
    }

    /// Renames the file and removes the oldest of those renamed before.
    fn rotate(&mut self, max_backups: usize) -> io::Result<()> {
        self.file = None;
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
