//! Carrying live entries forward, so that few of them don't keep whole segments, and so that what a stream has in many
//! places comes to stand in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::Purpose;
use super::index::{Extent, SealedIndex, is_damage};
use super::merge::{Merge, Source, Unreadable};
use super::number_set::NumberSet;
use super::read::choose;
use super::record::{ALIGN, HEADER};
use super::run::{Entries, Got, LARGE, read_run, runs};
use super::shared::Shared;
use super::state::{Index, Segment, SegmentState};
use super::supply::NoSegment;
use super::tend::Tender;
use super::types::StreamId;
use super::writer::Writer;
use sluice_notice as notice;

/// Records of carried entries take no further one beyond this: as large as a batch.
const EXTENT: usize = 512 << 10;

/// What waits is written when it is this much, in bytes.
const WRITE: usize = 1 << 20;

/// Segments of the log that are left alone, counted from the newest: what is in them is about to be settled.
const NEWEST: usize = 4;

/// Segments that are carried at once, and how few of a backlog are not worth it.
const INPUTS: usize = 8;
const FEWEST: usize = 4;

/// Records that are larger than this, on average, are read well enough where they are.
const SCATTERED: u64 = LARGE;

/// Segments that could not be carried are left alone for so many rounds, and one that can't be read as long as the process
/// runs.
const ROUNDS: u64 = 300;
const FOR_GOOD: u64 = u64::MAX;

/// A segment to be carried, with the index that it had when it was chosen: a reader may find that one damaged meanwhile, and
/// take it away to be made again.
struct Input {
    segment: Arc<Segment>,
    index: Arc<SealedIndex>,
}

/// Why segments are not carried.
enum Stopped {
    /// One of them can't be read.
    At(Unreadable),
    /// There is nothing to write to.
    Carrier(NoSegment),
}

impl From<Unreadable> for Stopped {
    fn from(unreadable: Unreadable) -> Self {
        Self::At(unreadable)
    }
}

impl From<NoSegment> for Stopped {
    fn from(none: NoSegment) -> Self {
        Self::Carrier(none)
    }
}

impl Shared {
    /// Carries what is worth it, if anything is.
    pub(super) fn carry(&self, tender: &mut Tender, short: bool) {
        tender.left_alone.retain(|_, rounds| {
            *rounds -= 1;
            *rounds > 0
        });
        let Some(inputs) = self.choose_inputs(short, &tender.left_alone) else { return };
        match self.carry_all(tender, &inputs) {
            Ok(()) => {
                let mut ids: Vec<u64> = inputs.iter().map(|input| input.segment.id()).collect();
                drop(inputs);
                ids.retain(|id| {
                    let mut state = self.state.lock();
                    let Some(segment) = state.segments.get_mut(*id) else { return false };
                    segment.copied = true;
                    // One whose index is made again goes when it has it.
                    segment.sealed().is_some()
                });
                self.write_positions_and_free(tender, &ids, true);
            }
            // What has been carried stands in two places, which is no harm unless it is tried again and again.
            Err(stopped) => {
                tender.carrier.finish(&mut self.state.lock());
                let error = match stopped {
                    // The others are tried without it.
                    Stopped::At(Unreadable { segment, error }) => {
                        // What only this process is short of, such as open files, comes back.
                        let hopeless = is_damage(&error) && self.make_index_again(&segment).is_err();
                        tender.left_alone.insert(segment.id(), if hopeless { FOR_GOOD } else { ROUNDS });
                        error
                    }
                    Stopped::Carrier(none) => {
                        tender.left_alone.extend(inputs.iter().map(|input| (input.segment.id(), ROUNDS)));
                        let NoSegment::Io(error) = none else { return };
                        error
                    }
                };
                if let Some(more) = notice::due("journal", "carry") {
                    tracing::warn!(%error, more, "entries of the journal can't be carried forward");
                }
            }
        }
    }

