//! What is done beside the log: indexes are written, positions made durable, segments freed that nobody needs any more,
//! and live entries carried out of segments that are mostly dead.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::buffer::BlockBuffer;
use super::disk::{BLOCK, is_lost};
use super::format::{Purpose, whole_blocks};
use super::index::{Row, SealedIndex, encode_index, index_size, is_damage};
use super::positions::{Positions, Snapshot};
use super::shared::Shared;
use super::state::{Index, Segment};
use super::supply::NoSegment;
use super::writer::Writer;
use sluice_notice as notice;

/// How often positions are written, and everything else looked after.
const INTERVAL: Duration = Duration::from_millis(200);

/// The same while there is no room.
const SHORTEST: Duration = Duration::from_millis(20);

/// The positions are made durable, and a disk that failed is tried again, each so many intervals.
const SYNC_EVERY: u64 = 5;

/// Rows that are kept in memory, of all sealed segments together; those of the newest are. 64 bytes each.
const ROWS_IN_MEMORY: usize = 256 << 10;

/// Rows that are looked through in one interval, unless there is no room.
const ROWS_AT_ONCE: u64 = 256 << 10;

/// What the tender holds while it works.
#[derive(Debug)]
pub(super) struct Tender {
    pub(super) positions: Positions,
    /// Writes what is carried forward.
    pub(super) carrier: Writer,
    /// Segments that could not be carried, and for how many rounds that is not tried again.
    pub(super) left_alone: BTreeMap<u64, u64>,
}

impl Shared {
    /// The tender's thread: until the journal is closed.
    pub(super) fn tend_until_closed(&self) {
        for round in 1_u64.. {
            {
                let mut ended = self.ended.lock();
                if !*ended {
                    // Those who are refused for want of room ask again and again.
                    let short = self.short_of_room.load(Ordering::Relaxed);
                    self.end.wait_for(&mut ended, if short { SHORTEST } else { INTERVAL });
                }
                if *ended {
                    return;
                }
            }
            self.tend(round.is_multiple_of(SYNC_EVERY));
        }
    }

    /// Has the tender look for room at once.
    pub(super) fn hurry(&self) {
        let ended = self.ended.lock();
        self.short_of_room.store(true, Ordering::Relaxed);
        drop(ended);
        self.end.notify_all();
    }

    /// One round. With `sync`, positions are durable afterwards, and a disk that failed is tried again.
    pub(super) fn tend(&self, sync: bool) {
        let mut tender = self.tender.lock();
        let short = self.short_of_room.swap(false, Ordering::Relaxed);
        let is_in_place = self.is_in_place().is_ok();
        self.tell_whether_failing();
        if !is_in_place {
            // Names lead elsewhere. What is open can still be written, and will be found if the directory comes back.
            return self.write_positions_and_free(&mut tender, &[], sync);
        }
        self.seal_closed();
        if sync {
            self.try_again();
            self.tell_whether_failing();
            self.buffers.clear();
        }
        self.make_ready();
        let free = self.look_through(short);
        self.write_positions_and_free(&mut tender, &free, sync);
        if self.state.lock().failing.is_none() {
            self.carry(&mut tender, short);
        }
    }

