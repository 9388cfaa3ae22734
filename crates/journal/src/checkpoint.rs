//! Checkpoints: positions are written as streams settle, and made durable before the segments go that they make needless.
//!
//! The positions are locked while they are written and segments are freed; of other locks those of the segment supply and of
//! the catalog are taken meanwhile.

use std::sync::Arc;

use parking_lot::Mutex;
use sluice_notice as notice;

use super::positions::Positions;
use super::store::Store;
use super::supply::SegmentSupply;

/// Writes positions, and frees segments.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) positions: Mutex<Positions>,
    pub(super) store: Store,
    pub(super) supply: Arc<SegmentSupply>,
}

impl Checkpoints {
    /// Writes what has been settled since the last call; with `sync` it is durable afterwards. What can't be written is logged,
    /// and written with the next.
    pub(super) fn write(&self, sync: bool) {
        self.write_and_free(&[], sync);
    }

    /// Writes what has been settled since the last call. Once it is durable that nobody needs the segments `free`, they go.
    pub(super) fn write_and_free(&self, free: &[u64], sync: bool) {
        let mut positions = self.positions.lock();
        let moved = self.store.catalog.lock().streams.take_moved();
        let snapshot = || self.store.catalog.lock().snapshot(free);
        let written = positions.write(&*self.store.disk, &moved, free, sync || !free.is_empty(), snapshot);
        self.store.catalog.lock().positions_bytes = positions.length();
        if let Err(error) = written {
            if let Some(more) = notice::due("journal", "positions") {
                tracing::warn!(
                    %error, more, "the journal's positions can't be written; nothing is freed until they can"
                );
            }
        } else if !free.is_empty()
            && let Err(error) = self.supply.retire(free)
            && let Some(more) = notice::due("journal", "free")
        {
            tracing::warn!(%error, more, "files that the journal needs no more can't be renamed or removed");
        }
    }
}
