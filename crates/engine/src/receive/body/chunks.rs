//! Bytes in several pieces of memory, written at one end and read from the other.
//!
//! A buffer that grows is there twice while it does. Here nothing is moved until all bytes are there, and a piece of
//! memory is freed once it has been read.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};

/// Bytes in the order in which they came.
///
/// `held` is the memory of all pieces: at least `len`, since no piece is shorter than the bytes in it.
#[derive(Debug, Default)]
pub(super) struct BodyChunks {
    /// Pieces that are not written to any more, and the memory that each takes.
    ended: VecDeque<(Bytes, usize)>,
    /// The piece that is written to.
    last: Vec<u8>,
    /// Bytes that have not been read.
    len: usize,
    held: usize,
}

impl BodyChunks {
    /// Bytes that have not been read.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The memory that they take.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many more bytes can be appended before a new piece has to begin.
    pub(super) fn spare(&self) -> usize {
        self.last.capacity() - self.last.len()
    }

    /// Whether all bytes are in one piece.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.ended.len() + usize::from(self.last.capacity() > 0) <= 1
    }

    /// Begins a piece of exactly so many bytes.
    pub(super) fn begin(&mut self, capacity: usize) {
        self.end_last();
        self.last.reserve_exact(capacity);
        self.held += self.last.capacity();
    }

    /// Appends to the last piece, which has room for it.
    pub(super) fn append(&mut self, data: &[u8]) {
        assert!(data.len() <= self.spare(), "appending allocates nothing");
        self.last.extend_from_slice(data);
        self.len += data.len();
    }

    /// Adds a piece as it is.
    pub(super) fn push(&mut self, piece: impl Into<Bytes>, held: usize) {
        self.end_last();
        let piece = piece.into();
        debug_assert!(piece.len() <= held, "a piece takes the memory of its bytes");
        self.len += piece.len();
        self.held += held;
        self.ended.push_back((piece, held));
    }

    fn end_last(&mut self) {
        if self.last.capacity() > 0 {
            let last = std::mem::take(&mut self.last);
            let held = last.capacity();
            self.ended.push_back((last.into(), held));
        }
    }

    /// Copies as many of the next bytes as there are and as fit, and returns how many; they stay unread.
    pub(super) fn peek(&self, into: &mut [u8]) -> usize {
        let mut filled = 0;
        let ended = self.ended.iter().map(|(piece, _)| &piece[..]);
        for piece in ended.chain([&self.last[..]]) {
            // There may be a thousand pieces behind.
            if filled == into.len() {
                break;
            }
            let more = piece.len().min(into.len() - filled);
            into[filled..filled + more].copy_from_slice(&piece[..more]);
            filled += more;
        }
        filled
    }

    /// All bytes, if they are in one piece already; or they stay as they are.
    pub(super) fn whole(mut self) -> Result<Bytes, Self> {
        self.end_last();
        match self.ended.len() {
            0 => Ok(Bytes::new()),
            1 => Ok(self.ended.pop_front().expect("there is one").0),
            _ => Err(self),
        }
    }

    /// Copies all bytes into one piece, which takes as much memory again as there are bytes. The pieces are freed one by
    /// one.
    pub(super) fn join(mut self) -> Bytes {
        self.end_last();
        let mut joined = Vec::with_capacity(self.len);
        while let Some((piece, _)) = self.ended.pop_front() {
            joined.extend_from_slice(&piece);
        }
        debug_assert_eq!(joined.len(), self.len, "what is counted is there");
        joined.into()
    }
}

impl BufRead for BodyChunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ended.is_empty() {
            self.end_last();
        }
        Ok(self.ended.front().map_or(&[], |(piece, _)| piece))
    }

    fn consume(&mut self, amount: usize) {
        self.len -= amount;
        let Some((piece, held)) = self.ended.front_mut() else {
            assert_eq!(amount, 0, "no more is consumed than was shown");
            return;
        };
        piece.advance(amount);
        if piece.is_empty() {
            self.held -= *held;
            self.ended.pop_front();
        }
    }
}

impl Read for BodyChunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let piece = self.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let more = piece.len().min(into.len() - filled);
            into[filled..filled + more].copy_from_slice(&piece[..more]);
            self.consume(more);
            filled += more;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&'static str]) -> BodyChunks {
        let mut chunks = BodyChunks::default();
        for piece in pieces {
            chunks.push(Bytes::from_static(piece.as_bytes()), piece.len());
        }
        chunks
    }

    #[test]
    fn what_has_been_read_is_freed_piece_by_piece() {
        let mut chunks = of(&["abc", "de"]);
        chunks.begin(10);
        chunks.append(b"fgh");
        assert_eq!((chunks.len(), chunks.held(), chunks.spare()), (8, 15, 7));
        let mut read = [0; 4];
        assert_eq!((chunks.peek(&mut read), &read), (4, b"abcd"));
        assert_eq!((chunks.read(&mut read).unwrap(), &read), (4, b"abcd"));
        assert_eq!((chunks.len(), chunks.held()), (4, 12));
        assert_eq!((chunks.read(&mut read).unwrap(), &read), (4, b"efgh"));
        assert_eq!((chunks.len(), chunks.held()), (0, 0));
        assert_eq!(chunks.read(&mut read).unwrap(), 0);
    }

    #[test]
    fn one_piece_is_used_as_it_is_and_several_are_joined() {
        assert_eq!(of(&[]).whole().unwrap(), "");
        assert_eq!(of(&["abc"]).whole().unwrap(), "abc");
        let mut chunks = of(&["abc"]);
        chunks.begin(2);
        chunks.append(b"de");
        assert_eq!(chunks.whole().unwrap_err().join(), "abcde");
    }
}
