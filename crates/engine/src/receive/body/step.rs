//! The input of a decoder, given out step by step.
//!
//! A reader goes on until it has something to give: through any number of parts that hold nothing, each of which costs
//! time. So what it may read in a step is bounded, and then it is told that there is no more for now.

use std::io::{self, BufRead, Read};

use super::chunks::BodyChunks;

/// A body, of which each step may read so much. Then reading fails with [`io::ErrorKind::WouldBlock`] until the next step
/// begins; before that, everything that was shown has been taken, so that a reader which keeps its state can go on.
#[derive(Debug)]
pub(super) struct StepInput {
    chunks: BodyChunks,
    /// Bytes that this step may still read.
    left: usize,
}

impl StepInput {
    /// Nothing can be read before the first step begins.
    pub(super) fn new(chunks: BodyChunks) -> Self {
        Self { chunks, left: 0 }
    }

    /// Begins a step that may read so many bytes.
    pub(super) fn begin_step(&mut self, most: usize) {
        self.left = most;
    }

    /// The bytes that have not been read.
    pub(super) fn chunks(&self) -> &BodyChunks {
        &self.chunks
    }

    /// Reads although the step may be over, and counts what it has read of the step: for a reader that can't stop here.
    fn read_on(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.chunks.read(into)?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }

    /// Whether there is more to read, but not in this step.
    fn is_used_up(&self) -> bool {
        self.left == 0 && self.chunks.len() > 0
    }
}

impl BufRead for StepInput {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_used_up() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = self.chunks.fill_buf()?;
        Ok(&piece[..piece.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        assert!(amount <= self.left, "no more is consumed than was shown");
        self.left -= amount;
        self.chunks.consume(amount);
    }
}

impl Read for StepInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let read = piece.len().min(into.len());
        into[..read].copy_from_slice(&piece[..read]);
        self.consume(read);
        Ok(read)
    }
}

/// The length of the head of a chunk in snappy's frame format: its kind, and its length.
const SNAPPY_CHUNK_HEAD: usize = 4;

/// Frames of snappy. Their reader can't go on where it was in the middle of a chunk, so that a step ends between two. A step
/// may overrun by at most one chunk, which the reader limits to 75 KiB.
#[derive(Debug)]
pub(super) struct SnappyInput {
    input: StepInput,
    /// Bytes of the chunk that has begun.
    rest: usize,
}

impl SnappyInput {
    /// See [`StepInput::new`].
    pub(super) fn new(chunks: BodyChunks) -> Self {
        Self { input: StepInput::new(chunks), rest: 0 }
    }

    /// See [`StepInput::begin_step`].
    pub(super) fn begin_step(&mut self, most: usize) {
        self.input.begin_step(most);
    }

    /// See [`StepInput::chunks`].
    pub(super) fn chunks(&self) -> &BodyChunks {
        self.input.chunks()
    }
}

impl Read for SnappyInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest == 0 {
            if self.input.is_used_up() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut head = [0; SNAPPY_CHUNK_HEAD];
            let come = self.chunks().peek(&mut head);
            let [_, a, b, c] = head;
            self.rest = come + u32::from_le_bytes([a, b, c, 0]) as usize;
        }
        let most = into.len().min(self.rest);
        let read = self.input.read_on(&mut into[..most])?;
        self.rest -= read;
        Ok(read)
    }
}
