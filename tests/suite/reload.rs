//! Hot reload of the real program: what asks for one, what it changes, and what it must leave alone.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use serde_json::Value;
use sluice::otlp::Signal;

use crate::support::http::{self, Answer};
use crate::support::payload::logs;
use crate::support::router::write_config;
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::yaml::{LETTERS, QUICK};
use crate::support::{Sluice, SluiceProcess, eventually};

const RELOADS: &str = "sluice_config_reloads_total";

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

/// One exporter `otlp_http/up` with these options, and one route to it.
fn config(up: &Sink, options: &str) -> String {
    format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}', compression: none, {options} }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
        up.url()
    )
}

fn tagged(up: &Sink, tag: &str) -> String {
    config(up, &format!("headers: {{ x-tag: '{tag}' }}"))
}

async fn reload(sluice: &SluiceProcess) -> Answer {
    http::send(sluice.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await
}

/// Waits until the configuration in use has this version.
async fn in_use(sluice: &SluiceProcess, version: u64) {
    let what = format!("version {version} in use");
    eventually(&what, async || (sluice.api("/api/v1/config").await["version"] == version).then_some(()))
        .await;
}

/// Sends a record and returns the `x-tag` that it came out with.
async fn tag(sluice: &SluiceProcess, up: &Sink) -> String {
    let before = up.counts().records;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    up.records(before + 1).await;
    let last = up.taken().pop().expect("it was recorded");
    last.headers["x-tag"].to_str().expect("it is text").to_owned()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("the API speaks JSON")
}

#[tokio::test]
async fn sighup_reloads() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&tagged(&up, "one"), &[]).await;
    assert_eq!(tag(&sluice, &up).await, "one");
    sluice.signal("HUP").await;
    in_use(&sluice, 2).await;
    sluice.logged("SIGHUP").await;
    assert_eq!(tag(&sluice, &up).await, "one");
}

#[tokio::test]
async fn a_file_that_is_written_or_renamed_is_reloaded_by_itself() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&tagged(&up, "one"), &[]).await;
    assert_eq!(tag(&sluice, &up).await, "one");
    // By rename, as editors do and as the harness does.
    sluice.write_config(&tagged(&up, "two"));
    in_use(&sluice, 2).await;
    assert_eq!(tag(&sluice, &up).await, "two");
    // In place.
    let file = sluice.directory().join("sluice.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("two", "three");
    std::fs::write(&file, text).unwrap();
    in_use(&sluice, 3).await;
    assert_eq!(tag(&sluice, &up).await, "three");
}

/// Points `..data` to a new directory that holds the file, as kubelet does.
fn swap(mount: &Path, version: &str, yaml: &str) {
    let data = mount.join(version);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("sluice.yaml"), yaml).unwrap();
    let new = mount.join("..data_tmp");
    std::os::unix::fs::symlink(version, &new).unwrap();
    std::fs::rename(&new, mount.join("..data")).unwrap();
}

#[tokio::test]
async fn a_config_map_that_is_swapped_is_reloaded_by_itself() {
    let up = sinks::recording().await;
    let mount = tempfile::tempdir().unwrap();
    let listeners = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } } }\nadmin: { endpoint: 127.0.0.1:0 }\n";
    swap(mount.path(), "..1", &format!("{listeners}{}", tagged(&up, "one")));
    let file = mount.path().join("sluice.yaml");
    std::os::unix::fs::symlink("..data/sluice.yaml", &file).unwrap();
    let sluice = SluiceProcess::start_file(&file).await;
    assert_eq!(tag(&sluice, &up).await, "one");
    swap(mount.path(), "..2", &format!("{listeners}{}", tagged(&up, "two")));
    in_use(&sluice, 2).await;
    assert_eq!(tag(&sluice, &up).await, "two");
}

#[tokio::test]
async fn a_secret_file_that_changes_is_reloaded_by_itself() {
    let up = sinks::recording().await;
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("token");
    std::fs::write(&file, "one\n").unwrap();
    let yaml = tagged(&up, &format!("${{file:{}}}", file.display()));
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    assert_eq!(tag(&sluice, &up).await, "one");
    std::fs::write(&file, "two\n").unwrap();
    in_use(&sluice, 2).await;
    assert_eq!(tag(&sluice, &up).await, "two");
}

