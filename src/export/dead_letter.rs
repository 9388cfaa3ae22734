//! Dead letters: what no upstream will take, kept on disk for people to look at and for `sluice replay`.
//!
//! A letter is two files: `<UTC time>-<sequence>.<signal>.pb`, the OTLP bytes of an
//! `Export<Signal>ServiceRequest`, and the same with `.json`, which says what they are and why they are here. What was
//! cut out of a request in OTLP/JSON can't be said in protobuf: it is in a `.jsonl` instead, a request on each line.
//! Both are written under a temporary name and renamed, the bytes first: a letter is there when its `.json` is,
//! so a process that is killed leaves no half letter. With a journal letters are synced, since an entry leaves it when
//! its letter is stored; otherwise nothing is: after a power cut a reader tells a letter whose bytes are missing by the
//! length in its `.json`.

mod list;
mod read;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::list::{LetterPage, ListedLetter};
pub use self::read::{Letters, StoredLetter, letters};
use super::{DeadLetterSettings, Encoding, utc};
use crate::otlp::Signal;
use crate::route::RoutingKey;

/// The version of the `.json` file's shape.
const VERSION: u32 = 1;

/// The ending of files that are still being written.
const TEMPORARY: &str = "tmp";

/// How often a full directory is looked at again, as `sluice replay` or people may have made room.
const RECOUNT: Duration = Duration::from_secs(10);

/// Threads that write letters at a time.
const WRITERS: usize = 4;

/// A dead letter to be stored.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The exporter it was for; `None` if it was cut out before it was routed.
    pub exporter: Option<String>,
    /// The signal of its entries.
    pub signal: Signal,
    /// How its bytes are to be read.
    pub encoding: Encoding,
    /// The routing key, if there is one.
    pub key: Option<RoutingKey>,
    /// Why nobody takes it, for people.
    pub reason: String,
    /// Spans, data points or log records in it.
    pub records: u64,
    /// The encoded request, in pieces; of JSON, a request on each line.
    pub bytes: Vec<Bytes>,
    /// When it was given up.
    pub time: SystemTime,
}

/// The `.json` of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    version: u32,
    exporter: Option<String>,
    signal: String,
    /// How the bytes are to be read; letters from before there was a choice are protobuf.
    #[serde(default)]
    encoding: Encoding,
    /// The routing key for people, and what it is made of, so that a replay finds the same URL.
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<KeyPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    reason: String,
    records: u64,
    bytes: u64,
    /// RFC 3339, UTC.
    time: String,
}

/// A named part of a routing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyPart {
    name: String,
    value: String,
}

/// Why a letter was not stored.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory holds as much as it may.
    #[error(
        "the dead-letter directory is full: replay or remove what is there, or raise `dead_letter.max_size`"
    )]
    Full,
    /// The disk does not take it.
    #[error("can't write the dead letter: {0}")]
    Io(#[from] io::Error),
}

/// The dead-letter directory. Cloning shares it.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    shared: Arc<Shared>,
    writers: Arc<Semaphore>,
    /// Held by who goes through the directory to list it.
    listing: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    max_size: AtomicU64,
    synced: bool,
    /// Bytes of all files in the directory, those being written included.
    size: AtomicU64,
    /// The millisecond and the sequence number of the letter before: names go up, whatever the clock does.
    last: Mutex<(u64, u64)>,
    counted: Mutex<Instant>,
    /// Whether the newest letter found no room.
    full: AtomicBool,
}

