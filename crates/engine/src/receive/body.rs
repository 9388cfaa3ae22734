//! Reading a request's body: bounded in size before and after decompression, in time, and in memory shared with
//! everything else.
//!
//! A body is gathered as it comes, compressed or not, and decoded once it is whole. So a body that has begun takes no more
//! memory than a few times what has come of it, in however small pieces, and nothing is decoded of one that never ends.

#[cfg(any(test, fuzzing, feature = "fuzzed"))]
mod check;
mod chunks;
mod decoder;
mod lz4;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use self::chunks::BodyChunks;
use self::decoder::{Decoder, SnappyBlock};
use self::lz4::Filled;
use super::aside::{MOST_OF_A_WORKER, aside};
use super::copy::{COPYING, CopyPermit};
use super::framing::{FramingError, MessagePart, MessageReader};
use crate::coding::Coding;
use crate::stream::{Budget, Patience, Reservation};

#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use self::check::check as check_decompression;

/// A declared length is believed up to this many times the bytes that have really come.
const BELIEVED: usize = 4;

/// The same once [`MUCH`] of a body has come that is not compressed, while memory is plenty: what comes in one piece need not be copied
/// into one.
const BELIEVED_OF_MUCH: usize = 32;
const MUCH: usize = 32 * 1024;

/// The least memory that is reserved for a body that comes in pieces.
const LEAST_PIECE: usize = 256;

/// The most memory that is reserved at once for a body of unknown length, and the most bytes that are decoded before other
/// tasks have their turn: less than a millisecond's work.
const STEP: usize = 256 * 1024;

/// The most compressed bytes that are read before other tasks have their turn, whether anything comes out of them or not: empty
/// parts of this size take a millisecond.
const STEP_INPUT: usize = 64 * 1024;

/// The factor by which a decoded body is expected to be larger, for the first reservation.
const EXPANSION: usize = 8;

/// Compressed bodies up to this size are decoded by the worker that has read them, but for steps that may come to more than
/// [`MOST_OF_A_WORKER`]: a body that takes more steps than these few keeps a worker busy for too long with all of them.
const SMALL: usize = 32 * 1024;

/// The bounds of one body.
#[derive(Clone, Debug)]
pub(super) struct BodyLimits {
    /// Bytes, as sent and again after decompression.
    pub size: u64,
    /// The time in which the whole body must arrive.
    pub timeout: Duration,
    /// The budget that its memory is reserved on.
    pub budget: Arc<Budget>,
    /// Whether more of it arrives while nobody reads it, as on HTTP/2.
    pub arrives: bool,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyReadError {
    /// The body is larger than the limit.
    #[error("the body is larger than {0} bytes{after}", after = if *.1 { " after decompression" } else { "" })]
    TooLarge(u64, bool),
    /// There is no memory for the body now.
    #[error("the memory limit is reached")]
    NoMemory,
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0:?}")]
    TimedOut(Duration),
    /// The connection ended in the middle of it.
    #[error("the body ended early")]
    Aborted,
    /// The body is not one message of gRPC.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The body is not encoded as its header says.
    #[error("the body is not valid {0:?} data: {1}")]
    Corrupt(Coding, std::io::Error),
    /// Decompressing the body takes more than the memory limit beside the result.
    #[error("decompressing the body takes more than the memory limit of {0} bytes, so it can never be taken")]
    NeverFits(u64),
}

impl BodyReadError {
    /// Whether the sender may still be sending, and has to finish before it reads the answer.
    pub(super) fn is_worth_draining(&self) -> bool {
        !matches!(self, Self::TimedOut(_) | Self::Aborted)
    }
}

/// A body in one piece, with the memory that it takes.
#[derive(Debug)]
pub struct Received {
    /// The decompressed bytes.
    pub bytes: Bytes,
    /// Reserved for `bytes`.
    pub reservation: Reservation,
    /// The memory that is free once `bytes` are, if nothing else is in it.
    pub own_memory: Option<u64>,
}

/// Reads a whole body.
pub(super) async fn read(
    body: &mut Incoming,
    coding: Coding,
    limits: &BodyLimits,
) -> Result<Received, BodyReadError> {
    let declared = body.size_hint().exact();
    let mut pieces = BodyPieces::new(body, limits);
    let mut reading = BodyReading::new(coding, declared, limits)?;
    while let Some((data, last)) = pieces.next().await? {
        reading.take(data, last).await?;
    }
    reading.finish().await
}