#[tokio::test]
async fn the_api_reloads_and_answers_with_the_version_or_the_problems() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&tagged(&up, "one")).await;
    let answer = sluice.reload(&tagged(&up, "two")).await;
    assert_eq!((answer.status, json(&answer)), (200, serde_json::json!({ "version": 2 })));
    let answer =
        sluice.reload("exporters: { otlp_http/up: { endpont: http://127.0.0.1:1 } }\nroutes: []\n").await;
    assert_eq!(answer.status, 422);
    let refusal = json(&answer);
    let first = &refusal["problems"][0];
    assert!(first["message"].as_str().unwrap().contains("`endpont`"), "{refusal}");
    assert!(first["line"].is_u64() && first["column"].is_u64(), "{refusal}");
    assert!(refusal["error"].as_str().unwrap().contains("did you mean `endpoint`"), "{refusal}");
    assert_eq!(sluice.api("/api/v1/config").await["version"], 2);
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_reported() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&tagged(&up, "one"), &[]).await;
    sluice.write_config("receivers: [\n");
    let failed = [("outcome", "failed")];
    sluice.wait_for_metric("sluice_config_reloads_total", &failed, 1.0).await;
    sluice.logged("configuration not reloaded, the one in use stays").await;
    let shown = sluice.api("/api/v1/config").await;
    assert_eq!(shown["version"], 1);
    assert!(shown["last_error"]["at"].is_string(), "{shown}");
    assert!(shown["last_error"]["error"].as_str().unwrap().contains("sluice.yaml"), "{shown}");
    assert_eq!(
        shown["config"]["exporters"]["otlp_http/up"]["compression"], "none",
        "the one in use is shown"
    );
    assert_eq!(tag(&sluice, &up).await, "one");

    sluice.write_config(&tagged(&up, "two"));
    in_use(&sluice, 2).await;
    assert_eq!(sluice.api("/api/v1/config").await["last_error"], Value::Null);
    assert_eq!(sluice.metric("sluice_config_reloads_total", &[("outcome", "succeeded")]).await, 1.0);
    assert_eq!(tag(&sluice, &up).await, "two");
}

/// The same with this receiver endpoint.
fn listening(up: &Sink, endpoint: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{endpoint}' }} }} }} }}\n{}",
        tagged(up, "x")
    )
}

#[tokio::test]
async fn a_listener_that_moves_is_bound_before_the_old_one_closes() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&listening(&up, "127.0.0.1:0"), &[]).await;
    let free = sinks::nobody().await;
    sluice.write_config(&listening(&up, &free.to_string()));
    // At every moment one of the two takes a new connection.
    let (mut sent, mut moved) = (0, false);
    let body = logs(&[("a", &["x"])]);
    while !moved {
        let answer = http::try_send(sluice.otlp, "POST", "/v1/logs", &PROTOBUF, body.clone().into()).await;
        moved = answer.is_none();
        let answer = match answer {
            Some(answer) => answer,
            None => http::send(free, "POST", "/v1/logs", &PROTOBUF, body.clone().into()).await,
        };
        assert_eq!(answer.status, 200);
        sent += 1;
    }
    up.records(sent).await;
}

#[tokio::test]
async fn a_request_that_is_on_its_way_when_its_listener_moves_is_answered() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&listening(&up, "127.0.0.1:0"), &[]).await;
    let body = logs(&[("a", &["x"])]);
    let mut wire = Wire::open(sluice.otlp).await;
    let length = format!("content-length: {}", body.len());
    wire.request("POST /v1/logs", &["content-type: application/x-protobuf", &length], &body[..5]).await;
    sluice.metrics().await;
    let free = sinks::nobody().await;
    sluice.write_config(&listening(&up, &free.to_string()));
    in_use(&sluice, 2).await;
    wire.write(&body[5..]).await;
    assert_eq!(wire.answer().await.status, 200);
    wire.closed().await;
    up.records(1).await;
}

#[tokio::test]
async fn a_listener_that_overlaps_an_old_one_needs_a_restart() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&listening(&up, "127.0.0.1:0"), &[]).await;
    sluice.write_config(&listening(&up, &format!("0.0.0.0:{}", sluice.otlp.port())));
    let answer = reload(&sluice).await;
    assert_eq!(answer.status, 422);
    assert!(json(&answer)["error"].as_str().unwrap().contains("needs a restart"), "{}", answer.text());
    assert_eq!(tag(&sluice, &up).await, "x");
}

#[tokio::test]
async fn a_listener_that_another_program_has_is_refused_and_named() {
    let up = sinks::recording().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let sluice = Sluice::start(&listening(&up, "127.0.0.1:0")).await;
    let answer = sluice.reload(&listening(&up, &address.to_string())).await;
    assert_eq!(answer.status, 422);
    let error = json(&answer)["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains(&address.to_string()) && error.contains("another program listens there"),
        "{error}"
    );
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
}

