//! Segments to which no more entries are written, by their indexes: one of them, and many at once, stream by stream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::row::{Extent, Row};
use super::segments::{ClosedIndex, Segment, SegmentState};
use super::store::Store;

/// Rows that are read of a segment at a time.
const AT_ONCE: usize = 1024;

/// A segment, with the index that it had when it was asked for. A reader may find that one damaged meanwhile and have it made
/// again; and the segment may be freed.
#[derive(Clone, Debug)]
pub(super) struct IndexedSegment {
    pub(super) segment: Arc<Segment>,
    index: ClosedIndex,
    disk: Arc<dyn Disk>,
    /// Its file, if that has another name than it should.
    name: Option<String>,
    /// `None` if it is open only while it is read.
    file: Option<Arc<dyn DiskFile>>,
}

/// A segment that can't be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) segment: Arc<Segment>,
    pub(super) error: io::Error,
}

impl From<Unreadable> for io::Error {
    fn from(unreadable: Unreadable) -> Self {
        unreadable.error
    }
}

impl IndexedSegment {
    /// A segment as the catalog has it; `None` if it is being written.
    pub(super) fn new(disk: &Arc<dyn Disk>, state: &SegmentState) -> Option<Self> {
        Some(Self::of_index(disk, &state.segment, state.closed()?))
    }

    /// The segment of that number, if there is one that is not being written.
    pub(super) fn of(store: &Store, id: u64) -> Option<Self> {
        Self::new(&store.disk, store.catalog.lock().segments.get(&id)?)
    }

    /// A segment that was found before there is a catalog.
    pub(super) fn found(
        disk: &Arc<dyn Disk>,
        segment: &Arc<Segment>,
        index: &ClosedIndex,
        name: &str,
    ) -> Self {
        Self { name: Some(name.to_owned()), ..Self::of_index(disk, segment, index) }
    }

    fn of_index(disk: &Arc<dyn Disk>, segment: &Arc<Segment>, index: &ClosedIndex) -> Self {
        let (disk, segment, index) = (disk.clone(), segment.clone(), index.clone());
        Self { segment, index, disk, name: None, file: None }
    }

    /// Opens the file, and keeps it open: so it can be read also when it is removed meanwhile.
    pub(super) fn keep_open(&mut self) -> Result<(), Unreadable> {
        self.file = Some(self.file()?);
        Ok(())
    }

    /// Has the system read all of its records ahead.
    pub(super) fn read_ahead(&self) -> Result<(), Unreadable> {
        self.file()?.will_need(0, self.index.end());
        Ok(())
    }

    /// Its file, to be read.
    pub(super) fn file(&self) -> Result<Arc<dyn DiskFile>, Unreadable> {
        self.open().map_err(|error| self.unreadable(error))
    }

    fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        match (&self.file, &self.name) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(name)) => self.disk.open_to_read(name),
            (None, None) => self.disk.open_to_read(&self.segment.name()),
        }
    }

    /// The error of a read of it.
    pub(super) fn unreadable(&self, error: io::Error) -> Unreadable {
        Unreadable { segment: self.segment.clone(), error }
    }

    /// Rows, sorted by stream, from the `from`th on; none if there are no more.
    fn rows(&self, from: usize) -> Result<Vec<Row>, Unreadable> {
        match &self.index {
            ClosedIndex::Sealed(index) => {
                index.rows(|| self.open(), from, AT_ONCE).map_err(|error| self.unreadable(error))
            }
            // They are in memory anyway, and can't be found by their place.
            ClosedIndex::Unsealed(index, _) if from == 0 => Ok(index.to_rows().collect()),
            ClosedIndex::Unsealed(..) => Ok(Vec::new()),
        }
    }

    /// Calls `each` for all rows, some at a time; how many there are.
    pub(super) fn for_each_rows(&self, mut each: impl FnMut(&[Row])) -> Result<u64, Unreadable> {
        let mut from = 0;
        loop {
            let rows = self.rows(from)?;
            if rows.is_empty() {
                return Ok(from as u64);
            }
            rows.chunks(AT_ONCE).for_each(&mut each);
            from += rows.len();
        }
    }

    /// The row of one stream.
    pub(super) fn row(&self, stream: u64) -> Result<Option<Row>, Unreadable> {
        match &self.index {
            ClosedIndex::Sealed(index) => {
                index.row(|| self.open(), stream).map_err(|error| self.unreadable(error))
            }
            ClosedIndex::Unsealed(index, _) => Ok(index.to_rows().find(|row| row.stream == stream)),
        }
    }

    /// The extents of a row that hold entries from `from` on, as far as it takes to have `max_bytes`; and whether these are
    /// all.
    pub(super) fn extents(
        &self,
        row: &Row,
        from: u64,
        max_bytes: u64,
    ) -> Result<(Vec<Extent>, bool), Unreadable> {
        match &self.index {
            ClosedIndex::Sealed(index) => {
                let extents = self.open().and_then(|file| index.extents(&*file, row, from, max_bytes));
                extents.map_err(|error| self.unreadable(error))
            }
            ClosedIndex::Unsealed(index, _) => Ok((index.extents(row.stream, from).collect(), true)),
        }
    }

    /// All extents of a row that hold entries from `from` on, each with its segment.
    pub(super) fn all_extents(
        &self,
        row: &Row,
        from: u64,
    ) -> Result<Vec<(Arc<Segment>, Extent)>, Unreadable> {
        let (extents, _) = self.extents(row, from, u64::MAX)?;
        Ok(extents.into_iter().map(|extent| (self.segment.clone(), extent)).collect())
    }
}

/// The rows that a stream has in some segments.
pub(super) type RowsOf<'a> = Vec<(&'a IndexedSegment, Row)>;

/// The rows of many segments, those of one stream together, in the order of streams.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    segments: &'a [IndexedSegment],
    /// For each segment the rows that are read and not given out, and how many were read.
    rows: Vec<(VecDeque<Row>, usize)>,
    /// The stream that is next in each segment.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Merge<'a> {
    pub(super) fn of(segments: &'a [IndexedSegment]) -> Result<Self, Unreadable> {
        let rows = segments.iter().map(|_| (VecDeque::new(), 0)).collect();
        let mut merge = Self { segments, rows, next: BinaryHeap::new() };
        for at in 0..segments.len() {
            merge.look_ahead(at)?;
        }
        Ok(merge)
    }

    fn look_ahead(&mut self, at: usize) -> Result<(), Unreadable> {
        let (rows, read) = &mut self.rows[at];
        if rows.is_empty() {
            rows.extend(self.segments[at].rows(*read)?);
            *read += rows.len();
        }
        self.next.extend(rows.front().map(|row| Reverse((row.stream, at))));
        Ok(())
    }

    /// The next stream, and its row in each segment that has one.
    pub(super) fn next(&mut self) -> Result<Option<(u64, RowsOf<'a>)>, Unreadable> {
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
