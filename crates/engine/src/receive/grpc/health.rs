//! `grpc.health.v1.Health`: whether this Sluice takes telemetry.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::Response;
use ::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body::{Body, Frame};
use prost::Message;
use tokio::sync::watch;

use super::status::{GrpcStatus, message};
use crate::receive::response::{HttpResponse, ResponseBody};
use crate::rpc::{Code, MEDIA_TYPE, framed};

/// The service's name.
pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// Bytes of a request, as sent and again after decompression. It has the name of a service, and comes from anybody.
pub(super) const LARGEST_REQUEST: u64 = 4096;

/// The services that can be asked about; the empty name is Sluice as a whole.
const SERVICES: [&str; 4] = [
    "",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
];

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, Copy)]
enum ServingStatus {
    Serving = 1,
    NotServing = 2,
    Unknown = 3,
}

impl ServingStatus {
    fn of(ready: bool) -> Self {
        if ready { Self::Serving } else { Self::NotServing }
    }

    fn encoded(self) -> Vec<u8> {
        HealthCheckResponse { status: self as i32 }.encode_to_vec()
    }
}

/// The service that is asked about, and whether it is one.
fn asked(request: &[u8]) -> Result<bool, GrpcStatus> {
    match HealthCheckRequest::decode(request) {
        Ok(request) => Ok(SERVICES.contains(&request.service.as_str())),
        Err(error) => Err(GrpcStatus::new(Code::InvalidArgument, &error.to_string())),
    }
}

/// Whether a call of this path is for this service, which answers everybody: whoever watches over a process has no credential.
pub(super) fn is_its_path(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Answers `Check`.
pub(super) fn check(ready: &watch::Receiver<bool>, request: &[u8]) -> HttpResponse {
    match asked(request) {
        Ok(true) => message(&ServingStatus::of(*ready.borrow()).encoded(), false),
        Ok(false) => GrpcStatus::new(Code::NotFound, "there is no such service here").answer(),
        Err(status) => status.answer(),
    }
}

fn shutting_down() -> ::http::HeaderMap {
    GrpcStatus::new(Code::Unavailable, "shutting down").into_trailers()
}

/// Answers `Watch`: tells every change, and ends once this Sluice is on its way out.
pub(super) fn watch(ready: watch::Receiver<bool>, request: &[u8]) -> HttpResponse {
    let known = match asked(request) {
        Ok(known) => known,
        Err(status) => return status.answer(),
    };
    let mut answer = Response::new(ResponseBody::stream(Changes::new(ready, known)));
    answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    answer
}

/// The messages of a `Watch` call, made as its client reads them. A connection may have hundreds of these calls, each of which takes its
/// memory for as long as its reader likes: there is neither a task nor a channel for it.
struct Changes {
    /// Whether there is the service that is watched. If not, the call goes on all the same, as the protocol wants it: the
    /// service may come.
    known: bool,
    next: NextMessage,
}

/// The next message of a `Watch` call.
enum NextMessage {
    /// How the service is now: the first message of the call.
    First(watch::Receiver<bool>),
    /// How it is after a change; `None` if there will be none.
    Change(Pin<Box<dyn Future<Output = Option<watch::Receiver<bool>>> + Send>>),
    /// The trailers, which say that the call has ended.
    End,
    /// Nothing: the call has ended.
    Nothing,
}

impl Changes {
    fn new(ready: watch::Receiver<bool>, known: bool) -> Self {
        Self { known, next: NextMessage::First(ready) }
    }

    /// Notes how Sluice is now, and returns the message that says so; for a service that is not known there is only one.
    fn tell(&mut self, mut ready: watch::Receiver<bool>, first: bool) -> Option<Frame<Bytes>> {
        let now = *ready.borrow_and_update();
        let health =
            if self.known { Some(ServingStatus::of(now)) } else { first.then_some(ServingStatus::Unknown) };
        self.next = if now {
            NextMessage::Change(Box::pin(async move { ready.changed().await.is_ok().then_some(ready) }))
        } else {
            NextMessage::End
        };
        health.map(|health| Frame::data(framed(&health.encoded(), false)))
    }
}

impl Body for Changes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let told = match std::mem::replace(&mut self.next, NextMessage::Nothing) {
                NextMessage::First(ready) => self.tell(ready, true),
                NextMessage::Change(mut change) => match change.as_mut().poll(cx) {
                    Poll::Ready(ready) => ready.and_then(|ready| self.tell(ready, false)),
                    Poll::Pending => {
                        self.next = NextMessage::Change(change);
                        return Poll::Pending;
                    }
                },
                NextMessage::End => Some(Frame::trailers(shutting_down())),
                NextMessage::Nothing => return Poll::Ready(None),
            };
            if let Some(frame) = told {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }
}
