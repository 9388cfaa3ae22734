//! The admin and health listeners: pages, metrics, figures, and what they must never show.

use std::collections::{BTreeMap, BTreeSet};

use rig::sink::Fault;
use serde_json::{Value, json};
use sluice::otlp::Signal;
use sluice::run::Role;

use crate::support::payload::{entry, field, logs, request};
use crate::support::sinks::{self, Received as _};
use crate::support::{Sluice, SluiceProcess, eventually, http};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const JSON: Option<&str> = Some("application/json");
const METRICS: Option<&str> = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");

fn config(url: &str, rest: &str) -> String {
    format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{url}', compression: none, retry_on_failure: {{ initial_interval: 50ms, max_interval: 50ms }} }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{rest}"
    )
}

async fn ask(to: std::net::SocketAddr, method: &str, path: &str) -> http::Answer {
    http::send(to, method, path, &[], bytes::Bytes::new()).await
}

#[tokio::test]
async fn every_admin_page_has_its_status_and_type() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up.url(), "")).await;
    let pages = [
        ("GET", "/", 200, TEXT),
        ("GET", "/healthz", 200, TEXT),
        ("GET", "/readyz", 200, TEXT),
        ("GET", "/metrics", 200, METRICS),
        ("HEAD", "/metrics", 200, METRICS),
        ("GET", "/api/v1/streams", 200, JSON),
        ("GET", "/api/v1/streams?limit=x", 400, JSON),
        ("GET", "/api/v1/streams?nonsense=1", 400, JSON),
        ("GET", "/api/v1/streams/one", 400, JSON),
        ("POST", "/api/v1/streams", 405, TEXT),
        ("GET", "/api/v1/exporters", 200, JSON),
        ("GET", "/api/v1/exporters/otlp_http/up", 200, JSON),
        ("GET", "/api/v1/exporters/nobody", 404, JSON),
        ("GET", "/api/v1/dead-letters", 200, JSON),
        ("GET", "/api/v1/dead-letters?nonsense=1", 400, JSON),
        ("GET", "/api/v1/journal", 200, JSON),
        ("POST", "/api/v1/journal", 405, TEXT),
        ("GET", "/api/v1/config", 200, JSON),
        ("POST", "/api/v1/reload", 200, JSON),
        ("GET", "/api/v1/reload", 405, TEXT),
        ("POST", "/metrics", 405, TEXT),
        ("DELETE", "/api/v1/config", 405, TEXT),
        ("GET", "/nowhere", 404, TEXT),
        ("GET", "/v1/logs", 404, TEXT),
        ("POST", "/nowhere", 404, TEXT),
        ("DELETE", "/api/v1/nowhere", 404, TEXT),
        ("OPTIONS", "/", 405, TEXT),
    ];
    for (method, path, status, content_type) in pages {
        let answer = ask(sluice.admin, method, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, content_type), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        let allow = (status == 405).then_some(if path == "/api/v1/reload" { "POST" } else { "GET" });
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn the_health_listener_has_three_pages_alone() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up.url(), "health: { endpoint: 127.0.0.1:0 }\n")).await;
    let health = sluice.router().addresses(Role::Health).await[0];
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n"), ("/", "ready\n")] {
        let answer = ask(health, "GET", path).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
    }
    assert!(ask(health, "GET", "/metrics").await.text().ends_with("# EOF\n"));
    for (method, path) in [("GET", "/api/v1/config"), ("POST", "/api/v1/reload"), ("GET", "/api/v1/streams")]
    {
        assert_eq!(ask(health, method, path).await.status, 404, "{method} {path}");
    }
    assert_eq!(sluice.router().report().version, 1, "nothing was reloaded");
    sluice.router().begin_stopping();
    let answer = ask(health, "GET", "/readyz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "stopping\n"));
    assert_eq!(ask(health, "GET", "/healthz").await.status, 200);
}

