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
use super::closing::Closing;
use super::pending::PendingChanges;
use super::queue::CommitQueue;
use super::record::{ALIGN, HEADER, counts_len};
use super::store::Store;
use super::supply::{NoSegment, SegmentSupply};
use super::types::{Appended, Done, Group, NotWritten, StreamId, StreamKey, SyncPolicy};
use super::writer::Writer;

/// A record takes no further entry beyond this many bytes, so that a backlog can be read in pieces.
const RECORD: usize = 256 << 10;

/// Writes the log.
pub(super) struct Committer {
    pub(super) queue: CommitQueue<Request>,
    log: Mutex<Log>,
    sync: SyncPolicy,
    store: Store,
    supply: Arc<SegmentSupply>,
    pending: Arc<PendingChanges>,
    closing: Arc<Closing>,
}

/// The log's segments, as they are written.
#[derive(Debug)]
struct Log {
    writer: Writer,
    /// Since when something is written and not synced, under [`SyncPolicy::Every`].
    unsynced: Option<Instant>,
}

/// A request that is to be written.
pub(super) struct Request {
    groups: Vec<Group>,
    size: Size,
    done: Done,
}

/// What a request takes on disk at most, the keys of its streams aside.
#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    extents: u64,
}

impl Size {
    fn of(groups: &[Group]) -> Self {
        let mut size = Self { bytes: 0, extents: 0 };
        for entry in groups.iter().flat_map(|group| &group.entries) {
            // As if each entry had a record of its own.
            size.extents += 1;
            size.bytes += (HEADER + ALIGN + otlp::frame_len(entry.bytes.len()) + counts_len(2) / 2) as u64;
        }
        size
    }
}

/// The numbers that streams and entries get if what is put together is written. If it is not, others get them.
#[derive(Default)]
struct NewNumbers {
    /// For each stream the number of its next entry.
    next: HashMap<u64, u64>,
    /// Streams that have no number yet, in the order in which they get theirs.
    fresh: Vec<(StreamId, StreamKey)>,
}

/// Streams, and their keys.
type Keys<S> = SmallVec<[(S, StreamKey); 2]>;

impl NewNumbers {
    /// The number of a stream, if it has one or is to get one.
    fn of_stream(&self, stream: StreamId, catalog: &Catalog) -> Option<u64> {
        catalog.streams.number(stream).or_else(|| {
            let place = self.fresh.iter().position(|(fresh, _)| *fresh == stream)?;
            Some(catalog.streams.next + place as u64)
        })
    }

    /// Gives the streams and the entries of a request theirs: names each stream by its number, and returns the first number
    /// that each group has for its entries.
    fn give(&mut self, groups: &mut [Group], catalog: &Catalog) -> SmallVec<[u64; 4]> {
        let mut firsts = SmallVec::new();
        for group in groups {
            let number = self.of_stream(group.stream, catalog).unwrap_or_else(|| {
                let key =
                    catalog.streams.unnumbered(group.stream).expect("the streams of a request are known");
                self.fresh.push((group.stream, key.clone()));
                catalog.streams.next + self.fresh.len() as u64 - 1
            });
            group.stream = StreamId(number);
            let known = || catalog.streams.table.get(&number).map_or(0, |stream| stream.next);
            let next = self.next.entry(number).or_insert_with(known);
            firsts.push(*next);
            *next += group.entries.len() as u64;
        }
        firsts
    }

