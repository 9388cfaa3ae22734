//! A listening socket and its connections.
//!
//! A listener that stops loses no request of a sender that has connected. Connections in the kernel's accept queue are still
//! accepted, and connections that are kept alive may send one more request, whose answer says that it was the last: if they were
//! closed at once, that would cross with a request that is just being sent.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::connection::{AcceptedConnection, Life};
use super::handler::Handler;
use super::settings::ListenerSettings;
use super::watch::Watch;
use crate::descriptors::{MakesRoom, TakenDescriptors, Use, User, descriptors};
use crate::net::{ACCEPT_QUEUE, Acceptor, Network, Socket};
use crate::notice;
use crate::panics::spawn_contained;

/// How long a listener that is full gives those connections that it closes, before it closes more.
const EVICTION: Duration = Duration::from_millis(50);

/// How many of a listener's connections read with large buffers at a time: what their idle buffers take together is
/// little beside the 64 MiB that Sluice needs for itself.
const LARGE_READERS: usize = 128;

/// A socket that is bound but not served yet: senders already queue up.
#[derive(Debug)]
pub struct BoundListener {
    listener: Acceptor,
    address: SocketAddr,
    settings: ListenerSettings,
}

/// A listener at work.
#[derive(Debug)]
pub struct Listener {
    settings: Arc<ArcSwap<ListenerSettings>>,
    address: SocketAddr,
    /// Watched by the accepting task and by every connection: closed once the last of them has ended. They end with it.
    life: watch::Sender<Life>,
    watch: Arc<Watch>,
    /// Wakes a listener that waits for a place: there may be more of them now.
    changed: Arc<Notify>,
    /// The task that accepts connections, and the one that closes slow connections.
    tasks: JoinSet<()>,
}

impl BoundListener {
    /// Binds the listener's address.
    pub fn bind(network: &Network, settings: ListenerSettings) -> io::Result<Self> {
        let listener = network.bind(settings.endpoint)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, settings })
    }

    /// Where it really listens, also if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept.
    pub fn serve<H: Handler>(self, handler: Arc<H>) -> Listener {
        let address = self.address;
        let settings = Arc::new(ArcSwap::from_pointee(self.settings));
        let (life, living) = watch::channel(Life::Accepting);
        let watch = Arc::<Watch>::default();
        let changed = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let of_now = settings.clone();
        tasks.spawn(watch.clone().run(handler.budget().cloned(), move || of_now.load_full()));
        let of_senders = settings.load().is_of_senders();
        let user = of_senders.then(|| {
            let room: Weak<dyn MakesRoom> = Arc::<Watch>::downgrade(&watch) as _;
            descriptors().share(Use::Receivers).user(room)
        });
        let accepting = Accepting {
            user,
            settings: settings.clone(),
            watch: watch.clone(),
            handler,
            life: living,
            next_connection: AtomicU64::new(0),
            large_readers: Arc::new(Semaphore::new(LARGE_READERS)),
        };
        tasks.spawn(accepting.run(self.listener, changed.clone()));
        Listener { settings, address, life, watch, changed, tasks }
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

    /// Accepts no more; a request is the last that its connection gets answered.
    pub fn leave(self) -> Leaving {
        let Self { life, watch, tasks, .. } = self;
        watch.leave();
        life.send_replace(Life::Leaving);
        Leaving { life, tasks }
    }

    /// [`Listener::leave`] and [`Leaving::end`].
    pub fn stop(self, linger: Duration, patience: Duration) -> impl Future<Output = ()> + Send {
        self.leave().end(linger, patience)
    }
}

/// A listener that accepts no more. Dropped, it cuts off the connections that it still has.
#[derive(Debug)]
pub struct Leaving {
    life: watch::Sender<Life>,
    tasks: JoinSet<()>,
}

impl Leaving {
    /// Ready when the last connection has ended.
    pub async fn left(&self) {
        self.life.closed().await;
    }

    /// Closes connections that have no request, and the others once theirs is answered.
    pub fn close_idle(&self) {
        self.life.send_replace(Life::Ending);
    }

    /// For as long as `linger`, connections may still send a request; then those without one are closed, and requests
    /// in progress are answered. Whatever is left after `patience` is cut off: when this is over there is no
    /// connection, so nobody is told 200 any more.
    pub async fn end(self, linger: Duration, patience: Duration) {
        let left = async {
            if timeout(linger, self.left()).await.is_err() {
                self.close_idle();
                self.left().await;
            }
        };
        let late = timeout(patience, left).await.is_err();
        drop(self.tasks);
        if late {
            self.life.send_replace(Life::Over);
            self.life.closed().await;
        }
    }
}

/// A connection's place among those of its listener, and its file descriptor, held as long as the connection is open.
struct ConnectionPlace {
    _of_listener: OwnedSemaphorePermit,
    _descriptor: Option<TakenDescriptors>,
}