#[tokio::test]
async fn readiness_does_not_depend_on_upstreams() {
    let sluice = Sluice::start(&config(&format!("http://{}", sinks::nobody().await), "")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    eventually("attempts fail", async || {
        (sluice.metric("sluice_export_attempts_total", &[]).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(sluice.get("/readyz").await.status, 200);
}

/// A page of `OpenMetrics` text, read strictly: for every metric, the label sets of its samples.
fn strict(text: &str) -> BTreeMap<String, BTreeSet<Vec<(String, String)>>> {
    let mut metrics: BTreeMap<String, BTreeSet<Vec<(String, String)>>> = BTreeMap::new();
    let (mut name, mut suffixes): (String, &[&str]) = (String::new(), &[]);
    let mut described = BTreeSet::new();
    let body = text.strip_suffix("# EOF\n").expect("the page says where it ends");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split(' ').next().unwrap().clone_into(&mut name);
            assert!(described.insert(name.clone()), "described twice: {line}");
            assert!(help.len() > name.len() + 1, "no help: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            suffixes = match kind.strip_prefix(&format!("{name} ")).expect("the type follows the help") {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("an unknown type: {other}"),
            };
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
            let (metric, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(suffixes.iter().any(|suffix| metric == format!("{name}{suffix}")), "{line} in {name}");
            let labels = labels.strip_suffix('}').expect("labels end");
            let labels: Vec<(String, String)> = labels
                .split_terminator(',')
                .map(|label| {
                    let (name, value) = label.split_once("=\"").expect("a label has a value");
                    (name.to_owned(), value.strip_suffix('"').expect("a value is quoted").to_owned())
                })
                .collect();
            assert!(metrics.entry(metric.to_owned()).or_default().insert(labels), "twice: {line}");
        }
    }
    metrics
}

async fn page(sluice: &Sluice) -> BTreeMap<String, BTreeSet<Vec<(String, String)>>> {
    strict(&sluice.get("/metrics").await.text())
}

#[tokio::test]
async fn the_metrics_have_their_names_and_labels_whatever_the_streams() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up.url(), "")).await;
    for signal in Signal::ALL {
        sluice.accept(signal, request(&[entry(signal, "a", &["x"])])).await;
    }
    sluice.settled().await;
    let before = page(&sluice).await;
    let expected: [(&str, &[&str]); 25] = [
        ("sluice_batch_bytes_bucket", &["le", "exporter"]),
        ("sluice_batch_bytes_count", &["exporter"]),
        ("sluice_batch_bytes_sum", &["exporter"]),
        ("sluice_build_info", &["version"]),
        ("sluice_config_last_success_timestamp_seconds", &[]),
        ("sluice_dead_letter_bytes", &[]),
        ("sluice_descriptors", &["use"]),
        ("sluice_descriptors_limit", &["use"]),
        ("sluice_destinations", &["exporter", "circuit"]),
        ("sluice_export_attempts_total", &["exporter", "code"]),
        ("sluice_export_duration_seconds_bucket", &["le", "exporter"]),
        ("sluice_export_duration_seconds_count", &["exporter"]),
        ("sluice_export_duration_seconds_sum", &["exporter"]),
        ("sluice_exported_records_total", &["exporter", "signal", "outcome"]),
        ("sluice_memory_bytes", &[]),
        ("sluice_memory_limit_bytes", &[]),
        ("sluice_oldest_pending_seconds", &["exporter"]),
        ("sluice_pending_bytes", &["exporter"]),
        ("sluice_pending_records", &["exporter"]),
        ("sluice_received_bytes_total", &["signal", "transport"]),
        ("sluice_received_records_total", &["signal", "transport", "outcome"]),
        ("sluice_received_requests_total", &["signal", "transport", "outcome"]),
        ("sluice_routed_records_total", &["exporter", "signal"]),
        ("sluice_streams", &[]),
        ("sluice_tasks", &[]),
    ];
    let expected = BTreeMap::from(expected);
    assert_eq!(
        before.keys().map(String::as_str).collect::<Vec<_>>(),
        expected.keys().copied().collect::<Vec<_>>()
    );
    for (metric, labels) in &expected {
        for series in &before[*metric] {
            let names: Vec<_> = series.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, *labels, "{metric}");
        }
    }
    let values = |metric: &str, label: &str| -> BTreeSet<String> {
        let series = before[metric].iter().flatten();
        series.filter(|(name, _)| name == label).map(|(_, value)| value.clone()).collect()
    };
    let set =
        |values: &[&str]| -> BTreeSet<String> { values.iter().map(|value| (*value).to_owned()).collect() };
    assert_eq!(values("sluice_received_records_total", "outcome"), set(&["accepted"]));
    assert_eq!(values("sluice_received_records_total", "signal"), set(&["traces", "metrics", "logs"]));
    assert_eq!(values("sluice_exported_records_total", "outcome"), set(&["delivered"]));
    assert_eq!(values("sluice_export_attempts_total", "code"), set(&["200"]));

    let entries: Vec<_> =
        (0..200).map(|index| entry(Signal::Logs, &format!("stream {index}"), &["x"])).collect();
    sluice.accept(Signal::Logs, request(&entries)).await;
    sluice.settled().await;
    assert_eq!(page(&sluice).await, before, "two hundred streams are no new series");
    assert_eq!(sluice.metric("sluice_streams", &[]).await, 203.0);
}

