//! Keys and conditions on records: entries whose records differ, over every way in, and what becomes of their parts.

use std::collections::BTreeMap;
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use tonic::Code;

use crate::support::grpc::{call, export, framed};
use crate::support::letters::{letters, replay, wait_for_letters};
use crate::support::payload::{attribute, entries, request, resource, texts};
use crate::support::process::SluiceProcess;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, http};

const PROJECT: &str = "highlight.project_id";

/// Each project is a stream, which the upstream is told.
const ROUTES: &str = "routes:
  - name: highlight
    match: { record: { highlight.project_id: { regex: '^[0-9a-z]{1,16}$' } } }
    key: { record: highlight.project_id, resource: highlight.project_id }
    exporters: [otlp_http/up]
";

const BY_STREAM: &str = "headers: { X-Stream: '{{ key }}' }";

fn config(up: &Sink, routes: &str) -> String {
    yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[QUICK, SINGLY, BY_STREAM]))]) + routes
}

fn project(of: Option<&str>) -> Vec<KeyValue> {
    of.map(|project| attribute(PROJECT, project)).into_iter().collect()
}

fn scope(of: Option<&str>) -> InstrumentationScope {
    InstrumentationScope {
        name: "scope".to_owned(),
        attributes: project(of),
        ..InstrumentationScope::default()
    }
}

fn log(text: &str, of: Option<&str>) -> LogRecord {
    LogRecord { event_name: text.to_owned(), attributes: project(of), ..LogRecord::default() }
}

/// A request of logs of one entry: what its resource has, and one scope with these records, each with its text and what it has.
fn logs(of: Option<&str>, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let log_records = records.iter().map(|(text, of)| log(text, *of)).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope(None)), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource(&of.map(|of| (PROJECT, of)).into_iter().collect::<Vec<_>>()));
    request(&[ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec()])
}

/// The streams that an upstream has got, each with what `names` makes of each of its entries, in their order.
fn arrived(up: &Sink, names: fn(&[u8]) -> Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for taken in up.taken() {
        let stream = taken.headers["x-stream"].to_str().expect("it is text").to_owned();
        let all = arrived.entry(stream).or_default();
        all.extend(entries(&taken.body).iter().flat_map(|entry| names(entry)));
    }
    arrived
}

fn logs_of(entry: &[u8]) -> Vec<String> {
    let entry = ResourceLogs::decode(entry).expect("an entry");
    let named = |scope: &ScopeLogs| scope.scope.as_ref().is_some_and(|scope| scope.name == "scope");
    assert!(entry.scope_logs.iter().all(named), "the scope is repeated");
    let records = entry.scope_logs.into_iter().flat_map(|scope| scope.log_records);
    records.map(|record| record.event_name).collect()
}

fn streams(all: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    all.iter().map(|(stream, of)| ((*stream).to_owned(), texts(of))).collect()
}

#[tokio::test]
async fn records_go_to_the_streams_of_their_own_in_order_by_http_json_and_grpc() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, ROUTES)).await;
    let body = logs(
        Some("1"),
        &[("a", Some("2")), ("b", None), ("c", Some("3")), ("d", Some("2")), ("e", Some("1")), ("f", None)],
    );
    sluice.accept(Signal::Logs, body).await;
    let second = logs(Some("1"), &[("g", Some("2")), ("h", None)]);
    let reply = call(sluice.otlp, export(Signal::Logs), &[], framed(0, &second)).await;
    assert_eq!((reply.code(), &reply.body[..]), (Code::Ok, &framed(0, b"")[..]));
    let record = |text: &str, project: &str| serde_json::json!({ "eventName": text, "attributes": [{ "key": PROJECT, "value": { "stringValue": project } }] });
    let json = serde_json::json!({ "resourceLogs": [{
        "scopeLogs": [{ "scope": { "name": "scope" }, "logRecords": [record("i", "2"), record("j", "1"), record("k", "2")] }],
    }] });
    let headers = [("content-type", "application/json")];
    let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, json.to_string().into()).await;
    assert_eq!((answer.status, answer.text().as_ref()), (200, "{}"));
    let metrics = sluice.settled().await;
    // What has none of its own and what has the resource's share a stream, and keep their order in it.
    let expected =
        streams(&[("1", &["b", "e", "f", "h", "j"]), ("2", &["a", "d", "g", "i", "k"]), ("3", &["c"])]);
    assert_eq!(arrived(&up, logs_of), expected);
    let received = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]);
    assert_eq!((received("accepted"), received("rejected")), (11.0, 0.0));
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn an_entry_whose_records_agree_leaves_as_it_came_byte_for_byte() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, ROUTES)).await;
    let body = logs(None, &[("a", Some("2")), ("b", Some("2"))]);
    sluice.accept(Signal::Logs, body.clone()).await;
    sluice.settled().await;
    assert_eq!(up.taken()[0].body, body);
}

