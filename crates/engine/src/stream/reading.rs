//! Reading what a stream has on disk only, when it is about to be sent: and as long as the upstream takes what it gets, the
//! next ones while one is on its way. Two batches are read at once: that takes the disk little longer than one.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::behind::{Amount, Behind, Difference};
use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::{Batch, Budget, NumberSet, Reservation};
use crate::journal::{Chunk, Journal, ReadError};
use crate::notice;
use otlp::Signal;

/// What a stream reads whose upstream doesn't take anything just now: enough to ask again with.
const LITTLE: usize = 16 << 10;

/// Batches that are read at once before they are asked for, if there is room.
const TOGETHER: usize = 2;

/// What is read before a consumer asks for it: from the first of the numbers on that are on disk only, or behind what was
/// read ahead before.
#[derive(Debug)]
pub(super) struct Ahead {
    batches: Batches,
    /// The number behind the last one that was on disk only when this began.
    end: u64,
    room: ReadingPlace,
    /// Its memory, until it is a batch.
    charged: Reservation,
}

#[derive(Debug)]
enum Batches {
    Reading(JoinHandle<Result<VecDeque<Vec<Chunk>>, ReadError>>),
    /// One.
    Read(Vec<Chunk>),
}

/// The memory that backlogs may take when they are read: streams get it in the order in which they ask.
#[derive(Clone, Debug)]
pub(super) struct ReadingRoom {
    free: Arc<Semaphore>,
    size: Arc<Mutex<Size>>,
    /// Tells those who wait that there is more or less of it.
    changed: Arc<Notify>,
}

/// How much memory that is. What is free and what is taken are together so much and what is too much.
#[derive(Debug)]
struct Size {
    kibibytes: u32,
    /// What is taken beyond that, since it has become less.
    excess: usize,
}

/// A part of it, until this is dropped; or the place of an exporter that has no part of it.
#[derive(Debug)]
pub(super) struct ReadingPlace {
    permit: Option<OwnedSemaphorePermit>,
    /// What it is a part of.
    room: Option<ReadingRoom>,
}

impl ReadingPlace {
    /// A place of its own for so many of its kibibytes.
    fn split(&mut self, kibibytes: usize) -> Option<Self> {
        let permit = self.permit.as_mut()?.split(kibibytes)?;
        Some(Self { permit: Some(permit), room: self.room.clone() })
    }
}

impl Drop for ReadingPlace {
    fn drop(&mut self) {
        if let (Some(mut permit), Some(room)) = (self.permit.take(), &self.room) {
            let mut size = room.size.lock();
            let gone = size.excess.min(permit.num_permits());
            if let Some(gone) = permit.split(gone) {
                gone.forget();
            }
            size.excess -= gone;
        }
    }
}

/// A semaphore counts no further.
fn kibibytes(bytes: u64) -> u32 {
    (bytes / 1024).clamp(1, u64::from(u32::MAX)) as u32
}

impl ReadingRoom {
    pub(super) fn new(bytes: u64) -> Self {
        let kibibytes = kibibytes(bytes);
        Self {
            free: Arc::new(Semaphore::new(kibibytes as usize)),
            size: Arc::new(Mutex::new(Size { kibibytes, excess: 0 })),
            changed: Arc::default(),
        }
    }

    /// Changes how much there is; what is taken stays taken.
    pub(super) fn set_bytes(&self, bytes: u64) {
        let mut size = self.size.lock();
        let (before, now) = (size.kibibytes as usize, kibibytes(bytes) as usize);
        if now >= before {
            let settled = size.excess.min(now - before);
            size.excess -= settled;
            self.free.add_permits(now - before - settled);
        } else {
            size.excess += before - now - self.free.forget_permits(before - now);
        }
        size.kibibytes = kibibytes(bytes);
        drop(size);
        self.changed.notify_waiters();
    }

    /// Takes back of what is free now what is too much; and says how much there is. Those who waited for more than there was
    /// had a part of it already, and have let go of that.
    fn take_back_excess(&self) -> u32 {
        let mut size = self.size.lock();
        size.excess -= self.free.forget_permits(size.excess);
        size.kibibytes
    }

    #[cfg(test)]
    pub(super) fn free_kibibytes(&self) -> usize {
        self.free.available_permits()
    }

    fn part(&self, permit: OwnedSemaphorePermit) -> ReadingPlace {
        ReadingPlace { permit: Some(permit), room: Some(self.clone()) }
    }

    /// Waits for room for `bytes`, or for the `own` place of those who ask.
    async fn enter(&self, bytes: usize, own: &Arc<Semaphore>) -> ReadingPlace {
        const OPEN: &str = "the semaphores are never closed";
        loop {
            // Made before looking, so that no change is missed.
            let changed = self.changed.notified();
            let most = self.take_back_excess();
            let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, most);
            tokio::select! {
                biased;
                permit = self.free.clone().acquire_many_owned(wanted) => return self.part(permit.expect(OPEN)),
                permit = own.clone().acquire_owned() => {
                    return ReadingPlace { permit: Some(permit.expect(OPEN)), room: None };
                }
                () = changed => {}
            }
        }
    }

    /// Room for what nobody waits for yet; only as long as half of it all stays free for those who wait.
    pub(super) fn enter_early(&self, bytes: usize) -> Option<ReadingPlace> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let left = self.free.available_permits().checked_sub(wanted as usize)?;
        if left < self.size.lock().kibibytes as usize / 2 {
            return None;
        }
        self.free.clone().try_acquire_many_owned(wanted).ok().map(|permit| self.part(permit))
    }
}

