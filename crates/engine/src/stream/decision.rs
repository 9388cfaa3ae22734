//! Lines of the log about what is decided about a stream, for those who want to know each time.
//!
//! None is written while a lock is held: writing waits for whoever reads the log.

use std::time::Duration;

use tracing::{Level, enabled};

/// What a line says beside the decision, as far as there is anything to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecisionDetails<'a> {
    /// Bytes that the decision is about.
    pub bytes: Option<u64>,
    /// Records that the decision is about.
    pub records: Option<u64>,
    /// Batches that wait to be sent.
    pub waiting: Option<usize>,
    /// Why it was decided so.
    pub reason: Option<&'a str>,
    /// For how long the stream waits.
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
