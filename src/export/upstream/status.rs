//! What a status of HTTP that is no success means for a batch: for OTLP/HTTP, and for an answer to a gRPC call that has
//! no status of gRPC.

use std::time::{Duration, SystemTime};

use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::url::shown;
use crate::export::Outcome;

/// What to do with the batch (OTLP rules 38 and 39). `retried` is `retry_on_failure.statuses`, and `after` what the
/// upstream asks to wait.
pub(in crate::export) fn outcome(status: StatusCode, retried: &[u16], after: Option<Duration>) -> Outcome {
    match status.as_u16() {
        status if retried.contains(&status) || is_of_proxies(status) => Outcome::Retry { after },
        400 | 413 | 422 => Outcome::Bad,
        // Not what is meant by `endpoint`: moved, of another kind, or behind credentials; 407 is a proxy's 401.
        300..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => Outcome::Hold { after },
        _ => Outcome::Refused,
    }
}

/// Whether a status says that nobody is there behind whoever answers.
pub(in crate::export) fn says_nobody_is_there(status: u16) -> bool {
    matches!(status, 502..=504) || is_of_proxies(status)
}

/// 520 to 530 are no statuses of HTTP: proxies, Cloudflare's first of all, say so what they miss of the server behind them.
fn is_of_proxies(status: u16) -> bool {
    matches!(status, 520..=530)
}

/// The metric's label for a status. HTTP has statuses up to 599; others would make labels without bound.
pub(in crate::export) fn code(status: StatusCode) -> std::borrow::Cow<'static, str> {
    match status.as_u16() {
        200 => "200".into(),
        100..=599 => status.as_str().to_owned().into(),
        _ => "other".into(),
    }
}

/// For people, where a redirect leads; `None` for other statuses.
pub(in crate::export) fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if !status.is_redirection() {
        return None;
    }
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
    // It may repeat the query that was sent.
    let location = shown(location);
    Some(format!("{status}: redirects are not followed; `endpoint` should name what `{location}` is"))
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
