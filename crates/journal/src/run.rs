//! Reading records that stand near each other at once, and checking them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::buffers::Buffers;
use super::disk::{BLOCK, Disk, DiskFile, is_lost};
use super::format::{u32_at, whole_blocks};
use super::number_set::NumberSet;
use super::record::{Found, HEADER, Record, counts_len};
use super::row::Extent;
use super::segments::Segment;

/// Records that are so near to each other are read at once, what is between them included.
const GAP: u64 = 16 << 10;

/// One read is no larger, if it has more than one record.
const RUN: u64 = 1 << 20;

/// Reads of this much and more go past the page cache; what is smaller stands among what others read next.
pub(super) const LARGE: u64 = 32 << 10;

/// A record to be read, and which of its entries are wanted: from a number on, and up to the one before another.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) segment: Arc<Segment>,
    pub(super) extent: Extent,
    pub(super) from: u64,
    pub(super) end: u64,
}

/// Entries as they were read.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) first: u64,
    /// Framed.
    pub(super) bytes: Bytes,
    /// Records in each.
    pub(super) counts: Vec<u32>,
}

impl Entries {
    /// Keeps those below the sequence number `end`, but at least one.
    pub(super) fn end_at(&mut self, end: u64) {
        let entries = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX).max(1);
        if entries < self.counts.len() {
            let length = otlp::skip_frames(&self.bytes, entries).unwrap_or(self.bytes.len());
            drop(self.split_at(entries, length));
        }
    }

    /// Keeps as many as fit into so many bytes, but at least one; the others, if there are any.
    pub(super) fn split_off(&mut self, most: usize) -> Option<Self> {
        if self.bytes.len() <= most {
            return None;
        }
        let (mut length, mut entries) = (0, 0);
        for (frame, _) in otlp::frames(&self.bytes) {
            if entries > 0 && length + frame.len() > most {
                break;
            }
            length += frame.len();
            entries += 1;
        }
        (entries < self.counts.len()).then(|| self.split_at(entries, length))
    }

    /// The entries from so many on, which begin at `length`.
    fn split_at(&mut self, entries: usize, length: usize) -> Self {
        let rest = self.bytes.split_off(length);
        // A small part would keep all of a large read in memory, which nobody counts.
        if length < rest.len() {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
        }
        Self { first: self.first + entries as u64, bytes: rest, counts: self.counts.split_off(entries) }
    }

    /// In memory of their own.
    fn copied(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self }
    }

    /// The sequence number behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.counts.len() as u64
    }
}

/// What became of a piece.
#[derive(Debug)]
pub(super) enum Got {
    Entries(Entries),
    /// The record is not what was written.
    Corrupt,
}

/// Chooses from extents of a stream, in any order and possibly of two copies of an entry, those to be read from `from`
/// on: in order, without the second copies, and without what is settled.
pub(super) fn choose(mut extents: Vec<(Arc<Segment>, Extent)>, from: u64, settled: &NumberSet) -> Vec<Piece> {
    // Of two copies that begin alike, the longer: it says as much with one read.
    extents.sort_by_key(|(_, extent)| (extent.first, std::cmp::Reverse(extent.entries)));
    let (mut next, mut chosen) = (from, Vec::new());
    for (segment, extent) in extents {
        for Range { start: from, end } in settled.gaps(next.max(extent.first)..extent.end()) {
            chosen.push(Piece { segment: segment.clone(), extent, from, end });
        }
        next = next.max(extent.end());
    }
    chosen
}

/// Cuts pieces into what is read at once.
pub(super) fn runs(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    let mut begin = 0;
    pieces.chunk_by(move |a, b| {
        let end = a.extent.offset + (HEADER as u64) + u64::from(a.extent.length);
        if begin == 0 {
            begin = a.extent.offset;
        }
        let near = a.segment.id() == b.segment.id()
            && b.extent.offset >= end
            && b.extent.offset - end <= GAP
            && b.extent.offset + u64::from(b.extent.length) - begin <= RUN;
        if !near {
            begin = 0;
        }
        near
    })
}

/// Bytes of a run in its file.
fn span(run: &[Piece]) -> Range<u64> {
    let last = run[run.len() - 1].extent;
    run[0].extent.offset..last.offset + HEADER as u64 + u64::from(last.length)
}

