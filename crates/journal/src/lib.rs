//! The durable queue on disk: what is in it survives the process, and a power cut.
//!
//! A request is *appended* before its sender is answered; its entries are *settled* when an upstream has taken them, or
//! refused them for good. What is not settled is there after a restart, in order, stream by stream. The journal knows
//! nothing of queues and upstreams: a stream is a [`StreamKey`], an entry is bytes and a number of records.
//!
//! ```
//! use std::sync::mpsc;
//! use sluice_journal::{JournalEntry, StreamEntries, Journal, JournalSettings, StreamKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let settings = || JournalSettings { max_size: 64 << 20, segment_size: 4 << 20, ..JournalSettings::new(directory) };
//! let (journal, _) = Journal::open(settings())?;
//! let stream = journal.stream(&StreamKey::from(b"a".as_slice()));
//! let entry = JournalEntry { bytes: b"entry".as_slice().into(), records: 1 };
//! let (answer, answered) = mpsc::channel();
//! let request = vec![StreamEntries { stream, entries: [entry].into_iter().collect() }];
//! journal.append(request, Box::new(move |result| drop(answer.send(result))));
//! assert_eq!(answered.recv()??.first[0], 0, "the first entry of its stream is number 0, and is on disk");
//! journal.close();
//!
//! let (journal, recovery) = Journal::open(settings())?;
//! let found = &recovery.streams[0];
//! assert_eq!((found.first, found.last, found.records), (0, 0, 1));
//! let chunks = journal.read(found.id, 0..1, 1 << 20)?;
//! journal.settle(found.id, chunks[0].sequences());
//! # Ok(())
//! # }
//! ```
//!
//! # What is asked of it
//!
//! - *Durable before answered*, for many senders at once: all requests that wait are written as one group, with one
//!   `fdatasync`, and are answered in the order in which they stand in the log.
//! - *Cheap*: an entry is copied once, into the buffer that is written, and checksummed there. Writes go past the page
//!   cache, into files whose room was reserved and that are used again and again, so that neither a copy nor the file
//!   system's own journal is paid for each time.
//! - *Readable in large pieces*, long after it was written, and without memory for each entry.
//! - *Never wrong*: damage costs what is damaged and is said; what was refused does not appear; and a full disk refuses.
//!
//! # The files
//!
//! ```text
//! lock                        locked by the process that has the journal
//! segment-0000000000000012    a segment, by its number in hexadecimal
//! spare-000000000000000b      a file that was a segment, and will be one again
//! positions-a, positions-b    what is settled of each stream
//! quarantine/                 copies of what was damaged
//! ```
//!
//! All numbers are little-endian. Every file but `lock` begins with a block of 4 KiB that holds its header twice, at 0 and
//! at 2048, so that one bad sector does not cost the file:
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `sluicejl` |
//! | 8..12 | version: 3. In all versions the first 12 bytes and the checksum stay where they are, so that another one is recognised and refused |
//! | 12..16 | purpose: 1 a segment of the log, 2 a segment that compaction wrote, 3 positions |
//! | 16..24 | number of the segment, or generation of the positions |
//! | 24..32 | salt |
//! | 60..64 | CRC32C of bytes 0..60 |
//!
//! The *seed* of a file is the CRC32C of its salt and number, and all its other checksums begin with it. A file that is
//! used again gets a new salt, so nothing that it held before passes for a record, and neither does anything that a
//! sender puts into an entry.
//!
//! ## Records
//!
//! Behind the first block are records, each at a multiple of 8 bytes. What is written at a time begins and ends at a
//! block, with zeros behind its last record: a write never touches a block that holds something acknowledged, so it
//! can't tear it either.
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | CRC32C of bytes 4..48 |
//! | 4..8 | CRC32C of the payload |
//! | 8..12 | length of the payload |
//! | 12..16 | kind |
//! | 16..24 | number of the stream |
//! | 24..32 | sequence number of the first entry |
//! | 32..40 | records (spans, data points, log records) in all entries |
//! | 40..44 | entries |
//! | 44..48 | zero |
//! | 48.. | payload |
//!
//! | kind | payload |
//! |---|---|
//! | 1 entries | consecutive entries of a stream, each as field 1 of a request; if there are several, behind them 32 bits for each: its number of records |
//! | 2 stream | the stream's key |
//! | 3 opening | the number of the segment that its writer wrote before (64 bits), and where that one ends (64 bits); the same for others whose first write failed |
//! | 4 positions | a stream and its position, 64 bits each, repeated |
//! | 5 freed | numbers of segments that were freed, 64 bits each |
//! | 6 snapshot | see `positions.rs` |
//! | 7 settled | a stream, the first and the number behind the last of a range that is settled above its position, 64 bits each, repeated |
//!
//! The payload of entries is a piece of a request as it is sent: a backlog is read into batches without looking at entries.
//! What the requests of a group have for the same stream stands together, so that there are few records, and large ones.
//! A record takes entries up to 256 KiB (512 KiB when compacted), or one that is larger. Stream numbers hold for the whole
//! journal and are never given twice, though a key may have several; a stream gets its number with its first entry that is
//! written, so that what is refused uses up none. Each segment has the key of each of its streams, once,
//! so it can be read alone, and when one copy is damaged the others do.
//!
//! The two checksums of a record are apart so that a damaged payload does not hide where the next record begins. If the
//! header is damaged, the next record is searched for at every multiple of 8.
//!
//! ## Indexes
//!
//! A segment that is full is *sealed*: its last block becomes a trailer, and in front of that stands an index, see
//! `index.rs`. It is written into room that was left for it, so sealing needs none. If the disk can't write that place, the
//! file grows, once, and the index goes behind it: nothing that is written later can be sealed and freed before.
//!
//! Of each sealed segment memory holds a row for each stream - as long as these are few; of others a number and a checksum
//! for every 64 rows. An index that can't be read, or is not what was written, is made again from the records.
//!
//! # Writing, and what happens if it fails
//!
//! The committer puts all that waits (up to 4 MiB) into one buffer, writes it, syncs, lets readers see it, and answers. A
//! segment that gets full is followed by one that was made ready meanwhile: created, header synced, renamed from `spare-`,
//! directory synced.
//!
//! If a write or a sync fails, nobody knows what is on the disk, now or later. Everything in the group is refused, its
//! sequence numbers go to others, and the segment *ends* where it was before. The next segment's opening says so, in the
//! same write as the first records of that segment; so as soon as a number has been given again, what had it before is
//! void. That segment stays, without index, until the one before it has been sealed. While the disk fails everything is
//! refused at once, and once a second a new segment is tried.
//!
//! # Reading
//!
//! A backlog is read from the index: the records of a stream that have what is asked for, those near each other at once. What
//! is settled already, because it passed something that is stuck, is left out. What is asked for ends where the stream was told
//! that entries are on disk, and that may be inside a record. Two batches can be asked for at once: what stands together is
//! one read for both. Reads of 32 KiB and more go past the page cache, into memory that is used again; smaller ones go
//! through it, as others read what stands beside them.
//!
//! # Settling, freeing, compaction
//!
//! Settling happens in memory, in any order: a stream has a position, below which all is settled, and ranges above it. Every
//! 200 ms the positions that have moved are written and the ranges that have grown, each second they are synced, so a crash
//! brings back what was settled within the last second. A segment is freed when all its entries are settled: first positions
//! and ranges that say so are synced, then the file is renamed to be spare, or removed. If that can't be done it stays a
//! segment, and is tried again. Recovery gives no number again that positions or ranges name, whether its entry is still
//! there or not.
//!
//! Few live entries must not keep a segment, be they of a stream that is stuck among others, or stuck themselves while those
//! behind them are settled. Segments with less than a quarter alive are *compacted*: what is live in them is copied to a
//! segment of the same format and synced, and the sources are freed as above. If there is no room, any segment with a little
//! that is dead will do, and two segments' worth of `max_size` are kept for it. In the same way entries of streams that fell
//! behind, of eight segments at a time and once only, are brought together by stream. A segment that can't be read is left
//! where it is as long as the process runs, and keeps no other from being compacted.
//!
//! An entry that stands in two segments is one entry: it has the same stream and number. So a crash in the middle of
//! compaction leaves copies, but no damage.
//!
//! # Recovery
//!
//! Recovery reads the index of each sealed segment, scans the others, and gives them indexes. It reads files in pieces of
//! 1 MiB, however large they are. It takes the newest whole
//! snapshot of the positions. What it finds:
//!
//! | | what is done |
//! |---|---|
//! | an unfinished write at the end | cut off; reported |
//! | a record that is damaged, with whole ones behind it | copied to `quarantine/`, reported; the rest counts |
//! | a record in a sealed segment that is damaged | the same, when it is read |
//! | a damaged index | made again from the records |
//! | a damaged header, both copies | the file is moved to `quarantine/` |
//! | a place that the disk can't read | the same as if it were damaged; in copies it is zero |
//! | no room for a copy | logged; the journal opens without |
//! | an empty file | removed, reported |
//! | a missing segment | reported: the opening of the next one says that it was there, and the positions do not say that it was freed |
//! | a copy of a segment | moved to `quarantine/`; one with a wrong name and no other gets its name back |
//! | another version | refused; nothing is touched |
//! | positions lost | everything in the segments comes again; reported |
//!
//! # What it consists of
//!
//! | | |
//! |---|---|
//! | `catalog.rs` | which streams (`streams.rs`) and segments (`segments.rs`) there are, what is settled, what is live |
//! | `commit.rs` | the committer: writes requests from its `queue.rs` in groups, by a `writer.rs`, and answers them |
//! | `supply.rs` | makes segments, keeps one ready and some spare, and takes freed ones back |
//! | `read.rs` | reads a backlog: plans by the indexes, reads `run.rs` by run, and makes batches (`chunk.rs`) |
//! | `seal.rs` | writes the index of a segment that is full |
//! | `checkpoint.rs` | writes positions (`positions.rs`), and frees the segments that they make needless |
//! | `compaction.rs` | copies live entries together |
//! | `repair.rs` | quarantines damage that is met, and makes damaged indexes again |
//! | `maintenance.rs` | has the last four, and the supply, do in rounds what is due |
//! | `health.rs` | whether anything can be written: the disk fails, hangs (`pending.rs`), or is another |
//! | `recovery.rs` | makes a catalog of what is on disk (`survey.rs`, `backlog.rs`); `inspect.rs` shows the same |
//! | `handle.rs` | puts these together, around a `store.rs`: the disk, the catalog, the health and what else they share |
//!
//! # Threads and locks
//!
//! `journal-commit` writes the log; `journal-maintain` does everything else. `journal-report` and `journal-check` only watch:
//! the first asks nothing of the disk, so that it can say when that hangs, the second looks whether the directory is still the
//! one that was opened.
//!
//! Four locks are held while files are written: the committer's log or the compactor of maintenance, and below these the
//! positions or the segment that is ready. All others are held for a moment only, and none is taken meanwhile; so is the
//! catalog's. Whoever is called back with an answer may ask for anything: of the four, only the log is locked then, which
//! nobody but the committer asks for.
//!
//! # A disk that does not answer
//!
//! What a disk is asked to change is noted until it answers (`pending.rs`). If it takes 5 s, the journal counts as failing,
//! as if the disk had refused, until it answers. Requests that wait longer than that for the disk are given up by those who
//! wait: what is written of them later is settled at once. The journal also counts as
//! failing when the directory, or a file that is open in it, is not there any more (`health.rs`); then nothing is written,
//! freed, or taken for damaged.

