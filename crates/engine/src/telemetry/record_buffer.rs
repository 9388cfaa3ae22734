//! Records that wait to be sent, up to a limit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

/// The most records of a buffer.
const MOST: usize = 2048;

/// The most bytes of these records.
const MOST_BYTES: usize = 4 << 20;

/// As many records are sent at once, without waiting for more.
const MANY: usize = 512;

/// As many bytes are sent at once.
const MANY_BYTES: usize = 1 << 20;

/// Spans or log records that wait to be sent, encoded. Nobody ever waits for room: what comes while it is full is counted and forgotten.
///
/// The task that sends them [takes](Self::take) all of them, and they count towards the limit until it notes that they have
/// [left](Self::taken_have_left).
#[derive(Debug)]
pub struct RecordBuffer {
    held: Mutex<BufferedRecords>,
    is_wanted: AtomicBool,
    dropped: AtomicU64,
    many: Notify,
}

/// The contents of a buffer.
#[derive(Debug)]
struct BufferedRecords {
    records: Vec<Vec<u8>>,
    /// The amount of records that nobody has taken yet.
    waiting: BufferedAmount,
    /// The amount of records that were taken and have not left yet.
    taken: BufferedAmount,
}

/// An amount of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BufferedAmount {
    records: usize,
    bytes: usize,
}

impl BufferedAmount {
    const NONE: Self = Self { records: 0, bytes: 0 };

    fn plus(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    fn is_too_much(self) -> bool {
        self.records > MOST || self.bytes > MOST_BYTES
    }

    fn is_many(self) -> bool {
        self.records >= MANY || self.bytes >= MANY_BYTES
    }
}

impl RecordBuffer {
    /// A buffer that takes no records yet.
    pub(super) const fn new() -> Self {
        Self {
            held: Mutex::new(BufferedRecords {
                records: Vec::new(),
                waiting: BufferedAmount::NONE,
                taken: BufferedAmount::NONE,
            }),
            is_wanted: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            many: Notify::const_new(),
        }
    }

    /// Whether anything is to be sent.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Says whether records are wanted. Records that wait when they are not wanted any more are forgotten, and do not count as dropped.
    pub fn want(&self, is_wanted: bool) {
        let mut held = self.held.lock();
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
        if !is_wanted {
            (held.records, held.waiting) = (Vec::new(), BufferedAmount::NONE);
        }
    }

    /// Adds a record, if it is wanted and there is room.
    pub(super) fn push(&self, record: &impl Message) {
        let record = record.encode_to_vec();
        let mut held = self.held.lock();
        // The caller has asked before it made the record. Since then a reload may have changed that, and the record would be sent to the
        // endpoint of another configuration.
        if !self.is_wanted() {
            return;
        }
        let before = held.waiting;
        let with_it = before.plus(BufferedAmount { records: 1, bytes: record.len() });
        if with_it.plus(held.taken).is_too_much() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        held.records.push(record);
        held.waiting = with_it;
        if with_it.is_many() && !before.is_many() {
            self.many.notify_one();
        }
    }

    /// Takes out all that wait, each encoded.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut held = self.held.lock();
        held.taken = held.taken.plus(held.waiting);
        held.waiting = BufferedAmount::NONE;
        std::mem::take(&mut held.records)
    }

    /// Notes that the records that were taken have been sent or given up.
    pub fn taken_have_left(&self) {
        self.held.lock().taken = BufferedAmount::NONE;
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
    use futures_util::FutureExt as _;

    use super::*;

    fn wanted() -> RecordBuffer {
        let buffer = RecordBuffer::new();
        buffer.want(true);
        buffer
    }

    fn decoded(records: &[Vec<u8>]) -> Vec<u64> {
        records.iter().map(|record| u64::decode(&**record).expect("it was encoded")).collect()
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_the_oldest_stay() {
        let buffer = wanted();
        let numbers: Vec<_> = (0..MOST as u64 + 10).collect();
        for number in &numbers {
            buffer.push(number);
        }
        assert_eq!(buffer.dropped(), 10);
        assert_eq!(decoded(&buffer.take()), numbers[..MOST]);
    }

    #[test]
    fn what_was_taken_takes_room_until_it_has_left() {
        let buffer = wanted();
        (0..MOST as u64).for_each(|number| buffer.push(&number));
        assert_eq!(buffer.take().len(), MOST);
        buffer.push(&7_u64);
        assert_eq!((buffer.take(), buffer.dropped()), (vec![], 1));
        buffer.taken_have_left();
        buffer.push(&8_u64);
        assert_eq!((decoded(&buffer.take()), buffer.dropped()), (vec![8], 1));
    }

    #[test]
    fn large_records_are_bounded_by_their_bytes_and_soon_many() {
        let (buffer, record) = (wanted(), "x".repeat(100_000));
        let pushed = |times: usize| (0..times).for_each(|_| buffer.push(&record));
        pushed(10);
        assert_eq!(buffer.has_many().now_or_never(), None, "it is less than a mebibyte");
        pushed(1);
        assert_eq!(buffer.has_many().now_or_never(), Some(()));
        pushed(100);
        let taken = buffer.take();
        let bytes: usize = taken.iter().map(Vec::len).sum();
        assert!(bytes <= MOST_BYTES && bytes + taken[0].len() > MOST_BYTES, "{bytes} bytes");
        assert_eq!(buffer.dropped(), 111 - taken.len() as u64);
    }

    #[test]
    fn what_nobody_wants_any_more_is_forgotten_also_if_it_comes_late() {
        let buffer = wanted();
        buffer.push(&1_u64);
        buffer.want(false);
        buffer.push(&2_u64);
        buffer.want(true);
        assert_eq!((buffer.take(), buffer.dropped(), buffer.is_wanted()), (vec![], 0, true));
    }
}
