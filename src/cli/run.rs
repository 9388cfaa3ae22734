//! `sluice run`: starts, logs the listeners' addresses, prints commands to try, and runs until a signal stops it.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::greeting::to_try;
use super::logging::LoggingArgs;
use super::standard_error::{is_terminal, progress_interval, say_line};
use crate::admin::{Admin, MetricHistory, read_metrics};
use crate::config::ConfigSource;
use crate::descriptors::{self, Descriptors, TooFew};
use crate::export::Exporter;
use crate::first_commands::{FirstCommands, ReceiverAt};
use crate::panics;
use crate::receive::Otlp;
use crate::run::{self, ReloadError, Role, Router, Serve};

/// The exit code for a service manager if the configuration can't be used (`EX_CONFIG` of sysexits.h): starting the process again would
/// fail again.
const UNUSABLE_CONFIGURATION: u8 = 78;

/// Runs until SIGTERM or SIGINT. Exit code 0 if everything was delivered, else 1.
pub fn run(source: ConfigSource, env: fn(&str) -> Option<String>, logging: &LoggingArgs) -> ExitCode {
    logging.start();
    panics::end_the_process();
    let descriptors = match divide_open_files() {
        Ok(descriptors) => descriptors,
        Err(error) => {
            error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = super::runtime(Some(descriptors.blocking_threads()));
    let code = runtime.block_on(async {
        // Caught before anybody can see that the process runs: until then a signal would end it without a shutdown.
        let signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                error!("can't wait for signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        match Router::start(source, env, serve()).await {
            Ok(router) => live(router, signals, logging.for_people()).await,
            Err(error) => {
                if logging.for_people() {
                    // Problems are a page of text with snippets; a log line would garble them.
                    say_line(&error);
                } else {
                    error!("{error}");
                }
                match error {
                    ReloadError::Problems(_) if run::has_service_manager() => {
                        ExitCode::from(UNUSABLE_CONFIGURATION)
                    }
                    _ => ExitCode::FAILURE,
                }
            }
        }
    });
    // Threads that wait for a disk or a name server that doesn't answer must not keep the process from ending.
    runtime.shutdown_background();
    code
}

/// The signals that Sluice handles.
struct Signals {
    stop: StopSignals,
    hangups: Signal,
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let stop = StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        Ok(Self { stop, hangups: signal(SignalKind::hangup())? })
    }
}

impl StopSignals {
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM"),
            _ = self.interrupt.recv() => info!("SIGINT"),
        }
    }
}

/// The handlers of the listeners, by role; tests start a [`Router`] with them, too.
pub fn serve() -> Serve {
    // One history for all admin listeners that reloads add and remove.
    let history = OnceLock::new();
    Box::new(move |router, role, bound| match role {
        Role::Otlp | Role::OtlpGrpc => {
            let budget = router.shared().budget.clone();
            Otlp { intake: router.intake().clone(), budget, ready: router.ready() }.serve(bound)
        }
        Role::Admin | Role::Health => {
            let history = history.get_or_init(|| MetricHistory::begin(router));
            bound.serve(Admin::new(router.clone(), role, history.clone()))
        }
    })
}

