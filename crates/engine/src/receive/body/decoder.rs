//! Decoding a body that is there as a whole, in steps between which limits are looked at and memory is reserved.
//!
//! The cost of a step is bounded by the bytes that it reads and writes, for every coding: none clears memory or sets up
//! tables in proportion to anything else. And both are bounded: parts that hold nothing are read for no longer than others.

use std::io::{self, BufRead as _, Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use super::chunks::BodyChunks;
use super::lz4::{Filled, Lz4Decoder};
use super::step::{SnappyInput, StepInput};
use crate::coding::{Coding, SNAPPY_FRAMES, ZSTD_WINDOW_LOG};

/// The memory of a decoder itself: zlib's state with its window of 32 KiB; a block of snappy before and after decoding;
/// zstd's tables.
const ZLIB_STATE: usize = 64 * 1024;
const SNAPPY_STATE: usize = 144 * 1024;
const ZSTD_STATE: usize = 128 * 1024;

/// The most that a block of zstd can come to.
const ZSTD_BLOCK: usize = 128 * 1024;

/// A body that is being decoded.
pub(super) enum Decoder {
    Gzip(Box<MultiGzDecoder<StepInput>>),
    Deflate(Box<ZlibDecoder<StepInput>>),
    Zstd(ZstdDecoder),
    SnappyFrames(Box<snap::read::FrameDecoder<SnappyInput>>),
    Lz4(Lz4Decoder),
}

impl Decoder {
    /// A decoder of `coding`. A single block of snappy is not decoded in steps, see
    /// [`SnappyBlock`].
    pub(super) fn new(coding: Coding, input: BodyChunks) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(StepInput::new(input)))),
            Coding::Deflate => Self::Deflate(Box::new(ZlibDecoder::new(StepInput::new(input)))),
            Coding::Zstd => Self::Zstd(ZstdDecoder::new(input)?),
            Coding::Snappy => {
                Self::SnappyFrames(Box::new(snap::read::FrameDecoder::new(SnappyInput::new(input))))
            }
            Coding::Lz4 => Self::Lz4(Lz4Decoder::new(input)),
            Coding::Identity => unreachable!("what is not compressed is not decoded"),
        })
    }

    /// Memory for a decoder of `coding` before it has read anything.
    pub(super) fn first_memory(coding: Coding) -> usize {
        match coding {
            Coding::Gzip | Coding::Deflate => ZLIB_STATE,
            Coding::Zstd => ZSTD_STATE,
            Coding::Snappy => SNAPPY_STATE,
            Coding::Lz4 | Coding::Identity => 0,
        }
    }

    /// The input that has not been read yet.
    pub(super) fn input(&self) -> &BodyChunks {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().chunks(),
            Self::Deflate(decoder) => decoder.get_ref().chunks(),
            Self::Zstd(decoder) => &decoder.input,
            Self::SnappyFrames(decoder) => decoder.get_ref().chunks(),
            Self::Lz4(decoder) => decoder.input(),
        }
    }

    /// The memory that the decoder takes, beside its input, to decode the next `len` bytes.
    pub(super) fn memory(&self, len: usize) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => ZLIB_STATE,
            Self::Zstd(decoder) => decoder.memory(len),
            Self::SnappyFrames(_) => SNAPPY_STATE,
            Self::Lz4(decoder) => decoder.memory(),
        }
    }

    /// The most bytes that one step can come to: what it reads and writes, and a block that it has begun to decode.
    pub(super) fn most_of_a_step(&self, out: usize, memory: usize, input: usize) -> usize {
        let block = match self {
            Self::Gzip(_) | Self::Deflate(_) => 0,
            Self::Zstd(_) => ZSTD_BLOCK,
            // These decoders hold one block, compressed and decoded.
            Self::SnappyFrames(_) => SNAPPY_STATE,
            Self::Lz4(_) => memory,
        };
        out + input + block
    }

    /// Does one step: decodes into `out`, with no more than `memory` for itself, until that is full or `input` bytes have been
    /// read. Of snappy and LZ4 a block that has begun is read to its end. If the body ends, it does so as its coding says.
    pub(super) fn fill(&mut self, out: &mut [u8], memory: usize, input: usize) -> io::Result<Filled> {
        debug_assert!(input > 0, "a step that reads nothing gets nowhere");
        match self {
            Self::Gzip(decoder) => {
                decoder.get_mut().begin_step(input);
                fill_from(decoder, out)
            }
            Self::Deflate(decoder) => {
                decoder.get_mut().begin_step(input);
                let filled = fill_from(&mut **decoder, out)?;
                let more = decoder.get_ref().chunks().len() > 0;
                if matches!(filled, Filled::Whole(_)) && more {
                    return Err(io::Error::other("there is something behind its end"));
                }
                Ok(filled)
            }
            Self::Zstd(decoder) => decoder.fill(out, input),
            Self::SnappyFrames(decoder) => {
                decoder.get_mut().begin_step(input);
                fill_from(decoder, out)
            }
            Self::Lz4(decoder) => decoder.fill(out, memory, input),
        }
    }
}

