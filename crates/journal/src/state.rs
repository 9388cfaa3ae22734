//! What the journal's threads share: which segments there are, and what is in those that have no index on disk yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::disk::{BLOCK, Identity};
use super::format::{Header, Purpose};
use super::index::{Extent, Row, SealedIndex};
use super::streams::Streams;
use super::types::{Failing, Written};

/// Behind one short lock, which nobody holds while reading or writing.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) streams: Streams,
    pub(super) segments: Segments,
    /// Files to be segments again, and their lengths.
    pub(super) spares: Vec<(String, u64)>,
    /// Streams that had entries in segments whose end is not known to be durable: once for each segment.
    pub(super) leaving: Vec<u64>,
    /// The number of the next segment.
    pub(super) next_segment: u64,
    /// Bytes of the two files of positions.
    pub(super) positions_bytes: u64,
    /// Bytes that are left in the log's open segment.
    pub(super) log_room: u64,
    /// The disk says that it can't write.
    pub(super) failing: Option<Failing>,
    /// The directory is not where it was opened, or a file in it isn't.
    pub(super) displaced: Option<Failing>,
    pub(super) figures: Figures,
}

/// All segments by number, and what their files take together: requests that come ask for it, each of them.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by_id: BTreeMap<u64, SegmentState>,
    bytes: u64,
}

/// Counters for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) written: Written,
    pub(super) carried_bytes: u64,
    pub(super) quarantined: u64,
    pub(super) quarantined_bytes: u64,
    pub(super) commits: u64,
    pub(super) last_commit: Duration,
    pub(super) commit_time: Duration,
    pub(super) syncs: u64,
    pub(super) last_sync: Duration,
    pub(super) sync_time: Duration,
}

impl Figures {
    pub(super) fn count_sync(&mut self, took: Duration) {
        self.syncs += 1;
        self.last_sync = took;
        self.sync_time += took;
    }
}

/// What never changes about a segment. A file is used again only when nobody else has this, so that nobody reads one
/// segment and finds another.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
}

/// What the opening of a segment says: the segment that was written before, and where it ends; and so for others that
/// failed at their first write.
pub(super) type Before = SmallVec<[(u64, u64); 1]>;

/// A segment, and what becomes of it.
#[derive(Debug)]
pub(super) struct SegmentState {
    pub(super) segment: Arc<Segment>,
    /// Its file, if it was made by this process.
    pub(super) identity: Option<Identity>,
    /// Bytes of the file; [`Segments::set_length`] changes it.
    length: u64,
    pub(super) index: Index,
    pub(super) before: Before,
    /// Entries that may be unsettled, and their bytes, as of when it was last looked through.
    pub(super) live_entries: u64,
    pub(super) live_bytes: u64,
    /// Streams with such entries.
    pub(super) live_streams: u64,
    /// How many entries had been settled in all streams then.
    pub(super) looked_at: u64,
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
    /// Nothing more is written to it but its index; it ends at the offset.
    Closed(Arc<OpenIndex>, u64),
    /// The index is on disk.
    Sealed(Arc<SealedIndex>),
}

