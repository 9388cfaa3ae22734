//! What the status of a call means for its batch (OTLP rules 13 to 19).

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::MAX_MESSAGE;
use super::call::Answered;
use crate::export::upstream::detail::Secrets;
use crate::export::upstream::partial_success::{Unreadable, delivered, partial_success};
use crate::export::{Answer, Outcome};
use crate::rpc::{Code, PREFIX, announced, trailers};

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
        let code = trailers::code(end);
        if code == Code::Ok {
            let partial = self.body.and_then(|body| unframed(&body).map(<[u8]>::to_vec));
            let partial = partial.and_then(|message| partial_success(&message));
            let (outcome, detail) = delivered(partial, "OK", records, secrets);
            return Answer { code: code.name().into(), outcome, detail };
        }
        let after = trailers::retry_info(end).map(|info| info.delay());
        let outcome = match code {
            // What some servers say of a message that is larger than they take; other messages are worth a retry.
            Code::OutOfRange if bytes > MAX_MESSAGE => Outcome::Bad,
            code if code.is_retryable() => Outcome::Retry { after },
            Code::ResourceExhausted if after.is_some() => Outcome::Retry { after },
            // Without RetryInfo it is no passing trouble, and mostly the size: smaller pieces may pass.
            Code::ResourceExhausted | Code::InvalidArgument => Outcome::Bad,
            // The destination is wrong, not the data.
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Outcome::Hold { after },
            _ => Outcome::Refused,
        };
        let message = trailers::message(end);
        let name = code.name();
        let detail = if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") };
        Answer { code: name.into(), outcome, detail: secrets.clean(&detail) }
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

/// The first message of a body. Nothing compressed was asked for.
fn unframed(body: &[u8]) -> Result<&[u8], Unreadable> {
    match announced(body).ok_or(Unreadable::Format)? {
        (len, false) => Ok(&body[PREFIX..PREFIX + len]),
        (_, true) => Err(Unreadable::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use http::HeaderMap;
    use prost::Message as _;

    use super::*;
    use crate::rpc::{RetryInfo, Status};

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
