//! Dead letters: what no upstream will take, kept on disk for people to look at and for `sluice replay`.
//!
//! A letter is two files: `<UTC time>-<sequence>.<signal>.pb`, the OTLP bytes of an
//! `Export<Signal>ServiceRequest`, and the same with `.json`, which says what they are and why they are here. What was
//! cut out of a request in OTLP/JSON can't be said in protobuf: it is in a `.jsonl` instead, a request on each line.
//! Both are written under a temporary name and renamed, the bytes first: a letter is there when its `.json` is,
//! so a process that is killed leaves no half letter. With a journal letters are synced, since an entry leaves it when
//! its letter is stored; otherwise nothing is: after a power cut a reader tells a letter whose bytes are missing by the
//! length in its `.json`.
//!
//! Letters sort by name in the order of their [places](LetterPlace), which is that in which they are to be sent again. A letter
//! that is [divided](StoredLetter::divide) leaves its place to what it is divided into.

mod contents;
mod divide;
mod filter;
mod list;
mod lock;
mod read;
mod turns;
mod work;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::contents::{LetterContents, LetterFault};
pub use self::divide::LetterPart;
pub use self::filter::{ConditionError, LetterFilter};
pub use self::list::{LetterPage, ListedLetter};
pub use self::lock::LettersLock;
pub use self::read::{Letters, StoredLetter, letters};
pub use self::turns::LetterTurn;
use self::turns::LetterTurns;
pub use self::work::{LetterSelection, LetterWalk, WalkedLetters};
use super::{DeadLetterSettings, Encoding, utc};
use crate::route::RoutingKey;
use otlp::Signal;

/// The version of the `.json` file's shape.
const VERSION: u32 = 1;

/// The ending of files that are still being written.
const TEMPORARY: &str = "tmp";

/// How often a full directory is looked at again, as `sluice replay` or people may have made room.
const RECOUNT: Duration = Duration::from_secs(10);

/// A dead letter to be stored.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The exporter it was for; `None` if it never had one.
    pub exporter: Option<String>,
    /// The signal of its entries.
    pub signal: Signal,
    /// How its bytes are to be read.
    pub encoding: Encoding,
    /// The routing key, if there is one.
    pub key: Option<RoutingKey>,
    /// Where it came from, if it never had an exporter.
    pub origin: Option<LetterOrigin>,
    /// Why nobody takes it, for people.
    pub reason: String,
    /// Spans, data points or log records in it.
    pub records: u64,
    /// The encoded request, in pieces; of JSON, a request on each line.
    pub bytes: Vec<Bytes>,
    /// When it was given up.
    pub time: SystemTime,
}

/// How a letter that never had an exporter came here: for people, and for whoever routes it later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterOrigin {
    /// The receiver that took it.
    pub receiver: String,
    /// The other side of the connection, which may be a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What it has said of itself, shortened and printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The tenant whose sender it was, if the receiver asks the table of tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The tenant whose entries these are, if they are anybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl fmt::Display for LetterOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receiver, peer, user_agent, sender, tenant } = self;
        write!(f, "received by `{receiver}`")?;
        if let Some(peer) = peer {
            write!(f, " from {peer}")?;
        }
        if let Some(user_agent) = user_agent {
            write!(f, ", user agent `{user_agent}`")?;
        }
        for (what, id) in [("sent by", sender), ("for", tenant)] {
            if let Some(id) = id {
                write!(f, ", {what} the tenant `{id}`")?;
            }
        }
        Ok(())
    }
}

/// The place of a letter in its directory. Places go up, whatever the clock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterPlace {
    /// Since 1970.
    millis: u64,
    number: u64,
}

