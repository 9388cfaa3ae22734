//! The listeners of a running Sluice: what each is for, and how a new configuration takes them over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::report::{OVERLAPS, ReloadError};
use super::router::Router;
use crate::config::Compiled;
use crate::net::Network;
use crate::receive::{BoundListener, Leaving, Listener, ListenerSettings, Protocol};

/// How long connections may go on using a listener that is no longer configured, or has moved: several times the
/// interval at which applications export.
const MOVING: Duration = Duration::from_secs(30);

/// At the end of the process: time for what has arrived and has not been read yet.
const LAST_CALL: Duration = Duration::from_millis(250);

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// OTLP from senders, mostly by HTTP.
    Otlp,
    /// OTLP from senders, mostly by gRPC.
    OtlpGrpc,
    /// Metrics, health and API.
    Admin,
    /// Health and metrics alone.
    Health,
}

impl Role {
    fn takes_telemetry(self) -> bool {
        matches!(self, Self::Otlp | Self::OtlpGrpc)
    }
}

/// Puts a bound listener to work in its role.
pub type Serve = Box<dyn Fn(&Arc<Router>, Role, BoundListener) -> Listener + Send + Sync>;

/// The listeners at work, and those that no configuration asks for any more.
#[derive(Default)]
pub(super) struct Listeners {
    at_work: Vec<(Role, Listener)>,
    leaving: Vec<JoinHandle<()>>,
    /// The process ends: the time that those that leave still have.
    hurry: watch::Sender<Option<Duration>>,
}

/// A listener that the next configuration asks for.
pub(super) enum Bindable {
    /// One at work listens there already.
    Kept(ListenerSettings),
    /// Bound, and not served yet.
    New(BoundListener),
}

impl Listeners {
    /// Where the listeners of a role really listen.
    pub(super) fn addresses(&self, role: Role) -> impl Iterator<Item = SocketAddr> {
        self.of(role).map(Listener::address)
    }

    /// The same as URLs without a path: `https` where TLS is spoken.
    pub(super) fn urls(&self, role: Role) -> impl Iterator<Item = String> {
        self.of(role).map(|listener| {
            let scheme = if listener.settings().tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", listener.address())
        })
    }

    /// Their settings.
    pub(super) fn settings(&self, role: Role) -> impl Iterator<Item = Arc<ListenerSettings>> {
        self.of(role).map(Listener::settings)
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &Listener> {
        self.at_work.iter().filter(move |(of, _)| *of == role).map(|(_, listener)| listener)
    }

    /// Binds every address of a configuration that is not listened on yet. Nothing is served until
    /// [`Listeners::serve`]; dropped, nothing has happened.
    pub(super) fn bind(
        &self,
        network: &Network,
        compiled: &Compiled,
    ) -> Result<Vec<(Role, Bindable)>, ReloadError> {
        let otlp = compiled.listeners.iter().map(|settings| {
            let role = match settings.protocol {
                Protocol::Http => Role::Otlp,
                Protocol::Grpc => Role::OtlpGrpc,
            };
            (role, settings.clone())
        });
        let admin = compiled.admin.clone().map(|settings| (Role::Admin, settings));
        let health =
            compiled.health.map(|address| (Role::Health, ListenerSettings::for_people("health", address)));
        // Several may ask for port 0; each keeps one listener.
        let mut keepable: Vec<_> =
            self.at_work.iter().map(|(of, listener)| (*of, listener.settings().endpoint)).collect();
        otlp.chain(admin)
            .chain(health)
            .map(|(role, settings)| {
                let address = settings.endpoint;
                if let Some(kept) = keepable.iter().position(|known| *known == (role, address)) {
                    keepable.swap_remove(kept);
                    return Ok((role, Bindable::Kept(settings)));
                }
                let ours =
                    self.at_work.iter().any(|(_, listener)| listener.address().port() == address.port());
                let bound = BoundListener::bind(network, settings).map_err(|reason| ReloadError::Listen {
                    address,
                    hint: if reason.kind() != io::ErrorKind::AddrInUse {
                        ""
                    } else if ours {
                        OVERLAPS
                    } else {
                        "; another program listens there: stop it, or change the `endpoint`"
                    },
                    reason: Arc::new(reason),
                })?;
                Ok((role, Bindable::New(bound)))
            })
            .collect()
    }

    /// Puts what was bound to work, and stops what is no longer asked for. Receivers come last, so that the history of what they take,
    /// which begins with the admin listener, has their first request.
    pub(super) fn serve(
        &mut self,
        mut bound: Vec<(Role, Bindable)>,
        serve: impl Fn(Role, BoundListener) -> Listener,
    ) {
        bound.sort_by_key(|(role, _)| role.takes_telemetry());
        let mut old = std::mem::take(&mut self.at_work);
        for (role, bindable) in bound {
            match bindable {
                Bindable::Kept(settings) => {
                    let at = old
                        .iter()
                        .position(|(of, listener)| {
                            *of == role && listener.settings().endpoint == settings.endpoint
                        })
                        .expect("a listener is kept only if it is there");
                    // In their order: several may have asked for port 0, and each is to keep its own.
                    let (_, listener) = old.remove(at);
                    listener.reconfigure(settings);
                    self.at_work.push((role, listener));
                }
                Bindable::New(bound) => {
                    self.at_work.push((role, serve(role, bound)));
                }
            }
        }
        self.leaving.retain(|task| !task.is_finished());
        let draining = old
            .into_iter()
            .map(|(_, listener)| tokio::spawn(drain_listener(listener.leave(), self.hurry.subscribe())));
        self.leaving.extend(draining);
    }

    /// Stops those that take telemetry, for at most `patience`.
    pub(super) async fn stop_receivers(&mut self, patience: Duration) {
        let (stopping, staying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.at_work).into_iter().partition(|(role, _)| role.takes_telemetry());
        self.at_work = staying;
        self.hurry.send_replace(Some(patience));
        if patience.is_zero() {
            // Those that stop already have more patience; their connections end with them.
            self.leaving.iter().for_each(JoinHandle::abort);
        }
        let stopping =
            stopping.into_iter().map(|(_, listener)| tokio::spawn(listener.stop(LAST_CALL, patience)));
        self.leaving.extend(stopping);
        // Whoever does not wait for the end of this, and calls it again, finds those that are not done.
        while let Some(task) = self.leaving.last_mut() {
            let _ = task.await;
            self.leaving.pop();
        }
    }
}

/// Gives the connections of a listener that no configuration asks for any more their time, unless the process ends.
async fn drain_listener(leaving: Leaving, mut hurry: watch::Receiver<Option<Duration>>) {
    let hurried = async {
        match hurry.wait_for(Option::is_some).await.map(|patience| *patience) {
            Ok(patience) => patience.expect("that was waited for"),
            Err(_) => std::future::pending().await,
        }
    };
    let mut hurried = std::pin::pin!(hurried);
    tokio::select! {
        () = leaving.left() => return,
        patience = &mut hurried => return leaving.end(LAST_CALL, patience).await,
        () = sleep(MOVING) => leaving.close_idle(),
    }
    tokio::select! {
        () = leaving.left() => {}
        patience = &mut hurried => leaving.end(LAST_CALL, patience).await,
        () = sleep(MOVING) => leaving.end(Duration::ZERO, Duration::ZERO).await,
    }
}
