//! Sealing: the index of a segment to which no more entries are written is written behind them, one segment after the other.

use std::sync::Arc;

use sluice_notice as notice;

use super::buffer::write_blocks;
use super::disk::{BLOCK, is_lost};
use super::format::whole_blocks;
use super::index::index_size;
use super::segments::Index;
use super::store::Store;

/// Rows that are kept in memory, of all sealed segments together; those of the newest are. 64 bytes each.
const ROWS_IN_MEMORY: usize = 256 << 10;

/// Writes the index of each segment that is complete. Only maintenance and recovery do, one of them at a time.
pub(super) fn seal_closed(store: &Store) {
    // Not into a file of another directory that has the same name.
    if store.health.is_in_place().is_err() {
        return;
    }
    let closed: Vec<_> = {
        let catalog = store.catalog.lock();
        let closed = catalog.segments.values().filter_map(|segment| {
            let index = segment.closed().filter(|index| !index.is_sealed())?;
            Some((segment.segment.clone(), segment.length(), index.clone()))
        });
        closed.collect()
    };
    for (segment, length, index) in closed {
        let catalog = store.catalog.lock();
        let known = catalog.segments.get(&segment.id());
        // Its index would only say of its first predecessor where that one ends.
        if !known.is_some_and(|segment| catalog.segments.needs_no_opening(segment)) {
            continue;
        }
        drop(catalog);
        let size = index_size(index.trailer.extents, index.trailer.rows);
        // The index ends where the file does, so that it is found without the rest. A file that is full grows.
        let end = whole_blocks(index.trailer.end);
        let offset = length.saturating_sub(size).next_multiple_of(BLOCK as u64).max(end);
        let Some((bytes, sealed)) = index.seal(&segment.header, offset) else { continue };
        let written = store.disk.open(&segment.name()).and_then(|file| {
            write_blocks(&*file, &bytes, offset)?;
            file.sync_data()
        });
        let mut catalog = store.catalog.lock();
        match written {
            Ok(()) => {
                catalog.segments.set_length(segment.id(), offset + bytes.len() as u64);
                if let Some(known) = catalog.segments.get_mut(segment.id()) {
                    known.index = Index::Closed(Arc::new(sealed));
                }
            }
            // Its records are enough to recover it; the next round tries again. Until then those behind it have no index
            // either, and none of them is freed: so if it is this place that can't be written, once another is taken.
            Err(error) => {
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
            }
        }
    }
    leave_rows_on_disk(store);
}

/// Keeps the rows of the newest segments in memory, and no more than there may be.
fn leave_rows_on_disk(store: &Store) {
    let mut catalog = store.catalog.lock();
    let mut rows = 0;
    for segment in catalog.segments.values_mut().rev() {
        let Some(index) = segment.sealed() else { continue };
        rows += index.rows_in_memory();
        if rows > ROWS_IN_MEMORY
            && let Some(on_disk) = index.without_rows(&segment.segment.header)
        {
            segment.index = Index::Closed(Arc::new(on_disk));
        }
    }
}
