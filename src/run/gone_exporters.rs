//! What exporters have counted that a reload removed, and that are gone since: totals of the process go on with it.

use crate::export::{Exporter, Fate};
use crate::otlp::Signal;

/// The counts of all exporters that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoneExporters {
    ended: [[u64; Fate::ALL.len()]; Signal::ALL.len()],
    failed_attempts: u64,
}

impl GoneExporters {
    /// Adds what an exporter has counted that counts no more.
    pub(super) fn add(&mut self, exporter: &Exporter) {
        for signal in Signal::ALL {
            for fate in Fate::ALL {
                self.ended[signal.index()][fate as usize] += exporter.counters().exported(signal, fate);
            }
        }
        self.failed_attempts += exporter.counters().failed_attempts();
    }

    /// Records that have ended so.
    pub fn ended(&self, signal: Signal, fate: Fate) -> u64 {
        self.ended[signal.index()][fate as usize]
    }

    /// Attempts of which an upstream took nothing.
    pub fn failed_attempts(&self) -> u64 {
        self.failed_attempts
    }
}
