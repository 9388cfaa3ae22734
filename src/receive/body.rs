//! Reading a request's body: bounded in size before and after decompression, in time, and in memory shared with
//! everything else.

#[cfg(any(test, fuzzing))]
mod check;
mod decoder;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use self::decoder::Decoder;
use super::grpc::framing::{FramingError, Part, Unframe};
use crate::stream::{Budget, Patience, Reservation};

#[cfg(any(test, fuzzing))]
pub use self::check::check as check_decompression;

/// A declared length is believed as far as so many times what has really come.
const BELIEVED: usize = 4;

/// Compressed bytes are fed to a decoder in pieces of this size, so that the limits are looked at before a piece can
/// have grown to more than a thousand times itself.
const FEED: usize = 4096;

/// How a body is compressed (`Content-Encoding`, `grpc-encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The zlib format of RFC 1950, which HTTP calls `deflate`.
    Deflate,
}

impl Coding {
    /// The coding of this name.
    pub(super) fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" | "zlib" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// The bounds of one body.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes, as sent and again after decompression.
    pub size: u64,
    /// For the whole body.
    pub timeout: Duration,
    /// What its memory is reserved on.
    pub budget: Arc<Budget>,
    /// Whether more of it arrives also while nobody reads it, as on HTTP/2.
    pub arrives: bool,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// More than the limit.
    #[error("the body is larger than {0} bytes{after}", after = if *.1 { " after decompression" } else { "" })]
    TooLarge(u64, bool),
    /// No memory now.
    #[error("the memory limit is reached")]
    NoMemory,
    /// It did not arrive in time.
    #[error("the body did not arrive within {0:?}")]
    TimedOut(Duration),
    /// The connection ended in the middle of it.
    #[error("the body ended early")]
    Aborted,
    /// Not one message of gRPC.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// Not what its encoding says.
    #[error("the body is not valid {0:?} data: {1}")]
    Corrupt(Coding, std::io::Error),
}

/// A body in one piece, with the memory that it takes.
#[derive(Debug)]
pub struct Received {
    /// The decompressed bytes.
    pub bytes: Bytes,
    /// Reserved for `bytes`.
    pub reservation: Reservation,
}

/// Reads a whole body.
pub(super) async fn read(
    body: &mut Incoming,
    coding: Coding,
    limits: &Limits,
) -> Result<Received, BodyError> {
    let declared = body.size_hint().exact();
    let deadline = Instant::now() + limits.timeout;
    let mut reading = Reading::new(coding, declared, limits)?;
    loop {
        let frame =
            timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::TimedOut(limits.timeout))?;
        match frame {
            None => return reading.finish().await,
            Some(Err(_)) => return Err(BodyError::Aborted),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                let last = body.is_end_stream();
                reading.take(data, last).await?;
            }
        }
    }
}

/// Reads the one message of a unary call.
pub(super) async fn read_message(
    body: &mut Incoming,
    coding: Coding,
    limits: &Limits,
) -> Result<Received, BodyError> {
    let deadline = Instant::now() + limits.timeout;
    let mut unframe = Unframe::default();
    let mut reading = None;
    loop {
        let frame =
            timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::TimedOut(limits.timeout))?;
        let Some(frame) = frame else { break };
        let Ok(mut data) = frame.map_err(|_| BodyError::Aborted)?.into_data() else { continue };
        while let Some(part) = unframe.next(&mut data)? {
            match (part, &mut reading) {
                (Part::Begin { compressed, len }, reading) => {
                    let coding = match (compressed, coding) {
                        (false, _) => Coding::Identity,
                        (true, Coding::Identity) => return Err(FramingError::Encoding.into()),
                        (true, coding) => coding,
                    };
                    *reading = Some(Reading::new(coding, Some(len as u64), limits)?);
                }
                (Part::Data { bytes, last }, Some(reading)) => reading.take(bytes, last).await?,
                (Part::Data { .. }, None) => unreachable!("a message has begun before its data comes"),
            }
        }
    }
    unframe.end()?;
    reading.expect("a message that has ended has begun").finish().await
}

