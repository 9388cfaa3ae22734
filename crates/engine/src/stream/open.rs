//! The batch of a stream that is still being filled.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::reading::ReadingPlace;
use super::withdraw::Removed;
use super::{Batch, NumberSet, batch};
use crate::telemetry::{BatchLinks, TraceContext};
use otlp::{self, Signal};

/// Chunks stop growing here: large enough that a batch is a handful of them, small enough that the spare room
/// of the last one is little beside the batch.
const LARGEST_CHUNK: usize = 64 * 1024;

/// Rounds up to what the allocator hands out anyway, so that all of it is used, and counted. Its classes of larger sizes
/// are an eighth of the next power of two apart; what it rounds smaller ones by is little beside the stream itself.
fn whole_class(bytes: usize) -> usize {
    const SMALL: usize = 4096;
    if bytes <= SMALL { bytes } else { bytes.next_multiple_of(bytes.next_power_of_two() / 8) }
}

/// Entries that have been admitted and not yet closed into a batch.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    full: Vec<Bytes>,
    chunk: BytesMut,
    len: usize,
    capacity: usize,
    records: u64,
    numbers: NumberSet,
    requests: u64,
    opened: Option<Instant>,
    first_chunk: usize,
    links: Option<Box<BatchLinks>>,
}

/// A closed batch and what it holds of the budgets.
#[derive(Debug)]
pub(super) struct ClosedBatch {
    pub(super) batch: Batch,
    /// Bytes of memory, spare room included.
    pub(super) capacity: u64,
    /// Requests that ended in this batch.
    pub(super) requests: u64,
    /// When its first entry was admitted.
    pub(super) opened: Instant,
    /// If it was read from the journal, its part of the memory that there is for that.
    pub(super) room: Option<ReadingPlace>,
    /// The traced requests that have entries in it, if there are any. What was on disk alone has none.
    pub(super) links: Option<Box<BatchLinks>>,
}

impl ClosedBatch {
    /// In the place of one that is on disk.
    pub(super) fn nothing(signal: Signal) -> Self {
        let batch = Batch::new(signal, Vec::new(), 0);
        Self { batch, capacity: 0, requests: 0, opened: Instant::now(), room: None, links: None }
    }

    /// Adds the entries of batches that come behind it in their stream.
    pub(super) fn join(&mut self, behind: Vec<Self>) {
        if behind.is_empty() {
            return;
        }
        let (mut chunks, mut records) = (self.batch.chunks().to_vec(), self.batch.records());
        let mut numbers = self.batch.numbers().clone();
        for closed in behind {
            chunks.extend_from_slice(closed.batch.chunks());
            records += closed.batch.records();
            numbers = numbers.union(closed.batch.numbers());
            self.capacity += closed.capacity;
            self.requests += closed.requests;
        }
        self.batch = Batch::numbered(self.batch.signal(), chunks, records, numbers);
    }
}

impl OpenBatch {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the first entry came.
    pub(super) fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// The sequence numbers of its entries.
    pub(super) fn numbers(&self) -> &NumberSet {
        &self.numbers
    }

