//! `sluice run`: starts, says where it listens and what to try, and runs until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::logging::LoggingArgs;
use crate::admin::Admin;
use crate::config::Source;
use crate::receive::OtlpHttp;
use crate::run::{self, Role, Router, Serve};

/// An `ExportLogsServiceRequest` with one log record "hello from curl" and `service.name` = `curl`, in Base64.
const HELLO: &str = "CjoKGAoWCgxzZXJ2aWNlLm5hbWUSBgoEY3VybBIeEhwQCRoESU5GTyoSChBoZWxsbyBmcm9tIGN1cmwh";

/// What to run.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The configuration; without it `SLUICE_CONFIG`, `./config/sluice.yaml`, or the built-in default
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl RunArgs {
    /// `sluice --config FILE run` is the same as `sluice run --config FILE`.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self { config: self.config.or(before.config) }
    }
}

/// Runs until SIGTERM or SIGINT. Exit code 0 if everything was delivered, else 1.
pub fn run(args: &RunArgs, logging: &LoggingArgs) -> ExitCode {
    logging.start();
    raise_open_files();
    let env: fn(&str) -> Option<String> = |name| std::env::var(name).ok();
    let source = Source::choose(args.config.clone(), &env);
    super::runtime().block_on(async {
        match Router::start(source, env, serve()).await {
            Ok(router) => live(router).await,
            Err(error) => {
                // Problems are a page of text with snippets; a log line would garble them.
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Which handler answers on which listener; what a [`Router`] in another process, such as a test, starts with, too.
pub fn serve() -> Serve {
    Box::new(|router, role, bound| match role {
        Role::Otlp => {
            let budget = router.shared().budget.clone();
            bound.serve(Arc::new(OtlpHttp { intake: router.intake().clone(), budget }))
        }
        Role::Admin | Role::Health => bound.serve(Arc::new(Admin { router: router.clone(), role })),
    })
}

async fn live(router: Arc<Router>) -> ExitCode {
    greet(&router).await;
    let reloading = tokio::spawn(run::reload_when_asked(router.clone()));
    let progress = tokio::spawn(run::show_progress(router.clone()));
    let sweeping = tokio::spawn(run::sweep(router.clone()));
    if let Err(error) = told_to_stop().await {
        error!("can't wait for signals: {error}");
    }
    reloading.abort();
    let impatient = tokio::spawn(told_to_stop());
    let left = tokio::select! {
        left = run::shut_down(&router) => left,
        _ = impatient => {
            error!("told to stop again: not waiting for deliveries any more");
            return ExitCode::FAILURE;
        }
    };
    progress.abort();
    sweeping.abort();
    for leftover in &left {
        eprintln!(
            "sluice: `{}` could not deliver {} records in time; {} of them are in the dead-letter directory",
            leftover.exporter, leftover.records, leftover.dead_lettered
        );
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn told_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM"),
        _ = interrupt.recv() => info!("SIGINT"),
    }
    Ok(())
}

/// Where it listens, and two things to try.
async fn greet(router: &Router) {
    let report = router.report();
    info!(source = report.source, version = report.version, "sluice {} started", env!("CARGO_PKG_VERSION"));
    let otlp = router.addresses(Role::Otlp).await;
    let admin = router.addresses(Role::Admin).await;
    for address in &otlp {
        info!("OTLP/HTTP on http://{address}");
    }
    for address in &admin {
        info!("admin on http://{address}");
    }
    for address in router.addresses(Role::Health).await {
        info!("health on http://{address}");
    }
    let Some(first) = otlp.first() else { return };
    // As it was called: under `cargo run`, no `sluice` is on the PATH.
    let program = std::env::args().next().unwrap_or_else(|| "sluice".to_owned());
    eprintln!(
        "\nTry:\n  echo {HELLO} | base64 -d | curl -sS -H 'Content-Type: application/x-protobuf' --data-binary @- http://{first}/v1/logs\n  {program} send --endpoint http://{first} --signal logs --streams 10 --duration 5s"
    );
    if let Some(admin) = admin.first() {
        eprintln!("  curl -s http://{admin}/api/v1/streams\n");
    }
}

/// A gateway holds a socket per sender and per upstream request; the usual soft limit of 1024 is soon met.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < 4096 => {
            warn!(limit, "few open files are allowed: raise `ulimit -n`, or senders may be kept waiting");
        }
        Ok(_) => {}
        Err(error) => warn!("the limit of open files can't be raised: {error}"),
    }
}
