//! The answers of calls: a message with trailers, or a status alone.

use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use ::http::{HeaderValue, Response};

use crate::coding::Coding;
use crate::receive::response::{HttpResponse, ResponseBody, gzipped};
use crate::receive::verdict::RETRY_AFTER_SECONDS;
use crate::rpc::trailers::STATUS;
use crate::rpc::{BadRequest, Code, ENCODING, MEDIA_TYPE, RetryInfo, Status, framed};
use crate::tenants::RateExceeded;

/// The most bytes of a status message. It stands in three trailers, and some senders take no more than 8 KiB of trailers.
const LONGEST_MESSAGE: usize = 1024;

/// The status of a call that is answered without a message.
#[derive(Debug)]
pub(super) struct GrpcStatus {
    headers: HeaderMap,
}

impl GrpcStatus {
    /// A status without details.
    pub(super) fn new(code: Code, message: &str) -> Self {
        Self::of(&Status::new(code, trim(message), None))
    }

    /// The status of a wrong request (rule 16); `field` is the path of the field that is wrong.
    pub(super) fn wrong(message: &str, field: &str) -> Self {
        let message = trim(message);
        let detail = BadRequest::detail(trim(field), message);
        Self::of(&Status::new(Code::InvalidArgument, message, Some(detail)))
    }

    /// A refusal that passes (rules 15, 21, 22). Senders that were refused together don't come back together.
    pub(super) fn later(message: &str) -> Self {
        let seconds = rand::random_range(RETRY_AFTER_SECONDS);
        let retry = RetryInfo::after(Duration::from_secs(seconds));
        Self::of(&Status::new(Code::Unavailable, trim(message), Some(retry.detail())))
    }

    /// A refusal that passes at a time that is known.
    pub(super) fn over_rate(exceeded: &RateExceeded) -> Self {
        let retry = RetryInfo::after(exceeded.retry_after);
        let message = exceeded.to_string();
        Self::of(&Status::new(Code::ResourceExhausted, trim(&message), Some(retry.detail())))
    }

    fn of(status: &Status) -> Self {
        Self { headers: status.trailers() }
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The status as an answer, whose head holds its trailers ("Trailers-Only").
    pub(super) fn answer(self) -> HttpResponse {
        let mut answer = Response::new(ResponseBody::from(bytes::Bytes::new()));
        *answer.headers_mut() = self.headers;
        answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
        answer
    }

    /// The status as trailers.
    pub(super) fn into_trailers(self) -> HeaderMap {
        self.headers
    }
}

/// The answer of a call that went well.
pub(super) fn message(message: &[u8], takes_gzip: bool) -> HttpResponse {
    let compressed = takes_gzip.then(|| gzipped(message)).flatten();
    let framed = framed(compressed.as_deref().unwrap_or(message), compressed.is_some());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from(Code::Ok as i32));
    let mut answer = Response::new(ResponseBody::with_trailers(framed, trailers));
    answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    if compressed.is_some() {
        answer.headers_mut().insert(ENCODING, HeaderValue::from_static(Coding::Gzip.name()));
    }
    answer
}

fn trim(message: &str) -> &str {
    let mut end = message.len().min(LONGEST_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
    use prost::Message as _;

    use super::*;
    use crate::rpc::trailers::{DETAILS, MESSAGE, RETRY};

    fn details(answer: &HttpResponse) -> Status {
        let details = BASE64.decode(answer.headers()[DETAILS].as_bytes()).unwrap();
        Status::decode(&*details).unwrap()
    }

    #[test]
    fn rule_15_overload_is_unavailable_with_retry_info_in_both_trailers() {
        let answer = GrpcStatus::later("full").answer();
        assert_eq!(answer.headers()[STATUS], "14");
        let status = details(&answer);
        let from_details = RetryInfo::decode(&*status.details[0].value).unwrap();
        let alone = BASE64.decode(answer.headers()[RETRY].as_bytes()).unwrap();
        assert_eq!(RetryInfo::decode(&*alone).unwrap(), from_details);
        assert!(RETRY_AFTER_SECONDS.contains(&from_details.delay().as_secs()));
        assert_eq!((status.code, status.details[0].type_url.as_str()), (14, crate::rpc::RETRY_INFO));
    }

    #[test]
    fn rule_16_a_wrong_request_is_invalid_argument_and_names_the_field() {
        let answer = GrpcStatus::wrong("not UTF-8", "resource_logs[0].schema_url").answer();
        assert_eq!(
            (&answer.headers()[STATUS], &answer.headers()[MESSAGE]),
            (&"3".parse().unwrap(), &"not UTF-8".parse().unwrap())
        );
        let detail = BadRequest::decode(&*details(&answer).details[0].value).unwrap();
        assert_eq!(detail.field_violations[0].field, "resource_logs[0].schema_url");
    }

    #[test]
    fn messages_are_percent_encoded() {
        let answer = GrpcStatus::new(Code::Internal, "100% für\nalle").answer();
        assert_eq!(answer.headers()[MESSAGE], "100%25 f%C3%BCr%0Aalle");
    }

    #[test]
    fn rule_6_statuses_fit_into_8_kib_of_trailers() {
        let answer = GrpcStatus::wrong(&"ü".repeat(5000), &"x".repeat(5000)).answer();
        let bytes: usize =
            answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(bytes < 8 * 1024, "{bytes}");
    }
}