    fn choose_inputs(&self, short: bool, left_alone: &BTreeMap<u64, u64>) -> Option<Vec<Input>> {
        let state = self.state.lock();
        let short = short || self.unused(&state) < 2 * self.segment_size;
        let newest: Vec<u64> = {
            let logs = state.segments.values().filter(|segment| segment.segment.is_log());
            logs.rev().take(NEWEST).map(|segment| segment.segment.id()).collect()
        };
        let settled: Vec<(&SegmentState, u64)> = state
            .segments
            .values()
            .filter(|segment| short || !newest.contains(&segment.segment.id()))
            .filter(|segment| state.spoken_for(segment) && !left_alone.contains_key(&segment.segment.id()))
            .filter_map(|segment| Some((segment, segment.sealed()?.trailer.end)))
            .filter(|(segment, _)| segment.live_entries > 0 && !segment.copied)
            .collect();
        let chosen = mostly_dead(&settled, short, self.segment_size)
            .or_else(|| scattered(&settled, self.unused(&state).saturating_sub(self.segment_size)))?;
        let input = |chosen: &SegmentState| {
            Some(Input { segment: chosen.segment.clone(), index: chosen.sealed()?.clone() })
        };
        Some(chosen.into_iter().filter_map(input).collect())
    }

    /// Oldest first.
    fn carry_all(&self, tender: &mut Tender, inputs: &[Input]) -> Result<(), Stopped> {
        let mut sources = Vec::with_capacity(inputs.len());
        for Input { segment, index } in inputs {
            let end = index.trailer.end;
            let index = Index::Sealed(index.clone());
            let source = Source::open(&*self.disk, segment, &segment.name(), &index)?;
            source.file.will_need(0, end);
            sources.push(source);
        }
        let mut merge = Merge::of(&sources)?;
        while let Some((stream, rows)) = merge.next()? {
            let settled = self.state.lock().streams.settled(stream);
            let mut extents: Vec<(Arc<Segment>, Extent)> = Vec::new();
            for (source, row) in rows.iter().filter(|(_, row)| !settled.covers(row.first..row.end)) {
                let found = source.extents(row, settled.position())?;
                extents.extend(found.into_iter().map(|extent| (source.segment.clone(), extent)));
            }
            self.carry_stream(&mut tender.carrier, stream, &sources, extents, &settled)?;
        }
        Ok(self.write_carried(&mut tender.carrier, true)?)
    }

    fn carry_stream(
        &self,
        carrier: &mut Writer,
        stream: u64,
        sources: &[Source],
        extents: Vec<(Arc<Segment>, Extent)>,
        settled: &NumberSet,
    ) -> Result<(), Stopped> {
        let mut extent: Vec<Entries> = Vec::new();
        let (mut bytes, mut next) = (0, None);
        if self.has_copies(carrier, stream, &extents, settled.position()) {
            self.write_carried(carrier, true)?;
            carrier.finish(&mut self.state.lock());
        }
        let pieces = choose(extents, 0, settled);
        for run in runs(&pieces) {
            let id = run[0].segment.id();
            let source = sources.iter().find(|source| source.segment.id() == id);
            let source = source.expect("pieces are of the sources");
            let got = read_run(&*source.file, &self.buffers, run);
            for (piece, got) in run.iter().zip(got.map_err(|error| source.unreadable(error))?) {
                let entries = match got {
                    Got::Entries(entries) => entries,
                    Got::Corrupt => {
                        self.is_in_place().map_err(|error| source.unreadable(error))?;
                        self.quarantine(&piece.segment, &piece.extent);
                        let lost = piece.from..=piece.end - 1;
                        self.state.lock().streams.settle(StreamId(stream), &lost);
                        continue;
                    }
                };
                if bytes > 0 && (bytes + entries.bytes.len() > EXTENT || next != Some(entries.first)) {
                    self.put_carried(carrier, stream, &std::mem::take(&mut extent))?;
                    bytes = 0;
                }
                bytes += entries.bytes.len();
                next = Some(entries.first + entries.counts.len() as u64);
                extent.push(entries);
            }
        }
        if !extent.is_empty() {
            self.put_carried(carrier, stream, &extent)?;
        }
        Ok(())
    }

    /// Whether some of these entries stand in the segment that is being written, which is so if a process died after it
    /// had carried them. No segment has an entry twice: so what its index counts is what there is.
    fn has_copies(
        &self,
        carrier: &Writer,
        stream: u64,
        extents: &[(Arc<Segment>, Extent)],
        position: u64,
    ) -> bool {
        let mut state = self.state.lock();
        let open = carrier.segment().and_then(|segment| state.open_index(segment.id()));
        let mut there = open.into_iter().flat_map(|index| index.extents(stream, position));
        there.any(|there| extents.iter().any(|(_, new)| new.first < there.end() && there.first < new.end()))
    }