async fn live(router: Arc<Router>, signals: Signals, for_people: bool) -> ExitCode {
    let Signals { mut stop, hangups } = signals;
    greet(&router, for_people).await;
    run::tell_ready(&router.report());
    tokio::spawn(run::answer_watchdog());
    let reloading = tokio::spawn(run::reload_when_asked(router.clone(), hangups));
    let tenants = tokio::spawn(run::watch_tenants(router.clone()));
    let progress = tokio::spawn(run::show_progress(router.clone(), progress_interval()));
    let sweeping = tokio::spawn(run::sweep(router.clone()));
    let watches = tokio::spawn(run::judge_watches(router.clone()));
    let left_out = tokio::spawn(super::logging::report_left_out());
    let telemetry = OwnTelemetryTask::start(&router);
    stop.told().await;
    reloading.abort();
    let left = tokio::select! {
        left = run::shut_down(&router) => Some(left),
        () = stop.told() => None,
    };
    let Some(left) = left else {
        error!("told to stop again: not waiting for deliveries any more");
        tokio::select! {
            () = give_up(&router, for_people) => {}
            () = stop.told() => error!("told to stop a third time: what is left is not kept"),
        }
        return ExitCode::FAILURE;
    };
    tenants.abort();
    progress.abort();
    sweeping.abort();
    watches.abort();
    left_out.abort();
    tokio::select! {
        () = telemetry.end() => {}
        () = stop.told() => warn!("told to stop again: not waiting for own telemetry any more"),
    }
    // The log has what is left in any case.
    for leftover in left.exporters.iter().filter(|_| for_people) {
        say_line(format_args!("sluice: {leftover}"));
    }
    if let Some(unkept) = left.journal.as_ref().filter(|_| for_people) {
        say_line(format_args!("sluice: {unkept}"));
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The task that sends own telemetry.
struct OwnTelemetryTask {
    ending: CancellationToken,
    task: JoinHandle<()>,
}

impl OwnTelemetryTask {
    fn start(router: &Arc<Router>) -> Self {
        let ending = CancellationToken::new();
        let task = tokio::spawn(run::send_telemetry(router.clone(), read_metrics, ending.clone()));
        Self { ending, task }
    }

    /// Sends what is left, for a moment at most.
    async fn end(self) {
        self.ending.cancel();
        self.task.await.expect("nobody aborts it, and its panic would have ended the process");
    }
}

/// Ends the process after a second signal: queued data becomes dead letters as far as that takes no more than a second, and the number of
/// records that each exporter gives up is logged.
async fn give_up(router: &Arc<Router>, for_people: bool) {
    let Some(journal) = &router.intake().journal else {
        for leftover in run::give_up(router).await.into_iter().filter(|_| for_people) {
            say_line(format_args!("sluice: {leftover}"));
        }
        return;
    };
    let fate = if journal.is_failing() {
        "lost, unless the journal, which is failing, has them"
    } else {
        "left in the journal"
    };
    let exporters = router.exporters();
    let pending = |exporter: &Arc<Exporter>| exporter.registry().pending_records();
    for exporter in exporters.iter().filter(|exporter| pending(exporter) > 0) {
        error!(exporter = %exporter.name(), records = pending(exporter), "records not delivered are {fate}");
    }
}

/// Logs the addresses of the listeners, and prints commands to try.
async fn greet(router: &Router, for_people: bool) {
    let report = router.report();
    info!(source = report.source, version = report.version, "sluice {} started", env!("CARGO_PKG_VERSION"));
    let otlp = router.urls(Role::Otlp).await;
    let admin = router.urls(Role::Admin).await;
    for url in &otlp {
        info!("OTLP/HTTP on {url}");
    }
    for address in router.addresses(Role::OtlpGrpc).await {
        info!("OTLP/gRPC on {address}");
    }
    for url in &admin {
        info!("admin on {url}");
    }
    for url in router.urls(Role::Health).await {
        info!("health on {url}");
    }
    // Not into a file or the log of a service manager, where nobody would try the commands.
    let receivers = router.receivers(Role::Otlp).await;
    let Some((url, settings)) = receivers.first().filter(|_| for_people && is_terminal()) else { return };
    // By the path that was called: under `cargo run`, no `sluice` is on the PATH.
    let program = std::env::args().next().unwrap_or_else(|| "sluice".to_owned());
    let receiver = ReceiverAt { url, settings };
    let commands =
        FirstCommands::of(&router.intake().snapshot.load(), &router.tenants().table(), &receiver, &program);
    // An admin listener that is not on loopback may ask for a token, which is not printed.
    let addresses = router.addresses(Role::Admin).await;
    let is_open = addresses.first().is_some_and(|address| address.ip().to_canonical().is_loopback());
    let admin = admin.first().map(String::as_str).filter(|_| is_open);
    say_line(format_args!("\n{}", to_try(&commands, admin)));
}

/// Raises the soft limit of open files as far as the hard limit allows, and divides the descriptors among their uses: a gateway has a
/// socket for each sender and each upstream request, so that the usual 1024 are soon used up.
fn divide_open_files() -> Result<&'static Descriptors, TooFew> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|error| {
        warn!("the limit of open files can't be raised: {error}");
        rlimit::Resource::NOFILE.get_soft()
    });
    match limit {
        Ok(limit) => descriptors::divide(usize::try_from(limit).unwrap_or(usize::MAX)),
        Err(error) => {
            warn!("the limit of open files is not known: {error}");
            Ok(descriptors::descriptors())
        }
    }
}
