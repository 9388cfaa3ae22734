//! What Sluice tells of itself by OTLP: spans, metrics and its log. Never of that itself, and at no cost to data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rig::sink::Fault;
use serde_json::json;
use sluice::otlp::Signal;
use tokio::time::Instant;

use crate::support::eventful::Eventful;
use crate::support::grpc::{call, export, framed};
use crate::support::metrics::Metrics;
use crate::support::own_telemetry::{Backend, attribute, body};
use crate::support::payload::{KEY, entry, entry_of, filler, logs, request, resource};
use crate::support::scripted::{Said, Scripted};
use crate::support::wire::{Wire, head};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{PATIENCE, SluiceProcess, eventually, sinks};

const SENDERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDERS_SPAN: &str = "b7ad6b7169203331";

/// Flags of spans and links.
const SAMPLED: u32 = 1;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The `traceparent` of a sender whose span is recorded or not.
fn traceparent(is_sampled: bool) -> String {
    format!("00-{SENDERS_TRACE}-{SENDERS_SPAN}-{:02}", u8::from(is_sampled))
}

fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String can't fail");
        text
    })
}

fn is(kind: SpanKind) -> impl Fn(&Span) -> bool {
    move |span| span.kind == kind as i32
}

/// An upstream that takes everything.
async fn taking() -> Scripted {
    Scripted::saying(Said::new(200, &[], "")).await
}

/// Sluice in front of an upstream, which tells of itself.
async fn start(up: &Scripted, backend: &Backend, options: &str) -> SluiceProcess {
    SluiceProcess::start(&(yaml::up(&up.url(), &[SINGLY, QUICK]) + &backend.config(options)), &[]).await
}

