//! Since when the destination of a stream has refused what it sends, so that it is held; and how often somebody has asked for an
//! attempt at once, for whatever it waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::figures::millis;
use super::{Activity, Stream};

/// Since when one stream is held for what its own destination has said, and how often somebody has asked for an attempt at once.
#[derive(Debug, Default)]
pub(super) struct OwnHold {
    /// The first of the refusals of which nothing else has come since, in milliseconds since 1970; 0 without any.
    since: AtomicU64,
    /// How often somebody has asked for an attempt at once.
    asked: AtomicU32,
}

impl OwnHold {
    fn begin(&self, now: SystemTime) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(millis(now), Ordering::Relaxed);
        }
    }

    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    pub(super) fn since(&self) -> Option<SystemTime> {
        let since = Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
        Some(UNIX_EPOCH + Duration::from_millis(since))
    }
}

impl Stream {
    /// Says that it is held because its own destination refuses it, or because it has none: since now, unless it was so before.
    pub fn begin_own_hold(&self) {
        self.own_hold.begin(SystemTime::now());
        self.set_activity(Activity::Held);
    }

    /// Notes that an attempt has come to something else than a refusal: what is refused later is another hold.
    pub fn end_own_hold(&self) {
        self.own_hold.end();
    }

    /// Has it make its next attempt now, if it waits before one.
    pub fn try_now(&self) {
        self.own_hold.asked.fetch_add(1, Ordering::Relaxed);
        self.withdrawal.notify_waiters();
    }

    /// Ready once [`Stream::try_now`] was called after this. Made before the stream is seen to wait, so that no call is missed.
    pub fn wanted_now(&self) -> impl Future<Output = ()> {
        let asked = || self.own_hold.asked.load(Ordering::Relaxed);
        let before = asked();
        async move {
            loop {
                // Made before looking, so that no call is missed.
                let woken = self.withdrawal.notified();
                if asked() != before {
                    return;
                }
                woken.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_as_old_as_the_first_of_several_refusals_in_a_row() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let hold = OwnHold::default();
        assert_eq!(hold.since(), None);
        hold.begin(at(10));
        hold.begin(at(20));
        assert_eq!(hold.since(), Some(at(10)));
        hold.end();
        assert_eq!(hold.since(), None);
        hold.begin(at(30));
        assert_eq!(hold.since(), Some(at(30)));
    }
}
