//! What a stream has on disk only, and reading it.
//!
//! Memory is for streams that get on. A stream whose entries are in the journal needs none to wait with: what there was no
//! memory for stays on disk, and what an upstream doesn't take goes back there. It is read when it is about to be sent; and
//! as long as the upstream takes what it gets, the next batch is read while the one before it is on its way.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::{Batch, Numbers, Reservation};
use crate::journal::{Chunk, ReadError};
use crate::notice;

/// What a stream reads whose upstream doesn't take anything just now: enough to ask again with.
const LITTLE: usize = 16 << 10;

/// How long to wait before the journal is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How many moments a backlog remembers, to know how old its oldest entry is.
const MOMENTS: usize = 64;

/// How far these are apart at the least.
const BETWEEN_MOMENTS: Duration = Duration::from_secs(1);

/// Entries that are on disk only: all that come after those in memory.
#[derive(Debug)]
pub(super) struct Behind {
    /// The sequence numbers of those that have not been read.
    numbers: Range<u64>,
    bytes: u64,
    records: u64,
    /// When entries from some numbers on came; of those that were recovered, when they were found.
    moments: VecDeque<(u64, Instant)>,
    /// A consumer has what comes next in its hands, read or not.
    pub(super) taken: bool,
    /// What comes next, read before a consumer asks for it.
    ahead: Option<Ahead>,
}

/// A read from the first of the numbers on that are on disk only.
#[derive(Debug)]
struct Ahead {
    chunks: JoinHandle<Result<Vec<Chunk>, ReadError>>,
    /// The number behind the last one that was on disk only when this began.
    end: u64,
    room: OwnedSemaphorePermit,
    /// Its memory, until it is a batch.
    charged: Reservation,
}

/// Entries that were on disk only, and that nobody waits for any more.
#[derive(Debug)]
pub(super) struct Forgotten {
    numbers: Numbers,
    bytes: u64,
    records: u64,
    /// To be let go of where nobody waits for the queue.
    _ahead: Option<Ahead>,
}

/// Framed bytes, and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    bytes: u64,
    records: u64,
}

/// How what was read differs from what was known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    /// It is not there: damage took it.
    missing: Amount,
    /// Nobody had counted it.
    surplus: Amount,
}

/// The memory that backlogs may take when they are read: streams get it in the order in which they ask.
#[derive(Debug)]
pub(super) struct ReadingRoom {
    kibibytes: u32,
    free: Arc<Semaphore>,
}

impl ReadingRoom {
    pub(super) fn new(bytes: u64) -> Self {
        let kibibytes = (bytes / 1024).clamp(1, u64::from(u32::MAX)) as u32;
        Self { kibibytes, free: Arc::new(Semaphore::new(kibibytes as usize)) }
    }

    /// Waits for room for `bytes`, or for the `own` place of those who ask.
    async fn enter(&self, bytes: usize, own: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.kibibytes);
        let permit = tokio::select! {
            biased;
            permit = self.free.clone().acquire_many_owned(wanted) => permit,
            permit = own.clone().acquire_owned() => permit,
        };
        permit.expect("the semaphores are never closed")
    }

    /// Room for what nobody waits for yet; only as long as half of it all stays free for those who wait.
    fn enter_early(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let left = self.free.available_permits().checked_sub(wanted as usize)?;
        if left < self.kibibytes as usize / 2 {
            return None;
        }
        self.free.clone().try_acquire_many_owned(wanted).ok()
    }
}

impl Behind {
    fn new(from: u64) -> Self {
        let moments = VecDeque::new();
        Self { numbers: from..from, bytes: 0, records: 0, moments, taken: false, ahead: None }
    }

    /// When the first of its entries came, about.
    pub(super) fn since(&self) -> Option<Instant> {
        self.moments.front().map(|(_, moment)| *moment)
    }

