//! Entries as they are read, and how they are put together to batches.

use std::collections::VecDeque;
use std::mem;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};

/// Entries of smaller records are copied together, so that a batch is made of few chunks, and no chunk keeps a read
/// alive that was much larger.
const SMALL: usize = 32 << 10;

/// Consecutive entries of a stream as they stand in a request: each under its frame, ready to be a chunk of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence number of the first entry.
    pub first: u64,
    /// Spans, data points or log records in each of its entries, which are consecutive.
    pub counts: Vec<u32>,
    /// The framed entries.
    pub bytes: Bytes,
}

impl Chunk {
    /// The sequence number behind its last entry.
    pub fn end(&self) -> u64 {
        self.first + self.counts.len() as u64
    }

    /// The sequence numbers of its entries.
    pub fn sequences(&self) -> RangeInclusive<u64> {
        self.first..=self.end() - 1
    }

    /// Spans, data points or log records in all of its entries.
    pub fn records(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Keeps the entries below the sequence number `end`, but at least one.
    pub(super) fn end_at(&mut self, end: u64) {
        let entries = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX).max(1);
        if entries < self.counts.len() {
            let length = otlp::skip_frames(&self.bytes, entries).unwrap_or(self.bytes.len());
            drop(self.split_at(entries, length));
        }
    }

    /// Keeps as many entries as fit into so many bytes, but at least one; returns the others, if there are any.
    fn split_off(&mut self, most: usize) -> Option<Self> {
        if self.bytes.len() <= most {
            return None;
        }
        let (mut length, mut entries) = (0, 0);
        for (frame, _) in otlp::frames(&self.bytes) {
            if entries > 0 && length + frame.len() > most {
                break;
            }
            length += frame.len();
            entries += 1;
        }
        (entries < self.counts.len()).then(|| self.split_at(entries, length))
    }

    /// The entries from so many on, which begin at `length`.
    fn split_at(&mut self, entries: usize, length: usize) -> Self {
        let rest = self.bytes.split_off(length);
        // A small part would keep all of a large read in memory, which nobody counts.
        if length < rest.len() {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
        }
        Self { first: self.first + entries as u64, bytes: rest, counts: self.counts.split_off(entries) }
    }
}

/// Puts chunks together to batches.
#[derive(Debug)]
pub(super) struct Batches {
    full: VecDeque<Vec<Chunk>>,
    /// The batch that is being put together, and its bytes, those of `small` included.
    open: Vec<Chunk>,
    len: usize,
    /// Small chunks that follow each other: the number of the first entry, the counts, and the bytes.
    small: (u64, Vec<u32>, BytesMut),
    max_bytes: usize,
    most: usize,
}

impl Batches {
    /// For `most` batches of at most `max_bytes`, unless an entry alone is larger.
    pub(super) fn new(max_bytes: usize, most: usize) -> Self {
        Self { full: VecDeque::new(), open: Vec::new(), len: 0, small: Default::default(), max_bytes, most }
    }

    /// Adds entries that come after all others. What there is no batch for is left out.
    pub(super) fn push(&mut self, mut chunk: Chunk) {
        loop {
            if self.len > 0 && self.len + chunk.bytes.len() > self.max_bytes {
                self.end_batch();
            }
            if self.full.len() == self.most {
                return;
            }
            let rest = chunk.split_off(self.max_bytes);
            self.len += chunk.bytes.len();
            self.push_to_open(chunk);
            let Some(rest) = rest else { return };
            chunk = rest;
        }
    }

    fn push_to_open(&mut self, chunk: Chunk) {
        let (first, counts, bytes) = &mut self.small;
        let follows = *first + counts.len() as u64 == chunk.first;
        let is_small = chunk.bytes.len() < SMALL;
        if !is_small || !follows || bytes.len() + chunk.bytes.len() > 4 * SMALL {
            self.end_small();
        }
        if !is_small {
            return self.open.push(chunk);
        }
        let (first, counts, bytes) = &mut self.small;
        if counts.is_empty() {
            *first = chunk.first;
        }
        counts.extend(chunk.counts);
        bytes.extend_from_slice(&chunk.bytes);
    }

    fn end_small(&mut self) {
        let (first, counts, bytes) = mem::take(&mut self.small);
        if !counts.is_empty() {
            self.open.push(Chunk { first, counts, bytes: bytes.freeze() });
        }
    }

    fn end_batch(&mut self) {
        self.end_small();
        self.full.push_back(mem::take(&mut self.open));
        self.len = 0;
    }

    /// All batches that have something.
    pub(super) fn end(mut self) -> VecDeque<Vec<Chunk>> {
        if self.len > 0 {
            self.end_batch();
        }
        self.full
    }
}
