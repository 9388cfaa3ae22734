//! A running Sluice: everything that lives longer than one configuration, and how a configuration becomes the one
//! in use.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{self, Compiled, Problems, Source};
use crate::export::{Active, DeadLetters, Exporter, TransportError};
use crate::receive::{Bound, Counters, Intake, Listener, ListenerSettings, Snapshot};
use crate::route::RouteTable;
use crate::stream::{Budget, Shared, StreamCount};

/// How often a removed exporter is asked whether its streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// OTLP from senders.
    Otlp,
    /// Metrics, health and API.
    Admin,
    /// Health and metrics alone.
    Health,
}

/// How far the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all listeners are bound.
    Starting,
    /// At work.
    Ready,
    /// On the way out; readiness is off.
    Stopping,
}

/// Puts a bound listener to work in its role.
pub type Serve = Box<dyn Fn(&Arc<Router>, Role, Bound) -> io::Result<Listener> + Send + Sync>;

/// A running Sluice.
pub struct Router {
    source: Source,
    env: fn(&str) -> Option<String>,
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    serve: Serve,
    phase: watch::Sender<Phase>,
    /// Held while a configuration is applied: one at a time.
    live: tokio::sync::Mutex<Live>,
    exporters: ArcSwap<Vec<Arc<Exporter>>>,
    report: ArcSwap<ConfigReport>,
    reloads: Reloads,
    /// Held from reading a configuration until it is in use, so that an older one can't overtake a newer.
    reloading: tokio::sync::Mutex<()>,
}

/// What only a reload and the shutdown touch.
#[derive(Default)]
struct Live {
    listeners: Vec<(Role, Listener)>,
    route_streams: HashMap<String, Arc<StreamCount>>,
}

/// Reloads so far, by how they ended.
#[derive(Debug, Default)]
pub struct Reloads {
    /// The new configuration is in use.
    pub succeeded: AtomicU64,
    /// The one before stayed.
    pub failed: AtomicU64,
}

/// What is told of the configuration in use; no secrets in it.
#[derive(Clone, Debug)]
pub struct ConfigReport {
    /// Where it comes from.
    pub source: String,
    /// Counts up from 1 with every successful load.
    pub version: u64,
    /// When it came into use.
    pub loaded_at: SystemTime,
    /// As written, secrets replaced.
    pub redacted: serde_json::Value,
    /// What works, but not as its writer may think.
    pub warnings: Vec<config::Problem>,
    /// Why the newest attempt to reload failed, and when, until one succeeds.
    pub last_error: Option<(SystemTime, ReloadError)>,
    /// Files whose change asks for a reload, and what they held at the newest attempt.
    pub files: (Vec<PathBuf>, u64),
    /// `shutdown_delay` and `shutdown_timeout`.
    pub shutdown: (Duration, Duration),
}

