//! Synthetic telemetry that looks like what services send: an HTTP server's logs, spans and request counts.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use prost::Message;

use crate::sequence::{SENDER_ATTRIBUTE, SEQUENCE_ATTRIBUTE};
use otlp::Signal;

/// Words of which the filling text is made.
const WORDS: [&str; 32] = [
    "request",
    "accepted",
    "from",
    "client",
    "with",
    "session",
    "cache",
    "miss",
    "for",
    "key",
    "user",
    "profile",
    "loaded",
    "in",
    "milliseconds",
    "order",
    "placed",
    "payment",
    "pending",
    "retry",
    "after",
    "timeout",
    "connection",
    "pool",
    "exhausted",
    "worker",
    "started",
    "batch",
    "written",
    "to",
    "stream",
    "checkpoint",
];

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const ROUTES: [&str; 4] = ["/api/v1/orders/{id}", "/api/v1/users/{id}", "/api/v1/carts", "/healthz"];

/// Stands for who numbers the records until a request is sent.
pub(super) const SENDER: &str = "$$$$$$$$$$$$$$$$";
/// Stands for the sequence number until a request is sent.
pub(super) const SEQUENCE: &str = "################";
/// Stands for the time at which something began, in the wire's byte order no text.
pub(super) const START: u64 = 0xf1e2_d3c4_b5a6_9788;
/// Stands for the time at which something was over or observed.
pub(super) const TIME: u64 = 0xf2e3_d4c5_b6a7_9889;
/// Stands for a trace id and, by its first half, a span id. Only the first half is replaced.
pub(super) const ID: [u8; 16] = *b"\x01sluice\x01\0synth\0\0";

/// What one record is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordParts {
    /// Bytes of filling text.
    pub(super) filling: usize,
    /// Chooses words, so that neighbouring records differ.
    pub(super) variant: usize,
}

/// One encoded entry with `records` records of the stream `key`, without the framing of the request.
///
/// What differs from request to request holds the place of what the sender writes there.
pub(super) fn entry(
    signal: Signal,
    attribute: &str,
    key: &str,
    records: usize,
    record: impl Fn(usize) -> RecordParts,
) -> Vec<u8> {
    let resource = Some(resource(attribute, key));
    let scope = Some(InstrumentationScope {
        name: "sluice.send".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    });
    let parts = (0..records).map(record);
    match signal {
        Signal::Logs => {
            let log_records = parts.map(log_record).collect();
            let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
            ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec()
        }
        Signal::Traces => {
            let spans = parts.map(span).collect();
            let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
            ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }.encode_to_vec()
        }
        Signal::Metrics => {
            let metrics = vec![request_counter(parts.map(data_point).collect())];
            let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
            ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }.encode_to_vec()
        }
    }
}

/// The encoded size of one record, without its framing.
pub(super) fn record_len(signal: Signal, parts: RecordParts) -> usize {
    match signal {
        Signal::Logs => log_record(parts).encoded_len(),
        Signal::Traces => span(parts).encoded_len(),
        Signal::Metrics => data_point(parts).encoded_len(),
    }
}

fn resource(attribute: &str, key: &str) -> Resource {
    let mut attributes = vec![
        text("service.name", "sluice-send"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("deployment.environment.name", "load-test"),
    ];
    attributes.retain(|given| given.key != attribute);
    attributes.push(text(attribute, key));
    Resource { attributes, ..Resource::default() }
}

fn log_record(parts: RecordParts) -> LogRecord {
    LogRecord {
        time_unix_nano: START,
        observed_time_unix_nano: TIME,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(filling(&parts))) }),
        attributes: attributes(&parts),
        trace_id: ID[..16].to_vec(),
        span_id: ID[..8].to_vec(),
        flags: 1,
        ..LogRecord::default()
    }
}

fn span(parts: RecordParts) -> Span {
    let mut attributes = attributes(&parts);
    if parts.filling > 0 {
        attributes.push(text("sluice.filling", &filling(&parts)));
    }
    Span {
        trace_id: ID[..16].to_vec(),
        span_id: ID[..8].to_vec(),
        name: format!("{} {}", METHODS[parts.variant % 4], ROUTES[parts.variant % 4]),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: START,
        end_time_unix_nano: TIME,
        attributes,
        ..Span::default()
    }
}

fn request_counter(data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: "http.server.requests".to_owned(),
        description: "Requests answered".to_owned(),
        unit: "{request}".to_owned(),
        data: Some(metric::Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Delta as i32,
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

fn data_point(parts: RecordParts) -> NumberDataPoint {
    let mut attributes = attributes(&parts);
    if parts.filling > 0 {
        attributes.push(text("sluice.filling", &filling(&parts)));
    }
    NumberDataPoint {
        attributes,
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        value: Some(number_data_point::Value::AsInt(1 + parts.variant as i64 % 100)),
        ..NumberDataPoint::default()
    }
}

fn attributes(parts: &RecordParts) -> Vec<KeyValue> {
    let status = [200, 201, 204, 404][parts.variant % 4];
    vec![
        text(SENDER_ATTRIBUTE, SENDER),
        text(SEQUENCE_ATTRIBUTE, SEQUENCE),
        text("http.request.method", METHODS[parts.variant % 4]),
        attribute("http.response.status_code", Value::IntValue(status)),
    ]
}

fn filling(parts: &RecordParts) -> String {
    let mut filling = String::with_capacity(parts.filling + 16);
    let mut state = parts.variant as u64;
    while filling.len() < parts.filling {
        // Knuth's MMIX generator: the same words in every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        filling.push_str(WORDS[(state >> 59) as usize]);
        filling.push(' ');
    }
    filling.truncate(parts.filling);
    filling
}

/// An attribute whose value is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
