//! Cross-origin requests: a browser's exporter asks first (WHATWG Fetch, "CORS protocol").

use ::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HeaderMap, ORIGIN, VARY,
};
use ::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;

use super::listener::Answer;
use super::{AnswerBody, CorsSettings};
use crate::route::Glob;

/// Headers that OTLP exporters in browsers send and that need leave.
const ALWAYS_ALLOWED: &str = "content-type, content-encoding";

/// The request's origin, if it is an allowed one.
pub(super) fn origin(cors: &CorsSettings, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    cors.allowed_origins.iter().any(|allowed| Glob::new(allowed).matches(text)).then(|| origin.clone())
}

/// The answer to a preflight request.
pub(super) fn preflight(cors: &CorsSettings, origin: HeaderValue) -> Answer {
    let mut answer = Response::new(AnswerBody::from(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    allow(headers, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let mut allowed = ALWAYS_ALLOWED.to_owned();
    for header in &cors.allowed_headers {
        allowed.push_str(", ");
        allowed.push_str(header);
    }
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age));
    answer
}

/// Lets a page of this origin read the answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("origin"));
}