#[tokio::test]
async fn a_request_is_traced_below_its_sender_and_the_attempt_is_linked_with_it_and_named_to_the_upstream() {
    let (up, backend) = (taking().await, Backend::start().await);
    let sluice = start(&up, &backend, "sampling: 0").await;
    let parent = traceparent(true);
    let two = logs(&[("a", &["one", "two"])]);
    let headers = [("traceparent", &*parent), ("tracestate", "rojo=1 ,"), ("tracestate", "congo=2")];
    let answer = sluice.post_with(Signal::Logs, two.clone(), &headers).await;
    assert_eq!(answer.status, 200);
    let server = backend.span("the request's span", is(SpanKind::Server)).await;
    assert_eq!(hexadecimal(&server.trace_id), SENDERS_TRACE);
    assert_eq!(hexadecimal(&server.parent_span_id), SENDERS_SPAN);
    assert_eq!((&*server.name, &*server.trace_state), ("POST /v1/logs", "rojo=1,congo=2"));
    assert_eq!(server.flags, SAMPLED | HAS_IS_REMOTE | IS_REMOTE, "its parent is the sender's");
    assert!(server.start_time_unix_nano > 0 && server.end_time_unix_nano >= server.start_time_unix_nano);
    let of_server = |key: &str| attribute(&server.attributes, key);
    let shown =
        ["sluice.receiver", "sluice.signal", "sluice.records", "sluice.outcome", "http.response.status_code"];
    assert_eq!(shown.map(of_server), ["otlp", "logs", "2", "accepted", "200"]);
    assert_eq!(of_server("sluice.bytes"), two.len().to_string());

    let client = backend.span("the attempt's span", is(SpanKind::Client)).await;
    let [link] = &client.links[..] else { panic!("{client:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&server.trace_id, &server.span_id));
    assert_ne!(client.trace_id, server.trace_id, "it is for all that is in the batch");
    assert_eq!([client.flags, link.flags], [SAMPLED | HAS_IS_REMOTE; 2], "neither is another process's");
    assert_eq!(client.trace_state, "");
    let of_client = |key: &str| attribute(&client.attributes, key);
    let shown = [
        "sluice.exporter",
        "sluice.key",
        "sluice.attempt",
        "sluice.code",
        "sluice.outcome",
        "sluice.records",
    ];
    assert_eq!(shown.map(of_client), ["otlp_http/up", "a", "1", "200", "delivered", "2"]);
    assert_eq!(of_client("url.full"), format!("{}/v1/logs", up.url()));
    let named = up.wait_for(1).await[0].headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(named, format!("00-{}-{}-01", hexadecimal(&client.trace_id), hexadecimal(&client.span_id)));
}

#[tokio::test]
async fn a_call_of_grpc_is_traced_by_its_metadata_and_ends_with_its_code() {
    let (up, backend) = (taking().await, Backend::start().await);
    let sluice = start(&up, &backend, "sampling: 0").await;
    let parent = traceparent(true);
    let headers = [("traceparent", &*parent)];
    call(sluice.otlp, "/grpc.health.v1.Health/Check", &headers, framed(0, b"")).await;
    call(sluice.otlp, export(Signal::Logs), &headers, framed(0, &logs(&[("a", &["one"])]))).await;
    let span = backend.span("the call's span", is(SpanKind::Server)).await;
    assert_eq!(hexadecimal(&span.parent_span_id), SENDERS_SPAN);
    assert_eq!(span.name, "opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let of = |span: &Span, key: &str| attribute(&span.attributes, key);
    let shown = ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"];
    let service = "opentelemetry.proto.collector.logs.v1.LogsService";
    assert_eq!(shown.map(|key| of(&span, key)), ["grpc", service, "Export", "0"]);
    assert_eq!(span.status, None);
    call(sluice.otlp, export(Signal::Logs), &headers, framed(0, b"\xff")).await;
    let is_wrong = |span: &Span| of(span, "rpc.grpc.status_code") == "3";
    let wrong = backend.span("the wrong call's span", is_wrong).await;
    assert_eq!(wrong.status, None, "what a sender has done wrong is no error of a server");
    let requests = backend.spans().into_iter().filter(is(SpanKind::Server)).count();
    assert_eq!(requests, 2, "asking how Sluice is brings no telemetry");
}

#[tokio::test]
async fn attempts_by_grpc_name_what_they_call_and_what_stays_in_the_process_is_no_clients() {
    let (up, backend) = (sinks::recording().await, Backend::start().await);
    let config = yaml::exporters(&[
        ("otlp_grpc/up", format!("endpoint: '{}', tls: {{ insecure: true }}, {SINGLY}", up.url())),
        ("file/disk", format!("path: '@DIR@/data', {SINGLY}")),
        ("debug", SINGLY.to_owned()),
    ]) + &yaml::by_stream("otlp_grpc/up, file/disk, debug")
        + &backend.config("sampling: 1");
    let sluice = SluiceProcess::start(&config, &[]).await;
    sluice.accept(Signal::Metrics, request(&[entry(Signal::Metrics, "a", &["one"])])).await;
    let of = |exporter: &'static str| {
        backend.span(exporter, move |span| attribute(&span.attributes, "sluice.exporter") == exporter)
    };
    let shown = |span: &Span| {
        let keys = ["rpc.system", "rpc.service", "rpc.method", "sluice.outcome"];
        (span.kind, keys.map(|key| attribute(&span.attributes, key)))
    };
    let service = "opentelemetry.proto.collector.metrics.v1.MetricsService";
    let expected = ["grpc", service, "Export", "delivered"].map(str::to_owned);
    assert_eq!(shown(&of("otlp_grpc/up").await), (SpanKind::Client as i32, expected));
    let file = of("file/disk").await;
    let expected = ["", "", "", "delivered"].map(str::to_owned);
    assert_eq!(shown(&file), (SpanKind::Internal as i32, expected.clone()));
    assert!(attribute(&file.attributes, "file.path").ends_with("metrics.jsonl"), "{file:?}");
    let debug = of("debug").await;
    assert_eq!(shown(&debug), (SpanKind::Internal as i32, expected));
    assert!(debug.attributes.iter().all(|known| !known.key.starts_with("url.")), "{debug:?}");
}

#[tokio::test]
async fn a_request_whose_sender_has_gone_is_unanswered() {
    let (up, backend) = (sinks::recording().await, Backend::start().await);
    up.set_fault(Fault::hang());
    let config = yaml::up(&up.url(), &[SINGLY]) + &backend.config("sampling: 1");
    let sluice = SluiceProcess::start(&(config + "acknowledge: delivered\n"), &[]).await;
    let mut wire = Wire::open(sluice.otlp).await;
    let body = logs(&[("a", &["one"])]);
    let length = format!("content-length: {}", body.len());
    wire.write(head("POST /v1/logs", &["content-type: application/x-protobuf", &length])).await;
    wire.write(&body).await;
    up.wait_for_requests(1, PATIENCE).await.expect("the attempt is made");
    drop(wire);
    let span = backend.span("the request's span", is(SpanKind::Server)).await;
    assert_eq!(attribute(&span.attributes, "sluice.outcome"), "unanswered");
    assert_eq!(
        (attribute(&span.attributes, "http.response.status_code"), span.status),
        (String::new(), None)
    );
}

#[tokio::test]
async fn an_attempt_whose_answer_is_not_waited_for_is_given_up_and_its_stream_is_closed() {
    let (up, backend) = (sinks::recording().await, Backend::start().await);
    up.set_fault(Fault::hang());
    let rest = backend.config("sampling: 1") + "shutdown_timeout: 0s\n";
    let config = yaml::up(&up.url(), &[SINGLY]) + &rest;
    let sluice = SluiceProcess::start(&config, &["--log-level", "debug"]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    up.wait_for_requests(1, PATIENCE).await.expect("the attempt is made");
    // Without the exporter, which is given no time.
    sluice.write_config(&(yaml::exporters(&[("nop", String::new())]) + &yaml::by_stream("nop") + &rest));
    sluice.signal("HUP").await;
    let span = backend.span("the attempt's span", is(SpanKind::Client)).await;
    let shown = ["sluice.outcome", "sluice.attempt", "sluice.code", "sluice.previous_code"];
    assert_eq!(shown.map(|key| attribute(&span.attributes, key)), ["given_up", "1", "", ""]);
    assert_eq!(span.status, None);
    let closed = backend.logged("stream closed: it holds nothing").await;
    let shown = ["exporter", "signal", "key"].map(|key| attribute(&closed.attributes, key));
    assert_eq!((shown, &*closed.severity_text), (["otlp_http/up", "logs", "a"].map(str::to_owned), "DEBUG"));
}

#[tokio::test]
async fn what_is_not_sampled_is_not_traced_and_all_of_it_is_where_that_is_asked_for() {
    let up = taking().await;
    for (sampling, parent, expected) in [
        (0, None, 0),
        (1, None, 2),
        (1, Some(traceparent(false)), 0),
        (0, Some(traceparent(true)), 2),
        (0, Some("00-not-valid-01".to_owned()), 0),
        (1, Some("00-not-valid-01".to_owned()), 2),
    ] {
        let backend = Backend::start().await;
        let sluice = start(&up, &backend, &format!("sampling: {sampling}")).await;
        let headers: Vec<_> = parent.iter().map(|parent| ("traceparent", parent.as_str())).collect();
        let answer = sluice.post_with(Signal::Logs, logs(&[("a", &["one"])]), &headers).await;
        assert_eq!(answer.status, 200);
        sluice.settled().await;
        eventually("spans are sent", async || (backend.spans().len() >= expected).then_some(())).await;
        // Whatever else there is would be sent by then.
        backend.intervals(10).await;
        assert_eq!(backend.spans().len(), expected, "sampling: {sampling}, traceparent: {parent:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_is_repeated_says_why_and_a_batch_of_many_requests_names_some_of_them() {
    let refused = Arc::new(AtomicUsize::new(0));
    let refusals = refused.clone();
    let up = Scripted::new(move |_| {
        let status = if refusals.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 200 };
        Said::new(status, &[], "later")
    })
    .await;
    let backend = Backend::start().await;
    let batch = "sending_queue: { batch: { min_size: 256KiB, flush_timeout: 1s } }";
    let config = yaml::up(&up.url(), &[batch, QUICK]) + &backend.config("sampling: 1");
    let sluice = SluiceProcess::start(&config, &[]).await;
    for _ in 0..40 {
        sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    }
    let attempt =
        |number: &'static str| move |span: &Span| attribute(&span.attributes, "sluice.attempt") == number;
    let (first, second) =
        (backend.span("first", attempt("1")).await, backend.span("second", attempt("2")).await);
    let code = |span: &Span, key| attribute(&span.attributes, key);
    assert_eq!(
        (code(&first, "sluice.code"), code(&first, "sluice.outcome")),
        ("503".to_owned(), "retry".to_owned())
    );
    assert!(first.status.as_ref().is_some_and(|status| status.message.contains("later")), "{first:?}");
    assert_eq!(code(&second, "sluice.previous_code"), "503");
    let linked = |span: &Span| span.links.len() + span.dropped_links_count as usize;
    assert_eq!(linked(&first), linked(&second), "they are about one batch");
    let spans = backend.spans();
    let all: usize = spans.iter().filter(|span| attempt("1")(span)).map(linked).sum();
    assert!(all == 40 && spans.iter().all(|span| span.links.len() <= 32), "{all} of 40 requests");
}

/// The value of each counter and gauge, and the count and the sum of each histogram.
fn values(metrics: &[Metric]) -> BTreeMap<(String, Vec<(String, String)>), f64> {
    let labels = |attributes: &[KeyValue]| {
        let mut labels: Vec<_> =
            attributes.iter().map(|pair| (pair.key.clone(), attribute(attributes, &pair.key))).collect();
        labels.sort();
        labels
    };
    let mut values = BTreeMap::new();
    for metric in metrics {
        let (name, numbers) = match metric.data.as_ref().expect("a metric has data") {
            Data::Sum(sum) => (format!("{}_total", metric.name), &sum.data_points),
            Data::Gauge(gauge) => (metric.name.clone(), &gauge.data_points),
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    let buckets: u64 = point.bucket_counts.iter().sum();
                    assert_eq!(buckets, point.count, "{metric:?}");
                    values.insert(
                        (format!("{}_count", metric.name), labels(&point.attributes)),
                        point.count as f64,
                    );
                    let sum = point.sum.expect("a histogram has a sum");
                    values.insert((format!("{}_sum", metric.name), labels(&point.attributes)), sum);
                }
                continue;
            }
            other => panic!("{other:?}"),
        };
        for point in numbers {
            let value = match point.value.expect("a point has a value") {
                Value::AsInt(value) => value as f64,
                Value::AsDouble(value) => value,
            };
            values.insert((name.clone(), labels(&point.attributes)), value);
        }
    }
    values
}

/// The kind, the text and the unit of each metric that has series on a page for Prometheus.
fn described(page: &str) -> BTreeMap<String, (String, String, String)> {
    let mut described = BTreeMap::new();
    let (mut help, mut metric) = (String::new(), None);
    for line in page.lines() {
        if let Some((_, text)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
            text.clone_into(&mut help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let unit = match name.rsplit('_').next() {
                Some("seconds") => "s",
                Some("bytes") => "By",
                _ => "",
            };
            metric = Some((name.to_owned(), (kind.to_owned(), help.clone(), unit.to_owned())));
        } else if !line.starts_with('#') {
            // It has a series.
            described.extend(metric.take());
        }
    }
    described
}

/// The same of metrics that are sent.
fn described_by_otlp(metrics: &[Metric]) -> BTreeMap<String, (String, String, String)> {
    let describe = |metric: &Metric| {
        let kind = match metric.data.as_ref().expect("a metric has data") {
            Data::Sum(sum) => {
                // Those of time are no integers.
                let is_whole = |point: &NumberDataPoint| matches!(point.value, Some(Value::AsInt(_)));
                assert!(
                    sum.is_monotonic
                        && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32,
                    "{metric:?}"
                );
                assert!(metric.unit == "s" || sum.data_points.iter().all(is_whole), "{metric:?}");
                "counter"
            }
            Data::Gauge(_) => "gauge",
            Data::Histogram(_) => "histogram",
            other => panic!("{other:?}"),
        };
        (metric.name.clone(), (kind.to_owned(), metric.description.clone(), metric.unit.clone()))
    };
    metrics.iter().map(describe).collect()
}

/// Metrics that are others while somebody asks for the page.
const OF_THE_PAGE: [&str; 3] = ["sluice_tasks", "sluice_descriptors", "sluice_memory_bytes"];

#[tokio::test]
async fn every_metric_is_sent_with_the_kind_the_labels_and_the_value_that_prometheus_reads() {
    let backend = Backend::start().await;
    let eventful = Eventful::start_telling(Some(&backend.url())).await;
    let page = async || eventful.sluice.get("/metrics").await.text();
    let mut compared = BTreeSet::new();
    eventually("all metrics were compared", async || {
        eventful.send_all_sorts().await;
        let before = page().await;
        // One that has begun before that page was made may end behind it.
        backend.intervals(2).await;
        let (_, sent) = backend.newest_metrics()?;
        let after = page().await;
        let (of_before, of_sent, of_after) =
            (described(&before), described_by_otlp(&sent), described(&after));
        if of_before != of_after || of_sent != of_after {
            println!("not the same metrics yet: {of_before:?}, {of_sent:?}, {of_after:?}");
            return None;
        }
        let (before, after) = (Metrics::parse(&before), Metrics::parse(&after));
        for ((name, labels), value) in values(&sent) {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            let (one, other) = (before.sum(&name, &labels), after.sum(&name, &labels));
            if (one.min(other)..=one.max(other)).contains(&value) {
                compared.insert(name);
            } else {
                // What goes down as well may have been anything between the two pages.
                let is_gauge = of_sent.get(&name).is_some_and(|(kind, ..)| kind == "gauge");
                assert!(is_gauge, "{name} {labels:?}: {value} between {one} and {other}");
            }
        }
        let names = after.names().into_iter().filter(|name| !name.ends_with("_bucket"));
        let left: Vec<_> =
            names.filter(|name| !compared.contains(*name) && !OF_THE_PAGE.contains(name)).collect();
        println!("not compared yet: {left:?}");
        left.is_empty().then_some(())
    })
    .await;
    assert!(compared.len() > 40, "{compared:?}");
}

#[tokio::test]
async fn the_metrics_that_are_sent_are_those_that_prometheus_reads() {
    let (up, backend) = (taking().await, Backend::start().await);
    let config = yaml::up(&up.url(), &[SINGLY]) + &backend.config("sampling: 0");
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")];
    let sluice = SluiceProcess::start_with_env(&config, &variables).await;
    for stream in ["a", "b", "c"] {
        sluice.accept(Signal::Logs, logs(&[(stream, &["one", "two"])])).await;
        sluice.post(Signal::Traces, b"\xff".to_vec()).await;
    }
    sluice.settled().await;
    // What goes on while nobody sends anything: time, the connections of this test, and what is told itself.
    let moves = |name: &str| {
        ["sluice_telemetry_", "sluice_tasks", "sluice_memory_bytes", "sluice_descriptors", "sluice_oldest_"]
            .iter()
            .any(|moving| name.starts_with(moving))
    };
    let compared = eventually("the metrics are the same", async || {
        let (_, sent) = backend.newest_metrics()?;
        let sent = values(&sent);
        let page = sluice.metrics().await;
        let shown = |(name, labels): &(String, Vec<(String, String)>)| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            page.sum(name, &labels)
        };
        let differs: Vec<_> =
            sent.iter().filter(|(key, value)| !moves(&key.0) && shown(key) != **value).collect();
        let names: Vec<_> = sent.keys().map(|(name, _)| name.as_str()).collect();
        let of_page: Vec<_> = page.names().into_iter().filter(|name| !name.ends_with("_bucket")).collect();
        let lacking: Vec<_> = of_page.iter().filter(|name| !moves(name) && !names.contains(name)).collect();
        if !differs.is_empty() || !lacking.is_empty() {
            println!("not the same yet: {differs:?}, {lacking:?}");
            return None;
        }
        Some(sent)
    })
    .await;
    let received = |outcome: &str| {
        let labels = [("outcome", outcome), ("signal", "logs"), ("transport", "http")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        compared[&("sluice_received_records_total".to_owned(), labels)]
    };
    assert_eq!(received("accepted"), 6.0);
    let (resource, _) = backend.newest_metrics().unwrap();
    let of = |key: &str| attribute(&resource.attributes, key);
    assert_eq!(
        (of("service.name"), of("service.version")),
        ("sluice".to_owned(), env!("CARGO_PKG_VERSION").to_owned())
    );
    assert_eq!(of("deployment.environment.name"), "test");
    assert_eq!(of("service.instance.id").len(), 36);
}

#[tokio::test]
async fn the_log_is_sent_at_its_level_with_the_trace_that_a_line_is_about() {
    let (up, backend) = (taking().await, Backend::start().await);
    let sluice = start(&up, &backend, "sampling: 0").await;
    // No route takes it.
    let unrouted = request(&[entry_of(Signal::Logs, resource(&[]), &["one"])]);
    let parent = traceparent(true);
    sluice.post_with(Signal::Logs, unrouted, &[("traceparent", &parent)]).await;
    let warning = backend.logged("records not taken").await;
    let span = backend.span("the request's span", is(SpanKind::Server)).await;
    assert_eq!((&warning.trace_id, &warning.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(warning.severity_text, "WARN");
    assert_eq!(attribute(&warning.attributes, "signal"), "logs");
    sluice.signal("HUP").await;
    let reloaded = backend.logged("configuration reloaded").await;
    assert_eq!((reloaded.trace_id.len(), &*reloaded.severity_text), (0, "INFO"));
    backend.intervals(10).await;
    assert!(backend.logs().iter().all(|record| record.severity_text != "DEBUG"));
}

#[tokio::test]
async fn what_is_logged_about_the_dead_letter_of_a_request_has_its_trace() {
    let (up, backend) = (sinks::recording().await, Backend::start().await);
    up.set_fault(Fault::hang());
    let shed = "sending_queue: { queue_size: 1KiB, when_full: shed, batch: { min_size: 1 } }";
    let config = yaml::up(&up.url(), &[shed]) + &backend.config("sampling: 0") + LETTERS;
    let sluice = SluiceProcess::start(&config, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &[&filler("first", 2000)])])).await;
    let parent = traceparent(true);
    sluice.post_with(Signal::Logs, logs(&[("a", &["no room"])]), &[("traceparent", &parent)]).await;
    let line = backend.logged("records not delivered").await;
    let span = backend.span("the request's span", is(SpanKind::Server)).await;
    assert_eq!((&line.trace_id, &line.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(attribute(&line.attributes, "outcome"), "dead_lettered");
}

#[tokio::test]
async fn an_endpoint_that_is_down_costs_a_bounded_part_which_is_counted_and_is_told_all_else_once_it_is_back()
{
    let is_down = Arc::new(AtomicBool::new(true));
    let answers_down = is_down.clone();
    let backend = Backend::answering(move |_| {
        let status = if answers_down.load(Ordering::Relaxed) { 503 } else { 200 };
        Said::new(status, &[], "")
    })
    .await;
    let config = format!("exporters: {{ nop: }}\nroutes: [{{ key: {KEY}, exporters: [nop] }}]\n");
    let sluice = SluiceProcess::start(&(config + &backend.config("sampling: 1")), &[]).await;
    let traces = |outcome: &'static str| [("signal", "traces"), ("outcome", outcome)];
    let metric = "sluice_telemetry_records_total";
    let mut requests = 0.0;
    while sluice.metric(metric, &traces("dropped")).await == 0.0 {
        for _ in 0..200 {
            sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
            requests += 1.0;
        }
        assert!(requests < 10_000.0, "there is no end of the room for spans");
    }
    sluice.settled().await;
    let complaints = sluice.log().iter().filter(|line| line.contains("own telemetry is not taken")).count();
    assert!(
        (1..20).contains(&complaints),
        "{complaints} lines, of at most one in ten seconds for each cause"
    );
    is_down.store(false, Ordering::Relaxed);
    // Of each request its own span, and one of each attempt.
    eventually("what there was room for is sent", async || {
        let metrics = sluice.metrics().await;
        let (sent, dropped) = (metrics.sum(metric, &traces("sent")), metrics.sum(metric, &traces("dropped")));
        (sent >= 2048.0 && sent + dropped > requests).then_some(())
    })
    .await;
    assert!(backend.spans().len() >= 2048);
    assert!(
        backend.logs().iter().all(|record| !body(record).contains("own telemetry")),
        "it tells of itself"
    );
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_needs_attention_until_it_does() {
    let is_refusing = Arc::new(AtomicBool::new(true));
    let answers_refusing = is_refusing.clone();
    let backend = Backend::answering(move |asked| {
        let refuses = answers_refusing.load(Ordering::Relaxed) && asked.path == "/v1/metrics";
        Said::new(if refuses { 401 } else { 200 }, &[], "s3cr3t-words of a backend")
    })
    .await;
    let config = format!("exporters: {{ nop: }}\nroutes: [{{ key: {KEY}, exporters: [nop] }}]\n");
    let sluice = SluiceProcess::start(&(config + &backend.config("")), &[]).await;
    let attention = async || sluice.api("/api/v1/overview").await["attention"].clone();
    let told =
        eventually("it is told", async || Some(attention().await[0].clone()).filter(|told| !told.is_null()))
            .await;
    assert_eq!((&told["kind"], &told["severity"]), (&json!("telemetry_not_taken"), &json!("warning")));
    assert_eq!((&told["subject"]["kind"], &told["href"]), (&json!("telemetry"), &json!("/configuration")));
    assert!(told["since"].is_string(), "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("Sluice's own metrics: 401 from the endpoint of `telemetry` for 1"), "{text}");
    assert!(text.ends_with("it refuses the credential; put a valid one into `telemetry.headers`."), "{text}");
    let dropped = text.split(' ').find_map(|word| word.parse::<u64>().ok().filter(|number| *number > 20));
    assert!(dropped.is_some() && !text.contains("s3cr3t"), "{text}");
    is_refusing.store(false, Ordering::Relaxed);
    eventually("it is told no more", async || (attention().await == json!([])).then_some(())).await;
}

#[tokio::test]
async fn what_it_tells_of_itself_may_come_to_its_own_receiver_and_is_not_told_of_again() {
    let (up, own) = (Backend::start().await, sinks::nobody().await);
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{own}' }} }} }} }}
exporters: {{ otlp_http/up: {{ endpoint: '{up}', {SINGLY} }} }}
routes: [{{ key: service.name, exporters: [otlp_http/up] }}]
telemetry: {{ endpoint: 'http://{own}', sampling: 1, interval: 200ms }}
",
        up = up.url(),
    );
    let sluice = SluiceProcess::start(&config, &["--log-level", "debug"]).await;
    assert!(sluice.says("`telemetry` is sent to the own receiver `otlp`"));
    let of_app = request(&[entry_of(Signal::Logs, resource(&[("service.name", "app")]), &["one"])]);
    sluice.accept(Signal::Logs, of_app).await;
    // It takes the way of all data, behind the receiver and the route.
    for kind in [SpanKind::Server, SpanKind::Client] {
        up.span("a span of the request or its attempt", is(kind)).await;
    }
    up.intervals(10).await;
    // How much flows is told now and then, whatever it is.
    let told = || up.logs().iter().filter(|record| !body(record).contains("MB/s in")).count();
    let before = told();
    up.intervals(20).await;
    assert_eq!(up.spans().len(), 2, "what is sent is traced: {:?}", up.spans());
    assert_eq!(told(), before, "what is logged about it is sent: {:?}", up.logs());
    let keys: Vec<_> = up.spans().iter().map(|span| attribute(&span.attributes, "sluice.key")).collect();
    assert!(keys.contains(&"app".to_owned()), "{keys:?}");
}

/// An entry of one log record for a stream, of the process with this `service.instance.id`.
fn entry_of_instance(instance: &str, stream: &str) -> Vec<u8> {
    entry_of(Signal::Logs, resource(&[("service.instance.id", instance), (KEY, stream)]), &["one"])
}

#[tokio::test]
async fn own_telemetry_that_comes_by_way_of_others_is_known_by_each_entry_and_not_told_of_again() {
    let (up, backend) = (taking().await, Backend::start().await);
    let config = yaml::up(&up.url(), &[SINGLY, QUICK]) + &backend.config("sampling: 1");
    let sluice = SluiceProcess::start(&config, &["--log-level", "debug"]).await;
    backend.intervals(1).await;
    let (of_sluice, _) = backend.newest_metrics().unwrap();
    let instance = attribute(&of_sluice.attributes, "service.instance.id");
    // Alone, and in one request with what others have sent, in front of it.
    sluice.accept(Signal::Logs, request(&[entry_of_instance(&instance, "own alone")])).await;
    let mixed = [entry_of_instance(&instance, "own first"), entry_of_instance("another", "foreign")];
    sluice.accept(Signal::Logs, request(&mixed)).await;
    sluice.settled().await;
    let server = backend.span("the mixed request's span", is(SpanKind::Server)).await;
    assert_eq!(attribute(&server.attributes, "sluice.records"), "2");
    let client = backend.span("the attempt's span", is(SpanKind::Client)).await;
    assert_eq!(attribute(&client.attributes, "sluice.key"), "foreign");
    for line in ["stream opened", "batch closed", "attempt made", "stream has nothing left to send"] {
        assert_eq!(attribute(&backend.logged(line).await.attributes, "key"), "foreign");
    }
    sluice.logged("own alone").await;
    sluice.logged("own first").await;
    backend.intervals(10).await;
    assert_eq!(backend.spans().len(), 2, "{:?}", backend.spans());
    let keys: Vec<_> = backend.logs().iter().map(|record| attribute(&record.attributes, "key")).collect();
    assert!(!keys.iter().any(|key| key.starts_with("own")), "{:?}", backend.logs());
}

#[tokio::test]
async fn a_request_that_is_not_taken_is_not_told_of_either_if_it_is_own_telemetry() {
    let (up, backend) = (taking().await, Backend::start().await);
    let sluice = start(&up, &backend, "sampling: 1").await;
    backend.intervals(1).await;
    let (of_sluice, _) = backend.newest_metrics().unwrap();
    let instance = attribute(&of_sluice.attributes, "service.instance.id");
    // No route takes it.
    let unrouted = entry_of(Signal::Logs, resource(&[("service.instance.id", &instance)]), &["one"]);
    sluice.post(Signal::Logs, request(&[unrouted])).await;
    sluice.logged("records not taken").await;
    backend.intervals(10).await;
    assert!(!backend.logs().iter().any(|record| body(record).contains("not taken")), "{:?}", backend.logs());
    assert_eq!(backend.spans(), []);
}

#[tokio::test]
async fn a_sender_decides_about_its_trace_only_once_it_is_known() {
    let (up, backend) = (taking().await, Backend::start().await);
    let receiver = "extensions: { bearertokenauth: { token: s3cret } }
receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:0', auth: { authenticator: bearertokenauth } } } } }
";
    let config = receiver.to_owned() + &yaml::up(&up.url(), &[SINGLY]) + &backend.config("sampling: 0");
    let sluice = SluiceProcess::start(&config, &[]).await;
    let parent = traceparent(true);
    for (token, status) in [("Bearer wrong", 401), ("Bearer s3cret", 200)] {
        let headers = [("traceparent", &*parent), ("authorization", token)];
        let answer = sluice.post_with(Signal::Logs, logs(&[("a", &["one"])]), &headers).await;
        assert_eq!(answer.status, status);
    }
    let span = backend.span("the known sender's span", is(SpanKind::Server)).await;
    assert_eq!(hexadecimal(&span.parent_span_id), SENDERS_SPAN);
    assert_eq!(attribute(&span.attributes, "http.response.status_code"), "200");
    backend.intervals(10).await;
    assert_eq!(backend.spans().into_iter().filter(is(SpanKind::Server)).count(), 1);
}

#[tokio::test]
async fn what_is_left_is_sent_before_the_process_ends_and_a_reload_begins_and_ends_it() {
    let (up, backend) = (taking().await, Backend::start().await);
    let without = yaml::up(&up.url(), &[SINGLY]);
    let mut sluice = SluiceProcess::start(&without, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["before"])])).await;
    let with = without.clone() + &backend.config("sampling: 1, headers: { x-of: reload }");
    sluice.write_config(&with);
    sluice.signal("HUP").await;
    backend.intervals(1).await;
    assert_eq!(backend.asked("/v1/metrics")[0].headers["x-of"], "reload");
    sluice.write_config(&without);
    sluice.signal("HUP").await;
    eventually("it ends", async || {
        let before = backend.asked("/v1/metrics").len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        (backend.asked("/v1/metrics").len() == before).then_some(())
    })
    .await;
    sluice.accept(Signal::Logs, logs(&[("a", &["between"])])).await;
    sluice.write_config(&with);
    sluice.signal("HUP").await;
    backend.intervals(3).await;
    sluice.accept(Signal::Logs, logs(&[("last", &["after"])])).await;
    sluice.signal("TERM").await;
    assert!(tokio::time::timeout(PATIENCE, sluice.ended()).await.unwrap().success());
    let keys: Vec<_> = backend.spans().iter().map(|span| attribute(&span.attributes, "sluice.key")).collect();
    assert_eq!(keys.iter().filter(|key| !key.is_empty()).collect::<Vec<_>>(), ["last"]);
    assert!(backend.logs().iter().any(|record| body(record).contains("shutting down")));
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_traces_gets_metrics_and_the_log_all_the_same() {
    let up = taking().await;
    let backend =
        Backend::answering(|asked| Said::new(if asked.path == "/v1/traces" { 404 } else { 200 }, &[], ""))
            .await;
    let sluice = start(&up, &backend, "sampling: 1").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    eventually("traces are refused", async || (!backend.asked("/v1/traces").is_empty()).then_some(())).await;
    sluice.signal("HUP").await;
    backend.logged("configuration reloaded").await;
    backend.intervals(10).await;
    let attempts = backend.asked("/v1/traces").len();
    assert!(attempts < 5, "what is taken of the other signals ends the wait of traces: {attempts} attempts");
}

/// Sluice whose own telemetry is on its way to an endpoint that never answers.
async fn start_with_endpoint_that_hangs() -> SluiceProcess {
    let (up, backend) =
        (taking().await, Backend::answering(|_| Said::new(200, &[], "never whole").endless()).await);
    let sluice = start(&up, &backend, "sampling: 1").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    sluice.settled().await;
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        eventually(path, async || (!backend.asked(path).is_empty()).then_some(())).await;
    }
    sluice
}

#[tokio::test]
async fn an_endpoint_that_never_answers_delays_the_end_by_two_seconds_and_the_log_says_what_is_not_sent() {
    let mut sluice = start_with_endpoint_that_hangs().await;
    let told = Instant::now();
    sluice.signal("TERM").await;
    assert!(sluice.ended().await.success(), "all data is delivered");
    // An attempt alone would take ten seconds.
    assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());
    sluice.logged("own telemetry that was left is not sent").await;
}

#[tokio::test]
async fn a_second_signal_ends_the_wait_for_own_telemetry() {
    let mut sluice = start_with_endpoint_that_hangs().await;
    sluice.signal("TERM").await;
    sluice.logged("everything was delivered").await;
    sluice.signal("TERM").await;
    assert!(sluice.ended().await.success(), "all data is delivered");
    sluice.logged("not waiting for own telemetry any more").await;
}

#[tokio::test]
async fn debug_lines_tell_each_decision_about_a_stream_and_no_secret_and_no_record() {
    let asked = AtomicUsize::new(0);
    let up = Scripted::new(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Said::new(413, &[], "too large"),
        1 => Said::new(503, &[], "busy"),
        2 => Said::new(401, &[], "s3cr3t-token is not known"),
        _ => Said::new(200, &[], ""),
    })
    .await;
    let backend = Backend::start().await;
    let token = "headers: { authorization: 'Bearer s3cr3t-token' }";
    let config = yaml::up(&up.url(), &[SINGLY, QUICK, token])
        + &backend.config("sampling: 1, headers: { authorization: 's3cr3t-telemetry' }");
    let sluice = SluiceProcess::start(&config, &["--log-level", "debug"]).await;
    sluice.accept(Signal::Logs, logs(&[("mine", &["s3cr3t-record", "s3cr3t-other"])])).await;
    sluice.settled().await;
    for decision in [
        "stream opened",
        "batch closed: it is large enough",
        "attempt made",
        "batch divided",
        "stream waits before its next attempt",
        "stream held",
        "stream goes on with its next attempt",
        "stream has nothing left to send",
    ] {
        let record = backend.logged(decision).await;
        assert_eq!(attribute(&record.attributes, "key"), "mine", "{record:?}");
        assert_eq!(attribute(&record.attributes, "exporter"), "otlp_http/up", "{record:?}");
        let line = sluice.logged(decision).await;
        assert!(line.contains("DEBUG") && line.contains("mine"), "{line}");
    }
    let divided = backend.logged("batch divided").await;
    assert!(attribute(&divided.attributes, "reason").contains("too large"), "{divided:?}");
    let shown = format!("{:?}{:?}{:?}", sluice.log(), backend.logs(), backend.spans());
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(
        backend.asked("/v1/logs").iter().all(|asked| asked.headers["authorization"] == "s3cr3t-telemetry")
    );
    let api = sluice.get("/api/v1/config").await.text();
    assert!(api.contains("telemetry") && !api.contains("s3cr3t"), "{api}");
}