impl DeadLetters {
    /// Makes the directory if need be, for this user alone, and counts what is there. Blocks.
    pub fn open(settings: &DeadLetterSettings) -> io::Result<Self> {
        // The directories above may be for others, too.
        fs::create_dir_all(settings.directory.parent().unwrap_or(&settings.directory))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&settings.directory)?;
        let shared = Shared {
            size: AtomicU64::new(size_of(&settings.directory)?),
            last: Mutex::new((0, 0)),
            counted: Mutex::new(Instant::now()),
            full: AtomicBool::new(false),
            directory: settings.directory.clone(),
            max_size: AtomicU64::new(settings.max_size),
            synced: settings.synced,
        };
        let [writers, listing] = [WRITERS, 1].map(|permits| Arc::new(Semaphore::new(permits)));
        Ok(Self { shared: Arc::new(shared), writers, listing })
    }

    /// Clears away what a killed process left unfinished: for a process that starts, as long as it writes none itself.
    /// Blocks.
    pub fn clear_unfinished(directory: &Path) -> io::Result<()> {
        let files = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == TEMPORARY) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Stores a letter.
    pub async fn store(&self, letter: Letter) -> Result<(), StoreError> {
        let permit = Arc::clone(&self.writers).acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let stored = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.store(&letter)
        });
        stored.await.map_err(io::Error::other)?
    }

    /// Counts what is in the directory, as `sluice replay` or people may have removed some of it.
    pub async fn recount(&self) -> io::Result<()> {
        let writers = Arc::clone(&self.writers).acquire_many_owned(WRITERS as u32).await;
        let writers = writers.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let counted = tokio::task::spawn_blocking(move || {
            // With all of them nothing is being written, and so nothing is counted in part.
            let _writers = writers;
            shared.size.store(size_of(&shared.directory)?, Ordering::Relaxed);
            Ok(())
        });
        counted.await.map_err(io::Error::other)?
    }

    /// Where the letters are.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Changes how many bytes the directory may hold, for the letters that come.
    pub fn set_max_size(&self, max_size: u64) {
        self.shared.max_size.store(max_size, Ordering::Relaxed);
    }

    /// How many bytes the directory may hold.
    pub fn max_size(&self) -> u64 {
        self.shared.max_size.load(Ordering::Relaxed)
    }

    /// Whether the newest letter found no room in it.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Bytes in the directory: what was there when it was last counted, and what was stored since.
    pub fn bytes(&self) -> u64 {
        self.shared.size.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn store(&self, letter: &Letter) -> Result<(), StoreError> {
        let mut note =
            serde_json::to_vec_pretty(&Note::of(letter)).expect("a note has only strings for keys");
        // It is read in terminals as well.
        note.push(b'\n');
        let size = note.len() as u64 + letter.bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let room = self.reserve(size);
        self.full.store(matches!(room, Err(StoreError::Full)), Ordering::Relaxed);
        room?;
        if let Err(error) = self.put(letter, &note) {
            // A count of the directory may have come in between, and not have seen it.
            let less = |held: u64| Some(held.saturating_sub(size));
            let _ = self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            return Err(error.into());
        }
        Ok(())
    }

    /// Writes both files.
    fn put(&self, letter: &Letter, note: &[u8]) -> io::Result<()> {
        let (stem, claim) = self.begin(letter)?;
        let (payload, named) = (format!("{stem}.{}", ending(letter.encoding)), format!("{stem}.json"));
        let written = private_file()
            .create(true)
            .truncate(true)
            .open(self.temporary(&payload))
            .and_then(|file| self.write(&payload, file, letter.bytes.iter().map(Bytes::as_ref)))
            .and_then(|()| self.write(&named, claim, std::iter::once(note)))
            .and_then(|()| if self.synced { File::open(&self.directory)?.sync_all() } else { Ok(()) });
        if written.is_err() {
            // Without its note there is no letter; what can't be removed now is seen as bytes without a note.
            let _ = fs::remove_file(self.directory.join(&named));
            let _ = fs::remove_file(self.directory.join(payload));
            let _ = fs::remove_file(self.temporary(&named));
        }
        written
    }

    /// Takes `size` bytes of what the directory may hold.
    fn reserve(&self, size: u64) -> Result<(), StoreError> {
        let max = self.max_size.load(Ordering::Relaxed);
        let fits = |held: u64| held.checked_add(size).filter(|sum| *sum <= max);
        if self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok() {
            return Ok(());
        }
        let mut counted = self.counted.lock();
        if size > max || counted.elapsed() < RECOUNT {
            return Err(StoreError::Full);
        }
        *counted = Instant::now();
        // What others are writing at this moment may be counted in part: by at most a few letters.
        self.size.store(size_of(&self.directory)?, Ordering::Relaxed);
        let taken = self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(|_| ()).map_err(|_| StoreError::Full)
    }

    /// The letter's name without its ending, which sorts after all names given before, and the temporary file of its note,
    /// which claims the name until the note is there.
    fn begin(&self, letter: &Letter) -> io::Result<(String, File)> {
        let millis = letter.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut last = self.last.lock();
        loop {
            *last = if millis > last.0 { (millis, 0) } else { (last.0, last.1 + 1) };
            let time = utc::compact(UNIX_EPOCH + Duration::from_millis(last.0));
            let stem = format!("{time}-{:08}.{}", last.1, letter.signal);
            let note = format!("{stem}.json");
            let claim = match private_file().create_new(true).open(self.temporary(&note)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                claim => claim?,
            };
            // Somebody else may have written in the same millisecond, or with a clock that was ahead: a process before this
            // one, or this one for a configuration before this one.
            if !self.directory.join(&note).exists() {
                return Ok((stem, claim));
            }
            fs::remove_file(self.temporary(&note))?;
        }
    }

    /// The path of a file while it is being written.
    fn temporary(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{TEMPORARY}"))
    }

    fn write<'a>(
        &self,
        name: &str,
        mut file: File,
        mut pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let temporary = self.temporary(name);
        let written = pieces
            .try_for_each(|piece| file.write_all(piece))
            .and_then(|()| if self.synced { file.sync_data() } else { Ok(()) })
            .and_then(|()| fs::rename(&temporary, self.directory.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Options for a file that is for this user alone, also in a directory that people have made for others.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

impl Note {
    fn of(letter: &Letter) -> Self {
        Self {
            version: VERSION,
            exporter: letter.exporter.clone(),
            signal: letter.signal.name().to_owned(),
            encoding: letter.encoding,
            key: letter.key.as_ref().map(ToString::to_string),
            parts: letter.key.iter().flat_map(RoutingKey::parts).map(KeyPart::of).collect(),
            tenant: letter.key.as_ref().and_then(RoutingKey::tenant).map(ToOwned::to_owned),
            reason: letter.reason.clone(),
            records: letter.records,
            bytes: letter.bytes.iter().map(|piece| piece.len() as u64).sum(),
            time: utc::rfc3339(letter.time),
        }
    }
}

impl KeyPart {
    fn of((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }
}

fn size_of(directory: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        match entry?.metadata() {
            Ok(metadata) if metadata.is_file() => size += metadata.len(),
            Ok(_) => {}
            // Renamed or removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

/// The ending of a letter's bytes.
const fn ending(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Proto => "pb",
        Encoding::Json => "jsonl",
    }
}

/// The path of a letter's bytes, from that of its note.
fn payload_path(note: &Path, encoding: Encoding) -> PathBuf {
    note.with_extension(ending(encoding))
}

#[cfg(test)]
mod tests;
