//! A running Sluice: everything that lives longer than one configuration, and how a configuration becomes the one
//! in use.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::counted_exporters::{CountedExporters, GoneExporters};
use super::environment::RouterEnvironment;
use super::leftover::GivingUp;
use super::listeners::{Listeners, Role, Serve};
use super::operator_holds::OperatorHolds;
use super::recovered::{Recovered, Unclaimed};
use super::recovery::{self, Found};
use super::reload_plan::ReloadPlan;
use super::report::{ConfigReport, ReloadError, Reloads};
use super::service_manager;
use super::telemetry::TelemetryExport;
use super::tenants::TenantRegistry;
use crate::access::AdminAccess;
use crate::config::{self, Compiled, Problems, Source};
use crate::dead_letters::DeadLetters;
use crate::descriptors::descriptors;
use crate::export::{Active, Exporter};
use crate::journal::JournalSettings;
use crate::net::Network;
use crate::receive::{
    ConfigSnapshot, FlowPaths, FlowTotals, Intake, ListenerSettings, RecordSample, TlsServer,
};
use crate::route::RouteTable;
use crate::stream::{Budget, EngineState, StreamCount};
use crate::tap::RecordObserver;
use crate::tenants::Tenants;
use crate::watches::{Alertmanager, RecordWatch, WatchSettings};

/// How often a removed exporter is asked whether its streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// As [`DRAIN_POLL`], once it sends nothing more.
const PAUSE_POLL: Duration = Duration::from_secs(10);

/// The part of the time for answering requests in progress that those may take that wait for their upstreams. The rest
/// is for their answers.
const WAITING: f64 = 0.9;

/// Warnings of one configuration that are logged. More would leave no room among the lines of a second for those that say where
/// Sluice listens.
const LOGGED_WARNINGS: usize = 20;

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

/// A running Sluice.
pub struct Router {
    source: Source,
    env: fn(&str) -> Option<String>,
    network: Network,
    shared: Arc<EngineState>,
    intake: Arc<Intake>,
    tenants: TenantRegistry,
    serve: Serve,
    phase: watch::Sender<Phase>,
    /// Whether the phase is [`Phase::Ready`], for those who wait for a change.
    ready: watch::Sender<bool>,
    /// Held while a configuration is applied: one at a time.
    live: tokio::sync::Mutex<Live>,
    /// As it was when the process started.
    journal: Option<JournalSettings>,
    recovered: Recovered,
    exporters: ArcSwap<Vec<Arc<Exporter>>>,
    /// Held while an exporter goes from those above to these.
    gone_exporters: Mutex<GoneExporters>,
    report: ArcSwap<ConfigReport>,
    reloads: Reloads,
    flow: Arc<FlowTotals>,
    admin_access: AdminAccess,
    alertmanager: ArcSwapOption<Alertmanager>,
    telemetry: TelemetryExport,
    operator_holds: OperatorHolds,
    giving_up: GivingUp,
    /// Held from reading a configuration until it is in use, so that an older one can't overtake a newer.
    reloading: tokio::sync::Mutex<()>,
    /// Held while dead letters are replayed or deleted.
    letters_underway: Arc<tokio::sync::Mutex<()>>,
}

