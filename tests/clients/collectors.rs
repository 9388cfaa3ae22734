//! A Collector before Sluice, behind it, and on both sides: the SDK for Go sends, and what arrives at the end of the
//! chain is what was sent.

use rig::sink::Sink;
use sluice::otlp::Signal;

use crate::collector::{self, Collector};
use crate::sdk::{BOTH_PORTS, Sdk, grpc_url};
use crate::support::sinks::{self, Received as _};
use crate::support::telemetry::Telemetry;
use crate::support::yaml::{by_stream, exporters};
use crate::support::{PATIENCE, SluiceProcess, http, yaml};

/// The Collector writes messages anew, so that only their meaning is compared.
pub(crate) async fn assert_arrived(up: &Sink, sent: &Telemetry, how: &str) {
    up.wait_for_records(sent.records(), PATIENCE).await.expect("everything arrives");
    Telemetry::of(&up.taken()).canonical().assert_is(&sent.clone().canonical(), how);
}

/// Waits for each answer before it answers itself, and hands on what it was given as it is.
const AT_ONCE: &str = "sending_queue: { enabled: false }, retry_on_failure: { enabled: false }";

/// The Collector's exporters towards an endpoint.
pub(crate) fn otlp_http(endpoint: &str, options: &str) -> String {
    format!("exporters:\n  otlp_http: {{ endpoint: '{endpoint}', {options}, {AT_ONCE} }}")
}

/// The same over gRPC.
pub(crate) fn otlp_grpc(endpoint: &str, options: &str) -> String {
    format!("exporters:\n  otlp_grpc: {{ endpoint: '{endpoint}', {options}, {AT_ONCE} }}")
}

async fn passes_before_sluice(exporter: &str, options: &str) {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&(BOTH_PORTS.to_owned() + &yaml::up(&up.url(), &[])), &[]).await;
    let exporters = match exporter {
        "otlp_grpc" => otlp_grpc(&grpc_url(&sluice).await, &format!("tls: {{ insecure: true }}, {options}")),
        _ => otlp_http(&sluice.url(), options),
    };
    let collector = Collector::start(&exporters, exporter).await;
    Sdk::Go.send("http/protobuf", &collector.http(), "gzip").await;
    assert_arrived(&up, &sent, options).await;
    sluice.settled().await;
    collector.assert_content();
}

async fn passes_behind_sluice(exporter: &str, options: &str) {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let collector = Collector::start(&otlp_http(&up.url(), "compression: none"), "otlp_http").await;
    let endpoint = if exporter.starts_with("otlp_grpc") { collector.grpc() } else { collector.http() };
    let options = format!("endpoint: '{endpoint}', {options}");
    let config = exporters(&[(exporter, options.clone())]) + &by_stream(exporter);
    let sluice = SluiceProcess::start(&config, &[]).await;
    Sdk::Go.send("http/protobuf", &sluice.url(), "none").await;
    assert_arrived(&up, &sent, &options).await;
    sluice.settled().await;
    collector.assert_content();
}

/// What a Collector compresses with over HTTP, and takes.
const HTTP_COMPRESSIONS: [&str; 8] =
    ["none", "gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"];

/// The same over gRPC.
const GRPC_COMPRESSIONS: [&str; 4] = ["none", "gzip", "zstd", "snappy"];

#[tokio::test]
async fn it_sends_to_sluice_over_http_in_protobuf() {
    for compression in HTTP_COMPRESSIONS {
        passes_before_sluice("otlp_http", &format!("compression: {compression}")).await;
    }
}

#[tokio::test]
async fn it_sends_to_sluice_over_http_in_json() {
    for compression in ["none", "gzip", "zstd"] {
        passes_before_sluice("otlp_http", &format!("encoding: json, compression: {compression}")).await;
    }
}

#[tokio::test]
async fn it_sends_to_sluice_over_grpc() {
    for compression in GRPC_COMPRESSIONS {
        passes_before_sluice("otlp_grpc", &format!("compression: {compression}")).await;
    }
}

