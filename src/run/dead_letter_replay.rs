//! The replay and the deletion of dead letters while Sluice runs.
//!
//! A replay is a sender that waits for delivery: a letter is admitted to its stream, behind the entries that wait there, and its file is
//! removed once all of its records have ended for good, delivered or in a dead letter again. Until then the file exists, so that a replay
//! that is interrupted loses nothing. A letter that is not delivered in time is withdrawn, and a letter for which the stream has no room
//! waits as senders do. Of each stream one batch of letters is admitted at a time, so that no letter overtakes one that was not delivered.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::dead_letter_address::DeadLetterAddresses;
use super::{Phase, Router};
use crate::dead_letters::{
    DeadLetterPart, DeadLetterSelection, DeadLetterWalk, StoredDeadLetter, WalkedDeadLetters,
};
use crate::encoding::Encoding;
use crate::export::{Exporter, Fate, HoldScope, StreamHold, TENANT_REMOVED};
use crate::otlp;
use crate::receive::ConfigSnapshot;
use crate::route::{EntryRoutes, RequestHeaders, Values as _};
use crate::stream::{
    Admission, Full, Loss, Misplaced, Placement, Receipt, Refused, Reservation, StreamName, Writing,
};
use crate::tenants::Table;

/// The most streams whose letters are under way at a time.
const STREAMS: usize = 16;

/// After so many streams of an exporter in succession that were not delivered, the rest of its letters is left.
const MOST_IN_VAIN: usize = STREAMS;

/// The most letters that are reported with the reason why they are left.
const MOST_PROBLEMS: usize = 100;

/// How long to wait before the next attempt to admit letters where there is no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Memory that a letter takes beside its bytes while it waits, and that each of its entries takes.
const OVERHEAD: usize = 4096;
const ENTRY_OVERHEAD: usize = 192;

/// Why a letter is left behind one of its stream that is left.
const BEHIND: &str = "behind a letter of its stream that was not delivered";

/// Why a named file is left that is no letter, or is gone.
const NO_SUCH_LETTER: &str = "there is no such letter";

/// What came of a replay or a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterTally {
    /// Letters whose files are gone.
    pub letters: u64,
    /// Of a replay the records that were delivered, of a deletion those of the letters.
    pub records: u64,
    /// Records that became dead letters again, in new files.
    pub dead_lettered: u64,
    /// Records that the upstream has rejected by partial success.
    pub rejected: u64,
    /// Records that were refused again and have found no place in a dead letter, so that their letters are left.
    pub dropped: u64,
    /// Letters that are left.
    pub left: u64,
    /// The file of some of these letters, and why each is left.
    pub problems: Vec<(String, String)>,
}

/// Why letters are neither replayed nor deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterWorkError {
    /// The configuration has no dead-letter directory.
    #[error("there is no dead-letter directory: set `dead_letter.directory`")]
    NoDirectory,
    /// Another replay or deletion is under way.
    #[error(
        "other letters are being replayed or deleted, here or by `sluice replay`: try again when that has ended"
    )]
    Busy,
    /// The process ends.
    #[error("Sluice is shutting down")]
    Stopping,
    /// The directory can't be read.
    #[error("can't read `{}`: {reason}", directory.display())]
    Directory {
        /// The dead-letter directory.
        directory: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
}

/// A replay or a deletion of dead letters, of which there is one at a time. The shutdown waits for its end.
pub struct DeadLetterWork {
    router: Arc<Router>,
    walk: DeadLetterWalk,
    _underway: OwnedMutexGuard<()>,
}

impl DeadLetterWork {
    /// Begins a replay or a deletion of the letters of this selection.
    ///
    /// # Errors
    ///
    /// Why no letter is touched, such as another replay under way.
    pub async fn begin(
        router: &Arc<Router>,
        selection: DeadLetterSelection,
    ) -> Result<Self, DeadLetterWorkError> {
        let underway = router.dead_letters_underway().clone().try_lock_owned();
        let underway = underway.map_err(|_| DeadLetterWorkError::Busy)?;
        if router.phase() == Phase::Stopping {
            return Err(DeadLetterWorkError::Stopping);
        }
        let letters = router.intake().dead_letters.load_full().ok_or(DeadLetterWorkError::NoDirectory)?;
        match DeadLetterWalk::begin(&letters, selection).await {
            Ok(Some(walk)) => Ok(Self { router: router.clone(), walk, _underway: underway }),
            Ok(None) => Err(DeadLetterWorkError::Busy),
            Err(reason) => {
                Err(DeadLetterWorkError::Directory { directory: letters.directory().into(), reason })
            }
        }
    }

