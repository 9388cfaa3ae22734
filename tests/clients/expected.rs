//! What the senders are told to say, written down once more.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode};

use crate::support::payload::{KEY, any_attribute, attribute, resource_of};
use crate::support::telemetry::Telemetry;

/// Where SDKs differ in what they can say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// A scope has attributes.
    pub(crate) scope_attributes: bool,
    /// What is measured within a span is kept as an exemplar: the last of each bucket.
    pub(crate) exemplars: bool,
}

const ALPHA: &str = "tenants/alpha";
const BETA: &str = "tenants/beta";
const NOW: u64 = 1_700_000_000_123_456_789;
const CUMULATIVE: i32 = 2;
/// A span's flags say whether its parent is remote: `HAS_IS_REMOTE`, and `IS_REMOTE`.
const LOCAL: u32 = 0x100;
const REMOTE: u32 = 0x300;

/// Everything that a sender sends.
pub(crate) fn telemetry(dialect: Dialect) -> Telemetry {
    let scope = Some(scope(dialect));
    let schema_url = "https://opentelemetry.io/schemas/1.27.0".to_owned();
    let spans = |resource, spans| ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans { scope: scope.clone(), spans, schema_url: schema_url.clone() }],
        schema_url: String::new(),
    };
    let logs = |resource, log_records| ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![ScopeLogs { scope: scope.clone(), log_records, schema_url: schema_url.clone() }],
        schema_url: String::new(),
    };
    let metrics = |resource, scope, metrics, schema_url| ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![ScopeMetrics { scope, metrics, schema_url }],
        schema_url: String::new(),
    };
    let bare = Some(InstrumentationScope { attributes: Vec::new(), ..scope.clone().unwrap() });
    let invoices = named("requests", "", sum(vec![integer(1, vec![])], true));
    Telemetry {
        traces: by_stream(spans(checkout(), checkout_spans()), spans(billing(), vec![invoice()])),
        logs: by_stream(logs(checkout(), checkout_logs()), logs(billing(), vec![no_funds()])),
        metrics: by_stream(
            metrics(checkout(), scope.clone(), checkout_metrics(dialect), schema_url.clone()),
            metrics(billing(), bare, vec![invoices], String::new()),
        ),
    }
}

fn by_stream<E>(checkout: E, billing: E) -> BTreeMap<String, Vec<E>> {
    BTreeMap::from([(ALPHA.to_owned(), vec![checkout]), (BETA.to_owned(), vec![billing])])
}

fn checkout() -> Resource {
    resource_of(vec![
        attribute("service.name", "checkout"),
        attribute(KEY, ALPHA),
        any_attribute("replicas", Value::IntValue(3)),
        any_attribute("weight", Value::DoubleValue(0.25)),
        any_attribute("canary", Value::BoolValue(true)),
        any_attribute("zones", array(["a", "b"].map(text))),
    ])
}

fn billing() -> Resource {
    resource_of(vec![attribute("service.name", "billing"), attribute(KEY, BETA)])
}

fn scope(dialect: Dialect) -> InstrumentationScope {
    InstrumentationScope {
        name: "clients".to_owned(),
        version: "2.0.0".to_owned(),
        attributes: if dialect.scope_attributes { vec![attribute("scope.kind", "test")] } else { Vec::new() },
        dropped_attributes_count: 0,
    }
}

fn trace_id() -> Vec<u8> {
    (1..=16).collect()
}

