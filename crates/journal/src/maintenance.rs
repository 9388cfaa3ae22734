//! Maintenance, in rounds: indexes are written, positions made durable, segments freed that nobody needs any
//! more, and live entries brought together.
//!
//! The compactor is locked for a round; of other locks those of checkpoints, the segment supply, the catalog and the journal's
//! health are taken meanwhile.

use std::time::Duration;

use parking_lot::Mutex;
use sluice_notice as notice;

use super::closing::Closing;
use super::compaction::Compactor;
use super::index::{EntryTotals, is_damage};
use super::indexed::{IndexedSegment, UnreadableSegment};
use super::repair::make_index_again;
use super::seal::seal_closed;
use super::store::Store;

/// How often positions are written, and everything else looked after.
const INTERVAL: Duration = Duration::from_millis(200);

/// The same while there is no room.
const SHORTEST: Duration = Duration::from_millis(20);

/// The positions are made durable, and a disk that failed is tried again, each so many intervals.
const SYNC_EVERY: u64 = 5;

/// Rows in which live entries are counted in one round, unless there is no room.
const ROWS_AT_ONCE: u64 = 256 << 10;

/// Looks after the files of a journal.
#[derive(Debug)]
pub(super) struct Maintenance {
    pub(super) compactor: Mutex<Compactor>,
}

impl Maintenance {
    /// The maintenance thread: until the journal is closed.
    pub(super) fn run_until_closed(&self, closing: &Closing) {
        let mut round: u64 = 0;
        while closing.wait_for_shortage(SHORTEST, INTERVAL) {
            round += 1;
            self.run_once(round.is_multiple_of(SYNC_EVERY));
        }
    }

    /// One round. With `sync`, positions are durable afterwards, and a disk that failed is tried again.
    pub(super) fn run_once(&self, sync: bool) {
        let mut compactor = self.compactor.lock();
        let Compactor { store, supply, checkpoints, .. } = &*compactor;
        let shortage = store.closing.take_shortage();
        let is_in_place = store.health.is_in_place().is_ok();
        store.health.report();
        if !is_in_place {
            // Names lead elsewhere. What is open can still be written, and will be found if the directory comes back.
            return checkpoints.write(sync);
        }
        seal_closed(store);
        if sync {
            supply.try_failed_disk();
            store.health.report();
            store.buffers.clear();
        }
        supply.make_ready();
        count_live(store, shortage);
        checkpoints.write_and_free(&needless(store), sync);
        if !store.health.has_failed() {
            compactor.compact(shortage);
        }
    }

    /// Makes all positions durable, and ends the segment of compaction.
    pub(super) fn finish(&self) {
        let mut compactor = self.compactor.lock();
        compactor.finish();
        let Compactor { store, checkpoints, .. } = &*compactor;
        if store.health.is_in_place().is_err() {
            return checkpoints.write(true);
        }
        seal_closed(store);
        count_live(store, true);
        checkpoints.write_and_free(&needless(store), true);
    }
}

/// Counts what is live in the segments where that may have changed: in all of them, or some at a time.
fn count_live(store: &Store, all: bool) {
    let due: Vec<IndexedSegment> = {
        let catalog = store.catalog.lock();
        let settled = catalog.streams.settled;
        let due = catalog.segments.values().filter(|segment| {
            let since = settled.saturating_sub(segment.counted_at);
            segment.live.entries == 0 || since >= (segment.live.entries / 4).max(1)
        });
        let mut due: Vec<_> = due.filter(|segment| !segment.is_open() && !segment.copied).collect();
        // Those first that were not counted for longest, so that every one gets its turn.
        due.sort_by_key(|segment| segment.counted_at);
        due.into_iter().filter_map(|segment| IndexedSegment::new(&store.disk, segment)).collect()
    };
    let mut rows = 0;
    for segment in due {
        if rows > ROWS_AT_ONCE && !all {
            break;
        }
        match count_live_in(store, &segment) {
            Ok(counted) => rows += counted,
            Err(UnreadableSegment { segment, error }) => {
                let mended = is_damage(&error) && make_index_again(store, &segment).is_ok();
                if !mended && let Some(more) = notice::due("journal", "look") {
                    let segment = segment.name();
                    tracing::warn!(segment, %error, more, "a segment of the journal can't be read, and is kept");
                }
            }
        }
    }
}

/// Counts what is live in one segment; how many rows it has.
fn count_live_in(store: &Store, segment: &IndexedSegment) -> Result<u64, UnreadableSegment> {
    let settled = store.catalog.lock().streams.settled;
    let mut live = EntryTotals::default();
    let counted = segment.for_each_rows(|rows| {
        let catalog = store.catalog.lock();
        for row in rows {
            let (entries, bytes) = catalog.streams.live_in(row);
            live.entries += entries;
            live.bytes += bytes;
            live.streams += u64::from(entries > 0);
        }
    })?;
    if let Some(known) = store.catalog.lock().segments.get_mut(segment.segment.id()) {
        (known.live, known.counted_at) = (live, settled);
    }
    Ok(counted)
}

/// The segments that nobody needs any more.
fn needless(store: &Store) -> Vec<u64> {
    let segments = &store.catalog.lock().segments;
    let needless = segments.values().filter(|segment| {
        // One without its index could come back with what it held behind its end, if the directory is not durable.
        (segment.live.entries == 0 || segment.copied)
            && segment.sealed().is_some()
            && segments.needs_no_opening(segment)
    });
    needless.map(|segment| segment.segment.id()).collect()
}