    /// Sends the letters again; those of tenants that were removed only with `removed_tenants`. If the future is dropped before its end,
    /// the rest of the letters is left.
    pub async fn replay(mut self, removed_tenants: bool) -> Result<DeadLetterTally, DeadLetterWorkError> {
        let replay = Arc::new(DeadLetterReplay {
            router: self.router.clone(),
            removed_tenants,
            stopped: Mutex::default(),
            in_vain: Mutex::default(),
            tally: Mutex::default(),
        });
        while let Some(walked) = self.next().await? {
            replay.letters(walked).await;
        }
        self.recount().await?;
        Ok(Arc::into_inner(replay).expect("its tasks have ended").tally.into_inner())
    }

    /// Removes the letters for good.
    pub async fn delete(mut self) -> Result<DeadLetterTally, DeadLetterWorkError> {
        let mut tally = DeadLetterTally::default();
        while let Some(WalkedDeadLetters { letters, missing }) = self.next().await? {
            for file in missing {
                tally.leave(file, NO_SUCH_LETTER.to_owned());
            }
            let removed = self.walk.remove(letters).await.map_err(|reason| self.unreadable(reason))?;
            for (listed, removed) in removed {
                match removed {
                    Ok(true) => {
                        tally.letters += 1;
                        tally.records += listed.letter.as_ref().map_or(0, StoredDeadLetter::records);
                    }
                    Ok(false) => tally.leave(listed.file, NO_SUCH_LETTER.to_owned()),
                    Err(error) => tally.leave(listed.file, format!("it can't be removed: {error}")),
                }
            }
        }
        self.recount().await?;
        Ok(tally)
    }

    async fn next(&mut self) -> Result<Option<WalkedDeadLetters>, DeadLetterWorkError> {
        self.walk.next().await.map_err(|reason| self.unreadable(reason))
    }

    /// Counts the bytes that are left in the directory.
    async fn recount(&self) -> Result<(), DeadLetterWorkError> {
        self.walk.letters().recount().await.map_err(|reason| self.unreadable(reason))
    }

    fn unreadable(&self, reason: io::Error) -> DeadLetterWorkError {
        DeadLetterWorkError::Directory { directory: self.walk.letters().directory().into(), reason }
    }
}

impl DeadLetterTally {
    /// Counts the records of a letter that was sent.
    fn count(&mut self, letter: &StoredDeadLetter, end: DeadLetterEnd) {
        let DeadLetterEnd { dead_lettered, rejected, lost } = end;
        self.records += letter.records().saturating_sub(dead_lettered + rejected + lost);
        self.dead_lettered += dead_lettered;
        self.rejected += rejected;
        self.dropped += lost;
    }

    fn leave(&mut self, file: String, why: String) {
        self.left += 1;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push((file, why));
        }
    }
}

/// A replay under way.
struct DeadLetterReplay {
    router: Arc<Router>,
    removed_tenants: bool,
    /// Streams in which a letter was not delivered.
    stopped: Mutex<HashSet<DeadLetterStream>>,
    /// By exporter, the number of streams that were not delivered since one of its letters was.
    in_vain: Mutex<HashMap<Arc<str>, usize>>,
    tally: Mutex<DeadLetterTally>,
}

/// The stream that a letter goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DeadLetterStream {
    exporter: Arc<str>,
    name: StreamName,
}

/// Letters of a stream that are admitted together.
struct DeadLetterBatch {
    /// The letters, each with the number of its entries.
    letters: Vec<(StoredDeadLetter, usize)>,
    /// The letters as one request.
    body: Bytes,
    /// The memory of the body.
    _held: Reservation,
}

/// The outcome of sending a batch of letters.
struct SentDeadLetters {
    /// What was not delivered of the entries that have ended.
    losses: Vec<Loss>,
    /// The entries that have not ended, by their positions in the batch.
    unsettled: BTreeSet<usize>,
    /// Why these entries have not ended, if there are any.
    why_not: Option<String>,
}

impl SentDeadLetters {
    fn nothing_of(batch: &DeadLetterBatch, why: String) -> Self {
        let entries = batch.letters.iter().map(|(_, entries)| entries).sum();
        Self { losses: Vec::new(), unsettled: (0..entries).collect(), why_not: Some(why) }
    }
}

