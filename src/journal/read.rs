//! Reading a backlog: which records have the entries that are asked for, and those entries in large reads.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::DiskFile;
use super::format::u32_at;
use super::index::{Extent, Row, SealedIndex};
use super::record::{Found, HEADER, Record, counts_len};
use super::shared::Shared;
use super::state::{Index, Segment};
use super::survey::read_again;
use super::types::{Chunk, ReadError, StreamId};
use crate::otlp;

/// Records that are so near to each other are read at once, what is between them included.
const GAP: u64 = 16 << 10;

/// One read is no larger, if it has more than one record.
const RUN: u64 = 1 << 20;

/// A stream with less than one part in so many of what lies between its records has them read one by one.
const SPARSE: u64 = 32;

/// Entries of smaller records are copied together, so that a batch is made of few chunks, and no chunk keeps a read
/// alive that was much larger.
const SMALL: usize = 32 << 10;

/// A record to be read, and the first of its entries that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) segment: Arc<Segment>,
    pub(super) extent: Extent,
    pub(super) from: u64,
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

/// What became of a piece.
#[derive(Debug)]
pub(super) enum Got {
    Entries(Entries),
    /// The record is not what was written.
    Corrupt,
}

/// Chooses from extents of a stream, in any order and possibly of two copies of an entry, those to be read from `from`
/// on: in order, without the second copies.
pub(super) fn choose(mut extents: Vec<(Arc<Segment>, Extent)>, from: u64) -> Vec<Piece> {
    // Of two copies that begin alike, the longer: it says as much with one read.
    extents.sort_by_key(|(_, extent)| (extent.first, std::cmp::Reverse(extent.entries)));
    let (mut next, mut chosen) = (from, Vec::new());
    for (segment, extent) in extents {
        if extent.end() > next {
            let from = next.max(extent.first);
            next = extent.end();
            chosen.push(Piece { segment, extent, from });
        }
    }
    chosen
}

