//! Requests like those that SDKs and Collectors send: one resource of a service, a few scopes, records with the
//! usual semantic conventions.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sluice::otlp::Signal;

const START: u64 = 1_760_000_000_000_000_000;

/// An encoded request of about `size` bytes.
pub(crate) fn request(signal: Signal, size: usize) -> Vec<u8> {
    let one = encode(signal, 1).len();
    let sixteen = encode(signal, 17).len();
    let per_record = (sixteen - one) / 16;
    encode(signal, (size.saturating_sub(one) / per_record + 1) as u64)
}

fn encode(signal: Signal, records: u64) -> Vec<u8> {
    match signal {
        Signal::Traces => traces(records).encode_to_vec(),
        Signal::Metrics => metrics(records).encode_to_vec(),
        Signal::Logs => logs(records).encode_to_vec(),
    }
}

fn logs(records: u64) -> ExportLogsServiceRequest {
    let log_records = (0..records)
        .map(|n| LogRecord {
            time_unix_nano: START + n * 1_000_000,
            observed_time_unix_nano: START + n * 1_000_000 + 1200,
            severity_number: 9,
            severity_text: "INFO".into(),
            body: Some(any(text(format!(
                "GET /api/v2/orders/{n} handled in {} ms for session 7f3c9a",
                n % 97
            )))),
            attributes: vec![
                attribute("http.request.method", text("GET")),
                attribute("url.path", text(format!("/api/v2/orders/{n}"))),
                attribute("http.response.status_code", int(200)),
                attribute("thread.name", text("worker-3")),
                attribute("code.function.name", text("orders::handler::get_order")),
            ],
            trace_id: id(n, 16),
            span_id: id(n, 8),
            flags: 1,
            ..LogRecord::default()
        })
        .collect();
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource()),
            scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }],
            schema_url: "https://opentelemetry.io/schemas/1.30.0".into(),
        }],
    }
}

fn traces(records: u64) -> ExportTraceServiceRequest {
    let spans = (0..records)
        .map(|n| Span {
            trace_id: id(n / 8, 16),
            span_id: id(n, 8),
            parent_span_id: id(n / 8, 8),
            flags: 257,
            name: "GET /api/v2/orders/{id}".into(),
            kind: 2,
            start_time_unix_nano: START + n * 1_000_000,
            end_time_unix_nano: START + n * 1_000_000 + 731_000,
            attributes: vec![
                attribute("http.request.method", text("GET")),
                attribute("http.route", text("/api/v2/orders/{id}")),
                attribute("url.path", text(format!("/api/v2/orders/{n}"))),
                attribute("url.scheme", text("https")),
                attribute("http.response.status_code", int(200)),
                attribute("server.address", text("orders.internal.example.com")),
                attribute("server.port", int(8443)),
                attribute(
                    "user_agent.original",
                    text("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"),
                ),
            ],
            status: Some(Status { code: 1, message: String::new() }),
            ..Span::default()
        })
        .collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource()),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }],
            schema_url: "https://opentelemetry.io/schemas/1.30.0".into(),
        }],
    }
}

/// One sum and one histogram in turn, with ten data points each.
fn metrics(records: u64) -> ExportMetricsServiceRequest {
    let metrics = (0..records.div_ceil(10)).map(|n| if n % 2 == 0 { sum(n) } else { histogram(n) }).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource()),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }],
            schema_url: "https://opentelemetry.io/schemas/1.30.0".into(),
        }],
    }
}

fn sum(n: u64) -> Metric {
    let data_points = (0..10)
        .map(|point| NumberDataPoint {
            attributes: point_attributes(point),
            start_time_unix_nano: START,
            time_unix_nano: START + n,
            value: Some(Number::AsInt((n * 31 + point) as i64)),
            ..NumberDataPoint::default()
        })
        .collect();
    Metric {
        name: "http.server.active_requests".into(),
        unit: "{request}".into(),
        data: Some(Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true })),
        ..Metric::default()
    }
}

fn histogram(n: u64) -> Metric {
    let data_points = (0..10)
        .map(|point| HistogramDataPoint {
            attributes: point_attributes(point),
            start_time_unix_nano: START,
            time_unix_nano: START + n,
            count: 120,
            sum: Some(17.25 + n as f64),
            bucket_counts: vec![1, 3, 9, 27, 40, 27, 9, 3, 1, 0, 0, 0, 0, 0, 0],
            explicit_bounds: vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ],
            ..HistogramDataPoint::default()
        })
        .collect();
    Metric {
        name: "http.server.request.duration".into(),
        description: "Duration of HTTP server requests.".into(),
        unit: "s".into(),
        data: Some(Data::Histogram(Histogram { data_points, aggregation_temporality: 2 })),
        ..Metric::default()
    }
}

fn point_attributes(n: u64) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", text("GET")),
        attribute("http.route", text(format!("/api/v2/orders/{n}"))),
        attribute("http.response.status_code", int(200)),
    ]
}

fn resource() -> Resource {
    let attributes = [
        ("s2.stream", "tenants/acme/production"),
        ("service.name", "orders"),
        ("service.namespace", "shop"),
        ("service.version", "2025.10.3"),
        ("service.instance.id", "2f0b3d60-93b4-4b8a-9a8e-3f0d3c1c7a11"),
        ("k8s.pod.name", "orders-7d9c6b5f4-x2x9p"),
        ("k8s.namespace.name", "shop-production"),
        ("host.name", "ip-10-0-31-7.eu-central-1.compute.internal"),
        ("telemetry.sdk.language", "go"),
        ("telemetry.sdk.name", "opentelemetry"),
    ];
    Resource {
        attributes: attributes.into_iter().map(|(key, value)| attribute(key, text(value))).collect(),
        ..Resource::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp".into(),
        version: "0.63.0".into(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(value: impl Into<String>) -> Value {
    Value::StringValue(value.into())
}

fn int(value: i64) -> Value {
    Value::IntValue(value)
}

fn id(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
    bytes.extend(seed.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).to_be_bytes());
    bytes.truncate(len);
    bytes
}