    fn came(&mut self, from: u64) {
        let now = Instant::now();
        if self.moments.back().is_some_and(|(_, last)| now.duration_since(*last) < BETWEEN_MOMENTS) {
            return;
        }
        if self.moments.len() == MOMENTS {
            let mut keep = false;
            self.moments.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.moments.push_back((from, now));
    }

    /// Takes off what has been read of the entries below `end`; if nothing is left, the stream is no longer behind.
    fn read(behind: &mut Option<Self>, chunks: &[Chunk], end: u64) -> Difference {
        let mut difference = Difference::default();
        let Some(this) = behind.as_mut() else { return difference };
        this.taken = false;
        for chunk in chunks {
            this.numbers.start = this.numbers.start.max(chunk.first + chunk.entries);
            let bytes = chunk.bytes.len() as u64;
            difference.surplus.bytes += bytes.saturating_sub(this.bytes);
            difference.surplus.records += chunk.records.saturating_sub(this.records);
            this.bytes = this.bytes.saturating_sub(bytes);
            this.records = this.records.saturating_sub(chunk.records);
        }
        // What came while these were read is still to be read.
        let nothing_left = chunks.is_empty() && this.numbers.end == end;
        if nothing_left || this.numbers.is_empty() {
            difference.missing = Amount { bytes: this.bytes, records: this.records };
            *behind = None;
            return difference;
        }
        while this.moments.get(1).is_some_and(|(from, _)| *from <= this.numbers.start) {
            this.moments.pop_front();
        }
        difference
    }
}

impl Queue {
    /// Notes entries that are on disk only.
    pub(super) fn fall_behind(&mut self, numbers: Range<u64>, bytes: u64, records: u64) {
        let behind = self.behind.get_or_insert_with(|| Behind::new(numbers.start));
        behind.came(numbers.start);
        behind.numbers.end = numbers.end;
        behind.bytes += bytes;
        behind.records += records;
    }

    /// Takes off what is on disk only, if all of it was withdrawn: it would have to be read to be left out.
    pub(super) fn withdraw_behind(&mut self) -> Option<Forgotten> {
        let numbers = Numbers::from(self.behind.as_ref()?.numbers.clone());
        if numbers.is_empty() || !numbers.without(&self.withdrawn).is_empty() {
            return None;
        }
        self.end(&numbers);
        let behind = self.behind.as_mut()?;
        let (bytes, records) = (mem::take(&mut behind.bytes), mem::take(&mut behind.records));
        let ahead = behind.ahead.take();
        if behind.taken {
            // It stays where it is, so that a consumer which has it in its hands keeps its place before what comes now.
            behind.numbers.start = behind.numbers.end;
            behind.moments.clear();
        } else {
            self.behind = None;
        }
        Some(Forgotten { numbers, bytes, records, _ahead: ahead })
    }

    /// A consumer no longer has in its hands what is on disk only.
    pub(super) fn leave_behind(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.taken = false;
            if behind.numbers.is_empty() {
                self.behind = None;
            }
        }
    }

    /// Takes what comes next of what is on disk only, if nothing is in memory that goes first, nor in the hands of another
    /// consumer; returns since when it is there.
    pub(super) fn take_behind(&mut self) -> Option<Instant> {
        if !self.closed.is_empty() || !self.open.is_empty() {
            return None;
        }
        let behind = self.behind.as_mut().filter(|behind| !behind.taken)?;
        behind.taken = true;
        Some(behind.since().unwrap_or_else(Instant::now))
    }

    /// All that is in memory, if that are entries in a row to the last one that is not on disk only.
    fn in_a_row(&self, in_flight: &ClosedBatch) -> Option<Range<u64>> {
        let mut numbers = in_flight.batch.numbers().clone();
        for closed in &self.closed {
            numbers = numbers.with(closed.batch.numbers());
        }
        numbers = numbers.with(self.open.numbers());
        let end = self.behind.as_ref().map_or(self.next_sequence, |behind| behind.numbers.start);
        match numbers.runs() {
            [run] if run.end == end => Some(run.clone()),
            _ => None,
        }
    }
}

