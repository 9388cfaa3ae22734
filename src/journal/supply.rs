//! New segments, and what becomes of old ones.

use std::io;

use super::buffer::BlockBuffer;
use super::disk::BLOCK;
use super::format::{Header, Purpose};
use super::shared::Shared;
use super::state::{SPARE, Segment, SegmentState, State, segment_name};
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
        let segments: u64 = state.segments.values().map(|segment| segment.length).sum();
        self.settings.max_size.saturating_sub(segments + state.positions_bytes + self.reserve())
    }

    /// Makes a segment of `length` bytes. When this returns, nothing about the file depends on the directory any more.
    pub(super) fn prepare(&self, purpose: Purpose, length: u64) -> Result<Prepared, NoSegment> {
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
                    removed.push(state.spares.pop().ok_or(NoSegment::Full)?.0);
                }
            }
            state.next_segment += 1;
            (state.next_segment - 1, spare, removed)
        };
        for name in removed {
            self.disk.remove(&name)?;
        }
        let fresh = format!("{SPARE}{id:016x}");
        let from = spare.as_ref().map_or(&fresh, |(name, _)| name);
        let header = Header { purpose, id, salt: self.disk.nonce() };
        let made = (|| {
            let file = match &spare {
                Some((name, _)) => self.disk.open(name)?,
                None => self.disk.create(&fresh, length)?,
            };
            let mut block = BlockBuffer::default();
            block.put(&[0; BLOCK]);
            header.encode(block.at(0, BLOCK));
            file.write_at(block.as_slice(), 0)?;
            file.sync_data()?;
            self.disk.rename(from, &segment_name(id))?;
            self.disk.sync_directory()?;
            io::Result::Ok(file)
        })();
        let length = spare.as_ref().map_or(length, |(_, length)| *length);
        match made {
            Ok(file) => {
                let segment = Segment::new(header);
                self.state.lock().segments.insert(id, SegmentState::empty(segment.clone(), length));
                Ok(Prepared { segment, file, length })
            }
            Err(error) => {
                // Whatever name the file has now, it holds nothing: it goes, or is found at the next start.
                let _ = self.disk.remove(from);
                let _ = self.disk.remove(&segment_name(id));
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
                self.retire(&[id])?;
            }
            None => {}
        }
        self.prepare(Purpose::Log, length.max(self.segment_size))
    }

    /// Takes segments out of the journal, nothing of which is needed: their files are kept to be used again, or removed.
    /// Positions that say so are durable.
    pub(super) fn retire(&self, ids: &[u64]) -> io::Result<()> {
        let (mut kept, mut done) = (Vec::new(), Ok(()));
        for id in ids {
            self.leave(*id);
            let (keep, gone) = {
                let mut state = self.state.lock();
                let Some(gone) = state.segments.remove(id) else { continue };
                // With the entry out of the map nobody else can come to have it.
                let unread = std::sync::Arc::strong_count(&gone.segment) == 1;
                let fits = gone.length == self.segment_size && state.spares.len() + kept.len() < SPARES;
                (unread && fits && state.bytes_on_disk() + gone.length <= self.settings.max_size, gone)
            };
            let name = gone.segment.name();
            let spare = format!("{SPARE}{id:016x}");
            let moved = if keep { self.disk.rename(&name, &spare) } else { self.disk.remove(&name) };
            match moved {
                Ok(()) if keep => kept.push((spare, gone.length)),
                Ok(()) => {}
                Err(error) => done = Err(error),
            }
        }
        // A spare file is written to only under a name that is durable.
        self.disk.sync_directory()?;
        self.state.lock().spares.extend(kept);
        done
    }

    /// Notes for all streams of a segment that it goes. Streams whose rows can't be read are remembered for longer than
    /// they have to be.
    fn leave(&self, id: u64) {
        const AT_ONCE: usize = 1024;
        let Some(segment) = self.state.lock().segments.get(&id).map(|segment| segment.segment.clone()) else {
            return;
        };
        let mut from = 0;
        while let Ok(rows) = self.rows(&segment, from, AT_ONCE) {
            let mut state = self.state.lock();
            for row in &rows {
                state.streams.leave_segment(row.stream);
            }
            from += rows.len();
            if rows.len() < AT_ONCE {
                break;
            }
        }
    }

    /// Bytes that a request may take with all that belongs to it: what could never be taken is not asked back.
    pub(super) fn largest_segment(&self) -> u64 {
        self.settings.max_size.saturating_sub(self.reserve() + self.segment_size)
    }
}
