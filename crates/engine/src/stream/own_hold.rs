//! Batches of a stream that wait because they are held, and since when the stream is held for what its own destination has said;
//! and how often somebody has asked for an attempt at once, for whatever it waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::figures::millis;

/// Since when one stream is held for what its own destination has said, and how often somebody has asked for an attempt at once.
#[derive(Debug, Default)]
pub(super) struct OwnHold {
    /// When the destination has first refused the stream, in milliseconds since 1970; 0 once it has taken data, or found fault with
    /// the data alone, while no batch was held.
    since: AtomicU64,
    /// Locked where that changes: with several consumers one batch may be refused in the moment in which another is taken. Beside the
    /// number, because there may be a million of these.
    changing: Mutex<()>,
    /// How often somebody has asked for an attempt at once.
    asked: AtomicU32,
}

impl OwnHold {
    /// Notes a refusal; `hold` counts the batch that was refused among those that are held.
    pub(super) fn begin<T>(&self, now: SystemTime, hold: impl FnOnce() -> T) -> T {
        let _changing = self.changing.lock();
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(millis(now), Ordering::Relaxed);
        }
        hold()
    }

    /// Notes that something was taken: the hold is over, unless a batch of the stream `is_held` still.
    pub(super) fn end(&self, is_held: impl FnOnce() -> bool) {
        // Most of what is taken was never held, and needs no lock.
        if self.since.load(Ordering::Relaxed) == 0 {
            return;
        }
        let _changing = self.changing.lock();
        if !is_held() {
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that somebody asks for an attempt at once.
    pub(super) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody has.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn since(&self) -> Option<SystemTime> {
        let since = Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
        Some(UNIX_EPOCH + Duration::from_millis(since))
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
        hold.end(|| false);
        assert_eq!(hold.since(), None);
        hold.begin(at(30), || ());
        assert_eq!(hold.since(), Some(at(30)));
    }

    #[test]
    fn a_batch_that_is_taken_while_another_is_held_leaves_the_hold_its_beginning() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let hold = OwnHold::default();
        hold.begin(at(10), || ());
        hold.end(|| true);
        hold.begin(at(30), || ());
        assert_eq!(hold.since(), Some(at(10)));
    }

    #[test]
    fn what_is_taken_while_only_others_hold_the_stream_begins_no_hold_of_its_own() {
        let hold = OwnHold::default();
        hold.end(|| true);
        assert_eq!(hold.since(), None);
    }
}
