//! The idle connections of one destination.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::export::upstream::body::RequestBody;
use crate::export::upstream::connection_age::ConnectionAge;
use crate::export::upstream::destination::{Connections, Destination};

/// How long a connection that was answered early may take to finish its request before it is not used again.
const FINISH: Duration = Duration::from_secs(1);

/// The same before it is given up: by then an upstream that reads on has done so.
const GIVE_UP: Duration = Duration::from_secs(5);

/// When connections are closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// Idle ones beyond this number, at once.
    pub(super) max_idle: usize,
    /// Idle ones after this time; zero: never.
    pub(super) idle_timeout: Duration,
    /// All, when they are next idle, after this time; zero: never.
    pub(super) max_age: Duration,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct HttpConnection {
    pub(super) sender: SendRequest<RequestBody>,
    /// hyper's side of it, which reads and writes.
    task: AbortHandle,
    age: ConnectionAge,
    idle_since: Instant,
}

/// Idle connections, the one used last at the end: it is taken first, so that a pool that is larger than needed
/// shrinks.
#[derive(Debug)]
pub struct HttpPool {
    limits: PoolLimits,
    idle: Mutex<Vec<HttpConnection>>,
}

impl HttpConnection {
    fn usable(&self, limits: &PoolLimits, generation: u64, now: Instant) -> bool {
        !self.sender.is_closed()
            && self.age.allows_requests(generation, now)
            && (limits.idle_timeout.is_zero() || now.duration_since(self.idle_since) < limits.idle_timeout)
    }
}

impl Drop for HttpConnection {
    /// An idle connection is closed by hyper once nobody can send on it. One that is given up while its request is being written would be
    /// kept, with the request's memory, for as long as the upstream neither reads nor closes it.
    fn drop(&mut self) {
        if !self.sender.is_ready() {
            self.task.abort();
        }
    }
}

impl HttpPool {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self { limits, idle: Mutex::new(Vec::new()) }
    }

    /// A connection just opened, in use.
    pub(super) fn opened(
        &self,
        sender: SendRequest<RequestBody>,
        task: AbortHandle,
        generation: u64,
    ) -> HttpConnection {
        let age = ConnectionAge::new(self.limits.max_age, generation);
        HttpConnection { sender, task, idle_since: age.opened, age }
    }

    /// An idle connection that is not closed, too old, or of an older generation of TLS files.
    pub(super) fn take(&self, generation: u64) -> Option<HttpConnection> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        while let Some(connection) = idle.pop() {
            if connection.usable(&self.limits, generation, now) {
                return Some(connection);
            }
        }
        None
    }

    /// Takes back a connection whose answer has been read to its end.
    pub(super) fn give_back(destination: &Arc<Destination<Self>>, mut connection: HttpConnection) {
        if connection.sender.is_ready() {
            destination.pool.put(connection);
        } else if !connection.sender.is_closed() {
            // hyper's side is still to note the end of the answer, or the request is still being written.
            let destination = Arc::clone(destination);
            tokio::spawn(async move {
                if let Ok(Ok(())) = timeout(FINISH, connection.sender.ready()).await {
                    destination.pool.put(connection);
                } else {
                    let _ = timeout(GIVE_UP, connection.sender.ready()).await;
                }
            });
        }
    }

    fn put(&self, mut connection: HttpConnection) {
        let now = Instant::now();
        connection.idle_since = now;
        if connection.sender.is_closed() || !connection.age.is_young(now) {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.limits.max_idle {
            idle.push(connection);
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.lock().len()
    }
}

impl Connections for HttpPool {
    /// Whether there is no idle connection.
    fn is_empty(&self) -> bool {
        self.idle.lock().is_empty()
    }

    /// Closes what is idle for too long, too old or closed by the other side.
    fn sweep(&self, generation: u64) {
        let now = Instant::now();
        self.idle.lock().retain(|connection| connection.usable(&self.limits, generation, now));
    }

    fn idle_since(&self) -> Option<Instant> {
        self.idle.lock().first().map(|connection| connection.idle_since)
    }

    fn close_idle(&self) {
        let mut idle = self.idle.lock();
        if !idle.is_empty() {
            idle.remove(0);
        }
    }
}
