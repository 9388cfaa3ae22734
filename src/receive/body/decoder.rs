//! Decoding gzip, zlib and zstd as it comes, in steps that are small enough to look at limits in between.

use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{self, InBuffer, Operation as _, OutBuffer};

use super::{Coding, FEED};

/// zstd has no greatest proportion as zlib has (four bytes can stand for 128 KiB), so that its output is taken in steps of this size.
pub(super) const STEP: usize = 128 * 1024;

/// The largest zstd window (8 MiB, what RFC 8878 asks every decoder to support), as a power of two.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

/// What a decoder takes by itself: zlib's state with its window of 32 KiB, zstd's tables and the step of its output.
const ZLIB_STATE: u64 = 64 * 1024;
const ZSTD_STATE: u64 = 256 * 1024;

/// A body that is being decoded, with what has come out of it so far.
pub(super) enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(DeflateDecoder),
    Zstd(ZstdDecoder),
}

impl Decoder {
    /// One for `coding`; none for what is not compressed.
    pub(super) fn new(coding: Coding) -> io::Result<Option<Self>> {
        Ok(Some(match coding {
            Coding::Identity => return Ok(None),
            Coding::Gzip => Self::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Self::Deflate(DeflateDecoder::new()),
            Coding::Zstd => Self::Zstd(ZstdDecoder::new()?),
        }))
    }

    /// Decodes from `data`, which moves on; returns whether there is nothing more to come from it. If not, the limits
    /// are to be looked at before the next call.
    pub(super) fn write(&mut self, data: &mut &[u8]) -> io::Result<bool> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(data).map(|()| true),
            Self::Deflate(decoder) => decoder.write(data).map(|()| true),
            Self::Zstd(decoder) => decoder.write(data),
        }
    }

    /// Bytes that it takes beside what is decoded so far: its state, a window that has been filled with as much as
    /// that, and the spare room behind it.
    pub(super) fn spare(&self) -> u64 {
        let decoded = self.decoded();
        let (state, window) = match self {
            Self::Gzip(_) | Self::Deflate(_) => (ZLIB_STATE, 0),
            Self::Zstd(_) => (ZSTD_STATE, decoded.len().min(1 << ZSTD_WINDOW_LOG)),
        };
        state + (window + decoded.capacity() - decoded.len()) as u64
    }

    /// What has come out.
    pub(super) fn decoded(&self) -> &Vec<u8> {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => &decoder.out,
            Self::Zstd(decoder) => &decoder.out,
        }
    }

    /// All of it, if the body is whole.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Deflate(decoder) => decoder.finish(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

/// Decodes zlib and knows whether the stream is whole, which the crate's own writer doesn't tell.
pub(super) struct DeflateDecoder {
    raw: Decompress,
    out: Vec<u8>,
    whole: bool,
}

impl DeflateDecoder {
    fn new() -> Self {
        Self { raw: Decompress::new(true), out: Vec::new(), whole: false }
    }

    fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        loop {
            if self.whole && !data.is_empty() {
                return Err(io::Error::other("there is something behind its end"));
            }
            self.out.reserve(FEED);
            let before = self.raw.total_in();
            let status = self.raw.decompress_vec(data, &mut self.out, FlushDecompress::None)?;
            data = &data[(self.raw.total_in() - before) as usize..];
            self.whole = status == Status::StreamEnd;
            let filled_up = self.out.len() == self.out.capacity();
            if data.is_empty() && (self.whole || !filled_up) {
                return Ok(());
            }
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        if self.whole { Ok(self.out) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Decodes zstd and knows whether the last frame is whole, which the crate's own writer doesn't tell.
pub(super) struct ZstdDecoder {
    raw: raw::Decoder<'static>,
    out: Vec<u8>,
    whole: bool,
}

impl ZstdDecoder {
    fn new() -> io::Result<Self> {
        let mut raw = raw::Decoder::new()?;
        raw.set_parameter(raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self { raw, out: Vec::new(), whole: true })
    }

    fn write(&mut self, data: &mut &[u8]) -> io::Result<bool> {
        let end = self.out.len();
        self.out.resize(end + STEP, 0);
        let mut input = InBuffer::around(data);
        let mut output = OutBuffer::around(&mut self.out[end..]);
        let hint = self.raw.run(&mut input, &mut output);
        let (read, written) = (input.pos(), output.pos());
        self.out.truncate(end + written);
        *data = &data[read..];
        self.whole = hint? == 0;
        if self.whole && !data.is_empty() {
            self.raw.reinit()?;
        }
        // A frame that is whole holds nothing back, even if it filled its step to the last byte.
        Ok(data.is_empty() && (self.whole || written < STEP))
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        if self.whole { Ok(self.out) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