#[tokio::test]
async fn a_span_is_in_the_project_of_itself_its_last_event_or_its_scope() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, ROUTES)).await;
    let span = |name: &str, of: Option<&str>, events: &[&str]| Span {
        name: name.to_owned(),
        attributes: project(of),
        events: events.iter().map(|of| Event { attributes: project(Some(of)), ..Event::default() }).collect(),
        ..Span::default()
    };
    let spans = vec![
        span("plain", None, &[]),
        span("own", Some("span"), &[]),
        span("event", Some("span"), &["one", "two"]),
        span("own again", Some("span"), &[]),
    ];
    let of_scope =
        |of, spans: Vec<Span>| ScopeSpans { scope: Some(scope(of)), spans, ..ScopeSpans::default() };
    let scope_spans =
        vec![of_scope(None, spans), of_scope(Some("scope"), vec![span("all", Some("span"), &["one"])])];
    let entry = ResourceSpans {
        resource: Some(resource(&[(PROJECT, "resource")])),
        scope_spans,
        ..ResourceSpans::default()
    };
    sluice.accept(Signal::Traces, request(&[entry.encode_to_vec()])).await;
    sluice.settled().await;
    let expected = streams(&[
        ("resource", &["plain"]),
        ("span", &["own", "own again"]),
        ("two", &["event"]),
        ("scope", &["all"]),
    ]);
    assert_eq!(arrived(&up, |entry| texts(Signal::Traces, entry)), expected);
}

#[tokio::test]
async fn a_condition_on_records_alone_sees_neither_what_they_stand_in_nor_what_stands_in_them() {
    let up = sinks::recording().await;
    let routes = "routes:
  - name: own
    match: { record_alone: { highlight.project_id: own } }
    exporters: [otlp_http/up]
  - name: none
    match: { record_alone: { highlight.project_id: { exists: false } } }
    exporters: [otlp_http/up]
  - name: other
    exporters: [otlp_http/up]
";
    let sluice = Sluice::start(&config(&up, routes)).await;
    let of_resource = || Some(resource(&[(PROJECT, "own")]));
    let span = |name: &str, of: Option<&str>| Span {
        name: name.to_owned(),
        attributes: project(of),
        events: vec![Event { attributes: project(Some("own")), ..Event::default() }],
        ..Span::default()
    };
    let spans = vec![span("a", None), span("b", Some("own")), span("c", Some("else")), span("d", None)];
    let scope_spans = vec![ScopeSpans { scope: Some(scope(Some("own"))), spans, ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: of_resource(), scope_spans, ..ResourceSpans::default() };
    sluice.accept(Signal::Traces, request(&[spans.encode_to_vec()])).await;
    sluice.accept(Signal::Logs, logs(Some("own"), &[("e", None), ("f", Some("")), ("g", Some("own"))])).await;
    let metrics = vec![metrics_of_each_kind(Some("own")).remove(0)];
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope(Some("own"))), metrics, ..ScopeMetrics::default() }];
    let points = ResourceMetrics { resource: of_resource(), scope_metrics, ..ResourceMetrics::default() };
    sluice.accept(Signal::Metrics, request(&[points.encode_to_vec()])).await;
    sluice.settled().await;
    sluice.assert_conserved().await;
    let mut found: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for taken in up.taken() {
        let stream = taken.headers["x-stream"].to_str().expect("it is text").to_owned();
        let signal = Signal::ALL.into_iter().find(|signal| taken.path.ends_with(signal.path())).unwrap();
        let names = |entry: &Vec<u8>| match signal {
            Signal::Traces => texts(signal, entry),
            Signal::Metrics => metrics_of(entry),
            Signal::Logs => logs_of(entry),
        };
        let all = found.entry((stream, signal.name())).or_default();
        all.extend(entries(&taken.body).iter().flat_map(names));
    }
    let expected: [((&str, &str), &[&str]); 7] = [
        (("own", "traces"), &["b"]),
        (("none", "traces"), &["a", "d"]),
        (("other", "traces"), &["c"]),
        (("own", "logs"), &["g"]),
        (("none", "logs"), &["e"]),
        (("other", "logs"), &["f"]),
        (("none", "metrics"), &["gauge 1"]),
    ];
    let mut expected: BTreeMap<(String, &str), Vec<String>> = expected
        .into_iter()
        .map(|((stream, signal), names)| {
            ((stream.to_owned(), signal), names.iter().map(|name| (*name).to_owned()).collect())
        })
        .collect();
    expected.insert(("other".to_owned(), "metrics"), vec!["gauge 1".to_owned()]);
    assert_eq!(found, expected);
}

