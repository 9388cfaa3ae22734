//! The conditions under which a batch is attempted.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::HeaderValue;
use otlp::Redaction;
use tokio::time::Instant;

use super::circuit::Pass;
use super::turn::Turn;
use crate::stream::Budget;
use crate::telemetry::OpenSpan;

/// The conditions under which a batch is attempted.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Whether the stream's last attempt hung, which decides about the allowance; kept up to date by the attempt.
    pub hanging: &'a AtomicBool,
    /// What of the batch is not shown where the upstream says it back.
    pub redaction: &'a ArcSwap<Redaction>,
    /// What is charged for what is made of the batch, such as its compressed body.
    pub budget: &'a Arc<Budget>,
    /// The leave to ask the destination, for those that share a circuit.
    pub pass: Option<&'a Pass<'a>>,
    /// When the attempt began to do more than wait for its turn: until then it leaves no trace if it is dropped.
    pub begun: &'a OnceLock<Instant>,
    /// The turn of the consumer, if one makes the attempt: it ends as that begins.
    pub turn: Option<&'a Turn>,
    /// The span of the attempt, if it has one: it begins with the attempt, and is named to the upstream.
    pub span: Option<&'a OpenSpan>,
}

impl Conditions<'_> {
    /// Begins the attempt, if it may still be made.
    pub(super) fn begin(&self) -> bool {
        if let Some(turn) = self.turn {
            turn.end();
        }
        let holds = self.pass.is_none_or(Pass::holds);
        if holds {
            self.begun.get_or_init(Instant::now);
            if let Some(span) = self.span {
                span.begin();
            }
        }
        holds
    }

    /// Names the span of the attempt to the upstream.
    pub(super) fn traceparent(&self) -> Option<HeaderValue> {
        self.span.map(|span| span.context().header())
    }
}

/// What an attempt needs that shares nothing with others.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct LoneAttempt {
    hanging: AtomicBool,
    redaction: ArcSwap<Redaction>,
    pub(super) budget: Arc<Budget>,
    begun: OnceLock<Instant>,
}

#[cfg(test)]
impl Default for LoneAttempt {
    fn default() -> Self {
        let (hanging, redaction, begun) = Default::default();
        Self { hanging, redaction, budget: Arc::new(Budget::new(u64::MAX)), begun }
    }
}

#[cfg(test)]
impl LoneAttempt {
    pub(super) fn conditions(&self) -> Conditions<'_> {
        let Self { hanging, redaction, budget, begun } = self;
        Conditions { hanging, redaction, budget, pass: None, begun, turn: None, span: None }
    }
}