/// The records of a letter that were not delivered, by how they have ended.
#[derive(Clone, Copy, Debug, Default)]
struct DeadLetterEnd {
    dead_lettered: u64,
    rejected: u64,
    /// Records that are kept by the letter's own file alone.
    lost: u64,
}

/// Why letters are not admitted.
enum UnadmittedDeadLetters {
    /// There is no room now, and may be soon.
    Full(String),
    Never(String),
}

/// Letters that are being written to the journal, or that wait in their stream.
enum AdmittedDeadLetters {
    Writing(Writing),
    Waiting(Receipt),
}

impl From<Refused> for UnadmittedDeadLetters {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(full) | Refused::FullStream { full, .. } => Self::Full(full.to_string()),
            Refused::TooLarge => Self::Never("it takes more than `limits.memory`".to_owned()),
            Refused::TooLargeForJournal => Self::Never("it is larger than `journal.max_size`".to_owned()),
            Refused::TooManyStreams => Self::Never(Full::Streams.to_string()),
        }
    }
}

impl DeadLetterReplay {
    /// Sends these letters; ready when all of them have ended or are left.
    async fn letters(self: &Arc<Self>, walked: WalkedDeadLetters) {
        for file in walked.missing {
            self.tally.lock().leave(file, NO_SUCH_LETTER.to_owned());
        }
        let mut streams: Vec<(DeadLetterStream, VecDeque<StoredDeadLetter>)> = Vec::new();
        let mut positions: HashMap<DeadLetterStream, usize> = HashMap::new();
        for listed in walked.letters {
            let letters = match listed.letter {
                Ok(letter) if letter.exporter().is_some() => vec![letter],
                Ok(letter) => self.divided(letter).await,
                Err(problem) => {
                    self.tally.lock().leave(listed.file, problem);
                    continue;
                }
            };
            for letter in letters {
                match self.stream_of(&letter) {
                    Ok(stream) => {
                        let at = *positions.entry(stream.clone()).or_insert(streams.len());
                        if at == streams.len() {
                            streams.push((stream, VecDeque::new()));
                        }
                        streams[at].1.push_back(letter);
                    }
                    Err(why) => self.leave(&letter, why),
                }
            }
        }
        let mut sending = JoinSet::new();
        for (stream, letters) in streams {
            if sending.len() >= STREAMS {
                ended(sending.join_next().await);
            }
            sending.spawn(self.clone().stream(stream, letters));
        }
        while let Some(one) = sending.join_next().await {
            ended(Some(one));
        }
    }

    /// Divides a letter that never had an exporter, also in the directory, and returns its parts; none, if it is left.
    async fn divided(&self, letter: StoredDeadLetter) -> Vec<StoredDeadLetter> {
        let snapshot = self.router.intake().snapshot.load_full();
        let table = Arc::clone(&self.router.tenants().table());
        let dividing = spawn_blocking(move || {
            let parts = address(&snapshot, table, &letter);
            let divided = parts.and_then(|parts| {
                let why = |error| format!("it can't be divided among the streams that it goes to: {error}");
                letter.divide(&parts).map_err(why)
            });
            divided.map_err(|why| Box::new((letter, why)))
        });
        match dividing.await.expect("dividing a letter doesn't panic") {
            Ok(letters) => letters,
            Err(left) => {
                let (letter, why) = *left;
                self.leave(&letter, why);
                Vec::new()
            }
        }
    }

    /// The stream that a letter goes to, or why it is left.
    fn stream_of(&self, letter: &StoredDeadLetter) -> Result<DeadLetterStream, String> {
        let Some(exporter) = letter.exporter() else { return Err(letter.reason().to_owned()) };
        if letter.reason() == TENANT_REMOVED && !self.removed_tenants {
            return Err("its tenant was removed, and the id may be somebody else's by now: `removed_tenants` sends it by the row that has \
                        the id"
                .to_owned());
        }
        let key = letter.key().ok_or("it has no routing key")?.clone();
        Ok(DeadLetterStream { exporter: exporter.into(), name: StreamName { signal: letter.signal(), key } })
    }

    /// Sends letters of one stream one after the other, until one is not delivered.
    async fn stream(self: Arc<Self>, stream: DeadLetterStream, mut letters: VecDeque<StoredDeadLetter>) {
        let mut stopped = self.obstacle(&stream);
        while stopped.is_none() && !letters.is_empty() {
            stopped = self.next_batch(&stream, &mut letters).await.err();
        }
        let why = stopped.unwrap_or_default();
        for letter in &letters {
            self.leave(letter, why.clone());
        }
    }

