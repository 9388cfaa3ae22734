//! How much of its limits a tenant has used.
//!
//! The limits stand in the tenant's row, and are told at each question: so a changed row counts from the next request on,
//! while what is used stays counted.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::tenant::{Rate, TenantLimits};

/// How long a refusal for a limit is recent.
const RECENT: Duration = Duration::from_secs(60);

/// How much of its limits a tenant has used.
#[derive(Debug)]
pub struct Quota {
    /// `None` while nothing of the burst is spent and nothing was refused within the last minute, as of most tenants at most times.
    recent: Mutex<Option<Box<RecentUse>>>,
    streams: AtomicUsize,
    memory: QuotaShare,
    journal: QuotaShare,
}

/// The recent use of a tenant's burst, and its last refusal; freed once both are over.
#[derive(Debug)]
struct RecentUse {
    bucket: Bucket,
    /// When something was last refused for a limit.
    last_refusal: Option<Instant>,
}

/// The framed bytes that all streams of a tenant hold, in memory or in the journal.
#[derive(Debug, Default)]
pub struct QuotaShare(AtomicU64);

/// How much a tenant has used of what its row may limit, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Bytes of the burst that are used up; more than the burst is a debt, for which later requests wait. 0 without a rate.
    pub burst: u64,
    /// Streams alive.
    pub streams: usize,
    /// Framed bytes of entries in memory.
    pub memory: u64,
    /// Framed bytes of entries in the journal.
    pub journal: u64,
}

/// A tenant's limit of what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantLimit {
    /// `limits.streams` of its row.
    Streams,
    /// `limits.memory` of its row.
    Memory,
    /// `limits.journal` of its row.
    Journal,
}

/// A tenant has sent more than its rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateExceeded {
    /// The tenant whose rate it is.
    pub tenant: Arc<str>,
    /// When its next request is taken, if no other comes before.
    pub retry_after: Duration,
}

impl Quota {
    pub(super) fn new() -> Self {
        Self {
            recent: Mutex::new(None),
            streams: AtomicUsize::new(0),
            memory: QuotaShare::default(),
            journal: QuotaShare::default(),
        }
    }

    /// Frees what was used lately, once nothing of the burst is spent and no refusal is recent.
    pub(super) fn release_idle(&self) {
        let mut recent = self.recent.lock();
        if recent.as_mut().is_some_and(|recent| recent.is_over(Instant::now())) {
            *recent = None;
        }
    }

    /// How long the tenant has to wait until a request is taken; `None` if that is now. A request of any size is taken while
    /// there is anything left of the burst.
    pub fn wait_for(&self, rate: Rate) -> Option<Duration> {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        // Without a bucket nothing of the burst is spent.
        let recent = recent.as_mut()?;
        let wait = recent.bucket.wait(rate, now);
        if wait.is_some() {
            recent.last_refusal = Some(now);
        }
        wait
    }

    /// Counts bytes that were taken. What is more than there was left of the burst is a debt, for which later requests wait.
    pub fn charge(&self, rate: Rate, bytes: u64) {
        let now = Instant::now();
        RecentUse::of(&mut self.recent.lock(), now).bucket.spend(rate, bytes, now);
    }

    /// Counts one more stream, unless there are as many as there may be.
    pub fn join_stream(&self, most: Option<NonZeroUsize>) -> bool {
        let grown = |live: usize| most.is_none_or(|most| live < most.get()).then_some(live + 1);
        let joined = self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok();
        if !joined {
            self.note_refusal();
        }
        joined
    }

    /// Counts one more stream, whatever the limit is.
    pub fn join_stream_anyway(&self) {
        self.streams.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts one stream less.
    pub fn leave_stream(&self) {
        let live = self.streams.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(live > 0, "no more streams leave than have joined");
    }

    /// The bytes that its streams hold in memory.
    pub fn memory(&self) -> &QuotaShare {
        &self.memory
    }

    /// The bytes that its streams hold in the journal.
    pub fn journal(&self) -> &QuotaShare {
        &self.journal
    }

    /// Notes that something was refused for a limit.
    pub fn note_refusal(&self) {
        let now = Instant::now();
        RecentUse::of(&mut self.recent.lock(), now).last_refusal = Some(now);
    }

    /// Whether something was refused for a limit within the last minute.
    pub fn was_over_limit_recently(&self) -> bool {
        self.recent.lock().as_ref().is_some_and(|recent| recent.was_refused(Instant::now()))
    }

    /// How much is used now of what these limits bound.
    pub fn usage(&self, limits: &TenantLimits) -> QuotaUsage {
        let spent =
            |rate| self.recent.lock().as_mut().map(|recent| recent.bucket.spent(rate, Instant::now()));
        QuotaUsage {
            burst: limits.rate().and_then(spent).unwrap_or(0),
            streams: self.streams.load(Ordering::Acquire),
            memory: self.memory.held(),
            journal: self.journal.held(),
        }
    }
}

impl RecentUse {
    /// The recent use that is kept, or a new one.
    fn of(kept: &mut Option<Box<Self>>, now: Instant) -> &mut Self {
        kept.get_or_insert_with(|| Box::new(Self { bucket: Bucket::full(now), last_refusal: None }))
    }

