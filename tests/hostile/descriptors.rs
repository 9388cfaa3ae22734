//! File descriptors under a low limit: whoever takes all that it can get leaves the others theirs.

use std::net::{Ipv4Addr, SocketAddr};

use rig::sink::{Sink, SinkSettings};
use sluice::otlp::Signal;
use tokio::net::TcpListener;

use crate::attacker::Attacker;
use crate::support::payload::{filler, logs};
use crate::support::sinks::Received as _;
use crate::support::wire::{Wire, head};
use crate::support::{SluiceProcess, eventually, http, sinks, yaml};

/// As many as shells and services have by default.
const LIMIT: usize = 1024;

/// A header whose value is read from a file at each reload.
const FROM_A_FILE: &str = "headers: { x-token: '${file:token}' }";

/// A route for one stream, and one for all others.
fn routes(one: &str, exporter: &str, others: &str) -> String {
    format!(
        "routes:\n  - {{ match: {{ s2.stream: {one} }}, key: s2.stream, exporters: [{exporter}] }}\n  \
         - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [{others}] }}\n"
    )
}

/// Where the gRPC receiver listens.
async fn grpc_address(sluice: &SluiceProcess) -> SocketAddr {
    let line = sluice.logged("OTLP/gRPC on ").await;
    let (_, address) = line.split_once("OTLP/gRPC on ").expect("that was looked for");
    address.split([' ', '"']).next().expect("a line has a first word").parse().expect("it is an address")
}

/// Probes and a reload that reads files are answered.
async fn assert_at_work(sluice: &SluiceProcess) {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(sluice.get(path).await.status, 200, "{path}: {:#?}", sluice.log());
    }
    let reloaded = http::send(sluice.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await;
    assert_eq!(reloaded.status, 200, "{reloaded:?} {:#?}", sluice.log());
    let open = sluice.open_files();
    assert!(open <= LIMIT as u64, "{open}");
    let metrics = sluice.metrics().await;
    for share in ["receivers", "exporters", "files"] {
        let [used, most] = ["sluice_descriptors", "sluice_descriptors_limit"]
            .map(|name| metrics.sum(name, &[("use", share)]));
        assert!(used <= most && most < LIMIT as f64, "{share}: {used} of {most}");
    }
}

/// A configuration that reads the file `token`, which lies where the process runs.
fn with_token(yaml: &str, directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("token");
    std::fs::write(&path, "secret").unwrap();
    yaml.replace("${file:token}", &format!("${{file:{}}}", path.display()))
}

/// Five exporters write the files of 300 keys each, several times over, beside one that sends.
async fn write_files_of_five_exporters_under(limit: usize) {
    const KEYS: usize = 300;
    const ROUNDS: usize = 3;
    let (up, files) = (sinks::counting().await, tempfile::tempdir().unwrap());
    let path = |exporter: usize| files.path().join(exporter.to_string());
    let names: Vec<String> = (0..5).map(|exporter| format!("file/{exporter}")).collect();
    let mut exporters: Vec<(&str, String)> = names
        .iter()
        .enumerate()
        .map(|(exporter, name)| (&**name, format!("path: '{}', {}", path(exporter).display(), yaml::SINGLY)))
        .collect();
    exporters.push(("otlp_http/up", yaml::to(&up.url(), &[yaml::QUICK, FROM_A_FILE])));
    let config = yaml::exporters(&exporters) + &routes("up", "otlp_http/up", &names.join(", "));
    let sluice = SluiceProcess::start_with_open_files(&with_token(&config, &files), limit).await;
    let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (&**key, &["x"] as &[&str])).collect();
    for round in 1..=ROUNDS {
        sluice.accept(Signal::Logs, logs(&entries)).await;
        sluice.accept(Signal::Logs, logs(&[("up", &["x"])])).await;
        assert_at_work(&sluice).await;
        up.records(round as u64).await;
    }
    sluice.settled().await;
    for exporter in 0..5 {
        for key in &keys {
            let written = std::fs::read_to_string(path(exporter).join(key).join("logs.jsonl")).unwrap();
            assert_eq!(written.lines().count(), ROUNDS, "{exporter} {key}");
        }
    }
    assert!(sluice.open_files() <= limit as u64);
    let files = sluice.metric("sluice_descriptors", &[("use", "files")]).await;
    assert!(files >= 5.0, "each keeps some open: {files}");
}

#[tokio::test]
async fn five_file_exporters_with_300_keys_each_write_all_of_them_under_1024_open_files() {
    write_files_of_five_exporters_under(LIMIT).await;
}

