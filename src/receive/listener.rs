//! A listening socket and its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::{Connection, Course};
use super::watch::Watch;
use super::{AnswerBody, ListenerSettings};
use crate::notice;

/// The accept queue; senders that come in a herd wait here instead of being refused.
const BACKLOG: u32 = 1024;

/// How many of a listener's connections read with large buffers at a time: what their idle buffers take together is
/// little beside the 64 MiB that Sluice needs for itself.
const LARGE_READERS: usize = 128;

/// What is answered on a listener.
pub type Answer = Response<AnswerBody>;

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
            course: watch::Sender::new(Course::Stay),
            connections: TaskTracker::new(),
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
    /// What is asked of every connection.
    course: watch::Sender<Course>,
    connections: TaskTracker,
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
                    Ok((place, socket, peer)) => self.connect(socket, peer, place),
                    Err(error) => self.not_accepted(&error).await,
                },
            }
        };
        drop(listener);
        self.course.send_replace(Course::Finish);
        self.connections.close();
        if tokio::time::timeout(patience, self.connections.wait()).await.is_err() {
            self.course.send_replace(Course::End);
            self.connections.wait().await;
        }
    }

    /// Running out of file descriptors is no reason to end, nor to spin.
    async fn not_accepted(&self, error: &io::Error) {
        if let Some(suppressed) = notice::due(&self.settings.load().name, "accept") {
            warn!(suppressed, "connection not accepted: {error}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn connect(&self, socket: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let watched = self.watch.enter(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let connection = Connection {
            peer,
            watched: Arc::new(watched),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            large_reader: self.large_readers.clone().try_acquire_owned().ok(),
            course: self.course.subscribe(),
        };
        self.connections.spawn(async move {
            connection.run(socket).await;
            drop(place);
        });
    }
}

/// Waits until the listener is told to stop, and how patiently. One that nobody holds any more has all the time.
async fn told(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stopped.wait_for(Option::is_some).await.ok().and_then(|patience| *patience).unwrap_or(Duration::MAX)
}
