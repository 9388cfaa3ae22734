//! The body of a unary call as it comes: exactly one message, behind the prefix that [`crate::rpc::prefix`] writes.
//! Nothing is gathered here: the bytes of the message are passed on piece by piece.

use bytes::{Buf as _, Bytes};

use crate::rpc::PREFIX;

/// Reads the body of a unary call: one framed message.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    begun: usize,
    /// Bytes of the message that are to come.
    remaining: usize,
}

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessagePart {
    /// The message begins.
    Begin {
        /// Whether it is compressed by the coding that `grpc-encoding` names.
        compressed: bool,
        /// The length in bytes that the sender declares.
        len: usize,
    },
    /// Bytes of the message.
    Data {
        /// At least one.
        bytes: Bytes,
        /// Whether the message is complete with these bytes.
        last: bool,
    },
}

/// Why a body is not one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// The first byte is neither 0 nor 1.
    #[error("the message begins with {0}, where 0 or 1 says whether it is compressed")]
    Flag(u8),
    /// There are bytes after the message.
    #[error("there is a second message, but the call is unary")]
    Second,
    /// There is no message at all.
    #[error("the call has no message")]
    None,
    /// The body ends within the message.
    #[error("the message ended early")]
    Truncated,
    /// The message says that it is compressed, but no header names the coding.
    #[error("the message is compressed, but `grpc-encoding` doesn't say how")]
    Encoding,
}

impl MessageReader {
    /// The next part of the body in `data`, which moves on; `None` once `data` is used up.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<MessagePart>, FramingError> {
        if self.begun < PREFIX {
            let more = data.len().min(PREFIX - self.begun);
            data.copy_to_slice(&mut self.prefix[self.begun..self.begun + more]);
            self.begun += more;
            if self.begun < PREFIX {
                return Ok(None);
            }
            let [flag, len @ ..] = self.prefix;
            if flag > 1 {
                return Err(FramingError::Flag(flag));
            }
            self.remaining = u32::from_be_bytes(len) as usize;
            return Ok(Some(MessagePart::Begin { compressed: flag == 1, len: self.remaining }));
        }
        if data.is_empty() {
            return Ok(None);
        }
        if self.remaining == 0 {
            return Err(FramingError::Second);
        }
        let bytes = data.split_to(data.len().min(self.remaining));
        self.remaining -= bytes.len();
        Ok(Some(MessagePart::Data { bytes, last: self.remaining == 0 }))
    }

    /// Whether the body may end here.
    pub(crate) fn end(&self) -> Result<(), FramingError> {
        match self.begun {
            0 => Err(FramingError::None),
            PREFIX if self.remaining == 0 => Ok(()),
            _ => Err(FramingError::Truncated),
        }
    }
}

/// Reads a body in pieces, as [`MessageReader`] does, and at once, as anyone would; panics if they disagree. Each of `cuts`
/// is the length of a piece, in turn.
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub fn check(body: &[u8], cuts: &[u8]) {
    let mut unframe = MessageReader::default();
    let mut found = (None, Vec::new());
    let mut rest = Bytes::copy_from_slice(body);
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(u8::MAX));
    let pieces = std::iter::from_fn(|| {
        let len = rest.len().min(usize::from(cuts.next()?));
        let more = !rest.is_empty();
        more.then(|| rest.split_to(len))
    });
    let mut outcome = Ok(());
    for mut piece in pieces {
        loop {
            match unframe.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(MessagePart::Begin { compressed, len })) => {
                    assert!(found.0.replace((compressed, len)).is_none(), "a message begins once");
                }
                Ok(Some(MessagePart::Data { bytes, last })) => {
                    assert!(!bytes.is_empty());
                    found.1.extend_from_slice(&bytes);
                    assert_eq!(Some(last), found.0.map(|(_, len)| len == found.1.len()));
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| unframe.end());
    let expected = match body {
        [] => Err(FramingError::None),
        [flag, _, _, _, _, ..] if *flag > 1 => Err(FramingError::Flag(*flag)),
        [_, a, b, c, d, message @ ..] => {
            let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            match message.len().cmp(&len) {
                std::cmp::Ordering::Less => Err(FramingError::Truncated),
                std::cmp::Ordering::Equal => Ok(message),
                std::cmp::Ordering::Greater => Err(FramingError::Second),
            }
        }
        _ => Err(FramingError::Truncated),
    };
    assert_eq!(outcome.map(|()| found.1.as_slice()), expected);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::framed;

    proptest! {
        #[test]
        fn any_body_in_any_pieces_reads_as_it_does_at_once(
            flag in 0_u8..3,
            message in proptest::collection::vec(any::<u8>(), 0..40),
            lie in -2_i32..3,
            cut in 0_usize..50,
            cuts in proptest::collection::vec(0_u8..12, 0..30),
        ) {
            let len = (message.len() as i32 + lie).max(0) as u32;
            let mut body = vec![flag];
            body.extend(len.to_be_bytes());
            body.extend(&message);
            check(&body, &cuts);
            body.truncate(cut);
            check(&body, &cuts);
        }
    }

    #[test]
    fn what_is_framed_reads_as_it_was() {
        let mut body = framed(b"hello", true);
        let mut unframe = MessageReader::default();
        assert_eq!(unframe.next(&mut body), Ok(Some(MessagePart::Begin { compressed: true, len: 5 })));
        let data = MessagePart::Data { bytes: Bytes::from_static(b"hello"), last: true };
        assert_eq!(unframe.next(&mut body), Ok(Some(data)));
        assert_eq!((unframe.next(&mut body), unframe.end()), (Ok(None), Ok(())));
    }
}