/// The names in `# TYPE` lines.
fn families(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn a_series_begins_with_what_it_tells_of_and_every_metric_is_named_from_the_start() {
    let up = sinks::recording().await;
    let url = up.url();
    let exporter = |name: &str| {
        format!(
            "  otlp_http/{name}: {{ endpoint: '{url}', compression: none, retry_on_failure: {{ enabled: false }} }}\n"
        )
    };
    let exporters: String = (0..50).map(|number| exporter(&format!("idle{number}"))).collect();
    let routes: Vec<String> = (0..50)
        .map(|number| {
            format!("  - {{ match: {{ idle: '{number}' }}, exporters: [otlp_http/idle{number}] }}\n")
        })
        .collect();
    let sluice = Sluice::start(&format!(
        "exporters:\n{}{exporters}routes:\n  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}\n{}",
        exporter("up"),
        routes.concat()
    ))
    .await;
    let shown = async || sluice.get("/metrics").await.text();
    let series = |text: &str, part: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#') && line.contains(part)).map(str::to_owned).collect()
    };
    let before = shown().await;
    assert_eq!(series(&before, "exporter="), [""; 0], "nothing has come to any exporter");
    assert_eq!(series(&before, "outcome="), [""; 0], "nothing has come in, and nothing was reloaded");

    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
    sluice.settled().await;
    up.set_fault(Fault::status(400));
    sluice.accept(Signal::Logs, logs(&[("a", &["3"])])).await;
    let metrics = sluice.settled().await;
    let after = shown().await;
    assert_eq!(families(&before), families(&after), "names come and go with nothing");
    for name in
        ["sluice_exported_records", "sluice_withdrawn_records", "sluice_destinations", "sluice_batch_bytes"]
    {
        assert!(families(&before).contains(name), "{name}");
    }
    assert_eq!(series(&after, "otlp_http/idle"), [""; 0]);
    assert_eq!(series(&after, "signal=\"traces\""), [""; 0]);
    assert_eq!(
        series(&after, "sluice_exported_records_total{"),
        [
            "sluice_exported_records_total{exporter=\"otlp_http/up\",signal=\"logs\",outcome=\"delivered\"} 2",
            "sluice_exported_records_total{exporter=\"otlp_http/up\",signal=\"logs\",outcome=\"rejected\"} 1",
        ]
    );
    assert_eq!(series(&after, "sluice_pending_records{").len(), 1, "a gauge stays when it is 0 again");
    assert_eq!(metrics.imbalance("otlp_http/up"), None);
    assert_eq!(metrics.imbalance("otlp_http/idle1"), None, "what is absent is 0");
    // What the documentation says to ask Prometheus for: two sums over all series of these names.
    let sum = |names: [&str; 2]| {
        names.map(|name| metrics.sum(name, &[("exporter", "otlp_http/up")])).iter().sum::<f64>()
    };
    let came = sum(["sluice_routed_records_total", "sluice_recovered_records_total"]);
    assert_eq!(came, sum(["sluice_exported_records_total", "sluice_pending_records"]));
}

const SECRET: &str = "hunter2-s3cr3t";

