//! A stream whose entries are in the journal.
//!
//! Every entry is there before it is in the stream, and the journal hands requests on in the order in which they stand
//! in its log: so the order on disk is the order in the queue. What the stream has no memory for stays on disk alone,
//! and so does what comes after it; the stream is *behind* then, and reads on from there once its queue is empty. While
//! all goes well, the next batch is read as the one before it is being sent.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::open::ClosedBatch;
use super::queue::{Queue, Stream};
use super::receipt::Stub;
use super::{Batch, Numbers, QueueSettings, Reservation, StreamName};
use crate::journal::{Chunk, Journal, ReadError, RecoveredStream, StreamId, StreamKey};
use crate::notice;
use crate::otlp::{self, Signal};

/// What a stream reads whose upstream doesn't take anything just now: enough to ask again with.
const LITTLE: usize = 16 << 10;

/// How long to wait before the journal is read again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A stream's place in the journal, until this is dropped.
#[derive(Debug)]
pub(super) struct Durable {
    journal: Journal,
    id: StreamId,
}

/// Entries that are on disk only: all that come after those in memory.
#[derive(Debug)]
pub(super) struct Behind {
    /// The sequence numbers of those that have not been read.
    numbers: Range<u64>,
    bytes: u64,
    records: u64,
    /// Since when; of those that were recovered it is not known.
    pub(super) since: Instant,
    /// Whether a consumer is reading.
    pub(super) reading: bool,
    /// What is read before a consumer asks for it.
    ahead: Option<Reading>,
}

/// A part of the backlog that is being read, or has been.
#[derive(Debug)]
struct Reading {
    /// The sequence numbers that were on disk only when it began; it begins with the first of them.
    numbers: Range<u64>,
    chunks: JoinHandle<Result<Vec<Chunk>, ReadError>>,
    room: OwnedSemaphorePermit,
    /// The memory for it, as long as it is in no queue.
    charged: Reservation,
}

/// What is missing of a backlog: damage took it.
pub(super) struct Missing {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

impl Durable {
    pub(super) fn new(journal: &Journal, exporter: &Arc<str>, signal: Signal, name: &StreamName) -> Self {
        let key = StreamKey {
            exporter: exporter.clone(),
            signal,
            identity: name.identity().clone(),
            attributes: name.attribute_names().clone(),
        };
        Self { id: journal.stream(&key), journal: journal.clone() }
    }

    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    /// These entries need not be kept.
    pub(super) fn settle(&self, numbers: &Numbers) {
        for run in numbers.runs() {
            self.journal.settle(self.id, run.start..=run.end - 1);
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.journal.forget(self.id);
    }
}

impl Behind {
    /// Adds entries that come after all others.
    fn extend(behind: &mut Option<Self>, numbers: Range<u64>, bytes: u64, records: u64) {
        let behind = behind.get_or_insert_with(|| Self {
            numbers: numbers.start..numbers.start,
            bytes: 0,
            records: 0,
            since: Instant::now(),
            reading: false,
            ahead: None,
        });
        behind.numbers.end = numbers.end;
        behind.bytes += bytes;
        behind.records += records;
    }

    /// Takes off what has been read, when the numbers up to `end` were on disk only; if nothing is left, the stream is no
    /// longer behind. Returns what was expected then and is not there.
    fn read(behind: &mut Option<Self>, chunks: &[Chunk], end: u64) -> Option<Missing> {
        let this = behind.as_mut()?;
        this.reading = false;
        this.since = Instant::now();
        for chunk in chunks {
            this.numbers.start = this.numbers.start.max(chunk.first + chunk.entries);
            this.bytes = this.bytes.saturating_sub(chunk.bytes.len() as u64);
            this.records = this.records.saturating_sub(chunk.records);
        }
        // What came while it was being read is still to be read, even if all before was damaged.
        let found_all = chunks.is_empty() && end == this.numbers.end;
        if !found_all && !this.numbers.is_empty() {
            return None;
        }
        let missing = Missing { bytes: this.bytes, records: this.records };
        *behind = None;
        (missing.bytes > 0 || missing.records > 0).then_some(missing)
    }
}

impl Queue {
    /// Notes entries that are on disk only.
    pub(super) fn fall_behind(&mut self, numbers: Range<u64>, bytes: u64, records: u64) {
        Behind::extend(&mut self.behind, numbers, bytes, records);
    }
}

impl Stream {
    /// Takes over what the journal had of the stream when it was opened, before anything else is admitted.
    pub fn recover(self: &Arc<Self>, found: &RecoveredStream) {
        self.hold(found.bytes);
        let mut queue = self.queue.lock();
        queue.fall_behind(found.first..found.last + 1, found.bytes, found.records);
        queue.next_sequence = found.last + 1;
        self.registry().recovered(found.records, found.bytes);
        let start = queue.consumers == 0;
        queue.consumers += usize::from(start);
        drop(queue);
        if start {
            self.registry().start(self.clone());
        }
    }

