//! Compaction: live entries are copied together, so that few of them don't keep whole segments, and so that what a stream has
//! in many places comes to stand in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_notice as notice;
use thiserror::Error;

use super::checkpoint::Checkpoints;
use super::chunk::Chunk;
use super::format::Purpose;
use super::index::{EntryTotals, is_damage};
use super::indexed::{IndexedSegment, Merge, UnreadableSegment};
use super::number_set::NumberSet;
use super::record::{ALIGN, HEADER};
use super::repair::{make_index_again, put_aside};
use super::row::Extent;
use super::run::{LARGE, choose, read_run, runs};
use super::seal::seal_closed;
use super::segments::{Segment, SegmentState};
use super::store::Store;
use super::supply::{NoSegment, SegmentSupply};
use super::writer::Writer;

/// Records of copied entries take no further one beyond this: as large as a batch.
const EXTENT: usize = 512 << 10;

/// Records that have been put together are written when they are this much, in bytes.
const WRITE: usize = 1 << 20;

/// Segments of the log that are left alone, counted from the newest: what is in them is about to be settled.
const NEWEST: usize = 4;

/// Segments that are compacted at once, and how few of a backlog are not worth it.
const INPUTS: usize = 8;
const FEWEST: usize = 4;

/// Records that are larger than this, on average, are read well enough where they are.
const SCATTERED: u64 = LARGE;

/// Segments that could not be compacted are left alone for so many rounds, and one that can't be read as long as the process
/// runs.
const ROUNDS: u64 = 300;
const FOR_GOOD: u64 = u64::MAX;

/// Compacts segments.
#[derive(Debug)]
pub(super) struct Compactor {
    pub(super) writer: Writer,
    /// Segments that could not be compacted, and for how many rounds that is not tried again.
    pub(super) left_alone: BTreeMap<u64, u64>,
    pub(super) store: Store,
    pub(super) supply: Arc<SegmentSupply>,
    pub(super) checkpoints: Arc<Checkpoints>,
}

