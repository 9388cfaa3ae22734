//! Errors of connections, counted by receiver and cause, and logged by cause and peer.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::notice::WINDOW;

/// The most pairs of cause and peer that are logged in one [`WINDOW`]; others are only counted.
const TOLD: usize = 64;

/// Why a connection came to nothing, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The connection began with TLS on a listener without TLS.
    TlsToPlaintext,
    /// The connection began without TLS on a listener with TLS.
    PlaintextToTls,
    /// The handshake of TLS failed.
    Handshake,
    /// The bytes that came were not HTTP.
    NotHttp,
    /// A head was larger than what its connection takes.
    HeadTooLarge,
    /// There was no memory for an incomplete head.
    NoMemory,
    /// The other side did not take its answer.
    AnswerNotTaken,
}

impl ConnectionError {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::TlsToPlaintext,
        Self::PlaintextToTls,
        Self::Handshake,
        Self::NotHttp,
        Self::HeadTooLarge,
        Self::NoMemory,
        Self::AnswerNotTaken,
    ];

    /// The `cause` label of `sluice_connection_errors_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsToPlaintext => "tls_to_plaintext",
            Self::PlaintextToTls => "plaintext_to_tls",
            Self::Handshake => "handshake",
            Self::NotHttp => "not_http",
            Self::HeadTooLarge => "head_too_large",
            Self::NoMemory => "no_memory",
            Self::AnswerNotTaken => "answer_not_taken",
        }
    }
}

/// The counts of all listeners.
#[derive(Debug, Default)]
pub struct ConnectionErrors {
    /// By the receiver's name. Those come from the configuration, so that there are few.
    counts: Mutex<BTreeMap<String, [u64; ConnectionError::ALL.len()]>>,
    told: Mutex<LoggedErrors>,
}

/// The errors that were logged lately.
#[derive(Debug, Default)]
struct LoggedErrors {
    lately: Vec<(ConnectionError, IpAddr, Instant)>,
    /// Errors that were not logged since the last one that was.
    suppressed: u64,
}

impl ConnectionErrors {
    /// Counts an error, and logs it unless that was done lately.
    pub(super) fn add(
        &self,
        receiver: &str,
        peer: SocketAddr,
        error: ConnectionError,
        message: impl Display,
    ) {
        let mut counts = self.counts.lock();
        if !counts.contains_key(receiver) {
            counts.insert(receiver.to_owned(), Default::default());
        }
        if let Some(count) = counts.get_mut(receiver) {
            count[error as usize] += 1;
        }
        drop(counts);
        let due = self.told.lock().due(error, peer.ip());
        if let Some(suppressed) = due {
            warn!(receiver, %peer, cause = error.name(), suppressed, "connection closed: {message}");
        }
    }

    /// Every count, by receiver and cause.
    pub fn all(&self) -> Vec<(String, ConnectionError, u64)> {
        let counts = self.counts.lock();
        let of = |(receiver, counts): (&String, &[u64; _])| {
            ConnectionError::ALL.map(|error| (receiver.clone(), error, counts[error as usize]))
        };
        counts.iter().flat_map(of).collect()
    }
}

impl LoggedErrors {
    /// Whether an error of this peer may be told now, and how many were not since the last line.
    fn due(&mut self, error: ConnectionError, peer: IpAddr) -> Option<u64> {
        let now = Instant::now();
        self.lately.retain(|(.., told)| now.duration_since(*told) < WINDOW);
        let known = self.lately.iter().any(|(of, by, _)| (*of, *by) == (error, peer));
        if known || self.lately.len() == TOLD {
            self.suppressed += 1;
            return None;
        }
        self.lately.push((error, peer, now));
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_cause_is_told_once_for_each_peer_and_window_and_many_peers_are_only_counted() {
        let mut told = LoggedErrors::default();
        let peer = |number: u8| IpAddr::from([10, 0, 0, number]);
        assert_eq!(told.due(ConnectionError::NotHttp, peer(0)), Some(0));
        assert_eq!(told.due(ConnectionError::NotHttp, peer(0)), None);
        assert_eq!(told.due(ConnectionError::Handshake, peer(0)), Some(1));
        let due = (1..=200).filter(|number| told.due(ConnectionError::NotHttp, peer(*number)).is_some());
        assert_eq!(due.count(), TOLD - 2);
        tokio::time::advance(WINDOW).await;
        assert_eq!(told.due(ConnectionError::NotHttp, peer(0)), Some(200 - (TOLD as u64 - 2)));
    }

    #[test]
    fn every_cause_of_a_receiver_is_counted() {
        let errors = ConnectionErrors::default();
        for error in ConnectionError::ALL {
            errors.add("otlp", SocketAddr::from(([127, 0, 0, 1], 1)), error, "x");
        }
        errors.add("otlp/b", SocketAddr::from(([127, 0, 0, 1], 1)), ConnectionError::NotHttp, "x");
        let count = |receiver: &str| -> u64 {
            errors.all().iter().filter(|(of, ..)| of == receiver).map(|(.., count)| count).sum()
        };
        assert_eq!((count("otlp"), count("otlp/b")), (7, 1));
    }
}