    /// As [`Stream::append`], for entries that the journal has, under the numbers that it has given them from `first` on. They
    /// stay on disk alone if there is no memory for them, or if others do that came before them.
    pub(super) fn append_written<'a>(
        self: &Arc<Self>,
        entries: impl Iterator<Item = (&'a [u8], u64)> + Clone,
        settings: &QueueSettings,
        stub: Option<Stub>,
        first: u64,
    ) {
        let (mut count, mut bytes, mut records) = (0, 0, 0);
        for (entry, entry_records) in entries.clone() {
            count += 1;
            bytes += otlp::frame_len(entry.len()) as u64;
            records += entry_records;
        }
        let mut queue = self.queue.lock();
        let full = queue.in_memory > 0 && queue.in_memory + bytes > settings.queue_bytes;
        if queue.behind.is_none() && !full && !self.registry().shared().is_short() {
            drop(queue);
            self.append(entries, settings, stub, Some(first));
            return;
        }
        queue.fall_behind(first..first + count, bytes, records);
        queue.next_sequence = first + count;
        if let Some(stub) = stub {
            queue.stubs.add(first, stub);
        }
        let start = queue.consumers == 0;
        queue.consumers += usize::from(start);
        self.registry().admitted_on_disk(self.signal(), records, bytes);
        drop(queue);
        self.requests.fetch_sub(1, Ordering::AcqRel);
        if start {
            self.registry().start(self.clone());
        }
    }

    /// Reads on in the journal, and puts what it finds at the end of the queue, which is empty but for that.
    pub(super) async fn read_on(self: &Arc<Self>) {
        let Some(Reading { numbers, chunks, room, charged }) = self.next_reading().await else { return };
        let problem = match chunks.await {
            Ok(Ok(chunks)) => {
                self.take_in(chunks, numbers.end, room);
                drop(charged);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if let Some(suppressed) = notice::due(self.registry().exporter(), "journal") {
            error!(suppressed, "the backlog of a stream waits: {problem}");
        }
        tokio::time::sleep(READ_AGAIN).await;
        if let Some(behind) = &mut self.queue.lock().behind {
            behind.reading = false;
        }
    }

    /// What was read ahead, or what is read now.
    async fn next_reading(&self) -> Option<Reading> {
        if let Some(ahead) = self.queue.lock().behind.as_mut().and_then(|behind| behind.ahead.take()) {
            return Some(ahead);
        }
        let most = self.registry().settings().batch.max_size;
        let wanted = if self.is_failing() { LITTLE.min(most) } else { most };
        let room = self.registry().shared().room_to_read(wanted).await;
        let numbers = self.queue.lock().behind.as_ref().map(|behind| behind.numbers.clone())?;
        Some(self.start_reading(numbers, wanted, room))
    }

    fn start_reading(&self, numbers: Range<u64>, most: usize, room: OwnedSemaphorePermit) -> Reading {
        let durable = self.durable.as_ref().expect("only streams with a journal are behind");
        let (journal, id, from) = (durable.journal.clone(), durable.id, numbers.start);
        let chunks = tokio::task::spawn_blocking(move || journal.read(id, from, most));
        let mut charged = Reservation::empty(self.registry().shared().budget.clone());
        charged.charge_spare(most as u64);
        Reading { numbers, chunks, room, charged }
    }

    fn take_in(self: &Arc<Self>, chunks: Vec<Chunk>, end: u64, room: OwnedSemaphorePermit) {
        let mut queue = self.queue.lock();
        let opened = queue.behind.as_ref().map_or_else(Instant::now, |behind| behind.since);
        let missing = Behind::read(&mut queue.behind, &chunks, end);
        if !chunks.is_empty() {
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
            queue.closed.push_back(ClosedBatch { batch, capacity, requests: 0, opened, _room: Some(room) });
        }
        let most = self.registry().settings().batch.max_size;
        if let Some(behind) = &mut queue.behind
            && !self.is_failing()
            && let Some(room) = self.registry().shared().room_to_read_ahead(most)
        {
            behind.ahead = Some(self.start_reading(behind.numbers.clone(), most, room));
        }
        drop(queue);
        if let Some(missing) = missing {
            self.count_missing(&missing);
        }
    }

    /// Lets go of what was read ahead: the room is for those who deliver.
    pub(super) fn drop_what_was_read_ahead(&self) {
        if self.durable.is_some()
            && let Some(behind) = &mut self.queue.lock().behind
        {
            behind.ahead = None;
        }
    }

    fn count_missing(&self, missing: &Missing) {
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