#![deny(missing_docs)]

mod backlog;
mod buffer;
mod catalog;
mod checkpoint;
mod chunk;
mod closing;
mod commit;
mod compaction;
mod directory;
mod disk;
mod format;
mod handle;
mod health;
mod index;
mod indexed;
mod inspect;
mod layer;
mod maintenance;
mod number_set;
mod pending;
mod pieces;
mod positions;
mod quarantine;
mod queue;
mod read;
mod record;
mod recovery;
mod repair;
mod row;
mod run;
mod scan;
mod seal;
mod segments;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
#[cfg(any(test, feature = "simulation"))]
pub mod stalling;
mod store;
mod streams;
mod supply;
mod survey;
#[cfg(test)]
mod tests;
mod trailer;
mod types;
mod writer;

/// The locks of the commit queue, which a test replaces.
mod sync {
    pub(super) use parking_lot::{Condvar, Mutex};
}

pub use chunk::Chunk;
pub use disk::{BLOCK, Disk, DiskFile, Identity};
pub use handle::Journal;
pub use inspect::{InspectError, InspectedSegment, InspectedStream, Inspection, inspect};
pub use number_set::NumberSet;
pub use types::{
    AppendCallback, AssignedNumbers, Damage, Failing, JournalEntry, JournalSettings, JournalState,
    NotWritten, OpenError, ReadError, RecoveredStream, Recovery, StreamEntries, StreamId, StreamKey,
    SyncPolicy, Unwritten, WriteTotals,
};