fn span_id(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn checkout_spans() -> Vec<Span> {
    let client = Span {
        trace_id: trace_id(),
        span_id: span_id(0x1102),
        trace_state: "vendor=value".to_owned(),
        parent_span_id: span_id(0x1101),
        flags: LOCAL,
        name: "SELECT".to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: NOW + 10,
        end_time_unix_nano: NOW + 40,
        events: vec![
            Event {
                time_unix_nano: NOW + 20,
                name: "cache.miss".to_owned(),
                attributes: vec![attribute("key", "cart:42"), any_attribute("attempt", Value::IntValue(2))],
                dropped_attributes_count: 0,
            },
            Event { time_unix_nano: NOW + 30, name: "retry".to_owned(), ..Event::default() },
        ],
        status: Some(Status { code: StatusCode::Ok.into(), message: String::new() }),
        ..Span::default()
    };
    let server = Span {
        trace_id: trace_id(),
        span_id: span_id(0x1101),
        trace_state: "vendor=value".to_owned(),
        parent_span_id: span_id(0xA1A2_A3A4_A5A6_A7A8),
        flags: REMOTE,
        name: "GET /cart/{id}".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 1_000_000_001,
        attributes: attributes_of_all_types(),
        links: vec![Link {
            trace_id: (0xF0..=0xFF).collect(),
            span_id: span_id(0xE1E2_E3E4_E5E6_E7E8),
            attributes: vec![attribute("why", "follows")],
            flags: LOCAL,
            ..Link::default()
        }],
        status: Some(Status { code: StatusCode::Error.into(), message: "upstream timed out".to_owned() }),
        ..Span::default()
    };
    vec![client, server]
}

fn attributes_of_all_types() -> Vec<KeyValue> {
    vec![
        attribute("text", "Žofie 🚀"),
        attribute("empty", ""),
        any_attribute("status", Value::IntValue(200)),
        any_attribute("large", Value::IntValue(9_007_199_254_740_991)),
        any_attribute("negative", Value::IntValue(-1)),
        any_attribute("sampled", Value::BoolValue(true)),
        any_attribute("ratio", Value::DoubleValue(0.1)),
        any_attribute("texts", array(["a", "", "ü"].map(text))),
        any_attribute("integers", array([1, 2, 3].map(Value::IntValue))),
        any_attribute("doubles", array([0.5, -1.5].map(Value::DoubleValue))),
        any_attribute("booleans", array([true, false].map(Value::BoolValue))),
    ]
}

fn invoice() -> Span {
    Span {
        trace_id: trace_id(),
        span_id: span_id(0x2201),
        flags: LOCAL,
        name: "invoice".to_owned(),
        kind: SpanKind::Producer.into(),
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 5,
        ..Span::default()
    }
}

fn checkout_logs() -> Vec<LogRecord> {
    let order = map(vec![
        any_attribute("id", Value::IntValue(42)),
        any_attribute("paid", Value::BoolValue(false)),
        any_attribute("total", Value::DoubleValue(9.75)),
        any_attribute("items", array(["a", "b"].map(text))),
    ]);
    let body =
        map(vec![any_attribute("order", order), any_attribute("raw", Value::BytesValue(vec![0x00, 0xff]))]);
    vec![
        LogRecord {
            time_unix_nano: NOW,
            observed_time_unix_nano: NOW + 1,
            severity_number: 13,
            severity_text: "WARN".to_owned(),
            body: Some(any(text("cart 42 is slow"))),
            attributes: vec![any_attribute("attempt", Value::IntValue(2)), attribute("user", "Žofie 🚀")],
            flags: 1,
            trace_id: trace_id(),
            span_id: span_id(0x1101),
            ..LogRecord::default()
        },
        LogRecord {
            time_unix_nano: NOW + 2,
            observed_time_unix_nano: NOW + 3,
            severity_number: 9,
            body: Some(any(body)),
            event_name: "order.placed".to_owned(),
            ..LogRecord::default()
        },
    ]
}

fn no_funds() -> LogRecord {
    LogRecord {
        time_unix_nano: NOW + 4,
        observed_time_unix_nano: NOW + 5,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(any(text("no funds"))),
        ..LogRecord::default()
    }
}

fn checkout_metrics(dialect: Dialect) -> Vec<Metric> {
    let route = |name| vec![attribute("route", name)];
    let requests = sum(vec![integer(3, route("/cart")), integer(4, route("/pay"))], true);
    let observed = gauge(integer(-40, vec![attribute("sensor", "outside")]));
    vec![
        Metric { description: "Requests by route".to_owned(), ..named("requests", "1", requests) },
        named("sent", "By", sum(vec![double(1.5)], true)),
        named("depth", "", sum(vec![integer(-2, vec![])], false)),
        named("temperature", "Cel", gauge(double(21.5))),
        named("observed", "", observed),
        named("latency", "ms", latency(dialect)),
        named("payload", "By", payload()),
    ]
}

fn named(name: &str, unit: &str, metric: Metric) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), ..metric }
}

fn sum(data_points: Vec<NumberDataPoint>, is_monotonic: bool) -> Metric {
    let data = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic };
    Metric { data: Some(Data::Sum(data)), ..Metric::default() }
}

fn gauge(data_point: NumberDataPoint) -> Metric {
    Metric { data: Some(Data::Gauge(Gauge { data_points: vec![data_point] })), ..Metric::default() }
}

fn integer(value: i64, attributes: Vec<KeyValue>) -> NumberDataPoint {
    let value = Some(number_data_point::Value::AsInt(value));
    NumberDataPoint { attributes, value, ..NumberDataPoint::default() }
}

fn double(value: f64) -> NumberDataPoint {
    let value = Some(number_data_point::Value::AsDouble(value));
    NumberDataPoint { value, ..NumberDataPoint::default() }
}

/// Of 0.5, 7, 7.5 and 100.
fn latency(dialect: Dialect) -> Metric {
    let exemplar = |value| Exemplar {
        span_id: span_id(0x1101),
        trace_id: trace_id(),
        value: Some(exemplar::Value::AsDouble(value)),
        ..Exemplar::default()
    };
    let point = HistogramDataPoint {
        attributes: vec![attribute("route", "/cart")],
        count: 4,
        sum: Some(115.0),
        bucket_counts: vec![1, 0, 2, 0, 1],
        explicit_bounds: vec![1.0, 5.0, 10.0, 50.0],
        exemplars: if dialect.exemplars { [0.5, 7.5, 100.0].map(exemplar).to_vec() } else { Vec::new() },
        min: Some(0.5),
        max: Some(100.0),
        ..HistogramDataPoint::default()
    };
    let data = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    Metric { data: Some(Data::Histogram(data)), ..Metric::default() }
}

/// Of 0, 1, 2, 4 and 1000. At scale 3, bucket `i` ends at 2^((i + 1) / 8), so 1 is in the one at -1.
fn payload() -> Metric {
    let mut bucket_counts = vec![0; 81];
    for bucket in [0, 8, 16, 80] {
        bucket_counts[bucket] = 1;
    }
    let point = ExponentialHistogramDataPoint {
        count: 5,
        sum: Some(1007.0),
        scale: 3,
        zero_count: 1,
        positive: Some(Buckets { offset: -1, bucket_counts }),
        min: Some(0.0),
        max: Some(1000.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    Metric { data: Some(Data::ExponentialHistogram(data)), ..Metric::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn array<const N: usize>(values: [Value; N]) -> Value {
    Value::ArrayValue(ArrayValue { values: values.map(any).to_vec() })
}

fn map(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}
