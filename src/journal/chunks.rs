//! Putting entries that were read together to chunks of a batch.

use bytes::BytesMut;

use super::run::Entries;
use super::types::Chunk;

/// Entries of smaller records are copied together, so that a batch is made of few chunks, and no chunk keeps a read
/// alive that was much larger.
const SMALL: usize = 32 << 10;

/// Puts entries together to chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    done: Vec<Chunk>,
    /// Small records that follow each other.
    small: BytesMut,
    small_first: u64,
    small_entries: u64,
    small_records: u64,
}

impl Chunks {
    /// Adds entries that come after all others.
    pub(super) fn push(&mut self, entries: &Entries) {
        let Entries { first, bytes, counts } = entries;
        let records = counts.iter().map(|count| u64::from(*count)).sum();
        if bytes.len() >= SMALL {
            self.flush();
            let (bytes, entries) = (bytes.clone(), counts.len() as u64);
            self.done.push(Chunk { first: *first, entries, records, bytes });
            return;
        }
        if self.small_first + self.small_entries != *first || self.small.len() + bytes.len() > 4 * SMALL {
            self.flush();
        }
        if self.small_entries == 0 {
            self.small_first = *first;
        }
        self.small.extend_from_slice(bytes);
        self.small_entries += counts.len() as u64;
        self.small_records += records;
    }

    fn flush(&mut self) {
        if self.small_entries > 0 {
            self.done.push(Chunk {
                first: self.small_first,
                entries: std::mem::take(&mut self.small_entries),
                records: std::mem::take(&mut self.small_records),
                bytes: std::mem::take(&mut self.small).freeze(),
            });
        }
    }

    /// All chunks.
    pub(super) fn end(mut self) -> Vec<Chunk> {
        self.flush();
        self.done
    }
}
