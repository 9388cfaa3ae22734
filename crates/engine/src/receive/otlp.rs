//! OTLP in front of an intake: HTTP and gRPC on one listener, told apart by each request.

use std::sync::Arc;

use ::http::Request;
use ::http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::connection_errors::ConnectionErrors;
use super::handler::Handler;
use super::intake::Intake;
use super::listener::{BoundListener, Listener};
use super::response::HttpResponse;
use super::settings::ListenerSettings;
use super::traced::{self, TracedRequest};
use super::{grpc, http};
use crate::rpc;
use crate::stream::Budget;

/// The handler of an OTLP listener.
#[derive(Debug)]
pub struct Otlp {
    /// Takes the requests.
    pub intake: Arc<Intake>,
    /// The budget that bodies are reserved on.
    pub budget: Arc<Budget>,
    /// Whether telemetry is taken, for health checks by gRPC.
    pub ready: watch::Receiver<bool>,
}

impl Otlp {
    /// Begins to accept senders. [`BoundListener::serve`] is generic, and so compiled where it is called: here, for speed.
    pub fn serve(self, bound: BoundListener) -> Listener {
        bound.serve(Arc::new(self))
    }

    async fn answer_by_transport(
        &self,
        settings: &ListenerSettings,
        request: Request<Incoming>,
    ) -> HttpResponse {
        if rpc::is_call(request.version(), request.headers()) {
            grpc::answer(&self.intake, settings, &self.budget, &self.ready, request).await
        } else {
            http::answer(&self.intake, settings, &self.budget, request).await
        }
    }
}

impl Handler for Otlp {
    async fn answer(&self, settings: &ListenerSettings, mut request: Request<Incoming>) -> HttpResponse {
        if !self.intake.telemetry.is_enabled() || grpc::asks_for_health(request.uri().path()) {
            return self.answer_by_transport(settings, request).await;
        }
        let name = || traced::name(settings, &request);
        let trace = self.intake.telemetry.trace_request(request.headers(), settings.auth.is_none(), name);
        let scope = trace.log_scope();
        let traced = TracedRequest::begin(&self.intake.telemetry, settings, &request, trace.clone());
        request.extensions_mut().insert(trace);
        // Boxed, so that the future is small while own telemetry is off. Requests that are not traced have a scope as well, which changes
        // if they turn out to carry own telemetry.
        let answer = Box::pin(scope.of(self.answer_by_transport(settings, request))).await;
        traced.answered(&answer);
        answer
    }

    fn budget(&self) -> Option<&Arc<Budget>> {
        Some(&self.budget)
    }

    fn no_memory(&self, settings: &ListenerSettings, head: &Parts) -> HttpResponse {
        if rpc::is_call(head.version, &head.headers) {
            grpc::no_memory(&self.intake, settings, head)
        } else {
            http::no_memory(&self.intake, settings, head)
        }
    }

    fn connection_errors(&self) -> Option<&ConnectionErrors> {
        Some(&self.intake.counters.connection_errors)
    }
}
