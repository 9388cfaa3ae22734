//! The spans of traced requests: what their heads say, and how they were answered. Names and attributes are those of
//! OpenTelemetry's semantic conventions for HTTP and RPC where they have any.

use std::borrow::Cow;
use std::sync::Arc;

use ::http::{HeaderMap, Method, Request};

use super::caller::written;
use super::response::HttpResponse;
use super::sender::ConnectionPeer;
use super::settings::ListenerSettings;
use crate::rpc;
use crate::rpc::trailers::STATUS;
use crate::telemetry::{OpenSpan, OwnTelemetry, RequestTrace, SpanEnd, integer, text};
use otlp::Signal;

/// Codes of gRPC that are an error of the server: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and
/// `DATA_LOSS`.
const SERVER_ERRORS: [u64; 6] = [2, 4, 12, 13, 14, 15];

/// The method attribute of a method that HTTP itself does not have.
const OTHER_METHOD: &str = "_OTHER";

/// The outcome of a request that ended without an answer: its sender has gone, or Sluice has closed the connection.
const UNANSWERED: &str = "unanswered";

/// The name of a request's span: its route, of which there are few, whatever a sender asks for.
pub(super) fn name<B>(settings: &ListenerSettings, request: &Request<B>) -> Cow<'static, str> {
    let (method, path) = (request.method(), request.uri().path());
    if rpc::is_call(request.version(), request.headers()) {
        let method = Signal::from_method(path).map(|signal| signal.method().trim_start_matches('/'));
        return method.unwrap_or("a call that is not known").into();
    }
    match (method_name(method), settings.signal_of(path)) {
        (OTHER_METHOD, _) => "HTTP".into(),
        (method, Some(signal)) => format!("{method} {}", signal.path()).into(),
        (method, None) => method.into(),
    }
}

/// A request that is traced, until it ends.
pub(super) struct TracedRequest<'t> {
    telemetry: &'t OwnTelemetry,
    span: Option<Arc<OpenSpan>>,
    is_call: bool,
}

impl<'t> TracedRequest<'t> {
    /// Notes what the head says. Of own telemetry there is no span.
    pub(super) fn begin<B>(
        telemetry: &'t OwnTelemetry,
        settings: &ListenerSettings,
        request: &Request<B>,
        trace: RequestTrace,
    ) -> Self {
        let is_call = rpc::is_call(request.version(), request.headers());
        let RequestTrace::Sampled(span) = trace else { return Self { telemetry, span: None, is_call } };
        let path = request.uri().path();
        let signal = if is_call { Signal::from_method(path) } else { settings.signal_of(path) };
        span.set("sluice.receiver", text(&*settings.name));
        if let Some(signal) = signal {
            span.set("sluice.signal", text(signal.name()));
        }
        if is_call {
            span.set_call(signal.map(Signal::method));
        } else {
            span.set("http.request.method", text(method_name(request.method())));
            if let Some(signal) = signal {
                span.set("http.route", text(signal.path()));
            }
        }
        if let Some(peer) = request.extensions().get::<ConnectionPeer>() {
            span.set("client.address", text(peer.address.ip().to_string()));
        }
        if let Some(agent) = written(request.headers(), "user-agent") {
            span.set("user_agent.original", text(agent));
        }
        Self { telemetry, span: Some(span), is_call }
    }

    /// Ends the span by what is answered.
    pub(super) fn answered(mut self, answer: &HttpResponse) {
        let Some(span) = self.span.take() else { return };
        let status = u64::from(answer.status().as_u16());
        let end = if self.is_call {
            let code = grpc_code(answer.headers());
            span.set("rpc.grpc.status_code", integer(code));
            if SERVER_ERRORS.contains(&code) { failed(&format!("code {code}")) } else { SpanEnd::Well }
        } else {
            span.set("http.response.status_code", integer(status));
            // A sender's mistake is no error of the server.
            if status >= 500 { failed(&format!("status {status}")) } else { SpanEnd::Well }
        };
        self.telemetry.end_span(&span, end, None);
    }
}

impl Drop for TracedRequest<'_> {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            span.set("sluice.outcome", text(UNANSWERED));
            self.telemetry.end_span(&span, SpanEnd::Well, None);
        }
    }
}

/// The name of a method that HTTP itself has. Senders may make up any number of others.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => OTHER_METHOD,
    }
}

fn failed(how: &str) -> SpanEnd {
    SpanEnd::Failed(how.to_owned())
}

/// A call that went well says so in its trailers, and any other in its head.
fn grpc_code(headers: &HeaderMap) -> u64 {
    headers.get(STATUS).and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(0)
}
