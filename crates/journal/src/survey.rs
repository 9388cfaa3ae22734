//! Looking at the files of a journal without changing any: what recovery begins with, and what `inspect` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{BLOCK, Disk, DiskFile, is_lost};
use super::format::{BadHeader, Header, Purpose, RECORDS_AT, u64_at, whole_blocks};
use super::index::SealedIndex;
use super::pieces::Pieces;
use super::positions;
use super::record::Kind;
use super::row::Extent;
use super::scan::scan;
use super::segments::{ClosedIndex, OpenIndex, Predecessors, SPARE, Segment, segment_name, segment_of};
use super::trailer::Trailer;
use super::types::Damage;

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The segments by number.
    pub(super) segments: BTreeMap<u64, Found>,
    pub(super) spares: Vec<(String, u64)>,
    pub(super) positions: positions::Read,
    /// Files that are no segments, and why.
    pub(super) unusable: Vec<(String, String)>,
    pub(super) empty: Vec<String>,
    pub(super) missing: Vec<u64>,
    /// Whether files went after they were listed.
    pub(super) has_lost_files: bool,
    /// A file of another version.
    pub(super) other_version: Option<(String, u32)>,
}

/// A segment that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The file, which may have the wrong name.
    pub(super) file: String,
    pub(super) length: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) predecessors: Predecessors,
    pub(super) index: ClosedIndex,
    /// What is neither a record nor the padding behind one.
    pub(super) corrupt: Vec<Range<u64>>,
    pub(super) torn: Option<Range<u64>>,
    /// Whether it has an index that can't be read.
    pub(super) bad_index: bool,
}

/// Looks at every file. Those that go meanwhile are left out, so this may be done beside a running process.
pub(super) fn survey(disk: &dyn Disk) -> io::Result<Survey> {
    let files = disk.list()?;
    let mut survey = Survey { positions: positions::read(disk, &files)?, ..Survey::default() };
    survey.other_version.clone_from(&survey.positions.other_version);
    let mut headers: BTreeMap<u64, (String, u64, Header)> = BTreeMap::new();
    for (name, length) in files {
        if name.starts_with(SPARE) {
            survey.spares.push((name, length));
        } else if let Some(id) = segment_of(&name) {
            match unless_gone(look_at(disk, &name, length))? {
                Some(Ok(header)) => {
                    // The file that is named as its header says goes before one that is not.
                    let other = headers.insert(header.id, (name, length, header));
                    if let Some(mut copy) = other {
                        if header.id != id {
                            copy = headers.insert(header.id, copy).expect("it was just inserted");
                        }
                        let reason = format!("is a copy of `{}`", segment_name(header.id));
                        survey.unusable.push((copy.0, reason));
                    }
                }
                Some(Err(Unusable::Empty)) => survey.empty.push(name),
                Some(Err(Unusable::Version(version))) => survey.other_version = Some((name, version)),
                Some(Err(Unusable::NotASegment)) => {
                    survey.unusable.push((name, "has no readable header".to_owned()));
                }
                Some(Err(Unusable::Unreadable(error))) => {
                    survey.unusable.push((name, format!("can't be read: {error}")));
                }
                None => survey.has_lost_files = true,
            }
        }
    }
    survey.read_segments(disk, headers)?;
    survey.find_missing();
    Ok(survey)
}

enum Unusable {
    Empty,
    Version(u32),
    NotASegment,
    Unreadable(io::Error),
}