impl Stream {
    /// Whether a batch in the hands of a consumer takes memory that others may need more.
    pub(super) fn hinders(&self, in_flight: &ClosedBatch) -> bool {
        self.durable.is_some() && (in_flight.room.is_some() || self.registry().shared().is_short())
    }

    /// Lets go of all that is in memory, since it is on disk as well: the batch in the hands of the only consumer, and
    /// what comes after it. Whether that was possible: not if something between has ended already.
    pub(super) fn put_back(&self, in_flight: &mut ClosedBatch) -> bool {
        if self.durable.is_none() {
            return false;
        }
        let signal = self.signal();
        let mut queue = self.queue.lock();
        let Some(numbers) = queue.in_a_row(in_flight).filter(|_| queue.in_flight == 1) else { return false };
        let opened = in_flight.opened;
        let open = queue.open.close(signal);
        let in_hand = mem::replace(in_flight, ClosedBatch::nothing(signal));
        let (mut bytes, mut records, mut capacity, mut requests) = (0, 0, 0, 0);
        for closed in std::iter::once(in_hand).chain(queue.closed.drain(..)).chain(open) {
            bytes += closed.batch.len() as u64;
            records += closed.batch.records();
            capacity += closed.capacity;
            requests += closed.requests;
        }
        queue.in_memory = queue.in_memory.saturating_sub(bytes);
        let behind = queue.behind.get_or_insert_with(|| Behind::new(numbers.end));
        behind.numbers.end = behind.numbers.end.max(numbers.end);
        behind.numbers.start = numbers.start;
        behind.bytes += bytes;
        behind.records += records;
        match behind.moments.front_mut() {
            Some((from, moment)) if *moment <= opened => *from = numbers.start,
            _ => behind.moments.push_front((numbers.start, opened)),
        }
        behind.taken = true;
        let ahead = behind.ahead.take();
        let forgotten = queue.withdraw_behind();
        drop(queue);
        drop(ahead);
        self.forget(forgotten);
        self.registry().shared().budget.release(capacity);
        self.requests.fetch_sub(requests, Ordering::SeqCst);
        self.line.freed();
        true
    }

    /// Lets go of what was read before it is asked for.
    pub(super) fn forget_ahead(&self) {
        let ahead = self.queue.lock().behind.as_mut().and_then(|behind| behind.ahead.take());
        drop(ahead);
    }

    pub(super) fn has_nothing_on_disk(&self) -> bool {
        self.queue.lock().behind.as_ref().is_none_or(|behind| behind.numbers.is_empty())
    }

    /// Ends what was on disk only and is withdrawn.
    pub(super) fn forget(&self, forgotten: Option<Forgotten>) {
        let Some(Forgotten { numbers, bytes, records, .. }) = forgotten else { return };
        if let Some(durable) = &self.durable {
            durable.settle(&numbers);
        }
        // Counted as ended before it is no longer pending, so that nothing is missing in between.
        self.registry().count_withdrawn(self.name(), records);
        self.registry().ended(records, bytes);
        self.let_go(bytes);
    }