impl Shared {
    /// See [`super::Journal::read`].
    pub(super) fn read(
        &self,
        stream: StreamId,
        numbers: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>, ReadError> {
        let mut from = numbers.start;
        loop {
            let mut pieces = match self.plan(stream.0, from, max_bytes as u64) {
                Ok(pieces) => pieces,
                Err(NoPlan::Changed) => continue,
                Err(NoPlan::Failed(error)) => return Err(error),
            };
            // Records of one request each, or of many that were appended long ago: the end never falls into one.
            pieces.truncate(pieces.partition_point(|piece| piece.from < numbers.end));
            if pieces.is_empty() {
                return Ok(Vec::new());
            }
            self.settle_gaps(stream, from, &pieces);
            let mut chunks = Chunks::default();
            self.look_ahead(&pieces);
            for run in runs(&pieces) {
                let segment = &run[0].segment;
                let got = match self.disk.open_to_read(&segment.name()) {
                    Ok(file) => read_run(&*file, run).map_err(|source| read_error(segment, source))?,
                    // It was freed since the plan was made: what was in it is settled, or carried elsewhere.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_there(segment) => break,
                    Err(source) => return Err(read_error(segment, source)),
                };
                for (piece, got) in run.iter().zip(got) {
                    from = piece.extent.end();
                    match got {
                        Got::Entries(entries) => chunks.push(&entries),
                        Got::Corrupt => {
                            self.quarantine(&piece.segment, &piece.extent);
                            self.state.lock().streams.settle(stream, &(piece.from..=from - 1));
                        }
                    }
                }
            }
            let chunks = chunks.end();
            if !chunks.is_empty() {
                return Ok(chunks);
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

    /// Has the system read what will be needed of each segment in one go, unless it is little among much else.
    fn look_ahead(&self, pieces: &[Piece]) {
        for same in pieces.chunk_by(|a, b| a.segment.id() == b.segment.id()) {
            let (from, to) = (same[0].extent, same[same.len() - 1].extent);
            let span = (to.offset + u64::from(to.length)).saturating_sub(from.offset);
            let wanted: u64 = same.iter().map(|piece| u64::from(piece.extent.length)).sum();
            if same.len() > 1
                && wanted >= span / SPARSE
                && let Ok(file) = self.disk.open_to_read(&same[0].segment.name())
            {
                file.will_need(from.offset, span);
            }
        }
    }

    /// Takes a segment's index from its records, because what is on disk is damaged.
    fn make_index_again(&self, segment: &Segment) -> io::Result<()> {
        let found = self
            .state
            .lock()
            .segments
            .get(&segment.id())
            .and_then(|state| Some((state.length, state.end()?)));
        let Some((length, end)) = found else { return Ok(()) };
        let index = read_again(&*self.disk, segment, length, end)?;
        if let Some(state) = self.state.lock().segments.get_mut(&segment.id()) {
            state.index = Index::Closed(Arc::new(index), end);
        }
        Ok(())
    }

    fn is_there(&self, segment: &Segment) -> bool {
        self.state.lock().segments.contains_key(&segment.id())
    }

    /// The records with about `max_bytes` of a stream's entries from `from` on.
    fn plan(&self, stream: u32, from: u64, max_bytes: u64) -> Result<Vec<Piece>, NoPlan> {
        let mut extents: Vec<(Arc<Segment>, Extent)> = Vec::new();
        let mut sealed: Vec<(Arc<Segment>, Arc<SealedIndex>)> = Vec::new();
        // From here on entries may be missing among `extents`.
        let mut behind: Option<u64> = None;
        {
            let state = self.state.lock();
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
        let (mut bytes, mut pieces) = (0, choose(extents, from));
        let enough = |piece: &Piece| {
            let unknown = behind.is_some_and(|behind| piece.from >= behind);
            let enough = bytes >= max_bytes || unknown;
            bytes += piece.extent.framed();
            enough
        };
        let count = pieces.iter().position(enough).unwrap_or(pieces.len());
        pieces.truncate(count);
        Ok(pieces)
    }
}

/// Why it can't be said where the entries of a stream are.
enum NoPlan {
    /// A segment was freed meanwhile, and its entries may be somewhere else now; or its index was damaged and is made
    /// again.
    Changed,
    Failed(ReadError),
}

impl NoPlan {
    fn of(shared: &Shared, segment: &Segment, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound if !shared.is_there(segment) => Self::Changed,
            io::ErrorKind::InvalidData => match shared.make_index_again(segment) {
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

/// Reads one run and checks its records.
pub(super) fn read_run(file: &dyn DiskFile, run: &[Piece]) -> io::Result<Vec<Got>> {
    let start = run[0].extent.offset;
    let last = run[run.len() - 1].extent;
    let end = last.offset + HEADER as u64 + u64::from(last.length);
    let mut bytes = BytesMut::zeroed((end - start) as usize);
    match file.read_at(&mut bytes, start) {
        // A file that is shorter than its index says is damaged, record by record.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && run.len() > 1 => {
            return run
                .iter()
                .map(|piece| Ok(read_run(file, std::slice::from_ref(piece))?.remove(0)))
                .collect();
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(vec![Got::Corrupt]),
        done => done?,
    }
    let bytes = bytes.freeze();
    Ok(run
        .iter()
        .map(|piece| entries(&bytes.slice((piece.extent.offset - start) as usize..), piece))
        .collect())
}

/// The entries of the record that `bytes` begins with, if it is the one that is looked for.
fn entries(bytes: &Bytes, piece: &Piece) -> Got {
    let Piece { segment, extent, from } = piece;
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
    Got::Entries(Entries {
        first: *from,
        bytes: payload.slice(begin..framed),
        counts: counts[skip..].to_vec(),
    })
}

/// Puts entries together to chunks.
#[derive(Debug, Default)]
struct Chunks {
    done: Vec<Chunk>,
    /// Small records that follow each other.
    small: BytesMut,
    small_first: u64,
    small_entries: u64,
    small_records: u64,
}

impl Chunks {
    fn push(&mut self, entries: &Entries) {
        let Entries { first, bytes, counts } = entries;
        let records = counts.iter().map(|count| u64::from(*count)).sum();
        if bytes.len() >= SMALL {
            self.flush();
            let (bytes, entries) = (bytes.clone(), counts.len() as u64);
            self.done.push(Chunk { first: *first, entries, records, bytes });
            return;
        }
        if self.small_first + self.small_entries != *first || self.small.len() + bytes.len() > 4 * SMALL {
            self.flush();
        }
        if self.small_entries == 0 {
            self.small_first = *first;
        }
        self.small.extend_from_slice(bytes);
        self.small_entries += counts.len() as u64;
        self.small_records += records;
    }

    fn flush(&mut self) {
        if self.small_entries > 0 {
            self.done.push(Chunk {
                first: self.small_first,
                entries: std::mem::take(&mut self.small_entries),
                records: std::mem::take(&mut self.small_records),
                bytes: std::mem::take(&mut self.small).freeze(),
            });
        }
    }

    fn end(mut self) -> Vec<Chunk> {
        self.flush();
        self.done
    }
}