    /// They are in the log: from now on they are taken.
    fn take(self, catalog: &mut Catalog) {
        for (stream, key) in self.fresh {
            let number = catalog.streams.next;
            catalog.streams.give_number(stream, &key, number);
        }
        for (stream, next) in self.next {
            if let Some(stream) = catalog.streams.table.get_mut(&stream) {
                debug_assert!(stream.next <= next, "numbers of entries only rise");
                stream.next = next;
            }
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
        pending: Arc<PendingChanges>,
        closing: Arc<Closing>,
    ) -> Self {
        let log = Mutex::new(Log { writer: Writer::behind(last), unsynced: None });
        Self { queue: CommitQueue::new(), log, sync, store, supply, pending, closing }
    }

    /// See [`super::Journal::append`].
    pub(super) fn append(&self, groups: Vec<Group>, done: Done) {
        let size = Size::of(&groups);
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
            self.pending.set_writing_group(true);
            while !group.is_empty() {
                self.commit_what_fits(&mut log, &mut group);
            }
            self.pending.set_writing_group(false);
        }
        self.queue.answered();
        if let (SyncPolicy::Every(interval), Some(since)) = (self.sync, log.unsynced)
            && since + interval <= Instant::now()
        {
            self.sync_log(&mut log);
        }
        any
    }

    /// Writes the requests at the front of the group that one segment takes, or refuses some.
    fn commit_what_fits(&self, log: &mut Log, group: &mut VecDeque<Request>) {
        let began = Instant::now();
        let mut numbers = NewNumbers::default();
        let mut written: Vec<(Done, Appended)> = Vec::with_capacity(group.len());
        let mut requests: Vec<Vec<Group>> = Vec::with_capacity(group.len());
        // What they take that are not put into the buffer yet.
        let mut waiting = Size { bytes: 0, extents: 0 };
        while let Some(request) = group.front() {
            let Some(keys) = self.keys(&log.writer, &request.groups, &numbers) else {
                refuse(group.pop_front(), &NotWritten::Forgotten);
                continue;
            };
            let key_bytes: usize = keys.iter().map(|(_, key)| key_len(key)).sum();
            let Size { bytes, extents } = request.size;
            let (bytes, streams) = (bytes + key_bytes as u64, request.groups.len() as u64);
            if !log.writer.fits(waiting.bytes + bytes, waiting.extents + extents, streams) {
                if !written.is_empty() {
                    break;
                }
                // In a new segment every stream needs its key.
                let all: usize = self.key_bytes(&request.groups);
                let length = Writer::segment_for(request.size.bytes + all as u64, extents, streams);
                match self.change_segment(log, length) {
                    Ok(()) => continue,
                    Err(reason @ NotWritten::TooLarge { .. }) => refuse(group.pop_front(), &reason),
                    Err(reason) => refuse(group.drain(..), &reason),
                }
                continue;
            }
            let mut request = group.pop_front().expect("it was looked at");
            let (first, keys) = {
                let catalog = self.store.catalog.lock();
                let first = numbers.give(&mut request.groups, &catalog);
                let number = |stream| numbers.of_stream(stream, &catalog).expect("it was just given");
                (first, keys.into_iter().map(|(stream, key)| (number(stream), key)).collect::<Keys<u64>>())
            };
            for (stream, key) in keys {
                log.writer.put_key(stream, &key);
            }
            waiting.bytes += request.size.bytes;
            waiting.extents += extents;
            written.push((request.done, Appended { first }));
            requests.push(request.groups);
        }
        if written.is_empty() {
            return;
        }
        let firsts = written.iter().flat_map(|(_, appended)| appended.first.iter().copied());
        let entries = put(&mut log.writer, firsts.zip(requests.iter().flatten()).collect());
        match self.write_log(log) {
            Ok(sync) => {
                let mut catalog = self.store.catalog.lock();
                numbers.take(&mut catalog);
                log.writer.publish(&mut catalog);
                let bytes: usize = requests
                    .iter()
                    .flatten()
                    .flat_map(|group| &group.entries)
                    .map(|entry| otlp::frame_len(entry.bytes.len()))
                    .sum();
                let figures = &mut catalog.figures;
                figures.written.requests += written.len() as u64;
                figures.written.entries += entries;
                figures.written.bytes += bytes as u64;
                figures.commits += 1;
                figures.last_commit = began.elapsed();
                figures.commit_time += figures.last_commit;
                if let Some(took) = sync {
                    catalog.count_sync(took);
                }
                catalog.log_room = log.writer.room();
                drop(catalog);
                for (done, appended) in written {
                    done(Ok(appended));
                }
            }
            Err(error) => {
                let reason = self.give_up(log, &error);
                for (done, _) in written {
                    done(Err(reason.clone()));
                }
            }
        }
    }