/// One metric of each kind, with two data points: one that has the project, and one that doesn't.
fn metrics_of_each_kind(metadata: Option<&str>) -> Vec<Metric> {
    macro_rules! points {
        ($point:ident) => {
            [Some("point"), None].map(|of| $point { attributes: project(of), ..$point::default() }).to_vec()
        };
    }
    let all = [
        ("gauge", Data::Gauge(Gauge { data_points: points!(NumberDataPoint) })),
        ("sum", Data::Sum(Sum { data_points: points!(NumberDataPoint), ..Sum::default() })),
        (
            "histogram",
            Data::Histogram(Histogram { data_points: points!(HistogramDataPoint), ..Histogram::default() }),
        ),
        (
            "exponential",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: points!(ExponentialHistogramDataPoint),
                aggregation_temporality: 2,
            }),
        ),
        ("summary", Data::Summary(Summary { data_points: points!(SummaryDataPoint) })),
    ];
    let metric = |(name, data): (&str, Data)| Metric {
        name: name.to_owned(),
        metadata: project(metadata),
        data: Some(data),
        ..Metric::default()
    };
    all.into_iter().map(metric).collect()
}

/// Each metric of an entry with the number of its data points.
fn metrics_of(entry: &[u8]) -> Vec<String> {
    let entry = ResourceMetrics::decode(entry).expect("an entry");
    let metrics = entry.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
    let points = |data: Option<Data>| match data.expect("it has data") {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        Data::ExponentialHistogram(data) => {
            assert_eq!(data.aggregation_temporality, 2, "it is repeated");
            data.data_points.len()
        }
        Data::Summary(data) => data.data_points.len(),
    };
    metrics.map(|metric| format!("{} {}", metric.name, points(metric.data))).collect()
}

#[tokio::test]
async fn a_data_point_of_any_kind_is_in_the_project_of_its_own_its_metrics_or_its_scope() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, ROUTES)).await;
    let of_scope = |of, metadata| ScopeMetrics {
        scope: Some(scope(of)),
        metrics: metrics_of_each_kind(metadata),
        ..ScopeMetrics::default()
    };
    let scope_metrics =
        vec![of_scope(None, None), of_scope(Some("scope"), None), of_scope(Some("scope"), Some("metric"))];
    let resource = Some(resource(&[(PROJECT, "resource")]));
    let entry = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
    sluice.accept(Signal::Metrics, request(&[entry.encode_to_vec()])).await;
    let metrics = sluice.settled().await;
    let each: &[&str] = &["gauge 1", "sum 1", "histogram 1", "exponential 1", "summary 1"];
    let expected = streams(&[
        ("point", &[each, each, each].concat()),
        ("resource", each),
        ("scope", each),
        ("metric", each),
    ]);
    assert_eq!(arrived(&up, metrics_of), expected);
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 30.0);
}

