//! Whether a request is traced, and what of that goes with its entries.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{LogScope, OpenSpan, TraceContext};

/// Whether a request is traced.
#[derive(Clone, Debug, Default)]
pub enum RequestTrace {
    /// It is not.
    #[default]
    Untraced,
    /// It is, by this span.
    Sampled(Arc<OpenSpan>),
    /// All that it carries is what this very process tells of itself, and nothing is told of that.
    OwnTelemetry,
}

impl RequestTrace {
    /// Gives its span an attribute, if it has one.
    pub fn set(&self, key: &'static str, value: impl FnOnce() -> Value) {
        if let Self::Sampled(span) = self {
            span.set(key, value());
        }
    }

    /// Its span, by which its entries are known while they wait to be sent.
    pub fn context(&self) -> Option<TraceContext> {
        match self {
            Self::Sampled(span) => (!span.is_discarded()).then(|| span.context()),
            Self::Untraced | Self::OwnTelemetry => None,
        }
    }

    /// The scope of what is logged about it.
    pub fn log_scope(&self) -> LogScope {
        match self {
            Self::OwnTelemetry => LogScope::Withheld,
            Self::Untraced | Self::Sampled(_) => self.context().map_or(LogScope::Other, LogScope::Request),
        }
    }

    /// Whoever has sent it is known: what that says of its own span decides.
    pub fn trust_sender(&self) {
        if let Self::Sampled(span) = self {
            span.trust_sender();
            self.log_scope().enter();
        }
    }

    /// All that it carries has turned out to be what this process tells of itself, which has come by way of others: from now on nothing
    /// is told of it.
    pub fn withhold(&mut self) {
        if let Self::Sampled(span) = std::mem::replace(self, Self::OwnTelemetry) {
            span.discard();
        }
        LogScope::Withheld.enter();
    }
}
