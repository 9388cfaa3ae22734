//! The exporters that are present, and the counts of those that are gone: together, all that was counted since the process began.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::export::{Exporter, Fate};
use crate::otlp::Signal;

/// The exporters of the configuration, and removed ones that still drain or are paused.
#[derive(Debug, Default)]
pub(super) struct ExporterList {
    present: ArcSwap<Vec<Arc<Exporter>>>,
    /// The counts of exporters that are gone. Locked while an exporter moves from `present` to `gone`, so that no reader misses its
    /// counts or gets them twice.
    gone: Mutex<GoneExporters>,
}

/// The exporters that were present at one moment, and the counts of those that were gone by then.
#[derive(Clone, Debug)]
pub struct CountedExporters {
    /// The exporters that are present.
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

    /// Replaces the exporters that are present. All of the old ones have to be among the new ones: only [`ExporterList::forget`] removes
    /// one.
    pub(super) fn set(&self, present: Vec<Arc<Exporter>>) {
        debug_assert!(
            self.present().iter().all(|old| present.iter().any(|new| Arc::ptr_eq(old, new))),
            "an exporter that is left out without being forgotten takes its counts with it"
        );
        self.present.store(Arc::new(present));
    }

    /// Removes an exporter whose counts do not change any more, and keeps the counts.
    pub(super) fn forget(&self, exporter: &Arc<Exporter>) {
        let rest = self.present().iter().filter(|other| !Arc::ptr_eq(other, exporter)).cloned().collect();
        let mut gone = self.gone.lock();
        gone.add(exporter);
        self.present.store(Arc::new(rest));
    }
}

impl CountedExporters {
    /// Records of all exporters that have ended with this fate.
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
    /// Adds the counts of an exporter that is removed.
    fn add(&mut self, exporter: &Exporter) {
        for signal in Signal::ALL {
            for fate in Fate::ALL {
                self.ended[signal.index()][fate as usize] += exporter.counters().exported(signal, fate);
            }
        }
        self.failed_attempts += exporter.counters().failed_attempts();
    }
}
