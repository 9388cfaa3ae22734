//! Reading records that stand near each other at once, and checking them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::buffer::ReadBuffers;
use super::chunk::Chunk;
use super::disk::{BLOCK, Disk, DiskFile, is_lost};
use super::format::whole_blocks;
use super::number_set::NumberSet;
use super::record::{HEADER, Record, RecordCheck, counts_len};
use super::row::Extent;
use super::segments::Segment;

/// Records that are so near to each other are read at once, what is between them included.
const GAP: u64 = 16 << 10;

/// One read is no larger, if it has more than one record.
const RUN: u64 = 1 << 20;

/// Reads of this many bytes and more go past the page cache; smaller ones go through it, since others read next what stands
/// beside them.
pub(super) const LARGE: u64 = 32 << 10;

/// A record to be read, and which of its entries are wanted: from a number on, and up to the one before another.
#[derive(Clone, Debug)]
pub(super) struct RecordPart {
    pub(super) segment: Arc<Segment>,
    pub(super) extent: Extent,
    pub(super) from: u64,
    pub(super) end: u64,
}

/// Chooses from extents of a stream, in any order and possibly of two copies of an entry, those to be read from `from`
/// on: in order, without the second copies, and without what is settled.
pub(super) fn choose(
    mut extents: Vec<(Arc<Segment>, Extent)>,
    from: u64,
    settled: &NumberSet,
) -> Vec<RecordPart> {
    // Of two copies that begin alike, the longer: it says as much with one read.
    extents.sort_by_key(|(_, extent)| (extent.first, std::cmp::Reverse(extent.entries)));
    let (mut next, mut chosen) = (from, Vec::new());
    for (segment, extent) in extents {
        for Range { start: from, end } in settled.gaps(next.max(extent.first)..extent.end()) {
            chosen.push(RecordPart { segment: segment.clone(), extent, from, end });
        }
        next = next.max(extent.end());
    }
    chosen
}

/// Cuts pieces into what is read at once.
pub(super) fn runs(pieces: &[RecordPart]) -> impl Iterator<Item = &[RecordPart]> {
    let mut begin = 0;
    pieces.chunk_by(move |a, b| {
        let end = a.extent.span().end;
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
fn span(run: &[RecordPart]) -> Range<u64> {
    run[0].extent.offset..run[run.len() - 1].extent.span().end
}

/// Reads one run and checks its records: the entries of each piece that are wanted, or `None` if the record is not what was
/// written.
pub(super) fn read_run(
    file: &dyn DiskFile,
    buffers: &Arc<ReadBuffers>,
    run: &[RecordPart],
) -> io::Result<Vec<Option<Chunk>>> {
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
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(vec![None]),
        done => done?,
    };
    Ok(run
        .iter()
        .map(|piece| {
            let mut chunk = entries(&bytes.slice((piece.extent.offset - span.start) as usize..), piece)?;
            if is_sparse {
                chunk.bytes = Bytes::copy_from_slice(&chunk.bytes);
            }
            Some(chunk)
        })
        .collect())
}

/// Reads a part of a file, in whole blocks as far as it has them.
fn read_blocks(file: &dyn DiskFile, buffers: &Arc<ReadBuffers>, span: &Range<u64>) -> io::Result<Bytes> {
    let skip = span.start % BLOCK as u64;
    let start = span.start - skip;
    let mut buffer = buffers.take((whole_blocks(span.end) - start) as usize);
    let wanted = (span.end - start) as usize;
    match file.read_at(buffer.as_mut_slice(), start) {
        // It may end within its last block, if somebody has cut it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            buffer.truncate(wanted);
            file.read_at(buffer.as_mut_slice(), start)?;
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
    pub(super) fn file(&mut self, disk: &dyn Disk, run: &[RecordPart]) -> io::Result<&Arc<dyn DiskFile>> {
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
fn entries(bytes: &Bytes, piece: &RecordPart) -> Option<Chunk> {
    let RecordPart { segment, extent, from, end } = piece;
    let RecordCheck::Whole(record) = Record::find(bytes, segment.header.seed()) else { return None };
    if Extent::of(extent.offset, &record) != Some(*extent) {
        return None;
    }
    let payload = bytes.slice(HEADER..HEADER + record.length as usize);
    let framed = payload.len().checked_sub(counts_len(record.entries as usize))?;
    let counts: Vec<u32> = match record.entries {
        1 => vec![u32::try_from(record.records).unwrap_or(u32::MAX)],
        _ => payload[framed..].chunks_exact(4).map(|mut count| count.get_u32_le()).collect(),
    };
    let skip = (from - extent.first) as usize;
    let begin = otlp::skip_frames(&payload[..framed], skip)?;
    let mut chunk =
        Chunk { first: *from, bytes: payload.slice(begin..framed), counts: counts[skip..].to_vec() };
    chunk.end_at(*end);
    Some(chunk)
}
