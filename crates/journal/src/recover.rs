//! Bringing a journal back: what is damaged is put aside, what was being written gets its index, and what is not settled
//! is counted.
//!
//! Nothing here depends on being done only once. A process that dies in the middle leaves files that the next one recovers
//! in the same way.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::backlog::{self, Backlog, Live};
use super::commit::{Committer, Queue};
use super::disk::{BLOCK, Disk};
use super::format::{Purpose, VERSION};
use super::merge::Source;
use super::place::Place;
use super::positions::{Positions, Snapshot};
use super::quarantine;
use super::shared::Shared;
use super::state::{Index, OpenIndex, SegmentState, State, segment_name, spare_name, spare_of};
use super::survey::{Survey, survey};
use super::tend::Tender;
use super::types::{JournalSettings, OpenError, RecoveredStream, Recovery, StreamId};
use super::watched::{Asked, WatchedDisk};
use super::writer::Writer;

/// `max_size` holds so many segments at least.
const SEGMENTS: u64 = 16;

/// A segment is not smaller than this, in bytes.
const SMALLEST: u64 = 64 << 10;

impl Shared {
    /// Takes the directory, and recovers what is in it.
    /// A disk that takes longer than `patience` for an answer counts as hanging.
    pub(super) fn open(
        settings: JournalSettings,
        disk: Arc<dyn Disk>,
        patience: Duration,
    ) -> Result<(Self, Recovery), OpenError> {
        let began = Instant::now();
        let asked = Arc::new(Asked::new(patience));
        let disk: Arc<dyn Disk> = Arc::new(WatchedDisk::new(disk, asked.clone()));
        let directory = settings.directory.display().to_string();
        let io = |source| OpenError::Io { directory: directory.clone(), source };
        let lock = disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { directory: directory.clone() },
            _ => io(error),
        })?;
        let survey = survey(&*disk).map_err(io)?;
        if let Some((file, version)) = survey.other_version {
            return Err(if version > VERSION {
                OpenError::FutureVersion { file, version, known: VERSION }
            } else {
                OpenError::FormerVersion { file, version, known: VERSION, directory }
            });
        }
        let segment_size = settings.segment_size.min(JournalSettings::LARGEST_SEGMENT);
        let segment_size = segment_size.min(settings.max_size / SEGMENTS).max(SMALLEST);
        let segment_size = segment_size.next_multiple_of(BLOCK as u64);
        let (shared, mut recovery) =
            recover(settings, segment_size, (disk, asked), survey, lock).map_err(io)?;
        // Without room for their indexes, segments are found by their records next time as well.
        shared.seal_closed();
        recovery.took = began.elapsed();
        Ok((shared, recovery))
    }
}

fn recover(
    settings: JournalSettings,
    segment_size: u64,
    (disk, asked): (Arc<dyn Disk>, Arc<Asked>),
    mut survey: Survey,
    lock: Box<dyn Send + Sync>,
) -> io::Result<(Shared, Recovery)> {
    let mut recovery =
        Recovery { damage: survey.damage(), segments: survey.segments.len() as u64, ..Recovery::default() };
    let mut state = State::default();
    repair(&*disk, &mut survey, &mut state, segment_size)?;
    state.figures.quarantined = recovery.damage.iter().filter(|damage| damage.is_kept()).count() as u64;
    let known = survey.positions.snapshot.take().unwrap_or_default();
    state.next_segment = state.next_segment.max(known.next_segment).max(1);
    state.streams.next = known.next_stream.max(1);
    for (id, found) in survey.segments {
        state.next_segment = state.next_segment.max(id + 1);
        state.segments.insert(id, found.into_state());
    }
    for purpose in [Purpose::Log, Purpose::Carried] {
        doubt_last_index(&*disk, &mut state, purpose)?;
    }
    recovery.streams = count(&disk, &mut state, &known)?;
    let snapshot = Snapshot {
        next_stream: state.streams.next,
        next_segment: state.next_segment,
        settled: state.streams.all_settled(),
        freed: state.gone(),
    };
    let positions = Positions::open(&*disk, &survey.positions, &snapshot)?;
    state.positions_bytes = positions.length();
    disk.sync_directory()?;
    let place = Place::of(&*disk, positions.identities()?)?;
    let (log, carried) = (last(&state, Purpose::Log), last(&state, Purpose::Carried));
    let shared = Shared {
        settings,
        segment_size,
        disk,
        committer: Mutex::new(Committer::behind(log)),
        tender: Mutex::new(Tender {
            positions,
            carrier: Writer::behind(carried),
            left_alone: BTreeMap::new(),
        }),
        supply: Mutex::new(()),
        ready: Mutex::new(None),
        queue: Mutex::new(Queue::default()),
        work: Condvar::new(),
        state: Mutex::new(state),
        ended: Mutex::new(false),
        end: Condvar::new(),
        over: Mutex::new(false),
        told_over: Condvar::new(),
        asked,
        place,
        told_failing: Mutex::new(false),
        buffers: Arc::default(),
        short_of_room: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
    };
    Ok((shared, recovery))
}