#[tokio::test]
async fn five_file_exporters_with_300_keys_each_write_all_of_them_under_256_open_files() {
    write_files_of_five_exporters_under(256).await;
}

#[tokio::test]
async fn five_file_exporters_with_300_keys_each_write_all_of_them_under_the_fewest_open_files() {
    write_files_of_five_exporters_under(128).await;
}

#[tokio::test]
async fn more_silent_connections_than_descriptors_stop_no_export_no_journal_and_no_reload() {
    const SILENT: usize = 2000;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let (up, kept) = (sinks::counting().await, tempfile::tempdir().unwrap());
    let config = yaml::up(&up.url(), &[yaml::QUICK, yaml::SINGLY, FROM_A_FILE])
        + "journal: { directory: '@DIR@/journal', max_size: 16MiB, segment_size: 1MiB }\n";
    let sluice = SluiceProcess::start_with_open_files(&with_token(&config, &kept), LIMIT).await;
    let body = logs(&[("a", &["x"])]);
    let length = format!("content-length: {}", body.len());
    let mut used = Wire::open(sluice.otlp).await;
    let (mut held, mut sent) = (Vec::new(), 0);
    for index in 0..SILENT {
        held.push(Attacker::that_reads_nothing(sluice.otlp, 4096).await);
        if index % 500 == 499 {
            // One that is kept alive makes room for none of them.
            used.write(head("POST /v1/logs", &["content-type: application/x-protobuf", &length])).await;
            used.write(&body).await;
            assert_eq!(used.answer().await.status, 200, "beside {index} others");
            sluice.accept(Signal::Logs, body.clone()).await;
            sent += 2;
            up.records(sent).await;
            assert_at_work(&sluice).await;
        }
    }
    sluice.settled().await;
    assert_eq!(sluice.metric("sluice_journal_failing", &[]).await as u64, 0);
    assert!(sluice.says("open files that receivers may have are in use"), "{:#?}", sluice.log());
}

#[tokio::test]
async fn a_receiver_with_used_connections_that_nobody_closes_leaves_another_receiver_its_part() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[yaml::QUICK])
        + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 }, grpc: { endpoint: 127.0.0.1:0 } } } }\n";
    let sluice = SluiceProcess::start_with_open_files(&config, LIMIT).await;
    let grpc = grpc_address(&sluice).await;
    let part = sluice.metric("sluice_descriptors_limit", &[("use", "receivers")]).await;
    let mut held = Vec::new();
    // Three quarters of the share: what is kept for this one, and what is for all.
    let most = (part * 0.75) as usize;
    for _ in 0..most - 1 {
        let mut wire = Wire::open(sluice.otlp).await;
        wire.write(head("GET /v1/logs", &[])).await;
        assert_eq!(wire.answer().await.status, 405);
        held.push(wire);
    }
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(Attacker::that_reads_nothing(sluice.otlp, 4096).await);
    }
    for _ in 0..20 {
        let mut wire = Wire::open(grpc).await;
        wire.write(head("GET /v1/logs", &[])).await;
        assert_eq!(wire.answer().await.status, 405);
        held.push(wire);
    }
    assert_at_work(&sluice).await;
}

#[tokio::test]
async fn a_journal_with_more_segments_than_open_files_is_recovered() {
    const REQUESTS: usize = 150;
    const FEWEST: usize = 128;
    let kept = tempfile::tempdir().unwrap();
    let journal = format!("directory: '{}', max_size: 400MiB, segment_size: 1MiB", kept.path().display());
    let config = |url: &str| {
        yaml::up(url, &[yaml::QUICK])
            + &format!("journal: {{ {journal} }}\nlimits: {{ memory: 256MiB }}\nshutdown_timeout: 0s\n")
    };
    let nobody = format!("http://{}", sinks::nobody().await);
    let mut sluice = SluiceProcess::start_with_open_files(&config(&nobody), FEWEST).await;
    let text = filler("x", 1_000_000);
    for request in 0..REQUESTS {
        let key = (request % 10).to_string();
        sluice.accept(Signal::Logs, logs(&[(&key, &[&text])])).await;
    }
    assert!(sluice.metric("sluice_journal_segments", &[("state", "used")]).await > FEWEST as f64);
    sluice.kill().await;
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start_with_open_files(&config(&up.url()), FEWEST).await;
    up.records(REQUESTS as u64).await;
    assert_eq!(sluice.metric("sluice_recovered_records_total", &[]).await as usize, REQUESTS);
    assert_eq!(sluice.metric("sluice_journal_quarantined", &[]).await as usize, 0);
}

