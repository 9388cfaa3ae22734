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
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::exporter_list::{CountedExporters, ExporterList};
use super::leftover::GivingUp;
use super::listeners::{Listeners, Role};
use super::operator_holds::OperatorHoldRegistry;
use super::recovery::{self, RecoveredStreams, RecoveryReport, Unclaimed};
use super::reload_plan::ReloadPlan;
use super::report::{ConfigReport, ReloadError, Reloads};
use super::service_manager;
use super::telemetry_export::TelemetryExport;
use super::tenant_registry::TenantRegistry;
use crate::access::AdminAccess;
use crate::config::{self, Compiled, ConfigSource, Problems};
use crate::dead_letters::DeadLetters;
use crate::descriptors::descriptors;
use crate::export::{Active, Exporter};
use crate::journal::{Journal, JournalSettings, Recovery};
use crate::net::Network;
use crate::receive::{
    BoundListener, ConfigSnapshot, FlowPaths, FlowTotals, Intake, Listener, ListenerSettings, RecordSample,
    TlsServer,
};
use crate::route::RouteTable;
use crate::stream::{Budget, EngineState, StreamCount};
use crate::tap::RecordObserver;
use crate::tenants::Tenants;
use crate::watches::{Alertmanager, RecordWatch, WatchSettings};

/// How often a removed exporter is checked for whether its streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// How often a paused exporter, which sends nothing, is checked.
const PAUSE_POLL: Duration = Duration::from_secs(10);

/// At shutdown, the part of the time for requests in progress in which requests may wait for their upstreams. The rest is for their
/// answers.
const WAITING: f64 = 0.9;

/// The most warnings of a configuration that are logged. As the log has a limit of lines a second, more would displace the lines that
/// say where Sluice listens.
const LOGGED_WARNINGS: usize = 20;

/// The phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all listeners are bound.
    Starting,
    /// At work.
    Ready,
    /// Shutting down; readiness is off.
    Stopping,
}

/// Puts a bound listener to work in its role.
pub type Serve = Box<dyn Fn(&Arc<Router>, Role, BoundListener) -> Listener + Send + Sync>;

/// What a router needs before it starts, and keeps through every configuration.
pub struct RouterEnvironment {
    /// Where later configurations come from.
    pub source: ConfigSource,
    /// Looks up an environment variable for them.
    pub env: fn(&str) -> Option<String>,
    /// Puts its listeners to work.
    pub serve: Serve,
    /// Where they listen, and its exporters connect.
    pub network: Network,
    /// The journal that the configuration names, and the outcome of its recovery.
    pub journal: Option<(Journal, Recovery)>,
}

/// A running Sluice.
pub struct Router {
    source: ConfigSource,
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
    live: tokio::sync::Mutex<ReloadState>,
    /// The journal's settings when the process started, which can't change.
    journal: Option<JournalSettings>,
    recovered: RecoveryReport,
    exporters: Arc<ExporterList>,
    report: ArcSwap<ConfigReport>,
    reloads: Reloads,
    flow: Arc<FlowTotals>,
    admin_access: AdminAccess,
    alertmanager: ArcSwapOption<Alertmanager>,
    telemetry: TelemetryExport,
    operator_holds: OperatorHoldRegistry,
    giving_up: GivingUp,
    /// Held from reading a configuration until it is in use, so that an older one can't overtake a newer.
    reloading: tokio::sync::Mutex<()>,
    /// Held while dead letters are replayed or deleted.
    dead_letters_underway: Arc<tokio::sync::Mutex<()>>,
}

/// The state that only reloads and the shutdown touch.
#[derive(Default)]
struct ReloadState {
    listeners: Listeners,
    /// Exporters that drain or are paused, and the version that removed them.
    removed: Vec<(Arc<Exporter>, u64)>,
    /// Former snapshots that requests may still use.
    former: Vec<Weak<ConfigSnapshot>>,
    /// Streams of the journal whose exporters the configuration doesn't have.
    found: RecoveredStreams,
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
        source: ConfigSource,
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