/// All four listeners, of which these have an address other than port 0, and the exporter with this tag.
fn listeners(up: &Sink, tag: &str, addresses: &[(&str, SocketAddr)]) -> String {
    let at = |listener: &str| {
        let given = addresses.iter().find(|(of, _)| *of == listener);
        given.map_or("127.0.0.1:0".to_owned(), |(_, address)| address.to_string())
    };
    let (http, grpc, admin, health) = (at("http"), at("grpc"), at("admin"), at("health"));
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{http}' }}, grpc: {{ endpoint: '{grpc}' }} }} }} }}\n\
         admin: {{ endpoint: '{admin}' }}\nhealth: {{ endpoint: '{health}' }}\n{}",
        tagged(up, tag)
    )
}

#[tokio::test]
async fn a_reload_whose_new_address_is_taken_changes_nothing_and_succeeds_once_the_address_is_free() {
    for moved in ["http", "grpc", "admin", "health"] {
        let up = sinks::recording().await;
        let sluice = SluiceProcess::start(&listeners(&up, "before", &[]), &[]).await;
        // Nobody else takes it once it is free.
        let address = sinks::nobody().await;
        let taken = tokio::net::TcpListener::bind(address).await.unwrap();
        sluice.write_config(&listeners(&up, "after", &[(moved, address)]));
        let answer = reload(&sluice).await;
        assert_eq!(answer.status, 422, "{moved}: {}", answer.text());
        let error = json(&answer)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(&address.to_string()), "{moved}: {error}");
        // That the file has changed may have been noticed beside, and have failed as well.
        assert!(sluice.metric(RELOADS, &[("outcome", "failed")]).await >= 1.0, "{moved}");
        assert_eq!(sluice.metric(RELOADS, &[("outcome", "succeeded")]).await, 0.0, "{moved}");
        let shown = sluice.api("/api/v1/config").await;
        assert_eq!(shown["version"], 1, "{moved}");
        assert_eq!(shown["last_error"]["error"], Value::String(error), "{moved}");
        assert_eq!(tag(&sluice, &up).await, "before", "{moved}");

        drop(taken);
        let answer = reload(&sluice).await;
        assert_eq!((answer.status, json(&answer)["version"].as_u64()), (200, Some(2)), "{moved}");
        let to = if moved == "http" { address } else { sluice.otlp };
        let answer = http::send(to, "POST", "/v1/logs", &PROTOBUF, logs(&[("a", &["x"])]).into()).await;
        assert_eq!(answer.status, 200, "{moved}");
        up.records(2).await;
        assert_eq!(up.taken().pop().unwrap().headers["x-tag"], "after", "{moved}");
        tokio::net::TcpStream::connect(address).await.expect("the listener that moved is there");
    }
}

#[tokio::test]
async fn a_reload_that_finds_one_of_two_new_addresses_taken_listens_on_neither() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&listeners(&up, "before", &[]), &[]).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    for (first, second) in [("http", "grpc"), ("grpc", "admin"), ("http", "health"), ("admin", "health")] {
        let free = sinks::nobody().await;
        sluice.write_config(&listeners(&up, "after", &[(first, free), (second, address)]));
        let answer = reload(&sluice).await;
        assert_eq!(answer.status, 422, "{first} and {second}: {}", answer.text());
        assert!(answer.text().contains(&address.to_string()), "{first} and {second}: {}", answer.text());
        let connected = tokio::net::TcpStream::connect(free).await;
        assert!(connected.is_err(), "{first} listens already, though {second} can't");
        assert_eq!(tag(&sluice, &up).await, "before", "{first} and {second}");
    }
}

#[tokio::test]
async fn a_reload_that_failed_is_not_repeated_until_a_file_changes() {
    let up = sinks::recording().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sluice = Sluice::start(&listening(&up, "127.0.0.1:0")).await;
    let hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    tokio::time::pause();
    tokio::spawn(sluice::run::reload_when_asked(sluice.router().clone(), hangups));
    let reloads = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let failed = || reloads(&sluice.router().reloads().failed);

    write_config(sluice.directory(), &listening(&up, &taken.local_addr().unwrap().to_string()));
    eventually("it is tried", async || (failed() > 0).then_some(())).await;
    // The files are read every five seconds.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(failed(), 1);
    write_config(sluice.directory(), &listening(&up, "127.0.0.1:0"));
    eventually("the repaired one is in use", async || (sluice.router().report().version == 2).then_some(()))
        .await;
    assert_eq!(failed(), 1);
}

