//! A token bucket whose rate and size may have changed each time that it is used.

use std::time::Duration;

use tokio::time::Instant;

use super::tenant::Rate;

/// Billionths of a byte: what a byte a second is in a nanosecond, so that nothing is rounded.
const BYTE: u128 = 1_000_000_000;

/// The spent part of a burst, which is restored at a rate.
///
/// A rate that has changed since it was last looked at counts from now on. Of a debt from before nothing is left then but that
/// the burst is used up.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Billionths of a byte. More than the burst is a debt.
    spent: u128,
    at: Instant,
    /// The rate at that time.
    rate: Option<Rate>,
}

impl Bucket {
    /// Nothing of the burst is spent.
    pub(super) fn full(now: Instant) -> Self {
        Self { spent: 0, at: now, rate: None }
    }

    /// How long it takes until anything of the burst is there again; `None` if something is.
    pub(super) fn wait(&mut self, rate: Rate, now: Instant) -> Option<Duration> {
        self.refill(rate, now);
        let missing = (self.spent + 1).saturating_sub(u128::from(rate.burst) * BYTE);
        let nanoseconds = missing.div_ceil(u128::from(rate.per_second));
        (missing > 0).then(|| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// Spends as much, whether it is there or not.
    pub(super) fn spend(&mut self, rate: Rate, bytes: u64, now: Instant) {
        self.refill(rate, now);
        self.spent += u128::from(bytes) * BYTE;
    }

    /// Bytes of the burst that are spent.
    pub(super) fn spent(&mut self, rate: Rate, now: Instant) -> u64 {
        self.refill(rate, now);
        u64::try_from(self.spent.div_ceil(BYTE)).unwrap_or(u64::MAX)
    }

    /// Whether nothing of the burst is spent, so that it is as a new one.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        if let Some(rate) = self.rate {
            self.refill(rate, now);
        }
        self.spent == 0
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let before = self.rate.replace(rate).unwrap_or(rate);
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        self.at = self.at.max(now);
        self.spent = self.spent.saturating_sub(elapsed * u128::from(before.per_second));
        if before != rate {
            self.spent = self.spent.min(u128::from(rate.burst) * BYTE);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn rate(per_second: u64, burst: u64) -> Rate {
        Rate { per_second, burst }
    }

    proptest! {
        #[test]
        fn no_time_has_more_than_its_rate_a_burst_and_one_request(
            per_second in 1_u64..5_000_000,
            burst in 1_u64..20_000_000,
            requests in proptest::collection::vec((0_u64..3_000_000_000, 1_u64..5_000_000), 1..200),
        ) {
            let rate = rate(per_second, burst);
            let mut now = Instant::now();
            let mut bucket = Bucket::full(now);
            let largest = requests.iter().map(|(_, bytes)| *bytes).max().unwrap();
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (pause, bytes) in requests {
                now += Duration::from_nanos(pause);
                if let Some(wait) = bucket.wait(rate, now) {
                    // True to the nanosecond.
                    let early = now + wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert!(bucket.wait(rate, early).is_some());
                    now += wait;
                    prop_assert_eq!(bucket.wait(rate, now), None);
                }
                bucket.spend(rate, bytes, now);
                taken.push((now, bytes));
            }
            let mut sums = Vec::with_capacity(taken.len() + 1);
            sums.push(0_u64);
            for (_, bytes) in &taken {
                sums.push(sums.last().unwrap() + bytes);
            }
            for from in 0..taken.len() {
                for to in from..taken.len() {
                    let elapsed = (taken[to].0 - taken[from].0).as_nanos();
                    let allowed = elapsed * u128::from(per_second) / BYTE + u128::from(burst + largest) + 1;
                    prop_assert!(u128::from(sums[to + 1] - sums[from]) <= allowed);
                }
            }
        }

        #[test]
        fn who_stays_within_the_rate_never_waits(
            per_second in 1_u64..5_000_000,
            burst in 1_u64..20_000_000,
            sizes in proptest::collection::vec(1_u64..1_000_000, 1..200),
        ) {
            let rate = rate(per_second, burst);
            let mut now = Instant::now();
            let mut bucket = Bucket::full(now);
            for bytes in sizes {
                prop_assert_eq!(bucket.wait(rate, now), None);
                bucket.spend(rate, bytes, now);
                let nanoseconds = (u128::from(bytes) * BYTE).div_ceil(u128::from(per_second));
                now += Duration::from_nanos(u64::try_from(nanoseconds).unwrap());
            }
        }
    }

    #[test]
    fn a_rate_that_changes_counts_from_then_on_and_leaves_no_debt() {
        let now = Instant::now();
        let mut bucket = Bucket::full(now);
        let fast = rate(1_000_000, 1_000_000);
        bucket.spend(fast, 50_000_000, now);
        // At the old rate, 10 of 50 MB have come back. At the new one, what is left would take half a day.
        let (slow, later) = (rate(1000, 2000), now + Duration::from_secs(10));
        let wait = bucket.wait(slow, later).unwrap();
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
        assert_eq!(bucket.wait(fast, later), None);
        assert_eq!(bucket.spent(fast, later), 2000);
        assert!(!bucket.is_full(later));
        assert!(bucket.is_full(later + Duration::from_secs(1)));
        assert_eq!(bucket.spent(fast, later + Duration::from_secs(1)), 0);
    }
}
