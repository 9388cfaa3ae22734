//! `grpc.health.v1.Health`: whether this Sluice takes telemetry.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::Response;
use ::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body::{Body, Frame};
use prost::Message;
use tokio::sync::{mpsc, watch};

use super::status::{GrpcStatus, message};
use crate::receive::answer::AnswerBody;
use crate::receive::listener::Answer;
use crate::rpc::{Code, MEDIA_TYPE, framed};

/// The service's name.
pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// What there is to be healthy: the whole, and each service.
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
enum Health {
    Serving = 1,
    NotServing = 2,
    Unknown = 3,
}

impl Health {
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

/// Answers `Check`.
pub(super) fn check(ready: &watch::Receiver<bool>, request: &[u8]) -> Answer {
    match asked(request) {
        Ok(true) => message(&Health::of(*ready.borrow()).encoded(), false),
        Ok(false) => GrpcStatus::new(Code::NotFound, "there is no such service here").answer(),
        Err(status) => status.answer(),
    }
}

fn shutting_down() -> ::http::HeaderMap {
    GrpcStatus::new(Code::Unavailable, "shutting down").into_trailers()
}

/// Answers `Watch`: tells every change, and ends once this Sluice is on its way out.
pub(super) fn watch(mut ready: watch::Receiver<bool>, request: &[u8]) -> Answer {
    let known = match asked(request) {
        Ok(known) => known,
        Err(status) => return status.answer(),
    };
    let (changes, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let tell = async |health: Health| changes.send(Frame::data(framed(&health.encoded(), false))).await;
        if !known {
            // As the protocol wants it: the call goes on, since the service may come.
            if tell(Health::Unknown).await.is_ok() {
                let leaving = tokio::select! {
                    () = changes.closed() => false,
                    left = ready.wait_for(|ready| !*ready) => left.is_ok(),
                };
                if leaving {
                    let _ = changes.send(Frame::trailers(shutting_down())).await;
                }
            }
            return;
        }
        loop {
            let now = *ready.borrow_and_update();
            if tell(Health::of(now)).await.is_err() {
                return;
            }
            if !now {
                let _ = changes.send(Frame::trailers(shutting_down())).await;
                return;
            }
            tokio::select! {
                changed = ready.changed() => if changed.is_err() { return },
                () = changes.closed() => return,
            }
        }
    });
    let mut answer = Response::new(AnswerBody::stream(Changes(body)));
    answer.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    answer
}

struct Changes(mpsc::Receiver<Frame<Bytes>>);

impl Body for Changes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
