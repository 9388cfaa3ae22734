//! How much has come within the last minute.

use std::time::Duration;

use tokio::time::Instant;

/// The minute is told in so many parts.
const SLOTS: usize = 6;

/// How long each of them is.
const SLOT: Duration = Duration::from_secs(10);

/// The bytes that have come within the last minute, in a ring of short times.
#[derive(Debug)]
pub(super) struct LastMinute {
    begun: Instant,
    /// The number of the newest slot, counted from `begun` on; `bytes` has it and the ones before it.
    newest: u64,
    bytes: [u64; SLOTS],
}

impl LastMinute {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, newest: 0, bytes: [0; SLOTS] }
    }

    /// Adds what comes now.
    pub(super) fn add(&mut self, bytes: u64, now: Instant) {
        self.advance(now);
        self.bytes[slot(self.newest)] += bytes;
    }

    /// Bytes a second, as the mean of the minute that ends now. The oldest slot has gone when the newest begins, so that it is
    /// the mean of 50 seconds and of what has passed of the newest.
    pub(super) fn rate(&mut self, now: Instant) -> u64 {
        self.advance(now);
        let whole = SLOT * (SLOTS - 1) as u32;
        let begun = now.saturating_duration_since(self.begun).as_secs_f64() % SLOT.as_secs_f64();
        (self.bytes.iter().sum::<u64>() as f64 / (whole.as_secs_f64() + begun)) as u64
    }

    /// Whether nothing has come within the last minute, so that it is as a new one.
    pub(super) fn is_empty(&mut self, now: Instant) -> bool {
        self.advance(now);
        self.bytes == [0; SLOTS]
    }

    fn advance(&mut self, now: Instant) {
        let number = now.saturating_duration_since(self.begun).as_secs() / SLOT.as_secs();
        let passed = number.saturating_sub(self.newest).min(SLOTS as u64);
        for begins in 0..passed {
            self.bytes[slot(number - begins)] = 0;
        }
        self.newest = self.newest.max(number);
    }
}

/// Where the slot of this number is.
const fn slot(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_counts_for_a_minute_and_no_longer() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let mut minute = LastMinute::new(begun);
        assert_eq!(minute.rate(at(3.0)), 0);
        minute.add(60_000, at(4.0));
        assert_eq!(minute.rate(at(10.0)), 60_000 / 50);
        assert_eq!(minute.rate(at(57.5)), 1043);
        minute.add(30_000, at(58.0));
        assert_eq!(minute.rate(at(60.0)), 30_000 / 50, "the first is a minute old");
        assert_eq!(minute.rate(at(109.0)), 30_000 / 59);
        assert!(!minute.is_empty(at(109.0)));
        assert_eq!(minute.rate(at(110.0)), 0);
        assert!(minute.is_empty(at(110.0)));
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is_whenever_one_asks() {
        let begun = Instant::now();
        let mut minute = LastMinute::new(begun);
        for second in 0..300 {
            let now = begun + Duration::from_secs(second);
            minute.add(1000, now);
            if second >= 60 {
                let rate = minute.rate(now + Duration::from_secs(1));
                assert!((900..1100).contains(&rate), "{rate} after {second} s");
            }
        }
    }

    #[test]
    fn after_a_long_silence_nothing_old_is_left() {
        let begun = Instant::now();
        let mut minute = LastMinute::new(begun);
        for second in 0..60 {
            minute.add(1000, begun + Duration::from_secs(second));
        }
        minute.add(500, begun + Duration::from_secs(100_000));
        assert_eq!(minute.rate(begun + Duration::from_secs(100_000)), 10);
    }
}
