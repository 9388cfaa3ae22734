//! A batch as a request body: protobuf as it is, or JSON; plain or compressed.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

use crate::encoding::Encoding;
use crate::export::Compression;
use crate::stream::{Batch, Budget, Reservation};
use otlp::write_request;

/// Above this size encoding is taken off the runtime's threads, where it would delay other streams by more than
/// a millisecond or so. Ordinary batches are smaller.
const LARGE: usize = 1024 * 1024;

/// The same where the level of compression is so high that it takes twenty times as long, or more.
const LARGE_AT_HIGH_LEVEL: usize = 64 * 1024;

/// A request body. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct RequestBody {
    payload: Payload,
    /// The chunk to send next.
    next: usize,
    /// Bytes in that and all further chunks.
    remaining: u64,
}

#[derive(Clone, Debug)]
enum Payload {
    /// The batch's own chunks, which go to the socket in one vectored write with the head.
    Batch(Batch),
    /// What was made of them, with the memory that it takes.
    Encoded(Bytes, #[expect(dead_code, reason = "held for as long as the bytes")] Arc<Reservation>),
}

impl RequestBody {
    /// Encodes a batch.
    ///
    /// What that takes is charged to `budget` even if there is no room: what is queued has to leave before there can be.
    pub(in crate::export) async fn new(
        batch: &Batch,
        encoding: Encoding,
        compression: Compression,
        budget: &Arc<Budget>,
    ) -> io::Result<Self> {
        if (encoding, compression) == (Encoding::Proto, Compression::None) {
            let remaining = batch.len() as u64;
            return Ok(Self { payload: Payload::Batch(batch.clone()), next: 0, remaining });
        }
        let large = if is_high(compression) { LARGE_AT_HIGH_LEVEL } else { LARGE };
        let encoded = if batch.len() <= large {
            encode(batch, encoding, compression)?
        } else {
            let batch = batch.clone();
            tokio::task::spawn_blocking(move || encode(&batch, encoding, compression)).await??
        };
        let remaining = encoded.len() as u64;
        let mut charged = Reservation::empty(Arc::clone(budget));
        charged.charge_spare(encoded.capacity() as u64);
        let payload = Payload::Encoded(encoded.into(), Arc::new(charged));
        Ok(Self { payload, next: 0, remaining })
    }
}

impl RequestBody {
    /// Bytes that are not sent yet.
    pub(in crate::export) fn len(&self) -> u64 {
        self.remaining
    }

    /// All of it.
    pub(in crate::export) fn chunks(&self) -> impl Iterator<Item = &Bytes> + Clone {
        (0..).map_while(|index| self.payload.chunk(index))
    }
}

impl Payload {
    fn chunk(&self, index: usize) -> Option<&Bytes> {
        match self {
            Self::Batch(batch) => batch.chunks().get(index),
            Self::Encoded(bytes, _) => (index == 0).then_some(bytes),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.payload.chunk(self.next).cloned();
        Poll::Ready(chunk.map(|chunk| {
            self.next += 1;
            self.remaining -= chunk.len() as u64;
            Ok(Frame::data(chunk))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

fn encode(batch: &Batch, encoding: Encoding, compression: Compression) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Proto => compress(batch.chunks(), compression),
        Encoding::Json => {
            let mut json = Vec::new();
            write_request(batch.signal(), batch.chunks(), &mut json);
            match compression {
                Compression::None => Ok(json),
                _ => compress(&[json], compression),
            }
        }
    }
}

/// Whether it takes some ten milliseconds or more to compress a mebibyte.
fn is_high(compression: Compression) -> bool {
    match compression {
        Compression::Gzip { level } | Compression::Zlib { level, .. } => level > 3,
        Compression::Zstd { level } => level > 5,
        Compression::None | Compression::SnappyBlock | Compression::SnappyFrames | Compression::Lz4 => false,
    }
}

fn compress(chunks: &[impl AsRef<[u8]>], compression: Compression) -> io::Result<Vec<u8>> {
    let len: usize = chunks.iter().map(|chunk| chunk.as_ref().len()).sum();
    // Telemetry shrinks to a tenth or so; a buffer of that size seldom has to grow more than once.
    let mut out = Vec::with_capacity(len / 8 + 128);
    match compression {
        Compression::None => chunks.iter().for_each(|chunk| out.extend_from_slice(chunk.as_ref())),
        Compression::Gzip { level } => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::new(level.min(9)));
            write_all(&mut encoder, chunks)?;
            encoder.finish()?;
        }
        Compression::Zlib { level, .. } => {
            let mut encoder =
                flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::new(level.min(9)));
            write_all(&mut encoder, chunks)?;
            encoder.finish()?;
        }
        Compression::SnappyBlock => {
            // A block refers to any part of itself, so that all of it has to be in one place.
            let mut block = Vec::with_capacity(len);
            for chunk in chunks {
                block.extend_from_slice(chunk.as_ref());
            }
            out = snap::raw::Encoder::new().compress_vec(&block)?;
        }
        Compression::SnappyFrames => {
            let mut encoder = snap::write::FrameEncoder::new(&mut out);
            write_all(&mut encoder, chunks)?;
            encoder.flush()?;
        }
        Compression::Lz4 => {
            // Small blocks cost the other side less memory than the largest.
            let info = FrameInfo::new().block_size(BlockSize::Max256KB).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, &mut out);
            write_all(&mut encoder, chunks)?;
            encoder.finish()?;
        }
        Compression::Zstd { level } => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut out, level)?;
            // With the size known, the tables are only as large as a body of this size needs.
            encoder.set_pledged_src_size(Some(len as u64))?;
            write_all(&mut encoder, chunks)?;
            encoder.finish()?;
        }
    }
    Ok(out)
}

fn write_all(mut encoder: impl Write, chunks: &[impl AsRef<[u8]>]) -> io::Result<()> {
    chunks.iter().try_for_each(|chunk| encoder.write_all(chunk.as_ref()))
}
