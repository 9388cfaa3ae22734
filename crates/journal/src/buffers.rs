//! Memory for large reads, used again and again: to get fresh memory from the system, and to give it back, costs more than
//! the read itself.

use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::BLOCK;

/// Buffers that nobody uses are kept as long as they are no more than this in all, in bytes.
const KEPT: usize = 8 << 20;

/// Sizes are multiples of this, in bytes, so that buffers fit again.
const STEP: usize = 32 << 10;

/// Buffers that nobody uses just now.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// Bytes that begin at a multiple of [`BLOCK`]. What they are is for the reader to say: they are those of the read before.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    /// A block longer than it must be, so that a multiple is in it.
    room: Vec<u8>,
    start: usize,
    len: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of `len` bytes.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> ReadBuffer {
        let wanted = (len + BLOCK).next_multiple_of(STEP);
        let mut free = self.free.lock();
        let fits = free.iter().rposition(|room| (wanted..=wanted + STEP).contains(&room.len()));
        let kept = fits.map(|at| free.remove(at));
        drop(free);
        let room = kept.unwrap_or_else(|| vec![0; wanted]);
        let start = room.as_ptr().align_offset(BLOCK);
        ReadBuffer { room, start, len, home: self.clone() }
    }

    /// Gives back to the system what nobody uses.
    pub(super) fn clear(&self) {
        let free = std::mem::take(&mut *self.free.lock());
        drop(free);
    }
}

impl ReadBuffer {
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.len]
    }

    /// Forgets what is behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock();
        free.push(std::mem::take(&mut self.room));
        let mut kept: usize = free.iter().map(Vec::len).sum();
        // Those go first that were not asked for.
        while kept > KEPT {
            kept -= free.remove(0).len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_block_and_is_used_again() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take(100_000);
        assert_eq!(first.as_mut().len(), 100_000);
        assert_eq!(first.as_ref().as_ptr().addr() % BLOCK, 0);
        let (address, other) = (first.as_ref().as_ptr(), buffers.take(100_000));
        assert_ne!(other.as_ref().as_ptr(), address, "the first one is in use");
        drop(first);
        assert_eq!(buffers.take(90_000).as_ref().as_ptr(), address);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let buffers = Arc::new(Buffers::default());
        drop((0..100).map(|n| buffers.take(n << 14)).collect::<Vec<_>>());
        assert!(buffers.free.lock().iter().map(Vec::len).sum::<usize>() <= KEPT);
        buffers.clear();
        assert!(buffers.free.lock().is_empty());
    }
}
