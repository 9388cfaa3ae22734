//! All that exporters have counted since the process began, also those that a reload removed and that are gone since.

use std::sync::Arc;

use crate::export::{Exporter, Fate};
use crate::otlp::Signal;

/// The exporters of one moment, and what those have counted that were gone by then.
#[derive(Clone, Debug)]
pub struct CountedExporters {
    /// Those that are there.
    pub exporters: Arc<Vec<Arc<Exporter>>>,
    pub(super) gone: GoneExporters,
}

/// The counts of all exporters that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GoneExporters {
    ended: [[u64; Fate::ALL.len()]; Signal::ALL.len()],
    failed_attempts: u64,
}

impl CountedExporters {
    /// Records that have ended so, of all exporters.
    pub fn ended(&self, signal: Signal, fate: Fate) -> u64 {
        let now = self.exporters.iter().map(|exporter| exporter.counters().exported(signal, fate));
        now.sum::<u64>() + self.gone.ended[signal.index()][fate as usize]
    }

    /// Attempts of which an upstream took nothing, of all exporters.
    pub fn failed_attempts(&self) -> u64 {
        let now = self.exporters.iter().map(|exporter| exporter.counters().failed_attempts());
        now.sum::<u64>() + self.gone.failed_attempts
    }
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
}
