//! Sealing: the index of a segment to which no more entries are written is written behind them, one segment after the other.

use std::sync::Arc;

use sluice_notice as notice;

use super::buffer::BlockBuffer;
use super::disk::{BLOCK, is_lost};
use super::format::whole_blocks;
use super::index::{SealedIndex, encode_index, index_size};
use super::segments::{ClosedIndex, Index};
use super::store::Store;

/// Rows that are kept in memory, of all sealed segments together; those of the newest are. 64 bytes each.
const ROWS_IN_MEMORY: usize = 256 << 10;

/// Writes indexes. Only maintenance and recovery do, one of them at a time.
#[derive(Debug)]
pub(super) struct Sealer {
    pub(super) store: Store,
}

impl Sealer {
    /// Writes the index of each segment that is complete.
    pub(super) fn seal_closed(&self) {
        // Not into a file of another directory that has the same name.
        if self.store.health.is_in_place().is_err() {
            return;
        }
        let closed: Vec<_> = {
            let catalog = self.store.catalog.lock();
            let closed = catalog.segments.values().filter_map(|segment| match segment.closed()? {
                ClosedIndex::Unsealed(index, end) => {
                    let predecessor = segment.predecessors.first().copied();
                    Some((segment.segment.clone(), segment.length(), predecessor, index.clone(), *end))
                }
                ClosedIndex::Sealed(_) => None,
            });
            closed.collect()
        };
        for (segment, length, predecessor, index, end) in closed {
            let catalog = self.store.catalog.lock();
            let known = catalog.segments.get(&segment.id());
            // Its index would only say of its first predecessor where that one ends.
            if !known.is_some_and(|segment| catalog.segments.needs_no_opening(segment)) {
                continue;
            }
            drop(catalog);
            let rows = index.rows.iter().filter(|(_, row)| !row.extents.is_empty());
            let size = index_size(index.extents, rows.clone().count() as u64);
            // The index ends where the file does, so that it is found without the rest. A file that is full grows.
            let offset = length.saturating_sub(size).next_multiple_of(BLOCK as u64).max(whole_blocks(end));
            let streams = rows.map(|(stream, row)| (*stream, row.key_at, &row.extents[..]));
            let (bytes, trailer, rows) = encode_index(&segment.header, end, predecessor, offset, streams);
            let mut buffer = BlockBuffer::default();
            buffer.put(&bytes);
            let written = self.store.disk.open(&segment.name()).and_then(|file| {
                file.write_at(buffer.as_slice(), offset)?;
                file.sync_data()
            });
            if let Err(error) = written {
                // Its records are enough to recover it; the next round tries again. Until then those behind it have no index
                // either, and none of them is freed: so if it is this place that can't be written, once another is taken.
                let mut catalog = self.store.catalog.lock();
                if is_lost(&error)
                    && let Some(known) = catalog.segments.get_mut(segment.id())
                    && !std::mem::replace(&mut known.index_moved, true)
                {
                    catalog.segments.set_length(segment.id(), whole_blocks(length) + size);
                }
                drop(catalog);
                if let Some(more) = notice::due("journal", "seal") {
                    let segment = segment.name();
                    tracing::warn!(
                        segment, %error, more,
                        "the index of a segment of the journal can't be written; nothing behind it is freed until it can"
                    );
                }
                continue;
            }
            let mut catalog = self.store.catalog.lock();
            catalog.segments.set_length(segment.id(), offset + bytes.len() as u64);
            if let Some(known) = catalog.segments.get_mut(segment.id()) {
                let index = SealedIndex::new(trailer, segment.header.seed(), rows);
                known.index = Index::Closed(ClosedIndex::Sealed(Arc::new(index)));
            }
        }
        self.leave_rows_on_disk();
    }

    /// Keeps the rows of the newest segments in memory, and no more than there may be.
    fn leave_rows_on_disk(&self) {
        let mut catalog = self.store.catalog.lock();
        let mut rows = 0;
        for segment in catalog.segments.values_mut().rev() {
            let Some(index) = segment.sealed() else { continue };
            rows += index.rows_in_memory();
            if rows > ROWS_IN_MEMORY
                && let Some(on_disk) = index.without_rows()
            {
                segment.index = Index::Closed(ClosedIndex::Sealed(Arc::new(on_disk)));
            }
        }
    }
}
