//! Bodies of requests to the API: JSON objects, read under limits of size and time.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::server;
use crate::config::LARGEST_ROW;
use crate::receive::Answer;

/// A body has come within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body is not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyProblem {
    NotJson,
    TooLarge,
    Late,
    Broken,
    /// Where the JSON ends that can be read.
    Malformed(usize, usize),
    NoObject,
}

/// Reads a body that is a JSON object of one of these media types. One that is not there is an empty object, if that is allowed.
pub(super) async fn read(
    head: &Parts,
    body: Incoming,
    media_types: &[&str],
    may_be_empty: bool,
) -> Result<Map<String, Value>, BodyProblem> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_json = media_types.iter().any(|known| media_type.trim().eq_ignore_ascii_case(known));
    // A page of another site can send a form without asking whether it may, and no JSON.
    let may_be_none = may_be_empty && content_type.is_none();
    if !(is_json || may_be_none) {
        return Err(BodyProblem::NotJson);
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST_ROW).collect()).await;
    let body = match body.map_err(|_| BodyProblem::Late)? {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(BodyProblem::TooLarge),
        Err(_) => return Err(BodyProblem::Broken),
    };
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

impl BodyProblem {
    /// What its sender is told.
    pub(super) fn answer(self) -> Answer {
        let (status, said) = match self {
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send a JSON object with `Content-Type: application/json`".to_owned(),
            ),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {LARGEST_ROW} bytes"))
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
