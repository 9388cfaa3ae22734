//! Refusals of servers: the message of an error, and when to retry.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use prost::Message;
use serde_json::Value;

use crate::byte_order_mark;

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(string, tag = "2")]
    message: String,
}

/// `Retry-After` in seconds or as a date (OTLP rule 42); a date that has passed means now. Whoever waits decides how much of
/// it is believed: a number of seconds that no integer holds is the longest time there is.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // RFC 9110, section 10.2.3: digits, however many.
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The media type of an answer, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether bytes are likely to be meant for people, as far as they are whole characters.
fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

/// The message of an error body: `google.rpc.Status` in either encoding (OTLP rule 37) whatever it is labelled as, one
/// of the shapes that other servers use, or plain text.
pub fn error_message(headers: &HeaderMap, body: &[u8]) -> String {
    understood(headers, body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// The message of an error body, if it is in one of the known formats or is text.
pub(crate) fn understood(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let text = byte_order_mark::strip_bytes(body);
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        let error = value.get("error");
        let candidates = [value.get("message"), error.and_then(|error| error.get("message")), error];
        if let Some(message) = candidates.into_iter().flatten().find_map(Value::as_str) {
            return Some(message.to_owned());
        }
    }
    let labelled = content_type(headers).ends_with("protobuf");
    if (labelled || !is_text(text))
        && let Ok(status) = RpcStatus::decode(body)
        && (labelled || !status.message.is_empty())
    {
        return Some(status.message);
    }
    is_text(text).then(|| String::from_utf8_lossy(text).into_owned())
}
