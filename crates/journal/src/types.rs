//! What goes into the journal, what comes out of it, and what it says about itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Where its files are; made if it is not there.
    pub directory: PathBuf,
    /// Bytes that its files may take on disk, what is quarantined aside.
    pub max_size: u64,
    /// When entries are made safe against a power cut.
    pub sync: SyncPolicy,
    /// Bytes of one segment file. Made smaller if `max_size` would not hold sixteen, or beyond
    /// [`JournalSettings::LARGEST_SEGMENT`].
    pub segment_size: u64,
}

impl JournalSettings {
    /// `max_size` if the configuration says nothing, in bytes.
    pub const MAX_SIZE: u64 = 10 << 30;
    /// `segment_size` if the configuration says nothing, in bytes.
    pub const SEGMENT_SIZE: u64 = 64 << 20;
    /// What `segment_size` may be at most, in bytes: larger files would only be freed later, and written no faster.
    pub const LARGEST_SEGMENT: u64 = 1 << 30;
    /// How long the disk may take to answer. After that it counts as failing, and the requests that wait for it are refused.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// The defaults, in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_size: Self::MAX_SIZE,
            sync: SyncPolicy::Always,
            segment_size: Self::SEGMENT_SIZE,
        }
    }
}

/// When entries are made safe against a power cut. A crash of the process alone loses none that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before a request counts as queued.
    Always,
    /// At this interval; a request counts as queued as soon as it is written.
    Every(Duration),
    /// When the system does it.
    Never,
}

/// The name of a stream: any bytes, which come back as they were given. Clones share their memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<[u8]>);

impl StreamKey {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for StreamKey {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// The handle of a stream, from [`Journal::stream`](super::Journal::stream) until [`Journal::forget`](super::Journal::forget). It is
/// the stream's number if the stream has entries on disk; otherwise a stand-in for the number, which the stream gets with its
/// first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

/// The entries that one request has for one stream.
#[derive(Clone, Debug)]
pub struct StreamEntries {
    /// The stream.
    pub stream: StreamId,
    /// Its entries, in order; at least one.
    pub entries: SmallVec<[JournalEntry; 2]>,
}

/// One entry of a request.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// The encoded message, without the frame that it has in a request.
    pub bytes: Bytes,
    /// Spans, data points or log records in it.
    pub records: u64,
}

/// The sequence numbers that the entries of a request got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedNumbers {
    /// For each group of the request, the sequence number of its first entry; the others follow it.
    pub first: SmallVec<[u64; 4]>,
}

/// Called once, with the result of a request, on the journal's own thread: it must not block.
pub type AppendCallback = Box<dyn FnOnce(Result<AssignedNumbers, NotWritten>) + Send>;

/// Why nothing of a request is in the journal. All reasons but [`NotWritten::TooLarge`] pass: the request should be sent again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotWritten {
    /// `max_size` is used up by what is not delivered yet.
    #[error("the journal is full")]
    Full,
    /// The disk can't be written: it has no room, is read-only, or fails.
    #[error("the journal can't be written: {0}")]
    Disk(Arc<str>),
    /// The request will never fit: it alone is larger than what `max_size` leaves for one request.
    #[error(
        "a request of {size} bytes never fits in this journal: raise `journal.max_size`, or send less at a time"
    )]
    TooLarge {
        /// Bytes of the request on disk.
        size: u64,
    },
    /// The journal has forgotten a stream of the request: its handle was given back.
    #[error("a stream of the request has been forgotten by the journal")]
    Forgotten,
    /// The journal has been closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a backlog can't be read now. Damaged entries are no error: they are put aside, and the next ones are read.
#[derive(Debug, Error)]
#[error("segment `{segment}` of the journal can't be read: {source}")]
pub struct ReadError {
    /// The segment's file.
    pub segment: String,
    /// What the disk says.
    pub source: std::io::Error,
}

/// The backlog and the damage that were found when a journal was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Every stream that has entries which are not settled, by number: in the order in which the streams were made.
    pub streams: Vec<RecoveredStream>,
    /// What was wrong with the files.
    pub damage: Vec<Damage>,
    /// Segments that were read.
    pub segments: u64,
    /// How long it took.
    pub took: Duration,
}

/// The backlog of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredStream {
    /// The handle of the stream.
    pub id: StreamId,
    /// Its name.
    pub key: StreamKey,
    /// The sequence number of its first entry that is not settled.
    pub first: u64,
    /// The sequence number of its last entry. Between the two some may be missing, if there was damage.
    pub last: u64,
    /// Entries there are.
    pub entries: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, frames included.
    pub bytes: u64,
}

