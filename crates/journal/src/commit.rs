//! The committer: writes all requests that wait as one group, makes them durable together, and answers them in order.
//!
//! Its log is locked while a group is written and answered; of other locks those of the queue, of the segment supply, of the
//! catalog and of the journal's health are taken meanwhile, the catalog's not while requests are answered.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::catalog::Catalog;
use super::queue::CommitQueue;
use super::record::{ALIGN, HEADER, counts_len};
use super::store::Store;
use super::supply::{NoSegment, SegmentSupply};
use super::types::{
    AppendCallback, AssignedNumbers, NotWritten, StreamEntries, StreamId, StreamKey, SyncPolicy, WriteTotals,
};
use super::writer::Writer;

/// A record takes no further entry beyond this many bytes, so that a backlog can be read in pieces.
const RECORD: usize = 256 << 10;

/// Writes the log.
pub(super) struct Committer {
    pub(super) queue: CommitQueue<Request>,
    log: Mutex<OpenLog>,
    sync: SyncPolicy,
    store: Store,
    supply: Arc<SegmentSupply>,
}

/// The log's segments, as they are written.
#[derive(Debug)]
struct OpenLog {
    writer: Writer,
    /// Since when something is written and not synced, under [`SyncPolicy::Every`].
    unsynced: Option<Instant>,
}

/// A request that is to be written.
pub(super) struct Request {
    groups: Vec<StreamEntries>,
    size: SizeOnDisk,
    done: AppendCallback,
}

/// What entries take on disk at most, the keys of their streams aside.
#[derive(Clone, Copy, Default)]
struct SizeOnDisk {
    bytes: u64,
    extents: u64,
}

impl SizeOnDisk {
    fn of(groups: &[StreamEntries]) -> Self {
        let mut size = Self::default();
        for entry in groups.iter().flat_map(|group| &group.entries) {
            // As if each entry had a record of its own.
            size.extents += 1;
            size.bytes += (HEADER + ALIGN + otlp::frame_len(entry.bytes.len()) + counts_len(2) / 2) as u64;
        }
        size
    }
}

/// Requests that are written together, and the numbers that their streams and entries get if that succeeds. If it does not,
/// others get them.
#[derive(Default)]
struct CommitBatch {
    /// Each group names its stream by number.
    requests: Vec<(Vec<StreamEntries>, AssignedNumbers, AppendCallback)>,
    /// What their entries take, which are put into the buffer once no request is added any more. Their keys are there.
    size: SizeOnDisk,
    /// For each stream, by number, the number of its next entry.
    next: HashMap<u64, u64>,
    /// Streams that have no number yet, in the order in which they get theirs.
    fresh: Vec<(StreamId, StreamKey)>,
}

impl CommitBatch {
    /// The number of a stream, if it has one or is to get one.
    fn number(&self, stream: StreamId, catalog: &Catalog) -> Option<u64> {
        catalog.streams.number(stream).or_else(|| {
            let place = self.fresh.iter().position(|(fresh, _)| *fresh == stream)?;
            Some(catalog.streams.next + place as u64)
        })
    }

    /// Bytes that the keys of the streams of a request take: those that the open segment does not have, and all. `None` if a
    /// stream is not known.
    fn key_bytes(&self, groups: &[StreamEntries], writer: &Writer, catalog: &Catalog) -> Option<(u64, u64)> {
        let (mut missing, mut all) = (0, 0);
        for group in groups {
            let key = catalog.streams.key(group.stream)?;
            // With the record around it.
            let bytes = (HEADER + key.as_bytes().len() + 2 * ALIGN) as u64;
            all += bytes;
            if !self.number(group.stream, catalog).is_some_and(|number| writer.knows(number)) {
                missing += bytes;
            }
        }
        Some((missing, all))
    }

    /// Adds a request for which there is room, and whose streams are known: gives the streams and the entries their numbers,
    /// and puts the keys that the open segment does not have into the buffer.
    fn add(&mut self, request: Request, writer: &mut Writer, catalog: &Catalog) {
        let Request { mut groups, size, done } = request;
        let mut first = SmallVec::new();
        for group in &mut groups {
            let key = catalog.streams.key(group.stream).expect("the streams of a request are known");
            let number = self.number(group.stream, catalog).unwrap_or_else(|| {
                self.fresh.push((group.stream, key.clone()));
                catalog.streams.next + self.fresh.len() as u64 - 1
            });
            if !group.entries.is_empty() && !writer.knows(number) {
                writer.put_key(number, key);
            }
            group.stream = StreamId(number);
            let known = || catalog.streams.table.get(&number).map_or(0, |stream| stream.next);
            let next = self.next.entry(number).or_insert_with(known);
            first.push(*next);
            *next += group.entries.len() as u64;
        }
        self.size.bytes += size.bytes;
        self.size.extents += size.extents;
        self.requests.push((groups, AssignedNumbers { first }, done));
    }

