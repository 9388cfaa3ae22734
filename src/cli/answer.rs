//! The two messages that an OTLP/HTTP server answers with, as far as the load tools speak them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use prost::Message;

/// `Content-Type` of encoded OTLP.
pub(super) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// `Export<Signal>ServiceResponse`, which has one shape for every signal.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `Export<Signal>PartialSuccess`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PartialSuccess {
    /// `rejected_spans`, `rejected_data_points`, `rejected_log_records`.
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// `google.rpc.Status`, the body of every error (rule 37).
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// An answer with `message` as its body.
pub(super) fn respond(status: StatusCode, message: &impl Message) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(message.encode_to_vec().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    response
}

/// An error with a [`Status`] that says why.
pub(super) fn refuse(status: StatusCode, message: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, &Status { code: 0, message: message.into() })
}
