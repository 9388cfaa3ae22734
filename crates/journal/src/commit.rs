//! The committer: writes all requests that wait as one group, makes them durable together, and answers them in order.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::record::{ALIGN, HEADER, counts_len};
use super::shared::Shared;
use super::state::State;
use super::supply::NoSegment;
use super::types::{Appended, Done, Group, NotWritten, StreamId, StreamKey, SyncPolicy, Unwritten};
use super::writer::Writer;

/// A group takes no further request beyond this many bytes.
const GROUP: u64 = 4 << 20;

/// A record takes no further entry beyond this many bytes, so that a backlog can be read in pieces.
const RECORD: usize = 256 << 10;

/// Requests that wait to be written.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Request>,
    /// Bytes that they take on disk.
    bytes: u64,
    /// Records in them.
    records: u64,
    /// Requests that are being written, and their records.
    in_hand: Unwritten,
    closed: bool,
}

struct Request {
    groups: Vec<Group>,
    records: u64,
    size: Size,
    done: Done,
}

/// What a request takes on disk at most, the keys of its streams aside.
#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    extents: u64,
}

/// The writer of the log.
#[derive(Debug, Default)]
pub(super) struct Committer {
    writer: Writer,
    /// Since when something is written and not synced, under [`SyncPolicy::Every`].
    unsynced: Option<Instant>,
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

impl Queue {
    /// Requests that wait, and the bytes that they take.
    pub(super) fn waiting(&self) -> (u64, u64) {
        (self.waiting.len() as u64, self.bytes)
    }

    /// All requests that have not been answered.
    pub(super) fn unwritten(&self) -> Unwritten {
        let Unwritten { requests, records } = self.in_hand;
        Unwritten { requests: requests + self.waiting.len() as u64, records: records + self.records }
    }

    /// The next group.
    fn take(&mut self) -> VecDeque<Request> {
        let (mut group, mut bytes, mut records) = (VecDeque::new(), 0, 0);
        while let Some(request) = self.waiting.front() {
            if bytes > 0 && bytes + request.size.bytes > GROUP {
                break;
            }
            bytes += request.size.bytes;
            records += request.records;
            group.extend(self.waiting.pop_front());
        }
        self.bytes -= bytes;
        self.records -= records;
        debug_assert!(!self.waiting.is_empty() || (self.bytes, self.records) == (0, 0), "nothing is nothing");
        self.in_hand = Unwritten { requests: group.len() as u64, records };
        group
    }
}

impl Committer {
    /// A committer that goes on behind the segment that was the log's last, which ends there.
    pub(super) fn behind(before: Option<(u64, u64)>) -> Self {
        Self { writer: Writer::behind(before), unsynced: None }
    }
}

/// The numbers that streams and entries get if what is put together is written. If it is not, others get them.
#[derive(Default)]
struct Numbers {
    /// For each stream the number of its next entry.
    next: HashMap<u64, u64>,
    /// Streams that have no number yet, in the order in which they get theirs.
    fresh: Vec<(StreamId, StreamKey)>,
}

/// Streams, and their keys.
type Keys<S> = SmallVec<[(S, StreamKey); 2]>;

impl Numbers {
    /// The number of a stream, if it has one or is to get one.
    fn of_stream(&self, stream: StreamId, state: &State) -> Option<u64> {
        state.streams.number(stream).or_else(|| {
            let place = self.fresh.iter().position(|(fresh, _)| *fresh == stream)?;
            Some(state.streams.next + place as u64)
        })
    }

    /// Gives the streams and the entries of a request theirs: names each stream by its number, and returns the first number
    /// that each group has for its entries.
    fn give(&mut self, groups: &mut [Group], state: &State) -> SmallVec<[u64; 4]> {
        let mut firsts = SmallVec::new();
        for group in groups {
            let number = self.of_stream(group.stream, state).unwrap_or_else(|| {
                let key = state.streams.unnumbered(group.stream).expect("the streams of a request are known");
                self.fresh.push((group.stream, key.clone()));
                state.streams.next + self.fresh.len() as u64 - 1
            });
            group.stream = StreamId(number);
            let known = || state.streams.table.get(&number).map_or(0, |stream| stream.next);
            let next = self.next.entry(number).or_insert_with(known);
            firsts.push(*next);
            *next += group.entries.len() as u64;
        }
        firsts
    }

