//! The figures by which live streams are found among all others, side by side in memory.
//!
//! Whoever looks for the streams that fail, or for what has waited longest, looks at all of them, and there may be a million.
//! That must take no lock of a stream and follow no pointer: so the figures by which streams are found and put in order stand
//! in the rows of a table, and a look reads memory from one end to the other. A stream has its row for as long as it lives,
//! and what changes it writes there at once; so a look finds each stream as it is in that moment.
//!
//! A row is a cache line, so that neighbours do not slow each other down. Rows stand in blocks, each with the names of its
//! streams; a block that has no stream is freed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::StreamName;
use super::history::{History, StreamActivity};
use super::stream_word::{AtomicStreamWord, StreamWord};
use super::unanswered::{RowPlace, UnansweredAttempts};
use crate::tenants::TenantAccount;

/// Rows in a block. An exporter that has one stream has a whole block for it, some 3 KiB.
const ROWS: usize = 32;

/// Blocks, one behind the other, that a look takes hold of at a time: while it does, no stream can begin or end.
const RUN: usize = 32;

/// The figures of the live streams of one exporter.
#[derive(Debug)]
pub(super) struct FigureTable {
    /// What times are counted from.
    began: Instant,
    blocks: Mutex<Blocks>,
    /// Streams of which the upstream has taken nothing since an attempt failed.
    failing: AtomicI64,
    /// Streams that have something to send and are held.
    held: AtomicI64,
    unanswered: UnansweredAttempts,
}

#[derive(Debug, Default)]
struct Blocks {
    /// By its number; none where no stream is.
    all: Vec<PartlyTaken>,
    /// The numbers of those that are not full.
    with_room: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct PartlyTaken {
    block: Option<Arc<Block>>,
    /// A bit for each row that is a stream's.
    taken: u32,
}

#[derive(Debug)]
struct Block {
    rows: [FigureRow; ROWS],
    names: RwLock<[Option<StreamName>; ROWS]>,
}

/// What is known at a glance of one stream.
#[derive(Debug, Default)]
#[repr(align(64))]
struct FigureRow {
    word: AtomicStreamWord,
    /// When the oldest entry that is not settled was admitted, in microseconds, plus one; 0 if there is none.
    oldest: AtomicU64,
    /// Failures since the upstream last took anything.
    failures: AtomicU32,
    /// Attempts of which the upstream took nothing, since the stream began.
    all_failed_attempts: AtomicU32,
    /// Copied from its [`History`], as the next.
    delivered_records: AtomicU64,
    not_delivered_records: AtomicU64,
    /// When its last error was, by the clock, in milliseconds; 0 if there was none.
    last_error: AtomicU64,
    /// When the oldest of its attempts began that have not been answered for long, in microseconds, plus one; 0 if there is none.
    unanswered: AtomicU64,
    /// The number of its tenant's account, which lives as long as the stream does; 0 if it is no tenant's.
    account: AtomicUsize,
}

/// The row of a stream, for as long as it lives.
#[derive(Debug)]
pub(super) struct StreamFigures {
    table: Arc<FigureTable>,
    block: Arc<Block>,
    number: u32,
    row: u32,
}

/// A stream as a look at all of them finds it.
#[derive(Clone, Copy, Debug)]
pub struct ScannedStream<'s> {
    /// Its name.
    pub name: &'s StreamName,
    row: &'s FigureRow,
    word: StreamWord,
}