/// Moves what is no segment out of the way, keeps copies of what is corrupt, and takes segments back that nothing was
/// written to.
fn repair(disk: &dyn Disk, survey: &mut Survey, state: &mut State, segment_size: u64) -> io::Result<()> {
    for (file, _) in &survey.unusable {
        quarantine::keep_whole_if_possible(disk, file);
    }
    for file in &survey.empty {
        disk.remove(file)?;
    }
    for (file, length) in std::mem::take(&mut survey.spares) {
        // A segment with its number would get its name when it becomes spare.
        if let Some(id) = spare_of(&file) {
            state.next_segment = state.next_segment.max(id + 1);
        }
        // One whose room was still being reserved, or of another size, is of no use.
        if length == segment_size {
            state.spares.push((file, length));
        } else {
            disk.remove(&file)?;
        }
    }
    for (id, found) in &mut survey.segments {
        let name = segment_name(*id);
        if found.file != name {
            disk.rename(&found.file, &name)?;
            found.file.clone_from(&name);
        }
        for range in &found.corrupt {
            quarantine::keep_if_possible(disk, &name, range.start, range.end - range.start);
            state.figures.quarantined_bytes += range.end - range.start;
        }
    }
    let unused: Vec<u64> =
        survey.segments.iter().filter(|(_, found)| found.is_unused()).map(|(id, _)| *id).collect();
    for id in unused {
        let found = survey.segments.remove(&id).expect("it was just there");
        if found.length == segment_size {
            let spare = spare_name(id);
            disk.rename(&found.file, &spare)?;
            state.spares.push((spare, found.length));
        } else {
            disk.remove(&found.file)?;
        }
        // Its number is not given again, and nobody speaks of it.
        state.next_segment = state.next_segment.max(id + 1);
    }
    disk.sync_directory()
}

/// Takes the index of the last segment that has one as not written, so that it is written again: if it could not be synced
/// when the process before ended, it can be read, and is still not on the disk. Those before it are; for one segment is
/// sealed after the other.
fn doubt_last_index(disk: &dyn Disk, state: &mut State, purpose: Purpose) -> io::Result<()> {
    let last = state
        .segments
        .values_mut()
        .rev()
        .find(|segment| segment.segment.header.purpose == purpose && segment.sealed().is_some());
    let Some(last) = last else { return Ok(()) };
    let Some(index) = last.sealed().cloned() else { return Ok(()) };
    let file = disk.open_to_read(&last.segment.name())?;
    let mut open = OpenIndex::default();
    for (row, extents) in index.read_all(&*file)? {
        open.rows.entry(row.stream).or_default().key_at = row.key_at;
        for extent in extents {
            open.add(row.stream, extent);
        }
    }
    last.index = Index::Closed(Arc::new(open), index.trailer.end);
    Ok(())
}

/// Counts the backlog of every stream, and puts the streams there.
fn count(disk: &Arc<dyn Disk>, state: &mut State, known: &Snapshot) -> io::Result<Vec<RecoveredStream>> {
    let all = state.segments.values();
    let sources = Source::open_all(
        disk,
        all.map(|segment| (&segment.segment, segment.segment.name(), &segment.index)),
    )?;
    let mut recovered = Vec::new();
    backlog::count(&sources, &known.settled, |backlog| {
        let Backlog { stream, key, segments, end, live } = backlog;
        state.streams.next = state.streams.next.max(stream + 1);
        let Some(key) = key else {
            // Nobody knows whose entries these are.
            return keep_nameless(&**disk, state, &sources, stream);
        };
        let mut settled = known.settled.get(&stream).cloned().unwrap_or_default();
        // What is not there in front of the first that is will not come.
        settled.insert(0..live.map_or(end.max(settled.end()), |live| live.first));
        state.streams.insert(stream, key.clone(), settled, end);
        state.streams.table.get_mut(&stream).expect("it was just inserted").segments = segments;
        if let Some(Live { first, end, entries, records, bytes }) = live {
            let (id, last) = (StreamId(stream), end - 1);
            recovered.push(RecoveredStream { id, key, first, last, entries, records, bytes });
        }
        Ok(())
    })?;
    Ok(recovered)
}

/// Keeps copies of the entries of a stream whose key is damaged in every segment.
fn keep_nameless(disk: &dyn Disk, state: &mut State, sources: &[Source], stream: u64) -> io::Result<()> {
    for source in sources {
        let Some(row) = source.row(stream)? else { continue };
        for extent in source.extents(&row, 0)? {
            let length = super::record::HEADER as u64 + u64::from(extent.length);
            quarantine::keep_if_possible(disk, &source.segment.name(), extent.offset, length);
            state.figures.quarantined += 1;
            state.figures.quarantined_bytes += length;
        }
    }
    Ok(())
}

/// The last segment with this purpose, and where it ends.
fn last(state: &State, purpose: Purpose) -> Option<(u64, u64)> {
    let mut segments = state.segments.values().rev();
    let last = segments.find(|segment| segment.segment.header.purpose == purpose)?;
    Some((last.segment.id(), last.end()?))
}

impl super::survey::Found {
    /// Whether it was made and never written to.
    fn is_unused(&self) -> bool {
        let empty = match &self.index {
            Index::Closed(index, _) => index.rows.is_empty(),
            Index::Sealed(_) | Index::Open(_) => false,
        };
        empty && self.before.is_empty() && self.corrupt.is_empty() && self.torn.is_none()
    }

    fn into_state(self) -> SegmentState {
        let mut state = SegmentState::empty(self.segment, None, self.length);
        (state.live_entries, state.live_bytes, state.live_streams) = match &self.index {
            Index::Closed(index, _) => (index.entries, index.bytes, index.rows.len() as u64),
            Index::Sealed(index) => (index.trailer.entries, index.trailer.bytes, index.trailer.rows),
            Index::Open(_) => (0, 0, 0),
        };
        (state.before, state.index) = (self.before, self.index);
        state
    }
}
