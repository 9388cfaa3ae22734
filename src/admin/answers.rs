//! The answers of the admin and health listeners: texts, JSON, and problems in JSON.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::receive::{HttpResponse, ResponseBody};

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// Says by which method a page is asked for.
pub(super) fn not_allowed(method: &'static str) -> HttpResponse {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this page takes {method}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}

pub(super) fn text(status: StatusCode, body: &str) -> HttpResponse {
    answer(status, TEXT, body.to_owned())
}

pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    answer(status, JSON, body.to_string() + "\n")
}

/// An answer that says in JSON what is wrong.
pub(super) fn problem(status: StatusCode, error: &str) -> HttpResponse {
    json(status, &json!({ "error": error }))
}

pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::from(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
