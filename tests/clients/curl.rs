//! `curl` with JSON written by hand, of the shape that Better Stack's documentation of traces gives it.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::support::sinks::{self, Received as _};
use crate::support::{PATIENCE, SluiceProcess, sdks, yaml};

/// Runs a script and returns what arrives of its spans: for each service, in the order of their names, a span.
async fn spans_of(script: &str, expected: u64) -> Vec<(String, Span)> {
    let up = sinks::recording().await;
    let config = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))])
        + "routes:\n  - { key: service.name, exporters: [otlp_http/up] }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    let output = Command::new("sh")
        .arg(sdks::source("curl").join(script))
        .env("ENDPOINT", sluice.url())
        .env("SOURCE_TOKEN", "source-token")
        .output()
        .await
        .expect("there is a shell");
    let (answer, trouble) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {answer} {trouble}");
    assert_eq!(answer, "{}", "{script}: what Better Stack answers");
    up.wait_for_records(expected, PATIENCE).await.expect("the spans arrive");
    let requests = up.bodies(Signal::Traces).into_iter();
    let entries = requests.flat_map(|body| ExportTraceServiceRequest::decode(body).unwrap().resource_spans);
    let mut spans: Vec<_> = entries.map(|entry| (service(&entry), span(entry))).collect();
    spans.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (_, span) in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(span.start_time_unix_nano > 1_700_000_000_000_000_000, "{span:?}");
        assert!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
    }
    spans
}

fn service(entry: &ResourceSpans) -> String {
    match &value(&entry.resource.as_ref().unwrap().attributes, "service.name") {
        Value::StringValue(name) => name.clone(),
        other => panic!("not a name: {other:?}"),
    }
}

fn span(entry: ResourceSpans) -> Span {
    let mut spans = entry.scope_spans.into_iter().flat_map(|scope| scope.spans);
    let span = spans.next().expect("there is a span");
    assert!(spans.next().is_none(), "there is one span");
    span
}

fn value(attributes: &[KeyValue], key: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()) {
        Some(AnyValue { value: Some(value) }) => value,
        _ => panic!("no {key} in {attributes:?}"),
    }
}

#[tokio::test]
async fn a_single_span() {
    let spans = spans_of("single-span.sh", 1).await;
    let [(service, span)] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&**service, &*span.name), ("minimal", "alone"));
    assert_eq!((&*span.parent_span_id, &span.attributes[..], &span.status), (&[][..], &[][..], &None));
}

#[tokio::test]
async fn spans_with_attributes() {
    let spans = spans_of("spans-with-attributes.sh", 2).await;
    let [(database, select), (shop, get)] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&**shop, &*get.name, get.kind()), ("shop", "GET /checkout", SpanKind::Server));
    assert_eq!(value(&get.attributes, "http.method"), Value::StringValue("GET".to_owned()));
    assert_eq!(value(&get.attributes, "http.status_code"), Value::IntValue(200));
    assert_eq!(value(&get.attributes, "sampled"), Value::BoolValue(true));
    assert_eq!(value(&get.attributes, "ratio"), Value::DoubleValue(0.5));
    assert_eq!(get.status.as_ref().unwrap().code(), StatusCode::Ok);
    assert_eq!(get.end_time_unix_nano - get.start_time_unix_nano, 150_000_000);
    assert_eq!((&**database, &*select.name, select.kind()), ("database", "SELECT", SpanKind::Client));
    assert_eq!((&select.trace_id, &select.parent_span_id), (&get.trace_id, &get.span_id));
    assert_eq!(value(&select.attributes, "db.rows"), Value::IntValue(17));
    assert_eq!(select.start_time_unix_nano, get.start_time_unix_nano + 10_000_000);
}

#[tokio::test]
async fn a_span_with_events() {
    let spans = spans_of("span-with-events.sh", 1).await;
    let [(service, charge)] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&**service, &*charge.name), ("payments", "charge"));
    let [attempt, exception] = &charge.events[..] else { panic!("{charge:?}") };
    assert_eq!((&*attempt.name, &*exception.name), ("attempt", "exception"));
    assert_eq!(attempt.time_unix_nano, charge.start_time_unix_nano + 1_000_000);
    assert_eq!(exception.time_unix_nano, charge.start_time_unix_nano + 2_000_000);
    assert_eq!(value(&attempt.attributes, "attempt"), Value::IntValue(1));
    let message = value(&exception.attributes, "exception.message");
    assert_eq!(message, Value::StringValue("card declined".to_owned()));
    let status = charge.status.as_ref().unwrap();
    assert_eq!((status.code(), &*status.message), (StatusCode::Error, "declined"));
}
