//! Reads a request's body, and undoes its compression.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use sluice_engine::coding::{Coding, SNAPPY_FRAMED, SNAPPY_FRAMES};
use sluice_engine::rpc::{self, PREFIX};

/// Bytes of a body, before and again after decompression. A sink is for tests: generous, but bounded.
const MAX_BODY: u64 = 1 << 30;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The sender went away, or broke HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It was to be cut here.
    #[error("cut off")]
    CutOff,
    /// It is larger than the sink takes.
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// It is not the one message of a call.
    #[error("the body is not one message of gRPC")]
    Framing,
    /// It isn't what `Content-Encoding` says.
    #[error("the body can't be decompressed: {0}")]
    Compression(io::Error),
    /// Nothing here can read it.
    #[error("unknown content encoding `{0}`: use gzip, zstd, deflate, snappy, lz4 or identity")]
    UnknownEncoding(String),
}

/// Reads the whole body, but no more than `cut_after` bytes. A body that arrives in one piece is not copied; others
/// are put together in `buffer`, which gets its memory back when the result has been dropped. What the last call left
/// in there, when it was cut off or reset, is of no use to this one.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    buffer: &mut BytesMut,
    cut_after: Option<u64>,
) -> Result<Bytes, BodyError> {
    buffer.clear();
    let cut_after = cut_after.unwrap_or(u64::MAX);
    let mut first: Option<Bytes> = None;
    let mut len = 0;
    while len < cut_after {
        let Some(frame) = body.frame().await else {
            return match first {
                Some(only) if buffer.is_empty() => Ok(only),
                _ => Ok(buffer.split().freeze()),
            };
        };
        let Ok(data) = frame?.into_data() else { continue };
        len += data.len() as u64;
        if len > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        if len == data.len() as u64 && body.is_end_stream() {
            return if len < cut_after { Ok(data) } else { Err(BodyError::CutOff) };
        }
        match &first {
            None => first = Some(data),
            Some(head) => {
                if buffer.is_empty() {
                    let announced =
                        headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
                    buffer.reserve(announced.unwrap_or(2 * (head.len() + data.len())).min(64 << 20));
                    buffer.extend_from_slice(head);
                }
                buffer.extend_from_slice(&data);
            }
        }
    }
    Err(BodyError::CutOff)
}

/// Takes the message of a unary call out of its body; whether it is compressed.
pub(super) fn message(body: &Bytes) -> Result<(Bytes, bool), BodyError> {
    let (len, compressed) = rpc::arrived(body).ok_or(BodyError::Framing)?;
    let message = body.slice(PREFIX..);
    if message.len() == len { Ok((message, compressed)) } else { Err(BodyError::Framing) }
}

/// Undoes the compression that a header names.
pub(super) fn decompress(encoding: Option<&HeaderValue>, body: Bytes) -> Result<Bytes, BodyError> {
    let Some(encoding) = encoding else { return Ok(body) };
    let name = String::from_utf8_lossy(encoding.as_bytes());
    match Coding::of(&name) {
        Some(Coding::Identity) => Ok(body),
        Some(Coding::Gzip) => read_bounded(flate2::read::MultiGzDecoder::new(&*body)),
        Some(Coding::Deflate) => read_bounded(flate2::read::ZlibDecoder::new(&*body)),
        Some(Coding::Zstd) => {
            read_bounded(zstd::Decoder::with_buffer(&*body).map_err(BodyError::Compression)?)
        }
        Some(Coding::Lz4) => read_bounded(lz4_flex::frame::FrameDecoder::new(&*body)),
        Some(Coding::Snappy) if name == SNAPPY_FRAMED || body.starts_with(&SNAPPY_FRAMES) => {
            read_bounded(snap::read::FrameDecoder::new(&*body))
        }
        Some(Coding::Snappy) => snappy_block(&body),
        None => Err(BodyError::UnknownEncoding(name.into_owned())),
    }
}

fn snappy_block(block: &[u8]) -> Result<Bytes, BodyError> {
    let announced = snap::raw::decompress_len(block).map_err(|error| BodyError::Compression(error.into()))?;
    if announced as u64 > MAX_BODY {
        return Err(BodyError::TooLarge);
    }
    let decoded = snap::raw::Decoder::new().decompress_vec(block);
    decoded.map(Bytes::from).map_err(|error| BodyError::Compression(error.into()))
}

fn read_bounded(decoder: impl Read) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    decoder.take(MAX_BODY + 1).read_to_end(&mut bytes).map_err(BodyError::Compression)?;
    if bytes.len() as u64 > MAX_BODY { Err(BodyError::TooLarge) } else { Ok(bytes.into()) }
}