/// What only a reload and the shutdown touch.
#[derive(Default)]
struct Live {
    listeners: Listeners,
    /// Exporters that drain or are paused, and the version that removed them.
    removed: Vec<(Arc<Exporter>, u64)>,
    /// What requests may still use beside the snapshot of now.
    former: Vec<Weak<ConfigSnapshot>>,
    /// What the journal has of exporters that the configuration doesn't have.
    found: Found,
    route_streams: HashMap<String, Arc<StreamCount>>,
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
        let compiled = load(&source, env).await.map_err(ReloadError::Problems)?;
        let journal = match compiled.journal.clone() {
            Some(settings) => Some(recovery::open(settings).await?),
            None => None,
        };
        let environment = RouterEnvironment { source, env, serve, network: Network::Machine, journal };
        Self::start_on(environment, compiled).await
    }

    /// As [`Router::start`], with what that would have loaded and opened. Blocks nowhere but on certificates, dead
    /// letters, a directory of tenants and what operators hold, if the configuration has any.
    pub async fn start_on(
        environment: RouterEnvironment,
        compiled: Compiled,
    ) -> Result<Arc<Self>, ReloadError> {
        let RouterEnvironment { source, env, serve, network, journal } = environment;
        let (journal, (recovered, found)) = journal.map_or_else(Default::default, |(journal, recovery)| {
            (Some(journal), recovery::look_through(recovery))
        });
        let operator_holds =
            OperatorHolds::load(compiled.journal.as_ref().map(|journal| &*journal.directory));
        let tenants = Arc::new(Tenants::default());
        let shared = Arc::new(EngineState::with_tenants(
            Arc::new(Budget::new(compiled.limits.memory)),
            Arc::new(StreamCount::new(compiled.limits.streams)),
            journal.clone(),
            tenants.clone(),
        ));
        let nothing = ConfigSnapshot {
            version: 0,
            routes: Arc::new(RouteTable::new(Vec::new(), compiled.unrouted)),
            flow: FlowPaths::default(),
            route_streams: Vec::new(),
            exporters: Vec::new(),
            acknowledge: compiled.acknowledge,
            acknowledge_timeout: compiled.acknowledge_timeout,
            unqueued: false,
        };
        let intake = Arc::new(Intake {
            snapshot: ArcSwap::from_pointee(nothing),
            tenants: tenants.clone(),
            counters: Arc::default(),
            journal,
            dead_letters: Arc::new(ArcSwapOption::empty()),
            dead_letter_tasks: TaskTracker::new(),
            sample: RecordSample::default(),
            observer: Arc::new(RecordObserver::new(shared.budget.clone(), shared.redaction.clone())),
            telemetry: shared.telemetry.clone(),
            closing: watch::Sender::new(None),
        });
        let report = ConfigReport {
            source: source.to_string(),
            version: 0,
            loaded_at: SystemTime::now(),
            redacted: serde_json::Value::Null,
            text: Arc::default(),
            outline: Arc::default(),
            presets: Vec::new(),
            warnings: Vec::new(),
            last_error: None,
            files: (Vec::new(), 0),
            tenant_metrics: false,
            certificates: Vec::new(),
            shutdown: (Duration::ZERO, Duration::ZERO),
        };
        let router = Arc::new(Self {
            source,
            env,
            network,
            shared,
            intake,
            tenants: TenantRegistry::new(tenants),
            serve,
            phase: watch::Sender::new(Phase::Starting),
            ready: watch::Sender::new(false),
            live: tokio::sync::Mutex::new(Live { found, ..Live::default() }),
            journal: compiled.journal.clone(),
            recovered,
            exporters: ArcSwap::default(),
            gone_exporters: Mutex::default(),
            report: ArcSwap::from_pointee(report),
            reloads: Reloads::default(),
            flow: Arc::default(),
            admin_access: AdminAccess::default(),
            alertmanager: ArcSwapOption::empty(),
            telemetry: TelemetryExport::default(),
            giving_up: GivingUp::default(),
            operator_holds,
            reloading: tokio::sync::Mutex::default(),
            letters_underway: Arc::default(),
        });
        router.apply(compiled).await?;
        recovery::report(&router.live.lock().await.found);
        router.phase.send_replace(Phase::Ready);
        router.ready.send_replace(true);
        Ok(router)
    }

    /// What receivers hand requests to.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// What all streams share.
    pub fn shared(&self) -> &Arc<EngineState> {
        &self.shared
    }

    /// The table of tenants in use, empty without one in the configuration.
    pub fn tenants(&self) -> &Arc<Tenants> {
        self.tenants.tenants()
    }

    /// What keeps that table current.
    pub(super) fn tenant_registry(&self) -> &TenantRegistry {
        &self.tenants
    }

    /// Every exporter that has something to do: those of the configuration, and removed ones that still drain.
    pub fn exporters(&self) -> Arc<Vec<Arc<Exporter>>> {
        self.exporters.load_full()
    }

    /// The same, with what others have counted that are gone: together, all that was counted since the process began.
    pub fn counted_exporters(&self) -> CountedExporters {
        let gone = self.gone_exporters.lock();
        CountedExporters { exporters: self.exporters(), gone: *gone }
    }

    /// What is told of the configuration.
    pub fn report(&self) -> Arc<ConfigReport> {
        self.report.load_full()
    }

    /// Reloads so far.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// How much has gone which way.
    pub fn flow(&self) -> &Arc<FlowTotals> {
        &self.flow
    }

    /// Held while dead letters are replayed or deleted.
    pub(super) fn letters_underway(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.letters_underway
    }

    /// Who may use the admin listener.
    pub fn admin_access(&self) -> &AdminAccess {
        &self.admin_access
    }

    /// When the certificate that a receiver or the admin listener shows ends, by its name; of one with two listeners the first to
    /// end.
    pub fn certificate_expiries(&self) -> BTreeMap<Arc<str>, SystemTime> {
        let mut expiries = BTreeMap::new();
        for (receiver, server) in &self.report().certificates {
            let Some(expiry) = server.certificate_expiry() else { continue };
            let first = expiries.entry(receiver.clone()).or_insert(expiry);
            *first = expiry.min(*first);
        }
        expiries
    }

    /// Who is told which watches fire, if anybody.
    pub fn alertmanager(&self) -> Option<Arc<Alertmanager>> {
        self.alertmanager.load_full()
    }

    /// What was given up since the process began to.
    pub(super) fn giving_up(&self) -> &GivingUp {
        &self.giving_up
    }

    /// Where own telemetry is sent.
    pub(super) fn telemetry(&self) -> &TelemetryExport {
        &self.telemetry
    }

    /// Looks up a variable of the environment.
    pub(super) fn env(&self) -> fn(&str) -> Option<String> {
        self.env
    }

    /// What operators hold.
    pub(super) fn operator_holds(&self) -> &OperatorHolds {
        &self.operator_holds
    }

    /// How the journal is kept, and what was in it at the start, if there is one.
    pub fn recovered(&self) -> Option<(&JournalSettings, &Recovered)> {
        self.journal.as_ref().map(|settings| (settings, &self.recovered))
    }

    /// What the journal keeps for exporters that the configuration doesn't have, by their names.
    pub fn unclaimed(&self) -> Vec<Unclaimed> {
        let mut unclaimed = self.recovered.unclaimed().to_vec();
        let exporters = self.exporters();
        unclaimed.extend(
            exporters
                .iter()
                .filter(|exporter| exporter.is_paused())
                .map(|exporter| Unclaimed::paused(exporter)),
        );
        unclaimed.sort_by(|one, other| one.exporter.cmp(&other.exporter));
        unclaimed
    }

    /// How far the process is in its life.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether telemetry is taken, now and from now on.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Where the listeners of a role really listen.
    pub async fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        let live = self.live.lock().await;
        live.listeners.addresses(role).collect()
    }

    /// The same as URLs without a path: `https://127.0.0.1:4318` where TLS is spoken, else `http`.
    pub async fn urls(&self, role: Role) -> Vec<String> {
        let live = self.live.lock().await;
        live.listeners.urls(role).collect()
    }

    /// The receivers at work by this protocol, each with its URL without a path.
    pub async fn receivers(&self, role: Role) -> Vec<(String, Arc<ListenerSettings>)> {
        let live = self.live.lock().await;
        live.listeners.urls(role).zip(live.listeners.settings(role)).collect()
    }

    /// Reads the configuration again. Returns its version once it is in use; otherwise nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        service_manager::tell_reloading();
        let (files, outcome) = match load(&self.source, self.env).await {
            Ok(compiled) => ((compiled.files.clone(), compiled.hash), self.apply(compiled).await),
            Err(problems) => {
                let files = (problems.files.clone(), problems.hash);
                (files, Err(ReloadError::Problems(problems)))
            }
        };
        self.reloads.record(&outcome);
        match &outcome {
            Ok(version) => {
                info!(version, "configuration reloaded");
            }
            Err(error) => {
                tracing::error!("configuration not reloaded, the one in use stays:\n{error}");
                let mut report = (*self.report()).clone();
                // Whatever it failed for: trying the same again and again would only say the same.
                report.files = files;
                report.last_error = Some((SystemTime::now(), error.clone()));
                self.report.store(Arc::new(report));
            }
        }
        if self.phase() == Phase::Ready {
            service_manager::tell_ready(&self.report());
        }
        outcome
    }

    /// What a reload would do, which is found out as a reload would: files are read, addresses are bound for a moment. Nothing
    /// changes. An error is why a reload would be refused, unless a restart is all that it needs.
    pub async fn plan_reload(&self) -> Result<ReloadPlan, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        let compiled = load(&self.source, self.env).await.map_err(ReloadError::Problems)?;
        let live = self.live.lock().await;
        if self.phase() == Phase::Stopping {
            return Err(ReloadError::Stopping);
        }
        let mut needs_restart = Vec::new();
        if compiled.journal != self.journal {
            needs_restart.push(ReloadError::Journal.to_string());
        }
        let planned = plan_exporters(&compiled, &self.exporters(), &self.network)?;
        self.telemetry.prepare(&compiled, &self.shared.telemetry, &self.network)?;
        match live.listeners.bind(&self.network, &compiled) {
            Err(error) if error.needs_restart() => needs_restart.push(error.to_string()),
            bound => drop(bound?),
        }
        drop(live);
        let before = self.intake.snapshot.load_full();
        let is_changed = |planned: &Planned| match planned {
            Planned::Changed(exporter, _) => Some(exporter.name().clone()),
            Planned::Same(_) | Planned::New(..) => None,
        };
        let changed = planned.iter().filter_map(is_changed).collect();
        let report = self.report();
        let planning = spawn_blocking(move || {
            ReloadPlan::of(&before, &report.outline, changed, compiled, needs_restart)
        });
        planning.await.expect("comparing configurations doesn't panic")
    }

    /// Puts a configuration to work, as [`Router::reload`] does with the one that it has read. Returns its version. Sets up
    /// everything that can fail, and only then changes anything.
    pub async fn apply(self: &Arc<Self>, mut compiled: Compiled) -> Result<u64, ReloadError> {
        let mut live = self.live.lock().await;
        if self.phase() == Phase::Stopping {
            return Err(ReloadError::Stopping);
        }
        if compiled.journal != self.journal {
            return Err(ReloadError::Journal);
        }
        let _held = self.operator_holds.as_they_are().await;
        let before = self.intake.snapshot.load_full();
        let plan = plan_exporters(&compiled, &self.exporters(), &self.network)?;
        let bound = live.listeners.bind(&self.network, &compiled)?;
        let dead_letters = open_dead_letters(&compiled, &self.intake, before.version == 0).await?;

        let tenants = self.tenants.prepare(&compiled, self.env).await?;
        let alertmanager = self.same_or_new_alertmanager(&compiled)?;
        let telemetry = self.telemetry.prepare(&compiled, &self.shared.telemetry, &self.network)?;

        let lowered = descriptors().lowered(compiled.descriptors());

        // From here on nothing fails.
        let version = before.version + 1;
        self.shared.set_memory(compiled.limits.memory);
        self.shared.streams.set_limit(compiled.limits.streams);
        if let (Some(open), Some(settings)) = (&dead_letters, &compiled.dead_letter) {
            open.set_max_size(settings.max_size);
        }
        self.intake.dead_letters.store(dead_letters);
        let observer = &self.intake.observer;
        // Before the exporters, whose upstreams may say back what is not to be shown.
        let (tap, watches) = (take(&mut compiled.tap), take(&mut compiled.watches));
        observer.configure(tap, same_or_new_watches(&observer.watches(), watches));
        // Exporters change before the snapshot does, since entries that are named by it need the exporters' new settings.
        // So requests that still use the one before meet new settings, too; some may read them twice, before and after.
        // Each decision stands by itself, so that this looks like a request that came a moment earlier or later: there is
        // room by the old or by the new `queue_size`, an entry is shed or the whole request refused. An entry that was cut
        // to the old `max_size` makes a batch of that size, as what is queued already does; an upstream that has come to
        // refuse it gets its halves.
        let exporters: Vec<Arc<Exporter>> = plan
            .into_iter()
            .map(|planned| match planned {
                Planned::Same(exporter) => {
                    exporter.take_back();
                    exporter
                }
                Planned::Changed(exporter, active) => {
                    exporter.reconfigure(active);
                    exporter.take_back();
                    exporter
                }
                Planned::New(name, active) => {
                    let letters = self.intake.dead_letters.clone();
                    let exporter = crate::export::start(name, active, self.shared.clone(), letters);
                    self.operator_holds.apply_to(&exporter);
                    exporter
                }
            })
            .collect();
        // What is recovered goes by the rows from its first attempt on.
        self.tenants.put_to_use(tenants);
        live.claim(&exporters);
        self.recovered.leave(&live.found);
        let removed: Vec<Arc<Exporter>> = before
            .exporters
            .iter()
            .filter(|old| !exporters.iter().any(|exporter| Arc::ptr_eq(exporter, old)))
            .cloned()
            .collect();
        let route_streams = live.route_streams(&compiled);
        let mut receivers: Vec<_> = compiled.listeners.iter().map(|listener| listener.name.clone()).collect();
        receivers.sort_unstable();
        receivers.dedup();
        let names = exporters.iter().map(|exporter| exporter.name().clone()).collect();
        let flow = FlowPaths::new(&self.flow, receivers, &compiled.routes, names);
        let routes = Arc::new(RouteTable::new(compiled.routes, compiled.unrouted));
        let snapshot = ConfigSnapshot {
            version,
            routes,
            flow,
            route_streams,
            unqueued: exporters.iter().any(|exporter| !exporter.registry().settings().enabled),
            exporters,
            acknowledge: compiled.acknowledge,
            acknowledge_timeout: compiled.acknowledge_timeout,
        };
        live.removed.retain(|(exporter, _)| !snapshot.uses(exporter));
        live.removed.extend(removed.iter().map(|exporter| (exporter.clone(), version)));
        let gone = live.removed.iter().map(|(exporter, _)| exporter);
        self.exporters.store(Arc::new(snapshot.exporters.iter().chain(gone).cloned().collect()));
        let snapshot = Arc::new(snapshot);
        live.former.retain(|former| former.strong_count() > 0);
        live.former.push(Arc::downgrade(&before));
        self.intake.snapshot.store(snapshot.clone());
        self.alertmanager.store(alertmanager);
        self.telemetry.put_to_use(telemetry, &self.shared.telemetry);
        if self.admin_access.set(compiled.admin_tokens) {
            observer.end_taps();
        }
        live.listeners.serve(bound, |role, bound| (self.serve)(self, role, bound));
        log_warnings(&compiled.warnings);
        if let Some(lowered) = lowered {
            warn!("{lowered}");
        }
        self.report.store(Arc::new(ConfigReport {
            source: self.source.to_string(),
            version,
            loaded_at: SystemTime::now(),
            redacted: compiled.redacted,
            text: compiled.text.into(),
            outline: Arc::new(compiled.outline),
            presets: compiled.presets,
            warnings: compiled.warnings,
            last_error: None,
            files: (compiled.files, compiled.hash),
            tenant_metrics: compiled.tenant_metrics,
            certificates: certificates(compiled.listeners.iter().chain(&compiled.admin)),
            shutdown: (compiled.shutdown_delay, compiled.shutdown_timeout),
        }));
        for exporter in removed {
            // No more comes that would fill what is open. What requests of the snapshot before still bring is sent so, too.
            exporter.registry().flush();
            tokio::spawn(self.clone().drain(exporter, version, compiled.shutdown_timeout));
        }
        Ok(version)
    }

    /// The Alertmanager of a configuration, which is the one that is there if its URL is the same.
    fn same_or_new_alertmanager(
        &self,
        compiled: &Compiled,
    ) -> Result<Option<Arc<Alertmanager>>, ReloadError> {
        let Some(url) = &compiled.alertmanager else { return Ok(None) };
        if let Some(same) = self.alertmanager().filter(|known| known.url() == url) {
            return Ok(Some(same));
        }
        let new = Alertmanager::new(url).map_err(|error| ReloadError::Alertmanager(Arc::new(error)))?;
        Ok(Some(Arc::new(new)))
    }

    /// Lets an exporter that `version` removed deliver what it has, for at most `patience`. With a journal it is paused then.
    async fn drain(self: Arc<Self>, exporter: Arc<Exporter>, version: u64, patience: Duration) {
        info!(exporter = %exporter.name(), "exporter removed, draining its streams");
        let deadline = Instant::now() + patience;
        loop {
            tokio::time::sleep(if exporter.is_paused() { PAUSE_POLL } else { DRAIN_POLL }).await;
            // Held while it is decided: a reload may take the exporter back.
            let mut live = self.live.lock().await;
            let removal = |(gone, by): &(Arc<Exporter>, u64)| Arc::ptr_eq(gone, &exporter) && *by == version;
            if !live.removed.iter().any(removal) {
                // It came back, and may have been removed again since: that removal has a time of its own.
                return;
            }
            // Asked before it is looked whether there is anything: only these can bring more.
            let expects_more =
                live.former.iter().filter_map(Weak::upgrade).any(|former| former.uses(&exporter));
            exporter.registry().forget_idle();
            if exporter.is_empty() && !expects_more {
                self.forget(&mut live, &exporter);
                return;
            }
            if Instant::now() < deadline || exporter.is_given_up() || exporter.is_paused() {
                continue;
            }
            if self.intake.journal.is_none() {
                exporter.give_up();
            } else {
                exporter.pause();
                recovery::report_paused(&exporter);
            }
        }
    }

    /// A removed exporter has nothing more to do.
    fn forget(&self, live: &mut Live, exporter: &Arc<Exporter>) {
        // Ends those who still wait for it to change.
        exporter.suspend();
        let rest = self.exporters().iter().filter(|other| !Arc::ptr_eq(other, exporter)).cloned().collect();
        let mut gone = self.gone_exporters.lock();
        gone.add(exporter);
        self.exporters.store(Arc::new(rest));
        drop(gone);
        live.removed.retain(|(gone, _)| !Arc::ptr_eq(gone, exporter));
    }

    /// Turns readiness off; from now on no configuration is applied.
    pub fn begin_stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
        self.ready.send_replace(false);
    }

    /// Stops accepting and answers what is in progress, for at most `patience`. The health and admin listeners go on.
    pub async fn stop_receiving(&self, patience: Duration) {
        self.intake.closing.send_replace(Some(Instant::now() + patience.mul_f64(WAITING)));
        self.live.lock().await.listeners.stop_receivers(patience).await;
    }
}