    /// Puts consecutive entries into one record.
    fn put_carried(&self, carrier: &mut Writer, stream: u64, extent: &[Entries]) -> Result<(), NoSegment> {
        let key = self.state.lock().streams.table.get(&stream).map(|stream| stream.key.clone());
        // Forgotten since: then nobody needs its entries.
        let Some(key) = key else { return Ok(()) };
        let framed: usize = extent.iter().map(|entries| entries.bytes.len()).sum();
        let counts: Vec<u32> = extent.iter().flat_map(|entries| entries.counts.iter().copied()).collect();
        let size = framed + 4 * counts.len() + key.as_bytes().len() + 2 * (HEADER + 2 * ALIGN);
        if !carrier.fits(size as u64, 1, 1) {
            self.write_carried(carrier, true)?;
            let length = Writer::segment_for(size as u64, 1, 1).max(self.segment_size);
            let prepared = self.prepare(Purpose::Carried, length)?;
            let mut state = self.state.lock();
            carrier.finish(&mut state);
            carrier.begin_segment(prepared, &state);
        }
        if !carrier.knows(stream) {
            carrier.put_key(stream, &key);
        }
        let begun = carrier.begin();
        for entries in extent {
            carrier.put_framed(&entries.bytes);
        }
        carrier.end_entries(&begun, stream, extent[0].first, &counts);
        self.state.lock().figures.carried_bytes += framed as u64;
        if carrier.buffered() >= WRITE { self.write_carried(carrier, false) } else { Ok(()) }
    }

    /// Writes what waits. With `sync` it is durable afterwards, and takes the place of what it was copied from.
    fn write_carried(&self, carrier: &mut Writer, sync: bool) -> Result<(), NoSegment> {
        carrier.write()?;
        if sync {
            carrier.sync()?;
            carrier.publish(&mut self.state.lock());
        } else {
            // Meanwhile the log must not wait for a segment.
            self.seal_closed();
            self.make_ready();
        }
        Ok(())
    }
}

/// Segments in which what is live takes little of what was written, as many as go into one. If there is no room, the ones
/// with the least.
fn mostly_dead<'a>(
    segments: &[(&'a SegmentState, u64)],
    short: bool,
    room: u64,
) -> Option<Vec<&'a SegmentState>> {
    // Of four parts one; without room, any that give something back.
    let worth = |carried: u64, used: u64| if short { carried * 8 <= used * 7 } else { carried * 4 <= used };
    let mut dead: Vec<_> =
        segments.iter().filter(|(segment, used)| worth(carried_size(segment), *used)).collect();
    dead.sort_unstable_by_key(|(segment, used)| {
        (carried_size(segment) * 64 / used.max(&1), segment.segment.id())
    });
    let mut size = 0;
    let taken = dead.into_iter().take(INPUTS).take_while(|(segment, _)| {
        let first = size == 0;
        size += carried_size(segment);
        first || size <= room
    });
    let mut taken: Vec<_> = taken.map(|(segment, _)| *segment).collect();
    taken.sort_unstable_by_key(|segment| segment.segment.id());
    (!taken.is_empty()).then_some(taken)
}

/// About what the live entries of a segment take where they are carried to: there, headers and keys are few.
fn carried_size(segment: &SegmentState) -> u64 {
    const STREAM: u64 = 192;
    const ENTRY: u64 = 8;
    segment.live_bytes + segment.live_streams * STREAM + segment.live_entries * ENTRY
}

/// The oldest segments of the log in which streams that fell behind have their entries in small pieces.
fn scattered<'a>(segments: &[(&'a SegmentState, u64)], room: u64) -> Option<Vec<&'a SegmentState>> {
    let behind = segments.iter().map(|(segment, _)| *segment).filter(|segment| {
        let small = segment
            .sealed()
            .is_some_and(|index| index.trailer.bytes < index.trailer.extents.saturating_mul(SCATTERED));
        segment.segment.is_log() && segment.live_streams > 1 && small
    });
    let mut live = 0;
    let taken = behind.take(INPUTS).take_while(|segment| {
        live += segment.live_bytes;
        live <= room
    });
    let taken: Vec<_> = taken.collect();
    (taken.len() >= FEWEST).then_some(taken)
}
