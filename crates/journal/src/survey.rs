//! Looking at the files of a journal without changing any: what recovery begins with, and what `inspect` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{BLOCK, Disk, DiskFile, is_lost};
use super::format::{BadHeader, FileHeader, Purpose, RECORDS_AT, decode_numbers, whole_blocks};
use super::index::{ClosedIndex, OpenIndex};
use super::pieces::PiecewiseFile;
use super::positions;
use super::record::RecordKind;
use super::row::Extent;
use super::scan::scan;
use super::segments::{Predecessors, SPARE, Segment, segment_name, segment_of};
use super::trailer::Trailer;
use super::types::Damage;

/// The files of a journal's directory, and the damage to them.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The segments by number.
    pub(super) segments: BTreeMap<u64, FoundSegment>,
    pub(super) spares: Vec<(String, u64)>,
    pub(super) positions: positions::PositionsRead,
    /// What is wrong with files that are no segments, or not there.
    damage: Vec<Damage>,
    /// Whether files went after they were listed.
    pub(super) has_lost_files: bool,
    /// A file of another version.
    pub(super) other_version: Option<(String, u32)>,
}

/// A segment that was found.
#[derive(Debug)]
pub(super) struct FoundSegment {
    /// The file, which may have the wrong name.
    pub(super) file: String,
    pub(super) length: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) predecessors: Predecessors,
    pub(super) index: Arc<ClosedIndex>,
    pub(super) damage: Vec<Damage>,
}

/// Looks at every file. Those that go meanwhile are left out, so this may be done beside a running process.
pub(super) fn survey(disk: &dyn Disk) -> io::Result<Survey> {
    let files = disk.list()?;
    let mut survey = Survey { positions: positions::read(disk, &files)?, ..Survey::default() };
    survey.other_version.clone_from(&survey.positions.other_version);
    let mut headers: BTreeMap<u64, (String, u64, FileHeader)> = BTreeMap::new();
    for (name, length) in files {
        if name.starts_with(SPARE) {
            survey.spares.push((name, length));
        } else if let Some(id) = segment_of(&name) {
            let Some(found) = unless_gone(look_at(disk, &name, length))? else {
                survey.has_lost_files = true;
                continue;
            };
            match found {
                FoundFile::Segment(header) => {
                    // The file that is named as its header says goes before one that is not.
                    let other = headers.insert(header.id, (name, length, header));
                    if let Some(mut copy) = other {
                        if header.id != id {
                            copy = headers.insert(header.id, copy).expect("it was just inserted");
                        }
                        let reason = format!("is a copy of `{}`", segment_name(header.id));
                        survey.damage.push(Damage::Unusable { file: copy.0, reason });
                    }
                }
                FoundFile::OfVersion(version) => survey.other_version = Some((name, version)),
                FoundFile::Empty => survey.damage.push(Damage::Empty { file: name }),
                FoundFile::Unusable(reason) => survey.damage.push(Damage::Unusable { file: name, reason }),
            }
        }
    }
    survey.read_segments(disk, headers)?;
    survey.look_at_positions();
    Ok(survey)
}

/// What a file is that is named as a segment.
enum FoundFile {
    Segment(FileHeader),
    /// A file of another version of the format.
    OfVersion(u32),
    Empty,
    /// No segment, and why.
    Unusable(String),
}

fn look_at(disk: &dyn Disk, name: &str, length: u64) -> io::Result<FoundFile> {
    let mut block = vec![0; BLOCK.min(length as usize)];
    match disk.open_to_read(name)?.read_at(&mut block, 0) {
        Err(error) if is_lost(&error) => return Ok(FoundFile::Unusable(format!("can't be read: {error}"))),
        read => read?,
    }
    Ok(match FileHeader::decode(&block) {
        Ok(header) if header.purpose != Purpose::Positions => FoundFile::Segment(header),
        Err(BadHeader::Version(version)) => FoundFile::OfVersion(version),
        Err(BadHeader::Corrupt) if length == 0 => FoundFile::Empty,
        Ok(_) | Err(BadHeader::Corrupt) => FoundFile::Unusable("has no readable header".to_owned()),
    })
}

/// `None` for a file that is not there any more, or was shortened.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Survey {
    fn read_segments(
        &mut self,
        disk: &dyn Disk,
        headers: BTreeMap<u64, (String, u64, FileHeader)>,
    ) -> io::Result<()> {
        // Newest first: a segment says where the one before it ends.
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        for (id, (file, length, header)) in headers.into_iter().rev() {
            let found = read_segment(disk, file, length, header, ends.get(&id).copied());
            let Some(found) = unless_gone(found)? else {
                self.has_lost_files = true;
                continue;
            };
            ends.extend(found.predecessors.iter().copied());
            self.segments.insert(id, found);
        }
        Ok(())
    }

    /// Notes what is wrong with the positions; and segments that others were written behind, that are not there, and that were
    /// not freed, as far as the positions say it.
    fn look_at_positions(&mut self) {
        let positions = &self.positions;
        if positions.snapshot.is_none() && !self.segments.is_empty() {
            self.damage.push(Damage::PositionsLost);
        } else {
            let corrupt = positions.corrupt.iter().cloned();
            self.damage.extend(corrupt.map(|file| Damage::Positions { file }));
        }
        let Some(snapshot) = positions.snapshot.as_ref().filter(|_| positions.corrupt.is_empty()) else {
            return;
        };
        let named = self.segments.values().filter_map(|found| found.predecessors.first());
        let named: BTreeSet<u64> = named.map(|(id, _)| *id).collect();
        let missing =
            named.into_iter().filter(|id| !self.segments.contains_key(id) && !snapshot.freed.contains(id));
        let missing: Vec<String> = missing.map(segment_name).collect();
        for file in missing {
            let is_there = self.damage.iter().any(|damage| match damage {
                Damage::Empty { file: there } | Damage::Unusable { file: there, .. } => *there == file,
                _ => false,
            });
            if !is_there {
                self.damage.push(Damage::Missing { file });
            }
        }
    }

    /// All damage: of files, then segment by segment.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let of_segments = self.segments.values().flat_map(|found| &found.damage);
        self.damage.iter().chain(of_segments).cloned().collect()
    }
}

