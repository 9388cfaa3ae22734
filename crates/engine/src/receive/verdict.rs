//! The verdict on a request, as its sender is told.

use std::sync::Arc;
use std::time::Duration;

use crate::stream::Full;
use crate::tenants::RateExceeded;

/// Seconds after which a refused sender is asked to come back. Drawn from a range, so that senders that were refused
/// together don't come back together; short, because longer ones make SDKs drop the batch.
pub(super) const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<u64> = 1..=5;

/// The verdict on a request.
#[derive(Debug)]
pub enum Verdict {
    /// All of the request is queued.
    Accepted,
    /// The request is queued but for `rejected` records (zero: only a warning).
    Partly {
        /// Spans, data points or log records.
        rejected: u64,
        /// Why, for people.
        message: String,
    },
    /// There is no room now; nothing is queued.
    Refused(Full),
    /// The upstreams have not taken all of it; entries that they have neither taken nor are being sent just now are withdrawn.
    Undelivered(Undelivered),
    /// The tenant is not known now, or is not served, for this reason; nothing is queued.
    Unavailable(String),
    /// All entries name tenants that the sender may not send for, as this message says.
    Forbidden(String),
    /// No route takes any entry, which `unrouted_status` makes an error. The message names what routes look at.
    Unrouted(String),
    /// A tenant has sent more than its rate; nothing is queued.
    OverRate(RateExceeded),
    /// There will never be room, for this reason; nothing is queued.
    TooLarge(&'static str),
    /// The request is not OTLP, or nothing in it is valid.
    Malformed {
        /// The path of the first problem.
        field: String,
        /// Why, for people.
        message: String,
    },
}

/// Why a sender that waited for its upstreams has to send again.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The request has waited for as long as it may.
    #[error(
        "not delivered within {waited:?}{}: what was not sent has been taken back, send it again",
        in_brackets(causes)
    )]
    Late {
        /// `acknowledge_timeout`.
        waited: Duration,
        /// What each exporter that is waited for has to do with it, as [`Receipt::causes_of_delay`](crate::stream::Receipt) has
        /// it.
        causes: String,
    },
    /// An upstream did not take the request, and there are no more retries.
    #[error("{0}; what was not delivered has been taken back, send it again")]
    GivenUp(Arc<str>),
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