/// Two exporters, of which the routes use these.
fn two(one: &Sink, other: &Sink, names: &str) -> String {
    let exporters: Vec<String> = [("one", one), ("other", other)]
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, up)| format!("otlp_http/{name}: {{ endpoint: '{}', compression: none, retry_on_failure: {{ initial_interval: 50ms, max_interval: 50ms }} }}", up.url()))
        .collect();
    format!(
        "exporters: {{ {} }}\nroutes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [{names}] }}]\nshutdown_timeout: 10s\n",
        exporters.join(", ")
    )
}

/// A request that waits for room still uses the configuration that it came with.
#[tokio::test]
async fn a_removed_exporter_is_there_for_as_long_as_a_request_may_use_it() {
    let (one, other) = (sinks::recording().await, sinks::recording().await);
    let sluice = Sluice::start(&two(&one, &other, "otlp_http/one")).await;
    let has = |name: &str| sluice.router().exporters().iter().any(|exporter| &**exporter.name() == name);
    let used = sluice.router().intake().snapshot.load_full();
    sluice.reconfigure(&two(&one, &other, "otlp_http/other")).await;
    // By the time that this one is forgotten, it was looked whether the other can be.
    let third = two(&one, &other, "otlp_http/other").replace("otlp_http/other", "otlp_http/third");
    sluice.reconfigure(&third).await;
    eventually("an exporter is forgotten", async || (!has("otlp_http/other")).then_some(())).await;
    assert!(has("otlp_http/one"));
    drop(used);
    eventually("it is forgotten", async || (!has("otlp_http/one")).then_some(())).await;
}