#[tokio::test]
async fn a_secret_is_never_shown() {
    let up = sinks::recording().await;
    // An upstream that repeats what it was sent.
    up.script([
        Fault::status(401).message(format!("bad token Bearer {SECRET}")),
        Fault::status(503).message(SECRET),
    ]);
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("token"), SECRET).unwrap();
    let yaml = config(&up.url(), "").replace(
        "compression: none,",
        &format!(
            "compression: none, headers: {{ Authorization: 'Bearer {SECRET}', X-Other: '${{file:{}/token}}' }},",
            files.path().display()
        ),
    );
    let sluice = SluiceProcess::start(&yaml, &["--log-level", "trace"]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    up.records(1).await;
    let sent = up.taken().pop().unwrap();
    assert_eq!(sent.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(sent.headers["x-other"], SECRET);
    sluice.settled().await;

    let mut shown = Vec::new();
    let broken = [
        yaml.replace("compression", "compresion"),
        yaml.replace("Authorization:", "Authorization"),
        yaml.replace(&up.url(), &format!("http://user:{SECRET}@127.0.0.1:1")),
        yaml.replace("headers: {", "headers: ["),
        yaml.replace("'Bearer", "\"Bearer"),
    ];
    for yaml in broken {
        sluice.write_config(&yaml);
        let answer = ask(sluice.admin, "POST", "/api/v1/reload").await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        shown.push(answer.text());
        shown.push(sluice.get("/api/v1/config").await.text());
    }
    for path in ["/", "/metrics", "/api/v1/streams", "/api/v1/exporters", "/api/v1/config"] {
        shown.push(sluice.get(path).await.text());
    }
    sluice.signal("TERM").await;
    sluice.logged("nothing is left").await;
    shown.extend(sluice.log());
    for text in shown {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn the_api_shows_what_each_stream_and_exporter_has() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).on_streams("slow*"));
    let sluice = Sluice::start(&config(&up.url(), "limits: { streams: 50 }\n")).await;
    let of = |key: &str| entry(Signal::Logs, key, &["1", "2"]);
    let body = request(&[of("fast one"), of("slow one"), of("slow two")]);
    sluice.accept(Signal::Logs, body.clone()).await;
    let waiting = |key: &str| request(&[of(key)]).len();
    eventually("both slow streams have failed", async || {
        let shown = sluice.api("/api/v1/exporters").await;
        (shown["exporters"][0]["failing_streams"] == 2 && shown["exporters"][0]["pending_records"] == 4)
            .then_some(())
    })
    .await;

    let shown = sluice.api("/api/v1/streams").await;
    assert_eq!((&shown["total"], &shown["limit"]), (&json!(3), &json!(50)));
    let streams = shown["streams"].as_array().unwrap();
    let keys: Vec<_> = streams.iter().map(|stream| stream["key"].as_str().unwrap()).collect();
    assert_eq!(keys[2], "fast one", "those that have waited longest come first: {keys:?}");
    for stream in streams {
        let key = stream["key"].as_str().unwrap();
        let slow = key.starts_with("slow");
        assert_eq!(stream["exporter"], "otlp_http/up");
        assert_eq!(stream["signal"], "logs");
        assert_eq!(stream["admitted_entries"], 1);
        assert_eq!(stream["pending_bytes"], if slow { waiting(key) } else { 0 }, "{stream}");
        assert_eq!(stream["in_flight"], usize::from(slow), "{stream}");
        assert_eq!(stream["waiting_batches"], 0, "{stream}");
        assert_eq!(stream["delivered_records"], if slow { 0 } else { 2 }, "{stream}");
        assert_eq!(stream["failed_attempts"].as_u64().unwrap() > 0, slow, "{stream}");
        assert_eq!(stream["oldest_pending_seconds"].is_f64(), slow, "{stream}");
    }
    let listed = async |query: &str| -> Vec<String> {
        let shown = sluice.api(&format!("/api/v1/streams?{query}")).await;
        shown["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed("key=fast%20one").await, ["fast one"]);
    assert_eq!(listed("key=slow").await.len(), 2);
    assert_eq!(listed("key=slow&limit=1").await.len(), 1);
    assert_eq!(listed("exporter=otlp_http/up&key=one").await.len(), 2);
    assert_eq!(listed("exporter=otlp_http%2Fup").await.len(), 3);
    assert_eq!(listed("exporter=other").await.len(), 0);
    assert_eq!(listed("state=idle").await, ["fast one"]);
    assert_eq!(listed("state=held").await.len(), 0);
    eventually("both slow streams are found by what they do", async || {
        (listed("state=backing_off").await.len() + listed("state=sending").await.len() == 2).then_some(())
    })
    .await;
    let answer = ask(sluice.admin, "GET", "/api/v1/streams?state=asleep").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("idle, waiting, sending, backing_off, held"), "{}", answer.text());

    let shown = sluice.api("/api/v1/exporters").await;
    let exporter = &shown["exporters"][0];
    assert_eq!(
        (&exporter["name"], &exporter["type"], &exporter["draining"]),
        (&json!("otlp_http/up"), &json!("otlp_http"), &json!(false))
    );
    assert_eq!((&exporter["streams"], &exporter["pending_records"]), (&json!(3), &json!(4)));
    assert_eq!(exporter["pending_bytes"], waiting("slow one") + waiting("slow two"));
    assert!(exporter["oldest_pending_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        exporter["records"]["logs"],
        json!({"routed": 6, "delivered": 2, "rejected": 0, "dead_lettered": 0, "dropped": 0})
    );
    assert_eq!(exporter["attempts"]["200"], 1);
    assert!(exporter["attempts"]["503"].as_u64().unwrap() >= 2);

    up.clear_faults();
    sluice.settled().await;
    let exporter = &sluice.api("/api/v1/exporters").await["exporters"][0];
    assert_eq!(exporter["failing_streams"], 0);
    assert_eq!(exporter["oldest_pending_seconds"], Value::Null);
    assert_eq!(exporter["records"]["logs"]["delivered"], 6);
}

#[tokio::test]
async fn the_api_shows_the_configuration_in_use_as_it_was_written() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up.url(), "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 }, grpc: { endpoint: 127.0.0.1:0, include_metadata: true } } } }\n")).await;
    let shown = sluice.api("/api/v1/config").await;
    assert_eq!(shown["version"], 1);
    assert!(shown["source"].as_str().unwrap().ends_with("sluice.yaml"), "{shown}");
    let loaded_at = shown["loaded_at"].as_str().unwrap();
    assert!(loaded_at.len() == 24 && loaded_at.ends_with('Z') && loaded_at.contains('T'), "{loaded_at}");
    assert_eq!(shown["last_error"], Value::Null);
    assert!(shown["warnings"][0]["message"].as_str().unwrap().contains("include_metadata"), "{shown}");
    assert_eq!(shown["config"]["routes"][0]["key"], "s2.stream");
    assert_eq!(shown["config"]["exporters"]["otlp_http/up"]["retry_on_failure"]["initial_interval"], "50ms");
}

