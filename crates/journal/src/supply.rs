//! New segments, and what becomes of old ones.

use std::io;

use super::buffer::BlockBuffer;
use super::disk::BLOCK;
use super::format::{Header, Purpose};
use super::shared::Shared;
use super::state::{LARGEST, RECORDS_AT, Segment, SegmentState, State, segment_name, spare_name};
use super::writer::Prepared;

/// Spare segments that are kept at most.
const SPARES: usize = 4;

/// Why there is no new segment.
#[derive(Debug)]
pub(super) enum NoSegment {
    /// It would be more than `max_size`.
    Full,
    /// The disk refuses.
    Io(io::Error),
}

impl From<io::Error> for NoSegment {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Shared {
    /// Bytes that the log leaves for what is carried forward: without them, a full journal could not free anything.
    pub(super) fn reserve(&self) -> u64 {
        2 * self.segment_size
    }

    /// Bytes that the segments may take that are not there yet, for the log.
    pub(super) fn unused(&self, state: &State) -> u64 {
        self.settings.max_size.saturating_sub(state.segments.bytes() + state.positions_bytes + self.reserve())
    }

    /// Makes a segment of `length` bytes. When this returns, nothing about the file depends on the directory any more.
    pub(super) fn prepare(&self, purpose: Purpose, length: u64) -> Result<Prepared, NoSegment> {
        self.is_in_place()?;
        let (id, spare, removed) = {
            let mut state = self.state.lock();
            if purpose == Purpose::Log && self.unused(&state) < length {
                return Err(NoSegment::Full);
            }
            let spare = state.spares.iter().position(|(_, spare)| *spare >= length);
            let spare = spare.map(|at| state.spares.swap_remove(at));
            let mut removed = Vec::new();
            if spare.is_none() {
                while state.bytes_on_disk() + length > self.settings.max_size {
                    // Too short to be of use, and in the way.
                    removed.push(state.spares.pop().ok_or(NoSegment::Full)?);
                }
            }
            state.next_segment += 1;
            (state.next_segment - 1, spare, removed)
        };
        let removed = removed.iter().map(|(name, length)| self.discard(name, *length));
        removed.fold(Ok(()), Result::and)?;
        let fresh = spare_name(id);
        let from = spare.as_ref().map_or(&fresh, |(name, _)| name);
        let header = Header { purpose, id, salt: self.disk.nonce() };
        // The name that the file has now, if there is one.
        let mut there = spare.as_ref().map(|(name, _)| name.clone());
        let made = (|| {
            let file = match &spare {
                Some((name, _)) => self.disk.open(name)?,
                None => self.disk.create(&fresh, length)?,
            };
            there = Some(from.clone());
            let mut block = BlockBuffer::default();
            block.put(&[0; BLOCK]);
            header.encode(block.at(0, BLOCK));
            file.write_at(block.as_slice(), 0)?;
            file.sync_data()?;
            self.disk.rename(from, &segment_name(id))?;
            there = Some(segment_name(id));
            self.disk.sync_directory()?;
            let identity = file.identity()?;
            io::Result::Ok((file, identity))
        })();
        let length = spare.as_ref().map_or(length, |(_, length)| *length);
        match made {
            Ok((file, identity)) => {
                let segment = Segment::new(header);
                let state = SegmentState::empty(segment.clone(), identity, length);
                self.state.lock().segments.insert(id, state);
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
        let _alone = self.supply.lock();
        let ready = self.ready.lock().take();
        match ready {
            Some(ready) if ready.length >= length => return Ok(ready),
            Some(ready) => {
                let id = ready.segment.id();
                drop(ready);
                if let Err(error) = self.retire(&[id]) {
                    // It stays, gets an index without rows, and goes as others do.
                    self.state.lock().close(id, RECORDS_AT);
                    return Err(error.into());
                }
            }
            None => {}
        }
        self.prepare(Purpose::Log, length.max(self.segment_size))
    }

    /// Takes segments out of the journal, nothing of which is needed: their files are kept to be used again, or removed.
    /// Positions that say so are durable. A segment whose file stays does so as well, to be tried again.
    pub(super) fn retire(&self, ids: &[u64]) -> io::Result<()> {
        self.is_in_place()?;
        let (mut kept, mut left, mut done) = (Vec::new(), Vec::new(), Ok(()));
        for id in ids {
            let streams = self.streams_of(*id);
            let (keep, gone) = {
                let mut state = self.state.lock();
                let Some(gone) = state.segments.remove(*id) else { continue };
                // With the entry out of the map nobody else can come to have it.
                let unread = std::sync::Arc::strong_count(&gone.segment) == 1;
                let fits = gone.length() == self.segment_size && state.spares.len() + kept.len() < SPARES;
                (unread && fits && state.bytes_on_disk() + gone.length() <= self.settings.max_size, gone)
            };
            let name = gone.segment.name();
            let spare = spare_name(*id);
            let moved = if keep { self.disk.rename(&name, &spare) } else { self.disk.remove(&name) };
            match moved {
                Ok(()) => {
                    left.extend(streams);
                    kept.extend(keep.then_some((spare, gone.length())));
                }
                // Somebody else has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => left.extend(streams),
                Err(error) => {
                    self.state.lock().segments.insert(*id, gone);
                    done = Err(error);
                }
            }
        }
        // A spare file is written to only under a name that is durable; and as long as a power cut could bring a segment
        // back, the positions of its streams are needed.
        if let Err(error) = self.disk.sync_directory() {
            for (name, length) in kept {
                let _ = self.discard(&name, length);
            }
            self.state.lock().leaving.extend(left);
            return Err(error);
        }
        let mut state = self.state.lock();
        state.spares.extend(kept);
        let leaving = std::mem::take(&mut state.leaving);
        for stream in leaving.into_iter().chain(left) {
            state.streams.leave_segment(stream);
        }
        done
    }

    /// The streams that a segment has entries of. Those whose rows can't be read are remembered for longer than they have to
    /// be.
    fn streams_of(&self, id: u64) -> Vec<u64> {
        const AT_ONCE: usize = 1024;
        let segment = self.state.lock().segments.get(&id).map(|segment| segment.segment.clone());
        let Some(segment) = segment else { return Vec::new() };
        let mut streams = Vec::new();
        while let Ok(rows) = self.rows(&segment, streams.len(), AT_ONCE) {
            streams.extend(rows.iter().map(|row| row.stream));
            if rows.len() < AT_ONCE {
                break;
            }
        }
        streams
    }

    /// Removes a file that holds nothing. One that stays is a spare, so that it is in the count.
    fn discard(&self, name: &str, length: u64) -> io::Result<()> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.state.lock().spares.push((name.to_owned(), length));
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that a request may take with all that belongs to it: what could never be taken is not asked back.
    pub(super) fn largest_segment(&self) -> u64 {
        self.settings.max_size.saturating_sub(self.reserve() + self.segment_size).min(LARGEST)
    }
}