#[tokio::test]
async fn records_that_no_route_takes_or_that_conflict_are_rejected_and_the_rest_is_taken() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, ROUTES)).await;
    let mut twice = log("twice", Some("1"));
    twice.attributes.push(attribute(PROJECT, "2"));
    let records =
        vec![log("a", Some("1")), twice, log("b", None), log("c", Some("NOT VALID")), log("d", Some("1"))];
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope(None)), log_records: records, ..ScopeLogs::default() }];
    let entry = ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec();
    let answer =
        sluice.post(Signal::Logs, [logs(Some("0"), &[("first", None)]), request(&[entry])].concat()).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("some were rejected");
    assert_eq!(rejected, 3);
    for expected in [
        "resource_logs[1]: the attribute `highlight.project_id` of its records occurs twice with different values",
        "resource_logs[1] (highlight.project_id absent, highlight.project_id absent on the record): no route takes",
        "no route takes these logs: routes look at the attributes `highlight.project_id` of records",
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    sluice.settled().await;
    assert_eq!(arrived(&up, logs_of), streams(&[("0", &["first"]), ("1", &["a", "d"])]));
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn parts_of_one_entry_that_share_a_stream_are_all_in_it() {
    let up = sinks::recording().await;
    let routes = "routes:
  - { name: errors, match: { record: { level: error } }, exporters: [otlp_http/up], continue: true }
  - { name: all, match: { record: { level: '*' } }, exporters: [otlp_http/up] }
";
    let sluice = Sluice::start(&config(&up, routes)).await;
    let record = |text: &str, level: &str| LogRecord {
        event_name: text.to_owned(),
        attributes: vec![attribute("level", level)],
        ..LogRecord::default()
    };
    let log_records =
        vec![record("a", "info"), record("b", "error"), record("c", "debug"), record("d", "error")];
    let scope_logs = vec![ScopeLogs { scope: Some(scope(None)), log_records, ..ScopeLogs::default() }];
    let entry = ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec();
    sluice.accept(Signal::Logs, request(&[entry])).await;
    let metrics = sluice.settled().await;
    assert_eq!(arrived(&up, logs_of), streams(&[("errors", &["b", "d"]), ("all", &["a", "b", "c", "d"])]));
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 6.0);
}

#[tokio::test]
async fn a_stream_that_asks_for_no_record_gets_all_in_their_order_beside_streams_that_do() {
    let up = sinks::recording().await;
    let routes = "routes:
  - { name: archive, key: service.name, exporters: [otlp_http/up], continue: true }
  - { name: project, key: { record: highlight.project_id }, exporters: [otlp_http/up] }
";
    let sluice = Sluice::start(&config(&up, routes)).await;
    let texts: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let records: Vec<LogRecord> =
        texts.iter().enumerate().map(|(at, text)| log(text, Some(["1", "2", "3"][at % 3]))).collect();
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope(None)), log_records: records, ..ScopeLogs::default() }];
    let resource = Some(resource(&[("service.name", "shop")]));
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec();
    sluice.accept(Signal::Logs, request(&[entry])).await;
    sluice.settled().await;
    let arrived = arrived(&up, logs_of);
    assert_eq!(arrived["shop"], texts);
    for project in 0..3 {
        let of_project: Vec<String> = texts.iter().skip(project).step_by(3).cloned().collect();
        assert_eq!(arrived[&(project + 1).to_string()], of_project);
    }
}

#[tokio::test]
async fn routes_of_one_key_and_exporter_are_one_stream_in_which_all_records_keep_their_order() {
    let up = sinks::recording().await;
    let routes = "routes:
  - { name: errors, match: { record: { level: error } }, key: service.name, exporters: [otlp_http/up] }
  - { name: rest, match: { record: { level: '*' } }, key: service.name, exporters: [otlp_http/up] }
";
    let sluice = Sluice::start(&config(&up, routes)).await;
    let texts: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let record = |(at, text): (usize, &String)| LogRecord {
        event_name: text.clone(),
        attributes: vec![attribute("level", if at % 3 == 1 { "error" } else { "info" })],
        ..LogRecord::default()
    };
    let log_records = texts.iter().enumerate().map(record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope(None)), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource(&[("service.name", "shop")]));
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec();
    sluice.accept(Signal::Logs, request(&[entry])).await;
    sluice.settled().await;
    assert_eq!(arrived(&up, logs_of)["shop"], texts);
}

