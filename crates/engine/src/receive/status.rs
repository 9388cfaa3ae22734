//! The bodies of answers: `google.rpc.Status` for errors, `Export<Signal>ServiceResponse` for success, in the
//! encoding of the request (OTLP rules 10-12, 27, 36, 37, 40).

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use prost::Message;
use serde_json::json;

use crate::rpc::{BAD_REQUEST, BadRequest, Code, Status};
use otlp::Signal;

/// The two encodings of OTLP/HTTP (rules 25, 26): a response has that of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseEncoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Longer messages are cut: answers are limited (rules 6, 34), and a sender logs them whole.
const LONGEST_MESSAGE: usize = 1024;

impl ResponseEncoding {
    /// The `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The body of an error. `field` is the path of what is wrong in the request, if that is known.
    pub(super) fn status(self, code: Code, message: &str, field: Option<&str>) -> Bytes {
        let message = trim(message);
        match self {
            Self::Protobuf => {
                let detail = field.map(|field| BadRequest::detail(field, &message));
                Status::new(code, &message, detail).encode_to_vec().into()
            }
            Self::Json => {
                let mut status = json!({"code": code as i32, "message": message});
                if let Some(field) = field {
                    let violations = json!([{"field": field, "description": message}]);
                    status["details"] = json!([{"@type": BAD_REQUEST, "fieldViolations": violations}]);
                }
                status.to_string().into()
            }
        }
    }

    /// The body of a 200: empty if all is well, else with `partial_success`.
    pub(super) fn success(self, signal: Signal, reservation: Option<(u64, &str)>) -> Bytes {
        let Some((rejected, message)) = reservation else {
            return match self {
                Self::Protobuf => Bytes::new(),
                Self::Json => Bytes::from_static(b"{}"),
            };
        };
        let error_message = trim(message);
        let count = i64::try_from(rejected).unwrap_or(i64::MAX);
        match self {
            Self::Json => {
                let name = match signal {
                    Signal::Traces => "rejectedSpans",
                    Signal::Metrics => "rejectedDataPoints",
                    Signal::Logs => "rejectedLogRecords",
                };
                let mut partial = serde_json::Map::new();
                if count != 0 {
                    partial.insert(name.to_owned(), count.to_string().into());
                }
                partial.insert("errorMessage".to_owned(), error_message.into());
                json!({ "partialSuccess": partial }).to_string().into()
            }
            Self::Protobuf => match signal {
                Signal::Traces => ExportTraceServiceResponse {
                    partial_success: Some(ExportTracePartialSuccess { rejected_spans: count, error_message }),
                }
                .encode_to_vec(),
                Signal::Metrics => ExportMetricsServiceResponse {
                    partial_success: Some(ExportMetricsPartialSuccess {
                        rejected_data_points: count,
                        error_message,
                    }),
                }
                .encode_to_vec(),
                Signal::Logs => ExportLogsServiceResponse {
                    partial_success: Some(ExportLogsPartialSuccess {
                        rejected_log_records: count,
                        error_message,
                    }),
                }
                .encode_to_vec(),
            }
            .into(),
        }
    }
}

fn trim(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_37_an_error_is_a_status_in_the_requests_encoding() {
        let status =
            Status::decode(ResponseEncoding::Protobuf.status(Code::InvalidArgument, "no", Some("a.b")))
                .unwrap();
        assert_eq!((status.code, status.message.as_str()), (3, "no"));
        let detail = BadRequest::decode(&*status.details[0].value).unwrap();
        assert_eq!(detail.field_violations[0].field, "a.b");
        let json: serde_json::Value =
            serde_json::from_slice(&ResponseEncoding::Json.status(Code::Unavailable, "later", None)).unwrap();
        assert_eq!(json, json!({"code": 14, "message": "later"}));
    }

    #[test]
    fn rule_10_full_success_leaves_partial_success_unset() {
        assert!(ResponseEncoding::Protobuf.success(Signal::Logs, None).is_empty());
        assert_eq!(ResponseEncoding::Json.success(Signal::Logs, None), "{}");
    }

    #[test]
    fn rule_11_partial_success_counts_in_the_signals_own_field() {
        let body = ResponseEncoding::Protobuf.success(Signal::Metrics, Some((3, "why")));
        let partial = ExportMetricsServiceResponse::decode(body).unwrap().partial_success.unwrap();
        assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (3, "why"));
        let json: serde_json::Value =
            serde_json::from_slice(&ResponseEncoding::Json.success(Signal::Traces, Some((2, "why"))))
                .unwrap();
        assert_eq!(json, json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "why"}}));
    }

    #[test]
    fn rule_6_messages_are_trimmed() {
        let body = ResponseEncoding::Protobuf.status(Code::NotFound, &"ä".repeat(5000), None);
        assert!(body.len() < 3 * LONGEST_MESSAGE);
    }
}
