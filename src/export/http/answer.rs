//! What an upstream's answer means for the batch.

use std::io::Read;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use serde_json::Value;

use crate::export::upstream::detail::Secrets;
use crate::export::upstream::partial_success::{self, MAX_ANSWER, PartialSuccess, Unreadable, delivered};
use crate::export::upstream::url::shown;
use crate::export::{Answer, Outcome};

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
}

/// What an upstream sent back.
pub(super) struct Reply<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Result<Vec<u8>, Unreadable>,
}

/// Reads a body to its end, unless that is too far.
pub(super) async fn read(mut body: Incoming) -> Result<Vec<u8>, Unreadable> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unreadable::BrokeOff)?.into_data() else { continue };
        if whole.len() + data.len() > MAX_ANSWER {
            return Err(Unreadable::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

impl Reply<'_> {
    /// Decides by the status (OTLP rule 38); the body says how much of a batch was taken, or why it was not.
    ///
    /// `retried` are the statuses that are worth another attempt, `records` those of the batch, and `now` is
    /// what a `Retry-After` that is a date is measured against.
    pub(super) fn judge(self, retried: &[u16], records: u64, secrets: &Secrets, now: SystemTime) -> Answer {
        let code = code(self.status);
        if self.status.is_success() {
            let (outcome, detail) = self.delivered(records, secrets);
            return Answer { code, outcome, detail };
        }
        let outcome = match self.status.as_u16() {
            status if retried.contains(&status) => Outcome::Retry { after: retry_after(self.headers, now) },
            400 | 413 | 422 => Outcome::Bad,
            // 407 is a proxy's 401.
            401 | 403 | 404 | 407 => Outcome::Hold { after: retry_after(self.headers, now) },
            _ => Outcome::Refused,
        };
        let detail = secrets.clean(&self.reason());
        Answer { code, outcome, detail }
    }

    /// Full or partial success.
    fn delivered(self, records: u64, secrets: &Secrets) -> (Outcome, String) {
        let body = self.body.and_then(|body| plain(self.headers, body));
        let partial = body.and_then(|body| partial_success(self.headers, &body));
        delivered(partial, &self.status.to_string(), records, secrets)
    }

    /// The status and whatever explanation came with it.
    fn reason(self) -> String {
        let status = self.status;
        if status.is_redirection() {
            let location =
                self.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
            // It may repeat the query that was sent.
            let location = shown(location);
            return format!(
                "{status}: redirects are not followed; `endpoint` should name what `{location}` is"
            );
        }
        match self.body.and_then(|body| plain(self.headers, body)) {
            Ok(body) => match error_message(self.headers, &body) {
                message if message.trim().is_empty() => status.to_string(),
                message => format!("{status}: {message}"),
            },
            Err(error) => format!("{status}, and {error}"),
        }
    }
}

/// The metric's label for a status. HTTP has statuses up to 599; others would make labels without bound.
fn code(status: StatusCode) -> std::borrow::Cow<'static, str> {
    match status.as_u16() {
        200 => "200".into(),
        100..=599 => status.as_str().to_owned().into(),
        _ => "other".into(),
    }
}

/// `Retry-After` in seconds or as a date (OTLP rule 42); a date that has passed means now.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Undoes `Content-Encoding`. We ask for none, but a proxy on the way may not care.
fn plain(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(body) };
    let mut plain = Vec::new();
    let limit = MAX_ANSWER as u64 + 1;
    let decoded = match encoding.as_bytes() {
        b"" | b"identity" => return Ok(body),
        b"gzip" | b"x-gzip" => {
            flate2::read::MultiGzDecoder::new(body.as_slice()).take(limit).read_to_end(&mut plain)
        }
        b"deflate" => flate2::read::ZlibDecoder::new(body.as_slice()).take(limit).read_to_end(&mut plain),
        b"zstd" => zstd::stream::read::Decoder::new(body.as_slice())
            // RFC 9659: no window above 8 MiB in HTTP.
            .and_then(|mut decoder| decoder.window_log_max(23).map(|()| decoder))
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut plain)),
        _ => return Err(Unreadable::Encoding),
    };
    decoded.map_err(|_| Unreadable::Encoding)?;
    if plain.len() > MAX_ANSWER { Err(Unreadable::TooLong) } else { Ok(plain) }
}

/// Whether a body is JSON: it says so, or starts as no protobuf message can.
fn is_json(headers: &HeaderMap, body: &[u8]) -> bool {
    content_type(headers).ends_with("json") || body.trim_ascii_start().first() == Some(&b'{')
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The partial success in a response, in either encoding.
fn partial_success(headers: &HeaderMap, body: &[u8]) -> Result<Option<PartialSuccess>, Unreadable> {
    if body.is_empty() {
        Ok(None)
    } else if is_json(headers, body) {
        partial_success_of_json(body)
    } else {
        partial_success::partial_success(body)
    }
}

fn partial_success_of_json(body: &[u8]) -> Result<Option<PartialSuccess>, Unreadable> {
    let Ok(Value::Object(response)) = serde_json::from_slice(body) else { return Err(Unreadable::Format) };
    let partial = match response.get("partialSuccess").or_else(|| response.get("partial_success")) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(partial)) => partial,
        Some(_) => return Err(Unreadable::Format),
    };
    let mut found = PartialSuccess::default();
    for (name, value) in partial {
        match (name.as_str(), value) {
            ("errorMessage" | "error_message", Value::String(message)) => {
                found.error_message.clone_from(message);
            }
            (name, Value::Number(number)) if name.starts_with("rejected") => {
                found.rejected = number.as_i64().ok_or(Unreadable::Format)?;
            }
            (name, Value::String(digits)) if name.starts_with("rejected") => {
                found.rejected = digits.parse().map_err(|_| Unreadable::Format)?;
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// The message of an error body: `google.rpc.Status` in either encoding (OTLP rule 37), one of the shapes that
/// other servers use, or plain text.
pub(crate) fn error_message(headers: &HeaderMap, body: &[u8]) -> String {
    if is_json(headers, body)
        && let Ok(value) = serde_json::from_slice::<Value>(body)
    {
        let error = value.get("error");
        let candidates = [value.get("message"), error.and_then(|error| error.get("message")), error];
        if let Some(message) = candidates.into_iter().flatten().find_map(Value::as_str) {
            return message.to_owned();
        }
    } else if content_type(headers).ends_with("protobuf")
        && let Ok(status) = RpcStatus::decode(body)
    {
        return status.message;
    }
    String::from_utf8_lossy(body).into_owned()
}
