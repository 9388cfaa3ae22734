//! Recovery of a journal: damaged parts are put aside, the segment that was being written gets its index, and the entries that
//! are not settled are counted.
//!
//! Nothing here depends on being done only once. A process that dies in the middle leaves files that the next one recovers
//! in the same way.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use super::backlog::{self, Backlog, Live};
use super::catalog::Catalog;
use super::disk::{BLOCK, Disk};
use super::format::{Purpose, RECORDS_AT, VERSION};
use super::indexed::IndexedSegment;
use super::positions::{Positions, PositionsSnapshot};
use super::quarantine;
use super::segments::{Index, SegmentState, Segments, segment_name, spare_name, spare_of};
use super::survey::{FoundSegment, Survey, survey};
use super::types::{Damage, JournalSettings, OpenError, RecoveredStream, Recovery, StreamId};

/// `max_size` holds so many segments at least.
const SEGMENTS: u64 = 16;

/// A segment is not smaller than this, in bytes.
const SMALLEST: u64 = 64 << 10;

/// Files that are kept open while all segments are walked through, of which there may be more than a process may have files.
const KEPT_OPEN: usize = 32;

/// A journal that was brought back.
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) positions: Positions,
    /// Bytes of a segment, as `segment_size` and `max_size` allow.
    pub(super) segment_size: u64,
    /// The directory is this process's as long as this is there.
    pub(super) lock: Box<dyn Send + Sync>,
    pub(super) recovery: Recovery,
}

/// Takes the directory, and recovers what is in it.
pub(super) fn recover(settings: &JournalSettings, disk: &Arc<dyn Disk>) -> Result<Recovered, OpenError> {
    let began = Instant::now();
    let directory = settings.directory.display().to_string();
    let io = |source| OpenError::Io { directory: directory.clone(), source };
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { directory: directory.clone() },
        _ => io(error),
    })?;
    let mut survey = survey(&**disk).map_err(io)?;
    if let Some((file, version)) = survey.other_version {
        let advice = if version > VERSION {
            "use a newer one, or another directory".to_owned()
        } else {
            format!(
                "let the Sluice that wrote it deliver what is in it, then move `{directory}` away; a new journal is made then"
            )
        };
        return Err(OpenError::OtherVersion { file, version, known: VERSION, advice });
    }
    let segment_size = settings.segment_size.min(JournalSettings::LARGEST_SEGMENT);
    let segment_size = segment_size.min(settings.max_size / SEGMENTS).max(SMALLEST);
    let segment_size = segment_size.next_multiple_of(BLOCK as u64);
    let (damage, segments) = (survey.damage(), survey.segments.len() as u64);
    let (catalog, positions, streams) = catalog_of(disk, &mut survey, segment_size).map_err(io)?;
    let recovery = Recovery { streams, damage, segments, took: began.elapsed() };
    Ok(Recovered { catalog, positions, segment_size, lock, recovery })
}

/// The catalog of what was found, the positions, which say the same on disk, and the backlog of every stream.
fn catalog_of(
    disk: &Arc<dyn Disk>,
    survey: &mut Survey,
    segment_size: u64,
) -> io::Result<(Catalog, Positions, Vec<RecoveredStream>)> {
    let mut catalog = Catalog::default();
    repair(&**disk, survey, &mut catalog, segment_size)?;
    let known = survey.positions.snapshot.take().unwrap_or_default();
    catalog.next_segment = catalog.next_segment.max(known.next_segment).max(1);
    catalog.streams.next = known.next_stream.max(1);
    for (id, found) in std::mem::take(&mut survey.segments) {
        catalog.next_segment = catalog.next_segment.max(id + 1);
        let FoundSegment { segment, length, predecessors, index, .. } = found;
        catalog.segments.insert(id, SegmentState::recovered(segment, length, predecessors, index));
    }
    for purpose in [Purpose::Log, Purpose::Compacted] {
        doubt_last_index(disk, &mut catalog, purpose)?;
    }
    let streams = count(disk, &mut catalog, &known)?;
    let positions = Positions::open(&**disk, &survey.positions, &catalog.snapshot(&[]))?;
    catalog.positions_bytes = positions.length();
    disk.sync_directory()?;
    Ok((catalog, positions, streams))
}

