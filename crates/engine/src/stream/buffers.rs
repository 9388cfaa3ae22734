//! The memory in which the entries of one stream wait.
//!
//! Entries are copied under their frames, one behind the other, into buffers that grow with the batch; or they stay in the
//! [memory of their body](super::body_memory), each as a buffer of its own. No buffer has entries of two batches, so that a batch takes
//! its buffers as they are and gives all of their memory back when it is settled.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers stop growing here, in bytes: large enough that a batch is a handful of them, small enough that the spare room
/// of the last one is little beside the batch.
const LARGEST: usize = 64 * 1024;

/// Rounds up to what the allocator hands out anyway, so that all of it is used, and counted. Its classes of larger sizes
/// are an eighth of the next power of two apart; what it rounds smaller ones by is little beside the stream itself.
fn whole_class(bytes: usize) -> usize {
    const SMALL: usize = 4096;
    if bytes <= SMALL { bytes } else { bytes.next_multiple_of(bytes.next_power_of_two() / 8) }
}

/// The buffers of all batches that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    all: VecDeque<Buffer>,
    /// Whether the last one takes more: it is of the batch that is being filled.
    is_open: bool,
    /// How many bytes the batch before had: the next one begins with a buffer as large as that, for a busy stream.
    batch_before: usize,
}

#[derive(Debug)]
enum Buffer {
    /// Copies, and the bytes of memory that they take.
    Copies(BytesMut, usize),
    /// One entry in the memory of its body, where it is counted.
    InBody(Bytes),
}

impl Buffers {
    /// Copies an entry in, under its frame, as the next of a batch that has `batch` bytes before it. Returns the memory that this took
    /// beyond what had been taken before, in bytes: zero if the entry went into spare room.
    ///
    /// A buffer is made larger than the entry only if `has_room` says that so many bytes more may be taken.
    pub(super) fn push(&mut self, entry: &[u8], batch: usize, has_room: impl Fn(u64) -> bool) -> usize {
        let framed = otlp::frame_len(entry.len());
        let last = self.all.back().filter(|_| self.is_open);
        let spare = last.map_or(0, Buffer::spare);
        let mut taken = 0;
        if spare < framed {
            let wanted = match last {
                None => self.batch_before,
                // Another one that is not copied may follow, and what is spare stay unused.
                Some(Buffer::InBody(_)) => 0,
                Some(Buffer::Copies(..)) => batch,
            };
            let exact = whole_class(framed);
            let spacious = whole_class(framed.max(wanted.min(LARGEST)));
            taken = if has_room((spacious - exact) as u64) { spacious } else { exact };
            self.begin(Buffer::Copies(BytesMut::with_capacity(taken), taken));
        }
        let Some(Buffer::Copies(bytes, _)) = self.all.back_mut() else {
            unreachable!("there is one with room")
        };
        otlp::put_frame(bytes, entry.len());
        bytes.extend_from_slice(entry);
        taken
    }

    /// Puts an entry with its frame in as it is, whose memory is counted elsewhere, as the next of the batch.
    pub(super) fn push_shared(&mut self, framed: Bytes) {
        self.begin(Buffer::InBody(framed));
    }

    fn begin(&mut self, buffer: Buffer) {
        if self.all.capacity() == 0 {
            // Most streams have no more than one.
            self.all.reserve_exact(1);
        }
        self.all.push_back(buffer);
        self.is_open = true;
    }

    /// Notes that the batch which was being filled is closed, with so many bytes.
    pub(super) fn close_batch(&mut self, bytes: usize) {
        (self.is_open, self.batch_before) = (false, bytes);
    }

    /// Takes the first `len` bytes, which are those of a closed batch; and says how much memory they take.
    pub(super) fn take(&mut self, len: u64) -> (Vec<Bytes>, u64) {
        let (mut chunks, mut taken, mut capacity) = (Vec::new(), 0, 0);
        while taken < len {
            let buffer = self.all.pop_front().expect("the buffers have all that waits in memory");
            taken += buffer.len();
            capacity += buffer.memory();
            chunks.push(match buffer {
                Buffer::Copies(bytes, _) => bytes.freeze(),
                Buffer::InBody(framed) => framed,
            });
        }
        debug_assert_eq!(taken, len, "no buffer has entries of two batches");
        (chunks, capacity)
    }

    /// Cuts `len` bytes out that begin at `offset`, and returns how much memory is free now: that of buffers in which nothing is left.
    pub(super) fn cut(&mut self, mut offset: u64, mut len: u64) -> u64 {
        let (mut at, mut freed) = (0, 0);
        while len > 0 {
            let all = self.all[at].len();
            if offset >= all {
                offset -= all;
                at += 1;
                continue;
            }
            let here = len.min(all - offset);
            len -= here;
            if here < all {
                let Buffer::Copies(bytes, _) = &mut self.all[at] else {
                    unreachable!("an entry is cut out as a whole")
                };
                let (from, end) = (offset as usize, (offset + here) as usize);
                bytes.copy_within(end.., from);
                bytes.truncate((all - here) as usize);
                (offset, at) = (0, at + 1);
                continue;
            }
            freed += self.all[at].memory();
            self.is_open &= at + 1 < self.all.len();
            self.all.remove(at);
        }
        freed
    }

