//! The time that taps may take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long all taps together may look at records in a second, whoever sends them: a twentieth of one core.
const IN_A_SECOND: Duration = Duration::from_millis(50);

/// What taps have taken of the time that they may take, so that many and slow queries delay senders no further.
#[derive(Debug)]
pub(super) struct TapAllowance {
    started: Instant,
    /// Of which second since then `spent` is.
    second: AtomicU64,
    /// Nanoseconds.
    spent: AtomicU64,
}

impl Default for TapAllowance {
    fn default() -> Self {
        Self { started: Instant::now(), second: AtomicU64::new(0), spent: AtomicU64::new(0) }
    }
}

impl TapAllowance {
    /// Whether there is time for another entry.
    pub(super) fn has_time(&self) -> bool {
        let second = self.started.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.spent.store(0, Ordering::Relaxed);
        }
        self.spent.load(Ordering::Relaxed) < IN_A_SECOND.as_nanos() as u64
    }

    /// Notes time that was taken.
    pub(super) fn spend(&self, time: Duration) {
        self.spent.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_that_is_spent_is_there_again_in_the_next_second() {
        let allowance = TapAllowance::default();
        assert!(allowance.has_time());
        allowance.spend(IN_A_SECOND / 2);
        assert!(allowance.has_time());
        allowance.spend(IN_A_SECOND);
        assert!(!allowance.has_time());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(allowance.has_time());
    }
}
