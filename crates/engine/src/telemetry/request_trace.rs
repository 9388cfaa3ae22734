//! Whether a request is traced, and what of that goes with its entries.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{LogScope, OpenSpan, TraceContext};

/// Whether a request is traced.
#[derive(Clone, Debug, Default)]
pub enum RequestTrace {
    /// The request is not traced.
    #[default]
    Untraced,
    /// The request is traced by this span.
    Sampled(Arc<OpenSpan>),
    /// All that the request carries is this process's own telemetry, of which no span or log record is sent.
    OwnTelemetry,
}

impl RequestTrace {
    /// Gives the request's span an attribute, if it has a span.
    pub fn set(&self, key: &'static str, value: impl FnOnce() -> Value) {
        if let Self::Sampled(span) = self {
            span.set(key, value());
        }
    }

    /// The request's span, which its entries are linked with while they wait to be sent.
    pub fn context(&self) -> Option<TraceContext> {
        match self {
            Self::Sampled(span) => (!span.is_discarded()).then(|| span.context()),
            Self::Untraced | Self::OwnTelemetry => None,
        }
    }

    /// The scope of the log lines about the request.
    pub fn log_scope(&self) -> LogScope {
        match self {
            Self::OwnTelemetry => LogScope::Withheld,
            Self::Untraced | Self::Sampled(_) => self.context().map_or(LogScope::Other, LogScope::Request),
        }
    }

    /// Notes that the sender is authenticated: whether its own span is sampled decides from now on.
    pub fn trust_sender(&self) {
        if let Self::Sampled(span) = self {
            span.trust_sender();
            self.log_scope().enter();
        }
    }

    /// Notes that the request carries nothing but this process's own telemetry, which others have sent on: from now on no span or log
    /// record of it is sent.
    pub fn withhold(&mut self) {
        if let Self::Sampled(span) = std::mem::replace(self, Self::OwnTelemetry) {
            span.discard();
        }
        LogScope::Withheld.enter();
    }
}
