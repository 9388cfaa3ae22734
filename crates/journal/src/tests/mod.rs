//! The journal as a whole, on a simulated disk.

mod commit_queue;
mod damage;
mod disk_faults;
mod everyday;
mod fixture;
mod hanging;
mod model;
mod numbers;
mod pieces;
mod place;
mod positions;
mod real_disk;
mod tending;
mod unreadable;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::simulation::SimulatedDisk;
use super::{
    AssignedNumbers, Chunk, Journal, JournalEntry, JournalSettings, NotWritten, OpenError, Recovery,
    StreamEntries, StreamId, StreamKey, SyncPolicy,
};

pub(super) const SEGMENT: u64 = 64 << 10;

/// Small segments, and room for `segments` of them.
pub(super) fn settings(segments: u64) -> JournalSettings {
    JournalSettings {
        directory: "simulated".into(),
        max_size: segments * SEGMENT + (512 << 10),
        sync: SyncPolicy::Always,
        segment_size: SEGMENT,
    }
}

pub(super) fn key(name: &str) -> StreamKey {
    StreamKey::from(name.as_bytes())
}

pub(super) fn try_open(disk: &SimulatedDisk) -> Result<(Journal, Recovery), OpenError> {
    Journal::open_by_hand(settings(64), disk.process())
}

pub(super) fn open(disk: &SimulatedDisk) -> (Journal, Recovery) {
    try_open(disk).unwrap()
}

pub(super) fn entry(bytes: impl Into<Bytes>, records: u64) -> JournalEntry {
    JournalEntry { bytes: bytes.into(), records }
}

/// An entry that tells which one it is, at least `length` bytes long.
pub(super) fn nth(stream: &str, n: u64, length: usize) -> Bytes {
    let mut bytes = format!("{stream}#{n} ").into_bytes();
    bytes.resize(bytes.len().max(length), b'x');
    bytes.into()
}

/// Appends one request and commits it.
pub(super) fn append(journal: &Journal, groups: Vec<StreamEntries>) -> Result<AssignedNumbers, NotWritten> {
    let answer = Arc::new(Mutex::new(None));
    let done = answer.clone();
    journal.append(groups, Box::new(move |result| *done.lock() = Some(result)));
    while journal.commit_once() {}
    answer.lock().take().expect("every request is answered")
}

/// Appends one entry with one record to one stream.
pub(super) fn append_one(journal: &Journal, stream: StreamId, bytes: Bytes) -> Result<u64, NotWritten> {
    let group = StreamEntries { stream, entries: [entry(bytes, 1)].into_iter().collect() };
    append(journal, vec![group]).map(|appended| appended.first[0])
}

/// Appends entries `from..to` of a stream, each in a request of its own.
pub(super) fn fill(
    journal: &Journal,
    stream: StreamId,
    name: &str,
    numbers: std::ops::Range<u64>,
    length: usize,
) {
    for n in numbers {
        assert_eq!(append_one(journal, stream, nth(name, n, length)), Ok(n));
    }
}

/// The entries of a chunk.
pub(super) fn entries_of(chunk: &Chunk) -> Vec<(u64, Bytes)> {
    let mut found = Vec::new();
    let mut rest = chunk.bytes.clone();
    while !rest.is_empty() {
        let next = otlp::skip_frames(&rest, 1).unwrap();
        let framed = rest.split_to(next);
        let length = (0..=framed.len()).find(|length| otlp::frame_len(*length) == framed.len()).unwrap();
        found.push((chunk.first + found.len() as u64, framed.slice(framed.len() - length..)));
    }
    assert_eq!(found.len(), chunk.counts.len());
    found
}

/// Everything that a stream has from `from` on, read in pieces of about `max_bytes`.
pub(super) fn read_from(
    journal: &Journal,
    stream: StreamId,
    mut from: u64,
    max_bytes: usize,
) -> Vec<(u64, Bytes)> {
    let mut found = Vec::new();
    loop {
        let chunks = journal.read(stream, from..u64::MAX, max_bytes).unwrap();
        let Some(last) = chunks.last() else { return found };
        from = last.sequences().end() + 1;
        found.extend(chunks.iter().flat_map(entries_of));
    }
}

pub(super) fn read_all(journal: &Journal, stream: StreamId) -> Vec<(u64, Bytes)> {
    read_from(journal, stream, 0, 16 << 10)
}

/// What [`fill`] has put there.
pub(super) fn filled(name: &str, numbers: impl IntoIterator<Item = u64>, length: usize) -> Vec<(u64, Bytes)> {
    numbers.into_iter().map(|n| (n, nth(name, n, length))).collect()
}

/// The segments of a disk, oldest first.
pub(super) fn segments(disk: &SimulatedDisk) -> Vec<String> {
    disk.files().into_iter().map(|(name, _)| name).filter(|name| name.starts_with("segment-")).collect()
}
