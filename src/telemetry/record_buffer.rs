//! What waits to be sent, up to a limit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Records that wait at a time.
const MOST: usize = 2048;

/// So many of them are worth being sent at once.
const MANY: usize = 512;

/// Spans or log records that wait to be sent. Nobody ever waits for room: what comes while it is full is counted and forgotten.
#[derive(Debug)]
pub struct RecordBuffer<T> {
    records: Mutex<Vec<T>>,
    is_wanted: AtomicBool,
    dropped: AtomicU64,
    many: Notify,
}

impl<T> RecordBuffer<T> {
    /// One that takes nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            records: Mutex::new(Vec::new()),
            is_wanted: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            many: Notify::const_new(),
        }
    }

    /// Whether anything is to be sent.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Says whether anything is to be sent. What waits then is not, and does not count as dropped: nobody has asked for it.
    pub fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
        if !is_wanted {
            *self.records.lock() = Vec::new();
        }
    }

    /// Adds a record, if there is room.
    pub(super) fn push(&self, record: T) {
        let mut records = self.records.lock();
        if records.len() >= MOST {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        records.push(record);
        if records.len() == MANY {
            self.many.notify_one();
        }
    }

    /// Takes out all that wait.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.records.lock())
    }

    /// Ready once many wait.
    pub async fn has_many(&self) {
        self.many.notified().await;
    }

    /// Records for which there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted_and_the_oldest_stay() {
        let buffer = RecordBuffer::new();
        (0..MOST + 10).for_each(|record| buffer.push(record));
        assert_eq!(buffer.dropped(), 10);
        assert_eq!(buffer.take(), (0..MOST).collect::<Vec<_>>());
        buffer.push(7);
        assert_eq!((buffer.take(), buffer.dropped()), (vec![7], 10));
    }

    #[test]
    fn what_nobody_wants_any_more_is_forgotten() {
        let buffer = RecordBuffer::new();
        buffer.want(true);
        buffer.push(1);
        buffer.want(false);
        assert_eq!((buffer.take(), buffer.dropped(), buffer.is_wanted()), (vec![], 0, false));
    }
}
