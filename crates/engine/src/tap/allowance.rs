//! The time that taps may take.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// All taps together may look at records for one part of so many of the time of one core, whoever sends them.
const PART: u64 = 20;

/// The longest that taps may look at once, so that a worker that admits a request is kept no longer from other work.
const AT_ONCE: Duration = Duration::from_millis(5);

/// The time that a turn takes from the allowance in advance.
const SLICE: Duration = Duration::from_micros(500);

/// The most that is paid for beyond a slice. Between two questions whether there is time no more is done than that takes; if more has
/// passed, the system has let others run meanwhile.
const MOST_BEYOND: Duration = Duration::from_millis(1);

/// The time that taps may still take, so that many and slow queries delay senders no further.
#[derive(Debug)]
pub(super) struct TapAllowance {
    started: Instant,
    /// When all time that was taken has been restored, in nanoseconds since `started`.
    restored: AtomicU64,
}

/// One look of taps at an entry, which takes time from the allowance in slices.
#[derive(Debug)]
pub(super) struct TapTurn<'a> {
    allowance: &'a TapAllowance,
    /// The end of the slice that was taken last.
    until: Cell<Option<Instant>>,
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

impl Default for TapAllowance {
    fn default() -> Self {
        Self { started: Instant::now(), restored: AtomicU64::new(0) }
    }
}

impl TapAllowance {
    /// Begins a look that takes its time from this allowance.
    pub(super) fn turn(&self) -> TapTurn<'_> {
        TapTurn { allowance: self, until: Cell::new(None) }
    }

    /// Takes a slice, if there is one.
    fn take(&self) -> bool {
        let now = nanos(self.started.elapsed());
        let taken = |restored: u64| {
            let restored = restored.max(now) + nanos(SLICE) * PART;
            (restored <= now + nanos(AT_ONCE) * PART).then_some(restored)
        };
        self.restored.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
impl TapAllowance {
    /// Takes all time that is left.
    pub(super) fn spend(&self) {
        while self.take() {}
    }
}

impl TapTurn<'_> {
    /// Whether there is time to look on.
    pub(super) fn has_time(&self) -> bool {
        let now = Instant::now();
        if self.until.get().is_some_and(|until| now < until) {
            return true;
        }
        self.settle(now);
        let has_time = self.allowance.take();
        self.until.set(has_time.then(|| now + SLICE));
        has_time
    }

    /// Gives back what is left of a slice, or pays for what was taken beyond it.
    fn settle(&self, now: Instant) {
        let Some(until) = self.until.take() else { return };
        let restored = &self.allowance.restored;
        restored.fetch_sub(nanos(until.saturating_duration_since(now)) * PART, Ordering::Relaxed);
        let beyond = now.saturating_duration_since(until).min(MOST_BEYOND);
        restored.fetch_add(nanos(beyond) * PART, Ordering::Relaxed);
    }
}

impl Drop for TapTurn<'_> {
    fn drop(&mut self) {
        self.settle(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until there is no more time, for which it asks after each step, and tells for how long.
    async fn look(allowance: &TapAllowance, step: Duration) -> Duration {
        let turn = allowance.turn();
        let mut looked = Duration::ZERO;
        while turn.has_time() {
            tokio::time::advance(step).await;
            looked += step;
        }
        looked
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_ends_after_five_milliseconds_and_a_twentieth_of_the_time_goes_to_the_next() {
        let allowance = TapAllowance::default();
        let first = look(&allowance, SLICE / 5).await;
        assert!((AT_ONCE..AT_ONCE + 2 * SLICE).contains(&first), "{first:?}");
        assert_eq!(look(&allowance, SLICE / 5).await, Duration::ZERO);
        tokio::time::advance(Duration::from_millis(40)).await;
        let next = look(&allowance, SLICE / 5).await;
        assert!((Duration::from_millis(1)..=Duration::from_millis(3)).contains(&next), "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_of_a_slice_is_there_for_others() {
        let allowance = TapAllowance::default();
        for _ in 0..1000 {
            assert!(allowance.turn().has_time());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_beyond_a_slice_is_paid_for() {
        let allowance = TapAllowance::default();
        let looked = look(&allowance, 2 * SLICE).await;
        assert!((AT_ONCE..=AT_ONCE + 4 * SLICE).contains(&looked), "{looked:?}");
        assert!(!allowance.turn().has_time());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_system_gives_to_others_is_not_paid_for() {
        let allowance = TapAllowance::default();
        let turn = allowance.turn();
        for _ in 0..2 {
            assert!(turn.has_time());
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        drop(turn);
        assert!(allowance.turn().has_time());
    }
}
