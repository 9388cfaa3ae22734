//! How long a stream waits before it tries a batch again.

use std::future::pending;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, sleep_until};

use super::RetrySettings;

/// The longest wait that an upstream's `Retry-After` can ask for. Longer ones are more often a mistake (a date in
/// another unit, milliseconds for seconds) than a wish, and asking once an hour harms nobody.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// By which part of itself a `Retry-After` is lengthened at most, so that streams that were all told the same
/// time do not all come back in the same instant.
const RETRY_AFTER_SPREAD: f64 = 0.1;

/// The waits of one batch: exponential with jitter (OTLP rules 20, 42, 44), or what the upstream asks for.
#[derive(Debug, Default)]
pub struct Backoff {
    /// The next wait, before jitter; `None` before the first failure.
    interval: Option<Duration>,
    /// When the first failure was.
    since: Option<Instant>,
}

impl Backoff {
    /// The state before any failure.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of another batch for the same upstream, which has not become better: its waits go on where these were.
    #[must_use]
    pub(super) fn for_another(self) -> Self {
        Self { since: None, ..self }
    }

    /// How long to wait after one more failure, or `None` if the batch is to be given up: retries are off, or
    /// the next attempt would begin later than `max_elapsed_time` after the first failure.
    ///
    /// `after` is the upstream's own wish (`Retry-After`). It wins over the computed wait in both directions,
    /// bounded by an hour, is never undercut and lengthened by up to a tenth.
    pub fn next_wait(&mut self, settings: &RetrySettings, after: Option<Duration>) -> Option<Duration> {
        if !settings.enabled {
            return None;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let wait = self.wait(settings, after);
        let limit = settings.max_elapsed_time;
        if !limit.is_zero() && now.duration_since(since) + wait > limit {
            return None;
        }
        Some(wait)
    }

    /// Ready when `max_elapsed_time` is over, which begins now unless there was a failure before; never without such
    /// a limit. For batches that wait without an attempt of their own.
    pub async fn expired(&mut self, settings: &RetrySettings) {
        let since = *self.since.get_or_insert_with(Instant::now);
        match since.checked_add(settings.max_elapsed_time) {
            Some(end) if !settings.max_elapsed_time.is_zero() => sleep_until(end).await,
            _ => pending().await,
        }
    }

    /// How long to wait after one more answer that faults the destination and not the data: the same waits, but
    /// without end, whatever the settings say of giving up. The time until that begins anew.
    pub fn hold_wait(&mut self, settings: &RetrySettings, after: Option<Duration>) -> Duration {
        self.since = None;
        self.wait(settings, after)
    }

    fn wait(&mut self, settings: &RetrySettings, after: Option<Duration>) -> Duration {
        let interval = self.interval.unwrap_or(settings.initial_interval).min(settings.max_interval);
        self.interval = Some(scale(interval, settings.multiplier.max(1.0)).min(settings.max_interval));

        let luck = rand::rng().random::<f64>();
        if let Some(after) = after {
            scale(after.min(LONGEST_RETRY_AFTER), 1.0 + RETRY_AFTER_SPREAD * luck)
        } else {
            let factor = settings.randomization_factor.clamp(0.0, 1.0);
            scale(interval, 1.0 - factor + 2.0 * factor * luck)
        }
    }
}

/// `duration * factor` without the panic of `mul_f64` on overflow.
fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RetrySettings {
        RetrySettings { max_interval: Duration::from_secs(5), ..RetrySettings::without_jitter() }
    }

    fn waits(settings: &RetrySettings, count: usize) -> Vec<f64> {
        let mut backoff = Backoff::new();
        (0..count).map(|_| backoff.next_wait(settings, None).unwrap().as_secs_f64()).collect()
    }

    #[test]
    fn rule_20_waits_grow_up_to_the_longest() {
        assert_eq!(waits(&settings(), 5), [1.0, 2.0, 4.0, 5.0, 5.0]);
    }

    #[test]
    fn a_wrong_destination_is_asked_again_without_end() {
        let settings =
            RetrySettings { enabled: false, max_elapsed_time: Duration::from_secs(1), ..settings() };
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..4).map(|_| backoff.hold_wait(&settings, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_batch_waits_on_but_has_its_own_time_before_it_is_given_up() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        backoff.next_wait(&settings, None).unwrap();
        tokio::time::advance(Duration::from_secs(9)).await;
        let mut other = backoff.for_another();
        assert_eq!(other.next_wait(&settings, None), Some(Duration::from_secs(2)));
    }

    #[test]
    fn rules_20_and_44_jitter_stays_within_its_factor_and_varies() {
        let settings = RetrySettings { randomization_factor: 0.5, multiplier: 1.0, ..settings() };
        let waits = waits(&settings, 200);
        assert!(waits.iter().all(|wait| (0.5..=1.5).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 0.8) && waits.iter().any(|wait| *wait > 1.2), "{waits:?}");
    }

    #[test]
    fn retry_after_wins_over_the_computed_wait_in_both_directions() {
        let mut backoff = Backoff::new();
        let long = backoff.next_wait(&settings(), Some(Duration::from_secs(60))).unwrap();
        assert!((60.0..=66.0).contains(&long.as_secs_f64()), "{long:?}");
        let none = backoff.next_wait(&settings(), Some(Duration::ZERO)).unwrap();
        assert_eq!(none, Duration::ZERO);
    }

    #[test]
    fn an_absurd_retry_after_is_cut_to_an_hour() {
        let wait = Backoff::new().next_wait(&settings(), Some(Duration::from_secs(u64::MAX))).unwrap();
        assert!(wait <= LONGEST_RETRY_AFTER.mul_f64(1.0 + RETRY_AFTER_SPREAD), "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_the_next_attempt_would_be_too_late() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        assert!(backoff.next_wait(&settings, None).is_some());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(backoff.next_wait(&settings, None).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(backoff.next_wait(&settings, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_has_all_its_time_when_the_destination_is_away() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        backoff.next_wait(&settings, None).unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        backoff.hold_wait(&settings, None);
        let start = Instant::now();
        backoff.expired(&settings).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[test]
    fn retries_that_are_off_give_up_at_once() {
        let settings = RetrySettings { enabled: false, ..settings() };
        assert_eq!(Backoff::new().next_wait(&settings, Some(Duration::from_secs(1))), None);
    }
}
