//! Decompression as an oracle does it: the whole body at once, through the codecs' own readers.

use std::io::{self, Read as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::{BELIEVED, BodyLimits, BodyReadError, BodyReading, LEAST_PIECE};
use crate::coding::{Coding, SNAPPY_FRAMES, ZSTD_WINDOW_LOG};
use crate::stream::Budget;

/// The largest body that is read here: small, so that short inputs reach the limit.
const LIMIT: usize = 64 * 1024;

/// The codings that `check` chooses from.
const CODINGS: [Coding; 6] =
    [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy, Coding::Lz4];

/// Reads a body in pieces, as from a socket, and at once, as anyone would; panics if they disagree, or if more is held
/// than has come, or than is reserved. `coding` stands for one of the six. Each of `cuts` is the length of a piece, in
/// turn; the last piece is what is left.
pub fn check(coding: u8, body: &[u8], cuts: &[u8]) {
    let coding = CODINGS[usize::from(coding) % CODINGS.len()];
    let budget = Arc::new(Budget::new(u64::MAX / 2));
    let limits =
        BodyLimits { size: LIMIT as u64, timeout: Duration::MAX, budget: budget.clone(), arrives: false };
    let read = in_pieces(coding, body, cuts, &limits);
    assert_eq!(budget.used(), 0, "what was reserved is given back");
    match (&read, at_once(coding, body)) {
        (Ok(read), Ok(whole)) => assert!(*read == whole, "{coding:?}: {read:?} is not {whole:?}"),
        // The crate's reader takes a frame that is cut off for a whole one.
        (Err(_), Ok(_)) if coding == Coding::Lz4 => {}
        // A body that is too large may also be invalid further on.
        (Err(_), Ok(whole)) => assert!(whole.len() > LIMIT, "{coding:?}: {read:?}"),
        // Input that the crate's reader does not support.
        (_, Err(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        (Err(_), Err(_)) => {}
        (read, whole) => panic!("{coding:?}: in pieces {read:?}, at once {whole:?}"),
    }
}

fn in_pieces(coding: Coding, body: &[u8], cuts: &[u8], limits: &BodyLimits) -> Result<Bytes, BodyReadError> {
    let mut reading = BodyReading::new(coding, None, limits)?;
    let mut rest = Bytes::copy_from_slice(body);
    for cut in cuts {
        let piece = rest.split_to(rest.len().min(usize::from(*cut)));
        take(&mut reading, piece, rest.is_empty())?;
    }
    take(&mut reading, rest, true)?;
    let read = now(reading.finish())?;
    assert_eq!(read.reservation.bytes(), read.bytes.len() as u64);
    Ok(read.bytes)
}

fn take(reading: &mut BodyReading, piece: Bytes, last: bool) -> Result<(), BodyReadError> {
    if piece.is_empty() {
        return Ok(());
    }
    now(reading.take(piece, last))?;
    let (len, held) = (reading.gathered.len(), reading.gathered.held());
    assert_eq!(len as u64, reading.read);
    assert!(held <= LEAST_PIECE.max(BELIEVED * len), "{held} bytes are held for {len}");
    assert_eq!(reading.room.held(), held, "what is held is reserved");
    Ok(())
}

/// Runs a future that waits for nothing but its turn, since there is memory without end.
fn now<T>(ready: impl Future<Output = T>) -> T {
    let mut ready = pin!(ready);
    loop {
        if let Poll::Ready(done) = ready.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

/// The decoded body, or what is beyond the limit of it.
fn at_once(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let most = LIMIT as u64 + 1;
    match coding {
        // An empty body is one of no bytes, however it says that it is compressed.
        _ if body.is_empty() => {}
        Coding::Identity => whole.extend_from_slice(body),
        Coding::Gzip => _ = flate2::bufread::MultiGzDecoder::new(body).take(most).read_to_end(&mut whole)?,
        Coding::Deflate => {
            whole.reserve_exact(most as usize);
            let mut raw = Decompress::new(true);
            let status = raw.decompress_vec(body, &mut whole, FlushDecompress::Finish)?;
            let ended = status == Status::StreamEnd && raw.total_in() == body.len() as u64;
            if !ended && whole.len() <= LIMIT {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            decoder.take(most).read_to_end(&mut whole)?;
        }
        Coding::Snappy if body.starts_with(&SNAPPY_FRAMES) => {
            _ = snap::read::FrameDecoder::new(body).take(most).read_to_end(&mut whole)?;
        }
        Coding::Snappy => {
            let announced = snap::raw::decompress_len(body)?;
            if announced > body.len() * 100 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            whole = snap::raw::Decoder::new().decompress_vec(body)?;
        }
        // Frames that are to be skipped are an error there.
        Coding::Lz4 if body.get(1..4) == Some(b"\x2a\x4d\x18") => {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Coding::Lz4 => {
            // The crate's own reader of frames, which stops behind the first, and at an empty block.
            let mut rest = body;
            lz4_flex::frame::FrameDecoder::new(&mut rest).take(most).read_to_end(&mut whole)?;
            if !rest.is_empty() {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
    }
    Ok(whole)
}
