//! Connections that keep a listener waiting: slow heads, idle keep-alive, and what outlives its end.
//!
//! A timer per request would cost more than the request's routing. So a connection only notes, against a clock that
//! ticks once a second, since when it has been idle or in the middle of a head, and one task per listener closes the
//! ones that are late, to the second.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dashmap::DashMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::ListenerSettings;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Seconds since the listener began.
    clock: AtomicU32,
    /// The listener stops: what is answered from now on is the last of its connection.
    leaving: AtomicBool,
    connections: DashMap<u64, Arc<Activity>>,
}

/// What one connection is doing.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests being answered.
    in_progress: AtomicU32,
    /// The connection has begun a head that is not complete.
    in_head: AtomicBool,
    multiplexed: AtomicBool,
    /// Clock at the last change of what it is doing.
    since: AtomicU32,
    /// The connection has to be closed.
    late: Notify,
}

impl Watch {
    /// Notes a new connection, until the returned guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, id: u64) -> Watched {
        let activity = Arc::new(Activity::default());
        activity.since.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        self.connections.insert(id, activity.clone());
        Watched { watch: self.clone(), id, activity }
    }

    /// Makes every request the last of its connection.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Ticks and closes late connections until the listener's task ends it.
    pub(super) async fn run(self: Arc<Self>, settings: impl Fn() -> Arc<ListenerSettings>) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
            let settings = settings();
            let limit = |timeout: Duration| u32::try_from(timeout.as_secs().max(1)).unwrap_or(u32::MAX);
            let (head, idle) = (limit(settings.read_header_timeout), limit(settings.idle_timeout));
            for activity in &self.connections {
                let age = now.saturating_sub(activity.since.load(Ordering::Relaxed));
                if activity.in_progress.load(Ordering::Relaxed) == 0
                    && age > if activity.in_head.load(Ordering::Relaxed) { head } else { idle }
                {
                    activity.late.notify_one();
                }
            }
        }
    }
}

/// A connection that is being watched.
#[derive(Debug)]
pub(super) struct Watched {
    watch: Arc<Watch>,
    id: u64,
    activity: Arc<Activity>,
}

impl Watched {
    /// Ready when the connection has to be closed.
    pub(super) async fn late(&self) {
        loop {
            self.activity.late.notified().await;
            // A request may have begun since the clock ticked.
            if self.activity.in_progress.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// Notes a request, until the returned guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InProgress {
        self.touch();
        self.activity.in_head.store(false, Ordering::Relaxed);
        self.activity.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(self.clone())
    }

    /// Whether the connection speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.activity.multiplexed.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.activity.since.store(self.watch.clock.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn read(&self, data: &[u8]) {
        let activity = &self.activity;
        if activity.in_progress.load(Ordering::Relaxed) > 0 {
            self.touch();
        } else if activity.multiplexed.load(Ordering::Relaxed) {
            // Frames that begin no request, such as answers to our pings, keep no connection open.
        } else if data.starts_with(H2_PREFACE) {
            activity.multiplexed.store(true, Ordering::Relaxed);
            self.touch();
        } else if !activity.in_head.swap(true, Ordering::Relaxed) {
            self.touch();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.connections.remove(&self.id);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Watched>);

impl InProgress {
    /// Whether the connection gets no more answers than this one.
    pub(super) fn is_last(&self) -> bool {
        self.0.watch.leaving.load(Ordering::Relaxed)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.touch();
        self.0.activity.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket whose reads are noted.
#[derive(Debug)]
pub(super) struct WatchedIo<S> {
    socket: S,
    watched: Arc<Watched>,
}

impl<S> WatchedIo<S> {
    pub(super) fn new(socket: S, watched: Arc<Watched>) -> Self {
        Self { socket, watched }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() > before {
            self.watched.read(&buf.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