/// Moves what is no segment out of the way, keeps copies of what is corrupt, and takes segments back that nothing was
/// written to.
fn repair(disk: &dyn Disk, survey: &mut Survey, catalog: &mut Catalog, segment_size: u64) -> io::Result<()> {
    for damage in survey.damage() {
        match damage {
            Damage::Unusable { file, .. } => {
                quarantine::keep_whole_if_possible(disk, &file);
                catalog.count_quarantined(0);
            }
            Damage::Corrupt { file, offset, bytes } => {
                quarantine::keep_if_possible(disk, &file, offset, bytes);
                catalog.count_quarantined(bytes);
            }
            Damage::Empty { file } => disk.remove(&file)?,
            _ => {}
        }
    }
    for (file, length) in std::mem::take(&mut survey.spares) {
        // A segment with its number would get its name when it becomes spare.
        if let Some(id) = spare_of(&file) {
            catalog.next_segment = catalog.next_segment.max(id + 1);
        }
        // One whose room was still being reserved, or of another size, is of no use.
        if length == segment_size {
            catalog.spares.push((file, length));
        } else {
            disk.remove(&file)?;
        }
    }
    for (id, found) in &mut survey.segments {
        let name = segment_name(*id);
        if found.file != name {
            disk.rename(&found.file, &name)?;
            found.file = name;
        }
    }
    let unused: Vec<u64> =
        survey.segments.iter().filter(|(_, found)| is_unused(found)).map(|(id, _)| *id).collect();
    for id in unused {
        let found = survey.segments.remove(&id).expect("it was just there");
        if found.length == segment_size {
            let spare = spare_name(id);
            disk.rename(&found.file, &spare)?;
            catalog.spares.push((spare, found.length));
        } else {
            disk.remove(&found.file)?;
        }
        // Its number is not given again, and nobody speaks of it.
        catalog.next_segment = catalog.next_segment.max(id + 1);
    }
    disk.sync_directory()
}

/// Takes the index of the last segment that has one as not written, so that it is written again: if it could not be synced
/// when the process before ended, it can be read, and is still not on the disk. Those before it are; for one segment is
/// sealed after the other.
fn doubt_last_index(disk: &Arc<dyn Disk>, catalog: &mut Catalog, purpose: Purpose) -> io::Result<()> {
    let mut segments = catalog.segments.values_mut().rev();
    let last =
        segments.find(|segment| segment.segment.header.purpose == purpose && segment.sealed().is_some());
    if let Some(last) = last
        && let Some(index) = last.sealed()
    {
        let file = disk.open_to_read(&last.segment.name())?;
        if let Some(unsealed) = index.unsealed(&*file, &last.segment.header)? {
            last.index = Index::Closed(Arc::new(unsealed));
        }
    }
    Ok(())
}

/// Counts the backlog of every stream, and puts the streams there.
fn count(
    disk: &Arc<dyn Disk>,
    catalog: &mut Catalog,
    known: &PositionsSnapshot,
) -> io::Result<Vec<RecoveredStream>> {
    let values = catalog.segments.values();
    let mut all: Vec<_> = values.filter_map(|segment| IndexedSegment::new(disk, segment)).collect();
    all.iter_mut().take(KEPT_OPEN).try_for_each(IndexedSegment::keep_open)?;
    let mut recovered = Vec::new();
    backlog::count(&all, &known.settled, |backlog| {
        let Backlog { stream, key, segments, end, live } = backlog;
        catalog.streams.next = catalog.streams.next.max(stream + 1);
        let Some(key) = key else {
            // Nobody knows whose entries these are.
            return keep_nameless(&**disk, catalog, &all, stream);
        };
        let mut settled = known.settled.get(&stream).cloned().unwrap_or_default();
        // What is not there in front of the first that is will not come.
        settled.insert(0..live.map_or(end.max(settled.end()), |live| live.first));
        catalog.streams.insert(stream, key.clone(), settled, end);
        catalog.streams.table.get_mut(&stream).expect("it was just inserted").segments = segments;
        if let Some(Live { first, end, entries, records, bytes }) = live {
            let (id, last) = (StreamId(stream), end - 1);
            recovered.push(RecoveredStream { id, key, first, last, entries, records, bytes });
        }
        Ok(())
    })?;
    Ok(recovered)
}

/// Keeps copies of the entries of a stream whose key is damaged in every segment.
fn keep_nameless(
    disk: &dyn Disk,
    catalog: &mut Catalog,
    segments: &[IndexedSegment],
    stream: u64,
) -> io::Result<()> {
    for segment in segments {
        let Some(row) = segment.row(stream)? else { continue };
        for (_, extent) in segment.all_extents(&row, 0)? {
            let Range { start, end } = extent.span();
            quarantine::keep_if_possible(disk, &segment.segment.name(), start, end - start);
            catalog.count_quarantined(end - start);
        }
    }
    Ok(())
}

/// The last segment with this purpose, and where it ends: what is written next comes behind it.
pub(super) fn last(segments: &Segments, purpose: Purpose) -> Option<(u64, u64)> {
    let last = segments.values().rev().find(|segment| segment.segment.header.purpose == purpose)?;
    Some((last.segment.id(), last.closed()?.trailer.end))
}

/// Whether a segment was made and never written to.
fn is_unused(found: &FoundSegment) -> bool {
    let is_empty = !found.index.is_sealed() && found.index.trailer.end == RECORDS_AT;
    is_empty && found.damage.is_empty()
}
