//! OTLP in front of an intake: HTTP and gRPC on one listener, told apart by each request.

use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use ::http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::intake::Intake;
use super::listener::{Answer, Bound, Handler, Listener};
use super::traced::{self, TracedRequest};
use super::{ConnectionErrors, ListenerSettings, grpc, http};
use crate::rpc;
use crate::stream::Budget;

/// A sender that is refused before its body is read may send that much longer, so that it sees the answer.
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// Seconds after which a refused sender is asked to come back. Drawn from a range, so that senders that were refused
/// together don't come back together; short, because longer ones make SDKs drop the batch.
pub(super) const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<u64> = 1..=5;

/// What is said to a sender that shows no credential, or none that is known. Which of both it was is for the log alone.
pub(super) const UNAUTHORIZED: &str = "Unauthorized";

/// What answers on an OTLP listener.
#[derive(Debug)]
pub struct Otlp {
    /// Where requests go.
    pub intake: Arc<Intake>,
    /// What bodies are reserved on.
    pub budget: Arc<Budget>,
    /// Whether telemetry is taken, for those who ask by gRPC.
    pub ready: watch::Receiver<bool>,
}

impl Otlp {
    /// Begins to accept senders. [`Bound::serve`] is generic, and so compiled where it is called: here, for speed.
    pub fn serve(self, bound: Bound) -> Listener {
        bound.serve(Arc::new(self))
    }

    async fn answer_by_transport(&self, settings: &ListenerSettings, request: Request<Incoming>) -> Answer {
        if rpc::is_call(request.version(), request.headers()) {
            grpc::answer(self, settings, request).await
        } else {
            http::answer(&self.intake, settings, &self.budget, request).await
        }
    }
}

impl Handler for Otlp {
    async fn answer(&self, settings: &ListenerSettings, mut request: Request<Incoming>) -> Answer {
        if !self.intake.telemetry.is_enabled() || grpc::asks_for_health(request.uri().path()) {
            return self.answer_by_transport(settings, request).await;
        }
        let name = || traced::name(settings, &request);
        let trace = self.intake.telemetry.trace_request(request.headers(), settings.auth.is_none(), name);
        let scope = trace.log_scope();
        let traced = TracedRequest::begin(&self.intake.telemetry, settings, &request, trace.clone());
        request.extensions_mut().insert(trace);
        // In a box, so that requests have no room for it while nothing is told. Those that are not traced have a scope as well, which is
        // another one once they turn out to carry own telemetry.
        let answer = Box::pin(scope.of(self.answer_by_transport(settings, request))).await;
        traced.answered(&answer);
        answer
    }

    fn budget(&self) -> Option<&Arc<Budget>> {
        Some(&self.budget)
    }

    fn no_memory(&self, settings: &ListenerSettings, head: &Parts) -> Answer {
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