impl Stream {
    /// Reads what comes next in the journal, as a batch for the consumer that has it in its hands. An empty one if nothing
    /// is left: damage has taken it. Nothing if the journal can't be read just now: others get the room meanwhile.
    pub(super) async fn read_on(&self) -> Option<ClosedBatch> {
        let shared = self.registry().shared();
        let ahead = self.queue().behind.as_mut().and_then(|behind| behind.ahead.pop_front());
        if let Some(Ahead { batches, end, room, charged }) = ahead {
            let batches = match batches {
                Batches::Read(chunks) => Some(VecDeque::from([chunks])),
                Batches::Reading(reading) => self.patiently(reading).await.ok().and_then(Result::ok),
            };
            if let Some(batches) = batches {
                let batch = self.take_in(batches, end, room);
                drop(charged);
                return Some(batch);
            }
        }
        let most = self.registry().settings().batch.max_size;
        let wanted = if self.is_failing() { LITTLE.min(most) } else { most };
        let room = shared.reading.enter(wanted, self.registry().reading()).await;
        // Not what comes after them: that may be on disk, but the stream is about to be told, and would have it twice.
        let numbers = self.queue().behind.as_ref().map(|behind| behind.numbers.clone());
        let Some(numbers) = numbers else { return Some(ClosedBatch::nothing(self.signal())) };
        let end = numbers.end;
        match self.read(numbers, wanted).await {
            Ok(chunks) => Some(self.take_in(VecDeque::from([chunks]), end, room)),
            Err(problem) => {
                if let Some(suppressed) = notice::due(self.registry().exporter(), "journal") {
                    error!(suppressed, "the backlog of a stream waits: {problem}");
                }
                None
            }
        }
    }

    async fn read(&self, numbers: Range<u64>, wanted: usize) -> Result<Vec<Chunk>, ReadError> {
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let id = durable.id();
        let journal = durable.journal();
        let read = self.patiently(journal.aside(move |journal| journal.read(id, numbers, wanted))).await;
        read.expect("reading doesn't panic, and is not broken off while the runtime lives")
    }

    /// Waits for a read, and says so if the disk takes long.
    async fn patiently<T>(&self, reading: impl Future<Output = T>) -> T {
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let patience = durable.journal().patience();
        let mut reading = pin!(reading);
        let began = Instant::now();
        loop {
            if let Ok(read) = timeout(patience, &mut reading).await {
                return read;
            }
            if let Some(suppressed) = notice::due(self.registry().exporter(), "hanging") {
                let (exporter, waited) = (self.registry().exporter(), began.elapsed());
                error!(%exporter, ?waited, suppressed, "the backlog of a stream waits: the disk does not answer a read");
            }
        }
    }

    /// Begins to read what comes next, unless that is being done: if there is anything, and an upstream that takes it.
    fn read_ahead(&self, queue: &mut Queue) {
        let shared = self.registry().shared();
        let most = self.registry().settings().batch.max_size;
        let Some(behind) = queue.behind.as_mut().filter(|_| !self.is_failing()) else { return };
        let (start, end) = match behind.ahead.back().map(|ahead| &ahead.batches) {
            None => (behind.numbers.start, behind.numbers.end),
            Some(Batches::Read(chunks)) => (end_of(chunks), behind.numbers.end),
            Some(Batches::Reading(_)) => return,
        };
        if start >= end {
            return;
        }
        let room = |batches| Some((batches, shared.reading.enter_early(batches * most)?));
        let Some((batches, room)) = room(TOGETHER).or_else(|| room(1)) else { return };
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let id = durable.id();
        let read = move |journal: &Journal| journal.read_batches(id, start..end, most, batches);
        let Some(reading) = durable.journal().ahead(read) else { return };
        let charged = charged(&shared.budget, batches * most);
        behind.ahead.push_back(Ahead { batches: Batches::Reading(reading), end, room, charged });
    }