    /// Writes the index of each segment that is complete.
    pub(super) fn seal_closed(&self) {
        // Not into a file of another directory that has the same name.
        if self.is_in_place().is_err() {
            return;
        }
        let closed: Vec<_> = {
            let state = self.state.lock();
            let closed = state.segments.values().filter_map(|segment| match &segment.index {
                Index::Closed(index, end) => {
                    let before = segment.before.first().copied();
                    Some((segment.segment.clone(), segment.length(), before, index.clone(), *end))
                }
                _ => None,
            });
            closed.collect()
        };
        for (segment, length, before, index, end) in closed {
            let state = self.state.lock();
            // Its index would only say of the first segment before it where that one ends.
            if !state.segments.get(&segment.id()).is_some_and(|segment| state.spoken_for(segment)) {
                continue;
            }
            drop(state);
            let rows = index.rows.iter().filter(|(_, row)| !row.extents.is_empty());
            let size = index_size(index.extents, rows.clone().count() as u64);
            // The index ends where the file does, so that it is found without the rest. A file that is full grows.
            let offset = length.saturating_sub(size).next_multiple_of(BLOCK as u64).max(whole_blocks(end));
            let streams = rows.map(|(stream, row)| (*stream, row.key_at, &row.extents[..]));
            let (bytes, trailer, rows) = encode_index(&segment.header, end, before, offset, streams);
            let mut buffer = BlockBuffer::default();
            buffer.put(&bytes);
            let written = self.disk.open(&segment.name()).and_then(|file| {
                file.write_at(buffer.as_slice(), offset)?;
                file.sync_data()
            });
            if let Err(error) = written {
                // Its records are enough to recover it; the next round tries again. Until then those behind it have no index
                // either, and none of them is freed: so if it is this place that can't be written, once another is taken.
                let mut state = self.state.lock();
                if is_lost(&error)
                    && let Some(known) = state.segments.get_mut(segment.id())
                    && !std::mem::replace(&mut known.index_moved, true)
                {
                    state.segments.set_length(segment.id(), whole_blocks(length) + size);
                }
                drop(state);
                if let Some(more) = notice::due("journal", "seal") {
                    let segment = segment.name();
                    tracing::warn!(
                        segment, %error, more,
                        "the index of a segment of the journal can't be written; nothing behind it is freed until it can"
                    );
                }
                continue;
            }
            let mut state = self.state.lock();
            state.segments.set_length(segment.id(), offset + bytes.len() as u64);
            if let Some(state) = state.segments.get_mut(segment.id()) {
                state.index = Index::Sealed(Arc::new(SealedIndex::new(trailer, segment.header.seed(), rows)));
            }
        }
        self.leave_rows_on_disk();
    }

    /// Keeps the rows of the newest segments in memory, and no more than there may be.
    fn leave_rows_on_disk(&self) {
        let mut state = self.state.lock();
        let mut rows = 0;
        for segment in state.segments.values_mut().rev() {
            if let Index::Sealed(index) = &segment.index {
                rows += index.rows_in_memory();
                if rows > ROWS_IN_MEMORY
                    && let Some(on_disk) = index.without_rows()
                {
                    segment.index = Index::Sealed(Arc::new(on_disk));
                }
            }
        }
    }

    /// If the disk fails, looks whether it does so still: by making a segment, since that takes all that the log does.
    fn try_again(&self) {
        if self.state.lock().failing.is_none() {
            return;
        }
        let _alone = self.supply.lock();
        let ready = self.ready.lock().take();
        let tried = match ready {
            // Its first block is written again as it is: nothing else is in it.
            Some(ready) => {
                let mut block = BlockBuffer::default();
                block.put(&[0; BLOCK]);
                ready.segment.header.encode(block.at(0, BLOCK));
                let done = ready.file.write_at(block.as_slice(), 0).and_then(|()| ready.file.sync_data());
                done.map(|()| ready).map_err(NoSegment::Io)
            }
            None => self.prepare(Purpose::Log, self.segment_size),
        };
        match tried {
            Ok(ready) => {
                *self.ready.lock() = Some(ready);
                self.state.lock().failing = None;
            }
            // That the journal is full is another matter, which passes by itself.
            Err(NoSegment::Full) => self.state.lock().failing = None,
            Err(NoSegment::Io(error)) => self.state.lock().fail(&error.to_string()),
        }
    }

    /// Makes the log's next segment before it is needed, once the present one is half full.
    pub(super) fn make_ready(&self) {
        let wanted = {
            let state = self.state.lock();
            state.failing.is_none() && state.log_room > 0 && state.log_room < self.segment_size / 2
        };
        if !wanted {
            return;
        }
        let _alone = self.supply.lock();
        let none = self.ready.lock().is_none();
        if none && let Ok(ready) = self.prepare(Purpose::Log, self.segment_size) {
            *self.ready.lock() = Some(ready);
        }
    }

    /// Counts what is live in the segments where that may have changed, and returns those where nothing is.
    fn look_through(&self, all: bool) -> Vec<u64> {
        let due: Vec<_> = {
            let state = self.state.lock();
            let settled = state.streams.settled;
            let due = state.segments.values().filter(|segment| {
                let since = settled.saturating_sub(segment.looked_at);
                segment.live_entries == 0 || since >= (segment.live_entries / 4).max(1)
            });
            // Those first that were not looked at for longest, so that every one gets its turn.
            let due = due.filter(|segment| !matches!(segment.index, Index::Open(_)) && !segment.copied);
            let mut due: Vec<_> = due.collect();
            due.sort_by_key(|segment| segment.looked_at);
            due.into_iter().map(|segment| segment.segment.clone()).collect()
        };
        let mut rows = 0;
        for segment in due {
            if rows > ROWS_AT_ONCE && !all {
                break;
            }
            match self.count_live(&segment) {
                Ok(counted) => rows += counted,
                Err(error) => {
                    let mended = is_damage(&error) && self.make_index_again(&segment).is_ok();
                    if !mended && let Some(more) = notice::due("journal", "look") {
                        let segment = segment.name();
                        tracing::warn!(segment, %error, more, "a segment of the journal can't be read, and is kept");
                    }
                }
            }
        }
        let state = self.state.lock();
        let unneeded = state.segments.values().filter(|segment| {
            // One without its index could come back with what it held behind its end, if the directory is not durable.
            (segment.live_entries == 0 || segment.copied)
                && segment.sealed().is_some()
                && state.spoken_for(segment)
        });
        unneeded.map(|segment| segment.segment.id()).collect()
    }

