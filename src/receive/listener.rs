//! A listening socket and its connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use super::ListenerSettings;
use super::watch::{Watch, WatchedIo};
use crate::notice;

/// The accept queue; senders that come in a herd wait here instead of being refused.
const BACKLOG: u32 = 1024;

/// How much of a request hyper reads at a time. A connection that has carried large bodies keeps a buffer of up to
/// this size while it is idle, so that only some connections get one that large.
const READ_BUFFER: usize = 64 * 1024;

/// How many of a listener's connections read with [`READ_BUFFER`] at a time: what their idle buffers take together
/// is little beside the 64 MiB that Sluice needs for itself.
const LARGE_READERS: usize = 128;

/// As [`READ_BUFFER`], for all further connections.
const SMALL_READ_BUFFER: usize = 16 * 1024;

/// Requests at a time on one HTTP/2 connection.
const MAX_CONCURRENT_STREAMS: u32 = 256;

/// What is answered on a listener.
pub type Answer = Response<Full<Bytes>>;

/// Answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        settings: &ListenerSettings,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send;
}

/// A socket that is bound but not served yet: senders already queue up.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    settings: ListenerSettings,
}

/// A listener at work.
#[derive(Debug)]
pub struct Listener {
    settings: Arc<ArcSwap<ListenerSettings>>,
    address: SocketAddr,
    /// Once told to stop, the time that requests in progress may take.
    stop: watch::Sender<Option<Duration>>,
    /// Wakes a listener that waits for a place: there may be more of them now.
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Bound {
    /// Binds the listener's address.
    pub fn bind(settings: ListenerSettings) -> io::Result<Self> {
        let address = settings.endpoint;
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // So that a restart doesn't wait for the old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG as i32)?;
        Ok(Self { listener: TcpListener::from_std(socket.into())?, settings })
    }

    /// Where it really listens, also if port 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Begins to accept.
    pub fn serve<H: Handler>(self, handler: Arc<H>) -> io::Result<Listener> {
        let address = self.address()?;
        let settings = Arc::new(ArcSwap::from_pointee(self.settings));
        let (stop, stopped) = watch::channel(None);
        let accepting = Accepting {
            settings: settings.clone(),
            watch: Arc::default(),
            handler,
            next_connection: AtomicU64::new(0),
            large_readers: Arc::new(Semaphore::new(LARGE_READERS)),
        };
        let changed = Arc::new(Notify::new());
        let task = tokio::spawn(accepting.run(self.listener, stopped, changed.clone()));
        Ok(Listener { settings, address, stop, changed, task })
    }
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of now.
    pub fn settings(&self) -> Arc<ListenerSettings> {
        self.settings.load_full()
    }

    /// Takes over settings for the same address; requests use them from now on.
    pub fn reconfigure(&self, settings: ListenerSettings) {
        self.settings.store(Arc::new(settings));
        self.changed.notify_one();
    }

    /// Accepts no more, answers the requests in progress and closes their connections. Those that are not done
    /// within `patience` are cut: when this returns there is no connection, so nobody is told 200 any more.
    pub async fn stop(self, patience: Duration) {
        let _ = self.stop.send(Some(patience));
        // It ends once the last connection has.
        let _ = self.task.await;
    }
}

struct Accepting<H> {
    settings: Arc<ArcSwap<ListenerSettings>>,
    watch: Arc<Watch>,
    handler: Arc<H>,
    next_connection: AtomicU64,
    large_readers: Arc<Semaphore>,
}

impl<H: Handler> Accepting<H> {
    async fn run(
        self,
        listener: TcpListener,
        mut stopped: watch::Receiver<Option<Duration>>,
        changed: Arc<Notify>,
    ) {
        // Ends with this task: slow connections are closed also while the listener waits for its last ones.
        let mut watching = JoinSet::new();
        let settings = self.settings.clone();
        watching.spawn(self.watch.clone().run(move || settings.load_full()));
        let graceful = GracefulShutdown::new();
        let mut most = self.settings.load().max_connections;
        let mut places = Arc::new(Semaphore::new(most));
        let patience = loop {
            let wanted = self.settings.load().max_connections;
            if wanted != most {
                // Connections of before don't count against the new limit.
                (most, places) = (wanted, Arc::new(Semaphore::new(wanted)));
            }
            let accepted = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                listener.accept().await.map(|(socket, peer)| (place, socket, peer))
            };
            tokio::select! {
                patience = told(&mut stopped) => break patience,
                () = changed.notified() => {}
                accepted = accepted => match accepted {
                    Ok((place, socket, peer)) => self.connect(socket, peer, place, &graceful),
                    Err(error) => self.not_accepted(&error).await,
                },
            }
        };
        drop(listener);
        let mut last_one_ended = std::pin::pin!(graceful.shutdown());
        if tokio::time::timeout(patience, &mut last_one_ended).await.is_err() {
            self.watch.close_all();
            last_one_ended.await;
        }
    }

    /// Running out of file descriptors is no reason to end, nor to spin.
    async fn not_accepted(&self, error: &io::Error) {
        if let Some(suppressed) = notice::due(&self.settings.load().name, "accept") {
            warn!(suppressed, "connection not accepted: {error}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn connect(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        place: tokio::sync::OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) {
        // Answers are small and are waited for.
        let _ = socket.set_nodelay(true);
        let watched = Arc::new(self.watch.enter(self.next_connection.fetch_add(1, Ordering::Relaxed)));
        let (settings, handler) = (self.settings.clone(), self.handler.clone());
        let io = TokioIo::new(WatchedIo::new(socket, watched.clone()));
        let service = {
            let watched = watched.clone();
            service_fn(move |request| {
                let in_progress = watched.request();
                let (settings, handler) = (settings.load_full(), handler.clone());
                async move {
                    let answer = handler.answer(&settings, request).await;
                    drop(in_progress);
                    Ok::<_, Infallible>(answer)
                }
            })
        };
        let large = self.large_readers.clone().try_acquire_owned().ok();
        let read_buffer = if large.is_some() { READ_BUFFER } else { SMALL_READ_BUFFER };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Slow heads are the watch's business.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(read_buffer);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .keep_alive_interval(Duration::from_secs(30))
            .adaptive_window(true);
        let connection = graceful.watch(builder.serve_connection(io, service).into_owned());
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    debug!(%peer, "connection ended: {error}");
                },
                () = watched.late() => debug!(%peer, "connection closed: idle, its request's head came too slowly, or it outlived the listener"),
            }
            drop((place, large));
        });
    }
}

/// Waits until the listener is told to stop, and how patiently. One that nobody holds any more has all the time.
async fn told(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stopped.wait_for(Option::is_some).await.ok().and_then(|patience| *patience).unwrap_or(Duration::MAX)
}