/// An address of this machine alone for each key, at one port.
fn to_many_addresses(port: u16) -> String {
    format!("http://127.0.{{{{ key }}}}:{port}")
}

/// Entries for so many of these addresses.
fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{}.{}", index / 200 + 1, index % 200 + 1)).collect()
}

fn to_each(keys: &[String]) -> Vec<u8> {
    let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (&**key, &["x"] as &[&str])).collect();
    logs(&entries)
}

#[tokio::test]
async fn hundreds_of_upstreams_that_hang_leave_another_exporter_its_connections() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let hanging = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = hanging.local_addr().unwrap().port();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = hanging.accept().await {
            held.push(socket);
        }
    });
    let (up, kept) = (sinks::counting().await, tempfile::tempdir().unwrap());
    let config = yaml::exporters(&[
        ("otlp_http/many", yaml::to(&to_many_addresses(port), &["timeout: 30s"])),
        ("otlp_http/up", yaml::to(&up.url(), &[yaml::SINGLY, FROM_A_FILE])),
    ]) + &routes("up", "otlp_http/up", "otlp_http/many");
    let sluice = SluiceProcess::start_with_open_files(&with_token(&config, &kept), LIMIT).await;
    let share = [("use", "exporters")];
    let most = sluice.metric("sluice_descriptors_limit", &share).await;
    sluice.accept(Signal::Logs, to_each(&addresses(400))).await;
    eventually("the exporter has what it may have", async || {
        (sluice.metric("sluice_descriptors", &share).await >= (most * 0.75).floor() - 2.0).then_some(())
    })
    .await;
    for sent in 1..=20 {
        sluice.accept(Signal::Logs, logs(&[("up", &["x"])])).await;
        up.records(sent).await;
    }
    assert_at_work(&sluice).await;
    held.abort();
}

#[tokio::test]
async fn an_exporter_to_more_upstreams_than_it_may_have_connections_delivers_to_all_of_them() {
    const UPSTREAMS: usize = 400;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let up = Sink::start(SinkSettings { listen, ..SinkSettings::default() }).await.unwrap();
    for kind in ["otlp_http", "otlp_grpc"] {
        let name = format!("{kind}/many");
        let to = yaml::to(&to_many_addresses(up.addr().port()), &[yaml::QUICK, "tls: { insecure: true }"]);
        let config = yaml::exporters(&[(&name, to)]) + &yaml::by_stream(&name);
        let sluice = SluiceProcess::start_with_open_files(&config, LIMIT).await;
        for _ in 0..3 {
            sluice.accept(Signal::Logs, to_each(&addresses(UPSTREAMS))).await;
            let metrics = sluice.settled().await;
            let dead = metrics.sum("sluice_exported_records_total", &[("outcome", "dead_lettered")]);
            assert_eq!(dead as u64, 0, "{kind}");
        }
        let delivered = [("outcome", "delivered")];
        let delivered = sluice.metric("sluice_exported_records_total", &delivered).await;
        assert_eq!(delivered as usize, 3 * UPSTREAMS, "{kind}");
        assert_at_work(&sluice).await;
    }
}

#[tokio::test]
async fn a_limit_below_what_is_configured_is_warned_of_with_what_was_lowered() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start_with_open_files(&yaml::up(&up.url(), &[]), LIMIT).await;
    let line = sluice.logged("the limit of 1024 open files lowers").await;
    for said in
        ["`max_connections`) from 10000 to ", "`max_in_flight`) from 256 to ", "ulimit -n", "LimitNOFILE="]
    {
        assert!(line.contains(said), "{said}: {line}");
    }
    let receivers =
        "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_connections: 300 } } } }\n";
    let modest = yaml::up(&up.url(), &["sending_queue: { max_in_flight: 100 }"]) + receivers;
    let sluice = SluiceProcess::start_with_open_files(&modest, LIMIT).await;
    assert!(!sluice.says("open files lowers"), "{:#?}", sluice.log());
}

#[tokio::test]
async fn too_few_open_files_are_refused_with_what_is_needed() {
    let up = sinks::counting().await;
    let (ended, said) = SluiceProcess::refused_with_open_files(&yaml::up(&up.url(), &[]), 64).await;
    assert!(!ended.success());
    for what in ["`64`", "128", "ulimit -n"] {
        assert!(said.contains(what), "{what}: {said}");
    }
}
