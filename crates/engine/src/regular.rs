//! Reading files that others put there: never waiting for one that is no file.
//!
//! A pipe that nobody writes to would be waited for without end by whoever opens it, and a device may never end.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

/// How long a pipe is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a pipe is looked into.
const LOOK: Duration = Duration::from_millis(5);

/// A file that has changed within this time may change again without that its times tell: they come in steps.
const STEP: Duration = Duration::from_millis(100);

/// What tells without reading a file whether it is still the same: its size, its times, and which file it is, behind all
/// links.
#[derive(Clone, Copy, Debug)]
pub enum FileStamp {
    /// It is not there, or nothing can be told of it.
    Absent,
    /// It has changed so recently that it may change again unseen.
    Recent,
    /// A hash of all that is known.
    Settled(u64),
}

impl FileStamp {
    /// That of a path now.
    pub fn of(path: &Path) -> Self {
        std::fs::metadata(path).map_or(Self::Absent, |metadata| Self::new(&metadata, SystemTime::now()))
    }

    fn new(metadata: &Metadata, now: SystemTime) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let since = Duration::new(changed.0.try_into().unwrap_or(0), changed.1.try_into().unwrap_or(0));
        if SystemTime::UNIX_EPOCH + since + STEP > now {
            return Self::Recent;
        }
        let mut hasher = DefaultHasher::new();
        (identity(metadata), metadata.size(), metadata.mtime(), metadata.mtime_nsec(), changed)
            .hash(&mut hasher);
        Self::Settled(hasher.finish())
    }

    /// Whether a file that had this stamp, and has the other now, holds what it held.
    pub fn tells_same(self, now: Self) -> bool {
        match (self, now) {
            (Self::Absent, Self::Absent) => true,
            (Self::Settled(before), Self::Settled(now)) => before == now,
            _ => false,
        }
    }
}

/// Reads a regular file of at most so many bytes.
pub fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is a pipe or a device, not a file: write what it holds to a file"));
    }
    // One byte more, so that a single read finds the end.
    let mut bytes = Vec::with_capacity(metadata.len().min(largest) as usize + 1);
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(too_large(largest));
    }
    Ok(bytes)
}

/// Whether what is read here can be read once only.
pub fn is_pipe(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device())
}

/// Reads what comes through a pipe, such as `/dev/stdin` or `<(...)` of a shell, which has to come within `PATIENCE`. Blocks
/// for as long, unless something else takes the pipe's place meanwhile: then it is not waited for any more, and there is
/// nothing to return.
pub fn read_pipe(path: &Path, largest: u64) -> io::Result<Option<Vec<u8>>> {
    let mut pipe = open(path)?;
    let opened = identity(&pipe.metadata()?);
    let mut waited = Duration::ZERO;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match pipe.read(&mut piece) {
            // Before anything has come, that is what a pipe says that nobody writes to, or does yet.
            Ok(0) if !bytes.is_empty() => return Ok(Some(bytes)),
            Ok(read) if read > 0 => {
                bytes.extend_from_slice(&piece[..read]);
                if bytes.len() as u64 > largest {
                    return Err(too_large(largest));
                }
                continue;
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        // One that is not there may be about to be replaced.
        if std::fs::metadata(path).is_ok_and(|now| identity(&now) != opened) {
            return Ok(None);
        }
        if waited >= PATIENCE {
            let message = format!(
                "it is a pipe, and nothing whole came through it within {PATIENCE:?}; it is read once, so that a reload needs a file"
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever reads files blocks, and has a thread for that"
        )]
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

/// By what a file is known, whatever it is called: its device, and its number there.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn open(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

fn too_large(largest: u64) -> io::Error {
    io::Error::other(format!("it is larger than {largest} bytes"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::fs::{CWD, Mode};

    use super::*;

    fn pipe(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("pipe");
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        path
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"text");
        assert!(read(&file, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        assert!(read(directory.path(), 4).unwrap_err().to_string().contains("a directory"));
        for no_file in [pipe(directory.path()), "/dev/zero".into(), "/dev/null".into()] {
            assert!(read(&no_file, 4).unwrap_err().to_string().contains("a pipe or a device"), "{no_file:?}");
            assert!(is_pipe(&no_file));
        }
        assert!(!is_pipe(&file) && !is_pipe(&directory.path().join("nothing")));
    }

    #[test]
    fn a_stamp_tells_of_every_change_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| directory.path().join(name));
        std::fs::write(&file, "text").unwrap();
        std::fs::write(&other, "more").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let at = |path: &Path, later: u64| {
            let now = SystemTime::now() + Duration::from_secs(later);
            FileStamp::new(&std::fs::metadata(path).unwrap(), now)
        };
        assert!(matches!(at(&file, 0), FileStamp::Recent), "it was written just now");
        assert!(!at(&file, 0).tells_same(at(&file, 0)), "it may change again");
        let before = at(&file, 60);
        assert!(before.tells_same(at(&file, 90)) && before.tells_same(at(&link, 60)));
        assert!(!before.tells_same(at(&other, 60)));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("other", &link).unwrap();
        assert!(!before.tells_same(at(&link, 60)));
        std::fs::write(&file, "longer text").unwrap();
        assert!(!before.tells_same(at(&file, 60)));
        let absent = FileStamp::of(&directory.path().join("nothing"));
        assert!(absent.tells_same(FileStamp::Absent) && !absent.tells_same(before));
    }

    #[test]
    fn a_pipe_is_read_to_its_end_in_whatever_pieces_it_comes() {
        let directory = tempfile::tempdir().unwrap();
        let path = pipe(directory.path());
        let to = path.clone();
        let writing = std::thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(to).unwrap();
            for _ in 0..10 {
                pipe.write_all(&[b'x'; 5000]).unwrap();
            }
        });
        assert_eq!(read_pipe(&path, 1 << 20).unwrap(), Some(vec![b'x'; 50_000]));
        writing.join().unwrap();
        assert!(read_pipe("/dev/zero".as_ref(), 10_000).unwrap_err().to_string().contains("larger than"));
    }

    #[test]
    fn a_pipe_whose_place_is_taken_is_not_waited_for_any_more() {
        // Nobody writes to the pipe, or somebody has written and does not end.
        for begun in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = pipe(directory.path());
            let writer = begun.then(|| {
                let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
                pipe.write_all(b"half").unwrap();
                pipe
            });
            let reading = std::thread::spawn({
                let path = path.clone();
                move || read_pipe(&path, 1 << 20)
            });
            let file = directory.path().join("file");
            std::fs::write(&file, "text").unwrap();
            std::fs::rename(&file, &path).unwrap();
            // An error would say that all of the time was over. The thread may also have found the file in place of the pipe.
            let read = reading.join().unwrap().unwrap();
            assert!(read.is_none() || read.as_deref() == Some(b"text"), "{begun}: {read:?}");
            drop(writer);
        }
    }
}
