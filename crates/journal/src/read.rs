//! Reading a backlog: which records have the entries that are asked for, and those entries in large reads.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::chunks::Batches;
use super::disk::is_lost;
use super::index::{Extent, Row, SealedIndex, is_damage};
use super::number_set::NumberSet;
use super::run::{Got, LARGE, LastOpen, Piece, read_run, runs};
use super::shared::Shared;
use super::state::{Index, Segment};
use super::survey::read_again;
use super::types::{Chunk, ReadError, StreamId};

/// A stream with less than one part in so many of what lies between its records has them read one by one.
const SPARSE: u64 = 32;

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

impl Shared {
    /// See [`super::Journal::read_batches`].
    pub(super) fn read_batches(
        &self,
        stream: StreamId,
        numbers: Range<u64>,
        max_bytes: usize,
        batches: usize,
    ) -> Result<VecDeque<Vec<Chunk>>, ReadError> {
        let Some(number) = self.state.lock().streams.number(stream) else { return Ok(VecDeque::new()) };
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
            self.look_ahead(&pieces);
            let mut open = LastOpen::default();
            for run in runs(&pieces) {
                let segment = &run[0].segment;
                let got = match open.file(&*self.disk, run) {
                    Ok(file) => {
                        read_run(&**file, &self.buffers, run).map_err(|source| read_error(segment, source))?
                    }
                    // It was freed since the plan was made: what was in it is settled, or carried elsewhere.
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
                            // What is damaged is settled: not if it is another journal's.
                            self.is_in_place().map_err(|source| read_error(segment, source))?;
                            from = piece.end;
                            self.quarantine(&piece.segment, &piece.extent);
                            self.state.lock().streams.settle(stream, &(piece.from..=from - 1));
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
        let mut state = self.state.lock();
        let mut next = from;
        for piece in pieces {
            if piece.from > next {
                state.streams.settle(stream, &(next..=piece.from - 1));
            }
            next = piece.extent.end();
        }
    }

    /// Has the system read what will be needed of each segment in one go, if it is in small pieces, and not little among
    /// much else.
    fn look_ahead(&self, pieces: &[Piece]) {
        for same in pieces.chunk_by(|a, b| a.segment.id() == b.segment.id()) {
            let (from, to) = (same[0].extent, same[same.len() - 1].extent);
            let span = (to.offset + u64::from(to.length)).saturating_sub(from.offset);
            let wanted: u64 = same.iter().map(|piece| u64::from(piece.extent.length)).sum();
            if same.len() > 1
                && wanted < LARGE * same.len() as u64
                && wanted >= span / SPARSE
                && let Ok(file) = self.disk.open_to_read(&same[0].segment.name())
            {
                file.will_need(from.offset, span);
            }
        }
    }

    /// Takes a segment's index from its records, because what is on disk is damaged. If they can't be read either, that is
    /// not tried again: it takes reading the whole segment, and each of its streams would do so each second.
    pub(super) fn make_index_again(&self, segment: &Segment) -> io::Result<()> {
        let found = self
            .state
            .lock()
            .segments
            .get(&segment.id())
            .and_then(|state| Some((state.length(), state.end()?, state.unreadable)));
        let Some((length, end, unreadable)) = found else { return Ok(()) };
        if unreadable {
            return Err(io::Error::other("neither its index nor its records can be read"));
        }
        self.is_in_place()?;
        let found = read_again(&*self.disk, segment, length, end);
        let mut state = self.state.lock();
        let Some(known) = state.segments.get_mut(segment.id()) else { return Ok(()) };
        let corrupt = match found {
            Ok((index, corrupt)) => {
                known.index = Index::Closed(Arc::new(index), end);
                corrupt
            }
            Err(error) => {
                known.unreadable = is_lost(&error);
                return Err(error);
            }
        };
        drop(state);
        // The new index doesn't have it, so nobody else would meet it.
        for range in &corrupt {
            self.quarantine_range(segment, range);
        }
        Ok(())
    }

    fn is_there(&self, segment: &Segment) -> bool {
        self.state.lock().segments.contains_key(&segment.id())
    }

    /// The records with at most `max_bytes` of a stream's entries from `from` on, or one that has more.
    fn plan(&self, stream: u64, from: u64, max_bytes: u64) -> Result<Vec<Piece>, NoPlan> {
        let mut extents: Vec<(Arc<Segment>, Extent)> = Vec::new();
        let mut sealed: Vec<(Arc<Segment>, Arc<SealedIndex>)> = Vec::new();
        // From here on entries may be missing among `extents`.
        let mut behind: Option<u64> = None;
        let settled;
        {
            let state = self.state.lock();
            settled = state.streams.settled(stream);
            for segment in state.segments.values() {
                let index = match &segment.index {
                    Index::Open(index) => index,
                    Index::Closed(index, _) => index,
                    Index::Sealed(index) => {
                        sealed.push((segment.segment.clone(), index.clone()));
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
        let mut rows: Vec<(Row, Arc<Segment>, Arc<SealedIndex>)> = Vec::new();
        for (segment, index) in sealed {
            let row = index.row(|| self.disk.open_to_read(&segment.name()), stream);
            let row = row.map_err(|source| NoPlan::of(self, &segment, source))?;
            rows.extend(row.filter(|row| row.end > from).map(|row| (row, segment, index)));
        }
        rows.sort_by_key(|(row, ..)| row.first);
        for (row, segment, index) in rows {
            if behind.is_some_and(|behind| row.first >= behind) {
                break;
            }
            let found = self.disk.open_to_read(&segment.name());
            let found = found.and_then(|file| index.extents(&*file, &row, from, max_bytes));
            let (found, all) = found.map_err(|source| NoPlan::of(self, &segment, source))?;
            let end = found.last().map_or(from, Extent::end);
            extents.extend(found.into_iter().map(|extent| (segment.clone(), extent)));
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

impl NoPlan {
    fn of(shared: &Shared, segment: &Segment, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound if !shared.is_there(segment) => Self::Changed,
            _ if is_damage(&source) => match shared.make_index_again(segment) {
                Ok(()) => Self::Changed,
                Err(source) => Self::Failed(read_error(segment, source)),
            },
            _ => Self::Failed(read_error(segment, source)),
        }
    }
}

pub(super) fn read_error(segment: &Segment, source: io::Error) -> ReadError {
    ReadError { segment: segment.name(), source }
}
