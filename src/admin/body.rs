//! Bodies of requests to the API: bounded in size and time, and JSON only if they say so.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::server;
use crate::receive::HttpResponse;

/// A body has come within this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body is not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyProblem {
    NotJson,
    /// It has more bytes than that.
    TooLarge(usize),
    Late,
    Broken,
    /// Where the JSON ends that can be read.
    Malformed(usize, usize),
    NoObject,
}

/// Reads a body that is a JSON object of one of these media types, of at most so many bytes. One that is not there is an empty object,
/// if that is allowed.
pub(super) async fn object(
    head: &Parts,
    body: Incoming,
    media_types: &[&str],
    may_be_empty: bool,
    largest: usize,
) -> Result<Map<String, Value>, BodyProblem> {
    let media_type = media_type(head);
    let is_json = media_types.iter().any(|known| media_type.eq_ignore_ascii_case(known));
    // A page of another site can send a form without asking whether it may, and no JSON.
    let may_be_none = may_be_empty && !head.headers.contains_key(CONTENT_TYPE);
    if !(is_json || may_be_none) {
        return Err(BodyProblem::NotJson);
    }
    let body = whole(body, largest).await?;
    if body.is_empty() && may_be_empty {
        return Ok(Map::new());
    }
    if !is_json {
        return Err(BodyProblem::NotJson);
    }
    // The error's own text may quote a secret.
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(BodyProblem::NoObject),
        Err(error) => Err(BodyProblem::Malformed(error.line(), error.column())),
    }
}

/// The media type of a body, without its parameters; empty if it has none.
pub(super) fn media_type(head: &Parts) -> &str {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// All of a body, if it has at most so many bytes.
pub(super) async fn whole(body: Incoming, largest: usize) -> Result<Bytes, BodyProblem> {
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, largest).collect()).await;
    match body.map_err(|_| BodyProblem::Late)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyProblem::TooLarge(largest)),
        Err(_) => Err(BodyProblem::Broken),
    }
}

impl BodyProblem {
    pub(super) fn answer(self) -> HttpResponse {
        let (status, said) = match self {
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send a JSON object with `Content-Type: application/json`".to_owned(),
            ),
            Self::TooLarge(largest) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {largest} bytes"))
            }
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "the body has not come in time".to_owned()),
            Self::Broken => (StatusCode::BAD_REQUEST, "the body has not come whole".to_owned()),
            Self::Malformed(line, column) => {
                (StatusCode::BAD_REQUEST, format!("the body is not JSON (line {line}, column {column})"))
            }
            Self::NoObject => (StatusCode::BAD_REQUEST, "the body is not a JSON object".to_owned()),
        };
        server::problem(status, &said)
    }
}
