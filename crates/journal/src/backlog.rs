//! Counting the entries that are not settled, stream by stream, from the indexes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::disk::is_lost;
use super::indexed::{IndexedSegment, Merge};
use super::number_set::NumberSet;
use super::record::{HEADER, Record, RecordCheck, RecordKind};
use super::row::{Extent, IndexRow};
use super::run::{choose, read_run};
use super::types::StreamKey;

/// The entries that all segments have of one stream.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) stream: u64,
    /// `None` if no segment has a readable key.
    pub(super) key: Option<StreamKey>,
    /// How many segments have entries of it.
    pub(super) segments: u64,
    /// The number behind its last entry, settled or not.
    pub(super) end: u64,
    /// The entries that are not settled; `None` if all are.
    pub(super) live: Option<Live>,
}

/// Entries that are not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The first sequence number, and the one behind the last. Between the two some may be missing.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) entries: u64,
    pub(super) records: u64,
    /// Framed.
    pub(super) bytes: u64,
}

/// Calls `each` for every stream of the segments, in the order of their numbers.
pub(super) fn count(
    segments: &[IndexedSegment],
    settled: &BTreeMap<u64, NumberSet>,
    mut each: impl FnMut(Backlog) -> io::Result<()>,
) -> io::Result<()> {
    let nothing = NumberSet::default();
    let mut merge = Merge::of(segments)?;
    while let Some((stream, mut rows)) = merge.next()? {
        let key = rows.iter().find_map(|(segment, row)| key(segment, row));
        let end = rows.iter().map(|(_, row)| row.end).max().unwrap_or(0);
        let (segments, settled) = (rows.len() as u64, settled.get(&stream).unwrap_or(&nothing));
        rows.retain(|(_, row)| !settled.covers(row.first..row.end));
        rows.sort_by_key(|(_, row)| row.first);
        let live = live(&rows, settled)?;
        each(Backlog { stream, key, segments, end, live })?;
    }
    Ok(())
}

/// The key of a stream as one segment has it.
fn key(segment: &IndexedSegment, row: &IndexRow) -> Option<StreamKey> {
    if row.key_at == 0 {
        return None;
    }
    let (file, seed) = (segment.file().ok()?, segment.segment.header.seed());
    let mut header = [0; HEADER];
    file.read_at(&mut header, row.key_at).ok()?;
    let (RecordCheck::Broken(record) | RecordCheck::Whole(record)) = Record::find(&header, seed) else {
        return None;
    };
    let mut bytes = vec![0; HEADER + record.length as usize];
    file.read_at(&mut bytes, row.key_at).ok()?;
    let whole = matches!(Record::find(&bytes, seed), RecordCheck::Whole(_));
    let ours = whole && record.kind == RecordKind::Stream && record.stream == row.stream;
    ours.then(|| StreamKey::from(&bytes[HEADER..]))
}

/// The entries of rows, sorted by their first number, that are not settled.
fn live(rows: &[(&IndexedSegment, IndexRow)], settled: &NumberSet) -> io::Result<Option<Live>> {
    let (Some((_, first)), Some((_, last))) = (rows.first(), rows.last()) else { return Ok(None) };
    let apart = rows.windows(2).all(|pair| pair[0].1.end <= pair[1].1.first);
    if apart && rows.iter().all(|(_, row)| settled.is_clear_of(row.first..row.end)) {
        return Ok(Some(Live {
            first: first.first,
            end: last.end,
            entries: rows.iter().map(|(_, row)| row.entries).sum(),
            records: rows.iter().map(|(_, row)| row.records).sum(),
            bytes: rows.iter().map(|(_, row)| row.bytes).sum(),
        }));
    }
    // Part of a row is settled, or entries stand in two segments: their extents are counted one by one.
    let mut extents = Vec::new();
    for (segment, row) in rows {
        extents.extend(segment.all_extents(row, settled.position())?);
    }
    let mut live: Option<Live> = None;
    for piece in choose(extents, 0, settled) {
        let Extent { first, .. } = piece.extent;
        let (entries, records, bytes) = if piece.from == first && piece.end == piece.extent.end() {
            (u64::from(piece.extent.entries), piece.extent.records, piece.extent.framed())
        } else {
            let segment = rows.iter().find(|(segment, _)| segment.segment.id() == piece.segment.id());
            let (segment, _) = segment.expect("pieces are of the rows");
            match read_run(&*segment.file()?, &Arc::default(), std::slice::from_ref(&piece)) {
                // Whoever reads a corrupt record puts it aside.
                Ok(mut read) => read.pop().flatten().map_or((0, 0, 0), |chunk| {
                    (chunk.counts.len() as u64, chunk.records(), chunk.bytes.len() as u64)
                }),
                // Whoever reads it waits until it can be read.
                Err(error) if is_lost(&error) => (0, 0, 0),
                Err(error) => return Err(error),
            }
        };
        let live = live.get_or_insert(Live { first: piece.from, end: 0, entries: 0, records: 0, bytes: 0 });
        live.end = piece.end;
        live.entries += entries;
        live.records += records;
        live.bytes += bytes;
    }
    Ok(live)
}