impl LetterPlace {
    /// How the files of the letter begin.
    fn name(self) -> String {
        let time = utc::compact(UNIX_EPOCH + Duration::from_millis(self.millis));
        format!("{time}-{:08}", self.number)
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<LetterOrigin>,
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
    turns: Arc<LetterTurns>,
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
    /// Notes in the directory.
    letters: AtomicU64,
    /// Held together by those who store a letter, from its counting on until it is there, and alone by who counts the directory: a
    /// letter that is in it and not counted yet would count twice.
    storing: RwLock<()>,
    /// The place that was last taken.
    last: Mutex<LetterPlace>,
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
        let held = DirectorySize::of(&settings.directory)?;
        let shared = Shared {
            size: AtomicU64::new(held.bytes),
            letters: AtomicU64::new(held.letters),
            storing: RwLock::new(()),
            last: Mutex::new(LetterPlace { millis: 0, number: 0 }),
            counted: Mutex::new(Instant::now()),
            full: AtomicBool::new(false),
            directory: settings.directory.clone(),
            max_size: AtomicU64::new(settings.max_size),
            synced: settings.synced,
        };
        Ok(Self { shared: Arc::new(shared), turns: Arc::default(), listing: Arc::new(Semaphore::new(1)) })
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

    /// Takes a place behind all that were taken before.
    pub fn take_place(&self) -> LetterPlace {
        self.shared.take_place(SystemTime::now())
    }

    /// A name behind those of all letters that are here, and before those of letters to come.
    fn end(&self) -> String {
        self.take_place().name()
    }

    /// Waits until a letter of this exporter, or of none, may be stored.
    pub async fn turn(&self, exporter: Option<&str>) -> Arc<LetterTurn> {
        Arc::new(self.turns.take(exporter).await)
    }

    /// Stores no more letters, and waits for those that are being stored. Whoever stores one later waits for ever: this is for a
    /// process that ends.
    pub async fn close(&self) {
        self.turns.close().await;
    }

    /// Stores a letter.
    pub async fn store(&self, letter: Letter) -> Result<(), StoreError> {
        let turn = self.turn(letter.exporter.as_deref()).await;
        self.store_in(&turn, letter).await
    }

    /// Stores a letter whose turn it is. Whoever keeps the turn until the letter is counted has it counted before the directory is
    /// closed.
    pub async fn store_in(&self, turn: &Arc<LetterTurn>, letter: Letter) -> Result<(), StoreError> {
        let place = self.shared.take_place(letter.time);
        self.write(Arc::clone(turn), place, letter).await
    }

    /// Stores a letter at a place that was taken for it, however many have been stored behind that since.
    pub async fn store_at(&self, place: LetterPlace, letter: Letter) -> Result<(), StoreError> {
        let turn = self.turn(letter.exporter.as_deref()).await;
        self.write(turn, place, letter).await
    }

    async fn write(
        &self,
        turn: Arc<LetterTurn>,
        place: LetterPlace,
        letter: Letter,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let stored = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            shared.store(place, &letter)
        });
        stored.await.map_err(io::Error::other)?
    }

    /// Counts what is in the directory, as `sluice replay` or people may have removed some of it.
    pub async fn recount(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let counted = tokio::task::spawn_blocking(move || shared.count());
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

    /// Letters in the directory, counted as [`DeadLetters::bytes`] are.
    pub fn letters(&self) -> u64 {
        self.shared.letters.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn store(&self, place: LetterPlace, letter: &Letter) -> Result<(), StoreError> {
        let note = Note::of(letter).text();
        let size = note.len() as u64 + letter.bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let mut storing = self.storing.read();
        let mut has_room = self.reserve(size);
        if !has_room && self.may_have_room(size) {
            drop(storing);
            self.count()?;
            storing = self.storing.read();
            has_room = self.reserve(size);
        }
        self.full.store(!has_room, Ordering::Relaxed);
        if !has_room {
            return Err(StoreError::Full);
        }
        if let Err(error) = self.put(place, letter, &note) {
            self.size.fetch_sub(size, Ordering::Relaxed);
            return Err(error.into());
        }
        self.letters.fetch_add(1, Ordering::Relaxed);
        drop(storing);
        Ok(())
    }

    /// Counts what is in the directory, while nothing is being stored.
    fn count(&self) -> io::Result<()> {
        let _storing = self.storing.write();
        let held = DirectorySize::of(&self.directory)?;
        self.size.store(held.bytes, Ordering::Relaxed);
        self.letters.store(held.letters, Ordering::Relaxed);
        Ok(())
    }

    /// Writes both files.
    fn put(&self, place: LetterPlace, letter: &Letter, note: &[u8]) -> io::Result<()> {
        let (note_path, claim) = self.begin(place, letter)?;
        let files = Files { note: &note_path, encoding: letter.encoding, synced: self.synced };
        files
            .write(claim, letter.bytes.iter().map(Bytes::as_ref), note)
            .and_then(|()| if self.synced { File::open(&self.directory)?.sync_all() } else { Ok(()) })
            .inspect_err(|_| files.remove())
    }

    /// Takes `size` bytes of what the directory may hold, if it has so many left.
    fn reserve(&self, size: u64) -> bool {
        let max = self.max_size.load(Ordering::Relaxed);
        let fits = |held: u64| held.checked_add(size).filter(|sum| *sum <= max);
        self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Whether so many bytes, for which there is no room, may find some once the directory has been counted again.
    fn may_have_room(&self, size: u64) -> bool {
        let mut counted = self.counted.lock();
        let may_have = size <= self.max_size.load(Ordering::Relaxed) && counted.elapsed() >= RECOUNT;
        if may_have {
            *counted = Instant::now();
        }
        may_have
    }

    fn take_place(&self, time: SystemTime) -> LetterPlace {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut last = self.last.lock();
        *last = if millis > last.millis {
            LetterPlace { millis, number: 0 }
        } else {
            LetterPlace { number: last.number + 1, ..*last }
        };
        *last
    }

    /// The path of the letter's note, and its temporary file, which claims the name until the note is there.
    fn begin(&self, mut place: LetterPlace, letter: &Letter) -> io::Result<(PathBuf, File)> {
        loop {
            let note = self.directory.join(format!("{}.{}.json", place.name(), letter.signal));
            match private_file().create_new(true).open(temporary(&note)) {
                // Somebody else may have written in the same millisecond, or with a clock that was ahead: a process before this
                // one, or this one for a configuration before this one.
                Ok(_) if note.exists() => fs::remove_file(temporary(&note))?,
                Ok(claim) => return Ok((note, claim)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            place = self.take_place(letter.time);
        }
    }
}

/// The two files of a letter that is being written.
struct Files<'f> {
    /// The path of its note.
    note: &'f Path,
    encoding: Encoding,
    synced: bool,
}

impl Files<'_> {
    /// Writes the bytes, and then the note into its temporary file, and gives both their names.
    fn write<'a>(
        &self,
        temporary_note: File,
        bytes: impl Iterator<Item = &'a [u8]>,
        note: &[u8],
    ) -> io::Result<()> {
        let payload = payload_path(self.note, self.encoding);
        let file = private_file().create(true).truncate(true).open(temporary(&payload))?;
        self.write_one(&payload, file, bytes)?;
        self.write_one(self.note, temporary_note, std::iter::once(note))
    }

    fn write_one<'a>(
        &self,
        path: &Path,
        mut file: File,
        mut pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        pieces
            .try_for_each(|piece| file.write_all(piece))
            .and_then(|()| if self.synced { file.sync_data() } else { Ok(()) })
            .and_then(|()| fs::rename(temporary(path), path))
    }

    /// Removes what was written, the note first: without it there is no letter. What can't be removed now is seen as bytes
    /// without a note.
    fn remove(&self) {
        let payload = payload_path(self.note, self.encoding);
        for path in [self.note, &temporary(self.note), &payload, &temporary(&payload)] {
            let _ = fs::remove_file(path);
        }
    }
}

/// The path of a file while it is being written.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
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
            origin: letter.origin.clone(),
            reason: letter.reason.clone(),
            records: letter.records,
            bytes: letter.bytes.iter().map(|piece| piece.len() as u64).sum(),
            time: utc::rfc3339(letter.time),
        }
    }

    /// As it stands in its file, for people as well.
    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a note has only strings for keys");
        text.push(b'\n');
        text
    }
}

impl KeyPart {
    fn of((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }
}

/// How much there is in a directory of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DirectorySize {
    bytes: u64,
    letters: u64,
}

impl DirectorySize {
    fn of(directory: &Path) -> io::Result<Self> {
        let mut held = Self::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    held.bytes += metadata.len();
                    held.letters +=
                        u64::from(Path::new(&entry.file_name()).extension() == Some("json".as_ref()));
                }
                Ok(_) => {}
                // Renamed or removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }
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
