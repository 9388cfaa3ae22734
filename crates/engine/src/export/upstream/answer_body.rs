//! The body of an upstream's answer, as far as it is kept: its start, and its end if it is long.
//!
//! An answer says how many records were not taken, and why. That fits into a few bytes; but whoever answers decides how
//! many it sends, and hundreds of answers may be on their way. So at most [`KEPT`] bytes of one are stored and charged
//! to the memory budget; what else arrives is counted and discarded. Longer than [`MAX_ANSWER`] bytes is no answer.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use thiserror::Error;

use crate::coding::{Coding, ZSTD_WINDOW_LOG};
use crate::stream::{Budget, Reservation};

/// Bytes of an answer that are read, before and again after decompression (OTLP rules 5 and 33).
pub(in crate::export) const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Bytes of an answer that are stored.
const KEPT: usize = 64 * 1024;

/// Bytes of its start among them. Up to as many others are stored behind those: what follows, and of a longer answer its
/// end, at least half as many.
const HALF: usize = KEPT / 2;

/// Why an answer's body is not known.
#[derive(Debug, Error)]
pub enum AnswerError {
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the answer broke off")]
    BrokeOff,
    #[error("the answer's compression is not supported or does not match its bytes")]
    Encoding,
    #[error("the answer's body is not an OTLP response")]
    Format,
}

/// The body of one answer.
#[derive(Debug)]
pub(crate) struct UpstreamAnswerBody {
    start: Vec<u8>,
    /// What came behind `start`, until that is too much; then the end of it.
    rest: Vec<u8>,
    /// Bytes that have arrived.
    len: usize,
    /// Whether those are all that there are, as far as is known.
    complete: bool,
    /// For `start` and `rest`.
    charged: Reservation,
}

/// What is known of a body.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Excerpt<'a> {
    /// Its first bytes.
    pub(in crate::export) start: &'a [u8],
    /// Its last bytes and where they stand. There is a gap before them, unless that is where `start` ends.
    pub(in crate::export) end: (usize, &'a [u8]),
}