impl FigureTable {
    /// Times are counted from `began`, before which no entry was admitted.
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            blocks: Mutex::default(),
            failing: AtomicI64::new(0),
            held: AtomicI64::new(0),
            unanswered: UnansweredAttempts::default(),
        }
    }

    /// A row for a stream of this name, tenant and history, which waits for its first entry.
    pub(super) fn enter(
        self: &Arc<Self>,
        name: &StreamName,
        account: Option<&Arc<TenantAccount>>,
        history: &History,
    ) -> StreamFigures {
        let (number, row, block) = self.blocks.lock().take();
        let figures = StreamFigures { table: self.clone(), block, number: number as u32, row: row as u32 };
        let mut names = figures.block.names.write();
        let fresh = figures.row();
        fresh.word.reset();
        fresh.oldest.store(0, Ordering::Relaxed);
        fresh.failures.store(0, Ordering::Relaxed);
        fresh.all_failed_attempts.store(0, Ordering::Relaxed);
        fresh.account.store(account.map_or(0, TenantAccount::number), Ordering::Relaxed);
        figures.set_history(history);
        // From here on it is found.
        names[row] = Some(name.clone());
        drop(names);
        figures
    }

    /// Looks at every live stream, in an order that has nothing to do with when they began, until there are no more or `look`
    /// has found enough. Streams that begin or end meanwhile are found or not.
    pub(super) fn scan(&self, mut look: impl FnMut(ScannedStream<'_>) -> ControlFlow<()>) {
        let count = self.blocks.lock().all.len().div_ceil(RUN);
        let mut blocks = Vec::with_capacity(RUN);
        for run in scattered(count) {
            {
                let known = self.blocks.lock();
                let run = known.all.iter().skip(run * RUN).take(RUN);
                blocks.extend(run.filter_map(|partly| partly.block.clone()));
            }
            for block in blocks.drain(..) {
                let names = block.names.read();
                for (name, row) in names.iter().zip(&block.rows) {
                    let Some(name) = name else { continue };
                    let word = row.word.load();
                    if !word.is_gone() && look(ScannedStream { name, row, word }).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Streams of which the upstream has taken nothing since an attempt failed.
    pub(super) fn failing(&self) -> usize {
        // What is counted by another thread in this moment may make it less than nothing.
        self.failing.load(Ordering::Relaxed).max(0) as usize
    }

    /// Streams that have something to send and are held.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed).max(0) as usize
    }

    /// Streams with an attempt under way that has not been answered for long.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.streams()
    }

    /// The moment that a look has found.
    pub(super) fn moment(&self, micros: u64) -> Instant {
        self.began + Duration::from_micros(micros)
    }

    /// How a row writes a moment: in microseconds, plus one; 0 for none.
    fn micros(&self, at: Option<Instant>) -> u64 {
        at.map_or(0, |at| at.saturating_duration_since(self.began).as_micros() as u64 + 1)
    }

    /// Counts a change of what a stream holds or does; returns how it was before.
    fn count(&self, (before, after): (StreamWord, StreamWord)) -> StreamWord {
        match (before.is_held(), after.is_held()) {
            (false, true) => _ = self.held.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.held.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        before
    }
}

impl Blocks {
    /// Takes the first row that is free: the number of its block, its place there, and the block.
    fn take(&mut self) -> (usize, usize, Arc<Block>) {
        let number = self.with_room.first().copied().unwrap_or_else(|| {
            self.all.push(PartlyTaken::default());
            self.with_room.insert(self.all.len() - 1);
            self.all.len() - 1
        });
        let partly = &mut self.all[number];
        let block = partly.block.get_or_insert_with(Arc::default).clone();
        let row = partly.taken.trailing_ones() as usize;
        partly.taken |= 1 << row;
        if partly.taken == u32::MAX {
            self.with_room.remove(&number);
        }
        (number, row, block)
    }

    fn give_back(&mut self, number: usize, row: usize) {
        let partly = &mut self.all[number];
        partly.taken &= !(1 << row);
        self.with_room.insert(number);
        if partly.taken == 0 {
            partly.block = None;
            while self.all.pop_if(|last| last.block.is_none()).is_some() {
                self.with_room.remove(&self.all.len());
            }
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self {
            rows: std::array::from_fn(|_| FigureRow::default()),
            names: RwLock::new([const { None }; ROWS]),
        }
    }
}

/// The numbers below `count`, far from each other: whoever keeps the first of an order then rarely meets what comes before all
/// that it has, also where streams began in that order.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    let golden = (count as f64 * 0.618).round() as usize;
    let step = (golden.max(1)..=count + 1).find(|step| are_coprime(*step, count)).unwrap_or(1);
    (0..count).scan(0, move |at, _| {
        let number = *at;
        *at = (*at + step) % count;
        Some(number)
    })
}

fn are_coprime(mut one: usize, mut other: usize) -> bool {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one == 1
}

impl StreamFigures {
    fn row(&self) -> &FigureRow {
        &self.block.rows[self.row as usize]
    }

    pub(super) fn word(&self) -> StreamWord {
        self.row().word.load()
    }

    /// Adds bytes to what it holds, if `fits` says so of what that was; returns what it was in any case.
    pub(super) fn reserve(
        &self,
        bytes: u64,
        fits: impl Fn(StreamWord) -> bool,
    ) -> Result<StreamWord, StreamWord> {
        self.row().word.reserve(bytes, fits).map(|change| self.table.count(change))
    }

    /// Adds bytes to what it holds.
    pub(super) fn add(&self, bytes: u64) {
        self.table.count(self.row().word.add(bytes));
    }

    /// Takes bytes off what it holds. Who reads afterwards whether anybody waits for room sees those who saw none before.
    pub(super) fn subtract(&self, bytes: u64) {
        self.table.count(self.row().word.subtract(bytes));
    }

    /// Notes what the stream does, unless it is held: see [`Self::hold_batch`]. What holds nothing is idle in any case.
    pub(super) fn set_activity(&self, activity: StreamActivity) {
        self.table.count(self.row().word.set_activity(activity));
    }

    /// Counts a batch that waits because it is held. Returns whether it is counted: then [`Self::release_batch`] has to follow.
    pub(super) fn hold_batch(&self) -> bool {
        self.row().word.hold_batch().map(|change| self.table.count(change)).is_some()
    }

    /// Takes a batch off those that are held.
    pub(super) fn release_batch(&self) {
        self.table.count(self.row().word.release_batch());
    }

    /// Marks the stream as gone, if it holds nothing; returns whether that is so now.
    pub(super) fn retire(&self) -> bool {
        self.row().word.retire()
    }

    /// Notes when the oldest entry that is not settled was admitted.
    pub(super) fn set_oldest(&self, oldest: Option<Instant>) {
        let (oldest, known) = (self.table.micros(oldest), &self.row().oldest);
        // Most changes of a queue are none of this, and a line that is only read stays with all who read it.
        if known.load(Ordering::Relaxed) != oldest {
            known.store(oldest, Ordering::Relaxed);
        }
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.row().oldest().map(|micros| self.table.moment(micros))
    }

    /// Adds an attempt that has not been answered for long, by when it began.
    pub(super) fn begin_unanswered(&self, began: Instant) {
        self.table.unanswered.add(self.place(), began, |oldest| self.show_unanswered(oldest));
    }

    /// Takes away what [`Self::begin_unanswered`] has added.
    pub(super) fn end_unanswered(&self, began: Instant) {
        self.table.unanswered.remove(self.place(), began, |oldest| self.show_unanswered(oldest));
    }

    fn show_unanswered(&self, oldest: Option<Instant>) {
        self.row().unanswered.store(self.table.micros(oldest), Ordering::Relaxed);
    }

    /// What tells it from all other live streams of the table.
    fn place(&self) -> RowPlace {
        (self.number, self.row)
    }

    pub(super) fn unanswered(&self) -> Option<Instant> {
        self.row().unanswered().map(|micros| self.table.moment(micros))
    }

    /// Counts one more failure; returns how many there were.
    pub(super) fn fail(&self) -> u64 {
        let before = u64::from(self.row().failures.fetch_add(1, Ordering::Relaxed));
        if before == 0 {
            self.table.failing.fetch_add(1, Ordering::Relaxed);
        }
        before
    }

    /// Forgets the failures; returns how many there were.
    pub(super) fn recover(&self) -> u64 {
        let before = u64::from(self.row().failures.swap(0, Ordering::Relaxed));
        if before > 0 {
            self.table.failing.fetch_sub(1, Ordering::Relaxed);
        }
        before
    }

    pub(super) fn failures(&self) -> u64 {
        self.row().failures.load(Ordering::Relaxed).into()
    }

    /// Of its history.
    pub(super) fn delivered_records(&self) -> u64 {
        self.row().delivered_records.load(Ordering::Relaxed)
    }

    /// Of its history.
    pub(super) fn not_delivered_records(&self) -> u64 {
        self.row().not_delivered_records.load(Ordering::Relaxed)
    }

    /// Counts an attempt of which the upstream took nothing.
    pub(super) fn count_failed_attempt(&self) {
        self.row().all_failed_attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts of which the upstream took nothing, since the stream began.
    pub(super) fn all_failed_attempts(&self) -> u64 {
        self.row().all_failed_attempts.load(Ordering::Relaxed).into()
    }

    /// Notes what of its history is looked at of many streams.
    pub(super) fn set_history(&self, history: &History) {
        let row = self.row();
        row.delivered_records.store(history.delivered_records, Ordering::Relaxed);
        row.not_delivered_records.store(history.not_delivered_records(), Ordering::Relaxed);
        row.last_error.store(history.last_error_millis().unwrap_or_default(), Ordering::Relaxed);
    }

    pub(super) fn notes_successes(&self) -> bool {
        self.row().word.notes_successes()
    }

    pub(super) fn set_notes_successes(&self, notes: bool) {
        self.row().word.set_notes_successes(notes);
    }
}

impl Drop for StreamFigures {
    fn drop(&mut self) {
        self.recover();
        let word = self.word();
        self.table.count((word, StreamWord::default()));
        self.block.names.write()[self.row as usize] = None;
        self.table.blocks.lock().give_back(self.number as usize, self.row as usize);
    }
}

impl FigureRow {
    fn oldest(&self) -> Option<u64> {
        self.oldest.load(Ordering::Relaxed).checked_sub(1)
    }

    fn unanswered(&self) -> Option<u64> {
        self.unanswered.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl ScannedStream<'_> {
    /// When the oldest of its attempts began that have not been answered for long, in microseconds since
    /// [`EngineState::began`](super::EngineState::began).
    pub fn unanswered_micros(&self) -> Option<u64> {
        self.row.unanswered()
    }

    /// Framed bytes admitted and not settled.
    pub fn pending_bytes(&self) -> u64 {
        self.word.bytes()
    }

    /// What it does.
    pub fn activity(&self) -> StreamActivity {
        self.word.activity()
    }

    /// When the oldest entry that is not settled was admitted, in microseconds since
    /// [`EngineState::began`](super::EngineState::began).
    pub fn oldest_micros(&self) -> Option<u64> {
        self.row.oldest()
    }

    /// [`TenantAccount::number`] of its tenant's, if it is one's. Unlike the name of the tenant it is at hand without following a
    /// pointer.
    pub fn account_number(&self) -> Option<usize> {
        Some(self.row.account.load(Ordering::Relaxed)).filter(|account| *account != 0)
    }

    /// Failures since the upstream last took anything.
    pub fn failed_attempts(&self) -> u64 {
        self.row.failures.load(Ordering::Relaxed).into()
    }

    /// Records that the upstream took.
    pub fn delivered_records(&self) -> u64 {
        self.row.delivered_records.load(Ordering::Relaxed)
    }

    /// When the last error was, by the clock, in milliseconds since 1970.
    pub fn last_error_millis(&self) -> Option<u64> {
        Some(self.row.last_error.load(Ordering::Relaxed)).filter(|millis| *millis > 0)
    }
}

impl History {
    /// When the last error was, by the clock, in milliseconds since 1970.
    pub fn last_error_millis(&self) -> Option<u64> {
        self.last_error.as_ref().map(|error| millis(error.at))
    }
}

/// Milliseconds since 1970; a clock before counts as the first of them.
pub(super) fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(1, |since| (since.as_millis() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::route::RoutingKey;
    use otlp::Signal;

    fn name(number: usize) -> StreamName {
        StreamName { signal: Signal::Logs, key: RoutingKey::written(number.to_string()) }
    }

    fn found(table: &FigureTable) -> HashSet<String> {
        let mut found = HashSet::new();
        table.scan(|stream| {
            assert!(found.insert(stream.name.key.to_string()), "a stream is found once");
            ControlFlow::Continue(())
        });
        found
    }

    fn table() -> Arc<FigureTable> {
        Arc::new(FigureTable::new(Instant::now()))
    }

    #[test]
    fn every_live_stream_is_found_once_and_blocks_without_any_are_freed() {
        let table = table();
        let enter = |numbers: std::ops::Range<usize>| -> Vec<_> {
            numbers.map(|number| table.enter(&name(number), None, &History::default())).collect()
        };
        let mut streams = enter(0..1000);
        assert_eq!(found(&table), (0..1000).map(|number| number.to_string()).collect());
        // Of each block one stream stays.
        let mut number = 0;
        streams.retain(|_| {
            number += 1;
            number % ROWS == 1
        });
        assert_eq!(found(&table).len(), streams.len());
        // Others take the places that are free before there are new blocks.
        let others = enter(1000..1900);
        assert_eq!(found(&table).len(), streams.len() + 900);
        assert_eq!(table.blocks.lock().all.len(), 1000_usize.div_ceil(ROWS));
        drop((streams, others));
        assert!(found(&table).is_empty() && table.blocks.lock().all.is_empty());
        assert!(table.blocks.lock().with_room.is_empty());
    }

    #[test]
    fn a_look_that_has_found_enough_goes_no_further() {
        let table = table();
        let _streams: Vec<_> =
            (0..1000).map(|number| table.enter(&name(number), None, &History::default())).collect();
        let mut looks = 0;
        table.scan(|_| {
            looks += 1;
            if looks == 40 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(looks, 40);
    }

    #[test]
    fn a_row_is_a_cache_line() {
        assert_eq!(size_of::<FigureRow>(), 64);
    }

    #[test]
    fn a_row_begins_anew_with_each_stream() {
        let table = table();
        let first = table.enter(&name(0), None, &History { delivered_records: 7, ..History::default() });
        first.add(10);
        first.fail();
        first.set_activity(StreamActivity::Sending);
        first.hold_batch();
        first.set_oldest(Some(Instant::now()));
        assert_eq!((table.held(), table.failing()), (1, 1));
        drop(first);
        assert_eq!((table.held(), table.failing()), (0, 0));
        let _second = table.enter(&name(1), None, &History::default());
        table.scan(|stream| {
            assert_eq!((stream.pending_bytes(), stream.oldest_micros()), (0, None));
            assert_eq!((stream.failed_attempts(), stream.delivered_records()), (0, 0));
            assert_eq!(stream.activity(), StreamActivity::Idle);
            ControlFlow::Continue(())
        });
    }

    #[test]
    fn a_stream_shows_the_oldest_of_its_attempts_that_are_not_answered_for_long_until_the_last_of_them_ends()
    {
        let table = table();
        let [stream, other] = [0, 1].map(|number| table.enter(&name(number), None, &History::default()));
        let [first, second] = [1, 2].map(|seconds| table.began + Duration::from_secs(seconds));
        for attempt in [second, first, first] {
            stream.begin_unanswered(attempt);
        }
        other.begin_unanswered(second);
        assert_eq!(
            (stream.unanswered(), other.unanswered(), table.unanswered()),
            (Some(first), Some(second), 2)
        );
        other.end_unanswered(second);
        stream.end_unanswered(first);
        assert_eq!((stream.unanswered(), other.unanswered(), table.unanswered()), (Some(first), None, 1));
        stream.end_unanswered(first);
        assert_eq!(stream.unanswered(), Some(second));
        stream.end_unanswered(second);
        assert_eq!((stream.unanswered(), table.unanswered()), (None, 0));
    }

    #[test]
    fn a_stream_is_held_while_any_of_its_batches_is_whatever_the_others_do() {
        let table = table();
        let stream = table.enter(&name(0), None, &History::default());
        stream.add(10);
        assert!(stream.hold_batch() && stream.hold_batch());
        stream.set_activity(StreamActivity::Sending);
        stream.release_batch();
        assert_eq!(
            (stream.word().activity(), stream.word().said_activity()),
            (StreamActivity::Held, StreamActivity::Sending)
        );
        assert_eq!((stream.word().bytes(), table.held()), (10, 1));
        stream.release_batch();
        assert_eq!((stream.word().activity(), table.held()), (StreamActivity::Sending, 0));
    }

    #[test]
    fn more_held_batches_than_are_counted_change_nothing_else() {
        let table = table();
        let stream = table.enter(&name(0), None, &History::default());
        stream.add(10);
        let counted = (0..5000).filter(|_| stream.hold_batch()).count();
        assert_eq!(counted as u64, StreamWord::MOST_HELD_BATCHES);
        assert!(!stream.notes_successes() && stream.word().bytes() == 10);
        (0..counted).for_each(|_| stream.release_batch());
        assert_eq!(stream.word().activity(), StreamActivity::Waiting);
    }

    #[test]
    fn a_stream_that_is_gone_is_found_no_more_and_takes_nothing() {
        let table = table();
        let stream = table.enter(&name(0), None, &History::default());
        stream.add(1);
        assert!(!stream.retire(), "it holds something");
        stream.subtract(1);
        assert!(stream.retire() && !stream.retire(), "once");
        assert!(found(&table).is_empty());
        assert!(stream.reserve(1, |word| !word.is_gone()).is_err());
    }

    #[test]
    fn scattered_numbers_are_all_numbers() {
        for count in [0, 1, 2, 3, 4, 5, 6, 31, 32, 100, 255, 1000, 31_250] {
            let numbers: HashSet<_> = scattered(count).collect();
            assert_eq!(numbers.len(), count);
            assert!(numbers.iter().all(|number| *number < count));
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Add,
        Subtract,
        Act(StreamActivity),
        Hold,
        Release,
        Fail,
        Recover,
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            Just(Change::Add),
            Just(Change::Subtract),
            (0..StreamActivity::Held as usize).prop_map(|number| Change::Act(StreamActivity::ALL[number])),
            Just(Change::Hold),
            Just(Change::Release),
            Just(Change::Fail),
            Just(Change::Recover)
        ]
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_a_look_at_all_finds(changes in proptest::collection::vec((0..4_usize, any_change()), 0..60)) {
            let table = table();
            let streams: Vec<_> = (0..4).map(|number| table.enter(&name(number), None, &History::default())).collect();
            for (at, change) in changes {
                let stream = &streams[at];
                match change {
                    Change::Add => stream.add(3),
                    Change::Subtract if stream.word().bytes() > 0 => stream.subtract(3),
                    Change::Act(activity) => stream.set_activity(activity),
                    Change::Hold => _ = stream.hold_batch(),
                    Change::Release if stream.word().held_batches() > 0 => stream.release_batch(),
                    Change::Subtract | Change::Release => {}
                    Change::Fail => _ = stream.fail(),
                    Change::Recover => _ = stream.recover(),
                }
                let (mut failing, mut held) = (0, 0);
                table.scan(|stream| {
                    failing += usize::from(stream.failed_attempts() > 0);
                    held += usize::from(stream.activity() == StreamActivity::Held);
                    ControlFlow::Continue(())
                });
                prop_assert_eq!((table.failing(), table.held()), (failing, held));
            }
        }
    }
}