#[tokio::test]
async fn an_entry_that_would_take_more_than_all_memory_divided_is_rejected_alone() {
    let up = sinks::recording().await;
    let yaml = format!(
        "{}limits: {{ memory: 16MiB }}\n",
        config(&up, "routes: [{ key: { record: k, resource: team }, exporters: [otlp_http/up] }]\n")
    );
    let sluice = Sluice::start(&yaml).await;
    let entry = |of: &[(&str, &str)], records: Vec<LogRecord>| {
        let scope_logs =
            vec![ScopeLogs { scope: Some(scope(None)), log_records: records, ..ScopeLogs::default() }];
        ResourceLogs { resource: Some(resource(of)), scope_logs, ..ResourceLogs::default() }.encode_to_vec()
    };
    let large = "x".repeat(400_000);
    let many = (0..600).map(|number| LogRecord {
        attributes: vec![attribute("k", &number.to_string())],
        ..LogRecord::default()
    });
    let harmless = |text: &str| entry(&[("team", "a")], vec![log(text, None)]);
    let body = request(&[harmless("one"), entry(&[("large", &large)], many.collect()), harmless("two")]);
    let answer = sluice.post(Signal::Logs, body).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("something was rejected");
    assert_eq!((answer.status, rejected), (200, 600), "{message}");
    let why = "resource_logs[1]: divided by its records, it would take more than `limits.memory`";
    assert!(message.contains(why), "{message}");
    sluice.settled().await;
    assert_eq!(arrived(&up, logs_of), streams(&[("a", &["one", "two"])]));
    assert_eq!(sluice.metric("sluice_memory_bytes", &[]).await, 0.0, "what was asked for is given back");
}

#[tokio::test]
async fn a_record_that_differs_from_its_resource_where_routes_look_at_that_alone_is_a_warning() {
    let up = sinks::recording().await;
    let routes = "routes: [{ key: highlight.project_id, exporters: [otlp_http/up] }]\n";
    let sluice = SluiceProcess::start(&config(&up, routes), &[]).await;
    sluice.accept(Signal::Logs, logs(Some("7"), &[("a", Some("8"))])).await;
    let line = sluice.logged("on the first record").await;
    let expected =
        "`highlight.project_id` is `7` on the resource, which counted, and `8` on the first record";
    assert!(line.contains(expected) && line.contains("WARN"), "{line}");
}

#[tokio::test]
async fn an_entry_whose_records_differ_and_go_to_one_stream_is_left_whole() {
    let up = sinks::recording().await;
    let routes = "routes: [{ match: { record: { level: '*' } }, exporters: [otlp_http/up] }]\n";
    let sluice = Sluice::start(&config(&up, routes)).await;
    let record =
        |level: &str| LogRecord { attributes: vec![attribute("level", level)], ..LogRecord::default() };
    let log_records = vec![record("info"), record("error"), record("info")];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let body = request(&[ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec()]);
    sluice.accept(Signal::Logs, body.clone()).await;
    sluice.settled().await;
    assert_eq!(up.taken()[0].body, body);
}

#[tokio::test]
async fn what_is_only_on_records_is_told_to_who_looks_for_it_on_the_resource() {
    let up = sinks::recording().await;
    let routes = "routes: [{ key: highlight.project_id, exporters: [otlp_http/up] }]\n";
    let sluice = SluiceProcess::start(&config(&up, routes), &[]).await;
    let answer = sluice.post(Signal::Logs, logs(None, &[("a", Some("1")), ("b", Some("2"))])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("it was rejected");
    let told = "`highlight.project_id` is not on the resource; it is on the records: write `key: { record: \
                highlight.project_id, resource: highlight.project_id }`";
    assert!(rejected == 2 && message.contains(told), "{message}");
    let line = sluice.logged("records not taken").await;
    assert!(line.contains("it is on the records: write"), "{line}");
}

#[tokio::test]
async fn a_record_that_overrides_its_resource_is_a_warning_that_says_which_counted() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&config(&up, ROUTES), &[]).await;
    sluice.accept(Signal::Logs, logs(Some("1"), &[("a", Some("1")), ("b", None)])).await;
    sluice.accept(Signal::Logs, logs(Some("1"), &[("c", Some("2"))])).await;
    let line = sluice.logged("the value on the records was used").await;
    assert!(line.contains("`highlight.project_id` is `1` on a resource and `2` on its records"), "{line}");
}

