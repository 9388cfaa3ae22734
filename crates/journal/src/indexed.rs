//! Segments to which no more entries are written, by their indexes: one of them, and many at once, stream by stream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::disk::{BLOCK, Disk, DiskFile};
use super::index::{ClosedIndex, ROWS_PER_BLOCK, RowBlock, Rows, read_extents};
use super::row::{Extent, IndexRow, ROW};
use super::segments::{Segment, SegmentState};
use super::store::Store;
use super::types::ReadError;

/// Rows that are read of a segment at a time.
const AT_ONCE: usize = 1024;

/// A segment, with the index that it had when it was asked for. A reader may find that one damaged meanwhile and have it made
/// again; and the segment may be freed.
#[derive(Clone, Debug)]
pub(super) struct IndexedSegment {
    pub(super) segment: Arc<Segment>,
    index: Arc<ClosedIndex>,
    disk: Arc<dyn Disk>,
    /// Its file, if that has another name than it should.
    name: Option<String>,
    /// `None` if it is open only while it is read.
    file: Option<Arc<dyn DiskFile>>,
}

/// A segment that can't be read.
#[derive(Debug, Error)]
#[error("segment `{}` of the journal can't be read: {error}", segment.name())]
pub(super) struct UnreadableSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) error: io::Error,
}

impl From<UnreadableSegment> for ReadError {
    fn from(unreadable: UnreadableSegment) -> Self {
        Self { segment: unreadable.segment.name(), source: unreadable.error }
    }
}

impl From<UnreadableSegment> for io::Error {
    fn from(unreadable: UnreadableSegment) -> Self {
        unreadable.error
    }
}

impl IndexedSegment {
    /// A segment as the catalog has it; `None` if it is being written.
    pub(super) fn new(disk: &Arc<dyn Disk>, state: &SegmentState) -> Option<Self> {
        let (disk, segment, index) = (disk.clone(), state.segment.clone(), state.closed()?.clone());
        Some(Self { segment, index, disk, name: None, file: None })
    }

    /// The segment of that number, if there is one that is not being written.
    pub(super) fn of(store: &Store, id: u64) -> Option<Self> {
        Self::new(&store.disk, store.catalog.lock().segments.get(&id)?)
    }

    /// A segment that was found before there is a catalog.
    pub(super) fn found(
        disk: &Arc<dyn Disk>,
        segment: &Arc<Segment>,
        index: &Arc<ClosedIndex>,
        name: &str,
    ) -> Self {
        let (disk, segment, index) = (disk.clone(), segment.clone(), index.clone());
        Self { segment, index, disk, name: Some(name.to_owned()), file: None }
    }

    /// Opens the file, and keeps it open: so it can be read also when it is removed meanwhile.
    pub(super) fn keep_open(&mut self) -> Result<(), UnreadableSegment> {
        self.file = Some(self.file()?);
        Ok(())
    }

    /// Has the system read all of its records ahead.
    pub(super) fn read_ahead(&self) -> Result<(), UnreadableSegment> {
        self.file()?.will_need(0, self.index.trailer.end);
        Ok(())
    }