#[tokio::test]
async fn it_takes_from_sluice_over_grpc() {
    for compression in GRPC_COMPRESSIONS {
        let options = format!("tls: {{ insecure: true }}, compression: {compression}");
        passes_behind_sluice("otlp_grpc/up", &options).await;
    }
}

#[tokio::test]
async fn it_takes_from_sluice_over_http_in_protobuf() {
    for compression in HTTP_COMPRESSIONS {
        passes_behind_sluice("otlp_http/up", &format!("compression: {compression}")).await;
    }
}

#[tokio::test]
async fn it_takes_from_sluice_over_http_in_json() {
    for compression in ["none", "gzip"] {
        passes_behind_sluice("otlp_http/up", &format!("encoding: json, compression: {compression}")).await;
    }
}

#[tokio::test]
async fn it_stands_on_both_sides_of_sluice() {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let behind = Collector::start(&otlp_http(&up.url(), "compression: none"), "otlp_http").await;
    let sluice = SluiceProcess::start(&yaml::up(&behind.http(), &[]), &[]).await;
    let before = Collector::start(&otlp_http(&sluice.url(), "compression: zstd"), "otlp_http").await;
    Sdk::Go.send("grpc", &before.grpc(), "gzip").await;
    assert_arrived(&up, &sent, "a Collector on both sides").await;
    sluice.settled().await;
    before.assert_content();
    behind.assert_content();
}

/// What S2 documents for an encoding, with only the host changed.
fn s2(url: &str, encoding: &str) -> String {
    let content_type = if encoding == "json" { "application/json" } else { "application/x-protobuf" };
    format!(
        "exporters:
  otlphttp:
    endpoint: {url}/otlp
    encoding: {encoding}
    headers:
      Content-Type: {content_type}
      Authorization: Bearer s2-token
    sending_queue:
      num_consumers: 1
      batch:
        flush_timeout: 50ms
        min_size: 262144 # 256KiB
        max_size: 524288 # 512KiB
        sizer: bytes
"
    )
}

/// What Better Stack documents, with only the host changed.
fn better_stack(url: &str) -> String {
    format!(
        "exporters:
  otlphttp/betterstack:
    endpoint: \"{url}\"
    headers:
      Authorization: \"Bearer source-token\"
"
    )
}

/// The same block in the Collector, towards Sluice, and in Sluice, towards an upstream.
async fn means_the_same_here_and_there(
    block: impl Fn(&str) -> String,
    name: &str,
    prefix: &str,
    token: &str,
) {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let behind = SluiceProcess::start(&(block(&up.url()) + &by_stream(name)), &[]).await;
    let collector = Collector::start(&block(&behind.url()), name).await;
    Sdk::Go.send("http/protobuf", &collector.http(), "none").await;
    assert_arrived(&up, &sent, name).await;
    collector.assert_content();
    behind.settled().await;
    for request in up.taken() {
        assert!(request.path.starts_with(prefix), "{}", request.path);
        assert_eq!(request.headers["authorization"], token);
        assert_eq!(request.headers.get_all("content-type").iter().count(), 1, "{:?}", request.headers);
    }
}

#[tokio::test]
async fn the_block_that_s2_documents_works_in_it_and_in_sluice() {
    means_the_same_here_and_there(|url| s2(url, "proto"), "otlphttp", "/otlp/v1/", "Bearer s2-token").await;
}

#[tokio::test]
async fn the_block_that_s2_documents_works_in_json_too() {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let s2_itself = Collector::start(&otlp_http(&up.url(), "compression: none"), "otlp_http").await;
    // The Collector's receiver knows no prefix.
    let block = s2(&s2_itself.http(), "json").replace("/otlp\n", "\n");
    let sluice = SluiceProcess::start(&(block + &by_stream("otlphttp")), &[]).await;
    let before = Collector::start(&s2(&sluice.url(), "json"), "otlphttp").await;
    Sdk::Go.send("http/protobuf", &before.http(), "none").await;
    assert_arrived(&up, &sent, "JSON").await;
    before.assert_content();
    s2_itself.assert_content();
}