impl UpstreamAnswerBody {
    /// One of which nothing has arrived. What is stored of it is charged to `budget` even if there is no room: the batch
    /// that it is about has to leave before there can be.
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        let charged = Reservation::empty(Arc::clone(budget));
        Self { start: Vec::new(), rest: Vec::new(), len: 0, complete: true, charged }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), AnswerError> {
        if bytes.len() > MAX_ANSWER - self.len {
            return Err(AnswerError::TooLong);
        }
        self.len += bytes.len();
        let (first, behind) = bytes.split_at(bytes.len().min(HALF - self.start.len()));
        append(&mut self.start, first);
        // The last of a large piece alone, so that `rest` never has to grow for what is discarded.
        let behind = &behind[behind.len().saturating_sub(HALF)..];
        if self.rest.len() + behind.len() > HALF {
            // Half of it, so that pieces of a byte do not each move what is there.
            let kept = (HALF / 2).max(behind.len()) - behind.len();
            self.rest.drain(..self.rest.len() - kept.min(self.rest.len()));
        }
        append(&mut self.rest, behind);
        debug_assert!(self.start.capacity() <= HALF && self.rest.capacity() <= HALF);
        self.charged.charge_spare((self.start.capacity() + self.rest.capacity()) as u64);
        Ok(())
    }

    /// Bytes that have arrived.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether all of it is known.
    pub(in crate::export) fn is_whole(&self) -> bool {
        self.complete && self.len == self.start.len() + self.rest.len()
    }

    /// All of it, if that is known.
    pub(crate) fn whole(&self) -> Option<Cow<'_, [u8]>> {
        self.is_whole().then(|| self.known())
    }

    /// Its bytes as far as they are known without a gap.
    pub(in crate::export) fn known(&self) -> Cow<'_, [u8]> {
        if self.rest.is_empty() || self.len != self.start.len() + self.rest.len() {
            Cow::Borrowed(&self.start)
        } else {
            Cow::Owned([&self.start[..], &self.rest].concat())
        }
    }

    /// What is known of it.
    pub(in crate::export) fn excerpt(&self) -> Excerpt<'_> {
        Excerpt { start: &self.start, end: (self.len - self.rest.len(), &self.rest) }
    }

    /// Undoes a compression, if it is one of [`Coding::OF_ANSWERS`]. `deflate` without the frame of zlib is taken as well.
    /// Of a body that is not whole, the beginning is found.
    pub(in crate::export) fn decompressed(&self, coding: Coding) -> Result<Self, AnswerError> {
        let known = self.known();
        match self.decode(&known, coding) {
            // What some servers call so.
            Err(AnswerError::Encoding) if coding == Coding::Deflate => {
                self.collect(flate2::read::DeflateDecoder::new(&*known))
            }
            decoded => decoded,
        }
    }

    /// Undoes the compression that it looks like.
    pub(in crate::export) fn guessed(&self) -> Option<Result<Self, AnswerError>> {
        guess(&self.start).map(|coding| self.decompressed(coding))
    }

    fn decode(&self, bytes: &[u8], coding: Coding) -> Result<Self, AnswerError> {
        match coding {
            Coding::Gzip => self.collect(flate2::read::MultiGzDecoder::new(bytes)),
            Coding::Deflate => self.collect(flate2::read::ZlibDecoder::new(bytes)),
            Coding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                });
                self.collect(decoder.map_err(|_| AnswerError::Encoding)?)
            }
            Coding::Identity | Coding::Snappy | Coding::Lz4 => Err(AnswerError::Encoding),
        }
    }

    /// A body of what a decoder has to say.
    fn collect(&self, decoder: impl io::Read) -> Result<Self, AnswerError> {
        let mut plain = Self::new(self.charged.budget());
        let copied = io::copy(&mut decoder.take(MAX_ANSWER as u64 + 1), &mut plain);
        match copied {
            Ok(_) => {}
            Err(_) if plain.len == MAX_ANSWER => return Err(AnswerError::TooLong),
            // The end of what is compressed was not kept.
            Err(_) if !self.is_whole() && plain.len > 0 => plain.complete = false,
            Err(_) => return Err(AnswerError::Encoding),
        }
        Ok(plain)
    }
}

/// The coding that these bytes begin like, whatever they are labelled as.
fn guess(bytes: &[u8]) -> Option<Coding> {
    match bytes {
        [0x1f, 0x8b, 8, ..] => Some(Coding::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Coding::Zstd),
        // A window of 32 KiB, and a check of the two bytes (RFC 1950, section 2.2).
        [0x78, flags, ..] if (0x7800 + u16::from(*flags)) % 31 == 0 => Some(Coding::Deflate),
        _ => None,
    }
}

/// Appends within a capacity of a power of two, up to [`HALF`].
fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    let needed = to.len() + bytes.len();
    if needed > to.capacity() {
        let capacity = needed.next_power_of_two().clamp(64, HALF);
        to.reserve_exact(capacity - to.len());
    }
    to.extend_from_slice(bytes);
}

