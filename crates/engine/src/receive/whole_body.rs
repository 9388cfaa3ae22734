//! Bodies of requests that no receiver takes, compressed as those of receivers may be.

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::{StatusCode, Version};
use hyper::body::Incoming;

use super::body::{self, BodyLimits, BodyReadError, Received};
use super::misdirected::coding;
use crate::stream::Budget;

/// Why a body was not read.
#[derive(Clone, Debug)]
pub struct UnreadBody {
    /// The HTTP status of the answer.
    pub status: StatusCode,
    /// The problem, and what to send instead.
    pub message: String,
}

/// Reads a whole body, of at most so many bytes before and after it is decompressed, in this time.
pub async fn whole_body(
    head: &Parts,
    mut body: Incoming,
    largest: usize,
    timeout: Duration,
    budget: &Arc<Budget>,
) -> Result<Received, UnreadBody> {
    let coding = coding(&head.headers, "Content-Encoding").map_err(|misdirected| UnreadBody {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        message: misdirected.message,
    })?;
    let arrives = head.version >= Version::HTTP_2;
    let limits = BodyLimits { size: largest as u64, timeout, budget: budget.clone(), arrives };
    body::read(&mut body, coding, &limits).await.map_err(|error| {
        let status = match error {
            BodyReadError::TooLarge(..) | BodyReadError::NeverFits(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyReadError::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            BodyReadError::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            BodyReadError::Aborted | BodyReadError::Corrupt(..) | BodyReadError::Framing(_) => {
                StatusCode::BAD_REQUEST
            }
        };
        UnreadBody { status, message: error.to_string() }
    })
}
