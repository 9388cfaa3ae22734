//! How far each stream is settled, on disk.
//!
//! Two files take turns. One holds a *snapshot* of all positions and behind it what changed since; when it is full, the
//! next snapshot goes into the other, under a higher generation, and a salt that makes what stood there void. So neither a
//! crash nor a full disk finds the journal without positions: the file in use is not touched until the other is complete.
//!
//! A snapshot's payload, in numbers of 64 bits: the next number of a stream, the next number of a segment, how many positions
//! follow, and how many ranges; then the positions, each as its stream and its position; then ranges that are settled above
//! a position, each as its stream, the first number and the one behind the last; then the numbers of segments that were
//! freed. It is the first record of its file, and a file without one counts for nothing.
//!
//! Behind the snapshot only those ranges are written that have grown. So what is written at a time is no more than what was
//! settled meanwhile, however much is settled above a position. A snapshot has the lowest thousand of a stream: if there are
//! more, what they say comes again after a restart.
//!
//! The files also say which segments were freed, as long as another segment says that it was written behind them: so a
//! segment that is not there because nobody needed it is told from one that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::buffer::write_blocks;
use super::disk::{BLOCK, Disk, DiskFile, Identity};
use super::format::{BadHeader, FileHeader, Purpose, decode_numbers, encode_numbers, whole_blocks};
use super::number_set::NumberSet;
use super::pieces::PiecewiseFile;
use super::record::{ALIGN, Record, RecordKind};
use super::scan::scan;

/// The two files.
pub(super) const FILES: [&str; 2] = ["positions-a", "positions-b"];

/// Bytes of a new file.
const LENGTH: u64 = 256 << 10;

/// Bytes of the numbers that a snapshot begins with.
const HEAD: usize = 32;

/// Bytes of a position: of which stream, and how far.
const POSITION: usize = 16;

/// Bytes of a range above one: of which stream, and both ends.
const RANGE: usize = 24;

/// Ranges of one stream that a snapshot has at most.
const RANGES: usize = 1000;

/// Ranges of all streams that a snapshot has at most, in 768 MiB.
const RANGES_IN_ALL: usize = 32 << 20;

/// Everything that the two files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PositionsSnapshot {
    /// Numbers of streams and segments from here on have not been used.
    pub(super) next_stream: u64,
    pub(super) next_segment: u64,
    /// What is settled of each stream of which anything is.
    pub(super) settled: BTreeMap<u64, NumberSet>,
    /// Segments that were freed.
    pub(super) freed: BTreeSet<u64>,
}

/// What has been settled since it was last written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Streams and their positions.
    pub(super) positions: Vec<(u64, u64)>,
    /// Streams, and ranges above their positions.
    pub(super) above: Vec<(u64, Range<u64>)>,
}

/// The files, being written.
#[derive(Debug)]
pub(super) struct Positions {
    files: [(Arc<dyn DiskFile>, u64); 2],
    current: usize,
    header: FileHeader,
    /// Where the next write goes.
    at: u64,
    /// A write failed: what the file in use holds behind its good part is not known, and what should have been written is
    /// not said again; so a snapshot is next.
    broken: bool,
    unsynced: bool,
}

/// The positions as they were read from the files.
#[derive(Debug, Default)]
pub(super) struct PositionsRead {
    /// The newest snapshot, with what changed since; `None` if there is none.
    pub(super) snapshot: Option<PositionsSnapshot>,
    /// The highest generation that any file has.
    pub(super) generation: u64,
    /// The file that the snapshot is in.
    pub(super) current: usize,
    /// Files with damage.
    pub(super) corrupt: Vec<String>,
    /// A file of another version.
    pub(super) other_version: Option<(String, u32)>,
}