    /// Its file, to be read.
    pub(super) fn file(&self) -> Result<Arc<dyn DiskFile>, UnreadableSegment> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let opened = match &self.name {
            Some(name) => self.disk.open_to_read(name),
            None => self.disk.open_to_read(&self.segment.name()),
        };
        opened.map_err(|error| self.unreadable(error))
    }

    /// The error of a read of it.
    pub(super) fn unreadable(&self, error: io::Error) -> UnreadableSegment {
        UnreadableSegment { segment: self.segment.clone(), error }
    }

    /// At most `count` rows, sorted by stream, from the `from`th on. [`io::ErrorKind::InvalidData`] if the index is damaged.
    fn rows(&self, from: usize, count: usize) -> Result<Vec<IndexRow>, UnreadableSegment> {
        match &self.index.rows {
            Rows::InMemory(rows) => Ok(rows.iter().skip(from).take(count).copied().collect()),
            Rows::OnDisk(blocks) => {
                let file = self.file()?;
                self.read_rows(&*file, blocks, from, count).map_err(|error| self.unreadable(error))
            }
        }
    }

    /// A row that lied about its stream or its numbers would have live entries freed or settled, so whole blocks are read
    /// and checked.
    fn read_rows(
        &self,
        file: &dyn DiskFile,
        blocks: &[RowBlock],
        from: usize,
        count: usize,
    ) -> io::Result<Vec<IndexRow>> {
        let (trailer, seed) = (&self.index.trailer, self.segment.header.seed());
        let rows = trailer.rows as usize;
        if from >= rows {
            return Ok(Vec::new());
        }
        let (block, skip) = (from / ROWS_PER_BLOCK, from % ROWS_PER_BLOCK);
        let end = from.saturating_add(count).min(rows).next_multiple_of(ROWS_PER_BLOCK).min(rows);
        let mut bytes = vec![0; (end - block * ROWS_PER_BLOCK) * ROW];
        file.read_at(&mut bytes, trailer.rows_at + (block * BLOCK) as u64)?;
        let mut checked = bytes.chunks(BLOCK).zip(&blocks[block..]);
        if checked.any(|(bytes, block)| crc32c::crc32c_append(seed, bytes) != block.crc) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(bytes.chunks_exact(ROW).map(IndexRow::decode).skip(skip).take(count).collect())
    }

    /// Calls `each` for all rows, some at a time; how many there are.
    pub(super) fn for_each_rows(&self, mut each: impl FnMut(&[IndexRow])) -> Result<u64, UnreadableSegment> {
        let mut from = 0;
        loop {
            let rows = self.rows(from, AT_ONCE)?;
            if rows.is_empty() {
                return Ok(from as u64);
            }
            each(&rows);
            from += rows.len();
        }
    }

    /// The row of one stream. [`io::ErrorKind::InvalidData`] if the index is damaged.
    pub(super) fn row(&self, stream: u64) -> Result<Option<IndexRow>, UnreadableSegment> {
        match &self.index.rows {
            Rows::InMemory(rows) => {
                Ok(rows.binary_search_by_key(&stream, |row| row.stream).ok().map(|at| rows[at]))
            }
            Rows::OnDisk(blocks) => {
                let Some(block) = blocks.partition_point(|block| block.first <= stream).checked_sub(1) else {
                    return Ok(None);
                };
                let rows = self.rows(block * ROWS_PER_BLOCK, ROWS_PER_BLOCK)?;
                Ok(rows.into_iter().find(|row| row.stream == stream))
            }
        }
    }

    /// The extents of a row that hold entries from `from` on, in order: at least one if there is any, and no more than it
    /// takes to have `max_bytes` of entries. The second says whether these are all. [`io::ErrorKind::InvalidData`] if the
    /// index is damaged.
    pub(super) fn extents(
        &self,
        row: &IndexRow,
        from: u64,
        max_bytes: u64,
    ) -> Result<(Vec<Extent>, bool), UnreadableSegment> {
        let (header, trailer) = (&self.segment.header, &self.index.trailer);
        let found = if let Some(extents) = &self.index.extents {
            search(row, from, max_bytes, |at, count| Ok(extents[at as usize..(at + count) as usize].to_vec()))
        } else {
            let file = self.file()?;
            search(row, from, max_bytes, |at, count| read_extents(&*file, header, trailer, at, count))
        };
        found.map_err(|error| self.unreadable(error))
    }

    /// All extents of a row that hold entries from `from` on, each with its segment.
    pub(super) fn all_extents(
        &self,
        row: &IndexRow,
        from: u64,
    ) -> Result<Vec<(Arc<Segment>, Extent)>, UnreadableSegment> {
        let (extents, _) = self.extents(row, from, u64::MAX)?;
        Ok(extents.into_iter().map(|extent| (self.segment.clone(), extent)).collect())
    }
}

/// See [`IndexedSegment::extents`]; `read` returns so many extents of the segment from one on.
fn search(
    row: &IndexRow,
    from: u64,
    max_bytes: u64,
    read: impl Fn(u64, u64) -> io::Result<Vec<Extent>>,
) -> io::Result<(Vec<Extent>, bool)> {
    const AT_ONCE: u64 = 512;
    let mut low = u64::from(row.extents_from);
    let end = low + u64::from(row.extents);
    let mut high = end;
    while high - low > AT_ONCE {
        let middle = low.midpoint(high);
        // Extents that overlap would need more than a search by their ends; a segment has none.
        if read(middle, 1)?.iter().all(|extent| extent.end() > from) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let (mut found, mut bytes) = (Vec::new(), 0);
    while low < end {
        let count = AT_ONCE.min(end - low);
        for extent in read(low, count)?.into_iter().filter(|extent| extent.end() > from) {
            if bytes >= max_bytes && !found.is_empty() {
                return Ok((found, false));
            }
            bytes += extent.framed();
            found.push(extent);
        }
        low += count;
    }
    Ok((found, true))
}

/// The rows that a stream has in some segments.
pub(super) type RowsOf<'a> = Vec<(&'a IndexedSegment, IndexRow)>;

