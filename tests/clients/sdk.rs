//! An SDK as a sender: what it sends through Sluice has to arrive as what it sends directly.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use rig::sink::Fault;
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::expected::{self, Dialect};
use crate::setup;
use crate::support::sinks::{self, Received as _};
use crate::support::telemetry::Telemetry;
use crate::support::{PATIENCE, SluiceProcess, eventually, payload, sdks, yaml};

/// Longer than any sender takes, on a machine that builds something else meanwhile.
const DEADLINE: Duration = Duration::from_secs(120);

/// A queue that has room for one request, and retries that a test can wait for.
const NARROW: &[&str] = &[
    "sending_queue: { queue_size: 1, sizer: bytes, batch: { min_size: 1, flush_timeout: 0s } }",
    "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms }",
];

/// A receiver that speaks HTTP and gRPC.
pub(crate) const BOTH_PORTS: &str = "receivers:
  otlp:
    protocols:
      http: { endpoint: 127.0.0.1:0 }
      grpc: { endpoint: 127.0.0.1:0 }
";

/// One of OpenTelemetry's SDKs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sdk {
    Python,
    Go,
    Node,
    Java,
}

impl Sdk {
    /// What it can't say, of what the senders are to say.
    fn dialect(self) -> Dialect {
        match self {
            Self::Python | Self::Go => Dialect { scope_attributes: true, exemplars: true },
            Self::Java => Dialect { scope_attributes: false, exemplars: true },
            Self::Node => Dialect { scope_attributes: false, exemplars: false },
        }
    }

    /// The sender of everything.
    fn sender(self) -> Command {
        match self {
            Self::Python => sdks::python("send.py"),
            Self::Go => sdks::cleared(Command::new(setup::go())),
            Self::Node => sdks::node("send.js"),
            Self::Java => java("Send.java"),
        }
    }

    /// A program as vendors' pages have it, which is told by its environment where to send, and as what.
    fn guide(self) -> Command {
        match self {
            Self::Python => sdks::python("guide.py"),
            Self::Go => {
                let mut command = sdks::cleared(Command::new(setup::go()));
                command.arg("guide");
                command
            }
            Self::Node => sdks::node("guide.js"),
            Self::Java => java("Guide.java"),
        }
    }

    /// Sends everything to `endpoint`.
    pub(crate) async fn send(self, protocol: &str, endpoint: &str, compression: &str) {
        self.send_with(protocol, endpoint, compression, &[]).await;
    }

    /// The same, with variables of the environment that SDKs know.
    pub(crate) async fn send_with(
        self,
        protocol: &str,
        endpoint: &str,
        compression: &str,
        variables: &[(&str, OsString)],
    ) {
        let mut command = self.sender();
        command.envs(variables.iter().cloned()).args([protocol, endpoint, compression]);
        self.run(command, &format!("{protocol}, {compression}")).await;
    }

    /// Sends a span named `checkout`, a point of the counter `orders` and a log record `paid`, with these variables alone.
    pub(crate) async fn follow_guide(self, protocol: &str, variables: &[(&str, &str)]) {
        let mut command = self.guide();
        // The others take it from their argument, since their packages are of one protocol each.
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        command.envs(variables.iter().copied()).arg(protocol);
        self.run(command, protocol).await;
    }

    async fn run(self, mut command: Command, how: &str) {
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .expect("the sender ends in time")
            .unwrap_or_else(|error| panic!("{self:?} can't be started: {error}"));
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}, {how}: {}\n{printed}", output.status);
    }

    /// What it sends, as it arrives without Sluice, in OTLP/HTTP with protobuf.
    pub(crate) async fn sends(self) -> Telemetry {
        let up = sinks::recording().await;
        self.send("http/protobuf", &up.url(), "none").await;
        let sent = Telemetry::of(&up.taken());
        let told = expected::telemetry(self.dialect()).canonical();
        sent.clone().canonical().assert_is(&told, &format!("{self:?} without Sluice"));
        let entries = |request: usize| crate::support::payload::entries(&up.taken()[request].body).len();
        assert_eq!((entries(0), entries(1)), (2, 2), "spans, then logs, of two resources in one request");
        sent
    }

    /// Sends everything through Sluice's HTTP port and compares what arrives.
    pub(crate) async fn arrives_as_it_was_sent(self, protocol: &str, compression: &str) {
        self.arrives(protocol, compression, async |sluice| sluice.url()).await;
    }

    /// The same through the port of gRPC.
    pub(crate) async fn arrives_over_grpc(self, compression: &str) {
        self.arrives("grpc", compression, grpc_url).await;
    }

    async fn arrives(
        self,
        protocol: &str,
        compression: &str,
        endpoint: impl AsyncFn(&SluiceProcess) -> String,
    ) {
        let sent = self.sends().await;
        let up = sinks::recording().await;
        let sluice = SluiceProcess::start(&(BOTH_PORTS.to_owned() + &yaml::up(&up.url(), &[])), &[]).await;
        self.send(protocol, &endpoint(&sluice).await, compression).await;
        up.wait_for_records(sent.records(), PATIENCE).await.expect("everything arrives");
        sluice.settled().await;
        let arrived = up.taken();
        Telemetry::of(&arrived).assert_is(&sent, &format!("{self:?}, {protocol}, {compression}"));
        for request in &arrived {
            let streams = Telemetry::of(std::slice::from_ref(request)).streams();
            assert_eq!(streams.len(), 1, "a request to the upstream is of one stream: {streams:?}");
        }
        let metrics = sluice.metrics().await;
        let of = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]) as u64;
        assert_eq!((of("accepted"), of("refused"), of("rejected")), (sent.records(), 0, 0));
    }

    /// Refuses a request of two resources because the stream of one of them is full, until the SDK has been told; it
    /// has to try again, and everything has to arrive once.
    pub(crate) async fn tries_again(self, protocol: &str) {
        let sent = self.sends().await;
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503));
        let sluice = SluiceProcess::start(&yaml::up(&up.url(), NARROW), &[]).await;
        sluice.accept(Signal::Logs, payload::logs(&[("tenants/alpha", &["fills the stream"])])).await;
        let upstream_recovers = async {
            eventually("the logs are refused", async || {
                let labels = [("signal", "logs"), ("outcome", "refused")];
                (sluice.metric("sluice_received_records_total", &labels).await > 0.0).then_some(())
            })
            .await;
            up.clear_faults();
        };
        let url = sluice.url();
        tokio::join!(self.send(protocol, &url, "none"), upstream_recovers);
        up.wait_for_records(sent.records() + 1, PATIENCE).await.expect("everything arrives");
        sluice.settled().await;
        let mut arrived = Telemetry::of(&up.taken());
        arrived.logs.get_mut("tenants/alpha").expect("the stream has arrived").remove(0);
        arrived.assert_is(&sent, &format!("{self:?}, after a refusal"));
    }
}

/// Where Sluice takes gRPC.
pub(crate) async fn grpc_url(sluice: &SluiceProcess) -> String {
    let line = sluice.logged("OTLP/gRPC on ").await;
    let (_, address) = line.split_once("OTLP/gRPC on ").expect("the line has it");
    format!("http://{}", address.trim())
}

fn java(source: &str) -> Command {
    let jars = format!("{}/*", setup::java().display());
    let arguments = ["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", &jars, source];
    sdks::cleared(sdks::program("java".as_ref(), &arguments, "java"))
}
