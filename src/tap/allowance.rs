//! The time that taps may take.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// All taps together may look at records for one part of so many of the time of one core, whoever sends them.
const PART: u64 = 20;

/// So long they may look at once: a worker that admits a request is kept no longer from other work.
const AT_ONCE: Duration = Duration::from_millis(5);

/// What is taken before it is spent.
const SLICE: Duration = Duration::from_micros(500);

/// What taps have taken of the time that they may take, so that many and slow queries delay senders no further.
#[derive(Debug)]
pub(super) struct TapAllowance {
    started: Instant,
    /// When the time is there again that was taken, in nanoseconds since then.
    restored: AtomicU64,
}

/// One look, which takes time by slices.
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
    /// For a look that takes its time from it.
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
    /// Takes all that there is.
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
        restored.fetch_add(nanos(now.saturating_duration_since(until)) * PART, Ordering::Relaxed);
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

    /// Looks until there is no more time, and tells for how long.
    async fn look(allowance: &TapAllowance) -> Duration {
        let (turn, step) = (allowance.turn(), SLICE / 5);
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
        let first = look(&allowance).await;
        assert!((AT_ONCE..AT_ONCE + 2 * SLICE).contains(&first), "{first:?}");
        assert_eq!(look(&allowance).await, Duration::ZERO);
        tokio::time::advance(Duration::from_millis(40)).await;
        let next = look(&allowance).await;
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
    async fn a_look_that_takes_longer_than_its_slice_pays_for_it() {
        let allowance = TapAllowance::default();
        let turn = allowance.turn();
        assert!(turn.has_time());
        tokio::time::advance(Duration::from_millis(20)).await;
        drop(turn);
        assert!(!allowance.turn().has_time());
        tokio::time::advance(Duration::from_millis(400)).await;
        assert!(allowance.turn().has_time());
    }
}