#[tokio::test]
async fn the_block_that_better_stack_documents_works_in_it_and_in_sluice() {
    let name = "otlphttp/betterstack";
    means_the_same_here_and_there(better_stack, name, "/v1/", "Bearer source-token").await;
}

#[tokio::test]
async fn it_reads_the_lines_of_sluices_file_exporter() {
    let sent = Sdk::Go.sends().await;
    let file = "file/local: { path: '@DIR@/data' }";
    let config = format!("exporters:\n  {file}\n") + &by_stream("file/local");
    let sluice = SluiceProcess::start(&config, &[]).await;
    Sdk::Go.send("http/protobuf", &sluice.url(), "none").await;
    sluice.settled().await;

    let up = sinks::recording().await;
    let collector = Collector::start(&otlp_http(&up.url(), "compression: none"), "otlp_http").await;
    for (signal, key) in sent.streams() {
        let file = sluice.directory().join(format!("data/{}/{signal}.jsonl", key.replace('/', "%2F")));
        let lines =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for line in lines.lines() {
            collector.post_json(signal, line).await;
        }
    }
    assert_arrived(&up, &sent, "lines of JSON").await;
}

#[tokio::test]
async fn its_file_exporter_writes_lines_that_sluice_reads() {
    let sent = Sdk::Go.sends().await;
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines.jsonl");
    let collector =
        Collector::start(&format!("exporters: {{ file: {{ path: '{}' }} }}", file.display()), "file").await;
    Sdk::Go.send("http/protobuf", &collector.http(), "none").await;
    collector.end().await;
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let of = |signal: &Signal| line.contains(&format!("\"resource{}\"", entry_name(*signal)));
        let signal = Signal::ALL.into_iter().find(of).expect("a line is a request");
        let json = [("content-type", "application/json")];
        let answer = http::send(sluice.otlp, "POST", signal.path(), &json, line.to_owned().into()).await;
        assert_eq!((answer.status, &*answer.text()), (200, "{}"), "{line}");
    }
    assert_arrived(&up, &sent, "the file exporter's lines").await;
    sluice.settled().await;
}

/// `resourceSpans` without `resource`.
fn entry_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "Spans",
        Signal::Metrics => "Metrics",
        Signal::Logs => "Logs",
    }
}

#[tokio::test]
async fn it_understands_that_a_part_was_refused() {
    let up = sinks::recording().await;
    let config = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))])
        + "routes:\n  - { match: { s2.stream: tenants/alpha }, exporters: [otlp_http/up] }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    let collector = Collector::start(&otlp_http(&sluice.url(), "compression: none"), "otlp_http").await;
    Sdk::Go.send("http/protobuf", &collector.http(), "none").await;
    for (signal, refused) in [
        (Signal::Traces, "\"dropped_spans\": 1"),
        (Signal::Metrics, "\"dropped_data_points\": 1"),
        (Signal::Logs, "\"dropped_log_records\": 1"),
    ] {
        let line = collector.logged(refused).await;
        assert!(line.contains("Partial success"), "{signal}: {line}");
        assert!(line.contains("no route"), "{signal}: {line}");
    }
    sluice.settled().await;
}

#[tokio::test]
async fn the_pasted_example_is_a_collectors_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("collector.yaml");
    std::fs::write(&file, pasted()).unwrap();
    assert_eq!(collector::objections(&file).await, None);
}

/// What `config/collector-paste.yaml` has from a Collector's file.
fn pasted() -> &'static str {
    let (pasted, own) = include_str!("../../config/collector-paste.yaml")
        .split_once("# The part that is Sluice's own.")
        .expect("the example says what is whose");
    assert!(own.contains("routes:"), "{own}");
    pasted
}
