//! What a stream holds and does, in one word, which is changed without a lock.
//!
//! A stream is retired when it holds nothing and is to be forgotten: from then on nothing can be reserved in it. Both is decided by one
//! look at the word, so that of a reservation and a retirement in the same moment one fails: no entry gets into a stream that is
//! forgotten.

// Not by name, since a test has this file compiled with other atomics.
use super::history::StreamActivity;
use super::sync::{AtomicU64, Ordering};

/// What a stream holds and does, in one word, so that of each change it is known whether the stream is held before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamWord(u64);

/// A [`StreamWord`] that several threads change. Each change returns the word before it and the one after it.
#[derive(Debug, Default)]
pub(super) struct AtomicStreamWord(AtomicU64);

impl StreamWord {
    /// Set when the registry has let go of the stream: nothing may be reserved any more.
    const GONE: u64 = 1 << 63;

    /// Where the number of its [`StreamActivity`] stands.
    const ACTIVITY: u32 = 60;

    /// Set while its attempts are noted also where they succeed: see `attempts`.
    const NOTES_SUCCESSES: u64 = 1 << 59;

    /// One of the batches that wait because they are held. From here to the flags above stands how many there are, and below are the
    /// bytes: up to 128 TiB.
    const HELD_BATCH: u64 = 1 << 47;

    /// As many held batches as are counted; more change nothing.
    pub(super) const MOST_HELD_BATCHES: u64 = Self::NOTES_SUCCESSES / Self::HELD_BATCH - 1;

    /// Framed bytes reserved: admitted or about to be, until settled.
    pub(super) const fn bytes(self) -> u64 {
        self.0 & (Self::HELD_BATCH - 1)
    }

    /// Batches that wait because they are held.
    pub(super) const fn held_batches(self) -> u64 {
        (self.0 / Self::HELD_BATCH) & Self::MOST_HELD_BATCHES
    }

    pub(super) const fn is_gone(self) -> bool {
        self.0 & Self::GONE != 0
    }

    /// What it was last said to do, whether or not a batch of it is held.
    pub(super) fn said_activity(self) -> StreamActivity {
        StreamActivity::numbered(((self.0 & !Self::GONE) >> Self::ACTIVITY) as u8)
    }

    /// What it does: a stream without bytes is idle, and one of which any batch is held is held, whatever its other batches do.
    pub(super) fn activity(self) -> StreamActivity {
        match (self.bytes(), self.held_batches()) {
            (0, _) => StreamActivity::Idle,
            (_, 0) => self.said_activity(),
            _ => StreamActivity::Held,
        }
    }

    pub(super) fn is_held(self) -> bool {
        self.activity() == StreamActivity::Held
    }

    fn doing(self, activity: StreamActivity) -> Self {
        let others = self.0 & (Self::GONE | ((1 << Self::ACTIVITY) - 1));
        Self(others | (activity as u64) << Self::ACTIVITY)
    }
}

impl AtomicStreamWord {
    /// Begins anew, for a stream that waits for its first entry.
    pub(super) fn reset(&self) {
        self.0.store(StreamWord(0).doing(StreamActivity::Waiting).0, Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> StreamWord {
        StreamWord(self.0.load(Ordering::Acquire))
    }

    /// Adds bytes to what the stream holds, if `fits` says so of what that was; returns what it was if not.
    pub(super) fn reserve(
        &self,
        bytes: u64,
        fits: impl Fn(StreamWord) -> bool,
    ) -> Result<(StreamWord, StreamWord), StreamWord> {
        self.change(|word| fits(word).then(|| StreamWord(word.0 + bytes)))
    }

    /// Adds bytes to what the stream holds.
    pub(super) fn add(&self, bytes: u64) -> (StreamWord, StreamWord) {
        let before = self.0.fetch_add(bytes, Ordering::AcqRel);
        (StreamWord(before), StreamWord(before + bytes))
    }

    /// Takes bytes off what the stream holds. Who reads afterwards whether anybody waits for room sees those who saw none before.
    pub(super) fn subtract(&self, bytes: u64) -> (StreamWord, StreamWord) {
        let before = StreamWord(self.0.fetch_sub(bytes, Ordering::SeqCst));
        debug_assert!(before.bytes() >= bytes, "no more is given back than was held");
        (before, StreamWord(before.0 - bytes))
    }

    /// Says what the stream does; see [`StreamWord::activity`] for what it shows.
    pub(super) fn set_activity(&self, activity: StreamActivity) -> (StreamWord, StreamWord) {
        debug_assert_ne!(activity, StreamActivity::Held, "what is held is said by `hold_batch`");
        self.change(|word| Some(word.doing(activity))).unwrap_or_else(|word| (word, word))
    }

    /// Counts a batch that waits because it is held, unless there are as many as are counted.
    pub(super) fn hold_batch(&self) -> Option<(StreamWord, StreamWord)> {
        let more = |word: StreamWord| {
            let has_room = word.held_batches() < StreamWord::MOST_HELD_BATCHES;
            has_room.then_some(StreamWord(word.0 + StreamWord::HELD_BATCH))
        };
        self.change(more).ok()
    }

    /// Takes a batch off those that are held.
    pub(super) fn release_batch(&self) -> (StreamWord, StreamWord) {
        let before = StreamWord(self.0.fetch_sub(StreamWord::HELD_BATCH, Ordering::AcqRel));
        debug_assert!(before.held_batches() > 0, "no more are released than were held");
        (before, StreamWord(before.0 - StreamWord::HELD_BATCH))
    }

    /// Marks the stream as gone, if it holds nothing; returns whether that is so now.
    pub(super) fn retire(&self) -> bool {
        let gone = |word: StreamWord| {
            let is_idle = word.bytes() == 0 && !word.is_gone();
            is_idle.then_some(StreamWord(word.0 | StreamWord::GONE))
        };
        self.change(gone).is_ok()
    }

    pub(super) fn notes_successes(&self) -> bool {
        self.0.load(Ordering::Relaxed) & StreamWord::NOTES_SUCCESSES != 0
    }

    pub(super) fn set_notes_successes(&self, notes: bool) {
        let flag = StreamWord::NOTES_SUCCESSES;
        // It rarely changes, and a line that is only read stays with all who read it.
        match (self.notes_successes(), notes) {
            (false, true) => _ = self.0.fetch_or(flag, Ordering::Relaxed),
            (true, false) => _ = self.0.fetch_and(!flag, Ordering::Relaxed),
            _ => {}
        }
    }

    fn change(
        &self,
        changed: impl Fn(StreamWord) -> Option<StreamWord>,
    ) -> Result<(StreamWord, StreamWord), StreamWord> {
        let next = |word| changed(StreamWord(word)).map(|word| word.0);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).map_err(StreamWord)?;
        Ok((StreamWord(before), changed(StreamWord(before)).unwrap_or(StreamWord(before))))
    }
}