/// One exporter with a journal in this directory.
fn journalled(up: &Sink, kept: &Path) -> String {
    config(up, ROUTES)
        + &format!(
            "journal: {{ directory: '{}/journal', max_size: 16MiB, segment_size: 1MiB }}\n",
            kept.display()
        )
        + "shutdown_timeout: 0s\n"
}

#[tokio::test]
async fn parts_that_were_acknowledged_are_in_their_streams_after_a_kill() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let mut sluice = SluiceProcess::start(&journalled(&up, kept.path()), &[]).await;
    for round in 0..3 {
        let texts: Vec<String> = (0..4).map(|number| format!("{round}.{number}")).collect();
        let projects = [Some("a"), None, Some("b"), Some("a")];
        let records: Vec<_> = texts.iter().map(String::as_str).zip(projects).collect();
        sluice.accept(Signal::Logs, logs(Some("c"), &records)).await;
    }
    sluice.signal("KILL").await;
    sluice.ended().await;
    up.clear_faults();
    let sluice = SluiceProcess::start(&journalled(&up, kept.path()), &[]).await;
    sluice.settled().await;
    let expected = streams(&[
        ("a", &["0.0", "0.3", "1.0", "1.3", "2.0", "2.3"]),
        ("b", &["0.2", "1.2", "2.2"]),
        ("c", &["0.1", "1.1", "2.1"]),
    ]);
    assert_eq!(arrived(&up, logs_of), expected);
}

#[tokio::test]
async fn a_dead_letter_is_divided_by_its_records_when_it_is_replayed() {
    let up = sinks::recording().await;
    let keeping = |routes: &str| config(&up, routes) + "unrouted: dead_letter\n" + LETTERS;
    let sluice =
        Sluice::start(&keeping("routes: [{ key: service.name, exporters: [otlp_http/up] }]\n")).await;
    sluice.accept(Signal::Logs, logs(Some("1"), &[("a", Some("2")), ("b", None), ("c", Some("2"))])).await;
    let directory = sluice.directory().join("letters");
    wait_for_letters(&directory, 1).await;
    sluice.reconfigure(&keeping(ROUTES)).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up, logs_of), streams(&[("1", &["b"]), ("2", &["a", "c"])]));
    assert_eq!(letters(&directory).len(), 0);
}

#[tokio::test]
async fn a_part_that_has_no_room_is_shed_and_the_others_are_taken() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let queue =
        "sending_queue: { when_full: shed, queue_size: 2KiB, batch: { min_size: 1, flush_timeout: 0s } }";
    let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[QUICK, queue, BY_STREAM]))]);
    let sluice = Sluice::start(&(exporters + ROUTES)).await;
    let large = "x".repeat(3000);
    sluice.accept(Signal::Logs, logs(None, &[(&large, Some("full"))])).await;
    let answer = sluice
        .post(Signal::Logs, logs(None, &[("a", Some("free")), ("b", Some("full")), ("c", Some("free"))]))
        .await;
    let (shed, message) = answer.partial(Signal::Logs).expect("a part was shed");
    assert!(shed == 1 && message.contains("entry 0 was shed by `otlp_http/up`"), "{message}");
    up.clear_faults();
    let metrics = sluice.settled().await;
    assert_eq!(arrived(&up, logs_of), streams(&[("full", &[&large]), ("free", &["a", "c"])]));
    assert_eq!(metrics.sum("sluice_received_records_total", &[("outcome", "dropped")]), 1.0);
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn an_entry_that_becomes_more_than_the_memory_can_hold_gives_back_what_it_had() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&(config(&up, ROUTES) + "limits: { memory: 16MiB }\n")).await;
    let large = "x".repeat(500_000);
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let records: Vec<_> = numbers.iter().map(|number| ("", Some(number.as_str()))).collect();
    let log_records = records.iter().map(|(text, of)| log(text, *of)).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope(None)), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource(&[("large", &large)]));
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec();
    let answer = sluice.post(Signal::Logs, request(&[entry])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("it was rejected");
    assert!(rejected == 100 && message.contains("would take more than `limits.memory`"), "{message}");
    assert_eq!(sluice.metric("sluice_memory_bytes", &[]).await, 0.0);
    sluice.accept(Signal::Logs, logs(None, &[("a", Some("1"))])).await;
    sluice.settled().await;
    assert_eq!(arrived(&up, logs_of), streams(&[("1", &["a"])]));
}
