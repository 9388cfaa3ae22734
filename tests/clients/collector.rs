//! A Collector in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use sluice::otlp::Signal;
use tokio::process::{Child, Command};

use crate::setup;
use crate::support::process::log_of;
use crate::support::{PATIENCE, eventually, http};

/// What the configurations in `config` and in the documents take from the environment.
const TOKENS: [(&str, &str); 3] = [
    ("S2_ACCESS_TOKEN", "s2-token"),
    ("BETTER_STACK_TOKEN", "source-token"),
    ("SLUICE_TOKEN", "of-the-collector"),
];

/// A running Collector with an `otlp` receiver. It is killed when it is dropped.
pub(crate) struct Collector {
    /// Where it listens: for HTTP, for gRPC, and wherever else its file says.
    addresses: Vec<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
    child: Child,
    _directory: tempfile::TempDir,
}

/// An address at which nobody listens now. It is one of 127.0.0.1, since certificates name `localhost`.
async fn free_address() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    listener.local_addr().expect("it is bound")
}

impl Collector {
    /// Starts one that hands everything to these exporters: the section `exporters`, and the names of those in it that
    /// are used.
    pub(crate) async fn start(exporters: &str, names: &str) -> Self {
        Self::start_with("", exporters, names).await
    }

    /// The same with options of the receiver, for both of its protocols.
    pub(crate) async fn start_with(receiver: &str, exporters: &str, names: &str) -> Self {
        Self::start_all(receiver, "", [""; 3], exporters, names).await
    }

    /// The same with the section `processors`, and the names of those in it that traces, metrics and logs pass through.
    pub(crate) async fn start_processing(
        processors: &str,
        of_signals: [&str; 3],
        exporters: &str,
        names: &str,
    ) -> Self {
        Self::start_all("", processors, of_signals, exporters, names).await
    }

    async fn start_all(
        receiver: &str,
        processors: &str,
        of_signals: [&str; 3],
        exporters: &str,
        names: &str,
    ) -> Self {
        let [traces, metrics, logs] = of_signals;
        let config = |addresses: &[SocketAddr]| {
            let (http, grpc) = (addresses[0], addresses[1]);
            format!(
                "receivers:
  otlp:
    protocols:
      http: {{ endpoint: {http}, {receiver} }}
      grpc: {{ endpoint: {grpc}, {receiver} }}
{exporters}
{processors}
service:
  telemetry:
    metrics: {{ level: none }}
  pipelines:
    traces: {{ receivers: [otlp], processors: [{traces}], exporters: [{names}] }}
    metrics: {{ receivers: [otlp], processors: [{metrics}], exporters: [{names}] }}
    logs: {{ receivers: [otlp], processors: [{logs}], exporters: [{names}] }}
"
            )
        };
        Self::start_listening(2, config).await
    }

    /// Starts one with the whole file that `config` makes of so many addresses that are free, and at which it has to listen.
    pub(crate) async fn start_listening(count: usize, config: impl Fn(&[SocketAddr]) -> String) -> Self {
        loop {
            // It doesn't say which port it was given, so it is told ports that were free a moment ago.
            let mut addresses = Vec::new();
            for _ in 0..count {
                addresses.push(free_address().await);
            }
            let mut collector = Self::spawn(&config(&addresses), addresses);
            let started = eventually("the Collector starts", async || {
                let ended = collector.child.try_wait().expect("it can be waited for").is_some();
                let ready = collector.find("Everything is ready").is_some();
                (ready || ended).then_some(ready)
            });
            if started.await {
                return collector;
            }
            let taken = collector.logged("address already in use").await;
            eprintln!("once more: {taken}");
        }
    }

    fn spawn(config: &str, addresses: Vec<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let file = directory.path().join("collector.yaml");
        std::fs::write(&file, config).expect("the temporary directory can be written");
        let mut child = command()
            .arg("--config")
            .arg(&file)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the Collector was built");
        let log = log_of(&mut child);
        Self { addresses, log, child, _directory: directory }
    }

    /// Where it listens, as it was told.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The endpoint of OTLP/HTTP.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// The endpoint of OTLP/gRPC.
    pub(crate) fn grpc(&self) -> String {
        format!("http://{}", self.addresses[1])
    }

    /// Posts a request in protobuf, which has to be taken.
    pub(crate) async fn post(&self, signal: Signal, body: Vec<u8>) {
        let headers = [("content-type", "application/x-protobuf")];
        let answer = http::send(self.addresses[0], "POST", signal.path(), &headers, body.into()).await;
        // Partial success of which nothing is said.
        assert_eq!((answer.status, &*answer.body), (200, &b"\x0a\x00"[..]), "{signal}: {}", answer.text());
    }

    /// Posts a request in JSON, which has to be taken.
    pub(crate) async fn post_json(&self, signal: Signal, body: &str) {
        let headers = [("content-type", "application/json")];
        let answer =
            http::send(self.addresses[0], "POST", signal.path(), &headers, body.to_owned().into()).await;
        assert_eq!((answer.status, &*answer.text()), (200, r#"{"partialSuccess":{}}"#), "{signal}");
    }

    fn find(&self, text: &str) -> Option<String> {
        self.log.lock().iter().find(|line| line.contains(text)).cloned()
    }

    /// Waits until it has logged a line with this text, and returns the line.
    pub(crate) async fn logged(&self, text: &str) -> String {
        eventually(&format!("the Collector logs {text}"), async || self.find(text)).await
    }

    /// Ends it as an operator would, and waits until it has.
    pub(crate) async fn end(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &pid]).status().await;
        assert!(asked.expect("`kill` is there").success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time");
        assert!(ended.expect("it can be waited for").success(), "{:?}", self.log.lock());
    }

    /// Panics if it has warned of anything, but that the documented names of its exporters have newer ones.
    pub(crate) fn assert_content(&self) {
        let complaint = |line: &&String| {
            (line.contains("\twarn\t") || line.contains("\terror\t")) && !line.contains("alias is deprecated")
        };
        let log = self.log.lock();
        let complaints: Vec<_> = log.iter().filter(complaint).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// Asks the Collector whether a configuration is right; returns what it objects to.
pub(crate) async fn objections(config: &Path) -> Option<String> {
    let output = command().arg("validate").arg("--config").arg(config).output().await;
    let output = output.expect("the Collector was built");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn command() -> Command {
    let mut command = Command::new(setup::collector());
    command.env_clear().envs(TOKENS);
    command
}
