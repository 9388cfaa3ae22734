//! What is sent: ordinary requests through opentelemetry-proto, unusual ones byte by byte.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice::otlp::Signal;

/// The resource attribute that the tests route by.
pub const KEY: &str = "s2.stream";

/// A string attribute.
pub fn attribute(key: &str, value: &str) -> KeyValue {
    any_attribute(key, Value::StringValue(value.to_owned()))
}

/// An attribute of any type.
pub fn any_attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A resource with these string attributes.
pub fn resource(attributes: &[(&str, &str)]) -> Resource {
    resource_of(attributes.iter().map(|(key, value)| attribute(key, value)).collect())
}

/// A resource with these attributes.
pub fn resource_of(attributes: Vec<KeyValue>) -> Resource {
    Resource { attributes, ..Resource::default() }
}

/// An encoded entry of one scope: a record for each text, which is a log's body, a span's name, or the `text`
/// attribute of a gauge's data point.
pub fn entry_of(signal: Signal, resource: Resource, texts: &[&str]) -> Vec<u8> {
    let scope = Some(InstrumentationScope { name: "scope".to_owned(), ..InstrumentationScope::default() });
    let resource = Some(resource);
    match signal {
        Signal::Logs => {
            let log_records = texts.iter().map(|text| log(text)).collect();
            let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
            ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec()
        }
        Signal::Traces => {
            let spans = texts.iter().map(|text| span(text)).collect();
            let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
            ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }.encode_to_vec()
        }
        Signal::Metrics => {
            let data_points = texts.iter().map(|text| data_point(text)).collect();
            let data = Some(metric::Data::Gauge(Gauge { data_points }));
            let metrics = vec![Metric { name: "gauge".to_owned(), data, ..Metric::default() }];
            let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
            ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }.encode_to_vec()
        }
    }
}

/// An encoded entry for the stream `key`.
pub fn entry(signal: Signal, key: &str, texts: &[&str]) -> Vec<u8> {
    entry_of(signal, resource(&[(KEY, key)]), texts)
}

/// An encoded request of these entries.
pub fn request<E: AsRef<[u8]>>(entries: &[E]) -> Vec<u8> {
    entries.iter().flat_map(|entry| field(1, entry)).collect()
}

/// A request of logs: streams, each with the bodies of its records.
pub fn logs(entries: &[(&str, &[&str])]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(key, texts)| entry(Signal::Logs, key, texts)).collect();
    request(&entries)
}

/// A log record of about that many bytes in all, with `text` in it.
pub fn filler(text: &str, bytes: usize) -> String {
    format!("{text}{}", ".".repeat(bytes.saturating_sub(text.len())))
}

fn log(text: &str) -> LogRecord {
    let body = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    LogRecord { body, time_unix_nano: 1, ..LogRecord::default() }
}

fn span(text: &str) -> Span {
    Span {
        name: text.to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    }
}

fn data_point(text: &str) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("text", text)],
        time_unix_nano: 1,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    }
}

/// An encoded varint.
pub fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}

/// An encoded field with a length.
pub fn field(number: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut field = key(number, 2);
    field.extend(varint(bytes.len() as u64));
    field.extend_from_slice(bytes);
    field
}

/// The key of a field: number and wire type.
pub fn key(number: u32, wire_type: u8) -> Vec<u8> {
    varint(u64::from(number) << 3 | u64::from(wire_type))
}

/// The entries of a request, each without its frame.
pub fn entries(mut request: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while !request.is_empty() {
        let (number, kind) = prost::encoding::decode_key(&mut request).expect("a field has a key");
        assert_eq!((number, kind), (1, prost::encoding::WireType::LengthDelimited), "an entry is field 1");
        let len = prost::encoding::decode_varint(&mut request).expect("a field has a length") as usize;
        let (entry, rest) = request.split_at(len);
        entries.push(entry.to_vec());
        request = rest;
    }
    entries
}

/// The texts of an entry's records, as [`entry_of`] put them there.
pub fn texts(signal: Signal, entry: &[u8]) -> Vec<String> {
    match signal {
        Signal::Logs => {
            let entry = ResourceLogs::decode(entry).expect("an entry");
            let records = entry.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            records.map(|record| text(record.body)).collect()
        }
        Signal::Traces => {
            let entry = ResourceSpans::decode(entry).expect("an entry");
            entry.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| span.name).collect()
        }
        Signal::Metrics => {
            let entry = ResourceMetrics::decode(entry).expect("an entry");
            let metrics = entry.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            let points = metrics.flat_map(|metric| match metric.data {
                Some(metric::Data::Gauge(gauge)) => gauge.data_points,
                other => panic!("not what was sent: {other:?}"),
            });
            points.map(|point| text(point.attributes[0].value.clone())).collect()
        }
    }
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("not a text: {other:?}"),
    }
}