    /// Puts all entries into records. What the requests have for the same stream goes together: that makes few records, and a
    /// backlog is read back in large pieces.
    fn put_entries(&self, writer: &mut Writer) -> WriteTotals {
        let requests = self.requests.iter();
        let mut groups: Vec<(u64, &StreamEntries)> =
            requests.flat_map(|(groups, appended, _)| appended.first.iter().copied().zip(groups)).collect();
        groups.sort_by_key(|(first, group)| (group.stream.0, *first));
        let mut written = WriteTotals { requests: self.requests.len() as u64, ..WriteTotals::default() };
        for same in groups.chunk_by(|(_, a), (_, b)| a.stream == b.stream) {
            let (mut next, stream) = (same[0].0, same[0].1.stream.0);
            let mut entries = same.iter().flat_map(|(_, group)| &group.entries).peekable();
            while entries.peek().is_some() {
                let begun = writer.begin();
                let mut counts: SmallVec<[u32; 16]> = SmallVec::new();
                while let Some(entry) = entries.next_if(|entry| {
                    let framed = otlp::frame_len(entry.bytes.len());
                    counts.is_empty() || writer.begun_len(&begun) + framed <= RECORD
                }) {
                    writer.put_entry(&entry.bytes);
                    counts.push(u32::try_from(entry.records).unwrap_or(u32::MAX));
                }
                written.entries += counts.len() as u64;
                written.bytes += writer.begun_len(&begun) as u64;
                writer.end_entries(&begun, stream, next, &counts);
                next += counts.len() as u64;
            }
        }
        written
    }

    /// Notes in the catalog that the numbers are taken: what has them is in the log.
    fn take_numbers(&mut self, catalog: &mut Catalog) {
        for (stream, key) in self.fresh.drain(..) {
            let number = catalog.streams.next;
            catalog.streams.give_number(stream, &key, number);
        }
        for (stream, next) in self.next.drain() {
            if let Some(stream) = catalog.streams.table.get_mut(&stream) {
                debug_assert!(stream.next <= next, "numbers of entries only rise");
                stream.next = next;
            }
        }
    }

    /// Answers all requests.
    fn answer(self, refused: Option<&NotWritten>) {
        for (_, appended, done) in self.requests {
            done(refused.map_or(Ok(appended), |reason| Err(reason.clone())));
        }
    }
}

impl Committer {
    /// A committer that goes on behind the segment that was the log's last, which ends at the offset.
    pub(super) fn new(
        last: Option<(u64, u64)>,
        sync: SyncPolicy,
        store: Store,
        supply: Arc<SegmentSupply>,
    ) -> Self {
        let log = Mutex::new(OpenLog { writer: Writer::behind(last), unsynced: None });
        Self { queue: CommitQueue::new(), log, sync, store, supply }
    }

    /// See [`super::Journal::append`].
    pub(super) fn append(&self, groups: Vec<StreamEntries>, done: AppendCallback) {
        let size = SizeOnDisk::of(&groups);
        let records = groups.iter().flat_map(|group| &group.entries).map(|entry| entry.records).sum();
        if let Err(request) = self.queue.push(Request { groups, size, done }, size.bytes, records) {
            (request.done)(Err(NotWritten::Closed));
        }
    }

    /// The committer's thread: until the queue is closed and empty.
    pub(super) fn commit_until_closed(&self) {
        while self.queue.wait(self.next_sync()) {
            while self.commit_once() {}
        }
    }

    fn next_sync(&self) -> Option<Duration> {
        let SyncPolicy::Every(interval) = self.sync else { return None };
        let since = self.log.lock().unsynced?;
        Some((since + interval).saturating_duration_since(Instant::now()))
    }

    /// Writes one group of requests, and syncs if it is time. Whether there was one.
    pub(super) fn commit_once(&self) -> bool {
        let mut log = self.log.lock();
        let mut group = self.queue.take_group();
        let any = !group.is_empty();
        if let Some(failing) = self.store.health.failing() {
            refuse(group.drain(..), &NotWritten::Disk(failing.why));
        }
        if !group.is_empty() {
            self.store.pending.set_writing_group(true);
            while !group.is_empty() {
                let began = Instant::now();
                let batch = self.next_batch(&mut log, &mut group);
                if !batch.requests.is_empty() {
                    self.write_batch(&mut log, batch, began);
                }
            }
            self.store.pending.set_writing_group(false);
        }
        self.queue.answered();
        if let (SyncPolicy::Every(interval), Some(since)) = (self.sync, log.unsynced)
            && since + interval <= Instant::now()
        {
            self.sync_log(&mut log);
        }
        any
    }

