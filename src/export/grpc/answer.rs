//! What the status of a call means for its batch (OTLP rules 13 to 19).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use prost::Message as _;

use super::MAX_MESSAGE;
use super::call::{Answered, PREFIX};
use crate::export::upstream::detail::Secrets;
use crate::export::upstream::partial_success::{Unreadable, delivered, partial_success};
use crate::export::{Answer, Outcome};
use crate::rpc::{Code, RETRY_INFO, RetryInfo, Status};

/// Binary trailers come with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Answered {
    /// What to do with a batch of so many records in so many bytes.
    pub(super) fn judge(self, records: u64, bytes: usize, secrets: &Secrets) -> Answer {
        let Some(end) = self.end() else {
            return match self.body {
                // Whatever it says, it is not to be asked for again (rule 5).
                Err(Unreadable::TooLong) => {
                    let (outcome, detail) = delivered(self.body.map(|_| None), "an answer", records, secrets);
                    Answer { code: Code::Unknown.name().into(), outcome, detail }
                }
                _ => self.judge_http(secrets),
            };
        };
        let code = end.get("grpc-status").map_or(Code::Unknown, code);
        if code == Code::Ok {
            let partial = self.body.and_then(|body| unframed(&body).map(<[u8]>::to_vec));
            let partial = partial.and_then(|message| partial_success(&message));
            let (outcome, detail) = delivered(partial, "OK", records, secrets);
            return Answer { code: code.name().into(), outcome, detail };
        }
        let after = retry_info(end).map(|info| info.delay());
        let outcome = match code {
            Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unavailable | Code::DataLoss => {
                Outcome::Retry { after }
            }
            // What some servers say of a message that is larger than they take; other messages are worth a retry.
            Code::OutOfRange if bytes > MAX_MESSAGE => Outcome::Bad,
            Code::OutOfRange => Outcome::Retry { after },
            Code::ResourceExhausted if after.is_some() => Outcome::Retry { after },
            // Without RetryInfo it is no passing trouble, and mostly the size: smaller pieces may pass.
            Code::ResourceExhausted | Code::InvalidArgument => Outcome::Bad,
            // The destination is wrong, not the data.
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Outcome::Hold { after },
            _ => Outcome::Refused,
        };
        let message = end.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
        let message = percent_decode_str(&String::from_utf8_lossy(message)).decode_utf8_lossy().into_owned();
        let name = code.name();
        let detail = if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") };
        Answer { code: name.into(), outcome, detail: secrets.clean(&detail) }
    }

    /// Where the status is: in the trailers, or in the head if there is nothing else.
    fn end(&self) -> Option<&HeaderMap> {
        [self.trailers.as_ref(), Some(&self.headers)]
            .into_iter()
            .flatten()
            .find(|headers| headers.contains_key("grpc-status"))
    }

    /// An answer without a status of gRPC is a proxy's, or no gRPC server's at all ("HTTP to gRPC Status Code Mapping").
    fn judge_http(self, secrets: &Secrets) -> Answer {
        let status = self.status;
        let is_grpc = self
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
        let outcome = match status.as_u16() {
            429 | 502 | 503 | 504 => Outcome::Retry { after: None },
            // A call that began to be answered and ended without a word.
            200 if is_grpc => Outcome::Retry { after: None },
            200 | 401 | 403 | 404 | 405 | 407 | 415 => Outcome::Hold { after: None },
            _ => Outcome::Refused,
        };
        let detail = match (status, is_grpc) {
            (StatusCode::OK, true) => "the call ended without a status".to_owned(),
            _ => format!("{status}, which is no answer of gRPC: is the endpoint one of OTLP/gRPC?"),
        };
        let code = match status.as_u16() {
            100..=599 => status.as_str().to_owned().into(),
            _ => "other".into(),
        };
        Answer { code, outcome, detail: secrets.clean(&detail) }
    }
}

fn code(value: &HeaderValue) -> Code {
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map_or(Code::Unknown, Code::of)
}

/// The first message of a body. Nothing compressed was asked for.
fn unframed(body: &[u8]) -> Result<&[u8], Unreadable> {
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or(Unreadable::Format)?;
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    match prefix[0] {
        0 => message.get(..len).ok_or(Unreadable::Format),
        _ => Err(Unreadable::Encoding),
    }
}

