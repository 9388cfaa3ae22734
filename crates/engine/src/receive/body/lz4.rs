//! Decoding the frame format of LZ4, block by block.
//!
//! The crate decodes the blocks. Its own reader of frames is not used: it takes twelve mebibytes for each frame that asks
//! for blocks of four, however short they are, and takes a frame that is cut off between two blocks for a whole one.

use std::hash::Hasher as _;
use std::io::{self, BufRead as _, Read as _};

use twox_hash::XxHash32;

use super::chunks::BodyChunks;

const MAGIC: u32 = 0x184D_2204;

/// Skippable frames begin with any of sixteen numbers from this one on.
const SKIPPABLE: u32 = 0x184D_2A50;

/// How far back a block may refer to what was before it.
const WINDOW: usize = 64 * 1024;

/// A byte of a block stands for no more than so many bytes.
const MOST_PER_BYTE: usize = 255;

/// The bit in a block's length that says that it is not compressed.
const STORED: u32 = 1 << 31;

/// Frames, one behind the other.
pub(super) struct Lz4Decoder {
    input: BodyChunks,
    frame: Option<Frame>,
    /// A block as it came.
    block: Vec<u8>,
    /// The bytes that were decoded last, up to `end`; those from `start` on have not been given out.
    window: Vec<u8>,
    start: usize,
    end: usize,
}

/// The header of a frame.
struct Frame {
    independent: bool,
    block_checksums: bool,
    content_checksum: Option<XxHash32>,
    /// The bytes of content that are to come, if the header says how many.
    rest: Option<u64>,
    most: usize,
}

/// The next item in a frame.
enum FrameItem {
    Block { len: usize, stored: bool },
    End,
}

