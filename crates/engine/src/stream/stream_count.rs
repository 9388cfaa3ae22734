//! How many streams there are, and why there may be no more.

use std::sync::Arc;

use super::full::Full;
// Not by name, since a test has this file compiled with other atomics.
use super::sync::{AtomicBool, AtomicUsize, Ordering};
use crate::tenants::TenantLimit;

/// How many streams there are, and how many there may be.
#[derive(Debug)]
pub struct StreamCount {
    live: AtomicUsize,
    limit: AtomicUsize,
}

/// Whether a stream counts against the limits of streams: it does so once, whoever says so how often.
#[derive(Debug)]
pub(super) struct CountedOnce(AtomicBool);

impl Default for CountedOnce {
    /// It counts already.
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl CountedOnce {
    /// Has it count no more, if it does.
    pub(super) fn leave(&self, leave: impl FnOnce()) {
        if self.0.swap(false, Ordering::AcqRel) {
            leave();
        }
    }

    /// Has it count, if it does not.
    pub(super) fn join(&self, join: impl FnOnce()) {
        if !self.0.swap(true, Ordering::AcqRel) {
            join();
        }
    }
}

/// Why there is no stream of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum NoStream {
    /// `limits.streams` or the route's `max_streams` is reached.
    TooMany,
    /// This tenant's own `limits.streams` is reached.
    TenantHasTooMany(Arc<str>),
    /// The exporter's templates can't take the stream's values, and why.
    Unfit(String),
}

impl NoStream {
    /// What is full.
    pub(super) fn full(self) -> Full {
        match self {
            Self::TooMany | Self::Unfit(_) => Full::Streams,
            Self::TenantHasTooMany(tenant) => Full::Tenant { tenant, limit: TenantLimit::Streams },
        }
    }
}

impl StreamCount {
    /// At most `limit` streams.
    pub fn new(limit: usize) -> Self {
        Self { live: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Streams there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Streams there may be.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; streams beyond it end when they are idle.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts one more stream, unless there are as many as there may be. Returns whether it is counted.
    pub(super) fn join(&self) -> bool {
        let grown = |live: usize| (live < self.limit()).then_some(live + 1);
        self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok()
    }

    /// Counts one more stream, whatever the limit is.
    pub(super) fn join_anyway(&self) {
        self.live.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts one stream less.
    pub(super) fn leave(&self) {
        let before = self.live.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "no more streams end than have begun");
    }
}