/// Reads the one message of a unary call.
pub(super) async fn read_message(
    body: &mut Incoming,
    coding: Coding,
    limits: &BodyLimits,
) -> Result<Received, BodyReadError> {
    let mut pieces = BodyPieces::new(body, limits);
    let mut unframe = MessageReader::default();
    let mut reading = None;
    while let Some((mut data, _)) = pieces.next().await? {
        while let Some(part) = unframe.next(&mut data)? {
            match (part, &mut reading) {
                (MessagePart::Begin { compressed, len }, reading) => {
                    let coding = match (compressed, coding) {
                        (false, _) => Coding::Identity,
                        (true, Coding::Identity) => return Err(FramingError::Encoding.into()),
                        (true, coding) => coding,
                    };
                    *reading = Some(BodyReading::new(coding, Some(len as u64), limits)?);
                }
                (MessagePart::Data { bytes, last }, Some(reading)) => reading.take(bytes, last).await?,
                (MessagePart::Data { .. }, None) => unreachable!("a message has begun before its data comes"),
            }
        }
    }
    unframe.end()?;
    reading.expect("a message that has ended has begun").finish().await
}

/// A body as it comes, in time.
struct BodyPieces<'b> {
    body: &'b mut Incoming,
    timeout: Duration,
    deadline: Instant,
}

impl<'b> BodyPieces<'b> {
    fn new(body: &'b mut Incoming, limits: &BodyLimits) -> Self {
        let timeout = limits.timeout;
        Self { body, timeout, deadline: Instant::now() + timeout }
    }

    /// The next piece that has anything in it (how many may have nothing is bounded by the connection), and whether it is known
    /// to be the last.
    async fn next(&mut self) -> Result<Option<(Bytes, bool)>, BodyReadError> {
        loop {
            let frame = timeout_at(self.deadline, self.body.frame());
            let Some(frame) = frame.await.map_err(|_| BodyReadError::TimedOut(self.timeout))? else {
                return Ok(None);
            };
            let Ok(data) = frame.map_err(|_| BodyReadError::Aborted)?.into_data() else { continue };
            if !data.is_empty() {
                return Ok(Some((data, self.body.is_end_stream())));
            }
        }
    }
}

/// A body that is coming.
struct BodyReading {
    coding: Coding,
    size: u64,
    /// Bytes as sent.
    read: u64,
    declared: Option<u64>,
    room: BodyRoom,
    gathered: BodyChunks,
    /// Whether what is gathered is in the memory of what has read it, with other bytes.
    is_borrowed: bool,
}

/// The memory for a body. The reservation is at all times as large as the memory that is allocated.
struct BodyRoom {
    reservation: Reservation,
    patience: Patience,
    /// Whether more of the body may arrive while nobody reads it.
    arrives: bool,
}

impl BodyReading {
    fn new(coding: Coding, declared: Option<u64>, limits: &BodyLimits) -> Result<Self, BodyReadError> {
        let size = limits.size.min(limits.budget.limit());
        if declared.is_some_and(|declared| declared > size) {
            return Err(BodyReadError::TooLarge(size, false));
        }
        let reservation = Reservation::empty(limits.budget.clone());
        let room = BodyRoom { reservation, patience: Patience::default(), arrives: limits.arrives };
        Ok(Self {
            coding,
            size,
            read: 0,
            declared,
            room,
            gathered: BodyChunks::default(),
            is_borrowed: false,
        })
    }

