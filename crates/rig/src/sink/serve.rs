//! What happens to one request.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::body::{self, BodyError};
use super::connection::{ConnectionEnding, Cutter};
use super::fault::{AtHead, FaultAnswer};
use super::state::{RecordedRequest, SinkState};
use super::walk::{self, BrokenFraming};
use crate::answer::{
    ExportPartialSuccess, ExportServiceResponse, JSON, PROTOBUF, in_grpc, in_json, refuse, respond,
};
use otlp::{self, JsonReadError, Signal};
use sluice_engine::receive::ResponseBody;
use sluice_engine::rpc::{self, ENCODING};

/// A body that is no message: its first byte is a group that nothing ends.
const GARBAGE: &[u8] = b"\xffnot an ExportServiceResponse";

/// An answer as HTTP has it; what it is in the request's own form is decided last.
type HttpAnswer = Response<Full<Bytes>>;

/// The form of a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestForm {
    Protobuf,
    Json,
    Grpc,
}

/// What the requests of one connection share.
#[derive(Debug)]
pub(super) struct Session {
    sink: Arc<SinkState>,
    /// Ends the connection.
    pub(super) cutter: Arc<Cutter>,
    /// Memory for bodies, of which HTTP/1.1 has one at a time.
    buffer: Mutex<BytesMut>,
}

impl Session {
    pub(super) fn new(sink: Arc<SinkState>) -> Self {
        Self { sink, cutter: Arc::default(), buffer: Mutex::default() }
    }
}

/// Counts, records and answers one request.
pub(super) async fn serve(
    session: Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let Session { sink, cutter, buffer: kept_buffer } = &*session;
    sink.counters.requests.fetch_add(1, Relaxed);
    let arrived = Instant::now();
    let (head, incoming) = request.into_parts();
    let form = RequestForm::of(&head);

    let at_head = sink.faults.at_head();
    let cut = match &at_head {
        AtHead::Scripted(FaultAnswer::CutBody { after, reset }, _)
        | AtHead::Cut(FaultAnswer::CutBody { after, reset }) => Some((*after, *reset)),
        _ => None,
    };
    let mut buffer = std::mem::take(&mut *kept_buffer.lock());
    let wire_body = body::read(&head.headers, incoming, &mut buffer, cut.map(|(after, _)| after)).await;
    *kept_buffer.lock() = buffer;

    if let Some((_, reset)) = cut {
        count_refused(sink);
        return cutter.cut(if reset { ConnectionEnding::Reset } else { ConnectionEnding::Close }).await;
    }
    let bodies = wire_body.and_then(|wire_body| {
        let (wire_body, encoding) = match form {
            Some(RequestForm::Grpc) => {
                let (message, compressed) = body::message(&wire_body)?;
                (message, head.headers.get(ENCODING).filter(|_| compressed))
            }
            _ => (wire_body, head.headers.get(CONTENT_ENCODING)),
        };
        sink.counters.wire_bytes.fetch_add(wire_body.len() as u64, Relaxed);
        let body = body::decompress(encoding, wire_body.clone())?;
        sink.counters.bytes.fetch_add(body.len() as u64, Relaxed);
        Ok((wire_body, body))
    });
    let record = |bodies: Option<(Bytes, Bytes)>, answer: Option<&HttpAnswer>| {
        if let Some(requests) = &sink.requests {
            let (wire_body, body) = bodies.unwrap_or_default();
            let head = head.clone();
            requests.lock().push(RecordedRequest {
                method: head.method,
                path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
                headers: head.headers,
                wire_body,
                body,
                arrived,
                decided: Instant::now(),
                answered: answer.map(Response::status),
            });
        }
    };
    let readable = acceptable(&head, form).and_then(|(signal, form)| {
        let (wire_body, body) = bodies?;
        let body = if form == RequestForm::Json { protobuf(signal, &body)? } else { body };
        Ok((signal, form, (wire_body, body)))
    });
    let (signal, form, (wire_body, body)) = match readable {
        Ok(readable) => readable,
        Err(error) => {
            let answer = error.answer();
            record(None, Some(&answer));
            count_refused(sink);
            let signal = signal_of(&head).unwrap_or(Signal::Logs);
            return Ok(form.unwrap_or(RequestForm::Protobuf).render(signal, answer).await);
        }
    };

    let (answer, delay) = match at_head {
        AtHead::Scripted(answer, delay) => (answer, delay),
        AtHead::Cut(_) | AtHead::Later if sink.faults.is_empty() => (FaultAnswer::Accept, Duration::ZERO),
        AtHead::Cut(_) | AtHead::Later => sink.faults.at_end(&body, || keys(&body, &sink.attribute)),
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let answered = answer_with(&answer, sink, signal, &body);
    record(Some((wire_body, body)), answered.as_ref().ok());
    sink.changed.notify_waiters();
    match answered {
        Ok(response) => Ok(form.render(signal, response).await),
        Err(None) => pending().await,
        Err(Some(ending)) => cutter.cut(ending).await,
    }
}

/// The routing keys of a request, as far as it can be read.
fn keys(body: &[u8], attribute: &str) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    // What is wrong with the rest is said when the request is counted.
    let _: Result<(), BrokenFraming> = walk::entries(body, |entry| {
        keys.push(walk::routing_key(entry, attribute)?.into_owned());
        Ok(())
    });
    keys
}

