//! What the status of a call means for its batch (OTLP rules 13 to 19).

use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::MAX_MESSAGE;
use super::call::{CallAnswer, ReadMessage};
use crate::client::retry_after;
use crate::coding::Coding;
use crate::export::status::{self, StatusMeaning, Statuses, reason_shown, redirect};
use crate::export::upstream::answer_body::{AnswerError, UpstreamAnswerBody};
use crate::export::upstream::partial_success::{PartialSuccess, delivered, partial_success};
use crate::export::upstream::sanitizer::Sanitizer;
use crate::export::{Answer, AttemptOutcome, HoldScope};
use crate::rpc::{Code, ENCODING, trailers};

impl CallAnswer {
    /// What to do with a batch of so many records in so many bytes. `statuses` says what failures mean.
    pub(super) fn judge(
        self,
        statuses: &Statuses,
        records: u64,
        bytes: usize,
        sanitizer: &Sanitizer<'_>,
    ) -> Answer {
        let Some(end) = self.end() else {
            return match self.message {
                // Whatever it says, it is not to be asked for again (rule 5).
                Err(error @ AnswerError::TooLong) if self.status == StatusCode::OK && self.is_grpc() => {
                    let (outcome, detail) = delivered(Err(error), "an answer", records, sanitizer);
                    Answer { code: Code::Unknown.name().into(), outcome, least: Duration::ZERO, detail }
                }
                _ => self.judge_http(statuses, sanitizer),
            };
        };
        let code = trailers::code(end);
        if code == Code::Ok {
            let (outcome, detail) = delivered(self.partial_success(), "OK", records, sanitizer);
            return Answer { code: code.name().into(), outcome, least: Duration::ZERO, detail };
        }
        let after = trailers::retry_info(end).map(|info| info.delay());
        let meaning = statuses.of_grpc(code, after).unwrap_or_else(|| match code {
            // What some servers say of a message that is larger than they take; other messages are worth a retry.
            Code::OutOfRange if bytes > MAX_MESSAGE => AttemptOutcome::Bad.into(),
            code if code.is_retryable() => AttemptOutcome::Retry { after }.into(),
            Code::ResourceExhausted if after.is_some() => AttemptOutcome::Retry { after }.into(),
            // Without RetryInfo it is no passing trouble, and mostly the size: smaller pieces may pass.
            Code::ResourceExhausted | Code::InvalidArgument => AttemptOutcome::Bad.into(),
            // The destination is wrong, not the data.
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => {
                AttemptOutcome::Hold { scope: HoldScope::Stream, after }.into()
            }
            _ => statuses.otherwise(after),
        });
        let (name, message) = (code.name(), trailers::message(end));
        let StatusMeaning { outcome, least } = meaning;
        let detail = reason_shown(sanitizer.clean(name, &message), outcome);
        Answer { code: name.into(), outcome, least, detail }
    }

    /// The partial success in the message of a call that has ended well.
    pub fn partial_success(self) -> Result<Option<PartialSuccess>, AnswerError> {
        let ReadMessage { bytes, compressed } = self.message?;
        let named = self.headers.get(ENCODING).and_then(|name| name.to_str().ok());
        let labelled = compressed.then(|| decompressed(&bytes, named.unwrap_or_default()));
        partial_success(&bytes, labelled, false)
    }

    fn is_grpc(&self) -> bool {
        let content_type = self.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        content_type.starts_with(b"application/grpc")
    }

    /// An answer without a status of gRPC is a proxy's, or no gRPC server's at all ("HTTP to gRPC Status Code Mapping").
    fn judge_http(self, statuses: &Statuses, sanitizer: &Sanitizer<'_>) -> Answer {
        let (status, is_grpc) = (self.status, self.is_grpc());
        let StatusMeaning { outcome, least } = match status {
            // A call that began to be answered and ended without a word.
            StatusCode::OK if is_grpc => AttemptOutcome::Retry { after: None }.into(),
            status if status.is_success() => {
                AttemptOutcome::Hold { scope: HoldScope::Stream, after: None }.into()
            }
            status => statuses.of_http(status, retry_after(&self.headers, SystemTime::now())),
        };
        let (own, said) = if matches!(outcome, AttemptOutcome::Delivered { .. }) {
            (status.to_string(), String::new())
        } else if status == StatusCode::OK && is_grpc {
            ("the call ended without a status".to_owned(), String::new())
        } else if let Some(redirect) = redirect(status, &self.headers) {
            (status.to_string(), redirect)
        } else {
            let own = format!("{status}, which is no answer of gRPC: is the endpoint one of OTLP/gRPC?");
            (own, String::new())
        };
        let detail = reason_shown(sanitizer.clean(&own, &said), outcome);
        Answer { code: status::code(status), outcome, least, detail }
    }
}

