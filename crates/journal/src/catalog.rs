//! The catalog of a journal: its streams, its segments and its spare files, and the counts since the start.
//!
//! There is one lock around all of it, which nobody holds while the disk is read or written, or while another lock is asked for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::positions::PositionsSnapshot;
use super::segments::{Index, Segments};
use super::streams::Streams;
use super::types::{JournalState, WriteTotals};

/// The catalog as the objects of a journal have it together.
pub(super) type SharedCatalog = Arc<Mutex<Catalog>>;

#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) streams: Streams,
    pub(super) segments: Segments,
    /// Files to be segments again, and their lengths.
    pub(super) spares: Vec<(String, u64)>,
    /// The number of the next segment.
    pub(super) next_segment: u64,
    /// Bytes of the two files of positions.
    pub(super) positions_bytes: u64,
    /// Bytes that are left in the log's open segment.
    pub(super) log_room: u64,
    /// Bytes of the segment that is ready to be the log's next.
    pub(super) ready_room: u64,
    /// The counts since the start; figures that follow from the rest of the catalog are zero.
    pub(super) figures: JournalState,
}

impl Catalog {
    /// Bytes of all files.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        let spares: u64 = self.spares.iter().map(|(_, length)| length).sum();
        self.segments.bytes() + spares + self.positions_bytes
    }

    /// Notes that no more entries are written to a segment, whose records end at `end`.
    pub(super) fn close_segment(&mut self, id: u64, end: u64) {
        self.segments.close(id, end, self.streams.settled);
    }

    /// Counts a group of requests that was written.
    pub(super) fn count_commit(&mut self, written: &WriteTotals, took: Duration) {
        self.figures.written.requests += written.requests;
        self.figures.written.entries += written.entries;
        self.figures.written.bytes += written.bytes;
        self.figures.commits += 1;
        self.figures.last_commit = took;
        self.figures.commit_time += took;
    }

    /// Counts a sync of the log.
    pub(super) fn count_sync(&mut self, took: Duration) {
        self.figures.syncs += 1;
        self.figures.last_sync = took;
        self.figures.sync_time += took;
    }

    /// Counts a part of a file, so many bytes long, that was not what had been written.
    pub(super) fn count_quarantined(&mut self, bytes: u64) {
        self.figures.quarantined += 1;
        self.figures.quarantined_bytes += bytes;
    }

    /// Everything that the positions should say, also that the segments `free` are freed.
    pub(super) fn snapshot(&self, free: &[u64]) -> PositionsSnapshot {
        let mut freed = self.segments.freed_predecessors();
        freed.extend(free);
        PositionsSnapshot {
            next_stream: self.streams.next,
            next_segment: self.next_segment,
            settled: self.streams.all_settled(),
            freed,
        }
    }

    /// The state of the journal, as far as the catalog has it.
    pub(super) fn state(&self) -> JournalState {
        // Of a segment that is written nothing has been counted yet.
        let amounts = self.segments.values().map(|segment| match &segment.index {
            Index::Open(index) => index.amount,
            Index::Closed(_) => segment.live,
        });
        let used = self.segments.values().filter(|segment| match &segment.index {
            Index::Open(index) => index.extents > 0,
            Index::Closed(_) => true,
        });
        JournalState {
            bytes_on_disk: self.bytes_on_disk(),
            live_bytes: amounts.map(|amount| amount.bytes).sum(),
            segments: used.count() as u64,
            spare_segments: self.spares.len() as u64,
            streams: self.streams.table.len() as u64,
            settled_entries: self.streams.settled,
            ..self.figures.clone()
        }
    }
}
