//! What senders and upstreams say is shown as text, whatever it is, and secrets are not shown at all.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message as _;
use serde_json::json;
use sluice::otlp::Signal;
use tokio::time::sleep;

use crate::scenes::{Scene, WRITER};
use crate::setup::check;
use crate::support::Sluice;
use crate::support::payload::{any_attribute, attribute, request, resource_of};

/// What would run if it were taken for markup.
const SCRIPT: &str = "<script>window.planted=1</script><img src=x onerror=window.planted=1>";

/// What must not be seen anywhere.
const SECRETS: [&str; 5] =
    ["s3cr3t-header", "s3cr3t-value", "the-token-of-acme-0123456789", "s3cr3t-by-key", "s3cr3t-in-text"];

/// The script, and behind it a secret that is known by what stands before it.
fn text() -> String {
    format!("{SCRIPT} Authorization: Bearer s3cr3t-in-text")
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// Attributes of every kind, each of which holds the script or a secret.
fn attributes() -> Vec<KeyValue> {
    let flat = || {
        vec![
            attribute(SCRIPT, &text()),
            attribute("db.password", "s3cr3t-by-key"),
            any_attribute("api_key", Value::BytesValue(b"s3cr3t-by-key".to_vec())),
        ]
    };
    let texts =
        vec![value(Value::StringValue(text())), value(Value::StringValue("token=s3cr3t-in-text".to_owned()))];
    let mut all = flat();
    all.push(any_attribute("nested", Value::KvlistValue(KeyValueList { values: flat() })));
    all.push(any_attribute("list", Value::ArrayValue(ArrayValue { values: texts })));
    all
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: text(),
        version: text(),
        attributes: attributes(),
        ..InstrumentationScope::default()
    })
}

fn log_records() -> Vec<LogRecord> {
    let record = |body| LogRecord {
        time_unix_nano: 1,
        severity_text: text(),
        severity_number: 17,
        body: Some(value(body)),
        attributes: attributes(),
        event_name: text(),
        ..LogRecord::default()
    };
    let parts = KeyValueList { values: attributes() };
    vec![record(Value::StringValue(text())), record(Value::KvlistValue(parts))]
}

fn span() -> Span {
    let event =
        span::Event { time_unix_nano: 2, name: text(), attributes: attributes(), ..span::Event::default() };
    let link = span::Link {
        trace_id: vec![3; 16],
        span_id: vec![4; 8],
        trace_state: "vendor=state".to_owned(),
        attributes: attributes(),
        ..span::Link::default()
    };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: text(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 3,
        attributes: attributes(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message: text(), code: 2 }),
        ..Span::default()
    }
}

/// Metrics of every kind.
fn metrics() -> Vec<Metric> {
    let exemplars = || {
        vec![Exemplar {
            filtered_attributes: attributes(),
            time_unix_nano: 1,
            value: Some(exemplar::Value::AsInt(1)),
            ..Exemplar::default()
        }]
    };
    let number = || NumberDataPoint {
        attributes: attributes(),
        time_unix_nano: 1,
        value: Some(number_data_point::Value::AsInt(1)),
        exemplars: exemplars(),
        ..NumberDataPoint::default()
    };
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        time_unix_nano: 1,
        count: 1,
        sum: Some(1.0),
        bucket_counts: vec![1, 0],
        explicit_bounds: vec![2.0],
        exemplars: exemplars(),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        attributes: attributes(),
        time_unix_nano: 1,
        count: 1,
        sum: Some(1.0),
        zero_count: 1,
        exemplars: exemplars(),
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        attributes: attributes(),
        time_unix_nano: 1,
        count: 1,
        sum: 1.0,
        ..SummaryDataPoint::default()
    };
    [
        metric::Data::Gauge(Gauge { data_points: vec![number()] }),
        metric::Data::Sum(Sum {
            data_points: vec![number()],
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        metric::Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 2 }),
        metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 2,
        }),
        metric::Data::Summary(Summary { data_points: vec![summary] }),
    ]
    .into_iter()
    .map(|data| Metric {
        name: text(),
        description: text(),
        unit: text(),
        metadata: attributes(),
        data: Some(data),
    })
    .collect()
}

/// An entry whose every name, text and attribute holds the script and secrets.
fn entry(signal: Signal, to: &str) -> Vec<u8> {
    let mut attributes = attributes();
    let plain = [("to", to), ("tenant.id", "acme"), ("s2.stream", SCRIPT)];
    attributes.extend(plain.into_iter().map(|(key, value)| attribute(key, value)));
    attributes.push(attribute("service.name", &text()));
    attributes.push(attribute("host.name", &text()));
    let (resource, schema_url) = (Some(resource_of(attributes)), text());
    match signal {
        Signal::Logs => {
            let scope_logs =
                vec![ScopeLogs { scope: scope(), log_records: log_records(), ..ScopeLogs::default() }];
            ResourceLogs { resource, scope_logs, schema_url }.encode_to_vec()
        }
        Signal::Traces => {
            let scope_spans =
                vec![ScopeSpans { scope: scope(), spans: vec![span()], ..ScopeSpans::default() }];
            ResourceSpans { resource, scope_spans, schema_url }.encode_to_vec()
        }
        Signal::Metrics => {
            let scope_metrics =
                vec![ScopeMetrics { scope: scope(), metrics: metrics(), ..ScopeMetrics::default() }];
            ResourceMetrics { resource, scope_metrics, schema_url }.encode_to_vec()
        }
    }
}

/// Has such records pass, without an end.
async fn keep_sending(sluice: &Sluice) {
    loop {
        for signal in Signal::ALL {
            sluice.accept(signal, request(&[entry(signal, "well")])).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_every_attribute_is_text_and_a_secret_is_nowhere() {
    let more = format!(
        "  - {{ name: '{SCRIPT}', match: {{ to: none }}, exporters: [otlp_http/well] }}\n\
         unrouted: reject # {SCRIPT}\n"
    );
    let scene = Scene::start_with(&more).await;
    for signal in Signal::ALL {
        for to in ["well", "refusing", "picky"] {
            scene.sluice.accept(signal, request(&[entry(signal, to)])).await;
        }
    }
    let secrets = [&SECRETS[..], &[WRITER]].concat();
    let facts = json!({ "script": SCRIPT, "secrets": secrets, "token": WRITER });
    tokio::select! {
        () = check("planted.mjs", scene.sluice.admin, &facts) => {}
        () = keep_sending(&scene.sluice) => unreachable!("it has no end"),
    }
}