    /// Reads what comes next in the journal, as a batch for the consumer that has it in its hands. An empty one if nothing
    /// is left: damage has taken it.
    pub(super) async fn read_on(&self) -> ClosedBatch {
        let shared = self.registry().shared();
        let ahead = self.queue.lock().behind.as_mut().and_then(|behind| behind.ahead.take());
        if let Some(Ahead { chunks, end, room, charged }) = ahead
            && let Ok(Ok(chunks)) = chunks.await
        {
            let batch = self.take_in(chunks, end, room);
            drop(charged);
            return batch;
        }
        let most = self.registry().settings().batch.max_size;
        let wanted = if self.is_failing() { LITTLE.min(most) } else { most };
        let room = shared.reading.enter(wanted, self.registry().reading()).await;
        loop {
            // Not what comes after them: that may be on disk, but the stream is about to be told, and would have it twice.
            let numbers = self.queue.lock().behind.as_ref().map(|behind| behind.numbers.clone());
            let Some(numbers) = numbers else { return ClosedBatch::nothing(self.signal()) };
            let end = numbers.end;
            match self.read(numbers, wanted).await {
                Ok(chunks) => return self.take_in(chunks, end, room),
                Err(problem) => {
                    if let Some(suppressed) = notice::due(self.registry().exporter(), "journal") {
                        error!(suppressed, "the backlog of a stream waits: {problem}");
                    }
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    async fn read(&self, numbers: Range<u64>, wanted: usize) -> Result<Vec<Chunk>, ReadError> {
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let id = durable.id();
        let read = durable.journal().aside(move |journal| journal.read(id, numbers, wanted)).await;
        read.expect("reading doesn't panic, and is not broken off while the runtime lives")
    }

    /// Begins to read what comes next, if there is anything, and an upstream that takes it.
    fn read_ahead(&self, queue: &mut Queue) {
        let shared = self.registry().shared();
        let most = self.registry().settings().batch.max_size;
        let Some(behind) = queue.behind.as_mut().filter(|_| !self.is_failing()) else { return };
        let Some(room) = shared.reading.enter_early(most) else { return };
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let (id, numbers, end) = (durable.id(), behind.numbers.clone(), behind.numbers.end);
        let Some(chunks) = durable.journal().ahead(move |journal| journal.read(id, numbers, most)) else {
            return;
        };
        let mut charged = Reservation::empty(shared.budget.clone());
        charged.charge_spare(most as u64);
        behind.ahead = Some(Ahead { chunks, end, room, charged });
    }

    /// Makes a batch of what was read, when the entries below `end` were on disk only.
    fn take_in(&self, mut chunks: Vec<Chunk>, end: u64, room: OwnedSemaphorePermit) -> ClosedBatch {
        let mut queue = self.queue.lock();
        // All of it may have been withdrawn while it was read.
        let start = queue.behind.as_ref().map_or(u64::MAX, |behind| behind.numbers.start);
        chunks.retain(|chunk| chunk.first >= start);
        let opened = queue.behind.as_ref().and_then(Behind::since).unwrap_or_else(Instant::now);
        let Difference { missing, surplus } = Behind::read(&mut queue.behind, &chunks, end);
        let mut numbers = Numbers::default();
        for chunk in &chunks {
            numbers = numbers.with(&Numbers::from(chunk.first..chunk.first + chunk.entries));
        }
        let records = chunks.iter().map(|chunk| chunk.records).sum();
        let bytes = chunks.into_iter().map(|chunk| chunk.bytes).collect();
        let batch = Batch::numbered(self.signal(), bytes, records, numbers);
        let capacity = batch.len() as u64;
        self.registry().shared().budget.charge(capacity);
        queue.in_memory += capacity;
        self.read_ahead(&mut queue);
        drop(queue);
        if surplus != Amount::default() {
            self.hold(surplus.bytes);
            self.registry().recovered(surplus.records, surplus.bytes);
        }
        if missing != Amount::default() {
            self.count_missing(missing);
        }
        ClosedBatch { batch, capacity, requests: 0, opened, room: Some(room) }
    }

    fn count_missing(&self, missing: Amount) {
        let records = missing.records;
        self.registry().count_lost(self.name(), records);
        self.registry().ended(records, missing.bytes);
        self.let_go(missing.bytes);
        if let Some(suppressed) = notice::due(self.registry().exporter(), "damage") {
            let (exporter, key) = (self.registry().exporter(), self.name().routing_key());
            warn!(%exporter, key, records, suppressed, "records dropped: damage in the journal has put them aside");
        }
    }
}
