//! Reading dead letters back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::divide::is_of_unfinished_part;
use super::{LetterOrigin, Note, VERSION, ending, payload_path};
use crate::export::Encoding;
use crate::route::{RoutingKey, Values};
use otlp::Signal;

/// What is said of a link, a directory, a pipe or a device in the place of a file.
pub(super) const NO_FILE: &str = "not a file";

/// What a dead-letter directory holds.
#[derive(Debug, Default)]
pub struct Letters {
    /// Whole letters, in the order in which they were stored.
    pub letters: Vec<StoredLetter>,
    /// Files that belong to no whole letter, with what is wrong.
    pub damaged: Vec<(PathBuf, String)>,
}

/// A letter on disk. Its bytes are read when they are asked for.
#[derive(Clone, Debug)]
pub struct StoredLetter {
    pub(super) path: PathBuf,
    signal: Signal,
    key: Option<RoutingKey>,
    pub(super) note: Note,
}

/// Lists the letters in a directory. Blocks.
pub fn letters(directory: &Path) -> io::Result<Letters> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.path());
    }
    names.retain(|path| !is_of_unfinished_part(path));
    names.sort_unstable();
    let mut found = Letters::default();
    for path in names {
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => match StoredLetter::read(&path) {
                Ok(letter) => found.letters.push(letter),
                Err(reason) => found.damaged.push((path, reason)),
            },
            Some("pb" | "jsonl") if path.with_extension("json").symlink_metadata().is_err() => {
                found.damaged.push((path, "its `.json` is missing".to_owned()));
            }
            _ => {}
        }
    }
    Ok(found)
}

impl StoredLetter {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        let read = open_file(path).and_then(|mut file| file.read_to_end(&mut text));
        read.map_err(|error| error.to_string())?;
        let note: Note =
            serde_json::from_slice(&text).map_err(|error| format!("not a dead letter: {error}"))?;
        if note.version > VERSION {
            return Err(format!("version {} is newer than this sluice knows", note.version));
        }
        let signal =
            Signal::from_name(&note.signal).ok_or_else(|| format!("unknown signal `{}`", note.signal))?;
        let end = ending(note.encoding);
        let payload = fs::symlink_metadata(payload_path(path, note.encoding));
        let payload = payload.map_err(|error| format!("its `.{end}`: {error}"))?;
        if !payload.is_file() {
            return Err(format!("its `.{end}` is {NO_FILE}"));
        }
        let held = payload.len();
        if held != note.bytes {
            return Err(format!("its `.{end}` has {held} bytes instead of {}", note.bytes));
        }
        let parts = note.parts.iter().map(|part| (part.name.as_str(), part.value.as_str()));
        let key = note.key.as_deref().map(|text| RoutingKey::of(note.tenant.as_deref(), text, parts));
        Ok(Self { path: path.to_owned(), signal, key, note })
    }

    /// The `.json` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The exporter it was recorded for.
    pub fn exporter(&self) -> Option<&str> {
        self.note.exporter.as_deref()
    }

    /// Where it came from, if it never had an exporter and is not from before that was kept.
    pub fn origin(&self) -> Option<&LetterOrigin> {
        self.note.origin.as_ref()
    }

    /// The tenant whose it is, if it is anybody's.
    pub fn tenant(&self) -> Option<&str> {
        let of_origin = || self.origin()?.tenant.as_deref();
        self.note.tenant.as_deref().or_else(of_origin)
    }

    /// How its bytes are to be read.
    pub fn encoding(&self) -> Encoding {
        self.note.encoding
    }

    /// Why it is here.
    pub fn reason(&self) -> &str {
        &self.note.reason
    }

    /// When it was given up: RFC 3339, UTC.
    pub fn time(&self) -> &str {
        &self.note.time
    }

    /// Spans, data points or log records in it.
    pub fn records(&self) -> u64 {
        self.note.records
    }

    /// Bytes of the encoded request.
    pub fn len(&self) -> u64 {
        self.note.bytes
    }

    /// Whether the request is empty, which is a valid one.
    pub fn is_empty(&self) -> bool {
        self.note.bytes == 0
    }

    /// The encoded request. Blocks.
    pub fn load(&self) -> io::Result<Bytes> {
        self.load_most(usize::MAX)
    }

    /// The first bytes of the encoded request. Blocks.
    pub(super) fn load_most(&self, most: usize) -> io::Result<Bytes> {
        let file = open_file(&payload_path(&self.path, self.note.encoding))?;
        let most = (most as u64).min(self.note.bytes);
        let mut bytes = Vec::with_capacity(most as usize);
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Removes both files, the note first, so that what is left after a crash is not a letter. Blocks.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        fs::remove_file(payload_path(&self.path, self.note.encoding))
    }
}

/// Opens what is a regular file itself: what leads elsewhere, and what could be waited for without end, is none.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // What the system says of a link, and of a socket.
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| [Errno::LOOP, Errno::NXIO].contains(&Errno::from_raw_os_error(code))) =>
        {
            return Err(io::Error::other(NO_FILE));
        }
        file => file?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NO_FILE)) }
}

impl Values for StoredLetter {
    fn key(&self) -> Option<&RoutingKey> {
        self.key.as_ref()
    }

    fn signal(&self) -> Signal {
        self.signal
    }
}