impl Live {
    /// Gives exporters what the journal has for them.
    fn claim(&mut self, exporters: &[Arc<Exporter>]) {
        for exporter in exporters {
            if let Some(found) = self.found.remove(exporter.name()) {
                exporter.recover(found);
            }
        }
    }

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

/// What is to become of an exporter.
enum Planned {
    Same(Arc<Exporter>),
    Changed(Arc<Exporter>, Active),
    New(Arc<str>, Active),
}

/// An exporter that comes back while it still has streams is the same one, also if it was given up: so its streams keep
/// their order, and no two exporters have one name.
fn plan_exporters(
    compiled: &Compiled,
    alive: &[Arc<Exporter>],
    network: &Network,
) -> Result<Vec<Planned>, ReloadError> {
    compiled
        .exporters
        .iter()
        .map(|(name, settings)| {
            let known = alive.iter().find(|exporter| exporter.name() == name);
            if let Some(same) = known.filter(|exporter| exporter.active().settings == *settings) {
                return Ok(Planned::Same(same.clone()));
            }
            let former = known.map(|exporter| exporter.active());
            let active = Active::new(name, settings.clone(), network, former.as_deref().map(AsRef::as_ref))
                .map_err(|error| ReloadError::Exporter(name.clone(), Arc::new(error)))?;
            Ok(match known {
                Some(exporter) => Planned::Changed(exporter.clone(), active),
                None => Planned::New(name.clone(), active),
            })
        })
        .collect()
}

/// The listeners that show a certificate, by their names.
fn certificates<'l>(
    listeners: impl Iterator<Item = &'l ListenerSettings>,
) -> Vec<(Arc<str>, Arc<TlsServer>)> {
    listeners.filter_map(|listener| Some((listener.name.clone(), listener.tls.clone()?))).collect()
}