/// The header of a segment's file.
fn look_at(disk: &dyn Disk, name: &str, length: u64) -> io::Result<Result<Header, Unusable>> {
    let mut block = vec![0; BLOCK.min(length as usize)];
    match disk.open_to_read(name)?.read_at(&mut block, 0) {
        Err(error) if is_lost(&error) => return Ok(Err(Unusable::Unreadable(error))),
        read => read?,
    }
    Ok(match Header::decode(&block) {
        Ok(header) if header.purpose != Purpose::Positions => Ok(header),
        Err(BadHeader::Version(version)) => Err(Unusable::Version(version)),
        Err(BadHeader::Corrupt) if length == 0 => Err(Unusable::Empty),
        Ok(_) | Err(BadHeader::Corrupt) => Err(Unusable::NotASegment),
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
        headers: BTreeMap<u64, (String, u64, Header)>,
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

    /// Segments that others were written behind, that are not there, and that were not freed.
    fn find_missing(&mut self) {
        let Some(snapshot) = self.positions.snapshot.as_ref().filter(|_| self.positions.corrupt.is_empty())
        else {
            // What was freed is not known.
            return;
        };
        let named: BTreeSet<u64> = self
            .segments
            .values()
            .filter_map(|found| found.predecessors.first())
            .map(|(id, _)| *id)
            .collect();
        let there = |id: &u64| {
            let name = segment_name(*id);
            self.segments.contains_key(id)
                || snapshot.freed.contains(id)
                || self.empty.contains(&name)
                || self.unusable.iter().any(|(file, _)| *file == name)
        };
        self.missing = named.into_iter().filter(|id| !there(id)).collect();
    }

    /// What is wrong, in words; `kept` are the names of copies in quarantine.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let mut damage = Vec::new();
        if self.positions.snapshot.is_none() && !self.segments.is_empty() {
            damage.push(Damage::PositionsLost);
        } else {
            damage.extend(self.positions.corrupt.iter().map(|file| Damage::Positions { file: file.clone() }));
        }
        damage.extend(self.empty.iter().map(|file| Damage::Empty { file: file.clone() }));
        damage.extend(
            self.unusable
                .iter()
                .map(|(file, reason)| Damage::Unusable { file: file.clone(), reason: reason.clone() }),
        );
        damage.extend(self.missing.iter().map(|id| Damage::Missing { file: segment_name(*id) }));
        for found in self.segments.values() {
            let file = || found.file.clone();
            if found.bad_index {
                damage.push(Damage::Index { file: file() });
            }
            damage.extend(found.corrupt.iter().map(|range| Damage::Corrupt {
                file: file(),
                offset: range.start,
                bytes: range.end - range.start,
            }));
            damage.extend(found.torn.iter().map(|range| Damage::Torn {
                file: file(),
                offset: range.start,
                bytes: range.end - range.start,
            }));
        }
        damage
    }
}

/// Reads the index of a segment, or finds its records. `end` is what the segment behind says.
fn read_segment(
    disk: &dyn Disk,
    name: String,
    length: u64,
    header: Header,
    end: Option<u64>,
) -> io::Result<Found> {
    let file = disk.open_to_read(&name)?;
    let segment = Segment::new(header);
    let (trailer, lost) = match Trailer::read(&*file, length, &header) {
        Err(error) if is_lost(&error) => (None, true),
        read => (read?, false),
    };
    let rows = match trailer.map(|trailer| trailer.read_rows(&*file, &header)) {
        Some(Err(error)) if is_lost(&error) => None,
        rows => rows.transpose()?.flatten(),
    };
    if let (Some(trailer), Some(rows)) = (trailer, rows) {
        let index = ClosedIndex::Sealed(Arc::new(SealedIndex::new(trailer, header.seed(), rows)));
        let (corrupt, torn) = (Vec::new(), None);
        let predecessors = trailer.predecessor.into_iter().collect();
        return Ok(Found {
            file: name,
            length,
            segment,
            predecessors,
            index,
            corrupt,
            torn,
            bad_index: false,
        });
    }
    let end = end.or(trailer.map(|trailer| trailer.end));
    let found = find_records(&*file, length, &header, end)?;
    let FoundRecords { index, end, predecessors, corrupt, torn } = found;
    let index = ClosedIndex::Unsealed(Arc::new(index), end);
    Ok(Found {
        file: name,
        length,
        segment,
        predecessors,
        index,
        corrupt,
        torn,
        bad_index: lost || trailer.is_some(),
    })
}

/// Reads every record of a segment that has its index, and returns what is none.
pub(super) fn verify(disk: &dyn Disk, found: &Found) -> io::Result<Vec<Range<u64>>> {
    let Some(index) = found.index.sealed() else { return Ok(Vec::new()) };
    let file = disk.open_to_read(&found.file)?;
    let end = Some(index.trailer.end);
    Ok(find_records(&*file, found.length, &found.segment.header, end)?.corrupt)
}

/// The index of a segment made again from its records, which end at `end`; and what is none of them.
pub(super) fn read_again(
    disk: &dyn Disk,
    segment: &Segment,
    length: u64,
    end: u64,
) -> io::Result<(OpenIndex, Vec<Range<u64>>)> {
    let file = disk.open_to_read(&segment.name())?;
    // What can't be read now may be later: until then nothing of it counts as lost.
    let found = records_in(Pieces::new(&*file, end.min(length)), &segment.header, Some(end))?;
    Ok((found.index, found.corrupt))
}

/// The records of a segment without an index.
struct FoundRecords {
    index: OpenIndex,
    end: u64,
    predecessors: Predecessors,
    corrupt: Vec<Range<u64>>,
    torn: Option<Range<u64>>,
}

fn find_records(
    file: &dyn DiskFile,
    length: u64,
    header: &Header,
    end: Option<u64>,
) -> io::Result<FoundRecords> {
    let length = end.map_or(length, |end| end.min(length));
    records_in(Pieces::of_what_is_left(file, length), header, end)
}

/// The records in a file, or in its beginning up to `end`.
fn records_in(mut file: Pieces<'_>, header: &Header, end: Option<u64>) -> io::Result<FoundRecords> {
    let (mut index, mut predecessors) = (OpenIndex::default(), Predecessors::new());
    let seed = header.seed();
    let mut scan = scan(&mut file, seed, |file, at, record| {
        match record.kind {
            Kind::Stream => index.rows.entry(record.stream).or_default().key_at = at,
            Kind::Opening => {
                let payload = file.payload(at, record, seed)?.unwrap_or_default();
                predecessors =
                    payload.chunks_exact(16).map(|pair| (u64_at(pair, 0), u64_at(pair, 8))).collect();
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
    index.sort();
    let end = whole_blocks(scan.end).max(RECORDS_AT);
    Ok(FoundRecords { index, end, predecessors, corrupt: scan.corrupt, torn: scan.torn })
}