    /// As [`Router::start`], with a configuration and a journal that are given rather than loaded and opened. Blocks nowhere but on
    /// certificates, dead letters, a directory of tenants and the file of operators' holds, if the configuration has them.
    pub async fn start_on(
        environment: RouterEnvironment,
        compiled: Compiled,
    ) -> Result<Arc<Self>, ReloadError> {
        let RouterEnvironment { source, env, serve, network, journal } = environment;
        let (journal, (recovered, found)) = journal.map_or_else(Default::default, |(journal, recovery)| {
            (Some(journal), recovery::look_through(recovery))
        });
        let tenants = Arc::new(Tenants::default());
        let shared = Arc::new(EngineState::with_tenants(
            Arc::new(Budget::new(compiled.limits.memory)),
            Arc::new(StreamCount::new(compiled.limits.streams)),
            journal.clone(),
            tenants.clone(),
        ));
        let exporters = Arc::new(ExporterList::default());
        let operator_holds = OperatorHoldRegistry::load(
            compiled.journal.as_ref().map(|journal| &*journal.directory),
            exporters.clone(),
            shared.clone(),
        );
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
            live: tokio::sync::Mutex::new(ReloadState { found, ..ReloadState::default() }),
            journal: compiled.journal.clone(),
            recovered,
            exporters,
            report: ArcSwap::from_pointee(report),
            reloads: Reloads::default(),
            flow: Arc::default(),
            admin_access: AdminAccess::default(),
            alertmanager: ArcSwapOption::empty(),
            telemetry: TelemetryExport::default(),
            giving_up: GivingUp::default(),
            operator_holds,
            reloading: tokio::sync::Mutex::default(),
            dead_letters_underway: Arc::default(),
        });
        router.apply(compiled).await?;
        recovery::report(&router.live.lock().await.found);
        router.phase.send_replace(Phase::Ready);
        router.ready.send_replace(true);
        Ok(router)
    }

    /// The intake, to which receivers hand requests.
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// The state that all streams share.
    pub fn shared(&self) -> &Arc<EngineState> {
        &self.shared
    }

    /// The table of tenants in use, empty without one in the configuration.
    pub fn tenants(&self) -> &Arc<Tenants> {
        self.tenants.tenants()
    }

    /// The registry, which changes that table.
    pub(super) fn tenant_registry(&self) -> &TenantRegistry {
        &self.tenants
    }

    /// The exporters of the configuration, and removed ones that still drain.
    pub fn exporters(&self) -> Arc<Vec<Arc<Exporter>>> {
        self.exporters.present()
    }

    /// The same exporters, with the counts of those that are gone: together, all that was counted since the process began.
    pub fn counted_exporters(&self) -> CountedExporters {
        self.exporters.counted()
    }

    /// The report on the configuration in use.
    pub fn report(&self) -> Arc<ConfigReport> {
        self.report.load_full()
    }

    /// The reloads so far.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Totals by receiver, route and exporter.
    pub fn flow(&self) -> &Arc<FlowTotals> {
        &self.flow
    }

    /// Held while dead letters are replayed or deleted.
    pub(super) fn dead_letters_underway(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.dead_letters_underway
    }

    /// Who may use the admin listener.
    pub fn admin_access(&self) -> &AdminAccess {
        &self.admin_access
    }

    /// When the certificates of receivers and the admin listener expire, by their names; for a receiver with two listeners the earlier
    /// expiry.
    pub fn certificate_expiries(&self) -> BTreeMap<Arc<str>, SystemTime> {
        let mut expiries = BTreeMap::new();
        for (receiver, server) in &self.report().certificates {
            let Some(expiry) = server.certificate_expiry() else { continue };
            let first = expiries.entry(receiver.clone()).or_insert(expiry);
            *first = expiry.min(*first);
        }
        expiries
    }

    /// The Alertmanager that is told which watches fire, if there is one.
    pub fn alertmanager(&self) -> Option<Arc<Alertmanager>> {
        self.alertmanager.load_full()
    }

    /// The data that the process has begun to give up.
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

    /// The holds of operators.
    pub fn operator_holds(&self) -> &OperatorHoldRegistry {
        &self.operator_holds
    }

    /// The settings of the journal and the report on its recovery, if there is a journal.
    pub fn recovered(&self) -> Option<(&JournalSettings, &RecoveryReport)> {
        self.journal.as_ref().map(|settings| (settings, &self.recovered))
    }

    /// The records that the journal keeps for exporters that the configuration doesn't have, ordered by exporter.
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

    /// The phase of the process.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether telemetry is taken; the receiver sees each change.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Where the listeners of a role really listen.
    pub async fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        let live = self.live.lock().await;
        live.listeners.addresses(role).collect()
    }

    /// The addresses as URLs without a path, such as `http://127.0.0.1:4318`: `https` where TLS is spoken.
    pub async fn urls(&self, role: Role) -> Vec<String> {
        let live = self.live.lock().await;
        live.listeners.urls(role).collect()
    }

    /// The listeners of a role, each as its URL without a path and its settings.
    pub async fn receivers(&self, role: Role) -> Vec<(String, Arc<ListenerSettings>)> {
        let live = self.live.lock().await;
        live.listeners.urls(role).zip(live.listeners.settings(role)).collect()
    }

    /// Reads the configuration again. Returns its version once it is in use; otherwise nothing has changed. `by` says for the log and the
    /// history who or what has asked for that, such as "SIGHUP".
    pub async fn reload(self: &Arc<Self>, by: &str) -> Result<u64, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        service_manager::tell_reloading();
        let (files, outcome) = match load(&self.source, self.env).await {
            Ok(compiled) => ((compiled.files.clone(), compiled.hash), self.apply(compiled).await),
            Err(problems) => {
                let files = (problems.files.clone(), problems.hash);
                (files, Err(ReloadError::Problems(problems)))
            }
        };
        self.reloads.record(by, &outcome);
        match &outcome {
            Ok(version) => {
                info!(version, by, "configuration reloaded");
            }
            Err(error) => {
                tracing::error!(by, "configuration not reloaded, the one in use stays:\n{error}");
                let mut report = (*self.report()).clone();
                // Noted whatever the error is: a reload of the same files would fail again.
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

    /// Plans a reload as far as a reload goes without changing anything: files are read, addresses are bound for a moment. With a
    /// `candidate`, that text is taken for the content of the configuration's file, which is not read. The error is why a reload would
    /// be refused, unless a restart is all that it needs.
    pub async fn plan_reload(&self, candidate: Option<Bytes>) -> Result<ReloadPlan, ReloadError> {
        let Some(text) = candidate else {
            let _one_at_a_time = self.reloading.lock().await;
            let compiled = load(&self.source, self.env).await.map_err(ReloadError::Problems)?;
            return self.plan(compiled).await;
        };
        // Read before reloads have to wait for it.
        let compiled = load_candidate(&self.source, text, self.env).await.map_err(ReloadError::Problems)?;
        let _one_at_a_time = self.reloading.lock().await;
        // The sender of the text can name any variable and file in it, and must not learn from the answer what these contain.
        let substituted = compiled.substituted.clone();
        match self.plan(compiled).await {
            Ok(plan) => Ok(plan.without(&substituted)),
            Err(error) => Err(ReloadError::Candidate(substituted.hide(&error.to_string()).into())),
        }
    }

    /// What a reload with this configuration would do.
    async fn plan(&self, compiled: Compiled) -> Result<ReloadPlan, ReloadError> {
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

    /// Puts a configuration to work, and returns its version. Everything that can fail is set up before anything changes.
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
        // Before the exporters: upstreams may quote attributes that the new configuration redacts.
        let (tap, watches) = (take(&mut compiled.tap), take(&mut compiled.watches));
        observer.configure(tap, same_or_new_watches(&observer.watches(), watches));
        // Exporters change before the snapshot does, since entries that are named by it need the exporters' new settings.
        // So requests that still use the former snapshot meet new settings, too; some may read them twice, before and after.
        // Each decision stands by itself, so that such a request looks like one that came a moment earlier or later: there is
        // room by the old or by the new `queue_size`, an entry is shed or the whole request refused. An entry that was cut
        // to the old `max_size` makes a batch of that size, as queued entries already do; if the upstream refuses it now, it
        // is divided.
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
        // Before recovered data is claimed, so that its first attempt uses the rows.
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
        self.exporters.set(snapshot.exporters.iter().chain(gone).cloned().collect());
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
            // No more data comes that would fill an open batch. Data that requests of the former snapshot still bring is flushed, too.
            exporter.registry().flush();
            tokio::spawn(self.clone().drain(exporter, version, compiled.shutdown_timeout));
        }
        Ok(version)
    }

    /// The Alertmanager of a configuration: the present one, if its URL is the same.
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

    /// Lets an exporter that `version` removed deliver its data for at most `patience`. After that it is paused where there is a journal,
    /// and given up otherwise.
    async fn drain(self: Arc<Self>, exporter: Arc<Exporter>, version: u64, patience: Duration) {
        info!(exporter = %exporter.name(), "exporter removed, draining its streams");
        let deadline = Instant::now() + patience;
        loop {
            tokio::time::sleep(if exporter.is_paused() { PAUSE_POLL } else { DRAIN_POLL }).await;
            // Locked during the decision: a reload may take the exporter back.
            let mut live = self.live.lock().await;
            let removal = |(gone, by): &(Arc<Exporter>, u64)| Arc::ptr_eq(gone, &exporter) && *by == version;
            if !live.removed.iter().any(removal) {
                // It came back, and may have been removed again since: that removal has a time of its own.
                return;
            }
            // Checked before the exporter's streams are: only requests of former snapshots can bring more data.
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

    /// Ends a removed exporter that has no data any more.
    fn forget(&self, live: &mut ReloadState, exporter: &Arc<Exporter>) {
        // Ends the tasks that still wait for its settings to change.
        exporter.suspend();
        self.exporters.forget(exporter);
        live.removed.retain(|(gone, _)| !Arc::ptr_eq(gone, exporter));
    }

    /// Turns readiness off; from now on no configuration is applied.
    pub fn begin_stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
        self.ready.send_replace(false);
    }

    /// Stops accepting telemetry, and answers requests in progress for at most `patience`. The health and admin listeners go on.
    pub async fn stop_receiving(&self, patience: Duration) {
        self.intake.closing.send_replace(Some(Instant::now() + patience.mul_f64(WAITING)));
        self.live.lock().await.listeners.stop_receivers(patience).await;
    }
}

impl ReloadState {
    /// Gives exporters their streams of the journal.
    fn claim(&mut self, exporters: &[Arc<Exporter>]) {
        for exporter in exporters {
            if let Some(found) = self.found.remove(exporter.name()) {
                exporter.recover(found);
            }
        }
    }

    /// The stream counters of routes with `max_streams`; a route keeps its counter across reloads as long as it keeps its name.
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

/// What a reload does with an exporter.
enum Planned {
    Same(Arc<Exporter>),
    Changed(Arc<Exporter>, Active),
    New(Arc<str>, Active),
}

/// Decides what becomes of each exporter. An exporter that comes back while it still has streams is the same one, even if it was given
/// up: so its streams keep their order, and no two exporters have one name.
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

/// The watches of a configuration. Watches whose settings are unchanged keep their counts.
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

/// Opens the dead-letter directory of a configuration. The same directory stays open: letters may be on their way into it.
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

async fn load(source: &ConfigSource, env: fn(&str) -> Option<String>) -> Result<Compiled, Arc<Problems>> {
    let source = source.clone();
    let loaded = spawn_blocking(move || config::load(&source, &env)).await;
    loaded.expect("loading a configuration doesn't panic").map_err(Arc::new)
}

async fn load_candidate(
    source: &ConfigSource,
    text: Bytes,
    env: fn(&str) -> Option<String>,
) -> Result<Compiled, Arc<Problems>> {
    let source = source.clone();
    let loaded = spawn_blocking(move || config::load_candidate(&source, &text, &env)).await;
    loaded.expect("loading a configuration doesn't panic").map_err(Arc::new)
}