    /// Lets go of everything, and returns how much memory that took.
    pub(super) fn clear(&mut self) -> u64 {
        self.is_open = false;
        self.all.drain(..).map(|buffer| buffer.memory()).sum()
    }

    /// Bytes of entries in all of them.
    pub(super) fn len(&self) -> u64 {
        self.all.iter().map(Buffer::len).sum()
    }
}

impl Buffer {
    /// Bytes that it has room for.
    fn spare(&self) -> usize {
        match self {
            Self::Copies(bytes, _) => bytes.capacity() - bytes.len(),
            Self::InBody(_) => 0,
        }
    }

    /// Bytes of entries, with their frames.
    fn len(&self) -> u64 {
        match self {
            Self::Copies(bytes, _) => bytes.len() as u64,
            Self::InBody(framed) => framed.len() as u64,
        }
    }

    /// Bytes of memory that are counted here.
    fn memory(&self) -> u64 {
        match self {
            Self::Copies(_, capacity) => *capacity as u64,
            Self::InBody(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fills a batch with entries, and returns how much memory that took.
    fn fill(buffers: &mut Buffers, entries: &[Vec<u8>], has_room: bool) -> usize {
        let (mut len, mut taken) = (0, 0);
        for entry in entries {
            taken += buffers.push(entry, len, |_| has_room);
            len += otlp::frame_len(entry.len());
        }
        taken
    }

    fn framed(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut framed = Vec::new();
        for entry in entries {
            otlp::put_frame(&mut framed, entry.len());
            framed.extend_from_slice(entry);
        }
        framed
    }

    #[test]
    fn chunks_are_the_entries_under_their_frames_and_no_chunk_has_those_of_two_batches() {
        let mut buffers = Buffers::default();
        let entries: Vec<Vec<u8>> = (0..300).map(|n| vec![n as u8; n * 7]).collect();
        let expected = framed(&entries);
        let mut taken = 0;
        for _ in 0..2 {
            taken += fill(&mut buffers, &entries, true);
            buffers.close_batch(expected.len());
        }
        assert_eq!(buffers.len(), 2 * expected.len() as u64);
        let [first, second] = [0, 1].map(|_| buffers.take(expected.len() as u64));
        assert_eq!((first.0.concat(), second.0.concat()), (expected.clone(), expected));
        assert_eq!(first.1 + second.1, taken as u64);
    }

    #[test]
    fn spare_room_is_never_more_than_a_buffer_or_what_is_used() {
        let (mut buffers, mut taken, mut len) = (Buffers::default(), 0, 0);
        for _ in 0..2000 {
            taken += buffers.push(&[7; 300], len, |_| true);
            len += otlp::frame_len(300);
            assert!(taken - len <= LARGEST.min(len) * 5 / 4 + len / 64);
        }
        assert_eq!(buffers.clear(), taken as u64);
    }

    #[test]
    fn a_large_buffer_is_a_whole_class_of_the_allocator() {
        assert_eq!(
            [4096, 4097, 11_264, 65_536, 65_537].map(whole_class),
            [4096, 5120, 12_288, 65_536, 81_920]
        );
    }

    #[test]
    fn a_quiet_stream_takes_exactly_its_entry() {
        assert_eq!(fill(&mut Buffers::default(), &[vec![0; 300]], true), otlp::frame_len(300));
    }

    #[test]
    fn without_room_a_buffer_is_as_large_as_its_entry() {
        let mut buffers = Buffers { batch_before: LARGEST, ..Buffers::default() };
        let entries = [vec![0; 300], vec![0; 300]];
        assert_eq!(fill(&mut buffers, &entries, false), 2 * otlp::frame_len(300));
    }

    proptest! {
        #[test]
        fn what_is_cut_out_is_gone_and_the_rest_is_as_it_was(
            sizes in prop::collection::vec(0..30_000_usize, 1..12),
            (first, count) in (0..12_usize, 1..12_usize),
        ) {
            let mut buffers = Buffers::default();
            let mut entries: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
            let taken = fill(&mut buffers, &entries, true) as u64;
            let first = first % entries.len();
            let gone: Vec<_> = entries.drain(first..(first + count).min(entries.len())).collect();
            let offset = framed(&entries[..first]).len() as u64;
            let freed = buffers.cut(offset, framed(&gone).len() as u64);
            // What comes then goes behind the rest.
            entries.push(vec![77; 100]);
            let rest = framed(&entries);
            let more = buffers.push(&entries[entries.len() - 1], rest.len() - otlp::frame_len(100), |_| true) as u64;
            prop_assert_eq!(buffers.len(), rest.len() as u64);
            let (chunks, capacity) = buffers.take(rest.len() as u64);
            prop_assert_eq!(chunks.concat(), rest);
            prop_assert_eq!(capacity + freed, taken + more);
        }
    }
}