/// Why a configuration is not in use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong.
    #[error("{0}")]
    Problems(Arc<Problems>),
    /// An exporter can't be set up.
    #[error("exporter `{0}`: {1}")]
    Exporter(Arc<str>, Arc<TransportError>),
    /// A listener can't be bound.
    #[error("can't listen on {address}: {reason}{hint}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        reason: Arc<io::Error>,
        /// What to do.
        hint: &'static str,
    },
    /// The dead-letter directory can't be used.
    #[error("can't use the dead-letter directory `{}`: {reason}", directory.display())]
    DeadLetters {
        /// As configured.
        directory: PathBuf,
        /// What the system says.
        reason: Arc<io::Error>,
    },
    /// The process is ending.
    #[error("shutting down")]
    Stopping,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Router {
    /// Loads the configuration and puts it to work: when this returns, all listeners accept.
    pub async fn start(
        source: Source,
        env: fn(&str) -> Option<String>,
        serve: Serve,
    ) -> Result<Arc<Self>, ReloadError> {
        let compiled = load(&source, env).await?;
        let shared = Arc::new(Shared {
            budget: Arc::new(Budget::new(compiled.limits.memory)),
            streams: Arc::new(StreamCount::new(compiled.limits.streams)),
        });
        let nothing = Snapshot {
            version: 0,
            routes: RouteTable::new(Vec::new(), Vec::new(), compiled.unrouted),
            route_streams: Vec::new(),
            exporters: Vec::new(),
        };
        let intake = Arc::new(Intake {
            snapshot: ArcSwap::from_pointee(nothing),
            counters: Counters::default(),
            dead_letters: Arc::new(ArcSwapOption::empty()),
            burials: TaskTracker::new(),
        });
        let report = ConfigReport {
            source: source.to_string(),
            version: 0,
            loaded_at: SystemTime::now(),
            redacted: serde_json::Value::Null,
            warnings: Vec::new(),
            last_error: None,
            files: (Vec::new(), 0),
            shutdown: (Duration::ZERO, Duration::ZERO),
        };
        let router = Arc::new(Self {
            source,
            env,
            shared,
            intake,
            serve,
            phase: watch::Sender::new(Phase::Starting),
            live: tokio::sync::Mutex::default(),
            exporters: ArcSwap::default(),
            report: ArcSwap::from_pointee(report),
            reloads: Reloads::default(),
            reloading: tokio::sync::Mutex::default(),
        });
        router.apply(compiled).await?;
        router.phase.send_replace(Phase::Ready);
        Ok(router)
    }

    /// What receivers hand requests to.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// What all streams share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Every exporter that has something to do: those of the configuration, and removed ones that still drain.
    pub fn exporters(&self) -> Arc<Vec<Arc<Exporter>>> {
        self.exporters.load_full()
    }

    /// What is told of the configuration.
    pub fn report(&self) -> Arc<ConfigReport> {
        self.report.load_full()
    }

    /// Reloads so far.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// How far the process is in its life.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Where the listeners of a role really listen.
    pub async fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        let live = self.live.lock().await;
        live.listeners.iter().filter(|(of, _)| *of == role).map(|(_, listener)| listener.address()).collect()
    }

    /// Reads the configuration again. Returns its version once it is in use; otherwise nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        let outcome = match load(&self.source, self.env).await {
            Ok(compiled) => self.apply(compiled).await,
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(version) => {
                self.reloads.succeeded.fetch_add(1, Ordering::Relaxed);
                info!(version, "configuration reloaded");
            }
            Err(error) => {
                self.reloads.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!("configuration not reloaded, the one in use stays:\n{error}");
                let mut report = (*self.report()).clone();
                if let ReloadError::Problems(problems) = error {
                    report.files = (problems.files.clone(), problems.hash);
                }
                report.last_error = Some((SystemTime::now(), error.clone()));
                self.report.store(Arc::new(report));
            }
        }
        outcome
    }

    /// Sets up everything that can fail, and only then changes anything.
    async fn apply(self: &Arc<Self>, compiled: Compiled) -> Result<u64, ReloadError> {
        let mut live = self.live.lock().await;
        if self.phase() == Phase::Stopping {
            return Err(ReloadError::Stopping);
        }
        let before = self.intake.snapshot.load_full();
        let plan = plan_exporters(&compiled, &self.exporters())?;
        let bound = bind(&compiled, &live.listeners)?;
        let dead_letters = open_dead_letters(&compiled, &self.intake).await?;

        // From here on nothing fails.
        let version = before.version + 1;
        self.shared.budget.set_limit(compiled.limits.memory);
        self.shared.streams.set_limit(compiled.limits.streams);
        self.intake.dead_letters.store(dead_letters);
        let exporters: Vec<Arc<Exporter>> = plan
            .into_iter()
            .map(|planned| match planned {
                Planned::Same(exporter) => exporter,
                Planned::Changed(exporter, active) => {
                    exporter.reconfigure(active);
                    exporter
                }
                Planned::New(name, active) => {
                    Exporter::start(name, active, self.shared.clone(), self.intake.dead_letters.clone())
                }
            })
            .collect();
        let removed: Vec<Arc<Exporter>> = before
            .exporters
            .iter()
            .filter(|old| !exporters.iter().any(|exporter| Arc::ptr_eq(exporter, old)))
            .cloned()
            .collect();
        let route_streams = live.route_streams(&compiled);
        let identities = compiled.exporters.iter().map(|(_, settings)| settings.attributes()).collect();
        let routes = RouteTable::new(compiled.routes, identities, compiled.unrouted);
        let snapshot = Snapshot { version, routes, route_streams, exporters };
        self.show_exporters(&snapshot.exporters, &removed);
        self.intake.snapshot.store(Arc::new(snapshot));
        self.serve_listeners(&mut live, bound);
        for warning in &compiled.warnings {
            warn!("{warning:#}");
        }
        self.report.store(Arc::new(ConfigReport {
            source: self.source.to_string(),
            version,
            loaded_at: SystemTime::now(),
            redacted: compiled.redacted,
            warnings: compiled.warnings,
            last_error: None,
            files: (compiled.files, compiled.hash),
            shutdown: (compiled.shutdown_delay, compiled.shutdown_timeout),
        }));
        for exporter in removed {
            tokio::spawn(self.clone().drain(exporter, compiled.shutdown_timeout));
        }
        Ok(version)
    }

    /// Exporters of the new configuration, and every one before it that still has entries.
    fn show_exporters(&self, current: &[Arc<Exporter>], removed: &[Arc<Exporter>]) {
        let mut shown = current.to_vec();
        for old in self.exporters.load().iter().chain(removed) {
            let draining = !old.registry().is_empty() || removed.iter().any(|gone| Arc::ptr_eq(gone, old));
            if draining && !shown.iter().any(|exporter| Arc::ptr_eq(exporter, old)) {
                shown.push(old.clone());
            }
        }
        self.exporters.store(Arc::new(shown));
    }

    /// Lets a removed exporter deliver what it has, for at most `patience`.
    async fn drain(self: Arc<Self>, exporter: Arc<Exporter>, patience: Duration) {
        info!(exporter = %exporter.name(), "exporter removed, draining its streams");
        let deadline = Instant::now() + patience;
        loop {
            // Also time for the requests that still use the snapshot before.
            tokio::time::sleep(DRAIN_POLL).await;
            // Held while it is decided: a reload may take the exporter back.
            let _live = self.live.lock().await;
            if self.intake.snapshot.load().exporters.iter().any(|current| Arc::ptr_eq(current, &exporter)) {
                return;
            }
            exporter.registry().forget_idle();
            if exporter.registry().is_empty() {
                let rest =
                    self.exporters().iter().filter(|other| !Arc::ptr_eq(other, &exporter)).cloned().collect();
                self.exporters.store(Arc::new(rest));
                return;
            }
            if Instant::now() >= deadline && !exporter.is_given_up() {
                exporter.give_up();
            }
        }
    }

    fn serve_listeners(self: &Arc<Self>, live: &mut Live, bound: Vec<(Role, Bindable)>) {
        let mut old = std::mem::take(&mut live.listeners);
        for (role, bindable) in bound {
            match bindable {
                Bindable::Kept(settings) => {
                    let at = old
                        .iter()
                        .position(|(of, listener)| {
                            *of == role && listener.settings().endpoint == settings.endpoint
                        })
                        .expect("a listener is kept only if it is there");
                    let (_, listener) = old.swap_remove(at);
                    listener.reconfigure(settings);
                    live.listeners.push((role, listener));
                }
                Bindable::New(bound) => match (self.serve)(self, role, bound) {
                    Ok(listener) => live.listeners.push((role, listener)),
                    Err(error) => tracing::error!("a bound listener can't be served: {error}"),
                },
            }
        }
        for (_, listener) in old {
            // Whatever has begun may take the time that it has anyway.
            let settings = listener.settings();
            let patience = settings.read_header_timeout.saturating_add(settings.read_timeout);
            tokio::spawn(listener.stop(patience));
        }
    }

    /// Turns readiness off; from now on no configuration is applied.
    pub fn begin_stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// Stops accepting and answers what is in progress, for at most `patience`. The health and admin listeners go on.
    pub async fn stop_receiving(&self, patience: Duration) {
        let mut live = self.live.lock().await;
        let (stopping, staying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut live.listeners).into_iter().partition(|(role, _)| *role == Role::Otlp);
        live.listeners = staying;
        let tasks: Vec<_> =
            stopping.into_iter().map(|(_, listener)| tokio::spawn(listener.stop(patience))).collect();
        for task in tasks {
            let _ = task.await;
        }
    }
}

