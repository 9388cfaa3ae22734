//! What an upstream's answer means for the batch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use serde_json::Value;

use crate::byte_order_mark;
use crate::coding::Coding;
use crate::export::upstream::answer_body::{AnswerBody, Unreadable};
use crate::export::upstream::partial_success::{delivered, partial_success};
use crate::export::upstream::sanitizer::Sanitizer;
use crate::export::upstream::status::{StatusMeaning, Statuses, code, reason_shown, redirect, retry_after};
use crate::export::{Answer, Outcome};
use crate::stream::Budget;

/// Compressions that an answer may have on top of each other.
const MOST_CODINGS: usize = 3;

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
    pub(super) body: Result<AnswerBody, Unreadable>,
}

/// Reads a body to its end, unless that is too far.
pub(super) async fn read(mut body: Incoming, budget: &Arc<Budget>) -> Result<AnswerBody, Unreadable> {
    let mut read = AnswerBody::new(budget);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unreadable::BrokeOff)?.into_data() else { continue };
        read.push(&data)?;
    }
    Ok(read)
}

impl Reply<'_> {
    /// Decides by the status (OTLP rule 38); the body says how much of a batch was taken, or why it was not.
    ///
    /// `statuses` says what failures mean, `records` are those of the batch, and `now` is what a `Retry-After` that is a
    /// date is measured against.
    pub(super) fn judge(
        self,
        statuses: &Statuses,
        records: u64,
        sanitizer: &Sanitizer<'_>,
        now: SystemTime,
    ) -> Answer {
        let code = code(self.status);
        if self.status.is_success() {
            let (outcome, detail) = self.delivered(records, sanitizer);
            return Answer { code, outcome, least: Duration::ZERO, detail };
        }
        let StatusMeaning { outcome, least } = statuses.of_http(self.status, retry_after(self.headers, now));
        let (own, said) = self.reason();
        let detail = reason_shown(sanitizer.clean(&own, &said), outcome);
        Answer { code, outcome, least, detail }
    }

    /// Full or partial success.
    fn delivered(self, records: u64, sanitizer: &Sanitizer<'_>) -> (Outcome, String) {
        let labelled_json = content_type(self.headers).ends_with("json");
        let partial =
            self.body.and_then(|body| partial_success(&body, labelled(self.headers, &body), labelled_json));
        delivered(partial, &self.status.to_string(), records, sanitizer)
    }

    /// The status, and whatever explanation the upstream gave with it.
    fn reason(self) -> (String, String) {
        let status = self.status.to_string();
        if let Some(redirect) = redirect(self.status, self.headers) {
            return (status, redirect);
        }
        match self.body.and_then(|body| reason(self.headers, &body)) {
            Ok(message) => (status, message),
            Err(error) => (format!("{status}, and {error}"), String::new()),
        }
    }
}

/// Why a batch was not taken, as text, in whatever form that comes.
fn reason(headers: &HeaderMap, body: &AnswerBody) -> Result<String, Unreadable> {
    let labelled = labelled(headers, body);
    let plain = match &labelled {
        Some(Ok(plain)) => Some(plain.known().into_owned()),
        _ => body.guessed().and_then(Result::ok).map(|plain| plain.known().into_owned()),
    };
    match (plain, labelled) {
        (Some(plain), _) => Ok(error_message(headers, &plain)),
        (None, Some(Err(error))) => understood(headers, &body.known()).ok_or(error),
        (None, _) => Ok(error_message(headers, &body.known())),
    }
}

/// Undoes `Content-Encoding`, if the head has one. We ask for none, but a proxy on the way may not care.
fn labelled(headers: &HeaderMap, body: &AnswerBody) -> Option<Result<AnswerBody, Unreadable>> {
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or("unknown").split(','));
    let mut names: Vec<&str> = names
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
        .take(MOST_CODINGS + 1)
        .collect();
    if names.len() > MOST_CODINGS {
        return Some(Err(Unreadable::Encoding));
    }
    let decode = |body: &AnswerBody, name: &str| {
        Coding::of(name).ok_or(Unreadable::Encoding).and_then(|coding| body.decompressed(coding))
    };
    let mut plain = decode(body, names.pop()?);
    // The one that is named last was done last.
    while let Some(name) = names.pop() {
        plain = plain.and_then(|plain| decode(&plain, name));
    }
    Some(plain)
}

fn content_type(headers: &HeaderMap) -> &str {
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

/// The same, if it is one of these.
fn understood(headers: &HeaderMap, body: &[u8]) -> Option<String> {
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
