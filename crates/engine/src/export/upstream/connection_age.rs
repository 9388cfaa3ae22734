//! How long a connection is used for new requests.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

/// By which part of itself the age of a connection is shortened at most, so that connections that were opened
/// together are not all opened anew together.
const AGE_SPREAD: f64 = 0.1;

/// A reused connection that breaks within this time after a request was put on it, and without a byte in answer,
/// was most likely closed by the other side before the request arrived.
pub(in crate::export) const STALE: Duration = Duration::from_secs(1);

/// The age of an open connection, and what it was opened with.
#[derive(Debug)]
pub(in crate::export) struct ConnectionAge {
    pub(in crate::export) opened: Instant,
    /// Not used for new requests from then on.
    expires: Option<Instant>,
    /// The state of the TLS files when it was opened.
    generation: u64,
}

impl ConnectionAge {
    /// Of a connection just opened, which is used for at most `max_age`; zero: without an end.
    pub(in crate::export) fn new(max_age: Duration, generation: u64) -> Self {
        let opened = Instant::now();
        let age = max_age.mul_f64(1.0 - AGE_SPREAD * rand::rng().random::<f64>());
        let expires = if max_age.is_zero() { None } else { opened.checked_add(age) };
        Self { opened, expires, generation }
    }

    /// Whether it is still used for new requests, now that the TLS files are of this generation.
    pub(in crate::export) fn allows_requests(&self, generation: u64, now: Instant) -> bool {
        self.generation == generation && self.is_young(now)
    }

    /// Whether it has not expired.
    pub(in crate::export) fn is_young(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