    /// They are in the log: from now on they are taken.
    fn take(self, state: &mut State) {
        for (stream, key) in self.fresh {
            let number = state.streams.next;
            state.streams.give_number(stream, &key, number);
        }
        for (stream, next) in self.next {
            if let Some(stream) = state.streams.table.get_mut(&stream) {
                debug_assert!(stream.next <= next, "numbers of entries only rise");
                stream.next = next;
            }
        }
    }
}

impl Shared {
    /// See [`super::Journal::append`].
    pub(super) fn append(&self, groups: Vec<Group>, done: Done) {
        let size = Size::of(&groups);
        let records = groups.iter().flat_map(|group| &group.entries).map(|entry| entry.records).sum();
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return done(Err(NotWritten::Closed));
        }
        let idle = queue.waiting.is_empty();
        queue.bytes += size.bytes;
        queue.records += records;
        queue.waiting.push_back(Request { groups, records, size, done });
        drop(queue);
        if idle {
            self.work.notify_one();
        }
    }

    /// Takes no more requests; those that wait are still written.
    pub(super) fn close_queue(&self) {
        self.queue.lock().closed = true;
        self.work.notify_all();
    }

    /// The committer's thread: until the queue is closed and empty.
    pub(super) fn commit_until_closed(&self) {
        loop {
            let wait = self.next_sync();
            {
                let mut queue = self.queue.lock();
                if queue.waiting.is_empty() {
                    if queue.closed {
                        break;
                    }
                    match wait {
                        Some(wait) => drop(self.work.wait_for(&mut queue, wait)),
                        None => self.work.wait(&mut queue),
                    }
                }
            }
            while self.commit_once() {}
        }
    }

    fn next_sync(&self) -> Option<Duration> {
        let SyncPolicy::Every(interval) = self.settings.sync else { return None };
        let since = self.committer.lock().unsynced?;
        Some((since + interval).saturating_duration_since(Instant::now()))
    }

    /// Writes one group of requests, and syncs if it is time. Whether there was one.
    pub(super) fn commit_once(&self) -> bool {
        let mut committer = self.committer.lock();
        let mut group = self.queue.lock().take();
        let any = !group.is_empty();
        // Not while the state is locked: those who are answered may let go of a stream.
        if let Some(failing) = self.failing() {
            refuse(group.drain(..), &NotWritten::Disk(failing.why));
        }
        if !group.is_empty() {
            self.asked.set_writing_group(true);
            while !group.is_empty() {
                self.commit_what_fits(&mut committer, &mut group);
            }
            self.asked.set_writing_group(false);
        }
        self.queue.lock().in_hand = Unwritten::default();
        if let (SyncPolicy::Every(interval), Some(since)) = (self.settings.sync, committer.unsynced)
            && since + interval <= Instant::now()
        {
            self.sync_log(&mut committer);
        }
        any
    }

