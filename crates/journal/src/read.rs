//! Reading a backlog: which records have the entries that are asked for, and those entries in large reads.
//!
//! Nothing is locked while the disk is read. So segments may be freed, compacted, or damaged and mended meanwhile: then what
//! was planned is planned again.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::buffers::Buffers;
use super::chunks::Batches;
use super::index::is_damage;
use super::indexed::{IndexedSegment, Unreadable};
use super::repair::Repairs;
use super::row::{Extent, Row};
use super::run::{Got, LARGE, LastOpen, Piece, choose, read_run, runs};
use super::segments::{ClosedIndex, Index, Segment};
use super::store::Store;
use super::types::{Chunk, ReadError, StreamId};

/// A stream with less than one part in so many of what lies between its records has them read one by one.
const SPARSE: u64 = 32;

/// Reads what streams have on disk.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) repairs: Arc<Repairs>,
    pub(super) buffers: Arc<Buffers>,
}

impl Reader {
    /// See [`super::Journal::read_batches`].
    pub(super) fn read_batches(
        &self,
        stream: StreamId,
        numbers: Range<u64>,
        max_bytes: usize,
        batches: usize,
    ) -> Result<VecDeque<Vec<Chunk>>, ReadError> {
        let Some(number) = self.store.catalog.lock().streams.number(stream) else {
            return Ok(VecDeque::new());
        };
        let mut from = numbers.start;
        loop {
            let mut pieces = match self.plan(number, from, max_bytes.saturating_mul(batches) as u64) {
                Ok(pieces) => pieces,
                Err(NoPlan::Changed) => continue,
                Err(NoPlan::Settled(end)) => {
                    from = end;
                    continue;
                }
                Err(NoPlan::Failed(error)) => return Err(error),
            };
            pieces.truncate(pieces.partition_point(|piece| piece.from < numbers.end));
            if pieces.is_empty() {
                return Ok(VecDeque::new());
            }
            self.settle_gaps(stream, from, &pieces);
            let mut read = Batches::new(max_bytes, batches);
            self.read_ahead(&pieces);
            let mut open = LastOpen::default();
            for run in runs(&pieces) {
                let segment = &run[0].segment;
                let got = match open.file(&*self.store.disk, run) {
                    Ok(file) => {
                        read_run(&**file, &self.buffers, run).map_err(|source| read_error(segment, source))?
                    }
                    // It was freed since the plan was made: what was in it is settled, or stands elsewhere.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_there(segment) => break,
                    Err(source) => return Err(read_error(segment, source)),
                };
                for (piece, got) in run.iter().zip(got) {
                    match got {
                        Got::Entries(mut entries) => {
                            // Only the last piece goes beyond the end.
                            entries.end_at(numbers.end);
                            from = entries.end();
                            read.push(entries);
                        }
                        Got::Corrupt => {
                            let put_aside = self.repairs.put_aside(number, piece);
                            put_aside.map_err(|source| read_error(segment, source))?;
                            from = piece.end;
                        }
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
    fn settle_gaps(&self, stream: StreamId, from: u64, pieces: &[Piece]) {
        let mut catalog = self.store.catalog.lock();
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
    fn read_ahead(&self, pieces: &[Piece]) {
        for same in pieces.chunk_by(|a, b| a.segment.id() == b.segment.id()) {
            let (from, to) = (same[0].extent, same[same.len() - 1].extent);
            let span = (to.offset + u64::from(to.length)).saturating_sub(from.offset);
            let wanted: u64 = same.iter().map(|piece| u64::from(piece.extent.length)).sum();
            if same.len() > 1
                && wanted < LARGE * same.len() as u64
                && wanted >= span / SPARSE
                && let Ok(file) = self.store.disk.open_to_read(&same[0].segment.name())
            {
                file.will_need(from.offset, span);
            }
        }
    }

    fn is_there(&self, segment: &Segment) -> bool {
        self.store.catalog.lock().segments.contains_key(&segment.id())
    }

    /// The records with at most `max_bytes` of a stream's entries from `from` on, or one that has more.
    fn plan(&self, stream: u64, from: u64, max_bytes: u64) -> Result<Vec<Piece>, NoPlan> {
        let mut extents: Vec<(Arc<Segment>, Extent)> = Vec::new();
        let mut sealed: Vec<IndexedSegment> = Vec::new();
        // From here on entries may be missing among `extents`.
        let mut behind: Option<u64> = None;
        let settled;
        {
            let catalog = self.store.catalog.lock();
            settled = catalog.streams.settled(stream);
            for segment in catalog.segments.values() {
                let index = match &segment.index {
                    Index::Open(index) => index,
                    Index::Closed(ClosedIndex::Unsealed(index, _)) => index,
                    Index::Closed(ClosedIndex::Sealed(_)) => {
                        sealed.extend(IndexedSegment::new(&self.store.disk, segment));
                        continue;
                    }
                };
                let mut bytes = 0;
                for extent in index.extents(stream, from) {
                    // In the log they are in order, so that not all have to be looked at.
                    if segment.segment.is_log() && bytes >= max_bytes {
                        behind = Some(behind.map_or(extent.first, |behind| behind.min(extent.first)));
                        break;
                    }
                    bytes += extent.framed();
                    extents.push((segment.segment.clone(), extent));
                }
            }
        }
        let mut rows: Vec<(Row, &IndexedSegment)> = Vec::new();
        for segment in &sealed {
            let row = segment.row(stream).map_err(|unreadable| self.no_plan(unreadable))?;
            rows.extend(row.filter(|row| row.end > from).map(|row| (row, segment)));
        }
        rows.sort_by_key(|(row, ..)| row.first);
        for (row, segment) in rows {
            if behind.is_some_and(|behind| row.first >= behind) {
                break;
            }
            let found = segment.extents(&row, from, max_bytes);
            let (found, all) = found.map_err(|unreadable| self.no_plan(unreadable))?;
            let end = found.last().map_or(from, Extent::end);
            extents.extend(found.into_iter().map(|extent| (segment.segment.clone(), extent)));
            let so_far: u64 = extents.iter().map(|(_, extent)| extent.framed()).sum();
            if !all || so_far >= max_bytes {
                behind = Some(behind.map_or(end, |behind| behind.min(end)));
            }
        }
        let (mut bytes, mut pieces) = (0, choose(extents, from, &settled));
        let enough = |piece: &Piece| {
            let unknown = behind.is_some_and(|behind| piece.from >= behind);
            let before = bytes;
            bytes += piece.extent.framed();
            unknown || (before > 0 && bytes > max_bytes)
        };
        let count = pieces.iter().position(enough).unwrap_or(pieces.len());
        pieces.truncate(count);
        match behind {
            Some(behind) if pieces.is_empty() && behind > from => Err(NoPlan::Settled(behind)),
            _ => Ok(pieces),
        }
    }

    /// Why a segment that can't be read keeps from making a plan.
    fn no_plan(&self, Unreadable { segment, error }: Unreadable) -> NoPlan {
        let failed = |source| NoPlan::Failed(read_error(&segment, source));
        match error.kind() {
            io::ErrorKind::NotFound if !self.is_there(&segment) => NoPlan::Changed,
            _ if is_damage(&error) => {
                self.repairs.make_index_again(&segment).map_or_else(failed, |()| NoPlan::Changed)
            }
            _ => failed(error),
        }
    }
}

/// Why it can't be said where the entries of a stream are.
enum NoPlan {
    /// A segment was freed meanwhile, and its entries may be somewhere else now; or its index was damaged and is made
    /// again.
    Changed,
    /// All that was looked at is settled: up to this number.
    Settled(u64),
    Failed(ReadError),
}

fn read_error(segment: &Segment, source: io::Error) -> ReadError {
    ReadError { segment: segment.name(), source }
}
