//! What an OTLP server answers, as far as the load tools speak it: in HTTP, and the same in gRPC.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message;

use otlp::Signal;
use sluice_engine::client::retry_after;
use sluice_engine::receive::ResponseBody;
use sluice_engine::rpc::trailers::STATUS;
use sluice_engine::rpc::{self, Code, MEDIA_TYPE, RetryInfo, framed};

/// `Content-Type` of encoded OTLP.
pub(crate) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// `Content-Type` of OTLP/JSON.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `Export<Signal>ServiceResponse`, which has one shape for every signal.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExportServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<ExportPartialSuccess>,
}

/// `Export<Signal>PartialSuccess`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExportPartialSuccess {
    /// `rejected_spans`, `rejected_data_points`, `rejected_log_records`.
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`, the body of every error (rule 37).
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ErrorStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

impl ExportServiceResponse {
    /// Records that it says were rejected.
    pub(crate) fn rejected(&self) -> u64 {
        self.partial_success.as_ref().map_or(0, |partial| partial.rejected.max(0).unsigned_abs())
    }

    fn to_json(&self, signal: Signal) -> serde_json::Value {
        let Some(partial) = &self.partial_success else { return serde_json::json!({}) };
        let rejected = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        let partial = serde_json::json!({
            rejected: partial.rejected.to_string(),
            "errorMessage": partial.error_message,
        });
        serde_json::json!({ "partialSuccess": partial })
    }

    /// Reads a response in JSON, as far as it is one.
    pub(crate) fn from_json(json: &[u8]) -> Self {
        let response: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let Some(partial) = response["partialSuccess"].as_object() else { return Self::default() };
        // A 64-bit integer is a string or a number (rule 53).
        let number = |value: &serde_json::Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let rejected = partial.iter().find(|(name, _)| name.starts_with("rejected"));
        let rejected = rejected.and_then(|(_, value)| number(value)).unwrap_or_default();
        let message = partial.get("errorMessage").and_then(serde_json::Value::as_str);
        let error_message = message.unwrap_or_default().to_owned();
        Self { partial_success: Some(ExportPartialSuccess { rejected, error_message }) }
    }
}

/// An answer with `message` as its body.
pub(crate) fn respond(status: StatusCode, message: &impl Message) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(message.encode_to_vec().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    response
}

/// The same answer in JSON, for a request that was (rule 27). A body that is no message stays as it is.
pub(crate) async fn in_json(signal: Signal, response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    let Ok(collected) = body.collect().await;
    let body = collected.to_bytes();
    let json = if head.status.is_success() {
        ExportServiceResponse::decode(body.clone()).ok().map(|response| response.to_json(signal))
    } else {
        let status = ErrorStatus::decode(body.clone()).ok();
        status.map(|status| serde_json::json!({ "code": status.code, "message": status.message }))
    };
    let Some(json) = json else { return Response::from_parts(head, Full::new(body)) };
    head.headers.insert(CONTENT_TYPE, JSON);
    Response::from_parts(head, Full::new(json.to_string().into()))
}

/// The same answer as the end of a gRPC call, whose code is the one that stands for the HTTP status. `RetryInfo` comes
/// with what has `Retry-After`, and with 429, which without it would mean that a retry is of no use (rule 18). A
/// redirect has no counterpart, and is answered as it is.
pub(crate) async fn in_grpc(response: Response<Full<Bytes>>) -> Response<ResponseBody> {
    let (head, body) = response.into_parts();
    let Ok(collected) = body.collect().await;
    let body = collected.to_bytes();
    if head.status.is_redirection() {
        return Response::from_parts(head, body.into());
    }
    let mut answer = if head.status.is_success() {
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(STATUS, HeaderValue::from(Code::Ok as i32));
        Response::new(ResponseBody::with_trailers(framed(&body, false), trailers))
    } else {
        let why = ErrorStatus::decode(body).unwrap_or_default().message;
        let at_once = (head.status == StatusCode::TOO_MANY_REQUESTS).then_some(Duration::ZERO);
        let delay = retry_after(&head.headers, SystemTime::now()).or(at_once);
        let detail = delay.map(|delay| RetryInfo::after(delay).detail());
        let mut answer = Response::new(ResponseBody::from(Bytes::new()));
        *answer.headers_mut() = rpc::Status::new(code(head.status), &why, detail).trailers();
        answer
    };
    answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    answer
}

/// The code of gRPC that says what an HTTP status says.
fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 405 | 415 | 501 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 | 429 => Code::ResourceExhausted,
        500 => Code::Internal,
        502 | 503 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// An error with a [`Status`] that says why.
pub(crate) fn refuse(status: StatusCode, message: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, &ErrorStatus { code: 0, message: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_in_json_says_the_same() {
        let partial_success = Some(ExportPartialSuccess { rejected: 3, error_message: "odd".to_owned() });
        for (message, expected) in [
            (
                ExportServiceResponse { partial_success },
                r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"odd"}}"#,
            ),
            (ExportServiceResponse::default(), "{}"),
        ] {
            let answer = in_json(Signal::Metrics, respond(StatusCode::OK, &message)).await;
            assert_eq!(answer.headers()[CONTENT_TYPE], JSON);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);
            assert_eq!(ExportServiceResponse::from_json(&body), message);
        }
        let answer = in_json(Signal::Logs, refuse(StatusCode::BAD_REQUEST, "no")).await;
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), r#"{"code":0,"message":"no"}"#);
    }

    #[test]
    fn a_response_is_read_from_json_too() {
        let rejected = |json: &str| ExportServiceResponse::from_json(json.as_bytes()).partial_success;
        for json in [
            r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"odd"}}"#,
            r#"{"partialSuccess":{"errorMessage":"odd","rejectedLogRecords":3}}"#,
        ] {
            assert_eq!(
                rejected(json),
                Some(ExportPartialSuccess { rejected: 3, error_message: "odd".to_owned() }),
                "{json}"
            );
        }
        for json in ["{}", "{", "[]", r#"{"partialSuccess":null}"#] {
            assert_eq!(rejected(json), None, "{json}");
        }
    }
}
