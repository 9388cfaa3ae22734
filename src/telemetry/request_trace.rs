//! Whether a request is traced, and what of that goes with its entries.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{OpenSpan, TraceContext};

/// Whether a request is traced.
#[derive(Clone, Debug, Default)]
pub enum RequestTrace {
    /// It is not.
    #[default]
    Untraced,
    /// It is, by this span.
    Sampled(Arc<OpenSpan>),
    /// It carries what this very process tells of itself, and nothing is told of that.
    OwnTelemetry,
}

/// The request that an entry came by, as far as it is known while the entry waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestOrigin {
    /// One that is not traced.
    #[default]
    Untraced,
    /// The one of this span.
    Sampled(TraceContext),
    /// One with own telemetry.
    OwnTelemetry,
}

impl RequestTrace {
    /// Gives its span an attribute, if it has one.
    pub fn set(&self, key: &'static str, value: impl FnOnce() -> Value) {
        if let Self::Sampled(span) = self {
            span.set(key, value());
        }
    }

    /// What goes with its entries.
    pub fn origin(&self) -> RequestOrigin {
        match self {
            Self::Untraced => RequestOrigin::Untraced,
            Self::Sampled(span) => RequestOrigin::Sampled(span.context()),
            Self::OwnTelemetry => RequestOrigin::OwnTelemetry,
        }
    }
}