/// Damage to the files of a journal, and how it is dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The last write before a crash did not end. What it held had not been acknowledged (under `sync: always`).
    #[error("`{file}` ends in {bytes} bytes of an unfinished write at offset {offset}; they are cut off")]
    Torn {
        /// The segment.
        file: String,
        /// Where the unfinished write begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// A part of a segment does not hold what was written there. A copy is kept below `quarantine/`.
    #[error(
        "`{file}` is corrupt at offset {offset}, {bytes} bytes; Sluice keeps a copy below `quarantine/` when it reads it"
    )]
    Corrupt {
        /// The segment.
        file: String,
        /// Where the part begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// The file is no segment, or the copy of one. It is moved below `quarantine/` as a whole.
    #[error("`{file}` {reason}; Sluice keeps it below `quarantine/` when it starts")]
    Unusable {
        /// The file.
        file: String,
        /// Why it is no segment.
        reason: String,
    },
    /// The file has no content. It is removed.
    #[error("`{file}` is empty; it is removed")]
    Empty {
        /// The segment.
        file: String,
    },
    /// A segment that other segments speak of is not there. What was in it is lost.
    #[error("`{file}` is missing; what it held is lost")]
    Missing {
        /// The segment.
        file: String,
    },
    /// The index of a segment can't be read. It is made again from the records.
    #[error("the index of `{file}` is corrupt; it is made again from the records")]
    Index {
        /// The segment.
        file: String,
    },
    /// The positions are lost: everything in the segments counts as not settled and is sent again.
    #[error("the positions are lost; everything that is still on disk is sent again")]
    PositionsLost,
    /// Part of the positions is lost: what was settled last is sent again.
    #[error("`{file}` is corrupt; what was settled last may be sent again")]
    Positions {
        /// The file.
        file: String,
    },
}

/// The state of a journal, for metrics and the API.
#[derive(Clone, Debug, Default)]
pub struct JournalState {
    /// Bytes of all files, those that are kept for later included; what is quarantined aside.
    pub bytes_on_disk: u64,
    /// The `max_size` they may take.
    pub max_size: u64,
    /// Bytes of entries that may be unsettled. Segments are looked through from time to time, so this runs behind.
    pub live_bytes: u64,
    /// Segments that hold entries.
    pub segments: u64,
    /// Files that are kept to be segments again.
    pub spare_segments: u64,
    /// Streams that the journal knows.
    pub streams: u64,
    /// Requests that wait to be written.
    pub waiting: u64,
    /// Requests, entries and bytes (with frames) that were written since the start.
    pub written: WriteTotals,
    /// Entries that were settled since the start.
    pub settled_entries: u64,
    /// Bytes of entries that compaction has copied since the start.
    pub carried_bytes: u64,
    /// Corrupt places that were put aside since the start, and the bytes of them.
    pub quarantined: u64,
    /// Bytes of them.
    pub quarantined_bytes: u64,
    /// Since when and why nothing can be written; `None` while the journal can be written.
    pub failing: Option<Failing>,
    /// Writes to disk, each one group of requests.
    pub commits: u64,
    /// How long the last one took, the sync included.
    pub last_commit: Duration,
    /// How long all of them took.
    pub commit_time: Duration,
    /// Syncs of the log.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync: Duration,
    /// How long all of them took.
    pub sync_time: Duration,
}

/// Totals of what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteTotals {
    /// Requests.
    pub requests: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of entries under their frames.
    pub bytes: u64,
}

/// Requests of which nobody can say whether they are on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Requests.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
}

/// Since when and why a journal can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// When it began.
    pub since: SystemTime,
    /// The last error of the disk, or what it was asked and does not answer.
    pub why: Arc<str>,
}

/// Why a journal can't be opened. Nothing in the directory was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("journal `{directory}` is in use by another process: give each one a directory of its own")]
    InUse {
        /// The directory.
        directory: String,
    },
    /// A file was written by a Sluice that has another version of the format.
    #[error(
        "`{file}` has version {version} of the journal's format, and this Sluice knows only {known}: {advice}"
    )]
    OtherVersion {
        /// The file.
        file: String,
        /// The version in it.
        version: u32,
        /// The only version known here.
        known: u32,
        /// What to do, in words.
        advice: String,
    },
    /// The disk fails.
    #[error("journal `{directory}` can't be opened: {source}")]
    Io {
        /// The directory.
        directory: String,
        /// What the disk says.
        source: std::io::Error,
    },
}
