//! What an upstream's answer means for the batch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::client::{content_type, error_message, retry_after, understood};
use crate::coding::Coding;
use crate::export::status::{StatusMeaning, Statuses, code, reason_shown, redirect};
use crate::export::upstream::answer_body::{AnswerError, UpstreamAnswerBody};
use crate::export::upstream::partial_success::{delivered, partial_success};
use crate::export::upstream::sanitizer::Sanitizer;
use crate::export::{Answer, AttemptOutcome};
use crate::stream::Budget;

/// Compressions that an answer may have on top of each other.
const MOST_CODINGS: usize = 3;

/// What an upstream sent back.
pub(super) struct Reply<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Result<UpstreamAnswerBody, AnswerError>,
}

/// Reads a body to its end, unless that is too far.
pub(super) async fn read(
    mut body: Incoming,
    budget: &Arc<Budget>,
) -> Result<UpstreamAnswerBody, AnswerError> {
    let mut read = UpstreamAnswerBody::new(budget);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| AnswerError::BrokeOff)?.into_data() else { continue };
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
    fn delivered(self, records: u64, sanitizer: &Sanitizer<'_>) -> (AttemptOutcome, String) {
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
fn reason(headers: &HeaderMap, body: &UpstreamAnswerBody) -> Result<String, AnswerError> {
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

/// Undoes `Content-Encoding`, if the head has one. Sluice asks for none, but a proxy on the way may compress all the same.
fn labelled(
    headers: &HeaderMap,
    body: &UpstreamAnswerBody,
) -> Option<Result<UpstreamAnswerBody, AnswerError>> {
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or("unknown").split(','));
    let mut names: Vec<&str> = names
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
        .take(MOST_CODINGS + 1)
        .collect();
    if names.len() > MOST_CODINGS {
        return Some(Err(AnswerError::Encoding));
    }
    let decode = |body: &UpstreamAnswerBody, name: &str| {
        Coding::of(name).ok_or(AnswerError::Encoding).and_then(|coding| body.decompressed(coding))
    };
    let mut plain = decode(body, names.pop()?);
    // The one that is named last was done last.
    while let Some(name) = names.pop() {
        plain = plain.and_then(|plain| decode(&plain, name));
    }
    Some(plain)
}