/// Reads one run and checks its records.
pub(super) fn read_run(file: &dyn DiskFile, buffers: &Arc<Buffers>, run: &[Piece]) -> io::Result<Vec<Got>> {
    let span = span(run);
    // Of a read that is mostly others', a chunk would keep all of it in memory, which nobody counts.
    let wanted: u64 = run.iter().map(|piece| u64::from(piece.extent.length)).sum();
    let is_sparse = wanted < (span.end - span.start) / 2;
    let bytes = match read_blocks(file, buffers, &span) {
        // A file that is shorter than its index says is damaged, record by record; and a place that can't be read may be
        // between records.
        Err(error) if run.len() > 1 && (error.kind() == io::ErrorKind::UnexpectedEof || is_lost(&error)) => {
            return run
                .iter()
                .map(|piece| Ok(read_run(file, buffers, std::slice::from_ref(piece))?.remove(0)))
                .collect();
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(vec![Got::Corrupt]),
        done => done?,
    };
    Ok(run
        .iter()
        .map(|piece| {
            let bytes = bytes.slice((piece.extent.offset - span.start) as usize..);
            match entries(&bytes, piece) {
                Got::Entries(entries) if is_sparse => Got::Entries(entries.copied()),
                got => got,
            }
        })
        .collect())
}

/// Reads a part of a file, in whole blocks as far as it has them.
fn read_blocks(file: &dyn DiskFile, buffers: &Arc<Buffers>, span: &Range<u64>) -> io::Result<Bytes> {
    let skip = span.start % BLOCK as u64;
    let start = span.start - skip;
    let mut buffer = buffers.take((whole_blocks(span.end) - start) as usize);
    let wanted = (span.end - start) as usize;
    match file.read_at(buffer.as_mut(), start) {
        // It may end within its last block, if somebody has cut it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            buffer.truncate(wanted);
            file.read_at(buffer.as_mut(), start)?;
        }
        done => done?,
    }
    buffer.truncate(wanted);
    Ok(Bytes::from_owner(buffer).slice(skip as usize..))
}

/// The file that was read last: the next run is likely to be in it, too.
#[derive(Debug, Default)]
pub(super) struct LastOpen {
    /// Of which segment, and whether for large reads.
    key: (u64, bool),
    file: Option<Arc<dyn DiskFile>>,
}

impl LastOpen {
    /// The file with a run, and open in the way that suits it.
    pub(super) fn file(&mut self, disk: &dyn Disk, run: &[Piece]) -> io::Result<&Arc<dyn DiskFile>> {
        let span = span(run);
        let (segment, large) = (&run[0].segment, span.end - span.start >= LARGE);
        let key = (segment.id(), large);
        let file = match self.file.take().filter(|_| self.key == key) {
            Some(file) => file,
            None if large => disk.open_to_read_directly(&segment.name())?,
            None => disk.open_to_read(&segment.name())?,
        };
        self.key = key;
        Ok(self.file.insert(file))
    }
}

/// The entries of the record that `bytes` begins with, if it is the one that is looked for.
fn entries(bytes: &Bytes, piece: &Piece) -> Got {
    let Piece { segment, extent, from, end } = piece;
    let Found::Whole(record) = Record::find(bytes, segment.header.seed()) else { return Got::Corrupt };
    if Extent::of(extent.offset, &record) != Some(*extent) {
        return Got::Corrupt;
    }
    let payload = bytes.slice(HEADER..HEADER + record.length as usize);
    let Some(framed) = payload.len().checked_sub(counts_len(record.entries as usize)) else {
        return Got::Corrupt;
    };
    let counts: Vec<u32> = match record.entries {
        1 => vec![u32::try_from(record.records).unwrap_or(u32::MAX)],
        _ => payload[framed..].chunks_exact(4).map(|count| u32_at(count, 0)).collect(),
    };
    let skip = (from - extent.first) as usize;
    let Some(begin) = otlp::skip_frames(&payload[..framed], skip) else { return Got::Corrupt };
    let mut entries =
        Entries { first: *from, bytes: payload.slice(begin..framed), counts: counts[skip..].to_vec() };
    entries.end_at(*end);
    Got::Entries(entries)
}