impl PositionsSnapshot {
    fn encode(&self) -> Vec<u8> {
        let above = self.settled.iter().flat_map(|(stream, of)| {
            let above = of.ranges().filter(|range| range.start > 0).take(RANGES);
            above.map(|range| [*stream, range.start, range.end])
        });
        let above: Vec<[u64; 3]> = above.take(RANGES_IN_ALL).collect();
        let (positions, ranges) = (self.settled.len() as u64, above.len() as u64);
        let mut bytes = encode_numbers([[self.next_stream, self.next_segment, positions, ranges]]);
        bytes.extend(encode_numbers(self.settled.iter().map(|(stream, of)| [*stream, of.position()])));
        bytes.extend(encode_numbers(above));
        bytes.extend(encode_numbers(self.freed.iter().map(|id| [*id])));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let [next_stream, next_segment, positions, ranges] = decode_numbers(head).next()?;
        let length = |count: u64, each: usize| usize::try_from(count).ok()?.checked_mul(each);
        let (positions, rest) = rest.split_at_checked(length(positions, POSITION)?)?;
        let (above, freed) = rest.split_at_checked(length(ranges, RANGE)?)?;
        let mut snapshot = Self { next_stream, next_segment, ..Self::default() };
        snapshot.add_positions(positions);
        snapshot.add_above(above);
        snapshot.add_freed(freed);
        Some(snapshot)
    }

    fn add_positions(&mut self, bytes: &[u8]) {
        decode_numbers(bytes).for_each(|[stream, position]| self.add(stream, 0..position));
    }

    fn add_above(&mut self, bytes: &[u8]) {
        decode_numbers(bytes).for_each(|[stream, first, end]| self.add(stream, first..end));
    }

    fn add(&mut self, stream: u64, numbers: Range<u64>) {
        self.settled.entry(stream).or_default().insert(numbers);
        // It may have got its number since the snapshot, and be gone from the segments.
        self.next_stream = self.next_stream.max(stream.saturating_add(1));
    }

    fn add_freed(&mut self, bytes: &[u8]) {
        for [id] in decode_numbers(bytes) {
            self.freed.insert(id);
            self.next_segment = self.next_segment.max(id.saturating_add(1));
        }
    }
}

/// Reads what the files say; neither needs to be there.
pub(super) fn read(disk: &dyn Disk, files: &[(String, u64)]) -> io::Result<PositionsRead> {
    let mut found = PositionsRead::default();
    for (at, name) in FILES.into_iter().enumerate() {
        let Some((_, length)) = files.iter().find(|(file, _)| file == name) else { continue };
        let file = disk.open_to_read(name)?;
        let mut file = PiecewiseFile::of_what_is_left(&*file, *length);
        let header = match FileHeader::decode(file.get(0, BLOCK)?) {
            Ok(header) if header.purpose == Purpose::Positions => header,
            Err(BadHeader::Version(version)) => {
                found.other_version = Some((name.to_owned(), version));
                continue;
            }
            Ok(_) | Err(BadHeader::Corrupt) => {
                let mut blocks = (0..*length).step_by(BLOCK);
                let is_empty = blocks.try_fold(true, |so_far, at| {
                    Ok::<_, io::Error>(so_far && file.is_zero(at, (BLOCK as u64).min(*length - at))?)
                })?;
                if !is_empty {
                    found.corrupt.push(name.to_owned());
                }
                continue;
            }
        };
        let (mut snapshot, mut is_first, seed) = (None, true, header.seed());
        let scan = scan(&mut file, seed, |file, at, record| {
            let is_first = std::mem::take(&mut is_first);
            if !(is_first || snapshot.is_some()) {
                return Ok(());
            }
            let Some(payload) = file.payload(at, record, seed)? else { return Ok(()) };
            match (&mut snapshot, record.kind) {
                (None, RecordKind::Snapshot) => snapshot = PositionsSnapshot::decode(&payload),
                (Some(snapshot), RecordKind::Positions) => snapshot.add_positions(&payload),
                (Some(snapshot), RecordKind::Settled) => snapshot.add_above(&payload),
                (Some(snapshot), RecordKind::Freed) => snapshot.add_freed(&payload),
                _ => {}
            }
            Ok(())
        })?;
        if !scan.corrupt.is_empty() || scan.lost_end(&file.lost()).is_some() {
            found.corrupt.push(name.to_owned());
        }
        let Some(snapshot) = snapshot else { continue };
        if header.id < found.generation {
            continue;
        }
        (found.snapshot, found.generation, found.current) = (Some(snapshot), header.id, at);
    }
    Ok(found)
}

