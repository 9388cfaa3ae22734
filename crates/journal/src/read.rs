//! Reading a backlog: which records have the entries that are asked for, and those entries in large reads.
//!
//! Nothing is locked while the disk is read. So segments may be freed, compacted, or damaged and mended meanwhile: then what
//! was planned is planned again.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{Batches, Chunk};
use super::index::is_damage;
use super::indexed::{IndexedSegment, UnreadableSegment};
use super::repair::{make_index_again, put_aside};
use super::row::{Extent, IndexRow};
use super::run::{LARGE, LastOpen, RecordPart, choose, read_run, runs};
use super::segments::{Index, Segment};
use super::store::Store;
use super::types::StreamId;

/// A stream with less than one part in so many of what lies between its records has them read one by one.
const SPARSE: u64 = 32;

/// See [`super::Journal::read_batches`].
pub(super) fn read_batches(
    store: &Store,
    stream: StreamId,
    numbers: Range<u64>,
    max_bytes: usize,
    batches: usize,
) -> Result<VecDeque<Vec<Chunk>>, UnreadableSegment> {
    let Some(number) = store.catalog.lock().streams.number(stream) else { return Ok(VecDeque::new()) };
    let mut from = numbers.start;
    loop {
        let planned = plan(store, number, from, max_bytes.saturating_mul(batches) as u64);
        let Plan { mut pieces, end } = match planned {
            Ok(plan) => plan,
            Err(unreadable) => {
                make_readable(store, unreadable)?;
                continue;
            }
        };
        if pieces.is_empty() && end > from && end < u64::MAX {
            // All that was looked at is settled.
            from = end;
            continue;
        }
        pieces.truncate(pieces.partition_point(|piece| piece.from < numbers.end));
        if pieces.is_empty() {
            return Ok(VecDeque::new());
        }
        settle_gaps(store, stream, from, &pieces);
        read_ahead(store, &pieces);
        let (mut read, mut open) = (Batches::new(max_bytes, batches), LastOpen::default());
        for run in runs(&pieces) {
            let segment = &run[0].segment;
            let unreadable = |error| UnreadableSegment { segment: segment.clone(), error };
            let file = match open.file(&*store.disk, run) {
                // It was freed since the plan was made: what was in it is settled, or stands elsewhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(store, segment) => break,
                file => file.map_err(unreadable)?,
            };
            let chunks = read_run(&**file, &store.buffers, run).map_err(unreadable)?;
            for (piece, chunk) in run.iter().zip(chunks) {
                if let Some(mut chunk) = chunk {
                    // Only the last piece goes beyond the end.
                    chunk.end_at(numbers.end);
                    from = chunk.end();
                    read.push(chunk);
                } else {
                    put_aside(store, number, piece).map_err(unreadable)?;
                    from = piece.end;
                }
            }
        }
        let read = read.end();
        if !read.is_empty() {
            return Ok(read);
        }
    }
}

/// Entries are durable in order, so what is not there before one that is will not come: nobody else will settle it.
fn settle_gaps(store: &Store, stream: StreamId, from: u64, pieces: &[RecordPart]) {
    let mut catalog = store.catalog.lock();
    let mut next = from;
    for piece in pieces {
        if piece.from > next {
            catalog.streams.settle(stream, &(next..=piece.from - 1));
        }
        next = piece.extent.end();
    }
}

/// Has the system read what will be needed of each segment in one go, if it is in small pieces, and not little among
/// much else.
fn read_ahead(store: &Store, pieces: &[RecordPart]) {
    for same in pieces.chunk_by(|a, b| a.segment.id() == b.segment.id()) {
        let (from, to) = (same[0].extent, same[same.len() - 1].extent);
        let span = (to.offset + u64::from(to.length)).saturating_sub(from.offset);
        let wanted: u64 = same.iter().map(|piece| u64::from(piece.extent.length)).sum();
        if same.len() > 1
            && wanted < LARGE * same.len() as u64
            && wanted >= span / SPARSE
            && let Ok(file) = store.disk.open_to_read(&same[0].segment.name())
        {
            file.will_need(from.offset, span);
        }
    }
}

fn is_there(store: &Store, segment: &Segment) -> bool {
    store.catalog.lock().segments.contains_key(&segment.id())
}

/// The records that are read next of a stream.
struct Plan {
    /// In order.
    pieces: Vec<RecordPart>,
    /// Entries from this number on have not been looked for; `u64::MAX` if all have.
    end: u64,
}

/// The records with at most `max_bytes` of a stream's entries from `from` on, or one that has more.
fn plan(store: &Store, stream: u64, from: u64, max_bytes: u64) -> Result<Plan, UnreadableSegment> {
    let mut extents: Vec<(Arc<Segment>, Extent)> = Vec::new();
    let mut closed: Vec<IndexedSegment> = Vec::new();
    // From here on entries may be missing among `extents`.
    let mut end = u64::MAX;
    let settled = {
        let catalog = store.catalog.lock();
        for segment in catalog.segments.values() {
            let Index::Open(index) = &segment.index else {
                closed.extend(IndexedSegment::new(&store.disk, segment));
                continue;
            };
            let mut bytes = 0;
            for extent in index.extents(stream, from) {
                // In the log they are in order, so that not all have to be looked at.
                if segment.segment.is_log() && bytes >= max_bytes {
                    end = end.min(extent.first);
                    break;
                }
                bytes += extent.framed();
                extents.push((segment.segment.clone(), extent));
            }
        }
        catalog.streams.settled(stream)
    };
    let mut rows: Vec<(IndexRow, &IndexedSegment)> = Vec::new();
    for segment in &closed {
        let row = segment.row(stream)?;
        rows.extend(row.filter(|row| row.end > from).map(|row| (row, segment)));
    }
    rows.sort_by_key(|(row, ..)| row.first);
    for (row, segment) in rows {
        if row.first >= end {
            break;
        }
        let (found, all) = segment.extents(&row, from, max_bytes)?;
        let last = found.last().map_or(from, Extent::end);
        extents.extend(found.into_iter().map(|extent| (segment.segment.clone(), extent)));
        let in_front = extents.iter().filter(|(_, extent)| extent.first < last);
        if !all || in_front.map(|(_, extent)| extent.framed()).sum::<u64>() >= max_bytes {
            end = end.min(last);
        }
    }
    let (mut bytes, mut pieces) = (0, choose(extents, from, &settled));
    let is_enough = |piece: &RecordPart| {
        let before = bytes;
        bytes += piece.extent.framed();
        piece.from >= end || (before > 0 && bytes > max_bytes)
    };
    pieces.truncate(pieces.iter().position(is_enough).unwrap_or(pieces.len()));
    Ok(Plan { pieces, end })
}

/// Makes the index of a segment again that is damaged; the error if that is not why it can't be read. A segment that was freed
/// meanwhile is no error: its entries may be somewhere else now.
fn make_readable(store: &Store, unreadable: UnreadableSegment) -> Result<(), UnreadableSegment> {
    let UnreadableSegment { segment, error } = unreadable;
    match error.kind() {
        io::ErrorKind::NotFound if !is_there(store, &segment) => Ok(()),
        _ if is_damage(&error) => {
            make_index_again(store, &segment).map_err(|error| UnreadableSegment { segment, error })
        }
        _ => Err(UnreadableSegment { segment, error }),
    }
}
