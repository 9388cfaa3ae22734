//! The exporters that have something to do, and what others have counted that are gone: together, all that was counted since the
//! process began.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::export::{Exporter, Fate};
use crate::otlp::Signal;

/// The exporters of the configuration, and removed ones that still drain or are paused.
#[derive(Debug, Default)]
pub(super) struct ExporterList {
    present: ArcSwap<Vec<Arc<Exporter>>>,
    /// Held while an exporter goes from those above to these, so that its counts are read once.
    gone: Mutex<GoneExporters>,
}

/// The exporters of one moment, and what those have counted that were gone by then.
#[derive(Clone, Debug)]
pub struct CountedExporters {
    /// Those that are there.
    pub exporters: Arc<Vec<Arc<Exporter>>>,
    gone: GoneExporters,
}

/// The counts of all exporters that are gone.
#[derive(Clone, Copy, Debug, Default)]
struct GoneExporters {
    ended: [[u64; Fate::ALL.len()]; Signal::ALL.len()],
    failed_attempts: u64,
}

impl ExporterList {
    pub(super) fn present(&self) -> Arc<Vec<Arc<Exporter>>> {
        self.present.load_full()
    }

    pub(super) fn counted(&self) -> CountedExporters {
        let gone = self.gone.lock();
        CountedExporters { exporters: self.present(), gone: *gone }
    }

    /// Replaces those that are present, all of which have to be among the new ones: only [`ExporterList::forget`] leaves one out.
    pub(super) fn set(&self, present: Vec<Arc<Exporter>>) {
        debug_assert!(
            self.present().iter().all(|old| present.iter().any(|new| Arc::ptr_eq(old, new))),
            "an exporter that is left out without being forgotten takes its counts with it"
        );
        self.present.store(Arc::new(present));
    }

    /// Leaves out an exporter that counts nothing more, and keeps its counts.
    pub(super) fn forget(&self, exporter: &Arc<Exporter>) {
        let rest = self.present().iter().filter(|other| !Arc::ptr_eq(other, exporter)).cloned().collect();
        let mut gone = self.gone.lock();
        gone.add(exporter);
        self.present.store(Arc::new(rest));
    }
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
    fn add(&mut self, exporter: &Exporter) {
        for signal in Signal::ALL {
            for fate in Fate::ALL {
                self.ended[signal.index()][fate as usize] += exporter.counters().exported(signal, fate);
            }
        }
        self.failed_attempts += exporter.counters().failed_attempts();
    }
}