struct Accepting<H> {
    /// Takes the descriptors of its connections; `None` if they are reserved.
    user: Option<User>,
    settings: Arc<ArcSwap<ListenerSettings>>,
    watch: Arc<Watch>,
    handler: Arc<H>,
    life: watch::Receiver<Life>,
    next_connection: AtomicU64,
    large_readers: Arc<Semaphore>,
}

impl<H: Handler> Accepting<H> {
    async fn run(self, listener: Acceptor, changed: Arc<Notify>) {
        let mut most = self.settings.load().max_connections;
        let mut places = Arc::new(Semaphore::new(most));
        let mut life = self.life.clone();
        // A connection that is accepted and has no place yet.
        let mut waiting = None;
        loop {
            let wanted = self.settings.load().max_connections;
            if wanted != most {
                // Connections from before the change don't count against the new limit.
                (most, places) = (wanted, Arc::new(Semaphore::new(wanted)));
            }
            if places.available_permits() == 0 {
                self.say_full(most);
            }
            let placed = async {
                if waiting.is_none() {
                    waiting = Some(listener.accept().await?);
                }
                Ok(self.place(&places).await)
            };
            tokio::select! {
                _ = life.changed() => break,
                () = changed.notified() => {}
                placed = placed => match placed {
                    Ok(place) => {
                        if let Some((socket, peer)) = waiting.take() {
                            self.connect(socket, peer, place);
                        }
                    }
                    Err(error) => self.not_accepted(&error).await,
                },
            }
        }
        if let Some((socket, peer)) = waiting {
            let place = self.last_place(&places).await;
            self.connect(socket, peer, place);
        }
        self.accept_queued(listener, &places).await;
    }

    /// A place for one more connection. If there is none, the least active connections are closed.
    async fn place(&self, places: &Arc<Semaphore>) -> ConnectionPlace {
        loop {
            if let Ok(place) = places.clone().try_acquire_owned() {
                return self.with_descriptor(place).await;
            }
            let settings = self.settings.load();
            self.watch.evict(settings.makes_room);
            // After this time other connections may have become idle.
            if let Ok(place) = timeout(EVICTION, places.clone().acquire_owned()).await {
                return self.with_descriptor(place.expect("the semaphore is never closed")).await;
            }
        }
    }

    /// A place for one more connection without closing others: for those that are accepted while the listener ends.
    async fn last_place(&self, places: &Arc<Semaphore>) -> ConnectionPlace {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.with_descriptor(place).await
    }

    /// A place, and a file descriptor for it. If there is none, the least active connections of all receivers are closed.
    async fn with_descriptor(&self, of_listener: OwnedSemaphorePermit) -> ConnectionPlace {
        let Some(user) = &self.user else {
            return ConnectionPlace { _of_listener: of_listener, _descriptor: None };
        };
        let descriptor = if let Some(descriptor) = user.try_take(1) {
            descriptor
        } else {
            self.say_no_descriptors();
            user.take(1).await
        };
        ConnectionPlace { _of_listener: of_listener, _descriptor: Some(descriptor) }
    }

    fn say_no_descriptors(&self) {
        let receiver = &*self.settings.load().name;
        if let Some(suppressed) = notice::due(receiver, "descriptors") {
            warn!(
                receiver,
                suppressed,
                "all {} open files that receivers may have are in use: others wait until a connection closes, or makes room \
                 because it says nothing; raise `ulimit -n` for more",
                descriptors().share(Use::Receivers).most()
            );
        }
    }

    fn say_full(&self, most: usize) {
        let receiver = &*self.settings.load().name;
        if let Some(suppressed) = notice::due(receiver, "connections") {
            warn!(
                receiver,
                suppressed,
                "`max_connections` ({most}) is reached: others wait until one closes, or makes room because it says nothing"
            );
        }
    }

    /// Accepts the connections in the kernel's queue, which would be reset when the socket is closed.
    async fn accept_queued(&self, listener: Acceptor, places: &Arc<Semaphore>) {
        let Ok(queued) = listener.close() else { return };
        // Bounded: senders that connect from now on may find the address closed.
        for _ in 0..=ACCEPT_QUEUE {
            match queued.accept() {
                Ok(Some((socket, peer))) => {
                    let place = self.last_place(places).await;
                    self.connect(socket, peer, place);
                }
                Ok(None) => return,
                Err(error) => self.not_accepted(&error).await,
            }
        }
    }

    /// Logs that a connection was not accepted, and waits, so that a lack of file descriptors makes no busy loop.
    async fn not_accepted(&self, error: &io::Error) {
        if let Some(suppressed) = notice::due(&self.settings.load().name, "accept") {
            warn!(suppressed, "connection not accepted: {error}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn connect(&self, socket: Socket, peer: SocketAddr, place: ConnectionPlace) {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let watched = self.watch.enter(id, self.handler.budget().cloned());
        let connection = AcceptedConnection {
            peer,
            watched: Arc::new(watched),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            large_reader: self.large_readers.clone().try_acquire_owned().ok(),
            life: self.life.clone(),
        };
        spawn_contained(async move {
            connection.run(socket).await;
            drop(place);
        });
    }
}