    /// Takes the requests from the front of the group that one segment has room for, and refuses those that can't be written.
    fn next_batch(&self, log: &mut OpenLog, group: &mut VecDeque<Request>) -> CommitBatch {
        let mut batch = CommitBatch::default();
        while let Some(request) = group.front() {
            let catalog = self.store.catalog.lock();
            let Some((missing, all)) = batch.key_bytes(&request.groups, &log.writer, &catalog) else {
                drop(catalog);
                refuse(group.pop_front(), &NotWritten::Forgotten);
                continue;
            };
            let (SizeOnDisk { bytes, extents }, streams) = (request.size, request.groups.len() as u64);
            if log.writer.fits(batch.size.bytes + bytes + missing, batch.size.extents + extents, streams) {
                let request = group.pop_front().expect("it was looked at");
                batch.add(request, &mut log.writer, &catalog);
                continue;
            }
            drop(catalog);
            if !batch.requests.is_empty() {
                break;
            }
            // In a new segment every stream needs its key.
            match self.change_segment(log, Writer::segment_for(bytes + all, extents, streams)) {
                Ok(()) => {}
                Err(reason @ NotWritten::TooLarge { .. }) => refuse(group.pop_front(), &reason),
                Err(reason) => refuse(group.drain(..), &reason),
            }
        }
        batch
    }

    /// Writes requests whose keys are in the buffer, and answers them.
    fn write_batch(&self, log: &mut OpenLog, mut batch: CommitBatch, began: Instant) {
        let written = batch.put_entries(&mut log.writer);
        let synced = match self.write_log(log) {
            Ok(synced) => synced,
            Err(error) => return batch.answer(Some(&self.give_up(log, &error))),
        };
        let mut catalog = self.store.catalog.lock();
        batch.take_numbers(&mut catalog);
        log.writer.publish(&mut catalog);
        catalog.log_room = log.writer.room();
        catalog.count_commit(&written, began.elapsed());
        if let Some(took) = synced {
            catalog.count_sync(took);
        }
        drop(catalog);
        batch.answer(None);
    }

    /// Goes on in a new segment, of at least `length` bytes.
    fn change_segment(&self, log: &mut OpenLog, length: u64) -> Result<(), NotWritten> {
        if length > self.supply.largest_segment() {
            return Err(NotWritten::TooLarge { size: length });
        }
        if log.unsynced.is_some() {
            self.sync_log(log);
        }
        match self.supply.next_of_log(length) {
            Ok(prepared) => {
                let mut catalog = self.store.catalog.lock();
                log.writer.finish(&mut catalog);
                log.writer.begin_segment(prepared, &catalog);
                Ok(())
            }
            Err(NoSegment::Full) => {
                self.store.closing.report_shortage();
                Err(NotWritten::Full)
            }
            Err(NoSegment::Io(error)) => Err(self.give_up(log, &error)),
        }
    }

    /// Writes what is put together, and makes it durable if that is asked for; how long the sync took.
    fn write_log(&self, log: &mut OpenLog) -> io::Result<Option<Duration>> {
        log.writer.write()?;
        match self.sync {
            SyncPolicy::Always => {
                let began = Instant::now();
                log.writer.sync()?;
                return Ok(Some(began.elapsed()));
            }
            SyncPolicy::Every(_) => log.unsynced = log.unsynced.or_else(|| Some(Instant::now())),
            SyncPolicy::Never => {}
        }
        Ok(None)
    }

    fn sync_log(&self, log: &mut OpenLog) {
        let began = Instant::now();
        match log.writer.sync() {
            Ok(()) => self.store.catalog.lock().count_sync(began.elapsed()),
            Err(error) => drop(self.give_up(log, &error)),
        }
        log.unsynced = None;
    }

    /// The disk failed: nothing is known about what came behind the last success, so the segment ends there.
    fn give_up(&self, log: &mut OpenLog, error: &io::Error) -> NotWritten {
        let why = error.to_string();
        self.store.health.fail(&why);
        let mut catalog = self.store.catalog.lock();
        log.writer.finish(&mut catalog);
        catalog.log_room = 0;
        drop(catalog);
        log.unsynced = None;
        NotWritten::Disk(why.into())
    }

    /// Makes everything durable and ends the log's segment.
    pub(super) fn finish(&self) {
        let mut log = self.log.lock();
        if self.sync != SyncPolicy::Always {
            self.sync_log(&mut log);
        }
        log.writer.finish(&mut self.store.catalog.lock());
    }
}

fn refuse(requests: impl IntoIterator<Item = Request>, reason: &NotWritten) {
    for request in requests {
        (request.done)(Err(reason.clone()));
    }
}