    /// Makes a batch of the first of what was read, when the entries below `end` were on disk only. The second waits.
    pub(super) fn take_in(
        &self,
        mut batches: VecDeque<Vec<Chunk>>,
        end: u64,
        mut room: ReadingPlace,
    ) -> ClosedBatch {
        let budget = &self.registry().shared().budget;
        let read = batches.iter().flatten().map(|chunk| chunk.bytes.len()).sum();
        let mut chunks = batches.pop_front().unwrap_or_default();
        let mut queue = self.queue();
        // All of it may have been withdrawn while it was read.
        let start = queue.behind.as_ref().map_or(u64::MAX, |behind| behind.numbers.start);
        chunks.retain(|chunk| chunk.first >= start);
        let opened = queue.behind.as_ref().and_then(Behind::since).unwrap_or_else(Instant::now);
        let next = chunks.last().map(|chunk| chunk.first + chunk.entries);
        let mut batch = batch_of(self.signal(), chunks);
        // Or some of it.
        let withdrawn = queue.behind.as_ref().map(|behind| behind.withdrawn().intersection(batch.numbers()));
        if let Some(withdrawn) = withdrawn.filter(|withdrawn| !withdrawn.is_empty()) {
            (batch, _) = batch.without(&withdrawn);
        }
        let capacity = batch.len() as u64;
        let taken = Amount { bytes: capacity, records: batch.records() };
        let Difference { missing, surplus } = Behind::read(&mut queue.behind, next, taken, end);
        if let Some(second) = batches.pop_front()
            && let Some(behind) = &mut queue.behind
            && second.first().is_some_and(|chunk| chunk.first >= behind.numbers.start)
        {
            // It goes last, and may keep the memory of both.
            let first = room.split(1).expect("it is room for a kibibyte at least");
            let (room, charged) = (mem::replace(&mut room, first), charged(budget, read));
            behind.ahead.push_front(Ahead { batches: Batches::Read(second), end, room, charged });
        }
        budget.charge(capacity);
        self.enter_memory(&mut queue, capacity);
        self.read_ahead(&mut queue);
        drop(queue);
        if surplus != Amount::default() {
            self.hold(surplus.bytes);
            self.registry().recovered(self, surplus.records, surplus.bytes);
        }
        if missing != Amount::default() {
            self.count_missing(missing);
        }
        ClosedBatch { batch, capacity, requests: 0, opened, room: Some(room), links: None }
    }

    fn count_missing(&self, missing: Amount) {
        let records = missing.records;
        self.registry().count_lost(self.name(), records);
        self.registry().ended(self, records, missing.bytes);
        self.let_go(missing.bytes);
        if let Some(suppressed) = notice::due(self.registry().exporter(), "damage") {
            let (exporter, key) = (self.registry().exporter(), &self.name().key);
            warn!(%exporter, key = &*key.text(), records, suppressed, "records dropped: damage in the journal has put them aside");
        }
    }
}

fn batch_of(signal: Signal, chunks: Vec<Chunk>) -> Batch {
    let mut numbers = NumberSet::default();
    for chunk in &chunks {
        numbers = numbers.union(&NumberSet::from(chunk.first..chunk.first + chunk.entries));
    }
    let records = chunks.iter().map(|chunk| chunk.records).sum();
    Batch::numbered(signal, chunks.into_iter().map(|chunk| chunk.bytes).collect(), records, numbers)
}

/// The number behind the last entry.
fn end_of(chunks: &[Chunk]) -> u64 {
    chunks.last().map_or(u64::MAX, |chunk| chunk.first + chunk.entries)
}

/// Memory that is taken whether there is room or not.
fn charged(budget: &Arc<Budget>, bytes: usize) -> Reservation {
    let mut charged = Reservation::empty(budget.clone());
    charged.charge_spare(bytes as u64);
    charged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    fn own() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(0))
    }

    #[test]
    fn what_is_taken_when_the_memory_becomes_less_is_missed_when_it_comes_back() {
        let room = ReadingRoom::new(100 << 10);
        let (mut large, small) = (room.enter_early(40 * KIB).unwrap(), room.enter_early(10 * KIB).unwrap());
        room.set_bytes(20 << 10);
        assert_eq!(room.free_kibibytes(), 0);
        assert!(room.enter_early(1).is_none());
        drop(small);
        assert_eq!(room.free_kibibytes(), 0, "40 are taken of 20");
        let part = large.split(15).unwrap();
        drop(part);
        assert_eq!(room.free_kibibytes(), 0, "25 are taken of 20");
        drop(large);
        assert_eq!(room.free_kibibytes(), 20);
        room.set_bytes(50 << 10);
        assert_eq!(room.free_kibibytes(), 50);
    }

    #[test]
    fn what_there_is_always_comes_out_whatever_was_taken_meanwhile() {
        for (first, second) in [(10, 100), (100, 10), (1, 64), (64, 1), (30, 31)] {
            let room = ReadingRoom::new(64 << 10);
            let taken = room.enter_early(32 * KIB).unwrap();
            room.set_bytes(first << 10);
            room.set_bytes(second << 10);
            let size = room.size.lock();
            assert_eq!(room.free_kibibytes() + 32, size.kibibytes as usize + size.excess);
            drop(size);
            drop(taken);
            assert_eq!(room.free_kibibytes(), second as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_more_than_there_is_now_gets_what_there_is() {
        let room = ReadingRoom::new(100 << 10);
        let taken = room.enter_early(50 * KIB).unwrap();
        let (waits, own) = (room.clone(), own());
        let waiting = tokio::spawn(async move { waits.enter(80 * KIB, &own).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        room.set_bytes(10 << 10);
        drop(taken);
        let place = waiting.await.unwrap();
        assert_eq!((room.free_kibibytes(), place.permit.as_ref().unwrap().num_permits()), (0, 10));
        drop(place);
        assert_eq!(room.free_kibibytes(), 10);
    }
}
