//! Walking through the indexes of many segments at once, stream by stream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::index::{Extent, Row};
use super::state::{Index, Segment};

/// Files that are kept open when all segments are walked through, of which there may be more than a process may have files.
const KEPT_OPEN: usize = 32;

/// Rows that are read of a segment at a time.
const AT_ONCE: usize = 512;

/// A segment, and where its entries are.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    index: Index,
}

/// A file that is open only while it is read.
#[derive(Debug)]
struct OpenedToRead {
    disk: Arc<dyn Disk>,
    name: String,
}

impl OpenedToRead {
    fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open_to_read(&self.name)
    }

    fn not_to_write() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "the file is opened to be read alone")
    }
}

impl DiskFile for OpenedToRead {
    fn length(&self) -> io::Result<u64> {
        self.open()?.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.open()?.read_at(into, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(Self::not_to_write())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(Self::not_to_write())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(Self::not_to_write())
    }
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

impl Source {
    /// A segment whose index doesn't change any more.
    pub(super) fn open(
        disk: &dyn Disk,
        segment: &Arc<Segment>,
        name: &str,
        index: &Index,
    ) -> Result<Self, Unreadable> {
        let file = disk.open_to_read(name);
        Self::of(segment, index, file)
    }

    /// All segments of a journal, by their files' names. Beyond [`KEPT_OPEN`] of them, files are open only while they are
    /// read.
    pub(super) fn open_all<'a>(
        disk: &Arc<dyn Disk>,
        all: impl Iterator<Item = (&'a Arc<Segment>, String, &'a Index)>,
    ) -> Result<Vec<Self>, Unreadable> {
        let open = |(at, (segment, name, index)): (usize, (&Arc<Segment>, String, &Index))| {
            if at < KEPT_OPEN {
                return Self::open(&**disk, segment, &name, index);
            }
            Self::of(segment, index, Ok(Arc::new(OpenedToRead { disk: disk.clone(), name })))
        };
        all.enumerate().map(open).collect()
    }

    fn of(
        segment: &Arc<Segment>,
        index: &Index,
        file: io::Result<Arc<dyn DiskFile>>,
    ) -> Result<Self, Unreadable> {
        let unreadable = |error| Unreadable { segment: segment.clone(), error };
        let index = match index {
            Index::Open(_) => return Err(unreadable(io::Error::other("the segment is still being written"))),
            Index::Closed(index, end) => Index::Closed(index.clone(), *end),
            Index::Sealed(index) => Index::Sealed(index.clone()),
        };
        Ok(Self { segment: segment.clone(), file: file.map_err(unreadable)?, index })
    }

    /// The error of a read of it.
    pub(super) fn unreadable(&self, error: io::Error) -> Unreadable {
        Unreadable { segment: self.segment.clone(), error }
    }

    fn rows(&self, from: usize) -> Result<Vec<Row>, Unreadable> {
        match &self.index {
            Index::Sealed(index) => {
                index.rows(|| Ok(self.file.clone()), from, AT_ONCE).map_err(|error| self.unreadable(error))
            }
            Index::Closed(index, _) if from == 0 => Ok(index.to_rows().collect()),
            Index::Closed(..) | Index::Open(_) => Ok(Vec::new()),
        }
    }

    /// The row of one stream.
    pub(super) fn row(&self, stream: u64) -> Result<Option<Row>, Unreadable> {
        match &self.index {
            Index::Sealed(index) => {
                index.row(|| Ok(self.file.clone()), stream).map_err(|error| self.unreadable(error))
            }
            Index::Closed(index, _) => Ok(index.to_rows().find(|row| row.stream == stream)),
            Index::Open(_) => Ok(None),
        }
    }

    /// The extents of a row that hold entries from `from` on.
    pub(super) fn extents(&self, row: &Row, from: u64) -> Result<Vec<Extent>, Unreadable> {
        match &self.index {
            Index::Sealed(index) => {
                let found = index.extents(&*self.file, row, from, u64::MAX);
                found.map(|(extents, _)| extents).map_err(|error| self.unreadable(error))
            }
            Index::Closed(index, _) => Ok(index.extents(row.stream, from).collect()),
            Index::Open(_) => Ok(Vec::new()),
        }
    }
}

/// The rows that a stream has in some segments.
pub(super) type RowsOf<'a> = Vec<(&'a Source, Row)>;

/// The rows of all sources, those of one stream together, in the order of streams.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    sources: &'a [Source],
    /// For each source the rows that are read and not given out, and how many were read.
    rows: Vec<(VecDeque<Row>, usize)>,
    /// The stream that is next in each source.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Merge<'a> {
    pub(super) fn of(sources: &'a [Source]) -> Result<Self, Unreadable> {
        let rows = sources.iter().map(|_| (VecDeque::new(), 0)).collect();
        let mut merge = Self { sources, rows, next: BinaryHeap::new() };
        for at in 0..sources.len() {
            merge.look_ahead(at)?;
        }
        Ok(merge)
    }

    fn look_ahead(&mut self, at: usize) -> Result<(), Unreadable> {
        let (rows, read) = &mut self.rows[at];
        if rows.is_empty() {
            rows.extend(self.sources[at].rows(*read)?);
            *read += rows.len();
        }
        self.next.extend(rows.front().map(|row| Reverse((row.stream, at))));
        Ok(())
    }

    /// The next stream, and its row in each source that has one.
    pub(super) fn next(&mut self) -> Result<Option<(u64, RowsOf<'a>)>, Unreadable> {
        let Some(Reverse((stream, _))) = self.next.peek().copied() else { return Ok(None) };
        let mut found = Vec::new();
        while let Some(Reverse((_, at))) =
            self.next.peek().copied().filter(|Reverse((next, _))| *next == stream)
        {
            self.next.pop();
            found.extend(self.rows[at].0.pop_front().map(|row| (&self.sources[at], row)));
            self.look_ahead(at)?;
        }
        Ok(Some((stream, found)))
    }
}
