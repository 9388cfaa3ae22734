//! Showing what a journal's directory holds, for people: without locking it, and without changing anything.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::backlog::{self, Backlog};
use super::directory::{JournalDirectory, LOCK};
use super::disk::Disk;
use super::format::{Purpose, VERSION};
use super::index::EntryTotals;
use super::indexed::IndexedSegment;
use super::positions;
use super::segments::{SPARE, segment_of};
use super::survey::{FoundSegment, Survey, survey};
use super::types::{Damage, StreamKey};

/// How often it is begun again if segments are freed meanwhile.
const TRIES: u32 = 5;

/// What a journal's directory holds.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Its segments, oldest first.
    pub segments: Vec<InspectedSegment>,
    /// Streams of which anything is there, by number.
    pub streams: Vec<InspectedStream>,
    /// Files that are kept to be segments again, and their bytes.
    pub spare_segments: u64,
    /// Bytes of them.
    pub spare_bytes: u64,
    /// The damage to its files. Beside a running process, an unfinished write may be one that goes on.
    pub damage: Vec<Damage>,
}

/// One segment.
#[derive(Clone, Debug)]
pub struct InspectedSegment {
    /// Its file.
    pub file: String,
    /// Whether compaction wrote it; otherwise it holds requests as they came.
    pub carried: bool,
    /// Whether it has its index; if not, it is being written, or was when the process ended.
    pub sealed: bool,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes of it that are written, its index aside.
    pub used: u64,
    /// Streams with entries in it.
    pub streams: u64,
    /// Its entries, settled ones included.
    pub entries: u64,
    /// Bytes of them, frames included.
    pub bytes: u64,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct InspectedStream {
    /// Its number.
    pub number: u64,
    /// Its name; `None` if that is damaged everywhere.
    pub key: Option<StreamKey>,
    /// How many segments have entries of it.
    pub segments: u64,
    /// The sequence number of the first entry that is not settled; behind the last one if there is none.
    pub first: u64,
    /// Entries that are not settled.
    pub entries: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them, frames included.
    pub bytes: u64,
}

/// Why a directory can't be looked at.
#[derive(Debug, Error)]
pub enum InspectError {
    /// It has no file of a journal. Saying that nothing is wrong with it would be no help.
    #[error("`{}` is not a journal: it has none of its files; name the `directory` of `journal:`", .0.display())]
    NotAJournal(PathBuf),
    /// The disk fails, or a file is of another version.
    #[error("journal `{}` can't be read: {source}", directory.display())]
    Unreadable {
        /// The directory.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Looks at the journal in a directory; a running process is not disturbed. With `verify` every record is read and
/// checked, otherwise indexes are trusted.
pub fn inspect(directory: &Path, verify: bool) -> Result<Inspection, InspectError> {
    let disk: Arc<dyn Disk> = Arc::new(JournalDirectory::new(directory));
    let unreadable = |source| InspectError::Unreadable { directory: directory.to_owned(), source };
    if !disk.list().map_err(unreadable)?.iter().any(|(name, _)| is_of_a_journal(name)) {
        return Err(InspectError::NotAJournal(directory.to_owned()));
    }
    inspect_until_still(&disk, verify).map_err(unreadable)
}

/// Whether a journal has files of that name. Any one will do: of a damaged journal there may be no other.
fn is_of_a_journal(name: &str) -> bool {
    name == LOCK || positions::FILES.contains(&name) || segment_of(name).is_some() || name.starts_with(SPARE)
}

fn inspect_until_still(disk: &Arc<dyn Disk>, verify: bool) -> io::Result<Inspection> {
    let mut tries = 0;
    loop {
        tries += 1;
        match inspect_once(disk, verify) {
            // A segment went between two looks: what was in it may be in one that was not there yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
            Ok((inspection, has_lost_files))
                if (has_lost_files || inspection.has_missing()) && tries < TRIES => {}
            done => return done.map(|(inspection, _)| inspection),
        }
    }
}

/// What is there, and whether files went meanwhile.
fn inspect_once(disk: &Arc<dyn Disk>, verify: bool) -> io::Result<(Inspection, bool)> {
    let mut survey = survey(&**disk)?;
    if let Some((file, version)) = survey.other_version {
        let why =
            format!("`{file}` has version {version} of the format, and this Sluice knows only {VERSION}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    if verify {
        survey.segments.values_mut().try_for_each(|found| found.verify(&**disk))?;
    }
    let inspection = Inspection {
        spare_segments: survey.spares.len() as u64,
        spare_bytes: survey.spares.iter().map(|(_, length)| length).sum(),
        damage: survey.damage(),
        streams: streams(disk, &survey)?,
        segments: survey.segments.values().map(InspectedSegment::of).collect(),
    };
    Ok((inspection, survey.has_lost_files))
}

fn streams(disk: &Arc<dyn Disk>, survey: &Survey) -> io::Result<Vec<InspectedStream>> {
    let found = survey.segments.values();
    let mut segments: Vec<_> =
        found.map(|found| IndexedSegment::found(disk, &found.segment, &found.index, &found.file)).collect();
    segments.iter_mut().try_for_each(IndexedSegment::keep_open)?;
    let nothing = BTreeMap::new();
    let settled = survey.positions.snapshot.as_ref().map_or(&nothing, |snapshot| &snapshot.settled);
    let mut streams = Vec::new();
    backlog::count(&segments, settled, |backlog| {
        let Backlog { stream: number, key, segments, end, live } = backlog;
        let [entries, records, bytes] = live.map_or([0; 3], |live| [live.entries, live.records, live.bytes]);
        let first = live.map_or(end, |live| live.first);
        streams.push(InspectedStream { number, key, segments, first, entries, records, bytes });
        Ok(())
    })?;
    Ok(streams)
}

impl Inspection {
    fn has_missing(&self) -> bool {
        self.damage.iter().any(|damage| matches!(damage, Damage::Missing { .. }))
    }
}

impl InspectedSegment {
    fn of(found: &FoundSegment) -> Self {
        let EntryTotals { entries, bytes, streams } = found.index.amount();
        Self {
            file: found.file.clone(),
            carried: found.segment.header.purpose == Purpose::Compacted,
            sealed: found.index.is_sealed(),
            length: found.length,
            used: found.index.trailer.end,
            streams,
            entries,
            bytes,
        }
    }
}
