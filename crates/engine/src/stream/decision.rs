//! Lines of the log about what is decided about a stream, for those who want to know each time.
//!
//! None is written while a lock is held: writing waits for whoever reads the log.

use std::fmt;
use std::time::Duration;

use tracing::{Level, debug, enabled};

use super::Stream;
use crate::telemetry::LogScope;

/// What a line says beside the decision, as far as there is anything to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecisionDetails<'a> {
    /// Of what it is decided.
    pub bytes: Option<u64>,
    /// Of what it is decided.
    pub records: Option<u64>,
    /// Batches that wait to be sent.
    pub waiting: Option<usize>,
    /// Why.
    pub reason: Option<&'a str>,
    /// For how long.
    pub wait: Option<Duration>,
}

/// That a batch was closed, until nobody waits for the queue and it may be logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchClosing {
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) waiting: usize,
    pub(super) why: &'static str,
}

/// Whether decisions are logged at all.
pub(super) fn are_logged() -> bool {
    enabled!(Level::DEBUG)
}

impl Stream {
    /// Logs what is decided about the stream. If it has got own telemetry, that is not sent.
    pub fn log_decision(&self, decision: impl fmt::Display, details: DecisionDetails<'_>) {
        if !are_logged() {
            return;
        }
        let log = || {
            let (exporter, key) = (self.registry().exporter(), &self.name().key);
            let DecisionDetails { bytes, records, waiting, reason, wait } = details;
            let wait = wait.map(tracing::field::debug);
            debug!(%exporter, signal = %self.signal(), key = &*key.text(), tenant = key.tenant(), bytes, records, waiting, reason, wait, "{decision}");
        };
        if self.has_own_telemetry() { LogScope::Withheld.of_call(log) } else { log() }
    }

    pub(super) fn log_closing(&self, BatchClosing { bytes, records, waiting, why }: BatchClosing) {
        let (bytes, records, waiting) = (Some(bytes), Some(records), Some(waiting));
        let details = DecisionDetails { bytes, records, waiting, ..DecisionDetails::default() };
        self.log_decision(format_args!("batch closed: {why}"), details);
    }
}