/// Undoes the compression of this name.
fn decompressed(message: &UpstreamAnswerBody, named: &str) -> Result<UpstreamAnswerBody, AnswerError> {
    Coding::of(named).ok_or(AnswerError::Encoding).and_then(|coding| message.decompressed(coding))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use http::HeaderMap;
    use prost::Message as _;

    use super::*;
    use crate::client::Secrets;
    use crate::export::StatusAction;
    use crate::rpc::{RetryInfo, Status};
    use crate::stream::Budget;

    const HOLD: AttemptOutcome = AttemptOutcome::Hold { scope: HoldScope::Stream, after: None };

    const OPERATIONS: &str = include_str!("../../../../../docs/operations.md");

    const METRICS: &str = include_str!("../../../../../docs/metrics.md");

    fn body(bytes: &[u8]) -> UpstreamAnswerBody {
        let mut body = UpstreamAnswerBody::new(&Arc::new(Budget::new(u64::MAX)));
        body.push(bytes).unwrap();
        body
    }

    fn answered(
        status: u16,
        headers: &[(&'static str, &str)],
        trailers: Option<&[(&'static str, &str)]>,
    ) -> CallAnswer {
        let map = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect()
        };
        CallAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            message: Ok(ReadMessage { bytes: body(b""), compressed: false }),
            trailers: trailers.map(map),
        }
    }

    fn judged(code: Code, more: &[(&'static str, &str)]) -> Answer {
        let number = (code as i32).to_string();
        let mut headers = vec![("grpc-status", number.as_str())];
        headers.extend_from_slice(more);
        answered(200, &headers, None).judge(
            &Statuses::default(),
            10,
            100,
            &Sanitizer::hiding(&Secrets::default()),
        )
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
            assert_eq!(judged(code, &[]).outcome, AttemptOutcome::Retry { after: None }, "{code:?}");
        }
    }

    #[test]
    fn rule_18_exhausted_resources_are_retried_only_with_retry_info() {
        assert_eq!(judged(Code::ResourceExhausted, &[]).outcome, AttemptOutcome::Bad);
        let details = retry_info_of(7);
        let with = judged(Code::ResourceExhausted, &[("grpc-status-details-bin", &details)]);
        assert_eq!(with.outcome, AttemptOutcome::Retry { after: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn rule_19_other_codes_are_not_retried() {
        for code in
            [Code::Unknown, Code::NotFound, Code::AlreadyExists, Code::FailedPrecondition, Code::Internal]
        {
            assert_eq!(judged(code, &[]).outcome, AttemptOutcome::Refused, "{code:?}");
        }
        assert_eq!(judged(Code::InvalidArgument, &[]).outcome, AttemptOutcome::Bad);
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented] {
            assert_eq!(judged(code, &[]).outcome, HOLD, "{code:?}");
        }
    }

    /// Every code but OK, and what `statuses` calls that which it means by default.
    fn codes_and_words() -> impl Iterator<Item = (String, &'static str)> {
        (1..=16).map(|number: u8| {
            let answer = answered(200, &[("grpc-status", &number.to_string())], None);
            let answer = answer.judge(&Statuses::default(), 10, 100, &Sanitizer::hiding(&Secrets::default()));
            let word = match answer.outcome {
                AttemptOutcome::Retry { .. } => "retry",
                AttemptOutcome::Bad => "split",
                AttemptOutcome::Hold { scope: HoldScope::Stream, .. } => "hold",
                AttemptOutcome::Refused => "dead_letter",
                other => panic!("{number}: {other:?}"),
            };
            (answer.code.into_owned(), word)
        })
    }

    #[test]
    fn the_operators_table_says_of_every_code_what_it_means_by_default() {
        let rows: Vec<(&str, &str)> = OPERATIONS
            .split_once("| code of gRPC | what becomes of the batch |")
            .expect("the table is there")
            .1
            .lines()
            .skip(2)
            .map_while(|row| row.strip_prefix("| ")?.split_once(" | `"))
            .collect();
        for (name, word) in codes_and_words() {
            let found: Vec<&str> = rows
                .iter()
                .filter(|(codes, _)| codes.split([',', ';']).any(|code| code.trim() == name))
                .filter_map(|(_, meaning)| meaning.split('`').next())
                .collect();
            assert_eq!(found, [word], "{name}");
        }
    }

    #[test]
    fn the_alert_for_held_streams_names_all_codes_that_hold_and_no_other() {
        let alert = METRICS
            .lines()
            .filter_map(|line| {
                line.strip_prefix("| `rate(sluice_export_attempts_total{code=~\"")?.split_once('"')
            })
            .map(|(codes, _)| codes.replace("\\|", "|"))
            .next()
            .expect("the alert is there");
        let alert = regex::Regex::new(&format!("^(?:{alert})$")).unwrap();
        for (name, word) in codes_and_words() {
            assert_eq!(alert.is_match(&name), word == "hold", "{name}");
        }
        for status in (300..600).filter_map(|status| StatusCode::from_u16(status).ok()) {
            let holds =
                matches!(Statuses::default().of_http(status, None).outcome, AttemptOutcome::Hold { .. });
            assert_eq!(alert.is_match(&status::code(status)), holds, "{status}");
        }
    }

    #[test]
    fn rule_22_the_delay_is_followed_wherever_it_stands() {
        let after = AttemptOutcome::Retry { after: Some(Duration::from_secs(3)) };
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
        assert_eq!(
            answer
                .judge(&Statuses::default(), 10, MAX_MESSAGE + 1, &Sanitizer::hiding(&Secrets::default()))
                .outcome,
            AttemptOutcome::Bad
        );
    }

    #[test]
    fn messages_are_decoded_and_shown_without_secrets() {
        let mut secrets = Secrets::default();
        secrets.add("Bearer s3cr3t");
        let answer =
            answered(200, &[], Some(&[("grpc-status", "16"), ("grpc-message", "no: s3cr3t%20f%C3%BCr")]));
        let answer = answer.judge(&Statuses::default(), 10, 100, &Sanitizer::hiding(&secrets));
        assert_eq!(
            (answer.code.as_ref(), answer.detail.as_str()),
            ("UNAUTHENTICATED", "UNAUTHENTICATED: no: [redacted] für")
        );
        assert_eq!(judged(Code::Aborted, &[]).detail, "ABORTED");
    }

    #[test]
    fn rule_5_only_a_success_of_grpc_that_is_too_long_counts_as_delivered() {
        let grpc = [("content-type", "application/grpc")];
        let outcome = |status, headers: &[(&'static str, &str)]| {
            let answered =
                CallAnswer { message: Err(AnswerError::TooLong), ..answered(status, headers, None) };
            answered.judge(&Statuses::default(), 10, 100, &Sanitizer::hiding(&Secrets::default())).outcome
        };
        assert_eq!(outcome(200, &grpc), AttemptOutcome::Delivered { rejected: 0, warning: true });
        assert_eq!(outcome(200, &[("content-type", "text/html")]), HOLD);
        assert_eq!(outcome(503, &[]), AttemptOutcome::Retry { after: None });
        assert_eq!(outcome(503, &grpc), AttemptOutcome::Retry { after: None });
    }

    #[test]
    fn answers_of_others_than_grpc_servers_are_told_apart() {
        let outcome = |status, headers: &[(&'static str, &str)]| {
            answered(status, headers, None)
                .judge(&Statuses::default(), 10, 100, &Sanitizer::hiding(&Secrets::default()))
                .outcome
        };
        for status in [429, 502, 503, 504, 520, 530] {
            assert_eq!(outcome(status, &[]), AttemptOutcome::Retry { after: None }, "{status}");
        }
        let after = Some(Duration::from_secs(7));
        assert_eq!(outcome(503, &[("retry-after", "7")]), AttemptOutcome::Retry { after });
        for status in [204, 301, 307, 401, 403, 404, 405, 407, 415, 501] {
            assert_eq!(outcome(status, &[]), HOLD, "{status}");
        }
        assert_eq!(outcome(413, &[]), AttemptOutcome::Bad);
        assert_eq!(outcome(200, &[("content-type", "text/html")]), HOLD);
        assert_eq!(
            outcome(200, &[("content-type", "application/grpc")]),
            AttemptOutcome::Retry { after: None }
        );
        assert_eq!(outcome(500, &[]), AttemptOutcome::Refused);
    }

    #[test]
    fn statuses_of_grpc_and_of_http_can_be_named() {
        let mut statuses = Statuses::default();
        statuses.set_grpc(Code::NotFound, StatusAction::Hold(HoldScope::Stream));
        statuses.set_grpc(Code::Unavailable, StatusAction::DeadLetter);
        statuses.set_grpc(Code::AlreadyExists, StatusAction::Delivered);
        statuses.set(503..=503, StatusAction::Split).unwrap();
        statuses.set(409..=409, StatusAction::Delivered).unwrap();
        let judge = |answered: CallAnswer| {
            answered.judge(&statuses, 10, 100, &Sanitizer::hiding(&Secrets::default()))
        };
        let of = |code: Code| {
            let number = (code as i32).to_string();
            judge(answered(200, &[("grpc-status", &number), ("grpc-message", "why")], None))
        };
        let delivered = AttemptOutcome::Delivered { rejected: 0, warning: true };
        assert_eq!(of(Code::NotFound).outcome, HOLD);
        assert_eq!(of(Code::Unavailable).outcome, AttemptOutcome::Refused);
        assert_eq!(of(Code::Aborted).outcome, AttemptOutcome::Retry { after: None });
        let taken = of(Code::AlreadyExists);
        assert_eq!(
            (taken.outcome, taken.detail.as_str(), &*taken.code),
            (delivered, "ALREADY_EXISTS: why; `statuses` counts that as delivered", "ALREADY_EXISTS")
        );
        assert_eq!(judge(answered(503, &[], None)).outcome, AttemptOutcome::Bad);
        let taken = judge(answered(409, &[], None));
        assert_eq!(
            (taken.outcome, taken.detail.as_str()),
            (delivered, "409 Conflict; `statuses` counts that as delivered")
        );
    }
}
