//! What an exporter has done, for the metrics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::exponential_buckets;

use super::histogram::Histogram;
use crate::outcome::Fate;
use otlp::Signal;

/// The counters of one exporter; they outlive reloads.
#[derive(Debug)]
pub struct ExporterCounters {
    exported: [[AtomicU64; 4]; 3],
    withdrawn: [AtomicU64; 3],
    letters: AtomicU64,
    attempts: Mutex<BTreeMap<Cow<'static, str>, u64>>,
    failed_attempts: AtomicU64,
    /// Seconds per attempt, waiting for a free place included.
    pub duration: Histogram,
    /// Protobuf bytes per batch.
    pub batch_bytes: Histogram,
}

impl Default for ExporterCounters {
    fn default() -> Self {
        Self {
            exported: [const { [const { AtomicU64::new(0) }; 4] }; 3],
            withdrawn: [const { AtomicU64::new(0) }; 3],
            letters: AtomicU64::new(0),
            attempts: Mutex::default(),
            failed_attempts: AtomicU64::new(0),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            batch_bytes: Histogram::new(exponential_buckets(256.0, 4.0, 9)),
        }
    }
}

impl ExporterCounters {
    /// Counts records that have ended.
    pub fn count(&self, signal: Signal, fate: Fate, records: u64) {
        self.exported[signal.index()][fate as usize].fetch_add(records, Ordering::AcqRel);
    }

    /// Counts one attempt; `code` is an HTTP status or a word for what came instead of one. One that has `failed` has delivered
    /// nothing.
    pub fn count_attempt(&self, code: Cow<'static, str>, failed: bool) {
        if failed {
            self.failed_attempts.fetch_add(1, Ordering::Relaxed);
        }
        *self.attempts.lock().entry(code).or_default() += 1;
    }

    /// Records that have ended so. Those that were withdrawn are among the dropped ones.
    pub fn exported(&self, signal: Signal, fate: Fate) -> u64 {
        let withdrawn = if fate == Fate::Dropped { self.withdrawn(signal) } else { 0 };
        self.exported[signal.index()][fate as usize].load(Ordering::Acquire) + withdrawn
    }

    /// Counts records that were withdrawn: they have ended as dropped, and their senders were told to send them again.
    pub fn count_withdrawn(&self, signal: Signal, records: u64) {
        self.withdrawn[signal.index()].fetch_add(records, Ordering::AcqRel);
    }

    /// Of the dropped records those that were withdrawn.
    pub fn withdrawn(&self, signal: Signal) -> u64 {
        self.withdrawn[signal.index()].load(Ordering::Acquire)
    }

    /// Of the dropped records those that nobody has withdrawn.
    pub fn dropped_for_good(&self, signal: Signal) -> u64 {
        self.exported[signal.index()][Fate::Dropped as usize].load(Ordering::Acquire)
    }

    /// Counts a dead letter that was stored, before its records are.
    pub(super) fn count_letter(&self) {
        self.letters.fetch_add(1, Ordering::AcqRel);
    }

    /// Dead letters that were stored.
    pub fn letters(&self) -> u64 {
        self.letters.load(Ordering::Acquire)
    }

    /// Attempts that have delivered nothing.
    pub fn failed_attempts(&self) -> u64 {
        self.failed_attempts.load(Ordering::Relaxed)
    }

    /// Attempts by code.
    pub fn attempts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        self.attempts.lock().clone()
    }
}