#[tokio::test]
async fn a_removed_exporter_drains() {
    let (one, other) = (sinks::recording().await, sinks::recording().await);
    let sluice = Sluice::start(&two(&one, &other, "otlp_http/one")).await;
    one.set_fault(Fault::status(503));
    for index in 0..10 {
        sluice.accept(Signal::Logs, logs(&[("a", &[&format!("{index}")])])).await;
    }
    sluice.reconfigure(&two(&one, &other, "otlp_http/other")).await;
    let shown = sluice.api("/api/v1/exporters").await;
    let draining: Vec<_> = shown["exporters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|exporter| (exporter["name"].as_str().unwrap(), exporter["draining"].as_bool().unwrap()))
        .collect();
    assert_eq!(draining, [("otlp_http/other", false), ("otlp_http/one", true)]);
    sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    other.records(1).await;
    assert_eq!(one.counts().accepted, 0);
    one.clear_faults();
    one.records(10).await;
    assert_eq!(one.texts(Signal::Logs), (0..10).map(|index| index.to_string()).collect::<Vec<_>>());
    assert_eq!(other.texts(Signal::Logs), ["after"]);
    eventually("the drained exporter is forgotten", async || {
        (sluice.api("/api/v1/exporters").await["exporters"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_exporter_that_comes_back_while_it_drains_keeps_its_order() {
    let (one, other) = (sinks::recording().await, sinks::recording().await);
    let sluice = Sluice::start(&two(&one, &other, "otlp_http/one")).await;
    one.set_fault(Fault::status(503));
    for index in 0..5 {
        sluice.accept(Signal::Logs, logs(&[("a", &[&format!("{index}")])])).await;
    }
    sluice.reconfigure(&two(&one, &other, "otlp_http/other")).await;
    sluice.reconfigure(&two(&one, &other, "otlp_http/one")).await;
    for index in 5..10 {
        sluice.accept(Signal::Logs, logs(&[("a", &[&format!("{index}")])])).await;
    }
    one.clear_faults();
    one.records(10).await;
    assert_eq!(one.texts(Signal::Logs), (0..10).map(|index| index.to_string()).collect::<Vec<_>>());
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/one", "delivered"), 10.0, "it kept its counters, too");
}

#[tokio::test]
async fn a_signal_that_loses_its_url_is_held_until_it_has_one_again() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let config = |logs: &str, signals: &str| {
        format!(
            "exporters: {{ otlp_http/up: {{ traces_endpoint: '{up}/v1/traces', {logs} compression: none, {QUICK} }} }}\n\
             routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, signals: [{signals}], exporters: [otlp_http/up] }}]\n{LETTERS}",
            up = up.url()
        )
    };
    let both = config(&format!("logs_endpoint: '{}/v1/logs',", up.url()), "traces, logs");
    let sluice = SluiceProcess::start(&both, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    sluice.write_config(&config("", "traces"));
    in_use(&sluice, 2).await;
    let line = sluice.logged("the exporter has no destination for what is queued").await;
    assert!(line.contains("ERROR") && line.contains("logs_endpoint"), "{line}");
    sluice.write_config(&both);
    in_use(&sluice, 3).await;
    up.clear_faults();
    up.records(1).await;
    assert_eq!(sluice.settled().await.exported("otlp_http/up", "delivered"), 1.0);
}

#[tokio::test]
async fn an_unchanged_exporter_keeps_its_connection() {
    let up = OneConnection::start().await;
    let yaml = |route: &str| {
        format!(
            "exporters: {{ otlp_http/up: {{ endpoint: 'http://{}', compression: none }} }}\nroutes: [{{ name: {route}, match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
            up.address
        )
    };
    let sluice = Sluice::start(&yaml("before")).await;
    for route in ["after", "later", "last"] {
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        sluice.settled().await;
        sluice.reconfigure(&yaml(route)).await;
    }
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 4.0);
    assert_eq!(up.connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// An upstream that takes everything and counts connections.
struct OneConnection {
    address: std::net::SocketAddr,
    connections: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl OneConnection {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let service = hyper::service::service_fn(
                    |request: ::http::Request<hyper::body::Incoming>| async move {
                        http_body_util::BodyExt::collect(request.into_body()).await?;
                        Ok::<_, hyper::Error>(::http::Response::new(
                            http_body_util::Empty::<bytes::Bytes>::new(),
                        ))
                    },
                );
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, connections }
    }
}

#[tokio::test]
async fn a_pipe_where_a_file_should_be_fails_one_reload_and_holds_up_no_later_one() {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let up = sinks::counting().await;
    let yaml =
        |token: &str| crate::support::yaml::up(&up.url(), &[&format!("headers: {{ x-token: '{token}' }}")]);
    let sluice = Sluice::start(&yaml("before")).await;
    let pipe = sluice.directory().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for no_file in ["${file:@DIR@/pipe}", "${file:/dev/zero}", "${file:/dev/stdin}", "${file:@DIR@}"] {
        let answer = sluice.reload(&yaml(no_file)).await;
        assert_eq!(answer.status, 422, "{no_file}: {}", answer.text());
        assert!(answer.text().contains("can't read the file"), "{no_file}: {}", answer.text());
    }
    // The configuration itself, which nobody writes into the pipe.
    std::fs::rename(&pipe, sluice.config()).unwrap();
    let answer =
        crate::support::http::send(sluice.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("a reload needs a file"), "{}", answer.text());
    sluice.reconfigure(&yaml("after")).await;
}

/// Puts a pipe in place of a configuration.
fn put_pipe(config: &Path) {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let pipe = config.with_extension("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    std::fs::rename(&pipe, config).unwrap();
}

#[tokio::test]
async fn a_reload_that_waits_for_a_pipe_reads_the_file_that_takes_its_place() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&tagged(&up, "before")).await;
    let good = std::fs::read_to_string(sluice.config()).unwrap();
    put_pipe(sluice.config());
    let admin = sluice.admin;
    let reloading =
        tokio::spawn(
            async move { http::send(admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await },
        );
    // Whoever writes into a pipe can open it only once somebody reads it.
    let nonblocking = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    eventually("the pipe is read", async || {
        rustix::fs::open(sluice.config(), nonblocking, rustix::fs::Mode::empty()).ok()
    })
    .await;
    let file = sluice.directory().join("good.yaml");
    std::fs::write(&file, good.replace("before", "after")).unwrap();
    std::fs::rename(&file, sluice.config()).unwrap();
    // If the pipe were waited for to the end, the reload would fail for it.
    let answer = reloading.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    up.records(1).await;
    assert_eq!(up.taken()[0].headers["x-tag"], "after");
}

#[tokio::test]
async fn the_file_that_takes_the_place_of_a_pipe_is_noticed_after_the_pipe_has_failed_a_reload() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&tagged(&up, "before"), &[]).await;
    put_pipe(&sluice.directory().join("sluice.yaml"));
    let answer = reload(&sluice).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    sluice.write_config(&tagged(&up, "after"));
    in_use(&sluice, 2).await;
    assert_eq!(tag(&sluice, &up).await, "after");
}
