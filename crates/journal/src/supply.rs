//! The supply of segments: new ones are made, and the files of freed ones used again.
//!
//! The segment that is ready for the log is locked while it is made, read or written; of other locks the catalog's is taken
//! meanwhile, and that of the streams that leave.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use super::buffer::write_blocks;
use super::catalog::Catalog;
use super::disk::DiskFile;
use super::format::{FileHeader, LARGEST, Purpose, RECORDS_AT};
use super::indexed::IndexedSegment;
use super::segments::{Segment, SegmentState, segment_name, spare_name};
use super::store::Store;
use super::writer::Prepared;

/// Spare segments that are kept at most.
const SPARES: usize = 4;

/// Why there is no new segment.
#[derive(Debug, Error)]
pub(super) enum NoSegment {
    #[error("a segment would be more than `max_size` leaves")]
    Full,
    /// The disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes segments out of spare files or new ones, within `max_size`.
#[derive(Debug)]
pub(super) struct SegmentSupply {
    store: Store,
    max_size: u64,
    segment_size: u64,
    /// The log's next segment, if it is there already. Locked while that is made or taken, so that segments are used in the
    /// order of their numbers.
    ready: Mutex<Option<Prepared>>,
    /// Streams that had entries in segments whose end is not known to be durable: once for each segment.
    leaving: Mutex<Vec<u64>>,
}

impl SegmentSupply {
    pub(super) fn new(store: Store, max_size: u64, segment_size: u64) -> Self {
        Self { store, max_size, segment_size, ready: Mutex::default(), leaving: Mutex::default() }
    }

    /// Bytes of a segment, as long as no request needs a larger one.
    pub(super) fn segment_size(&self) -> u64 {
        self.segment_size
    }

    /// Bytes that the log leaves for compaction: without them, a full journal could not free anything.
    fn reserve(&self) -> u64 {
        2 * self.segment_size
    }

    /// Bytes that the segments may take that are not there yet, for the log.
    pub(super) fn unused(&self, catalog: &Catalog) -> u64 {
        self.max_size.saturating_sub(catalog.segments.bytes() + catalog.positions_bytes + self.reserve())
    }

    /// Makes a segment of `length` bytes. When this returns, nothing about the file depends on the directory any more.
    pub(super) fn prepare(&self, purpose: Purpose, length: u64) -> Result<Prepared, NoSegment> {
        self.store.health.is_in_place()?;
        let (id, spare, removed) = {
            let mut catalog = self.store.catalog.lock();
            if purpose == Purpose::Log && self.unused(&catalog) < length {
                return Err(NoSegment::Full);
            }
            let spare = catalog.spares.iter().position(|(_, spare)| *spare >= length);
            let spare = spare.map(|at| catalog.spares.swap_remove(at));
            let mut removed = Vec::new();
            if spare.is_none() {
                while catalog.bytes_on_disk() + length > self.max_size {
                    // Too short to be of use, and in the way.
                    removed.push(catalog.spares.pop().ok_or(NoSegment::Full)?);
                }
            }
            catalog.next_segment += 1;
            (catalog.next_segment - 1, spare, removed)
        };
        let removed = removed.iter().map(|(name, length)| self.discard(name, *length));
        removed.fold(Ok(()), Result::and)?;
        let fresh = spare_name(id);
        let from = spare.as_ref().map_or(&fresh, |(name, _)| name);
        let header = FileHeader { purpose, id, salt: self.store.disk.nonce() };
        // The name that the file has now, if there is one.
        let mut there = spare.as_ref().map(|(name, _)| name.clone());
        let made = (|| {
            let file = match &spare {
                Some((name, _)) => self.store.disk.open(name)?,
                None => self.store.disk.create(&fresh, length)?,
            };
            there = Some(from.clone());
            write_header(&*file, &header)?;
            self.store.disk.rename(from, &segment_name(id))?;
            there = Some(segment_name(id));
            self.store.disk.sync_directory()?;
            let identity = file.identity()?;
            io::Result::Ok((file, identity))
        })();
        let length = spare.as_ref().map_or(length, |(_, length)| *length);
        match made {
            Ok((file, identity)) => {
                let segment = Segment::new(header);
                let state = SegmentState::empty(segment.clone(), identity, length);
                self.store.catalog.lock().segments.insert(id, state);
                Ok(Prepared { segment, file, length })
            }
            Err(error) => {
                if let Some(name) = there {
                    let _ = self.discard(&name, length);
                }
                Err(NoSegment::Io(error))
            }
        }
    }

    /// The next segment of the log: the one that is ready, or else a new one. The log's segments are numbered in the order
    /// in which they are written, so one that was made ready and passed over is never used.
    pub(super) fn next_of_log(&self, length: u64) -> Result<Prepared, NoSegment> {
        let mut ready = self.ready.lock();
        if let Some(ready) = self.take_ready(&mut ready) {
            if ready.length >= length {
                return Ok(ready);
            }
            let id = ready.segment.id();
            drop(ready);
            if let Err(error) = self.retire(&[id]) {
                self.pass_over(id);
                return Err(error.into());
            }
        }
        self.prepare(Purpose::Log, length.max(self.segment_size))
    }