/// What is decompressed.
impl Write for UpstreamAnswerBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As far as it may go, so that `len` tells afterwards that it went too far.
        let taken = bytes.len().min(MAX_ANSWER - self.len);
        self.push(&bytes[..taken]).map_err(io::Error::other)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Excerpt<'_> {
    /// The byte at a position, if it is known.
    pub(in crate::export) fn byte(self, at: usize) -> Option<u8> {
        let (end_at, end) = self.end;
        let behind = || end.get(at.checked_sub(end_at)?);
        self.start.get(at).or_else(behind).copied()
    }

    /// Where it ends.
    pub(in crate::export) fn len(self) -> usize {
        self.end.0 + self.end.1.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(u64::MAX))
    }

    fn body(budget: &Arc<Budget>, bytes: &[u8], piece: usize) -> UpstreamAnswerBody {
        let mut body = UpstreamAnswerBody::new(budget);
        for piece in bytes.chunks(piece) {
            body.push(piece).unwrap();
        }
        body
    }

    /// Bytes that tell where they stand.
    fn numbered(len: usize) -> Vec<u8> {
        (0_u32..).flat_map(u32::to_be_bytes).take(len).collect()
    }

    #[test]
    fn up_to_64_kib_are_kept_whole_in_whatever_pieces_they_come() {
        for len in [0, 1, 63, HALF - 1, HALF, HALF + 1, KEPT - 1, KEPT] {
            let bytes = numbered(len);
            for piece in [1, 7, 16_384, KEPT] {
                let budget = budget();
                let body = body(&budget, &bytes, piece);
                assert_eq!(body.whole().as_deref(), Some(&bytes[..]), "{len} by {piece}");
                assert!(budget.used() >= len as u64 && budget.used() <= KEPT as u64, "{}", budget.used());
            }
        }
    }

    #[test]
    fn of_a_longer_answer_start_and_end_are_kept_and_never_more_than_64_kib_are_charged() {
        for len in [KEPT + 1, 100_000, MAX_ANSWER] {
            let bytes = numbered(len);
            for piece in [1, 1000, 16_384, 200_000] {
                let budget = budget();
                let mut body = UpstreamAnswerBody::new(&budget);
                for piece in bytes.chunks(piece) {
                    body.push(piece).unwrap();
                    assert!(budget.used() <= KEPT as u64, "{}", budget.used());
                }
                assert!(body.whole().is_none());
                let excerpt = body.excerpt();
                assert_eq!((excerpt.start, excerpt.len()), (&bytes[..HALF], len));
                assert!(excerpt.end.1.len() >= HALF / 2, "{}", excerpt.end.1.len());
                assert_eq!(excerpt.end.1, &bytes[excerpt.end.0..]);
                assert_eq!(excerpt.byte(len - 1), bytes.last().copied());
                assert_eq!((excerpt.byte(HALF), excerpt.byte(len)), (None, None));
                drop(body);
                assert_eq!(budget.used(), 0);
            }
        }
    }

    #[test]
    fn rules_5_and_33_more_than_4_mib_is_refused() {
        let mut body = body(&budget(), &vec![0; MAX_ANSWER], 16_384);
        assert!(matches!(body.push(b"x"), Err(AnswerError::TooLong)));
    }

    #[test]
    fn a_coding_is_told_by_its_first_bytes() {
        use flate2::Compression;
        let gzip = flate2::write::GzEncoder::new(b"".to_vec(), Compression::fast()).finish().unwrap();
        for level in 0..10 {
            let zlib = flate2::write::ZlibEncoder::new(b"".to_vec(), Compression::new(level));
            assert_eq!(guess(&zlib.finish().unwrap()), Some(Coding::Deflate), "{level}");
        }
        assert_eq!(guess(&gzip), Some(Coding::Gzip));
        assert_eq!(guess(&zstd::encode_all(&b"x"[..], 1).unwrap()), Some(Coding::Zstd));
        for plain in [&b""[..], b"{}", b"\x0a\x00", b"\x0a\x02\x08\x01", b"x", b"\x1f\x8b"] {
            assert_eq!(guess(plain), None, "{plain:?}");
        }
    }

    #[test]
    fn an_answer_is_read_in_the_codings_that_are_asked_for_and_no_other() {
        use flate2::Compression;
        for coding in Coding::OF_REQUESTS {
            let bytes = match coding {
                Coding::Gzip => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(b"plain").unwrap();
                    encoder.finish().unwrap()
                }
                Coding::Deflate => {
                    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(b"plain").unwrap();
                    encoder.finish().unwrap()
                }
                Coding::Zstd => zstd::encode_all(&b"plain"[..], 1).unwrap(),
                Coding::Snappy => snap::raw::Encoder::new().compress_vec(b"plain").unwrap(),
                Coding::Lz4 | Coding::Identity => b"plain".to_vec(),
            };
            let decoded = body(&budget(), &bytes, 16).decompressed(coding);
            if Coding::OF_ANSWERS.contains(&coding) {
                assert_eq!(decoded.unwrap().whole().as_deref(), Some(&b"plain"[..]), "{coding:?}");
            } else {
                assert!(matches!(decoded, Err(AnswerError::Encoding)), "{coding:?}");
            }
        }
    }
}
