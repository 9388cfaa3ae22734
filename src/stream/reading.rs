//! Reading what a stream has on disk only, when it is about to be sent: and as long as the upstream takes what it gets, the
//! next batch while the one before it is on its way.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::behind::{Amount, Behind, Difference};
use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::{Batch, Numbers, Reservation};
use crate::journal::{Chunk, ReadError};
use crate::notice;

/// What a stream reads whose upstream doesn't take anything just now: enough to ask again with.
const LITTLE: usize = 16 << 10;

/// How long to wait before the journal is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A read from the first of the numbers on that are on disk only.
#[derive(Debug)]
pub(super) struct Ahead {
    chunks: JoinHandle<Result<Vec<Chunk>, ReadError>>,
    /// The number behind the last one that was on disk only when this began.
    end: u64,
    room: OwnedSemaphorePermit,
    /// Its memory, until it is a batch.
    charged: Reservation,
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

impl Stream {
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
    pub(super) fn take_in(
        &self,
        mut chunks: Vec<Chunk>,
        end: u64,
        room: OwnedSemaphorePermit,
    ) -> ClosedBatch {
        let mut queue = self.queue.lock();
        // All of it may have been withdrawn while it was read.
        let start = queue.behind.as_ref().map_or(u64::MAX, |behind| behind.numbers.start);
        chunks.retain(|chunk| chunk.first >= start);
        let opened = queue.behind.as_ref().and_then(Behind::since).unwrap_or_else(Instant::now);
        let next = chunks.last().map(|chunk| chunk.first + chunk.entries);
        let mut numbers = Numbers::default();
        for chunk in &chunks {
            numbers = numbers.with(&Numbers::from(chunk.first..chunk.first + chunk.entries));
        }
        let records = chunks.iter().map(|chunk| chunk.records).sum();
        let bytes = chunks.into_iter().map(|chunk| chunk.bytes).collect();
        let mut batch = Batch::numbered(self.signal(), bytes, records, numbers);
        // Or some of it.
        let withdrawn = queue.behind.as_ref().map(|behind| behind.withdrawn().both(batch.numbers()));
        if let Some(withdrawn) = withdrawn.filter(|withdrawn| !withdrawn.is_empty()) {
            (batch, _) = batch.without(&withdrawn);
        }
        let capacity = batch.len() as u64;
        let read = Amount { bytes: capacity, records: batch.records() };
        let Difference { missing, surplus } = Behind::read(&mut queue.behind, next, read, end);
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