fn fill_from(reader: &mut impl Read, out: &mut [u8]) -> io::Result<Filled> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => return Ok(Filled::Whole(filled)),
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Filled::Partly(filled))
}

/// Frames of zstd, one behind the other.
pub(super) struct ZstdDecoder {
    raw: DCtx<'static>,
    input: BodyChunks,
    /// Bytes of this frame that have come out and gone through its window.
    windowed: usize,
    /// The most of `windowed` in any frame so far.
    touched: usize,
    /// Whether no frame has begun that has not ended.
    whole: bool,
}

impl ZstdDecoder {
    fn new(input: BodyChunks) -> io::Result<Self> {
        let mut raw = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        raw.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(error)?;
        Ok(Self { raw, input, windowed: 0, touched: 0, whole: true })
    }

    /// The memory that is allocated for the frame is known once it has begun, and may be a window of 8 MiB for a few bytes. But memory
    /// that has never been written to is none yet, so that the window counts as far as it is filled.
    fn memory(&self, len: usize) -> usize {
        let least = ZSTD_STATE + ZSTD_BLOCK.min(self.input.len());
        let filled = least + (self.windowed + len).max(self.touched);
        // The next frame may begin within these bytes.
        filled.min(self.raw.sizeof().max(least + len))
    }

    fn fill(&mut self, out: &mut [u8], most: usize) -> io::Result<Filled> {
        let (mut filled, mut left) = (0, most);
        loop {
            let data = self.input.fill_buf()?;
            let ended = data.is_empty();
            if ended && self.whole {
                return Ok(Filled::Whole(filled));
            }
            if left == 0 && !ended {
                return Ok(Filled::Partly(filled));
            }
            let room = out.len() - filled;
            let mut input = InBuffer::around(&data[..data.len().min(left)]);
            let mut output = OutBuffer::around(&mut out[filled..]);
            let hint = self.raw.decompress_stream(&mut output, &mut input);
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            left -= read;
            filled += written;
            self.windowed += written;
            self.touched = self.touched.max(self.windowed);
            // A frame that is whole holds nothing back, even if it filled the room to the last byte.
            self.whole = hint.map_err(error)? == 0;
            if self.whole {
                self.windowed = 0;
            }
            if written == room && !(self.whole && self.input.len() == 0) {
                return Ok(Filled::Partly(filled));
            }
            if ended && !self.whole && written == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn error(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// The block format of snappy: one block, which is decoded at once.
pub(super) struct SnappyBlock {
    /// The decoded length that it announces.
    pub(super) len: usize,
}

impl SnappyBlock {
    /// Three bytes stand for no more than 64, so that a block can't come to more than so many times its size, whatever it
    /// says.
    const MOST_PER_BYTE: usize = 22;

    /// The block that begins in `input`; `None` if the input is in the frame format.
    pub(super) fn announced(input: &BodyChunks) -> io::Result<Option<Self>> {
        let mut begin = [0; SNAPPY_FRAMES.len()];
        let begin = {
            let len = input.peek(&mut begin);
            &begin[..len]
        };
        if begin == SNAPPY_FRAMES {
            return Ok(None);
        }
        let len = snap::raw::decompress_len(begin)?;
        if len > input.len().saturating_mul(Self::MOST_PER_BYTE) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} bytes can't come to the {len} that they announce", input.len()),
            ));
        }
        Ok(Some(Self { len }))
    }

    /// Decodes the block, which comes to exactly the length that it announces.
    pub(super) fn decode(&self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = vec![0; self.len];
        snap::raw::Decoder::new().decompress(block, &mut decoded)?;
        Ok(decoded)
    }
}