    /// Takes the next piece, which is not empty.
    async fn take(&mut self, data: Bytes, last: bool) -> Result<(), BodyReadError> {
        let before = self.read as usize;
        self.read += data.len() as u64;
        if self.read > self.size {
            return Err(BodyReadError::TooLarge(self.size, false));
        }
        // Bytes that are still to come, where that is known.
        let rest = self.declared.map(|declared| declared.saturating_sub(self.read));
        if before == 0 && last {
            // A body that comes in one piece is used as it is.
            self.room.grow(data.len(), rest).await?;
            let held = data.len();
            self.gathered.push(data, held);
            self.is_borrowed = true;
            return Ok(());
        }
        let (fits, more) = data.split_at(data.len().min(self.gathered.spare()));
        self.gathered.append(fits);
        if more.is_empty() {
            return Ok(());
        }
        // As much again as has come, or what is declared as far as it is believed.
        let read = self.read as usize;
        let expected = match rest {
            Some(rest) => {
                let believed = (self.believed() * read).saturating_sub(self.gathered.held());
                (more.len() + rest as usize).min(believed)
            }
            None => read.clamp(LEAST_PIECE, STEP),
        };
        let mut capacity = expected.max(more.len());
        if !self.room.reservation.grow(capacity as u64) {
            capacity = more.len();
            self.room.grow(capacity, rest).await?;
        }
        self.gathered.begin(capacity);
        self.gathered.append(more);
        debug_assert_eq!(self.room.held(), self.gathered.held(), "what is allocated is reserved");
        Ok(())
    }

    /// How many times the bytes that have come the body is believed to have, if its sender declares as many.
    fn believed(&self) -> usize {
        let is_plenty = self.coding == Coding::Identity && self.room.reservation.budget().is_ample();
        if is_plenty && self.read as usize >= MUCH { BELIEVED_OF_MUCH } else { BELIEVED }
    }

    /// The body, decoded, once all of it has been taken.
    async fn finish(self) -> Result<Received, BodyReadError> {
        let Self { coding, size, read, mut room, gathered, is_borrowed, .. } = self;
        let is_as_sent = coding == Coding::Identity || read == 0;
        // An empty body is empty, whatever coding its header names.
        let whole = if is_as_sent {
            gathered
        } else {
            // Boxed, since a connection's task is as large all the time as its largest state.
            Box::pin(Decoding { coding, size, room: &mut room }.decode(gathered)).await?
        };
        let (len, held) = (whole.len(), whole.held());
        debug_assert_eq!(room.held(), held, "what is allocated is reserved");
        let (bytes, memory) = match whole.whole() {
            Ok(bytes) => {
                room.give_back(held - len);
                room.reservation.charge_spare((held - len) as u64);
                (bytes, held)
            }
            Err(pieces) => (Box::pin(room.join(pieces)).await?, len),
        };
        let own_memory = (!is_as_sent || !is_borrowed).then_some(memory as u64);
        Ok(Received { bytes, reservation: room.reservation, own_memory })
    }
}

/// A body that is whole and compressed.
struct Decoding<'r> {
    coding: Coding,
    size: u64,
    room: &'r mut BodyRoom,
}

