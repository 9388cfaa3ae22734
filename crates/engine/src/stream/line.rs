//! Where requests wait for room.
//!
//! A sender that is refused stays away for seconds. If it was only a little faster than its upstream, the queue that
//! had no room for it is empty long before it comes back, and the upstream idles meanwhile. So a request waits for a
//! moment before it is refused, as long as what it waits for moves at all; that slows its sender down to what is taken.
//!
//! Those who wait hold nothing that others need: no room in any stream, no place for a new one, and of the memory only
//! what their bodies take, all together a part of it. Who gives room back wakes the one who has waited longest, who
//! passes that on if there is room for one like it: nobody is woken in vain by the dozen, and where nobody waits, giving
//! back costs one look at a counter.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// How long a request waits for room in all, before it is refused: time for an upstream to take some batches, and little
/// beside any sender's own timeout.
const PATIENCE: Duration = Duration::from_millis(250);

/// Requests that may wait at a time.
const MOST: usize = 1024;

/// How many of them may wait for one stream, so that it leaves places to others.
const MOST_FOR_ONE: usize = 64;

/// The part of the memory that those may take that wait.
const SHARE: u64 = 8;

/// What may be buffered in all of bodies that wait while the rest of them goes on arriving: on HTTP/2 that is
/// beyond anybody's control but the sender's, and is no part of `limits.memory`.
const UNREAD: u64 = 16 << 20;

/// How long a request still waits. The time begins when it first has to.
#[derive(Debug, Default)]
pub struct Patience {
    end: Option<Instant>,
    latest: Option<Instant>,
}

impl Patience {
    /// Nobody listens any more after `latest`.
    pub fn until(latest: Option<Instant>) -> Self {
        Self { end: None, latest }
    }

    /// Whether the time is over.
    pub fn is_over(&mut self) -> bool {
        Instant::now() >= self.end()
    }

    pub(super) fn end(&mut self) -> Instant {
        let end = *self.end.get_or_insert_with(|| Instant::now() + PATIENCE);
        self.latest.map_or(end, |latest| latest.min(end))
    }
}

/// All who wait, wherever that is.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicU64,
    unread: AtomicU64,
}

/// A place among those who wait, until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'w> {
    waiting: &'w Waiting,
    bytes: u64,
    unread: u64,
}

impl Waiting {
    /// A place for one who holds `bytes` of a memory of `limit` bytes, if there is one left; `unread` more may arrive
    /// while it waits.
    pub(super) fn place(&self, bytes: u64, unread: u64, limit: u64) -> Option<Place<'_>> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let arriving = self.unread.fetch_add(unread, Ordering::Relaxed);
        // Whatever there is too much of is given back with it.
        let place = Place { waiting: self, bytes, unread };
        let fits = requests < MOST && waiting + bytes <= limit / SHARE && arriving + unread <= UNREAD;
        fits.then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.waiting.unread.fetch_sub(self.unread, Ordering::Relaxed);
    }
}

/// Those who wait for the same room, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    len: AtomicUsize,
    turn: Notify,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct InLine<'l>(&'l Line);

impl Line {
    /// Tells the first that room was given back, after it was.
    ///
    /// Whoever gives back does so by a sequentially consistent operation and then looks who waits; whoever waits makes
    /// itself known and then looks for room. So one of the two sees the other.
    pub(super) fn freed(&self) {
        if self.len.load(Ordering::SeqCst) > 0 {
            self.turn.notify_one();
        }
    }

    /// Joins, if no more than some are there.
    pub(super) fn join(&self) -> Option<InLine<'_>> {
        let in_line = InLine(self);
        let before = self.len.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        (before < MOST_FOR_ONE).then_some(in_line)
    }

    /// Joins, however many are there.
    pub(super) fn join_many(&self) -> InLine<'_> {
        self.len.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        InLine(self)
    }
}

impl<'l> InLine<'l> {
    /// Ready when it is one's turn to look for room. To be made before one looks, so that nothing is missed.
    pub(super) fn turn(&self) -> Notified<'l> {
        self.0.turn.notified()
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.len.fetch_sub(1, Ordering::SeqCst);
    }
}
