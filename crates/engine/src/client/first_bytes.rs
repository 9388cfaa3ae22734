//! The protocol that a server speaks, as far as the first bytes that come from it tell: for errors that say what to write instead.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::io::InspectReader;

use crate::net::Transmission;

/// The number of bytes by which the protocols can be told apart.
const TELLING: usize = 4;

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// TLS: it began with an alert or a handshake.
    Tls,
    /// HTTP/1: it began with the head of an answer.
    Http1,
    /// HTTP/2: it began with its settings.
    Http2,
    /// Another protocol, such as that of a mail server with its greeting.
    Other,
}

/// The first bytes that have come on a connection; never more than [`TELLING`].
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    /// Notes those that are read from `io`.
    pub(crate) fn of(io: Box<dyn Transmission>) -> (impl Transmission, Self) {
        let first = Self::default();
        let (noted, mut complete) = (first.clone(), false);
        let io = InspectReader::new(io, move |read: &[u8]| complete = complete || noted.add(read));
        (io, first)
    }

    /// Whether none have come.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The protocol that they are the beginning of, if there are enough of them.
    pub(crate) fn spoken(&self) -> Option<Spoken> {
        match self.0.lock()[..] {
            [0x15 | 0x16, 0x03, ..] => Some(Spoken::Tls),
            [b'H', b'T', b'T', b'P'] => Some(Spoken::Http1),
            // A frame's length of three bytes, less than 256 here, and its type.
            [0, 0, _, 4] => Some(Spoken::Http2),
            [_, _, _, _] => Some(Spoken::Other),
            _ => None,
        }
    }

    /// Adds what was read. Returns whether they are complete.
    fn add(&self, read: &[u8]) -> bool {
        let mut first = self.0.lock();
        let missing = TELLING - first.len();
        first.extend_from_slice(&read[..missing.min(read.len())]);
        first.len() == TELLING
    }
}