/// Why segments are not compacted.
#[derive(Debug, Error)]
#[error(transparent)]
enum Stopped {
    /// One of them can't be read.
    At(#[from] UnreadableSegment),
    /// There is nothing to write to.
    NoSegment(#[from] NoSegment),
}

impl Compactor {
    /// Compacts what is worth it, if anything is.
    pub(super) fn compact(&mut self, shortage: bool) {
        self.left_alone.retain(|_, rounds| {
            *rounds -= 1;
            *rounds > 0
        });
        let Some(mut inputs) = self.choose_inputs(shortage) else { return };
        let mut ids: Vec<u64> = inputs.iter().map(|input| input.segment.id()).collect();
        let copied = self.copy_all(&mut inputs);
        drop(inputs);
        match copied {
            Ok(()) => {
                ids.retain(|id| {
                    let mut catalog = self.store.catalog.lock();
                    let Some(segment) = catalog.segments.get_mut(*id) else { return false };
                    segment.copied = true;
                    // One whose index is made again goes when it has it.
                    segment.sealed().is_some()
                });
                self.checkpoints.write_and_free(&ids, true);
            }
            // What has been copied stands in two places, which is no harm unless it is tried again and again.
            Err(stopped) => {
                self.finish();
                let error = match stopped {
                    // The others are tried without it.
                    Stopped::At(UnreadableSegment { segment, error }) => {
                        // What only this process is short of, such as open files, comes back.
                        let hopeless = is_damage(&error) && make_index_again(&self.store, &segment).is_err();
                        self.left_alone.insert(segment.id(), if hopeless { FOR_GOOD } else { ROUNDS });
                        error
                    }
                    Stopped::NoSegment(none) => {
                        self.left_alone.extend(ids.into_iter().map(|id| (id, ROUNDS)));
                        let NoSegment::Io(error) = none else { return };
                        error
                    }
                };
                if let Some(more) = notice::due("journal", "compact") {
                    tracing::warn!(%error, more, "segments of the journal can't be compacted");
                }
            }
        }
    }

    /// Ends the segment that is being written.
    pub(super) fn finish(&mut self) {
        self.writer.finish(&mut self.store.catalog.lock());
    }

    /// Segments that are compacted together, oldest first.
    fn choose_inputs(&self, shortage: bool) -> Option<Vec<IndexedSegment>> {
        let catalog = self.store.catalog.lock();
        let room = self.supply.segment_size();
        let shortage = shortage || self.supply.unused(&catalog) < 2 * room;
        let logs = catalog.segments.values().rev().filter(|segment| segment.segment.is_log());
        let newest: Vec<u64> = logs.take(NEWEST).map(|segment| segment.segment.id()).collect();
        let all = catalog.segments.iter().filter(|(id, segment)| {
            (shortage || !newest.contains(id))
                && !self.left_alone.contains_key(id)
                && catalog.segments.needs_no_opening(segment)
                && segment.live.entries > 0
                && !segment.copied
        });
        let all: Vec<(&SegmentState, u64)> =
            all.filter_map(|(_, segment)| Some((segment, segment.sealed()?.trailer.end))).collect();
        let chosen = mostly_dead(&all, shortage, room)
            .or_else(|| scattered(&all, self.supply.unused(&catalog).saturating_sub(room)))?;
        Some(
            chosen.into_iter().filter_map(|segment| IndexedSegment::new(&self.store.disk, segment)).collect(),
        )
    }

    /// Copies all that is live in the inputs. Then it is durable where it was copied to.
    fn copy_all(&mut self, inputs: &mut [IndexedSegment]) -> Result<(), Stopped> {
        inputs.iter_mut().try_for_each(IndexedSegment::keep_open)?;
        inputs.iter().try_for_each(IndexedSegment::read_ahead)?;
        let mut merge = Merge::of(inputs)?;
        while let Some((stream, rows)) = merge.next()? {
            let settled = self.store.catalog.lock().streams.settled(stream);
            let mut extents = Vec::new();
            for (input, row) in rows.iter().filter(|(_, row)| !settled.covers(row.first..row.end)) {
                extents.extend(input.all_extents(row, settled.position())?);
            }
            self.copy_stream(stream, inputs, extents, &settled)?;
        }
        Ok(self.write(true)?)
    }

    fn copy_stream(
        &mut self,
        stream: u64,
        inputs: &[IndexedSegment],
        extents: Vec<(Arc<Segment>, Extent)>,
        settled: &NumberSet,
    ) -> Result<(), Stopped> {
        let mut extent: Vec<Chunk> = Vec::new();
        let (mut bytes, mut next) = (0, None);
        if self.has_copies(stream, &extents, settled.position()) {
            self.write(true)?;
            self.finish();
        }
        let pieces = choose(extents, 0, settled);
        for run in runs(&pieces) {
            let input = inputs.iter().find(|input| input.segment.id() == run[0].segment.id());
            let input = input.expect("pieces are of the inputs");
            let unreadable = |error| input.unreadable(error);
            let chunks = read_run(&*input.file()?, &self.store.buffers, run).map_err(unreadable)?;
            for (piece, chunk) in run.iter().zip(chunks) {
                let Some(chunk) = chunk else {
                    put_aside(&self.store, stream, piece).map_err(unreadable)?;
                    continue;
                };
                if bytes > 0 && (bytes + chunk.bytes.len() > EXTENT || next != Some(chunk.first)) {
                    self.put(stream, &std::mem::take(&mut extent))?;
                    bytes = 0;
                }
                bytes += chunk.bytes.len();
                next = Some(chunk.end());
                extent.push(chunk);
            }
        }
        if !extent.is_empty() {
            self.put(stream, &extent)?;
        }
        Ok(())
    }

    /// Whether some of these entries stand in the segment that is being written, which is so if a process died after it
    /// had copied them. No segment has an entry twice: so what its index counts is what there is.
    fn has_copies(&self, stream: u64, extents: &[(Arc<Segment>, Extent)], position: u64) -> bool {
        let mut catalog = self.store.catalog.lock();
        let open = self.writer.segment().and_then(|segment| catalog.segments.open_index(segment.id()));
        let mut there = open.into_iter().flat_map(|index| index.extents(stream, position));
        there.any(|there| extents.iter().any(|(_, new)| new.first < there.end() && there.first < new.end()))
    }

    /// Puts consecutive entries into one record.
    fn put(&mut self, stream: u64, extent: &[Chunk]) -> Result<(), NoSegment> {
        let key = self.store.catalog.lock().streams.table.get(&stream).map(|stream| stream.key.clone());
        // Forgotten since: then nobody needs its entries.
        let Some(key) = key else { return Ok(()) };
        let framed: usize = extent.iter().map(|chunk| chunk.bytes.len()).sum();
        let counts: Vec<u32> = extent.iter().flat_map(|chunk| chunk.counts.iter().copied()).collect();
        let size = framed + 4 * counts.len() + key.as_bytes().len() + 2 * (HEADER + 2 * ALIGN);
        if !self.writer.fits(size as u64, 1, 1) {
            self.write(true)?;
            let length = Writer::segment_for(size as u64, 1, 1).max(self.supply.segment_size());
            let prepared = self.supply.prepare(Purpose::Compacted, length)?;
            let mut catalog = self.store.catalog.lock();
            self.writer.finish(&mut catalog);
            self.writer.begin_segment(prepared, &catalog);
        }
        if !self.writer.knows(stream) {
            self.writer.put_key(stream, &key);
        }
        let begun = self.writer.begin();
        for chunk in extent {
            self.writer.put_framed(&chunk.bytes);
        }
        self.writer.end_entries(&begun, stream, extent[0].first, &counts);
        self.store.catalog.lock().figures.carried_bytes += framed as u64;
        if self.writer.buffered() >= WRITE { self.write(false) } else { Ok(()) }
    }

    /// Writes the records that have been put together. With `sync` they are durable afterwards, and replace those that they were
    /// copied from.
    fn write(&mut self, sync: bool) -> Result<(), NoSegment> {
        self.writer.write()?;
        if sync {
            self.writer.sync()?;
            self.writer.publish(&mut self.store.catalog.lock());
        } else {
            // Meanwhile the log must not wait for a segment.
            seal_closed(&self.store);
            self.supply.make_ready();
        }
        Ok(())
    }
}

/// Segments in which what is live takes little of what was written, as many as go into one. If there is no room, the ones
/// with the least.
fn mostly_dead<'a>(
    segments: &[(&'a SegmentState, u64)],
    shortage: bool,
    room: u64,
) -> Option<Vec<&'a SegmentState>> {
    // Of four parts one; without room, any that give something back.
    let worth = |copied: u64, used: u64| if shortage { copied * 8 <= used * 7 } else { copied * 4 <= used };
    let mut dead: Vec<_> =
        segments.iter().filter(|(segment, used)| worth(copied_size(segment), *used)).collect();
    dead.sort_unstable_by_key(|(segment, used)| {
        (copied_size(segment) * 64 / used.max(&1), segment.segment.id())
    });
    let mut size = 0;
    let taken = dead.into_iter().take(INPUTS).take_while(|(segment, _)| {
        let first = size == 0;
        size += copied_size(segment);
        first || size <= room
    });
    let mut taken: Vec<_> = taken.map(|(segment, _)| *segment).collect();
    taken.sort_unstable_by_key(|segment| segment.segment.id());
    (!taken.is_empty()).then_some(taken)
}

/// About what the live entries of a segment take where they are copied to: there, headers and keys are few.
fn copied_size(segment: &SegmentState) -> u64 {
    const STREAM: u64 = 192;
    const ENTRY: u64 = 8;
    let EntryTotals { entries, bytes, streams } = segment.live;
    bytes + streams * STREAM + entries * ENTRY
}

/// The oldest segments of the log in which streams that fell behind have their entries in small pieces.
fn scattered<'a>(segments: &[(&'a SegmentState, u64)], room: u64) -> Option<Vec<&'a SegmentState>> {
    let behind = segments.iter().map(|(segment, _)| *segment).filter(|segment| {
        let small = segment
            .sealed()
            .is_some_and(|index| index.trailer.bytes < index.trailer.extents.saturating_mul(SCATTERED));
        segment.segment.is_log() && segment.live.streams > 1 && small
    });
    let mut live = 0;
    let taken = behind.take(INPUTS).take_while(|segment| {
        live += segment.live.bytes;
        live <= room
    });
    let taken: Vec<_> = taken.collect();
    (taken.len() >= FEWEST).then_some(taken)
}
