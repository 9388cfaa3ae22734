//! Walking through the indexes of many segments at once, stream by stream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::index::{Extent, Row};
use super::state::{Index, Segment};

/// Rows that are read of a segment at a time.
const AT_ONCE: usize = 512;

/// A segment, and where its entries are.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    index: Index,
}

impl Source {
    /// A segment whose index doesn't change any more.
    pub(super) fn open(
        disk: &dyn Disk,
        segment: &Arc<Segment>,
        name: &str,
        index: &Index,
    ) -> io::Result<Self> {
        let index = match index {
            Index::Open(_) => return Err(io::Error::other("the segment is still being written")),
            Index::Closed(index, end) => Index::Closed(index.clone(), *end),
            Index::Sealed(index) => Index::Sealed(index.clone()),
        };
        Ok(Self { segment: segment.clone(), file: disk.open_to_read(name)?, index })
    }

    fn rows(&self, from: usize) -> io::Result<Vec<Row>> {
        match &self.index {
            Index::Sealed(index) => index.rows(|| Ok(self.file.clone()), from, AT_ONCE),
            Index::Closed(index, _) if from == 0 => Ok(index.to_rows().collect()),
            Index::Closed(..) | Index::Open(_) => Ok(Vec::new()),
        }
    }

    /// The row of one stream.
    pub(super) fn row(&self, stream: u32) -> io::Result<Option<Row>> {
        match &self.index {
            Index::Sealed(index) => index.row(|| Ok(self.file.clone()), stream),
            Index::Closed(index, _) => Ok(index.to_rows().find(|row| row.stream == stream)),
            Index::Open(_) => Ok(None),
        }
    }

    /// The extents of a row that hold entries from `from` on.
    pub(super) fn extents(&self, row: &Row, from: u64) -> io::Result<Vec<Extent>> {
        match &self.index {
            Index::Sealed(index) => Ok(index.extents(&*self.file, row, from, u64::MAX)?.0),
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
    next: BinaryHeap<Reverse<(u32, usize)>>,
}

impl<'a> Merge<'a> {
    pub(super) fn of(sources: &'a [Source]) -> io::Result<Self> {
        let rows = sources.iter().map(|_| (VecDeque::new(), 0)).collect();
        let mut merge = Self { sources, rows, next: BinaryHeap::new() };
        for at in 0..sources.len() {
            merge.look_ahead(at)?;
        }
        Ok(merge)
    }

    fn look_ahead(&mut self, at: usize) -> io::Result<()> {
        let (rows, read) = &mut self.rows[at];
        if rows.is_empty() {
            rows.extend(self.sources[at].rows(*read)?);
            *read += rows.len();
        }
        self.next.extend(rows.front().map(|row| Reverse((row.stream, at))));
        Ok(())
    }

    /// The next stream, and its row in each source that has one.
    pub(super) fn next(&mut self) -> io::Result<Option<(u32, RowsOf<'a>)>> {
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
