//! Where requests wait for room.
//!
//! A sender that is refused stays away for seconds. If it was only a little faster than its upstream, the queue that
//! had no room for it is empty long before it comes back, and the upstream idles meanwhile. So a request waits for a
//! moment before it is refused, as long as what it waits for moves at all; that slows its sender down to what is taken.
//!
//! Those who wait hold nothing that others need: no room in any stream, no place for a new one, and of the memory only
//! what their bodies take, all together a part of it. They have their turns in the order in which they came, and keep it until they
//! have what they wait for or give up: whoever gives room back tells the first, and whoever leaves tells the next. So nobody
//! is woken in vain by the dozen, and where nobody waits, giving back costs one look at a counter.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

// Not by name, since a test has this file compiled with other locks and timeouts.
use super::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, fence, timeout_at};

/// How long a request waits for room in all, before it is refused: time for an upstream to take some batches, and little
/// beside any sender's own timeout.
const PATIENCE: Duration = Duration::from_millis(250);

/// Requests that may wait at a time.
const MOST: usize = 1024;

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

/// How many requests wait, wherever that is, and the memory that they hold meanwhile.
#[derive(Debug, Default)]
pub(super) struct WaitLimits {
    requests: AtomicUsize,
    bytes: AtomicU64,
    unread: AtomicU64,
}

/// The leave of one request to wait, until this is dropped.
#[derive(Debug)]
pub(super) struct WaitPermit<'l> {
    limits: &'l WaitLimits,
    bytes: u64,
    unread: u64,
}

impl WaitLimits {
    /// The leave for one who holds `bytes` of a memory of `limit` bytes to wait, if not too many do; `unread` more may arrive
    /// while it waits.
    pub(super) fn permit(&self, bytes: u64, unread: u64, limit: u64) -> Option<WaitPermit<'_>> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let arriving = self.unread.fetch_add(unread, Ordering::Relaxed);
        // If there is too much of anything, all of it is given back with the permit.
        let permit = WaitPermit { limits: self, bytes, unread };
        let fits = requests < MOST && waiting + bytes <= limit / SHARE && arriving + unread <= UNREAD;
        fits.then_some(permit)
    }
}

impl Drop for WaitPermit<'_> {
    fn drop(&mut self) {
        self.limits.requests.fetch_sub(1, Ordering::Relaxed);
        self.limits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.limits.unread.fetch_sub(self.unread, Ordering::Relaxed);
    }
}

/// Those who wait for the same room, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    /// Each is told when it is the first, and, while it is, when room is given back.
    turns: Mutex<VecDeque<Arc<Notify>>>,
    /// How many they are.
    len: AtomicUsize,
}

impl AsRef<Self> for WaitQueue {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl WaitQueue {
    /// Tells the first that room was given back, after it was.
    ///
    /// Whoever gives back does so by a sequentially consistent operation and then looks who waits; whoever waits makes
    /// itself known and then looks for room. So one of the two sees the other.
    pub(super) fn room_freed(&self) {
        if self.len.load(Ordering::SeqCst) > 0
            && let Some(first) = self.turns.lock().front()
        {
            first.notify_one();
        }
    }

    fn join(&self, most: usize) -> Option<Arc<Notify>> {
        let mut turns = self.turns.lock();
        if turns.len() >= most {
            return None;
        }
        let turn = Arc::new(Notify::new());
        if turns.is_empty() {
            turn.notify_one();
        }
        turns.push_back(turn.clone());
        self.len.store(turns.len(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Some(turn)
    }

    fn leave(&self, turn: &Arc<Notify>) {
        let mut turns = self.turns.lock();
        let at = turns.iter().position(|known| Arc::ptr_eq(known, turn)).expect("it leaves once");
        turns.remove(at);
        self.len.store(turns.len(), Ordering::SeqCst);
        // There may be room for the next one as well, or for it alone.
        if at == 0
            && let Some(next) = turns.front()
        {
            next.notify_one();
        }
        if turns.is_empty() {
            *turns = VecDeque::new();
        }
    }
}

/// One of those who wait in a queue, until this is dropped.
#[derive(Debug)]
pub(super) struct RoomWaiter<Q: AsRef<WaitQueue>> {
    queue: Q,
    turn: Arc<Notify>,
}

impl<Q: AsRef<WaitQueue>> RoomWaiter<Q> {
    /// Joins the queue as its last, if fewer than `most` wait there.
    pub(super) fn join(queue: Q, most: usize) -> Option<Self> {
        let turn = queue.as_ref().join(most)?;
        Some(Self { queue, turn })
    }

    /// Where it waits.
    pub(super) fn queue(&self) -> &Q {
        &self.queue
    }

    /// Waits until `look` finds something. It is asked when this is the first in the queue and there may be room, and a last time at
    /// `end`, so that nobody is refused what there is room for. What is found has to be taken before this is dropped, if the order is to
    /// be kept.
    pub(super) async fn until<T>(&self, end: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        while timeout_at(end, self.turn.notified()).await.is_ok() {
            if let Some(found) = look() {
                return Some(found);
            }
        }
        look()
    }
}

impl<Q: AsRef<WaitQueue>> Drop for RoomWaiter<Q> {
    fn drop(&mut self) {
        self.queue.as_ref().leave(&self.turn);
    }
}
