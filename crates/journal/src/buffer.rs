//! Memory for direct I/O, which wants its address and length in whole blocks.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{BLOCK, DiskFile};

/// Read buffers that nobody uses are kept as long as they are no more than this in all, in bytes.
const KEPT: usize = 8 << 20;

/// Sizes of read buffers are multiples of this, in bytes, so that they fit again.
const STEP: usize = 32 << 10;

/// Bytes that begin at a multiple of [`BLOCK`].
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    /// A block longer than it must be, so that a multiple is in it.
    room: Vec<u8>,
    start: usize,
    len: usize,
}

/// Memory for large reads, used again and again: to get fresh memory from the system, and to give it back, costs more than
/// the read itself.
#[derive(Debug, Default)]
pub(super) struct ReadBuffers {
    /// The memory of buffers that nobody uses just now.
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer to read into. What is in it is for the reader to say: at first that is what the read before left.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    buffer: BlockBuffer,
    home: Arc<ReadBuffers>,
}

impl BlockBuffer {
    /// The first `len` bytes that begin at a block.
    fn of(room: Vec<u8>, len: usize) -> Self {
        let start = room.as_ptr().align_offset(BLOCK);
        Self { room, start, len }
    }

    /// What is in it.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Empties it; the memory is kept, but not much more than `keep` bytes of it.
    pub(super) fn clear(&mut self, keep: usize) {
        self.len = 0;
        if self.room.len() > 2 * (keep + BLOCK) {
            *self = Self::default();
        }
    }

    /// Makes room for so many bytes in all.
    fn reserve(&mut self, bytes: usize) {
        if self.start + bytes <= self.room.len() && !self.room.is_empty() {
            return;
        }
        let room = vec![0; (bytes.max(self.room.len()) + BLOCK).next_multiple_of(BLOCK)];
        let mut larger = Self::of(room, self.len);
        larger.at(0, self.len).copy_from_slice(self.as_slice());
        *self = larger;
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.reserve(self.len + bytes.len());
        self.len += bytes.len();
        self.at(self.len - bytes.len(), bytes.len()).copy_from_slice(bytes);
    }

    /// Appends zeros up to a multiple of `align`.
    pub(super) fn pad(&mut self, align: usize) {
        let (before, len) = (self.len, self.len.next_multiple_of(align));
        self.reserve(len);
        self.len = len;
        self.at(before, len - before).fill(0);
    }

    /// What is in it from `at` on, to be changed.
    pub(super) fn at(&mut self, at: usize, length: usize) -> &mut [u8] {
        &mut self.room[self.start + at..self.start + at + length]
    }
}

impl ReadBuffers {
    /// A buffer of `len` bytes.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> ReadBuffer {
        let wanted = (len + BLOCK).next_multiple_of(STEP);
        let mut free = self.free.lock();
        let fits = free.iter().rposition(|room| (wanted..=wanted + STEP).contains(&room.len()));
        let kept = fits.map(|at| free.remove(at));
        drop(free);
        let room = kept.unwrap_or_else(|| vec![0; wanted]);
        ReadBuffer { buffer: BlockBuffer::of(room, len), home: self.clone() }
    }

    /// Gives back to the system what nobody uses.
    pub(super) fn clear(&self) {
        let free = std::mem::take(&mut *self.free.lock());
        drop(free);
    }
}

impl ReadBuffer {
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buffer.at(0, self.buffer.len)
    }

    /// Forgets what is behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.buffer.len = self.buffer.len.min(len);
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let mut free = self.home.free.lock();
        free.push(std::mem::take(&mut self.buffer.room));
        let mut kept: usize = free.iter().map(Vec::len).sum();
        // Those go first that were not asked for.
        while kept > KEPT {
            kept -= free.remove(0).len();
        }
    }
}

/// Writes bytes into a file from `offset` on, a multiple of a block, with zeros behind them up to the next.
pub(super) fn write_blocks(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut buffer = BlockBuffer::default();
    buffer.put(bytes);
    buffer.pad(BLOCK);
    file.write_at(buffer.as_slice(), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_put_begins_at_a_block() {
        let mut buffer = BlockBuffer::default();
        let mut expected = Vec::new();
        for n in 0..300 {
            buffer.put(&vec![n as u8; n * 11]);
            expected.extend(vec![n as u8; n * 11]);
            assert_eq!(buffer.as_slice(), expected);
            assert_eq!(buffer.as_slice().as_ptr().addr() % BLOCK, 0);
        }
        buffer.pad(BLOCK);
        assert_eq!(buffer.len() % BLOCK, 0);
        assert!(buffer.as_slice()[expected.len()..].iter().all(|byte| *byte == 0));
        buffer.clear(0);
        assert_eq!(buffer.len(), 0);
    }

    #[test]
    fn a_buffer_begins_at_a_block_and_is_used_again() {
        let buffers = Arc::new(ReadBuffers::default());
        let mut first = buffers.take(100_000);
        assert_eq!(first.as_mut_slice().len(), 100_000);
        assert_eq!(first.as_ref().as_ptr().addr() % BLOCK, 0);
        let (address, other) = (first.as_ref().as_ptr(), buffers.take(100_000));
        assert_ne!(other.as_ref().as_ptr(), address, "the first one is in use");
        drop(first);
        assert_eq!(buffers.take(90_000).as_ref().as_ptr(), address);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let buffers = Arc::new(ReadBuffers::default());
        drop((0..100).map(|n| buffers.take(n << 14)).collect::<Vec<_>>());
        assert!(buffers.free.lock().iter().map(Vec::len).sum::<usize>() <= KEPT);
        buffers.clear();
        assert!(buffers.free.lock().is_empty());
    }
}