    /// Why no letter of a stream is to be sent now, if there is a reason.
    fn obstacle(&self, stream: &DeadLetterStream) -> Option<String> {
        if self.stopped.lock().contains(stream) {
            return Some(BEHIND.to_owned());
        }
        let in_vain = self.in_vain.lock().get(&stream.exporter).copied().unwrap_or_default();
        (in_vain >= MOST_IN_VAIN).then(|| {
            format!(
                "`{}` has not taken the letters of {in_vain} streams, one after the other",
                stream.exporter
            )
        })
    }

    /// Sends the next batch of a stream's letters. The error is why the rest of its letters is to be left.
    async fn next_batch(
        &self,
        stream: &DeadLetterStream,
        letters: &mut VecDeque<StoredDeadLetter>,
    ) -> Result<(), String> {
        if self.router.phase() == Phase::Stopping {
            return Err(DeadLetterWorkError::Stopping.to_string());
        }
        let snapshot = self.router.intake().snapshot.load_full();
        let Some(exporter) = snapshot.exporters.iter().find(|known| *known.name() == stream.exporter) else {
            return Err(format!("the configuration has no exporter `{}`", stream.exporter));
        };
        let deadline = Instant::now() + snapshot.acknowledge_timeout;
        let most = exporter.active().settings.queue.batch.max_size as u64;
        let (mut next, mut bytes) = (Vec::new(), 0);
        while letters.front().is_some_and(|letter| bytes == 0 || bytes + letter.len() <= most) {
            let Some(letter) = letters.pop_front() else { break };
            bytes += letter.len();
            next.push(letter);
        }
        let batch = match self.load(next, bytes, deadline).await {
            Ok(batch) if batch.letters.is_empty() => return Ok(()),
            Ok(batch) => batch,
            Err((next, why)) => {
                for letter in &next {
                    self.leave(letter, why.clone());
                }
                return Err(BEHIND.to_owned());
            }
        };
        let SentDeadLetters { losses, unsettled, why_not } =
            self.send(exporter, stream, &batch, deadline).await;
        let ends = self.ends(&batch.letters, &losses, &unsettled);
        let mut why = why_not.clone();
        for ((letter, _), end) in batch.letters.into_iter().zip(ends) {
            match end {
                Some(end) => {
                    self.in_vain.lock().remove(&stream.exporter);
                    self.end(letter, end).await;
                }
                None => self.leave(&letter, why.take().unwrap_or_else(|| BEHIND.to_owned())),
            }
        }
        if why_not.is_none() {
            return Ok(());
        }
        *self.in_vain.lock().entry(stream.exporter.clone()).or_default() += 1;
        self.stopped.lock().insert(stream.clone());
        Err(BEHIND.to_owned())
    }

    /// Reads letters into a batch. Letters that can't be read or are not valid are left. The error returns all letters if there was no
    /// memory for them until the deadline.
    async fn load(
        &self,
        letters: Vec<StoredDeadLetter>,
        bytes: u64,
        deadline: Instant,
    ) -> Result<DeadLetterBatch, (Vec<StoredDeadLetter>, String)> {
        let budget = &self.router.shared().budget;
        let mut held = Reservation::empty(budget.clone());
        while !held.grow(bytes) {
            if bytes > budget.limit() || Instant::now() >= deadline {
                return Err((letters, Full::Memory.to_string()));
            }
            sleep(NO_ROOM).await;
        }
        let loading = spawn_blocking(move || {
            let mut batch = DeadLetterBatch { letters: Vec::new(), body: Bytes::new(), _held: held };
            let (mut body, mut unread) = (BytesMut::with_capacity(bytes as usize), Vec::new());
            for letter in letters {
                match read(&letter) {
                    Ok((bytes, entries)) => {
                        body.extend_from_slice(&bytes);
                        batch.letters.push((letter, entries));
                    }
                    Err(why) => unread.push((letter, why)),
                }
            }
            batch.body = body.freeze();
            (batch, unread)
        });
        let (batch, unread) = loading.await.expect("reading letters doesn't panic");
        for (letter, why) in unread {
            self.leave(&letter, why);
        }
        Ok(batch)
    }