    fn was_refused(&self, now: Instant) -> bool {
        self.last_refusal.is_some_and(|at| now.saturating_duration_since(at) < RECENT)
    }

    /// Whether nothing of the burst is spent and no refusal is recent, so that it need not be kept.
    fn is_over(&mut self, now: Instant) -> bool {
        self.bucket.is_full(now) && !self.was_refused(now)
    }
}

impl QuotaShare {
    /// Bytes held.
    pub fn held(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Takes `bytes` unless there would be more than `most` then. Of what is held, `own` bytes belong to the request that asks.
    ///
    /// An `empty` stream takes what it gets as long as others leave anything of the share: so there is no request that could
    /// never be taken.
    pub fn take_within(&self, bytes: u64, most: u64, own: u64, empty: bool) -> bool {
        let grown = |held: u64| {
            let after = held.checked_add(bytes)?;
            let others_leave_some = held.saturating_sub(own) < most;
            (after <= most || (empty && others_leave_some)).then_some(after)
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok()
    }

    /// Takes `bytes`, however many there are.
    pub fn take(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives `bytes` back.
    pub fn give_back(&self, bytes: u64) {
        let held = self.0.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(held >= bytes, "no more is given back than was taken");
    }
}

impl TenantLimit {
    /// The name of the limit in the tenant's row.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Streams => "limits.streams",
            Self::Memory => "limits.memory",
            Self::Journal => "limits.journal",
        }
    }
}

/// The message for the sender.
impl fmt::Display for RateExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, retry_after } = self;
        write!(
            f,
            "the tenant `{tenant}` has sent more than its `limits.rate`; send it again in {retry_after:.1?}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use tokio::time::advance;

    use super::*;

    const RATE: Rate = Rate { per_second: 1000, burst: 1000 };

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_as_long_as_it_is_told_is_taken_and_not_a_moment_before() {
        let quota = Quota::new();
        assert_eq!(quota.wait_for(RATE), None);
        assert!(!quota.was_over_limit_recently());
        quota.charge(RATE, 3500);
        let wait = quota.wait_for(RATE).unwrap();
        assert!((Duration::from_millis(2500)..Duration::from_millis(2501)).contains(&wait), "{wait:?}");
        advance(wait.saturating_sub(Duration::from_millis(1))).await;
        assert!(quota.wait_for(RATE).is_some());
        advance(Duration::from_millis(1)).await;
        assert_eq!(quota.wait_for(RATE), None);
        assert!(quota.was_over_limit_recently());
        advance(RECENT.saturating_sub(Duration::from_millis(2))).await;
        quota.release_idle();
        assert!(quota.was_over_limit_recently());
        advance(Duration::from_millis(1)).await;
        assert!(!quota.was_over_limit_recently());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_of_the_burst_is_kept_until_it_has_come_back() {
        let quota = Quota::new();
        let limits = TenantLimits { rate: NonZeroU64::new(RATE.per_second), ..TenantLimits::default() };
        quota.charge(RATE, 500);
        advance(Duration::from_millis(499)).await;
        quota.release_idle();
        assert_eq!(quota.usage(&limits).burst, 1);
        assert!(quota.recent.lock().is_some());
        advance(Duration::from_millis(1)).await;
        quota.release_idle();
        assert!(quota.recent.lock().is_none());
        assert_eq!((quota.usage(&limits).burst, quota.wait_for(RATE)), (0, None));
    }

    #[test]
    fn an_empty_stream_takes_any_size_unless_others_have_all_of_the_share() {
        let share = QuotaShare::default();
        assert!(share.take_within(500, 100, 0, true), "nothing else is held");
        assert!(!share.take_within(1, 100, 0, true), "others hold all of it");
        assert!(share.take_within(500, 100, 500, true), "what is held is the same request's");
        assert_eq!(share.held(), 1000);
        share.give_back(share.held());
        assert!(share.take_within(60, 100, 0, false));
        assert!(!share.take_within(41, 100, 0, false));
        assert!(share.take_within(40, 100, 0, false));
        assert_eq!(share.held(), 100);
    }

    #[test]
    fn a_lower_limit_of_streams_keeps_those_that_there_are() {
        let quota = Quota::new();
        for _ in 0..3 {
            assert!(quota.join_stream(NonZeroUsize::new(3)));
        }
        assert!(!quota.join_stream(NonZeroUsize::new(3)));
        assert!(quota.join_stream(None));
        for _ in 0..2 {
            assert!(!quota.join_stream(NonZeroUsize::new(2)));
            quota.leave_stream();
        }
        assert!(!quota.join_stream(NonZeroUsize::new(2)), "there are two still");
        quota.leave_stream();
        assert!(quota.join_stream(NonZeroUsize::new(2)));
        assert_eq!(quota.usage(&TenantLimits::default()).streams, 2);
    }
}