/// Reads the index of a segment, or finds its records. `end` is what the segment behind says.
fn read_segment(
    disk: &dyn Disk,
    file: String,
    length: u64,
    header: FileHeader,
    end: Option<u64>,
) -> io::Result<FoundSegment> {
    let open = disk.open_to_read(&file)?;
    let (trailer, lost) = match Trailer::read(&*open, length, &header) {
        Err(error) if is_lost(&error) => (None, true),
        read => (read?, false),
    };
    let index = match trailer.map(|trailer| ClosedIndex::read(&*open, &header, trailer)) {
        Some(Err(error)) if is_lost(&error) => None,
        read => read.transpose()?.flatten(),
    };
    let mut damage = Vec::new();
    let (index, predecessors) = if let Some(index) = index {
        let predecessors = index.trailer.predecessor.into_iter().collect();
        (index, predecessors)
    } else {
        if lost || trailer.is_some() {
            damage.push(Damage::Index { file: file.clone() });
        }
        let end = end.or(trailer.map(|trailer| trailer.end));
        let FoundRecords { index, predecessors, corrupt, torn } = find_records(&*open, length, &header, end)?;
        damage.extend(corrupt.into_iter().map(|place| corrupt_at(&file, place)));
        damage.extend(torn.map(|Range { start: offset, end }| {
            let (file, bytes) = (file.clone(), end - offset);
            Damage::Torn { file, offset, bytes }
        }));
        (index, predecessors)
    };
    let (segment, index) = (Segment::new(header), Arc::new(index));
    Ok(FoundSegment { file, length, segment, predecessors, index, damage })
}

fn corrupt_at(file: &str, place: Range<u64>) -> Damage {
    Damage::Corrupt { file: file.to_owned(), offset: place.start, bytes: place.end - place.start }
}

impl FoundSegment {
    /// Reads every record of a segment that has its index, and notes as damage what is no record.
    pub(super) fn verify(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.index.is_sealed() {
            let file = disk.open_to_read(&self.file)?;
            let end = Some(self.index.trailer.end);
            let found = find_records(&*file, self.length, &self.segment.header, end)?;
            self.damage.extend(found.corrupt.into_iter().map(|place| corrupt_at(&self.file, place)));
        }
        Ok(())
    }
}

/// The records of a segment without an index.
pub(super) struct FoundRecords {
    pub(super) index: ClosedIndex,
    pub(super) predecessors: Predecessors,
    /// What is neither a record nor the padding behind one.
    pub(super) corrupt: Vec<Range<u64>>,
    /// What the last write left, if it did not end.
    torn: Option<Range<u64>>,
}

/// The records of a segment whose index is damaged; they end at `end`.
pub(super) fn read_again(
    disk: &dyn Disk,
    segment: &Segment,
    length: u64,
    end: u64,
) -> io::Result<FoundRecords> {
    let file = disk.open_to_read(&segment.name())?;
    // What can't be read now may be later: until then nothing of it counts as lost.
    records_in(PiecewiseFile::new(&*file, end.min(length)), &segment.header, Some(end))
}

fn find_records(
    file: &dyn DiskFile,
    length: u64,
    header: &FileHeader,
    end: Option<u64>,
) -> io::Result<FoundRecords> {
    let length = end.map_or(length, |end| end.min(length));
    records_in(PiecewiseFile::of_what_is_left(file, length), header, end)
}

/// The records in a file, or in its beginning up to `end`.
fn records_in(
    mut file: PiecewiseFile<'_>,
    header: &FileHeader,
    end: Option<u64>,
) -> io::Result<FoundRecords> {
    let (mut index, mut predecessors) = (OpenIndex::default(), Predecessors::new());
    let seed = header.seed();
    let mut scan = scan(&mut file, seed, |file, at, record| {
        match record.kind {
            RecordKind::Stream => index.set_key(record.stream, at),
            RecordKind::Opening => {
                let payload = file.payload(at, record, seed)?.unwrap_or_default();
                predecessors = decode_numbers(&payload).map(|[segment, end]| (segment, end)).collect();
            }
            _ => {
                if let Some(extent) = Extent::of(at, record) {
                    index.add(record.stream, extent);
                }
            }
        }
        Ok(())
    })?;
    if let Some(end) = end.filter(|end| *end > whole_blocks(scan.end)) {
        // What is missing there was written, as the next segment says.
        scan.corrupt.push(scan.end..end);
        scan.torn = None;
    } else if let (None, Some(lost)) = (end, scan.lost_end(&file.lost())) {
        // Nobody can say what stood there, so it is not taken for an unfinished write.
        scan.corrupt.push(lost);
        scan.torn = None;
    }
    let end = whole_blocks(scan.end).max(RECORDS_AT);
    let index = index.close(end, predecessors.first().copied());
    Ok(FoundRecords { index, predecessors, corrupt: scan.corrupt, torn: scan.torn })
}