impl Positions {
    /// Takes the files, and writes `snapshot` into both, the one that is not in use first: so that nothing old is left to
    /// be found when one of them is lost.
    pub(super) fn open(
        disk: &dyn Disk,
        read: &PositionsRead,
        snapshot: &PositionsSnapshot,
    ) -> io::Result<Self> {
        let file = |name: &str| {
            let file = match disk.open(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(name, LENGTH)?,
                opened => opened?,
            };
            if file.length()? < LENGTH {
                file.allocate(LENGTH)?;
            }
            let length = file.length()?;
            io::Result::Ok((file, length))
        };
        let header = FileHeader { purpose: Purpose::Positions, id: read.generation, salt: 0 };
        let mut positions = Self {
            files: [file(FILES[0])?, file(FILES[1])?],
            current: read.current,
            header,
            at: 0,
            broken: true,
            unsynced: false,
        };
        disk.sync_directory()?;
        positions.write_snapshot(disk, snapshot)?;
        positions.write_snapshot(disk, snapshot)?;
        Ok(positions)
    }

    /// Which files they are.
    pub(super) fn identities(&self) -> io::Result<Vec<(&'static str, Option<Identity>)>> {
        let files = FILES.into_iter().zip(&self.files);
        files.map(|(name, (file, _))| Ok((name, file.identity()?))).collect()
    }

    /// Bytes of both files.
    pub(super) fn length(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// Notes what has moved, and segments that are about to be freed; `snapshot` says it all, these included.
    /// With `sync` it is durable when this returns.
    pub(super) fn write(
        &mut self,
        disk: &dyn Disk,
        moved: &Moved,
        freed: &[u64],
        sync: bool,
        snapshot: impl FnOnce() -> PositionsSnapshot,
    ) -> io::Result<()> {
        let positions = moved.positions.iter().map(|(stream, position)| [*stream, *position]);
        let above = moved.above.iter().map(|(stream, range)| [*stream, range.start, range.end]);
        let mut bytes = Vec::new();
        put(&mut bytes, self.header, RecordKind::Positions, &encode_numbers(positions));
        put(&mut bytes, self.header, RecordKind::Settled, &encode_numbers(above));
        put(&mut bytes, self.header, RecordKind::Freed, &encode_numbers(freed.iter().map(|id| [*id])));
        let wanted = whole_blocks(bytes.len() as u64);
        let (file, length) = &self.files[self.current];
        if self.broken || self.at + wanted > *length {
            // Until it is written, `moved` stands nowhere, and the caller doesn't say it again.
            self.broken = true;
            return self.write_snapshot(disk, &snapshot());
        }
        let file = file.clone();
        let written = (|| {
            if wanted > 0 {
                write_blocks(&*file, &bytes, self.at)?;
                self.at += wanted;
                self.unsynced = true;
            }
            if sync && self.unsynced {
                file.sync_data()?;
                self.unsynced = false;
            }
            Ok(())
        })();
        self.broken = written.is_err();
        written
    }

    /// Writes everything into the file that is not in use, and from then on uses that one.
    fn write_snapshot(&mut self, disk: &dyn Disk, snapshot: &PositionsSnapshot) -> io::Result<()> {
        let header = FileHeader { purpose: Purpose::Positions, id: self.header.id + 1, salt: disk.nonce() };
        let mut bytes = header.encode();
        let payload = snapshot.encode();
        if u32::try_from(payload.len()).is_err() {
            return Err(io::Error::other("the positions of so many streams don't fit into one record"));
        }
        put(&mut bytes, header, RecordKind::Snapshot, &payload);
        let other = 1 - self.current;
        let (file, length) = &mut self.files[other];
        // As much again for what will change.
        let wanted = whole_blocks(2 * bytes.len() as u64).max(LENGTH);
        if *length < wanted {
            file.allocate(wanted)?;
            *length = wanted;
        }
        write_blocks(&**file, &bytes, 0)?;
        file.sync_data()?;
        (self.current, self.header, self.at) = (other, header, whole_blocks(bytes.len() as u64));
        (self.broken, self.unsynced) = (false, false);
        Ok(())
    }
}

/// Adds a record, if it says anything.
fn put(bytes: &mut Vec<u8>, header: FileHeader, kind: RecordKind, payload: &[u8]) {
    if !payload.is_empty() {
        let seed = header.seed();
        let record = Record::plain(kind, 0, payload);
        bytes.extend(record.encode(crc32c::crc32c_append(seed, payload), seed));
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    }
}