#[tokio::test]
async fn what_comes_in_is_counted_by_its_outcome() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&(config(&up.url(), "unrouted: drop\n"))).await;
    let body = logs(&[("a", &["1", "2"])]);
    sluice.accept(Signal::Logs, body.clone()).await;
    let unrouted = request(&[crate::support::payload::entry_of(
        Signal::Logs,
        crate::support::payload::resource(&[]),
        &["1", "2", "3"],
    )]);
    assert_eq!(sluice.post(Signal::Logs, unrouted.clone()).await.status, 200);
    assert_eq!(sluice.post(Signal::Logs, field(1, [0xff])).await.status, 400);
    let counted = async |outcome: &str| {
        let labels = [("signal", "logs"), ("transport", "http"), ("outcome", outcome)];
        sluice.metric("sluice_received_records_total", &labels).await
    };
    assert_eq!(counted("accepted").await, 2.0);
    assert_eq!(counted("dropped").await, 3.0);
    assert_eq!(counted("rejected").await, 1.0, "what can't be counted counts as 1");
    assert_eq!(counted("refused").await, 0.0);
    let bytes = sluice.metric("sluice_received_bytes_total", &[("signal", "logs")]).await;
    assert_eq!(bytes, (body.len() + unrouted.len() + 3) as f64);
}
