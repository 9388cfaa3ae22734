//! How long a stream waits before it tries a batch again.

use std::future::pending;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, sleep_until};

/// The longest wait that an upstream's `Retry-After` can ask for. Longer ones are more often a mistake (a date in
/// another unit, milliseconds for seconds) than a wish, and asking once an hour harms nobody.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// By which part of itself a wait is lengthened at most that others than the backoff decide about, so that streams that were
/// all told the same time do not all come back in the same instant.
const SPREAD: f64 = 0.1;

/// The shortest wait, whatever is configured and whatever jitter makes of it: nothing is tried again at once.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// `retry_on_failure`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// Without retries a failed batch is dead-lettered at once.
    pub enabled: bool,
    /// The wait after the first failure, before jitter.
    pub initial_interval: Duration,
    /// The longest wait, before jitter.
    pub max_interval: Duration,
    /// By how much each wait is longer than the one before.
    pub multiplier: f64,
    /// Each wait is drawn from `interval * (1 ± factor)`.
    pub randomization_factor: f64,
    /// After this time a batch is dead-lettered; zero means never.
    pub max_elapsed_time: Duration,
}

#[cfg(test)]
impl RetrySettings {
    /// Waits of 1, 2, 4 ... 30 s.
    pub(crate) fn without_jitter() -> Self {
        Self {
            enabled: true,
            initial_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(30),
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_elapsed_time: Duration::ZERO,
        }
    }
}

/// The waits of one batch: exponential with jitter (OTLP rules 20, 42, 44), or longer if the upstream asks for that.
///
/// Every wait after a failure is decided here, whatever the protocol and whether the destination is away or refuses us:
/// what an upstream wishes or the configuration says can lengthen a wait, and neither shorten it nor slow its growth down.
#[derive(Debug, Default)]
pub struct Backoff {
    /// The next wait, before jitter; `None` before the first failure.
    interval: Option<Duration>,
    /// When the first failure was; of a batch that is divided, that of the piece.
    since: Option<Instant>,
    /// When the first failure of the batch was, whichever piece it was of.
    batch_since: Option<Instant>,
}

/// What is asked of a wait, beside what the backoff itself makes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedWait {
    /// The upstream's wish (`Retry-After`, `RetryInfo`), unbounded.
    pub after: Option<Duration>,
    /// What the configuration says for the upstream's answer: it is no shorter.
    pub least: Duration,
}

impl From<Option<Duration>> for AskedWait {
    fn from(after: Option<Duration>) -> Self {
        Self { after, least: Duration::ZERO }
    }
}

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// So long.
    pub length: Duration,
    /// Whether the upstream's wish has made it longer than it would have been.
    pub wished: bool,
    /// Whether the next attempt is made at all: not if retries are off, or if it would begin later than
    /// `max_elapsed_time` after the first failure.
    pub worthwhile: bool,
}

impl Backoff {
    /// The state before any failure.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of another batch for the same upstream, which has not become better: its waits go on where these were.
    #[must_use]
    pub(crate) fn for_another(self) -> Self {
        Self { interval: self.interval, since: None, batch_since: None }
    }

    /// The state of the next piece of the same batch: that of before any failure, but for how long the batch has been failing.
    #[must_use]
    pub(crate) fn for_next_piece(self) -> Self {
        Self { interval: None, since: None, batch_since: self.batch_since }
    }

    /// Whether there was no failure yet.
    pub(crate) fn is_new(&self) -> bool {
        self.interval.is_none()
    }

    /// Whether, with one more failure now, the batch has been failing for so long, since it was last held.
    pub(crate) fn has_failed_for(&mut self, least: Duration) -> bool {
        self.batch_since.get_or_insert_with(Instant::now).elapsed() >= least
    }

