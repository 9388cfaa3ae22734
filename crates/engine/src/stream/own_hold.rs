//! Since when the destination of a stream has refused what it sends, so that it is held; and how often somebody has asked for an
//! attempt at once, for whatever it waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::figures::millis;
use super::{Activity, Stream};

/// Since when one stream is held for what its own destination has said, and how often somebody has asked for an attempt at once.
#[derive(Debug, Default)]
pub(super) struct OwnHold {
    /// The first refusal since the destination has last taken data, or found fault with the data alone, in milliseconds since 1970; 0
    /// without any.
    since: AtomicU64,
    /// Held while that changes and the stream is said to be held: of several batches on their way one may be refused while another is
    /// taken. Beside the number, because there may be a million of these.
    changing: Mutex<()>,
    /// How often somebody has asked for an attempt at once.
    asked: AtomicU32,
}

impl OwnHold {
    fn begin(&self, now: SystemTime, say_held: impl FnOnce()) {
        let _changing = self.changing.lock();
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(millis(now), Ordering::Relaxed);
        }
        say_held();
    }

    /// Where another batch of the stream waits after its refusal still, that is the oldest since this moment.
    fn end(&self, now: SystemTime, is_held: impl FnOnce() -> bool) {
        let _changing = self.changing.lock();
        if self.since.load(Ordering::Relaxed) > 0 {
            self.since.store(if is_held() { millis(now) } else { 0 }, Ordering::Relaxed);
        }
    }

    pub(super) fn since(&self) -> Option<SystemTime> {
        let since = Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
        Some(UNIX_EPOCH + Duration::from_millis(since))
    }
}

impl Stream {
    /// Says that it is held because its own destination refuses it, or because it has none: since now, unless it was so before.
    pub fn begin_own_hold(&self) {
        self.own_hold.begin(SystemTime::now(), || self.set_activity(Activity::Held));
    }

    /// Notes that the destination has taken data, or found fault with the data alone: what is refused later is another hold. An
    /// attempt that nobody has answered, or that is to be repeated, ends none.
    pub fn end_own_hold(&self) {
        self.own_hold.end(SystemTime::now(), || self.is_held());
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
        hold.begin(at(10), || ());
        hold.begin(at(20), || ());
        assert_eq!(hold.since(), Some(at(10)));
        hold.end(at(25), || false);
        assert_eq!(hold.since(), None);
        hold.begin(at(30), || ());
        assert_eq!(hold.since(), Some(at(30)));
    }

    #[test]
    fn a_batch_that_is_taken_while_another_waits_after_its_refusal_leaves_the_hold_a_beginning() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let hold = OwnHold::default();
        hold.end(at(5), || true);
        assert_eq!(hold.since(), None, "nothing of the stream itself was refused");
        hold.begin(at(10), || ());
        hold.end(at(20), || true);
        assert_eq!(hold.since(), Some(at(20)));
        hold.begin(at(30), || ());
        assert_eq!(hold.since(), Some(at(20)));
    }
}