    /// Counts what is live in one segment; how many rows it has.
    fn count_live(&self, segment: &Arc<Segment>) -> io::Result<u64> {
        const AT_ONCE: usize = 1024;
        let settled = self.state.lock().streams.settled;
        let (mut entries, mut bytes, mut streams, mut from) = (0, 0, 0, 0);
        loop {
            let rows = self.rows(segment, from, AT_ONCE)?;
            let state = self.state.lock();
            for row in &rows {
                let (of_row, bytes_of_row) = state.streams.live_in(row);
                entries += of_row;
                bytes += bytes_of_row;
                streams += u64::from(of_row > 0);
            }
            drop(state);
            from += rows.len();
            if rows.len() < AT_ONCE {
                break;
            }
        }
        if let Some(state) = self.state.lock().segments.get_mut(segment.id()) {
            (state.live_entries, state.live_bytes, state.live_streams) = (entries, bytes, streams);
            state.looked_at = settled;
        }
        Ok(from as u64)
    }

    /// At most `count` rows of a segment that is not written any more, from the `from`th on.
    pub(super) fn rows(&self, segment: &Segment, from: usize, count: usize) -> io::Result<Vec<Row>> {
        let index = match self.state.lock().segments.get(&segment.id()).map(|segment| &segment.index) {
            Some(Index::Sealed(index)) => index.clone(),
            Some(Index::Closed(index, _)) => return Ok(index.to_rows().skip(from).take(count).collect()),
            Some(Index::Open(_)) | None => return Ok(Vec::new()),
        };
        index.rows(|| self.disk.open_to_read(&segment.name()), from, count)
    }

    /// Writes the positions that have moved. Once it is durable that nobody needs them, the segments go.
    pub(super) fn write_positions_and_free(&self, tender: &mut Tender, free: &[u64], sync: bool) {
        let moved = self.state.lock().streams.take_moved();
        let sync = sync || !free.is_empty();
        let snapshot = || self.snapshot(free);
        let done = tender.positions.write(&*self.disk, &moved, free, sync, snapshot);
        self.state.lock().positions_bytes = tender.positions.length();
        match done {
            Ok(()) if free.is_empty() => {}
            Ok(()) => {
                if let Err(error) = self.retire(free)
                    && let Some(more) = notice::due("journal", "free")
                {
                    tracing::warn!(%error, more, "files that the journal needs no more can't be renamed or removed");
                }
            }
            Err(error) => {
                if let Some(more) = notice::due("journal", "positions") {
                    tracing::warn!(
                        %error, more, "the journal's positions can't be written; nothing is freed until they can"
                    );
                }
            }
        }
    }

    /// Writes the positions that have moved, and has the disk keep them.
    pub(super) fn make_positions_durable(&self) {
        self.write_positions_and_free(&mut self.tender.lock(), &[], true);
    }

    /// Everything that the positions should say, also that `free` is freed.
    pub(super) fn snapshot(&self, free: &[u64]) -> Snapshot {
        let state = self.state.lock();
        let mut freed = state.gone();
        freed.extend(free);
        Snapshot {
            next_stream: state.streams.next,
            next_segment: state.next_segment,
            settled: state.streams.all_settled(),
            freed,
        }
    }

    /// Makes all positions durable.
    pub(super) fn finish_tending(&self) {
        let mut tender = self.tender.lock();
        tender.carrier.finish(&mut self.state.lock());
        if self.is_in_place().is_err() {
            return self.write_positions_and_free(&mut tender, &[], true);
        }
        self.seal_closed();
        let free = self.look_through(true);
        self.write_positions_and_free(&mut tender, &free, true);
    }
}