    /// Makes the log's next segment before it is needed, once the present one is half full.
    pub(super) fn make_ready(&self) {
        let log_room = self.store.catalog.lock().log_room;
        if self.store.health.has_failed() || log_room == 0 || log_room >= self.segment_size / 2 {
            return;
        }
        let mut ready = self.ready.lock();
        if ready.is_none()
            && let Ok(prepared) = self.prepare(Purpose::Log, self.segment_size)
        {
            self.put_ready(&mut ready, prepared);
        }
    }

    /// If the disk fails, looks whether it does so still: by making a segment, since that takes all that the log does.
    pub(super) fn try_failed_disk(&self) {
        if !self.store.health.has_failed() {
            return;
        }
        let mut ready = self.ready.lock();
        let tried = match self.take_ready(&mut ready) {
            // Its first block is written again as it is: nothing else is in it.
            Some(ready) => match write_header(&*ready.file, &ready.segment.header) {
                Ok(()) => Ok(ready),
                Err(error) => {
                    self.pass_over(ready.segment.id());
                    Err(NoSegment::Io(error))
                }
            },
            None => self.prepare(Purpose::Log, self.segment_size),
        };
        match tried {
            Ok(prepared) => {
                self.put_ready(&mut ready, prepared);
                self.store.health.recover();
            }
            // That the journal is full is another matter, which passes by itself.
            Err(NoSegment::Full) => self.store.health.recover(),
            Err(NoSegment::Io(error)) => self.store.health.fail(&error.to_string()),
        }
    }

    /// Gives up a segment that was ready: it stays, gets an index without rows, and goes as others do.
    fn pass_over(&self, id: u64) {
        self.store.catalog.lock().close_segment(id, RECORDS_AT);
    }

    fn take_ready(&self, ready: &mut Option<Prepared>) -> Option<Prepared> {
        self.store.catalog.lock().ready_room = 0;
        ready.take()
    }

    fn put_ready(&self, ready: &mut Option<Prepared>, prepared: Prepared) {
        self.store.catalog.lock().ready_room = prepared.length;
        *ready = Some(prepared);
    }

    /// Takes segments out of the journal, nothing of which is needed: their files are kept to be used again, or removed.
    /// Positions that say so are durable. A segment whose file stays does so as well, to be tried again.
    pub(super) fn retire(&self, ids: &[u64]) -> io::Result<()> {
        self.store.health.is_in_place()?;
        let (mut kept, mut left, mut done) = (Vec::new(), Vec::new(), Ok(()));
        for id in ids {
            let streams = self.streams_of(*id);
            let (keep, gone) = {
                let mut catalog = self.store.catalog.lock();
                let Some(gone) = catalog.segments.remove(*id) else { continue };
                // With the entry out of the map nobody else can come to have it.
                let unread = Arc::strong_count(&gone.segment) == 1;
                let fits = gone.length() == self.segment_size && catalog.spares.len() + kept.len() < SPARES;
                (unread && fits && catalog.bytes_on_disk() + gone.length() <= self.max_size, gone)
            };
            let name = gone.segment.name();
            let spare = spare_name(*id);
            let moved =
                if keep { self.store.disk.rename(&name, &spare) } else { self.store.disk.remove(&name) };
            match moved {
                Ok(()) => {
                    left.extend(streams);
                    kept.extend(keep.then_some((spare, gone.length())));
                }
                // Somebody else has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => left.extend(streams),
                Err(error) => {
                    self.store.catalog.lock().segments.insert(*id, gone);
                    done = Err(error);
                }
            }
        }
        // A spare file is written to only under a name that is durable; and as long as a power cut could bring a segment
        // back, the positions of its streams are needed.
        if let Err(error) = self.store.disk.sync_directory() {
            for (name, length) in kept {
                let _ = self.discard(&name, length);
            }
            self.leaving.lock().extend(left);
            return Err(error);
        }
        left.append(&mut self.leaving.lock());
        let mut catalog = self.store.catalog.lock();
        catalog.spares.extend(kept);
        for stream in left {
            catalog.streams.leave_segment(stream);
        }
        done
    }

    /// The streams that a segment has entries of. Those whose rows can't be read are remembered for longer than they have to
    /// be.
    fn streams_of(&self, id: u64) -> Vec<u64> {
        let mut streams = Vec::new();
        if let Some(segment) = IndexedSegment::of(&self.store, id) {
            let _ = segment.for_each_rows(|rows| streams.extend(rows.iter().map(|row| row.stream)));
        }
        streams
    }

    /// Removes a file that holds nothing. One that stays is a spare, so that it is in the count.
    fn discard(&self, name: &str, length: u64) -> io::Result<()> {
        match self.store.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.store.catalog.lock().spares.push((name.to_owned(), length));
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that a request may take with all that belongs to it: what could never be taken is not asked back.
    pub(super) fn largest_segment(&self) -> u64 {
        self.max_size.saturating_sub(self.reserve() + self.segment_size).min(LARGEST)
    }
}

/// Writes the first block of a segment, and has the disk keep it.
fn write_header(file: &dyn DiskFile, header: &FileHeader) -> io::Result<()> {
    write_blocks(file, &header.encode(), 0)?;
    file.sync_data()
}
