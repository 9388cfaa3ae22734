//! The connections of one destination, each shared by many calls.
//!
//! A call takes the first connection that has room for it: so many calls at a time as the upstream says, and none that
//! is too old, closing, or opened with other TLS files than there are now. If none has, one more is opened, by one call
//! for all that wait; and if it can't be, none of those tries by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::export::upstream::connection_age::ConnectionAge;
use crate::export::upstream::destination::Connections;

/// Connections without a call are closed after this time.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// Calls at a time on one connection, if the upstream allows more: those on one connection share its window, and wait
/// for each other's lost packets.
const MOST_CALLS: usize = 100;

/// An open connection.
#[derive(Debug)]
pub(super) struct GrpcConnection {
    sender: SendRequest<Bytes>,
    calls: AtomicUsize,
    /// Set once it takes no more calls.
    closed: Arc<AtomicBool>,
    age: ConnectionAge,
    idle_since: Mutex<Instant>,
}

/// A place on a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct CallSlot(Arc<GrpcConnection>);

/// The connections of one destination.
#[derive(Debug)]
pub struct GrpcPool {
    /// Connections are closed after this time, once their calls have ended; zero: never.
    max_age: Duration,
    connections: Mutex<Vec<Arc<GrpcConnection>>>,
    /// Held while one is opened; how that went last, if it failed.
    pub(super) opening: tokio::sync::Mutex<Option<Unopened>>,
}

/// Why a connection could not be opened.
#[derive(Clone, Debug)]
pub(super) struct Unopened {
    /// The metric's label.
    pub(super) code: &'static str,
    /// For people; what is secret is still to be taken out.
    pub(super) detail: String,
    pub(super) at: Instant,
}

impl GrpcConnection {
    fn usable(&self, generation: u64, now: Instant) -> bool {
        !self.closed.load(Ordering::Relaxed) && self.age.allows_requests(generation, now)
    }

    /// Since when it has had no call; `None` if it has one.
    fn idle_since(&self) -> Option<Instant> {
        (self.calls.load(Ordering::Acquire) == 0).then(|| *self.idle_since.lock())
    }

    /// A place, if there is room.
    fn enter(self: &Arc<Self>) -> Option<CallSlot> {
        let most = self.sender.current_max_send_streams().min(MOST_CALLS);
        let entered = self
            .calls
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |calls| (calls < most).then_some(calls + 1));
        entered.is_ok().then(|| CallSlot(Arc::clone(self)))
    }
}

impl CallSlot {
    /// What sends on the connection.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.0.sender.clone()
    }

    /// The connection takes no more calls.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        *self.0.idle_since.lock() = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl GrpcPool {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { max_age, connections: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// A place on a connection that has room, of those that were opened `since` then.
    pub(super) fn take(&self, generation: u64, since: Option<Instant>) -> Option<CallSlot> {
        let now = Instant::now();
        let mut connections = self.connections.lock();
        connections.retain(|connection| connection.usable(generation, now));
        let young =
            |connection: &&Arc<GrpcConnection>| since.is_none_or(|since| connection.age.opened >= since);
        connections.iter().filter(young).find_map(GrpcConnection::enter)
    }

    /// A place on a connection just opened, that others find only if it is `shared`. `closed` is set when it ends.
    pub(super) fn opened(
        &self,
        sender: SendRequest<Bytes>,
        generation: u64,
        closed: Arc<AtomicBool>,
        shared: bool,
    ) -> CallSlot {
        let age = ConnectionAge::new(self.max_age, generation);
        let connection = Arc::new(GrpcConnection {
            sender,
            calls: AtomicUsize::new(1),
            closed,
            idle_since: Mutex::new(age.opened),
            age,
        });
        if shared {
            self.connections.lock().push(Arc::clone(&connection));
        }
        CallSlot(connection)
    }
}

impl Connections for GrpcPool {
    /// Whether it has no connection.
    fn is_empty(&self) -> bool {
        self.connections.lock().is_empty()
    }

    /// Forgets connections that can't be used again, or have not been for too long; they close after their last call.
    fn sweep(&self, generation: u64) {
        let now = Instant::now();
        self.connections.lock().retain(|connection| {
            let busy = connection.calls.load(Ordering::Acquire) > 0;
            connection.usable(generation, now)
                && (busy || now.duration_since(*connection.idle_since.lock()) < IDLE)
        });
    }

    fn idle_since(&self) -> Option<Instant> {
        let connections = self.connections.lock();
        connections.iter().filter_map(|connection| connection.idle_since()).min()
    }

    fn close_idle(&self) {
        let mut connections = self.connections.lock();
        let idle = connections.iter().enumerate().filter_map(|(at, known)| Some((known.idle_since()?, at)));
        if let Some((_, at)) = idle.min() {
            // A call that finds its place on it meanwhile keeps it open until its end.
            connections.swap_remove(at);
        }
    }
}