    /// Copies the entry of this sequence number in, under its frame. Returns the memory that this took beyond what had
    /// been taken before, in bytes: zero if the entry went into spare room.
    ///
    /// A chunk is made larger than the entry only if `room` says that so many bytes more may be taken.
    pub(super) fn push(
        &mut self,
        number: u64,
        entry: &[u8],
        records: u64,
        room: impl Fn(u64) -> bool,
    ) -> usize {
        let framed = otlp::frame_len(entry.len());
        let mut taken = 0;
        if self.chunk.capacity() - self.chunk.len() < framed {
            let wanted = if self.len == 0 { self.first_chunk } else { self.len };
            let exact = whole_class(framed);
            let spacious = whole_class(framed.max(wanted.min(LARGEST_CHUNK)));
            let capacity = if room((spacious - exact) as u64) { spacious } else { exact };
            let full = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(capacity));
            if !full.is_empty() {
                self.full.push(full.freeze());
            }
            taken = capacity;
            self.capacity += capacity;
        }
        otlp::put_frame(&mut self.chunk, entry.len());
        self.chunk.extend_from_slice(entry);
        self.len += framed;
        self.records += records;
        self.numbers.push(number);
        self.opened.get_or_insert_with(Instant::now);
        taken
    }

    /// Notes that the traced request of this span has an entry in the batch.
    pub(super) fn link(&mut self, request: TraceContext) {
        BatchLinks::add(&mut self.links, request);
    }

    /// Notes that a request's last entry for this stream has been pushed.
    pub(super) fn end_of_request(&mut self) {
        self.requests += 1;
    }

    /// Takes entries that it has out, and returns what they had; what comes later still goes into this batch.
    /// A request whose last entry is among them has to be taken
    /// off by [`OpenBatch::take_request`].
    pub(super) fn remove(&mut self, gone: &NumberSet, signal: Signal) -> Removed {
        let len = self.len;
        // The chunk's spare room is lost, and stays counted until the batch is settled.
        self.full.push(std::mem::take(&mut self.chunk).freeze());
        let records = batch::remove(signal, &mut self.full, &self.numbers, gone);
        self.numbers = self.numbers.without(gone);
        self.records -= records;
        self.len = self.full.iter().map(Bytes::len).sum();
        let bytes = len - self.len;
        let capacity = if self.is_empty() { self.capacity } else { bytes };
        self.capacity -= capacity;
        if self.is_empty() {
            self.opened = None;
        }
        Removed { bytes: bytes as u64, records, capacity: capacity as u64, requests: 0 }
    }

    /// Takes a request off that ended in this batch.
    pub(super) fn take_request(&mut self) {
        self.requests -= 1;
    }

    /// The first entry came then: those before it were taken out.
    pub(super) fn reopened(&mut self, since: Instant) {
        self.opened = self.opened.map(|_| since);
    }

    /// Closes the batch, if anything is in it. The next one starts with a chunk as large as a busy stream needs.
    pub(super) fn close(&mut self, signal: Signal) -> Option<ClosedBatch> {
        let opened = self.opened?;
        let OpenBatch { mut full, chunk, len, capacity, records, numbers, requests, links, .. } =
            std::mem::take(self);
        self.first_chunk = len;
        if !chunk.is_empty() {
            full.push(chunk.freeze());
        }
        let batch = Batch::numbered(signal, full, records, numbers);
        Some(ClosedBatch { batch, capacity: capacity as u64, requests, opened, room: None, links })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_chunks_are_the_entries_under_their_frames() {
        let mut open = OpenBatch::default();
        let entries: Vec<Vec<u8>> = (0..300).map(|n| vec![n as u8; n * 7]).collect();
        let mut expected = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            open.push(number as u64, entry, 1, |_| true);
            otlp::put_frame(&mut expected, entry.len());
            expected.extend_from_slice(entry);
        }
        let closed = open.close(Signal::Logs).unwrap();
        assert_eq!(closed.batch.to_bytes(), expected);
        assert_eq!(closed.batch.records(), 300);
        assert_eq!(*closed.batch.numbers(), NumberSet::from(0..300));
        assert!(open.close(Signal::Logs).is_none());
    }

    #[test]
    fn spare_room_is_never_more_than_a_chunk_or_what_is_used() {
        let mut open = OpenBatch::default();
        let mut taken = 0;
        for number in 0..2000 {
            taken += open.push(number, &[7; 300], 1, |_| true);
            assert!(taken - open.len() <= LARGEST_CHUNK.min(open.len()) * 5 / 4 + open.len() / 64);
        }
        assert_eq!(open.close(Signal::Logs).unwrap().capacity, taken as u64);
    }

    #[test]
    fn a_large_chunk_is_a_whole_class_of_the_allocator() {
        assert_eq!(
            [4096, 4097, 11_264, 65_536, 65_537].map(whole_class),
            [4096, 5120, 12_288, 65_536, 81_920]
        );
    }

    #[test]
    fn a_quiet_stream_takes_exactly_its_entry() {
        let mut open = OpenBatch::default();
        assert_eq!(open.push(0, &[0; 300], 1, |_| true), otlp::frame_len(300));
    }

    #[test]
    fn without_room_a_chunk_is_as_large_as_its_entry() {
        let mut open = OpenBatch { first_chunk: LARGEST_CHUNK, ..OpenBatch::default() };
        assert_eq!(open.push(0, &[0; 300], 1, |_| false), otlp::frame_len(300));
        assert_eq!(open.push(1, &[0; 300], 1, |_| false), otlp::frame_len(300));
    }
}