/// The index of a segment that is being written.
#[derive(Debug, Default)]
pub(super) struct OpenIndex {
    pub(super) rows: BTreeMap<u64, OpenRow>,
    pub(super) extents: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// What it has of one stream.
#[derive(Debug, Default)]
pub(super) struct OpenRow {
    pub(super) key_at: u64,
    /// In the order in which they were written; by sequence number once the segment is closed.
    pub(super) extents: Vec<Extent>,
}

impl Segment {
    pub(super) fn new(header: Header) -> Arc<Self> {
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

impl OpenIndex {
    /// Adds a record with entries; `key_at` is where the stream's key is, once in a segment.
    pub(super) fn add(&mut self, stream: u64, extent: Extent) {
        self.extents += 1;
        self.entries += u64::from(extent.entries);
        self.bytes += extent.framed();
        self.rows.entry(stream).or_default().extents.push(extent);
    }

    /// The extents of a stream that hold entries from `from` on.
    pub(super) fn extents(&self, stream: u64, from: u64) -> impl Iterator<Item = Extent> {
        let row = self.rows.get(&stream);
        row.into_iter().flat_map(|row| &row.extents).filter(move |extent| extent.end() > from).copied()
    }

    /// Brings the extents of every stream into order.
    pub(super) fn sort(&mut self) {
        let all = || self.rows.values().flat_map(|row| &row.extents);
        debug_assert_eq!(self.extents, all().count() as u64);
        debug_assert_eq!(self.entries, all().map(|extent| u64::from(extent.entries)).sum::<u64>());
        debug_assert_eq!(self.bytes, all().map(Extent::framed).sum::<u64>());
        for row in self.rows.values_mut() {
            row.extents.sort_by_key(|extent| extent.first);
        }
    }

    /// Its rows as they will be on disk.
    pub(super) fn to_rows(&self) -> impl Iterator<Item = Row> {
        let filled = self.rows.iter().filter(|(_, row)| !row.extents.is_empty());
        filled.map(|(stream, row)| Row::of(*stream, row.key_at, &row.extents, 0))
    }
}

impl SegmentState {
    /// A segment that is empty, and its file, if this process has made it.
    pub(super) fn empty(segment: Arc<Segment>, identity: Option<Identity>, length: u64) -> Self {
        Self {
            segment,
            identity,
            length,
            index: Index::Open(OpenIndex::default()),
            before: Before::new(),
            live_entries: 0,
            live_bytes: 0,
            live_streams: 0,
            looked_at: 0,
            copied: false,
            index_moved: false,
            unreadable: false,
        }
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where its records end; `None` while it is written.
    pub(super) fn end(&self) -> Option<u64> {
        match &self.index {
            Index::Open(_) => None,
            Index::Closed(_, end) => Some(*end),
            Index::Sealed(index) => Some(index.trailer.end),
        }
    }

    /// Its index on disk.
    pub(super) fn sealed(&self) -> Option<&Arc<SealedIndex>> {
        if let Index::Sealed(index) = &self.index { Some(index) } else { None }
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

impl State {
    /// Bytes of all files.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        let spares: u64 = self.spares.iter().map(|(_, length)| length).sum();
        self.segments.bytes() + spares + self.positions_bytes
    }

    /// The segment that is being written; nobody else ends it.
    pub(super) fn open_index(&mut self, id: u64) -> Option<&mut OpenIndex> {
        match self.segments.get_mut(id).map(|segment| &mut segment.index) {
            Some(Index::Open(index)) => Some(index),
            _ => None,
        }
    }

    /// Notes that no more is written to a segment, which ends at `end`.
    pub(super) fn close(&mut self, id: u64, end: u64) {
        let settled = self.streams.settled;
        let Some(segment) = self.segments.get_mut(id) else { return };
        if let Index::Open(index) = &mut segment.index {
            let mut index = std::mem::take(index);
            index.sort();
            (segment.live_entries, segment.live_bytes) = (index.entries, index.bytes);
            segment.live_streams = index.rows.len() as u64;
            // How much of it has been settled meanwhile is not known: it is due to be looked through.
            segment.looked_at = settled.saturating_sub(index.entries);
            segment.index = Index::Closed(Arc::new(index), end);
        }
    }

    /// Segments that others say come before them, and that are not there any more: as long as this is said, it has to be
    /// known that they were freed.
    pub(super) fn gone(&self) -> BTreeSet<u64> {
        let before = self.segments.values().filter_map(|segment| segment.before.first());
        before.map(|(id, _)| *id).filter(|id| !self.segments.contains_key(id)).collect()
    }

    /// Whether nothing depends on what the opening of a segment says: those it speaks of are gone, or say themselves
    /// where they end.
    pub(super) fn spoken_for(&self, segment: &SegmentState) -> bool {
        let mut before = segment.before.iter().filter_map(|(id, _)| self.segments.get(id));
        before.all(|before| before.sealed().is_some())
    }

    /// Notes that the disk fails.
    pub(super) fn fail(&mut self, why: &str) {
        match &mut self.failing {
            Some(failing) => failing.why = why.into(),
            None => self.failing = Some(Failing { since: SystemTime::now(), why: why.into() }),
        }
    }
}

/// Bytes that a segment has at most, so that 32 bits are enough for every length, place and count in one. It may be longer
/// than `segment_size` for one large request.
pub(super) const LARGEST: u64 = (4 << 30) - BLOCK as u64;

/// Where the records of every segment begin: behind its header.
pub(super) const RECORDS_AT: u64 = BLOCK as u64;