impl Live {
    /// Counters of routes with `max_streams`; a route keeps its own across reloads as long as it has its name.
    fn route_streams(&mut self, compiled: &Compiled) -> Vec<Option<Arc<StreamCount>>> {
        let mut next = HashMap::new();
        let counts = compiled
            .routes
            .iter()
            .map(|route| {
                let most = route.max_streams?;
                let known = self.route_streams.get(&route.name).cloned();
                let count = known.unwrap_or_else(|| Arc::new(StreamCount::new(most)));
                count.set_limit(most);
                next.insert(route.name.clone(), count.clone());
                Some(count)
            })
            .collect();
        self.route_streams = next;
        counts
    }
}

enum Planned {
    Same(Arc<Exporter>),
    Changed(Arc<Exporter>, Active),
    New(Arc<str>, Active),
}

/// An exporter that comes back while it still drains is the same one, so that its streams keep their order.
fn plan_exporters(compiled: &Compiled, alive: &[Arc<Exporter>]) -> Result<Vec<Planned>, ReloadError> {
    compiled
        .exporters
        .iter()
        .map(|(name, settings)| {
            let known = alive.iter().find(|exporter| exporter.name() == name && !exporter.is_given_up());
            if let Some(same) = known.filter(|exporter| exporter.active().settings == *settings) {
                return Ok(Planned::Same(same.clone()));
            }
            let active = Active::new(name, settings.clone())
                .map_err(|error| ReloadError::Exporter(name.clone(), Arc::new(error)))?;
            Ok(match known {
                Some(exporter) => Planned::Changed(exporter.clone(), active),
                None => Planned::New(name.clone(), active),
            })
        })
        .collect()
}