    /// The keys that the open segment needs for a request; `None` if one of its streams is not known.
    fn keys(&self, writer: &Writer, groups: &[Group], numbers: &NewNumbers) -> Option<Keys<StreamId>> {
        let mut keys = Keys::new();
        let catalog = self.store.catalog.lock();
        for group in groups {
            let (stream, key) = (group.stream, catalog.streams.key(group.stream)?);
            let has_key = numbers.of_stream(stream, &catalog).is_some_and(|number| writer.knows(number));
            if !group.entries.is_empty() && !has_key && keys.iter().all(|(known, _)| *known != stream) {
                keys.push((stream, key.clone()));
            }
        }
        Some(keys)
    }

    fn key_bytes(&self, groups: &[Group]) -> usize {
        let catalog = self.store.catalog.lock();
        groups.iter().filter_map(|group| catalog.streams.key(group.stream)).map(key_len).sum()
    }

    /// Goes on in a new segment, of at least `length` bytes.
    fn change_segment(&self, log: &mut Log, length: u64) -> Result<(), NotWritten> {
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
                self.closing.report_shortage();
                Err(NotWritten::Full)
            }
            Err(NoSegment::Io(error)) => Err(self.give_up(log, &error)),
        }
    }

    /// Writes what is put together, and makes it durable if that is asked for; how long the sync took.
    fn write_log(&self, log: &mut Log) -> io::Result<Option<Duration>> {
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

    fn sync_log(&self, log: &mut Log) {
        let began = Instant::now();
        match log.writer.sync() {
            Ok(()) => self.store.catalog.lock().count_sync(began.elapsed()),
            Err(error) => drop(self.give_up(log, &error)),
        }
        log.unsynced = None;
    }

    /// The disk failed: nothing is known about what came behind the last success, so the segment ends there.
    fn give_up(&self, log: &mut Log, error: &io::Error) -> NotWritten {
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

/// Puts groups, each with the number of its first entry, into records; how many entries they have. What the requests have
/// for the same stream goes together: that makes few records, and a backlog is read back in large pieces.
fn put(writer: &mut Writer, mut groups: Vec<(u64, &Group)>) -> u64 {
    groups.sort_by_key(|(first, group)| (group.stream.0, *first));
    let mut put = 0;
    for same in groups.chunk_by(|(_, a), (_, b)| a.stream == b.stream) {
        let mut next = same[0].0;
        let mut entries = same.iter().flat_map(|(_, group)| &group.entries).peekable();
        while entries.peek().is_some() {
            let begun = writer.begin();
            let mut counts: SmallVec<[u32; 16]> = SmallVec::new();
            while let Some(entry) = entries.next_if(|entry| {
                counts.is_empty() || writer.begun_len(&begun) + otlp::frame_len(entry.bytes.len()) <= RECORD
            }) {
                writer.put_entry(&entry.bytes);
                counts.push(u32::try_from(entry.records).unwrap_or(u32::MAX));
            }
            writer.end_entries(&begun, same[0].1.stream.0, next, &counts);
            next += counts.len() as u64;
            put += counts.len() as u64;
        }
    }
    put
}

/// Bytes that the record with a key takes, at most.
fn key_len(key: &StreamKey) -> usize {
    HEADER + key.as_bytes().len() + 2 * ALIGN
}

fn refuse(requests: impl IntoIterator<Item = Request>, reason: &NotWritten) {
    for request in requests {
        (request.done)(Err(reason.clone()));
    }
}