/// How many bytes a call has decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is more to decode, for which there is no room, or the step has read as much as it may.
    Partly(usize),
    /// All has been decoded.
    Whole(usize),
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Lz4Decoder {
    pub(super) fn new(input: BodyChunks) -> Self {
        Self { input, frame: None, block: Vec::new(), window: Vec::new(), start: 0, end: 0 }
    }

    pub(super) fn input(&self) -> &BodyChunks {
        &self.input
    }

    /// Memory that it takes to decode the next block, what it holds already included.
    pub(super) fn memory(&self) -> usize {
        let next = self.frame.as_ref().map(|frame| {
            let mut len = [0; 4];
            self.input.peek(&mut len);
            frame.next(u32::from_le_bytes(len))
        });
        match next {
            Some(Ok(FrameItem::Block { len, stored })) if len <= self.input.len() => {
                self.memory_for(len, stored)
            }
            _ => self.block.capacity() + self.window.capacity(),
        }
    }

    fn memory_for(&self, len: usize, stored: bool) -> usize {
        let most = self.frame.as_ref().map_or(0, |frame| frame.decoded(len, stored));
        // A vector that grows is there twice while it does.
        let with = |vec: &Vec<u8>, grown: Option<usize>| vec.capacity() + grown.unwrap_or(0);
        let window = grown(&self.window, self.place(most) + most, 2 * WINDOW + most);
        with(&self.block, grown(&self.block, len, len)) + with(&self.window, window)
    }

    /// Where in the window a block goes that comes to no more than `most` bytes.
    fn place(&self, most: usize) -> usize {
        if self.end + most > self.window.len().max(2 * WINDOW) { self.end.min(WINDOW) } else { self.end }
    }

    /// Decodes into `out`, with no more than `memory` for itself, and begins nothing more once `most` bytes have been read.
    pub(super) fn fill(&mut self, out: &mut [u8], memory: usize, most: usize) -> io::Result<Filled> {
        let before = self.input.len();
        let mut filled = 0;
        loop {
            let more = (self.end - self.start).min(out.len() - filled);
            out[filled..filled + more].copy_from_slice(&self.window[self.start..self.start + more]);
            self.start += more;
            filled += more;
            if self.start < self.end {
                return Ok(Filled::Partly(filled));
            }
            if self.frame.is_none() && self.input.len() == 0 {
                return Ok(Filled::Whole(filled));
            }
            if before - self.input.len() >= most {
                return Ok(Filled::Partly(filled));
            }
            if self.frame.is_none() {
                self.begin_frame()?;
            } else if self.memory() > memory {
                return Ok(Filled::Partly(filled));
            } else {
                self.read_block()?;
            }
        }
    }

    /// Reads the beginning of a frame, or passes over one that is to be skipped.
    fn begin_frame(&mut self) -> io::Result<()> {
        let magic = self.number()?;
        if magic & !0xF == SKIPPABLE {
            return self.skip_frame();
        }
        if magic != MAGIC {
            return Err(wrong("it does not begin as a frame of LZ4"));
        }
        // Two bytes of flags, perhaps the size of the content, and a byte of checksum.
        let mut head = [0; 11];
        self.input.read_exact(&mut head[..2])?;
        let [flags, sizes, ..] = head;
        if flags >> 6 != 1 || flags & 0b10 != 0 || sizes & 0b1000_1111 != 0 || sizes >> 4 < 4 {
            return Err(wrong("the head of its frame is of an unknown version"));
        }
        if flags & 1 != 0 {
            return Err(wrong("its frame needs a dictionary"));
        }
        let len = if flags & 0b1000 == 0 { 2 } else { 10 };
        self.input.read_exact(&mut head[2..=len])?;
        if (XxHash32::oneshot(0, &head[..len]) >> 8) as u8 != head[len] {
            return Err(wrong("the checksum of its frame's head is wrong"));
        }
        let size = head[2..len].first_chunk().map(|size| u64::from_le_bytes(*size));
        self.frame = Some(Frame {
            independent: flags & 0b10_0000 != 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: (flags & 0b100 != 0).then(|| XxHash32::with_seed(0)),
            rest: size,
            most: 1 << (2 * (sizes >> 4) + 8),
        });
        (self.start, self.end) = (0, 0);
        Ok(())
    }

    /// Passes over the rest of a frame that is to be skipped.
    fn skip_frame(&mut self) -> io::Result<()> {
        let mut skipped = self.number()? as usize;
        if skipped > self.input.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while skipped > 0 {
            let piece = self.input.fill_buf()?.len().min(skipped);
            self.input.consume(piece);
            skipped -= piece;
        }
        Ok(())
    }

    /// Decodes the next block into the window, or ends the frame.
    fn read_block(&mut self) -> io::Result<()> {
        let word = self.number()?;
        let frame = self.frame.as_mut().expect("a block is in a frame");
        let FrameItem::Block { len, stored } = frame.next(word)? else {
            let Some(Frame { content_checksum, rest, .. }) = self.frame.take() else {
                unreachable!("a frame that ends has begun");
            };
            if rest.is_some_and(|rest| rest > 0) {
                return Err(wrong("its frame is shorter than it says"));
            }
            if let Some(checksum) = content_checksum
                && checksum.finish_32() != self.number()?
            {
                return Err(wrong("the checksum of its content is wrong"));
            }
            return Ok(());
        };
        if len > self.input.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = frame.decoded(len, stored);
        let (independent, block_checksums) = (frame.independent, frame.block_checksums);
        let at = self.place(most);
        if at < self.end {
            self.window.copy_within(self.end - at..self.end, 0);
        }
        grow(&mut self.block, len, len);
        grow(&mut self.window, at + most, 2 * WINDOW + most);
        self.input.read_exact(&mut self.block[..len])?;
        if block_checksums && XxHash32::oneshot(0, &self.block[..len]) != self.number()? {
            return Err(wrong("the checksum of a block is wrong"));
        }
        let (before, behind) = self.window.split_at_mut(at);
        let decoded = if stored {
            behind[..len].copy_from_slice(&self.block[..len]);
            len
        } else {
            let before = if independent { &[] } else { &before[at.saturating_sub(WINDOW)..] };
            lz4_flex::block::decompress_into_with_dict(&self.block[..len], &mut behind[..most], before)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        };
        (self.start, self.end) = (at, at + decoded);
        let frame = self.frame.as_mut().expect("it has not ended");
        if let Some(checksum) = &mut frame.content_checksum {
            checksum.write(&self.window[self.start..self.end]);
        }
        if let Some(rest) = &mut frame.rest {
            *rest =
                rest.checked_sub(decoded as u64).ok_or_else(|| wrong("its frame is longer than it says"))?;
        }
        Ok(())
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.input.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

impl Frame {
    /// The item that the number in front of a block announces.
    fn next(&self, word: u32) -> io::Result<FrameItem> {
        let (len, stored) = ((word & !STORED) as usize, word & STORED != 0);
        match len {
            0 if !stored => Ok(FrameItem::End),
            _ if len > self.most => Err(wrong("a block is larger than its frame says")),
            _ => Ok(FrameItem::Block { len, stored }),
        }
    }

    /// The most that a block of so many bytes can come to.
    fn decoded(&self, len: usize, stored: bool) -> usize {
        if stored { len } else { self.most.min(len.saturating_mul(MOST_PER_BYTE)) }
    }
}

/// The length that a vector grows to if it has to hold `len` bytes and can't yet: twice as much, so that growing costs no
/// more than what is put into it, but not beyond `enough`. It is there twice meanwhile.
fn grown(vec: &[u8], len: usize, enough: usize) -> Option<usize> {
    (len > vec.len()).then(|| len.max(enough.min(2 * len)))
}

fn grow(vec: &mut Vec<u8>, len: usize, enough: usize) {
    if let Some(grown) = grown(vec, len, enough) {
        vec.reserve_exact(grown - vec.len());
        vec.resize(grown, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn encoded(data: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        // In several writes, so that there are several blocks.
        for part in data.chunks(100_000) {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn decoded(body: &[u8]) -> io::Result<Vec<u8>> {
        let mut input = BodyChunks::default();
        for piece in body.chunks(1000) {
            input.push(piece.to_vec(), piece.len());
        }
        let mut decoder = Lz4Decoder::new(input);
        let mut all = Vec::new();
        let mut out = vec![0; 5000];
        loop {
            let memory = decoder.memory();
            match decoder.fill(&mut out, memory, usize::MAX)? {
                Filled::Partly(len) => all.extend_from_slice(&out[..len]),
                Filled::Whole(len) => {
                    all.extend_from_slice(&out[..len]);
                    return Ok(all);
                }
            }
            assert!(decoder.block.capacity() + decoder.window.capacity() <= memory.max(decoder.memory()));
        }
    }

    fn samples() -> Vec<Vec<u8>> {
        let noise = |len: usize| (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
        let words = |len: usize| (0..len).map(|i| b"resource attributes, "[(i * i / 7 + i) % 21]);
        vec![
            Vec::new(),
            b"short".to_vec(),
            vec![b'.'; 300_000],
            noise(200_000).collect(),
            words(500_000).collect(),
            noise(70_000).chain(noise(70_000)).chain(noise(70_000)).collect(),
        ]
    }

    #[test]
    fn frames_of_every_kind_come_out_as_they_went_in() {
        for data in samples() {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for mode in [BlockMode::Independent, BlockMode::Linked] {
                    for sums in [false, true] {
                        let info = FrameInfo::new()
                            .block_size(size)
                            .block_mode(mode)
                            .block_checksums(sums)
                            .content_checksum(sums)
                            .content_size(sums.then_some(data.len() as u64));
                        let frame = encoded(&data, info);
                        assert!(decoded(&frame).unwrap() == data, "{size:?}, {mode:?}, {sums}");
                        let skipped = [&0x184D_2A55_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat();
                        let twice = [&skipped[..], &frame, &skipped, &frame].concat();
                        assert!(decoded(&twice).unwrap() == data.repeat(2), "{size:?}, {mode:?}, {sums}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_anywhere_or_changed_is_an_error() {
        let info = FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(2000));
        let frame = encoded(&b"telemetry ".repeat(200), info);
        for len in 1..frame.len() {
            assert!(decoded(&frame[..len]).is_err(), "{len} of {} bytes", frame.len());
        }
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 0x40;
            assert!(decoded(&changed).is_err(), "byte {at} of {}", frame.len());
        }
    }

    #[test]
    fn a_short_block_takes_little_memory_whatever_its_frame_allows() {
        let frame = encoded(b"few bytes", FrameInfo::new().block_size(BlockSize::Max4MB));
        let mut input = BodyChunks::default();
        input.push(frame.clone(), frame.len());
        let mut decoder = Lz4Decoder::new(input);
        assert_eq!(decoder.fill(&mut [0; 100], 0, usize::MAX).unwrap(), Filled::Partly(0));
        assert!(decoder.memory() <= 256 * frame.len(), "{}", decoder.memory());
    }
}