/// The watches of a configuration: those that are configured as before go on with what they have counted.
fn same_or_new_watches(known: &[Arc<RecordWatch>], settings: Vec<WatchSettings>) -> Vec<Arc<RecordWatch>> {
    let watch = |settings: WatchSettings| {
        let same = known.iter().find(|watch| *watch.settings() == settings).cloned();
        same.unwrap_or_else(|| Arc::new(RecordWatch::new(settings)))
    };
    settings.into_iter().map(watch).collect()
}

/// Logs the first warnings of a configuration, and how many there are more.
fn log_warnings(warnings: &[config::Problem]) {
    for warning in warnings.iter().take(LOGGED_WARNINGS) {
        warn!("{warning:#}");
    }
    if let Some(more) = warnings.len().checked_sub(LOGGED_WARNINGS).filter(|more| *more > 0) {
        warn!(more, "the configuration has more warnings: `sluice check` and /api/v1/config show all");
    }
}

/// The same directory stays open: letters may be on their way into it.
async fn open_dead_letters(
    compiled: &Compiled,
    intake: &Intake,
    starting: bool,
) -> Result<Option<Arc<DeadLetters>>, ReloadError> {
    let Some(settings) = compiled.dead_letter.clone() else { return Ok(None) };
    if let Some(open) = intake.dead_letters.load_full()
        && *open.directory() == settings.directory
    {
        return Ok(Some(open));
    }
    let directory = settings.directory.clone();
    let opened = spawn_blocking(move || {
        if starting {
            DeadLetters::clear_unfinished(&settings.directory)?;
        }
        DeadLetters::open(&settings)
    });
    let opened = opened.await;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    opened
        .map(|open| Some(Arc::new(open)))
        .map_err(|reason| ReloadError::DeadLetters { directory, reason: Arc::new(reason) })
}

async fn load(source: &Source, env: fn(&str) -> Option<String>) -> Result<Compiled, Arc<Problems>> {
    let source = source.clone();
    let loaded = spawn_blocking(move || config::load(&source, &env)).await;
    loaded.expect("loading a configuration doesn't panic").map_err(Arc::new)
}