    /// The wait after one more failure.
    ///
    /// A wish of the upstream that is longer than the computed wait is followed, up to an hour, never undercut, and lengthened by
    /// up to a tenth; any other changes nothing. A least time from the configuration is followed in the same way, however long it is.
    pub fn next_wait(&mut self, settings: &RetrySettings, asked: impl Into<AskedWait>) -> Wait {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        self.batch_since.get_or_insert(now);
        let wait = self.wait(settings, asked.into());
        let limit = settings.max_elapsed_time;
        let in_time = limit.is_zero() || now.duration_since(since) + wait.length <= limit;
        Wait { worthwhile: settings.enabled && in_time, ..wait }
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
    pub fn hold_wait(&mut self, settings: &RetrySettings, asked: impl Into<AskedWait>) -> Wait {
        (self.since, self.batch_since) = (None, None);
        self.wait(settings, asked.into())
    }

    fn wait(&mut self, settings: &RetrySettings, asked: AskedWait) -> Wait {
        let interval = self.interval.unwrap_or(settings.initial_interval).min(settings.max_interval);
        self.interval = Some(scale(interval, settings.multiplier.max(1.0)).min(settings.max_interval));

        let luck = rand::rng().random::<f64>();
        let factor = settings.randomization_factor.clamp(0.0, 1.0);
        let spread = |wait: Duration| scale(wait, 1.0 + SPREAD * luck);
        let computed = scale(interval, 1.0 - factor + 2.0 * factor * luck).max(SHORTEST_WAIT);
        let own = if asked.least > computed { spread(asked.least) } else { computed };
        match asked.after.map(|after| after.min(LONGEST_RETRY_AFTER)) {
            Some(after) if after > own => Wait { length: spread(after), wished: true, worthwhile: true },
            _ => Wait { length: own, wished: false, worthwhile: true },
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
        (0..count).map(|_| backoff.next_wait(settings, None).length.as_secs_f64()).collect()
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
        let waits: Vec<_> = (0..4).map(|_| backoff.hold_wait(&settings, None)).collect();
        assert!(waits.iter().all(|wait| wait.worthwhile), "{waits:?}");
        let waits: Vec<_> = waits.iter().map(|wait| wait.length.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_batch_waits_on_but_has_its_own_time_before_it_is_given_up() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        backoff.next_wait(&settings, None);
        tokio::time::advance(Duration::from_secs(9)).await;
        let mut other = backoff.for_another();
        let length = Duration::from_secs(2);
        assert_eq!(other.next_wait(&settings, None), Wait { length, wished: false, worthwhile: true });
    }

    #[test]
    fn rules_20_and_44_jitter_stays_within_its_factor_and_varies() {
        let settings = RetrySettings { randomization_factor: 0.5, multiplier: 1.0, ..settings() };
        let waits = waits(&settings, 200);
        assert!(waits.iter().all(|wait| (0.5..=1.5).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 0.8) && waits.iter().any(|wait| *wait > 1.2), "{waits:?}");
    }

    type WaitAfterFailure = fn(&mut Backoff, &RetrySettings, Option<Duration>) -> Wait;

    /// Whether the upstream is away or refuses us.
    const WAITS: [WaitAfterFailure; 2] = [Backoff::next_wait, Backoff::hold_wait];

    #[test]
    fn rule_42_a_wish_that_is_longer_than_the_computed_wait_is_followed() {
        for wait in WAITS {
            let wait = wait(&mut Backoff::new(), &settings(), Some(Duration::from_secs(60)));
            assert!((60.0..=66.0).contains(&wait.length.as_secs_f64()) && wait.wished, "{wait:?}");
        }
    }

    #[test]
    fn wishes_that_are_shorter_than_the_computed_waits_change_none_of_them_nor_their_growth() {
        for wish in
            [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1), Duration::from_secs(1)]
        {
            for wait in WAITS {
                let mut backoff = Backoff::new();
                let waits: Vec<_> = (0..5).map(|_| wait(&mut backoff, &settings(), Some(wish))).collect();
                assert!(waits.iter().all(|wait| !wait.wished), "{wish:?}: {waits:?}");
                let seconds: Vec<_> = waits.iter().map(|wait| wait.length.as_secs()).collect();
                assert_eq!(seconds, [1, 2, 4, 5, 5], "{wish:?}");
            }
        }
    }

    #[test]
    fn a_wish_between_two_computed_waits_lengthens_only_the_shorter_one() {
        let (mut backoff, wish) = (Backoff::new(), Some(Duration::from_secs(3)));
        let waits: Vec<_> = (0..4).map(|_| backoff.next_wait(&settings(), wish)).collect();
        assert_eq!(waits.iter().map(|wait| wait.wished).collect::<Vec<_>>(), [true, true, false, false]);
        assert!((3.0..=3.3).contains(&waits[1].length.as_secs_f64()), "{waits:?}");
        assert_eq!(waits[2].length, Duration::from_secs(4), "as without the wishes before");
    }

    #[test]
    fn jitter_never_makes_a_wait_that_a_wish_of_now_undercuts() {
        let settings = RetrySettings { randomization_factor: 0.5, multiplier: 1.0, ..settings() };
        for _ in 0..200 {
            let wait = Backoff::new().next_wait(&settings, Some(Duration::ZERO));
            assert!((0.5..=1.5).contains(&wait.length.as_secs_f64()), "{wait:?}");
        }
    }

    #[test]
    fn no_configuration_makes_an_attempt_at_once() {
        let tiny = Duration::from_nanos(1);
        for randomization_factor in [0.0, 1.0] {
            let settings = RetrySettings {
                initial_interval: tiny,
                max_interval: tiny,
                randomization_factor,
                ..settings()
            };
            for wait in WAITS {
                assert_eq!(wait(&mut Backoff::new(), &settings, Some(Duration::ZERO)).length, SHORTEST_WAIT);
            }
        }
    }

    #[test]
    fn an_absurd_retry_after_is_cut_to_an_hour() {
        for wait in WAITS {
            let wait = wait(&mut Backoff::new(), &settings(), Some(Duration::MAX));
            assert!(wait.length <= LONGEST_RETRY_AFTER.mul_f64(1.0 + SPREAD), "{wait:?}");
        }
    }

    #[test]
    fn a_least_time_lengthens_what_is_shorter_however_long_it_is_and_a_wish_can_lengthen_it() {
        const DAY: Duration = Duration::from_secs(86_400);
        let waits: [fn(&mut Backoff, &RetrySettings, AskedWait) -> Wait; 2] =
            [Backoff::next_wait, Backoff::hold_wait];
        for wait in waits {
            let (mut backoff, asked) = (Backoff::new(), AskedWait { after: None, least: DAY });
            for _ in 0..3 {
                let wait = wait(&mut backoff, &settings(), asked);
                assert!((DAY..=DAY.mul_f64(1.0 + SPREAD)).contains(&wait.length) && !wait.wished, "{wait:?}");
            }
            let least = Duration::from_secs(3);
            let wished = AskedWait { after: Some(Duration::from_secs(60)), least };
            let wished = wait(&mut Backoff::new(), &settings(), wished);
            assert!(wished.length >= Duration::from_secs(60) && wished.wished, "{wished:?}");
            let asked = AskedWait { after: Some(Duration::from_secs(2)), least };
            let mut backoff = Backoff::new();
            let waits: Vec<_> = (0..3).map(|_| wait(&mut backoff, &settings(), asked)).collect();
            assert!(waits.iter().all(|wait| !wait.wished), "{waits:?}");
            assert!(waits[1].length >= least && waits[1].length <= least.mul_f64(1.0 + SPREAD), "{waits:?}");
            assert_eq!(waits[2].length, Duration::from_secs(4), "it grows as without");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_fails_since_its_first_failure_whatever_piece_of_it_that_was() {
        const MINUTE: Duration = Duration::from_secs(60);
        assert!(Backoff::new().has_failed_for(Duration::ZERO), "without a least time nothing is waited for");
        let mut backoff = Backoff::new();
        backoff.next_wait(&settings(), None);
        tokio::time::advance(MINUTE / 2).await;
        assert!(!backoff.has_failed_for(MINUTE));
        let mut piece = backoff.for_next_piece();
        tokio::time::advance(MINUTE / 2).await;
        assert!(piece.is_new() && piece.has_failed_for(MINUTE));
        piece.hold_wait(&settings(), None);
        assert!(!piece.has_failed_for(MINUTE), "it begins anew");
        tokio::time::advance(MINUTE).await;
        assert!(piece.has_failed_for(MINUTE));
        assert!(!piece.for_another().has_failed_for(MINUTE), "another batch");
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_the_next_attempt_would_be_too_late() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        assert!(backoff.next_wait(&settings, None).worthwhile);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(backoff.next_wait(&settings, None).worthwhile);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!backoff.next_wait(&settings, None).worthwhile);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_has_all_its_time_when_the_destination_is_away() {
        let settings = RetrySettings { max_elapsed_time: Duration::from_secs(10), ..settings() };
        let mut backoff = Backoff::new();
        backoff.next_wait(&settings, None);
        tokio::time::advance(Duration::from_secs(3600)).await;
        backoff.hold_wait(&settings, None);
        let start = Instant::now();
        backoff.expired(&settings).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[test]
    fn retries_that_are_off_give_up_at_once() {
        let settings = RetrySettings { enabled: false, ..settings() };
        assert!(!Backoff::new().next_wait(&settings, Some(Duration::from_secs(1))).worthwhile);
    }
}