/// The rows of many segments, those of one stream together, in the order of streams.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    segments: &'a [IndexedSegment],
    /// For each segment the rows that are read and not given out, and how many were read.
    rows: Vec<(VecDeque<IndexRow>, usize)>,
    /// The stream that is next in each segment.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Merge<'a> {
    pub(super) fn of(segments: &'a [IndexedSegment]) -> Result<Self, UnreadableSegment> {
        let rows = segments.iter().map(|_| (VecDeque::new(), 0)).collect();
        let mut merge = Self { segments, rows, next: BinaryHeap::new() };
        for at in 0..segments.len() {
            merge.look_ahead(at)?;
        }
        Ok(merge)
    }

    fn look_ahead(&mut self, at: usize) -> Result<(), UnreadableSegment> {
        let (rows, read) = &mut self.rows[at];
        if rows.is_empty() {
            rows.extend(self.segments[at].rows(*read, AT_ONCE)?);
            *read += rows.len();
        }
        self.next.extend(rows.front().map(|row| Reverse((row.stream, at))));
        Ok(())
    }

    /// The next stream, and its row in each segment that has one.
    pub(super) fn next(&mut self) -> Result<Option<(u64, RowsOf<'a>)>, UnreadableSegment> {
        let Some(Reverse((stream, _))) = self.next.peek().copied() else { return Ok(None) };
        let mut found = Vec::new();
        while let Some(Reverse((_, at))) =
            self.next.peek().copied().filter(|Reverse((next, _))| *next == stream)
        {
            self.next.pop();
            found.extend(self.rows[at].0.pop_front().map(|row| (&self.segments[at], row)));
            self.look_ahead(at)?;
        }
        Ok(Some((stream, found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{FileHeader, Purpose};
    use crate::index::OpenIndex;
    use crate::simulation::SimulatedDisk;

    #[test]
    fn rows_that_are_left_on_disk_are_checked_when_they_are_read() {
        const ROWS: usize = 3 * ROWS_PER_BLOCK / 2;
        let extent = Extent { offset: 4096, length: 10, entries: 2, first: 7, records: 3 };
        let header = FileHeader { purpose: Purpose::Log, id: 1, salt: 2 };
        let mut open = OpenIndex::default();
        for stream in 0..ROWS as u64 {
            open.set_key(2 * stream, 8);
            open.add(2 * stream, extent);
        }
        let (bytes, sealed) = open.close(8192, None).seal(&header, 0).unwrap();
        let Rows::InMemory(rows) = &sealed.rows else { panic!("{:?}", sealed.rows) };
        let index = Arc::new(sealed.without_rows(&header).unwrap());
        let simulated = SimulatedDisk::new(1);
        simulated.put("index", bytes);
        let disk = simulated.process();
        let indexed = IndexedSegment::found(&disk, &Segment::new(header), &index, "index");
        let read = |from, count| indexed.rows(from, count).unwrap();
        assert_eq!(read(0, usize::MAX), *rows);
        assert_eq!(read(10, 3), rows[10..13]);
        assert_eq!(read(60, 10), rows[60..70]);
        assert_eq!((read(ROWS, 1), read(1000, 1)), (vec![], vec![]));
        for stream in 0..2 * ROWS as u64 + 2 {
            let there = rows.iter().find(|row| row.stream == stream);
            assert_eq!(indexed.row(stream).unwrap(), there.copied());
        }
        // In the first row of the second block; the first one is as it was.
        for byte in 0..ROW {
            let at = (index.trailer.rows_at as usize + BLOCK + byte) * 8 + byte % 8;
            simulated.flip("index", at);
            let damaged = |read: Result<(), UnreadableSegment>| {
                assert_eq!(read.unwrap_err().error.kind(), io::ErrorKind::InvalidData);
            };
            damaged(indexed.row(2 * ROWS as u64 - 2).map(drop));
            damaged(indexed.rows(0, usize::MAX).map(drop));
            damaged(indexed.rows(ROWS - 1, 1).map(drop));
            damaged(indexed.for_each_rows(|_| ()).map(drop));
            assert_eq!(read(0, ROWS_PER_BLOCK), rows[..ROWS_PER_BLOCK]);
            simulated.flip("index", at);
        }
    }
}
