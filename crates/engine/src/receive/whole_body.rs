//! Bodies of requests that no receiver takes, compressed as those of receivers may be.

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::{StatusCode, Version};
use hyper::body::Incoming;

use super::body::{self, BodyError, Limits, Received};
use super::http::coding;
use crate::stream::Budget;

/// Why a body was not read.
#[derive(Clone, Debug)]
pub struct UnreadBody {
    /// What that is answered with.
    pub status: StatusCode,
    /// What is wrong, and what to send instead.
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
    let limits = Limits { size: largest as u64, timeout, budget: budget.clone(), arrives };
    body::read(&mut body, coding, &limits).await.map_err(|error| {
        let status = match error {
            BodyError::TooLarge(..) | BodyError::NeverFits(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Aborted | BodyError::Corrupt(..) | BodyError::Framing(_) => StatusCode::BAD_REQUEST,
        };
        UnreadBody { status, message: error.to_string() }
    })
}
