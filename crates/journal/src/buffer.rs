//! A buffer for direct I/O, which wants its address and length in whole blocks.

use super::disk::BLOCK;

/// Bytes that begin at a multiple of [`BLOCK`].
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    /// A block longer than it must be, so that a multiple is in it.
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl BlockBuffer {
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
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.start + bytes <= self.room.len() && !self.room.is_empty() {
            return;
        }
        let mut room = vec![0; (bytes.max(self.room.len()) + BLOCK).next_multiple_of(BLOCK)];
        let start = (BLOCK - room.as_ptr().addr() % BLOCK) % BLOCK;
        room[start..start + self.len].copy_from_slice(self.as_slice());
        (self.room, self.start) = (room, start);
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.reserve(self.len + bytes.len());
        let at = self.start + self.len;
        self.room[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends zeros up to a multiple of `align`.
    pub(super) fn pad(&mut self, align: usize) {
        let len = self.len.next_multiple_of(align);
        self.reserve(len);
        self.room[self.start + self.len..self.start + len].fill(0);
        self.len = len;
    }

    /// What was put at `at`, to be changed.
    pub(super) fn at(&mut self, at: usize, length: usize) -> &mut [u8] {
        &mut self.room[self.start + at..self.start + at + length]
    }
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
}