/// `RetryInfo`, from either of the places where servers put it.
fn retry_info(end: &HeaderMap) -> Option<RetryInfo> {
    let binary = |name: &str| BASE64.decode(end.get(name)?.as_bytes()).ok();
    let details = binary("grpc-status-details-bin").and_then(|bytes| Status::decode(&*bytes).ok());
    let among =
        details.iter().flat_map(|status| &status.details).find(|detail| detail.type_url == RETRY_INFO);
    let among = among.and_then(|detail| RetryInfo::decode(&*detail.value).ok());
    among.or_else(|| RetryInfo::decode(&*binary("google.rpc.retryinfo-bin")?).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(
        status: u16,
        headers: &[(&'static str, &str)],
        trailers: Option<&[(&'static str, &str)]>,
    ) -> Answered {
        let map = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect()
        };
        Answered {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            body: Ok(vec![0; 5]),
            trailers: trailers.map(map),
        }
    }

    fn judged(code: Code, more: &[(&'static str, &str)]) -> Answer {
        let number = (code as i32).to_string();
        let mut headers = vec![("grpc-status", number.as_str())];
        headers.extend_from_slice(more);
        answered(200, &headers, None).judge(10, 100, &Secrets::default())
    }

    fn retry_info_of(seconds: u64) -> String {
        let info = RetryInfo::after(Duration::from_secs(seconds));
        BASE64.encode(Status::new(Code::Unavailable, "later", Some(info.detail())).encode_to_vec())
    }

    #[test]
    fn rule_17_what_passes_is_retried() {
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            assert_eq!(judged(code, &[]).outcome, Outcome::Retry { after: None }, "{code:?}");
        }
    }

    #[test]
    fn rule_18_exhausted_resources_are_retried_only_with_retry_info() {
        assert_eq!(judged(Code::ResourceExhausted, &[]).outcome, Outcome::Bad);
        let details = retry_info_of(7);
        let with = judged(Code::ResourceExhausted, &[("grpc-status-details-bin", &details)]);
        assert_eq!(with.outcome, Outcome::Retry { after: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn rule_19_other_codes_are_not_retried() {
        for code in
            [Code::Unknown, Code::NotFound, Code::AlreadyExists, Code::FailedPrecondition, Code::Internal]
        {
            assert_eq!(judged(code, &[]).outcome, Outcome::Refused, "{code:?}");
        }
        assert_eq!(judged(Code::InvalidArgument, &[]).outcome, Outcome::Bad);
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented] {
            assert_eq!(judged(code, &[]).outcome, Outcome::Hold { after: None }, "{code:?}");
        }
    }

    #[test]
    fn rule_22_the_delay_is_followed_wherever_it_stands() {
        let after = Outcome::Retry { after: Some(Duration::from_secs(3)) };
        let details = retry_info_of(3);
        assert_eq!(
            judged(Code::Unavailable, &[("grpc-status-details-bin", details.trim_end_matches('='))]).outcome,
            after
        );
        let alone = BASE64.encode(RetryInfo::after(Duration::from_secs(3)).encode_to_vec());
        assert_eq!(judged(Code::Unavailable, &[("google.rpc.retryinfo-bin", &alone)]).outcome, after);
    }

    #[test]
    fn a_message_above_the_limit_of_servers_is_halved_when_it_is_out_of_range() {
        let answer = answered(200, &[("grpc-status", "11")], None);
        assert_eq!(answer.judge(10, MAX_MESSAGE + 1, &Secrets::default()).outcome, Outcome::Bad);
    }

    #[test]
    fn messages_are_decoded_and_shown_without_secrets() {
        let mut secrets = Secrets::default();
        secrets.add("Bearer s3cr3t");
        let answer =
            answered(200, &[], Some(&[("grpc-status", "16"), ("grpc-message", "no: s3cr3t%20f%C3%BCr")]));
        let answer = answer.judge(10, 100, &secrets);
        assert_eq!(
            (answer.code.as_ref(), answer.detail.as_str()),
            ("UNAUTHENTICATED", "UNAUTHENTICATED: no: [redacted] für")
        );
        assert_eq!(judged(Code::Aborted, &[]).detail, "ABORTED");
    }

    #[test]
    fn answers_of_others_than_grpc_servers_are_told_apart() {
        let outcome = |status, headers: &[(&'static str, &str)]| {
            answered(status, headers, None).judge(10, 100, &Secrets::default()).outcome
        };
        assert_eq!(outcome(503, &[]), Outcome::Retry { after: None });
        assert_eq!(outcome(404, &[]), Outcome::Hold { after: None });
        assert_eq!(outcome(200, &[("content-type", "text/html")]), Outcome::Hold { after: None });
        assert_eq!(outcome(200, &[("content-type", "application/grpc")]), Outcome::Retry { after: None });
        assert_eq!(outcome(500, &[]), Outcome::Refused);
    }
}