    /// Writes the requests at the front of the group that one segment takes, or refuses some.
    fn commit_what_fits(&self, committer: &mut Committer, group: &mut VecDeque<Request>) {
        let began = Instant::now();
        let mut numbers = Numbers::default();
        let mut written: Vec<(Done, Appended)> = Vec::with_capacity(group.len());
        let mut requests: Vec<Vec<Group>> = Vec::with_capacity(group.len());
        // What they take that are not put into the buffer yet.
        let mut waiting = Size { bytes: 0, extents: 0 };
        while let Some(request) = group.front() {
            let Some(keys) = self.keys(&committer.writer, &request.groups, &numbers) else {
                refuse(group.pop_front(), &NotWritten::Forgotten);
                continue;
            };
            let key_bytes: usize = keys.iter().map(|(_, key)| key_len(key)).sum();
            let Size { bytes, extents } = request.size;
            let (bytes, streams) = (bytes + key_bytes as u64, request.groups.len() as u64);
            if !committer.writer.fits(waiting.bytes + bytes, waiting.extents + extents, streams) {
                if !written.is_empty() {
                    break;
                }
                // In a new segment every stream needs its key.
                let all: usize = self.key_bytes(&request.groups);
                let length = Writer::segment_for(request.size.bytes + all as u64, extents, streams);
                match self.change_segment(committer, length) {
                    Ok(()) => continue,
                    Err(reason @ NotWritten::TooLarge { .. }) => refuse(group.pop_front(), &reason),
                    Err(reason) => refuse(group.drain(..), &reason),
                }
                continue;
            }
            let mut request = group.pop_front().expect("it was looked at");
            let (first, keys) = {
                let state = self.state.lock();
                let first = numbers.give(&mut request.groups, &state);
                let number = |stream| numbers.of_stream(stream, &state).expect("it was just given");
                (first, keys.into_iter().map(|(stream, key)| (number(stream), key)).collect::<Keys<u64>>())
            };
            for (stream, key) in keys {
                committer.writer.put_key(stream, &key);
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
        let entries = put(&mut committer.writer, firsts.zip(requests.iter().flatten()).collect());
        match self.write_log(committer) {
            Ok(sync) => {
                let mut state = self.state.lock();
                numbers.take(&mut state);
                committer.writer.publish(&mut state);
                let bytes: usize = requests
                    .iter()
                    .flatten()
                    .flat_map(|group| &group.entries)
                    .map(|entry| otlp::frame_len(entry.bytes.len()))
                    .sum();
                let figures = &mut state.figures;
                figures.written.requests += written.len() as u64;
                figures.written.entries += entries;
                figures.written.bytes += bytes as u64;
                figures.commits += 1;
                figures.last_commit = began.elapsed();
                figures.commit_time += figures.last_commit;
                if let Some(took) = sync {
                    figures.count_sync(took);
                }
                state.log_room = committer.writer.room();
                drop(state);
                for (done, appended) in written {
                    done(Ok(appended));
                }
            }
            Err(error) => {
                let reason = self.give_up(committer, &error);
                for (done, _) in written {
                    done(Err(reason.clone()));
                }
            }
        }
    }

    /// The keys that the open segment needs for a request; `None` if one of its streams is not known.
    fn keys(&self, writer: &Writer, groups: &[Group], numbers: &Numbers) -> Option<Keys<StreamId>> {
        let mut keys = Keys::new();
        let state = self.state.lock();
        for group in groups {
            let (stream, key) = (group.stream, key_of(group.stream, &state)?);
            let has_key = numbers.of_stream(stream, &state).is_some_and(|number| writer.knows(number));
            if !group.entries.is_empty() && !has_key && keys.iter().all(|(known, _)| *known != stream) {
                keys.push((stream, key.clone()));
            }
        }
        Some(keys)
    }

    fn key_bytes(&self, groups: &[Group]) -> usize {
        let state = self.state.lock();
        groups.iter().filter_map(|group| key_of(group.stream, &state)).map(key_len).sum()
    }

    /// Goes on in a new segment, of at least `length` bytes.
    fn change_segment(&self, committer: &mut Committer, length: u64) -> Result<(), NotWritten> {
        if length > self.largest_segment() {
            return Err(NotWritten::TooLarge { size: length });
        }
        if committer.unsynced.is_some() {
            self.sync_log(committer);
        }
        match self.next_of_log(length) {
            Ok(prepared) => {
                let mut state = self.state.lock();
                committer.writer.finish(&mut state);
                committer.writer.begin_segment(prepared, &state);
                Ok(())
            }
            Err(NoSegment::Full) => {
                self.hurry();
                Err(NotWritten::Full)
            }
            Err(NoSegment::Io(error)) => Err(self.give_up(committer, &error)),
        }
    }

    /// Writes what is put together, and makes it durable if that is asked for; how long the sync took.
    fn write_log(&self, committer: &mut Committer) -> io::Result<Option<Duration>> {
        committer.writer.write()?;
        match self.settings.sync {
            SyncPolicy::Always => {
                let began = Instant::now();
                committer.writer.sync()?;
                return Ok(Some(began.elapsed()));
            }
            SyncPolicy::Every(_) => committer.unsynced = committer.unsynced.or_else(|| Some(Instant::now())),
            SyncPolicy::Never => {}
        }
        Ok(None)
    }

    fn sync_log(&self, committer: &mut Committer) {
        let began = Instant::now();
        match committer.writer.sync() {
            Ok(()) => self.state.lock().figures.count_sync(began.elapsed()),
            Err(error) => drop(self.give_up(committer, &error)),
        }
        committer.unsynced = None;
    }

    /// The disk failed: nothing is known about what came behind the last success, so the segment ends there.
    fn give_up(&self, committer: &mut Committer, error: &io::Error) -> NotWritten {
        let why = error.to_string();
        let mut state = self.state.lock();
        committer.writer.finish(&mut state);
        committer.unsynced = None;
        state.fail(&why);
        state.log_room = 0;
        NotWritten::Disk(why.into())
    }

    /// Makes everything durable and ends the log's segment.
    pub(super) fn finish_log(&self) {
        let mut committer = self.committer.lock();
        if self.settings.sync != SyncPolicy::Always {
            self.sync_log(&mut committer);
        }
        committer.writer.finish(&mut self.state.lock());
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

/// The key of a stream, whether it has a number or not; `None` if it is not known.
fn key_of(stream: StreamId, state: &State) -> Option<&StreamKey> {
    let numbered = || state.streams.table.get(&state.streams.number(stream)?).map(|stream| &stream.key);
    state.streams.unnumbered(stream).or_else(numbered)
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