    /// Admits letters to the stream and waits until all of their records have ended. What is not settled at the deadline is withdrawn.
    async fn send(
        &self,
        exporter: &Arc<Exporter>,
        stream: &DeadLetterStream,
        batch: &DeadLetterBatch,
        deadline: Instant,
    ) -> SentDeadLetters {
        let receipt = loop {
            let full = match self.admit(exporter, stream, batch).await {
                Ok(receipt) => break receipt,
                Err(UnadmittedDeadLetters::Never(why)) => return SentDeadLetters::nothing_of(batch, why),
                Err(UnadmittedDeadLetters::Full(why)) => why,
            };
            if Instant::now() >= deadline || self.router.phase() == Phase::Stopping {
                return SentDeadLetters::nothing_of(batch, format!("there is no room for it: {full}"));
            }
            sleep(NO_ROOM).await;
        };
        let late = || {
            // While the stream is held, the upstream's last answer is not the reason.
            let causes = held_for(exporter, &stream.name).unwrap_or_else(|| receipt.causes_of_delay());
            Err(format!("not delivered in time ({causes})"))
        };
        let settled = tokio::select! {
            biased;
            settled = receipt.settled() => settled.map_err(|why| why.to_string()),
            () = sleep_until(deadline) => late(),
            () = self.router.intake().closed() => late(),
        };
        match settled {
            Ok(losses) => SentDeadLetters { losses, unsettled: BTreeSet::new(), why_not: None },
            Err(why) => {
                let (losses, unsettled) = receipt.so_far();
                SentDeadLetters { losses, unsettled, why_not: Some(why) }
            }
        }
    }

    async fn admit(
        &self,
        exporter: &Arc<Exporter>,
        stream: &DeadLetterStream,
        batch: &DeadLetterBatch,
    ) -> Result<Receipt, UnadmittedDeadLetters> {
        let (router, exporter, name) = (self.router.clone(), exporter.clone(), stream.name.clone());
        let (body, letters) = (batch.body.clone(), batch.letters.len());
        // Large letters take more of a worker's time than other tasks should wait for.
        let admitting = spawn_blocking(move || admit(&router, &exporter, &name, &body, letters));
        match admitting.await.expect("admitting letters doesn't panic")? {
            AdmittedDeadLetters::Waiting(receipt) => Ok(receipt),
            AdmittedDeadLetters::Writing(mut writing) => {
                Ok(writing.written().await?.expect("whoever waits for all of it gets a receipt"))
            }
        }
    }

    /// How each letter has ended; `None` for one that has not.
    fn ends(
        &self,
        letters: &[(StoredDeadLetter, usize)],
        losses: &[Loss],
        unsettled: &BTreeSet<usize>,
    ) -> Vec<Option<DeadLetterEnd>> {
        let behind: Vec<usize> = letters
            .iter()
            .scan(0, |behind, (_, entries)| {
                *behind += entries;
                Some(*behind)
            })
            .collect();
        let letter_of = |entry: usize| behind.partition_point(|behind| *behind <= entry);
        // If a reload has just removed the directory, records that an upstream refuses count as rejected, and are kept nowhere.
        let is_kept = self.router.intake().dead_letters.load().is_some();
        let mut ends = vec![Some(DeadLetterEnd::default()); letters.len()];
        for loss in losses {
            let Some(end) = &mut ends[letter_of(loss.index)] else { continue };
            match loss.fate {
                Fate::Delivered => {}
                Fate::DeadLettered => end.dead_lettered += loss.records,
                Fate::Rejected if is_kept => end.rejected += loss.records,
                Fate::Rejected | Fate::Dropped => end.lost += loss.records,
            }
        }
        for entry in unsettled {
            ends[letter_of(*entry)] = None;
        }
        ends
    }

    /// Removes a letter that was sent, unless some of its records are kept nowhere else.
    async fn end(&self, letter: StoredDeadLetter, end: DeadLetterEnd) {
        if end.lost > 0 {
            let lost = end.lost;
            self.tally.lock().count(&letter, end);
            return self.leave(
                &letter,
                format!("{lost} of its records were refused again, and have found no place in a dead letter"),
            );
        }
        let (letter, removed) = spawn_blocking(move || {
            let removed = letter.remove();
            (letter, removed)
        })
        .await
        .expect("removing a letter doesn't panic");
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.leave(&letter, format!("it was sent, and can't be removed: {error}"));
            }
            _ => {
                let mut tally = self.tally.lock();
                tally.letters += 1;
                tally.count(&letter, end);
            }
        }
    }

    fn leave(&self, letter: &StoredDeadLetter, why: String) {
        let file = letter.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.tally.lock().leave(file, why);
    }
}

fn ended(one: Option<Result<(), tokio::task::JoinError>>) {
    one.transpose().expect("sending letters doesn't panic");
}

