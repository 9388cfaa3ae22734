//! Bugs: a panic while one request is handled ends its connection alone and is counted, any other ends the process. The whole of
//! `sluice run` is run, in a process of its own whose log panics where a line is written.

use std::fmt::Debug;

use clap::Parser;
use sluice::cli;
use sluice::cli::logging::LoggingArgs;
use sluice::config::ConfigSource;
use sluice::otlp::Signal;
use sluice::panics::EXIT_CODE;
use tokio::net::TcpStream;
use tokio::process::Command;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::http2::Calls;
use crate::support::payload::logs;
use crate::support::wire::Wire;
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{SluiceProcess, grpc};

/// Set in a process that is a Sluice with bugs, to the beginnings of the log's lines that panic, one a line.
const LINES: &str = "SLUICE_TEST_PANICS_AT";

/// Panics where one of these lines is written to the log.
struct PanickingLog(Vec<String>);

impl<S: Subscriber> Layer<S> for PanickingLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if let Some(line) = self.0.iter().find(|line| message.0.starts_with(&**line)) {
            panic!("found by whoever says `{line}`");
        }
    }
}

/// What a line of the log says, without its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// `sluice run` with its log as it is by default.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    logging: LoggingArgs,
}

/// A Sluice with bugs, if this process is one; otherwise no test.
#[test]
fn of_a_sluice_with_bugs() {
    let Ok(lines) = std::env::var(LINES) else { return };
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false))
        .with(PanickingLog(lines.lines().map(ToOwned::to_owned).collect()))
        .init();
    let source = ConfigSource::File(std::env::var_os("SLUICE_CONFIG").expect("it is told").into());
    let Arguments { logging } = Arguments::parse_from(["sluice"]);
    cli::run::run(source, |name| std::env::var(name).ok(), &logging);
}

/// Starts a Sluice which panics where it logs what begins with one of these.
async fn start(config: &str, lines: &[&str]) -> SluiceProcess {
    let mut program = Command::new(std::env::current_exe().expect("tests are a program"));
    program.args(["--exact", "panics::of_a_sluice_with_bugs", "--nocapture"]).env(LINES, lines.join("\n"));
    SluiceProcess::start_by(program, config).await
}

/// A configuration with an exporter that reaches nobody.
fn config() -> String {
    yaml::up("http://127.0.0.1:1", &[QUICK])
}

/// Waits until it has ended as a bug ends it, which it says with this line.
async fn assert_ended_by(mut sluice: SluiceProcess, line: &str) {
    let status = sluice.ended().await;
    let log = sluice.logged("ending with exit code 70, because of a bug in Sluice").await;
    assert_eq!(status.code(), Some(EXIT_CODE), "{log}");
    assert!(log.contains("ERROR") && log.contains(&format!("found by whoever says `{line}`")), "{log}");
    assert!(log.contains("start it again") && log.contains("report this line"), "{log}");
}

#[tokio::test]
async fn a_panic_while_a_request_is_handled_ends_its_connection_alone_and_is_counted() {
    let (misdirected, refused) = ("request not taken", "request refused");
    let sluice = start(&config(), &[misdirected, refused]).await;
    let panicked = async |times: u32, line: &str| {
        sluice.wait_for_metric("sluice_panics_total", &[], times.into()).await;
        sluice
            .logged(&format!("a connection was closed by a bug in Sluice: found by whoever says `{line}`"))
            .await;
    };
    let export = logs(&[("a", &["1"])]);
    let length = format!("content-length: {}", export.len());
    let headers = ["content-type: application/x-protobuf", &*length];
    let mut other = Wire::open(sluice.otlp).await;
    other.request("POST /v1/logs", &headers, &export).await;
    assert_eq!(other.answer().await.status, 200);
    assert_eq!(sluice.metric("sluice_panics_total", &[]).await, 0.0);

    // HTTP/1.1
    let mut wire = Wire::open(sluice.otlp).await;
    wire.request("POST /nowhere", &headers, &export).await;
    wire.closed().await;
    panicked(1, misdirected).await;
    // gRPC, where other calls on the connection go on.
    let mut calls = Calls::over(TcpStream::connect(sluice.otlp).await.unwrap()).await;
    let mut call = calls.begin("/of.nobody/Export").await;
    call.send(grpc::framed(0, &export), true);
    call.ended().await;
    panicked(2, misdirected).await;
    assert_eq!(calls.call(grpc::export(Signal::Logs), grpc::framed(0, &export)).await, tonic::Code::Ok);
    // The admin listener, which doesn't go by the name `sluice`.
    let mut wire = Wire::open(sluice.admin).await;
    wire.request("GET /metrics", &[], "").await;
    wire.closed().await;
    panicked(3, refused).await;

    other.request("POST /v1/logs", &headers, &export).await;
    assert_eq!(other.answer().await.status, 200);
}

#[tokio::test]
async fn a_panic_in_the_task_of_a_stream_ends_the_process() {
    let line = "attempt failed and will be repeated";
    let sluice = start(&config(), &[line]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_ended_by(sluice, line).await;
}

#[tokio::test]
async fn a_panic_in_a_reload_ends_the_process() {
    let line = "SIGHUP: reloading";
    let sluice = start(&config(), &[line]).await;
    sluice.signal("HUP").await;
    assert_ended_by(sluice, line).await;
}

#[tokio::test]
async fn a_panic_in_a_reload_by_the_api_ends_the_process() {
    let line = "configuration reloaded";
    let sluice = start(&config(), &[line]).await;
    // It is gone before it answers.
    _ = crate::support::http::try_send(sluice.admin, "POST", "/api/v1/reload", &[], "".into()).await;
    assert_ended_by(sluice, line).await;
}

#[tokio::test]
async fn a_panic_in_the_sweep_ends_the_process() {
    let line = "can't count the dead letters";
    let sluice = start(&(config() + LETTERS), &[line]).await;
    let letters = sluice.directory().join("letters");
    std::fs::remove_dir_all(&letters).unwrap();
    std::fs::write(letters, "no directory").unwrap();
    assert_ended_by(sluice, line).await;
}