/// Why a request isn't looked at.
#[derive(Debug, thiserror::Error)]
enum Unacceptable {
    #[error("send to a path that ends in traces, metrics or logs")]
    Path,
    #[error("use POST")]
    Method,
    #[error(
        "this sink reads `application/x-protobuf`, `application/json` and, on HTTP/2, `application/grpc`"
    )]
    ContentType,
    #[error("the body is not OTLP/JSON: {0}")]
    Json(String),
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl RequestForm {
    /// What the head says.
    fn of(head: &http::request::Parts) -> Option<Self> {
        match head.headers.get(CONTENT_TYPE) {
            Some(kind) if kind == PROTOBUF => Some(Self::Protobuf),
            Some(kind) if kind == JSON => Some(Self::Json),
            Some(_) if rpc::is_call(head.version, &head.headers) => Some(Self::Grpc),
            _ => None,
        }
    }

    /// An answer in this form.
    async fn render(self, signal: Signal, answer: HttpAnswer) -> Response<ResponseBody> {
        let answer = match self {
            Self::Grpc => return in_grpc(answer).await,
            Self::Json => in_json(signal, answer).await,
            Self::Protobuf => answer,
        };
        let (head, body) = answer.into_parts();
        let Ok(collected) = body.collect().await;
        Response::from_parts(head, collected.to_bytes().into())
    }
}

/// The signal of a request and its form, if it is one that a sink reads.
fn acceptable(
    head: &http::request::Parts,
    form: Option<RequestForm>,
) -> Result<(Signal, RequestForm), Unacceptable> {
    let signal = signal_of(head).ok_or(Unacceptable::Path)?;
    if head.method != Method::POST {
        return Err(Unacceptable::Method);
    }
    Ok((signal, form.ok_or(Unacceptable::ContentType)?))
}

fn signal_of(head: &http::request::Parts) -> Option<Signal> {
    let path = head.uri.path();
    Signal::from_method(path).or_else(|| Signal::from_name(path.rsplit('/').next().unwrap_or_default()))
}

/// What a request in JSON stands for in protobuf; all of it must be right.
fn protobuf(signal: Signal, json: &[u8]) -> Result<Bytes, Unacceptable> {
    match otlp::read_request(signal, json, &mut |_| true) {
        Ok(transcoded) => match &*transcoded.omitted.cuts {
            [] => Ok(transcoded.bytes.into()),
            [cut, ..] => Err(Unacceptable::Json(format!("{} (`{}`)", cut.reason, cut.path))),
        },
        Err(JsonReadError::Malformed(malformed)) => Err(Unacceptable::Json(malformed.to_string())),
        Err(JsonReadError::NoRoom) => Err(BodyError::TooLarge.into()),
    }
}

impl Unacceptable {
    fn answer(&self) -> HttpAnswer {
        let status = match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType | Self::Body(BodyError::UnknownEncoding(_)) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) | Self::Json(_) => StatusCode::BAD_REQUEST,
        };
        let mut answer = refuse(status, self.to_string());
        if matches!(self, Self::Method) {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }
}

fn count_refused(sink: &SinkState) {
    sink.counters.refused.fetch_add(1, Relaxed);
    sink.changed.notify_waiters();
}

/// Takes or refuses a request, as the answer that it gets says. Without an answer: how the connection ends, if it does.
fn answer_with(
    answer: &FaultAnswer,
    sink: &SinkState,
    signal: Signal,
    body: &[u8],
) -> Result<HttpAnswer, Option<ConnectionEnding>> {
    let takes = matches!(
        answer,
        FaultAnswer::Accept
            | FaultAnswer::PartialSuccess { .. }
            | FaultAnswer::GarbageBody
            | FaultAnswer::CloseUnanswered
    );
    if takes {
        if let Err(error) = sink.counters.take(signal, &sink.attribute, body) {
            sink.counters.malformed.fetch_add(1, Relaxed);
            sink.counters.refused.fetch_add(1, Relaxed);
            return Ok(refuse(StatusCode::BAD_REQUEST, error.to_string()));
        }
    } else {
        sink.counters.refused.fetch_add(1, Relaxed);
    }
    match answer {
        FaultAnswer::Accept => Ok(respond(StatusCode::OK, &ExportServiceResponse::default())),
        FaultAnswer::PartialSuccess { rejected, message } => {
            sink.counters.rejected.fetch_add(*rejected, Relaxed);
            let partial_success =
                ExportPartialSuccess { rejected: *rejected, error_message: message.clone() };
            Ok(respond(StatusCode::OK, &ExportServiceResponse { partial_success: Some(partial_success) }))
        }
        FaultAnswer::Status { status, retry_after, message } => {
            let mut answer = refuse(*status, message);
            if let Some(wait) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, wait.to_header());
            }
            Ok(answer)
        }
        FaultAnswer::Redirect { status, location } => {
            let mut answer = refuse(*status, "the sink was told to redirect");
            let location = HeaderValue::from_str(location).expect("a fault's location is a header value");
            answer.headers_mut().insert(LOCATION, location);
            Ok(answer)
        }
        FaultAnswer::GarbageBody => {
            let mut answer = Response::new(Full::new(Bytes::from_static(GARBAGE)));
            answer.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
            Ok(answer)
        }
        FaultAnswer::NotHttp => Err(Some(ConnectionEnding::NotHttp)),
        FaultAnswer::CloseUnanswered | FaultAnswer::CutBody { reset: false, .. } => {
            Err(Some(ConnectionEnding::Close))
        }
        FaultAnswer::CutBody { reset: true, .. } => Err(Some(ConnectionEnding::Reset)),
        FaultAnswer::Hang => Err(None),
    }
}