/// The hold under which a stream is, if people have put it there, and how it is ended.
fn held_for(exporter: &Exporter, name: &StreamName) -> Option<String> {
    let of = exporter.name();
    match exporter.hold_of(name)? {
        StreamHold::ByOperator { scope: HoldScope::Exporter, hold } => Some(format!(
            "all of `{of}` is {hold}: release it on its page, or by POST /api/v1/exporters/{of}/release"
        )),
        StreamHold::ByOperator { hold, .. } => {
            Some(format!("its stream is {hold}: release it on its page, or by POST /api/v1/streams/release"))
        }
        StreamHold::ByRow => {
            Some("its tenant is held by its row: release it on the tenant's page, or in the table".to_owned())
        }
        StreamHold::OfTenant(_) | StreamHold::OfExporter(_) => None,
    }
}

/// The parts of a letter that never had an exporter, by the routes in use, or why it is left.
fn address(
    snapshot: &ConfigSnapshot,
    table: Arc<Table>,
    letter: &StoredDeadLetter,
) -> Result<Vec<DeadLetterPart>, String> {
    let routes = EntryRoutes {
        routes: snapshot.routes.clone(),
        exporters: snapshot.exporters.iter().map(|exporter| exporter.name().clone()).collect(),
        table,
        request: RequestHeaders::default(),
    };
    let open = |name: &Arc<str>, stream: &StreamName| {
        let exporter = snapshot.exporters.iter().find(|known| known.name() == name);
        let exporter = exporter.expect("a snapshot has the exporters that its routes name");
        exporter.target(stream).map_err(|error| error.to_string())?;
        Ok(exporter.active().settings.queue.batch.max_size)
    };
    DeadLetterAddresses { routes: &routes, open }.address(letter)
}

/// The bytes of a letter and the number of its entries, or why they can't be sent.
fn read(letter: &StoredDeadLetter) -> Result<(Bytes, usize), String> {
    let bytes = letter.load().map_err(|error| format!("its bytes can't be read: {error}"))?;
    let invalid = |why: String| format!("it is no valid OTLP: {why}");
    if letter.encoding() == Encoding::Json {
        return Err(invalid("what could be valid of it was sent before".to_owned()));
    }
    let split = otlp::split(letter.signal(), &bytes).map_err(|malformed| invalid(malformed.to_string()))?;
    if let Some(cut) = split.cuts.first() {
        return Err(invalid(format!("{}: {}", cut.path, cut.reason)));
    }
    let entries = split.entries.len();
    if entries == 0 { Err("there is nothing in it".to_owned()) } else { Ok((bytes.clone(), entries)) }
}

/// Admits letters to their stream, all or none. Blocks for as long as it takes to copy them.
fn admit(
    router: &Router,
    exporter: &Exporter,
    name: &StreamName,
    body: &Bytes,
    letters: usize,
) -> Result<AdmittedDeadLetters, UnadmittedDeadLetters> {
    let split = otlp::split(name.signal, body)
        .map_err(|malformed| UnadmittedDeadLetters::Never(malformed.to_string()))?;
    let overhead = (letters * OVERHEAD + split.entries.len() * ENTRY_OVERHEAD + split.copied_bytes()) as u64;
    let mut reservation = Reservation::empty(router.shared().budget.clone());
    if !reservation.grow(overhead) {
        return Err(UnadmittedDeadLetters::Full(Full::Memory.to_string()));
    }
    let mut admission = Admission::new(name.signal, reservation, overhead);
    let at = Placement { registry: exporter.registry(), key: name.key.as_written(), route: None };
    for (position, entry) in split.entries.iter().enumerate() {
        match admission.place(position, &entry.bytes, entry.records, &at) {
            Ok(_) => {}
            Err(Misplaced::Unfit(why)) => return Err(UnadmittedDeadLetters::Never(why)),
            Err(Misplaced::Refused(refused)) => return Err(refused.into()),
        }
    }
    let (sheds, admitted) = if let Some(journal) = &router.intake().journal {
        let (sheds, writing) = admission.commit_durably(journal, body, true)?;
        (sheds, AdmittedDeadLetters::Writing(writing))
    } else {
        let (sheds, receipt) = admission.commit_with_receipt(true)?;
        (sheds, AdmittedDeadLetters::Waiting(receipt))
    };
    match sheds.first() {
        // All entries are of one stream, so that either all or none are shed; shed entries were not admitted.
        Some(shed) => Err(UnadmittedDeadLetters::Full(shed.full.to_string())),
        None => Ok(admitted),
    }
}
