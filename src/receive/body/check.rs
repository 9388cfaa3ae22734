//! What decompression must come to, told in another way: the whole body at once, through the codecs' own readers.

use std::io::{self, Read as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::decoder::{STEP, ZSTD_WINDOW_LOG};
use super::{BodyError, Coding, FEED, Limits, Reading, Sink};
use crate::stream::Budget;

/// The limit of what is read here: small, so that short inputs reach it.
const LIMIT: usize = 64 * 1024;

/// How far a decoder may get beyond the limit before it is looked at: what a piece of zlib can stand for, with what
/// its decoder holds back, and a step of zstd.
const BEYOND: usize = if STEP > 1032 * FEED { STEP } else { 1032 * FEED + 64 * 1024 };

/// Reads a body in pieces, as from a socket, and at once, as anyone would; panics if they disagree, or if more than
/// the limit is held. `coding` stands for one of the four. Each of `cuts` is the length of a piece, in turn; the last
/// piece is what is left.
pub fn check(coding: u8, body: &[u8], cuts: &[u8]) {
    let coding = [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Zstd][usize::from(coding % 4)];
    let budget = Arc::new(Budget::new(u64::MAX));
    let limits =
        Limits { size: LIMIT as u64, timeout: Duration::MAX, budget: budget.clone(), arrives: false };
    let read = in_pieces(coding, body, cuts, &limits);
    assert_eq!(budget.used(), 0, "what was reserved is given back");
    match (&read, at_once(coding, body)) {
        (Ok(read), Ok(whole)) => assert!(*read == whole, "{coding:?}: {read:?} is not {whole:?}"),
        // What is too much may be wrong as well, further on.
        (Err(_), Ok(whole)) => assert!(whole.len() > LIMIT, "{coding:?}: {read:?}"),
        (Err(_), Err(_)) => {}
        (read, whole) => panic!("{coding:?}: in pieces {read:?}, at once {whole:?}"),
    }
}

fn in_pieces(coding: Coding, body: &[u8], cuts: &[u8], limits: &Limits) -> Result<Bytes, BodyError> {
    let mut reading = Reading::new(coding, None, limits)?;
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

fn take(reading: &mut Reading, piece: Bytes, last: bool) -> Result<(), BodyError> {
    let taken = now(reading.take(piece, last));
    let (len, capacity) = match &reading.sink {
        Sink::Empty => (0, 0),
        Sink::Whole(bytes) => (bytes.len(), bytes.len()),
        Sink::Joined(bytes) => (bytes.len(), bytes.capacity()),
        Sink::Decoder(_, decoder) => (decoder.decoded().len(), decoder.decoded().capacity()),
    };
    if taken.is_ok() {
        assert!(len <= LIMIT, "{len} bytes are held");
        let used = reading.room.reservation.budget().used();
        assert!(used >= capacity as u64, "{used} of {capacity} bytes are reserved");
    }
    assert!(len <= LIMIT + BEYOND, "{len} bytes have been held");
    taken
}

/// What needs no waiting, since there is memory without end.
fn now<T>(ready: impl Future<Output = T>) -> T {
    match pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("it waits for nothing but memory"),
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
    }
    Ok(whole)
}
