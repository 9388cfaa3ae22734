//! The dead-letter directory of a running Sluice: storing letters, and looking at those that are there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use otlp::Redaction;
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::contents::DeadLetterContents;
use super::files::{LetterFiles, Note, TEMPORARY, private_file, temporary};
use super::filter::DeadLetterFilter;
use super::letter::{DeadLetter, DeadLetterPlace};
use super::list::{DeadLetterPage, ListedDeadLetter, named, page};
use super::stored::StoredDeadLetter;
use super::turns::{DeadLetterTurn, DeadLetterTurns};

/// How often a full directory is looked at again, as `sluice replay` or people may have made room.
const RECOUNT: Duration = Duration::from_secs(10);

/// `dead_letter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// Where dead letters are written.
    pub directory: PathBuf,
    /// Bytes the directory may hold; beyond, new dead letters are dropped (and counted).
    pub max_size: u64,
    /// Whether a letter is made safe against a power cut before it counts as stored. With a journal that is synced it
    /// is: an entry leaves the journal when its letter is stored.
    pub synced: bool,
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
    shared: Arc<LetterDirectory>,
    turns: Arc<DeadLetterTurns>,
    /// Held while the directory is listed.
    listing: Arc<Semaphore>,
}

#[derive(Debug)]
struct LetterDirectory {
    path: PathBuf,
    max_size: AtomicU64,
    synced: bool,
    /// Bytes of all files in the directory, those being written included.
    size: AtomicU64,
    /// Notes in the directory.
    letters: AtomicU64,
    /// Held for reading while a letter is stored, from its counting on until it is there, and for writing while the directory is counted:
    /// a letter that is in it and not counted yet would count twice.
    storing: RwLock<()>,
    /// The place that was last taken.
    last: Mutex<DeadLetterPlace>,
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
        let shared = LetterDirectory {
            size: AtomicU64::new(held.bytes),
            letters: AtomicU64::new(held.letters),
            storing: RwLock::new(()),
            last: Mutex::new(DeadLetterPlace { millis: 0, number: 0 }),
            counted: Mutex::new(Instant::now()),
            full: AtomicBool::new(false),
            path: settings.directory.clone(),
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
    pub fn take_place(&self) -> DeadLetterPlace {
        self.shared.take_place(SystemTime::now())
    }

    /// A name behind those of all letters that are here, and before those of letters to come.
    pub(super) fn end(&self) -> String {
        self.take_place().name()
    }

    /// Waits until a letter of this exporter, or of none, may be stored.
    pub async fn turn(&self, exporter: Option<&str>) -> Arc<DeadLetterTurn> {
        Arc::new(self.turns.take(exporter).await)
    }

    /// Stores no more letters, and waits for those that are being stored. A call that stores one later waits for ever: this is for a
    /// process that ends.
    pub async fn close(&self) {
        self.turns.close().await;
    }

    /// Stores a letter.
    pub async fn store(&self, letter: DeadLetter) -> Result<(), StoreError> {
        let turn = self.turn(letter.exporter.as_deref()).await;
        self.store_in(&turn, letter).await
    }

    /// Stores a letter whose turn it is. A turn that is kept until the letter is counted has it counted before the directory is
    /// closed.
    pub async fn store_in(&self, turn: &Arc<DeadLetterTurn>, letter: DeadLetter) -> Result<(), StoreError> {
        let place = self.shared.take_place(letter.time);
        self.write(Arc::clone(turn), place, letter).await
    }

    /// Stores a letter at a place that was taken for it, however many have been stored behind that since.
    pub async fn store_at(&self, place: DeadLetterPlace, letter: DeadLetter) -> Result<(), StoreError> {
        let turn = self.turn(letter.exporter.as_deref()).await;
        self.write(turn, place, letter).await
    }

    async fn write(
        &self,
        turn: Arc<DeadLetterTurn>,
        place: DeadLetterPlace,
        letter: DeadLetter,
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
        &self.shared.path
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

    /// The number of letters in the directory, counted as [`DeadLetters::bytes`] are.
    pub fn letters(&self) -> u64 {
        self.shared.letters.load(Ordering::Relaxed)
    }

    /// The newest letters that meet the conditions, but for those that are as new as `before`, the name of a file, or newer, and
    /// without the first `skip` of these; `most` of them at the most. Names count, which rise with every letter. A page has fewer where too many letters have to be looked at to
    /// find more; the next page goes on there. What is no whole letter meets no condition. Where there are conditions, the newest letters
    /// are opened on each page, however old the page is, to count those that meet them. One page at a time is made; others wait.
    pub async fn page(
        &self,
        before: Option<String>,
        skip: usize,
        most: usize,
        filter: DeadLetterFilter,
    ) -> io::Result<DeadLetterPage> {
        self.look(move |directory| page(directory, before.as_deref(), skip, most, &filter)).await
    }

    /// Reads in the directory by `look`, one call at a time.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.listing).acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let looked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look(&shared.path)
        });
        looked.await.map_err(io::Error::other)?
    }

    /// A single letter, by the name of its `.json`, or why it can't be read; `None` if there is no such file.
    pub async fn letter(&self, file: String) -> io::Result<Option<ListedDeadLetter>> {
        self.look(move |directory| Ok(named(directory, &file))).await
    }

    /// Looks inside a letter of this directory; one at a time is looked into.
    pub async fn contents(
        &self,
        letter: StoredDeadLetter,
        redaction: Arc<Redaction>,
    ) -> io::Result<DeadLetterContents> {
        self.look(move |_| DeadLetterContents::of(&letter, &redaction)).await
    }
}

impl LetterDirectory {
    fn store(&self, place: DeadLetterPlace, letter: &DeadLetter) -> Result<(), StoreError> {
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
        let held = DirectorySize::of(&self.path)?;
        self.size.store(held.bytes, Ordering::Relaxed);
        self.letters.store(held.letters, Ordering::Relaxed);
        Ok(())
    }

    /// Writes both files.
    fn put(&self, place: DeadLetterPlace, letter: &DeadLetter, note: &[u8]) -> io::Result<()> {
        let (note_path, claim) = self.begin(place, letter)?;
        let files = LetterFiles { note: &note_path, encoding: letter.encoding, synced: self.synced };
        files
            .write(claim, letter.bytes.iter().map(Bytes::as_ref), note)
            .and_then(|()| if self.synced { File::open(&self.path)?.sync_all() } else { Ok(()) })
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

    fn take_place(&self, time: SystemTime) -> DeadLetterPlace {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut last = self.last.lock();
        *last = if millis > last.millis {
            DeadLetterPlace { millis, number: 0 }
        } else {
            DeadLetterPlace { number: last.number + 1, ..*last }
        };
        *last
    }

    /// The path of the letter's note, and its temporary file, which claims the name until the note is there.
    fn begin(&self, mut place: DeadLetterPlace, letter: &DeadLetter) -> io::Result<(PathBuf, File)> {
        loop {
            let note = self.path.join(format!("{}.{}.json", place.name(), letter.signal));
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

#[cfg(test)]
pub(super) mod tests;
