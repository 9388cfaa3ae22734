//! One growing file of lines.
//!
//! Where it is to be, something else may stand: a file of somebody else is continued and never shortened, and what is no
//! file, or a link, is refused.

use std::fs::{self, DirBuilder, File, FileType, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use serde::de::IgnoredAny;
use tracing::warn;

use crate::export::FileSettings;
use crate::notice;
use crate::rename::rename_to_new;
use crate::utc;

/// How much of a file's end is read at a time to find its last whole line.
const STEP: usize = 64 * 1024;

/// A file of lines, opened when it is first written to.
///
/// Others may write to it at the same time: another exporter with the same path, the one that this one replaces
/// at a reload, `sluice replay`. So whoever measures, cuts, rotates or appends holds the file's lock (`flock`)
/// from before to after. A file system without locks goes without.
#[derive(Debug)]
pub(super) struct FileLog {
    path: Arc<Path>,
    /// The open file, and its length after the last line that was written here.
    file: Option<(File, u64)>,
}

/// Where the next line goes.
struct FileEnd {
    /// Bytes in the file.
    len: u64,
    /// Whether the last line has no line break. It is to be left as it is, so the next line has to begin with one.
    unterminated: bool,
}

impl FileEnd {
    fn of_whole_lines(len: u64) -> Self {
        Self { len, unterminated: false }
    }

    /// Bytes in the file with one line more.
    fn with(&self, line: &[u8]) -> u64 {
        self.len.saturating_add(u64::from(self.unterminated)).saturating_add(line.len() as u64)
    }
}

impl FileLog {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self { path, file: None }
    }

    /// Appends a line as a whole or not at all, after rotating if the file would grow too large. An error of kind
    /// `WouldBlock` says that somebody else is writing to it.
    pub(super) fn append(&mut self, line: &[u8], settings: &FileSettings) -> io::Result<()> {
        debug_assert!(line.ends_with(b"\n"), "the next line has to begin behind a line break");
        let beginning = beginning(line);
        let (mut file, mut end) = self.open(beginning, settings.mode)?;
        if end.len > 0 && end.with(line) > settings.max_file_size {
            // The lock of the old file is held until it has its new name.
            self.rotate(settings.max_backups)?;
            (file, end) = self.open(beginning, settings.mode)?;
        }
        let written =
            if end.unterminated { file.write_all(&[b"\n", line].concat()) } else { file.write_all(line) };
        if let Err(error) = written {
            // Should this fail as well, the next to write finds the torn line.
            let _ = file.set_len(end.len);
            return Err(error);
        }
        // A file that can't be unlocked is closed, which unlocks it.
        if file.unlock().is_ok() {
            self.file = Some((file, end.with(line)));
        }
        Ok(())
    }

    /// Opens the file, unless it is open and still the one at its path: it may have been moved or removed. Returns it locked,
    /// without a torn line of Sluice's at its end. Dropping it unlocks it.
    fn open(&mut self, beginning: &[u8], mode: u32) -> io::Result<(File, FileEnd)> {
        if let Some((mut file, len)) = self.file.take() {
            lock(&file)?;
            if self.is_at_path(&file)? {
                let untouched = file.metadata()?.len() == len;
                let end =
                    if untouched { FileEnd::of_whole_lines(len) } else { self.end(&mut file, beginning)? };
                return Ok((file, end));
            }
        }
        if let Some(directory) = self.path.parent() {
            make_directories(directory, directory_mode(mode))?;
        }
        loop {
            let mut file = self.open_or_make(mode)?;
            lock(&file)?;
            // It may have been rotated before it was locked.
            if self.is_at_path(&file)? {
                let end = self.end(&mut file, beginning)?;
                return Ok((file, end));
            }
        }
    }

    /// Opens the file that is at the path, or makes it with exactly this mode.
    fn open_or_make(&self, mode: u32) -> io::Result<File> {
        // Something else may have taken the file's place since it was looked at. A link is not followed then, either, and a
        // pipe not waited for; a file doesn't care about the second flag.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(mode).custom_flags(flags.bits().cast_signed());
        loop {
            match fs::symlink_metadata(&self.path) {
                Ok(found) => {
                    must_be_a_file(found.file_type())?;
                    match options.open(&self.path) {
                        Ok(file) => {
                            must_be_a_file(file.metadata()?.file_type())?;
                            return Ok(file);
                        }
                        // It has been rotated in between.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match options.clone().create_new(true).open(&self.path) {
                Ok(file) => {
                    self.undo_umask(&file, mode)?;
                    return Ok(file);
                }
                // Another exporter has made it in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a file that was just made the permissions that the umask has taken from it.
    fn undo_umask(&self, file: &File, mode: u32) -> io::Result<()> {
        if file.metadata()?.mode() & 0o777 == mode {
            return Ok(());
        }
        if let Err(error) = file.set_permissions(Permissions::from_mode(mode))
            && let Some(suppressed) = notice::due(&*self.path, "mode")
        {
            // Some file systems have no permissions, and their users know.
            warn!(path = %self.path.display(), %error, suppressed, "the file system does not take the file's mode {mode:04o}");
        }
        Ok(())
    }

    /// Where the file ends. Half a line of Sluice's, left by a process that was killed or a disk that was full, is cut off.
    /// What somebody else wrote is left as it is.
    fn end(&self, file: &mut File, beginning: &[u8]) -> io::Result<FileEnd> {
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        if last == *b"\n" {
            return Ok(FileEnd::of_whole_lines(len));
        }
        if begins_as(file, 0, len, beginning)? {
            let start = start_of_last_line(file, len)?;
            // What does not begin as a line of Sluice's was put behind its lines by somebody else.
            if begins_as(file, start, len, beginning)? && !is_json(file, start)? {
                file.set_len(start)?;
                if let Some(suppressed) = notice::due(&*self.path, "half a line") {
                    warn!(
                        path = %self.path.display(),
                        bytes = len - start,
                        suppressed,
                        "half a line at the end of this file was cut off: what wrote it was killed, or the disk was full"
                    );
                }
                return Ok(FileEnd::of_whole_lines(start));
            }
        } else if let Some(suppressed) = notice::due(&*self.path, "not written by Sluice") {
            warn!(
                path = %self.path.display(),
                suppressed,
                "this file was not written by Sluice, and its last line has no line break: one is added, and lines are appended"
            );
        }
        Ok(FileEnd { len, unterminated: true })
    }

    /// Whether the path leads to this very file, and not through a link.
    fn is_at_path(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Renames the file and removes the oldest of those renamed before.
    fn rotate(&self, max_backups: usize) -> io::Result<()> {
        let mut time = SystemTime::now();
        loop {
            match rename_to_new(&self.path, &self.backup_path(time)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    time += Duration::from_millis(1);
                }
                renamed => break renamed?,
            }
        }
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

    /// Whether [`Self::backup_path`] gives such names: people keep files of similar names.
    fn is_backup(&self, name: &str) -> bool {
        let time = name.strip_prefix(self.stem()).and_then(|rest| rest.strip_prefix('-'));
        time.and_then(|rest| rest.strip_suffix(".jsonl")).is_some_and(utc::is_compact)
    }

    fn remove_old_backups(&self, keep: usize) -> io::Result<()> {
        let directory = self.path.parent().expect("the file is in its key's directory");
        let mut backups = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && self.is_backup(&name)
                && entry.file_type()?.is_file()
            {
                backups.push(name);
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

/// How all lines of this line's signal begin: up to the list that everything is in.
fn beginning(line: &[u8]) -> &[u8] {
    let list = memchr::memchr(b'[', line).expect("a request is a list of resources");
    &line[..=list]
}

/// Whether what stands in the file from `start` on, up to its end at `len`, begins as lines of Sluice do, or is the first part of such
/// a beginning.
fn begins_as(file: &File, start: u64, len: u64, beginning: &[u8]) -> io::Result<bool> {
    let len = usize::try_from(len - start).unwrap_or(usize::MAX).min(beginning.len());
    let mut first = vec![0; len];
    file.read_exact_at(&mut first, start)?;
    Ok(beginning.starts_with(&first))
}

/// Where what follows the last line break begins.
fn start_of_last_line(file: &File, len: u64) -> io::Result<u64> {
    let mut piece = vec![0; STEP];
    let mut end = len;
    while end > 0 {
        let piece = &mut piece[..STEP.min(usize::try_from(end).unwrap_or(STEP))];
        let start = end - piece.len() as u64;
        file.read_exact_at(piece, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', piece) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether all from `start` on is one JSON document: then nothing but its line break is missing.
fn is_json(file: &mut File, start: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    match serde_json::from_reader(BufReader::with_capacity(STEP, file)) {
        Ok(IgnoredAny) => Ok(true),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Lines go to regular files alone. A pipe or a device would take them to somebody else or nowhere, and a link that
/// somebody else has put there leads to a file that is not Sluice's to write.
fn must_be_a_file(found: FileType) -> io::Result<()> {
    let what = match found {
        file if file.is_file() => return Ok(()),
        link if link.is_symlink() => {
            "it is a symbolic link: remove it, or make a link of its directory, which is followed"
        }
        directory if directory.is_dir() => "it is a directory: move it away",
        _ => "it is a pipe, a socket or a device and not a file: move it away",
    };
    Err(io::Error::other(what))
}

/// The mode of a directory for files of this mode: whoever may read them may enter it.
fn directory_mode(mode: u32) -> u32 {
    mode | (mode & 0o444) >> 2
}

/// Makes a directory and those above it, as far as they are not there, with exactly this mode.
fn make_directories(directory: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => {}
        Err(_) if directory.is_dir() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = directory.parent().filter(|above| !above.as_os_str().is_empty()).ok_or(error)?;
            make_directories(above, mode)?;
            return make_directories(directory, mode);
        }
        Err(error) => return Err(error),
    }
    let made = fs::symlink_metadata(directory)?.mode();
    if made & 0o777 != mode {
        // The umask has taken something. What the directory above hands down, such as its group, stays.
        fs::set_permissions(directory, Permissions::from_mode(made & 0o7000 | mode))?;
    }
    Ok(())
}