impl Decoding<'_> {
    async fn decode(self, input: BodyChunks) -> Result<BodyChunks, BodyReadError> {
        if self.coding == Coding::Snappy
            && let Some(block) = SnappyBlock::announced(&input).map_err(|error| self.corrupt(error))?
        {
            return self.decode_block(&block, input).await;
        }
        let large = input.len() > SMALL;
        let mut expected = input.len().saturating_mul(EXPANSION).clamp(LEAST_PIECE, STEP);
        let mut memory = Decoder::first_memory(self.coding);
        self.room.fit(memory).await?;
        let mut decoder = Decoder::new(self.coding, input).map_err(|error| self.corrupt(error))?;
        let mut decoded = BodyChunks::default();
        loop {
            self.room.fit(expected).await?;
            let mut piece = vec![0; expected];
            let mut filled = 0;
            let ended = loop {
                let needed = decoder.memory(expected - filled);
                if needed > memory {
                    self.room.fit(needed - memory).await?;
                } else {
                    self.room.give_back(memory - needed);
                }
                memory = needed;
                let before = decoder.input().held();
                // A few bytes of LZ4 may be a block of mebibytes.
                let most = decoder.most_of_a_step(expected - filled, memory, STEP_INPUT);
                let step = || decoder.fill(&mut piece[filled..], memory, STEP_INPUT);
                let result = aside(large || most > MOST_OF_A_WORKER, step).await;
                self.room.give_back(before - decoder.input().held());
                match result.map_err(|error| self.corrupt(error))? {
                    Filled::Whole(more) => {
                        filled += more;
                        break true;
                    }
                    Filled::Partly(more) => filled += more,
                }
                if filled == expected {
                    break false;
                }
                yield_now().await;
            };
            if filled > 0 {
                piece.truncate(filled);
                decoded.push(piece, expected);
            } else {
                self.room.give_back(expected);
            }
            if decoded.len() as u64 > self.size {
                return Err(BodyReadError::TooLarge(self.size, true));
            }
            if ended {
                break;
            }
            expected = decoded.len().clamp(LEAST_PIECE, STEP);
            yield_now().await;
        }
        let left = decoder.input().held();
        drop(decoder);
        self.room.give_back(memory + left);
        Ok(decoded)
    }

    /// A block of snappy refers to any part of itself, so that it is decoded in one piece, from one piece.
    async fn decode_block(self, block: &SnappyBlock, input: BodyChunks) -> Result<BodyChunks, BodyReadError> {
        if block.len as u64 > self.size {
            return Err(BodyReadError::TooLarge(self.size, true));
        }
        let (len, held) = (input.len(), input.held());
        let input = match input.whole() {
            Ok(whole) => whole,
            Err(pieces) => {
                self.room.fit(len).await?;
                let joined = aside(len > MOST_OF_A_WORKER, || pieces.join()).await;
                self.room.give_back(held);
                joined
            }
        };
        self.room.fit(block.len).await?;
        let decoded = aside(block.len > STEP, || block.decode(&input)).await;
        let decoded = decoded.map_err(|error| self.corrupt(error))?;
        drop(input);
        let mut whole = BodyChunks::default();
        whole.push(decoded, block.len);
        self.room.give_back(self.room.held() - whole.held());
        Ok(whole)
    }

    fn corrupt(&self, error: std::io::Error) -> BodyReadError {
        BodyReadError::Corrupt(self.coding, error)
    }
}

impl BodyRoom {
    /// Bytes that are reserved.
    fn held(&self) -> usize {
        self.reservation.bytes() as usize
    }

    /// Reserves so many bytes more, of a body of which `rest` are still to come; if there is no memory, it waits a moment
    /// for some. What arrives meanwhile has to be bounded: where a length was not declared, that can't be known.
    async fn grow(&mut self, bytes: usize, rest: Option<u64>) -> Result<(), BodyReadError> {
        let bytes = bytes as u64;
        if self.reservation.grow(bytes) {
            return Ok(());
        }
        let unread = match rest {
            _ if !self.arrives => 0,
            None => return Err(BodyReadError::NoMemory),
            Some(rest) => rest,
        };
        // Boxed, since it is rare, and a connection's task is as large all the time as its largest state.
        let room = Box::pin(self.reservation.grow_soon(bytes, unread, &mut self.patience)).await;
        if room { Ok(()) } else { Err(BodyReadError::NoMemory) }
    }

    /// Reserves so many bytes more, for a body that is there as a whole, if that can ever fit beside what it takes already.
    async fn fit(&mut self, bytes: usize) -> Result<(), BodyReadError> {
        let limit = self.reservation.budget().limit();
        if self.reservation.bytes() + bytes as u64 > limit {
            return Err(BodyReadError::NeverFits(limit));
        }
        self.grow(bytes, Some(0)).await
    }

    fn give_back(&mut self, bytes: usize) {
        drop(self.reservation.split_off(bytes as u64));
    }

    /// The bytes of a body in one piece, which stay reserved.
    async fn join(&mut self, mut pieces: BodyChunks) -> Result<Bytes, BodyReadError> {
        let (len, held) = (pieces.len(), pieces.held());
        loop {
            let reservation = &mut self.reservation;
            let joined = aside(len > MOST_OF_A_WORKER, || match CopyPermit::take(len, reservation) {
                None => Err(pieces),
                Some(_leave) => {
                    let joined = pieces.join();
                    CopyPermit::end(len, reservation);
                    Ok(joined)
                }
            });
            match joined.await {
                Ok(joined) => {
                    self.give_back(held - len);
                    return Ok(joined);
                }
                Err(_) if self.patience.is_over() => return Err(BodyReadError::NoMemory),
                Err(back) => pieces = back,
            }
            sleep(COPYING).await;
        }
    }
}
