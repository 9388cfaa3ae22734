//! Putting entries that were read together to batches.

use std::collections::VecDeque;
use std::mem;

use bytes::BytesMut;

use super::run::Entries;
use super::types::Chunk;

/// Entries of smaller records are copied together, so that a batch is made of few chunks, and no chunk keeps a read
/// alive that was much larger.
const SMALL: usize = 32 << 10;

/// Puts entries together to batches.
#[derive(Debug)]
pub(super) struct Batches {
    full: VecDeque<Vec<Chunk>>,
    open: Chunks,
    /// Bytes in the open one.
    len: usize,
    max_bytes: usize,
    most: usize,
}

impl Batches {
    /// For `most` batches of at most `max_bytes`, unless an entry alone is larger.
    pub(super) fn new(max_bytes: usize, most: usize) -> Self {
        Self { full: VecDeque::new(), open: Chunks::default(), len: 0, max_bytes, most }
    }

    /// Adds entries that come after all others. What there is no batch for is left out.
    pub(super) fn push(&mut self, mut entries: Entries) {
        loop {
            if self.len > 0 && self.len + entries.bytes.len() > self.max_bytes {
                self.full.push_back(mem::take(&mut self.open).end());
                self.len = 0;
            }
            if self.full.len() == self.most {
                return;
            }
            let rest = entries.split_off(self.max_bytes);
            self.len += entries.bytes.len();
            self.open.push(&entries);
            let Some(rest) = rest else { return };
            entries = rest;
        }
    }

    /// All batches that have something.
    pub(super) fn end(mut self) -> VecDeque<Vec<Chunk>> {
        if self.len > 0 {
            self.full.push_back(self.open.end());
        }
        self.full
    }
}

/// Puts entries together to the chunks of one batch.
#[derive(Debug, Default)]
struct Chunks {
    done: Vec<Chunk>,
    /// Small records that follow each other.
    small: BytesMut,
    small_first: u64,
    small_counts: Vec<u32>,
}

impl Chunks {
    /// Adds entries that come after all others.
    fn push(&mut self, entries: &Entries) {
        let Entries { first, bytes, counts } = entries;
        if bytes.len() >= SMALL {
            self.flush();
            self.done.push(Chunk { first: *first, counts: counts.clone(), bytes: bytes.clone() });
            return;
        }
        let follows = self.small_first + self.small_counts.len() as u64 == *first;
        if !follows || self.small.len() + bytes.len() > 4 * SMALL {
            self.flush();
        }
        if self.small_counts.is_empty() {
            self.small_first = *first;
        }
        self.small.extend_from_slice(bytes);
        self.small_counts.extend_from_slice(counts);
    }

    fn flush(&mut self) {
        if !self.small_counts.is_empty() {
            let (first, counts) = (self.small_first, mem::take(&mut self.small_counts));
            self.done.push(Chunk { first, counts, bytes: mem::take(&mut self.small).freeze() });
        }
    }

    /// All chunks.
    fn end(mut self) -> Vec<Chunk> {
        self.flush();
        self.done
    }
}
