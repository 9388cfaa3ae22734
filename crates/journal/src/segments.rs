//! The segments of a journal: their files' names, what is in each, and what is known of how much of that is live.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::disk::Identity;
use super::format::{FileHeader, Purpose};
use super::index::{ClosedIndex, EntryTotals, OpenIndex};

/// All segments by number, and what their files take together, which each request that comes asks for.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by_id: BTreeMap<u64, SegmentState>,
    bytes: u64,
}

/// What never changes about a segment. A file is used again only when nobody else has this, so that nobody reads one
/// segment and finds another.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: FileHeader,
}

/// What the opening of a segment says of its predecessors: the number of the segment that its writer wrote before, and where
/// that one ends; behind it the same of segments whose first write failed.
pub(super) type Predecessors = SmallVec<[(u64, u64); 1]>;

/// A segment, and what becomes of it.
#[derive(Debug)]
pub(super) struct SegmentState {
    pub(super) segment: Arc<Segment>,
    /// Its file, if it was made by this process.
    pub(super) identity: Option<Identity>,
    /// Bytes of the file; [`Segments::set_length`] changes it.
    length: u64,
    pub(super) index: Index,
    pub(super) predecessors: Predecessors,
    /// What may be unsettled in it, as of when that was last counted.
    pub(super) live: EntryTotals,
    /// How many entries had been settled in all streams then.
    pub(super) counted_at: u64,
    /// Everything live in it stands in another segment as well, durably: it only has to be freed.
    pub(super) copied: bool,
    /// There is a place in it that can't be written, so that its index goes behind that.
    pub(super) index_moved: bool,
    /// Its index can't be read, and neither can the records that it would be made of.
    pub(super) unreadable: bool,
}

/// Where a segment's entries are.
#[derive(Debug)]
pub(super) enum Index {
    /// It is being written.
    Open(OpenIndex),
    Closed(Arc<ClosedIndex>),
}

impl Segment {
    pub(super) fn new(header: FileHeader) -> Arc<Self> {
        Arc::new(Self { header })
    }

    pub(super) fn id(&self) -> u64 {
        self.header.id
    }

    /// Its file.
    pub(super) fn name(&self) -> String {
        segment_name(self.header.id)
    }

    pub(super) fn is_log(&self) -> bool {
        self.header.purpose == Purpose::Log
    }
}

const SEGMENT: &str = "segment-";
/// What the names of files begin with that will be segments.
pub(super) const SPARE: &str = "spare-";

/// The file of a segment.
pub(super) fn segment_name(id: u64) -> String {
    format!("{SEGMENT}{id:016x}")
}

/// What a file is called that was this segment, or will be.
pub(super) fn spare_name(id: u64) -> String {
    format!("{SPARE}{id:016x}")
}

/// The segment of a file; `None` if this is not the name of one.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(SEGMENT)?;
    u64::from_str_radix(digits, 16).ok().filter(|id| *name == segment_name(*id))
}

/// The same for a file that is spare.
pub(super) fn spare_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(SPARE)?;
    u64::from_str_radix(digits, 16).ok().filter(|id| *name == spare_name(*id))
}

impl SegmentState {
    /// A segment that is empty, and its file, if this process has made it.
    pub(super) fn empty(segment: Arc<Segment>, identity: Option<Identity>, length: u64) -> Self {
        Self {
            segment,
            identity,
            length,
            index: Index::Open(OpenIndex::default()),
            predecessors: Predecessors::new(),
            live: EntryTotals::default(),
            counted_at: 0,
            copied: false,
            index_moved: false,
            unreadable: false,
        }
    }

    /// A segment that was written by a process before. All in it may be unsettled.
    pub(super) fn recovered(
        segment: Arc<Segment>,
        length: u64,
        predecessors: Predecessors,
        index: Arc<ClosedIndex>,
    ) -> Self {
        let live = index.amount();
        Self { predecessors, live, index: Index::Closed(index), ..Self::empty(segment, None, length) }
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.index, Index::Open(_))
    }

    /// Its index, once no more entries are written to it.
    pub(super) fn closed(&self) -> Option<&Arc<ClosedIndex>> {
        if let Index::Closed(index) = &self.index { Some(index) } else { None }
    }

    /// Its index, once that is on disk.
    pub(super) fn sealed(&self) -> Option<&Arc<ClosedIndex>> {
        self.closed().filter(|index| index.is_sealed())
    }
}

impl Segments {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        debug_assert_eq!(self.bytes, self.values().map(|segment| segment.length).sum::<u64>());
        self.bytes
    }

    /// Adds a segment, whose number no other has.
    pub(super) fn insert(&mut self, id: u64, segment: SegmentState) {
        self.bytes += segment.length;
        let before = self.by_id.insert(id, segment);
        debug_assert!(before.is_none(), "no number is given twice");
    }

    /// Takes a segment out.
    pub(super) fn remove(&mut self, id: u64) -> Option<SegmentState> {
        let segment = self.by_id.remove(&id)?;
        self.bytes -= segment.length;
        Some(segment)
    }

    /// Notes how long a file is now.
    pub(super) fn set_length(&mut self, id: u64, length: u64) {
        if let Some(segment) = self.by_id.get_mut(&id) {
            self.bytes = self.bytes - segment.length + length;
            segment.length = length;
        }
    }

    /// The index of the segment that is being written; nobody but its writer closes it.
    pub(super) fn open_index(&mut self, id: u64) -> Option<&mut OpenIndex> {
        match &mut self.by_id.get_mut(&id)?.index {
            Index::Open(index) => Some(index),
            Index::Closed(_) => None,
        }
    }

    /// Notes that no more entries are written to a segment, whose records end at `end`. How much of it has been settled
    /// meanwhile is not known, so it is due to be counted: `settled` entries are in all streams by now.
    pub(super) fn close(&mut self, id: u64, end: u64, settled: u64) {
        let Some(segment) = self.by_id.get_mut(&id) else { return };
        if let Index::Open(index) = &mut segment.index {
            let index = std::mem::take(index).close(end, segment.predecessors.first().copied());
            segment.live = index.amount();
            segment.counted_at = settled.saturating_sub(segment.live.entries);
            segment.index = Index::Closed(Arc::new(index));
        }
    }

    /// Segments that others name as their predecessors and that are not there any more: as long as they are named, it has to
    /// be known that they were freed.
    pub(super) fn freed_predecessors(&self) -> BTreeSet<u64> {
        let named = self.values().filter_map(|segment| segment.predecessors.first());
        named.map(|(id, _)| *id).filter(|id| !self.contains_key(id)).collect()
    }

    /// Whether nothing depends on what the opening of a segment says: its predecessors are gone, or say themselves where they
    /// end.
    pub(super) fn needs_no_opening(&self, segment: &SegmentState) -> bool {
        let mut there = segment.predecessors.iter().filter_map(|(id, _)| self.get(id));
        there.all(|predecessor| predecessor.sealed().is_some())
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut SegmentState> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut SegmentState> {
        self.by_id.values_mut()
    }
}

impl Deref for Segments {
    type Target = BTreeMap<u64, SegmentState>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}