enum Bindable {
    Kept(ListenerSettings),
    New(Bound),
}

fn bind(compiled: &Compiled, live: &[(Role, Listener)]) -> Result<Vec<(Role, Bindable)>, ReloadError> {
    let otlp = compiled.listeners.iter().map(|settings| (Role::Otlp, settings.clone()));
    let admin = compiled.admin.map(|address| (Role::Admin, ListenerSettings::for_people("admin", address)));
    let health =
        compiled.health.map(|address| (Role::Health, ListenerSettings::for_people("health", address)));
    // Several may ask for port 0; each keeps one listener.
    let mut keepable: Vec<_> =
        live.iter().map(|(of, listener)| (*of, listener.settings().endpoint)).collect();
    otlp.chain(admin)
        .chain(health)
        .map(|(role, settings)| {
            let address = settings.endpoint;
            if let Some(kept) = keepable.iter().position(|known| *known == (role, address)) {
                keepable.swap_remove(kept);
                return Ok((role, Bindable::Kept(settings)));
            }
            let ours = live.iter().any(|(_, listener)| listener.address().port() == address.port());
            let bound = Bound::bind(settings).map_err(|reason| ReloadError::Listen {
                address,
                hint: if reason.kind() != io::ErrorKind::AddrInUse {
                    ""
                } else if ours {
                    "; it overlaps an address that is in use now, so this change needs a restart"
                } else {
                    "; another program listens there: stop it, or change the `endpoint`"
                },
                reason: Arc::new(reason),
            })?;
            Ok((role, Bindable::New(bound)))
        })
        .collect()
}

async fn open_dead_letters(
    compiled: &Compiled,
    intake: &Intake,
) -> Result<Option<Arc<DeadLetters>>, ReloadError> {
    let Some(settings) = compiled.dead_letter.clone() else { return Ok(None) };
    if let Some(open) = intake.dead_letters.load_full()
        && *open.settings() == settings
    {
        return Ok(Some(open));
    }
    let directory = settings.directory.clone();
    let opened = tokio::task::spawn_blocking(move || DeadLetters::open(&settings)).await;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    opened
        .map(|open| Some(Arc::new(open)))
        .map_err(|reason| ReloadError::DeadLetters { directory, reason: Arc::new(reason) })
}

async fn load(source: &Source, env: fn(&str) -> Option<String>) -> Result<Compiled, ReloadError> {
    let source = source.clone();
    let loaded = tokio::task::spawn_blocking(move || config::load(&source, &env)).await;
    loaded
        .expect("loading a configuration doesn't panic")
        .map_err(|problems| ReloadError::Problems(Arc::new(problems)))
}