/// Reads on what a sender still has to say before it listens, and forgets it.
pub(super) async fn drain(mut body: Incoming, time: Duration) {
    let _ = tokio::time::timeout(time, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}

struct Reading {
    size: u64,
    /// Bytes as sent.
    read: u64,
    declared: Option<u64>,
    room: Room,
    sink: Sink,
}

/// Where the memory for a body comes from.
struct Room {
    reservation: Reservation,
    patience: Patience,
    /// Whether more of the body may arrive while nobody reads.
    arrives: bool,
}

/// Where the pieces of a body go.
enum Sink {
    /// Nothing has come yet; a body that comes in one piece is used as it is.
    Empty,
    Whole(Bytes),
    Joined(BytesMut),
    Decoder(Coding, Box<Decoder>),
}

impl Reading {
    fn new(coding: Coding, declared: Option<u64>, limits: &Limits) -> Result<Self, BodyError> {
        let size = limits.size.min(limits.budget.limit());
        if declared.is_some_and(|declared| declared > size) {
            return Err(BodyError::TooLarge(size, false));
        }
        let reservation = Reservation::empty(limits.budget.clone());
        let sink = match Decoder::new(coding).map_err(|error| BodyError::Corrupt(coding, error))? {
            None => Sink::Empty,
            Some(decoder) => Sink::Decoder(coding, Box::new(decoder)),
        };
        let room = Room { reservation, patience: Patience::default(), arrives: limits.arrives };
        Ok(Self { size, read: 0, declared, room, sink })
    }

    /// Bytes that are still to come, where that is known.
    fn rest(&self) -> Option<u64> {
        self.declared.map(|declared| declared.saturating_sub(self.read))
    }

    async fn take(&mut self, data: Bytes, last: bool) -> Result<(), BodyError> {
        self.read += data.len() as u64;
        if self.read > self.size {
            return Err(BodyError::TooLarge(self.size, false));
        }
        let rest = self.rest();
        if let Sink::Decoder(coding, decoder) = &mut self.sink {
            for mut piece in data.chunks(FEED) {
                loop {
                    let done =
                        decoder.write(&mut piece).map_err(|error| BodyError::Corrupt(*coding, error))?;
                    let decoded = decoder.decoded().len() as u64;
                    if decoded > self.size {
                        return Err(BodyError::TooLarge(self.size, true));
                    }
                    self.room.grow(decoded - self.room.reservation.bytes(), rest).await?;
                    self.room.reservation.charge_spare(decoder.spare());
                    if done {
                        break;
                    }
                }
            }
            return Ok(());
        }
        self.room.grow(data.len() as u64, rest).await?;
        let mut joined = match std::mem::replace(&mut self.sink, Sink::Empty) {
            Sink::Empty if last => {
                self.sink = Sink::Whole(data);
                return Ok(());
            }
            Sink::Empty => BytesMut::new(),
            Sink::Whole(first) => BytesMut::from(first),
            Sink::Joined(joined) => joined,
            Sink::Decoder(..) => unreachable!("a decoder has taken the data above"),
        };
        let len = joined.len() + data.len();
        if len > joined.capacity() {
            let declared = self.declared.unwrap_or(0) as usize;
            let room = declared.min(len * BELIEVED).max(len);
            joined.reserve(room - joined.len());
        }
        joined.extend_from_slice(&data);
        self.room.reservation.charge_spare((joined.capacity() - len) as u64);
        self.sink = Sink::Joined(joined);
        Ok(())
    }

    async fn finish(mut self) -> Result<Received, BodyError> {
        let bytes = match self.sink {
            Sink::Empty => Bytes::new(),
            Sink::Whole(bytes) => bytes,
            Sink::Joined(joined) => joined.freeze(),
            Sink::Decoder(_, _) if self.read == 0 => Bytes::new(),
            Sink::Decoder(coding, decoder) => {
                let bytes = decoder.finish().map_err(|error| BodyError::Corrupt(coding, error))?;
                let size = bytes.len() as u64;
                if size > self.size {
                    return Err(BodyError::TooLarge(self.size, true));
                }
                self.room.grow(size.saturating_sub(self.room.reservation.bytes()), Some(0)).await?;
                bytes.into()
            }
        };
        Ok(Received { bytes, reservation: self.room.reservation })
    }
}

impl Room {
    /// Reserves so many bytes more, of a body of which `rest` are still to come; if there is no memory, it waits a moment
    /// for some. What arrives meanwhile has to be bounded: where a length was not declared, that can't be known.
    async fn grow(&mut self, bytes: u64, rest: Option<u64>) -> Result<(), BodyError> {
        if self.reservation.grow(bytes) {
            return Ok(());
        }
        let unread = match rest {
            _ if !self.arrives => 0,
            None => return Err(BodyError::NoMemory),
            Some(rest) => rest,
        };
        // Boxed: it is rare, and what a connection's task takes it takes all the time.
        let room = Box::pin(self.reservation.grow_soon(bytes, unread, &mut self.patience)).await;
        if room { Ok(()) } else { Err(BodyError::NoMemory) }
    }
}
