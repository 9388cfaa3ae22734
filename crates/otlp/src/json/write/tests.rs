use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::{arbitrary, damaged, validate};

/// What is written, which must be JSON.
fn read(signal: Signal, request: &[u8]) -> serde_json::Value {
    let mut out = Vec::new();
    write_request(signal, &[request], &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    crate::wire::put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn in_scope(bytes: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, bytes)))
}

/// A log record's JSON, from its bytes.
fn record(bytes: &[u8]) -> serde_json::Value {
    let request = in_scope(bytes);
    assert_eq!(validate(Signal::Logs, &request), Ok(1));
    read(Signal::Logs, &request)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].take()
}

/// A metric's JSON, from its bytes.
fn metric(bytes: &[u8]) -> serde_json::Value {
    let request = in_scope(bytes);
    assert!(validate(Signal::Metrics, &request).is_ok());
    read(Signal::Metrics, &request)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].take()
}

fn reencoded(signal: Signal, request: &[u8]) -> Vec<u8> {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(request).unwrap().encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(request).unwrap().encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(request).unwrap().encode_to_vec(),
    }
}

#[test]
fn chunks_make_one_request() {
    let mut out = Vec::new();
    write_request(Signal::Logs, &[&b"\x0a\x00\x0a\x03\x1a\x01u"[..], b"", b"\x0a\x00"], &mut out);
    assert_eq!(out, br#"{"resourceLogs":[{},{"schemaUrl":"u"},{}]}"#);
    out.clear();
    write_request(Signal::Traces, &[b""; 0], &mut out);
    assert_eq!(out, br#"{"resourceSpans":[]}"#);
}

#[test]
fn rules_49_to_53_shape_a_span() {
    let span = [
        field(1, &[0xAB; 16]),
        field(2, &[0x01; 8]),
        vec![0x30, 2],
        [&[0x39][..], &1_u64.to_le_bytes()].concat(),
        [&[0x85, 0x01][..], &257_u32.to_le_bytes()].concat(),
    ];
    let json = read(Signal::Traces, &in_scope(&span.concat()));
    let expected = json!({
        "traceId": "abababababababababababababababab",
        "spanId": "0101010101010101",
        "kind": 2,
        "startTimeUnixNano": "1",
        "flags": 257,
    });
    assert_eq!(json["resourceSpans"][0]["scopeSpans"][0]["spans"][0], expected);
}

#[test]
fn defaults_are_left_out_unless_their_presence_matters() {
    assert_eq!(record(b"\x10\x00\x1a\x00\x45\0\0\0\0\x09\0\0\0\0\0\0\0\0\x4a\x00"), json!({}));
    assert_eq!(record(b"\x2a\x00"), json!({ "body": {} }));
    assert_eq!(record(b"\x2a\x02\x0a\x00"), json!({ "body": { "stringValue": "" } }));
    assert_eq!(record(b"\x2a\x02\x18\x00"), json!({ "body": { "intValue": "0" } }));
    assert_eq!(record(b"\x2a\x02\x10\x00"), json!({ "body": { "boolValue": false } }));
    // HistogramDataPoint.sum is optional, .count is not.
    let point = b"\x21\0\0\0\0\0\0\0\0\x29\0\0\0\0\0\0\0\0";
    assert_eq!(
        metric(&field(9, &field(1, point))),
        json!({ "histogram": { "dataPoints": [{ "sum": 0.0 }] } })
    );
}

#[test]
fn doubles_without_a_number_are_strings() {
    for (value, expected) in [
        (f64::NAN, json!("NaN")),
        (f64::INFINITY, json!("Infinity")),
        (f64::NEG_INFINITY, json!("-Infinity")),
    ] {
        let body = [&[0x21][..], &value.to_le_bytes()].concat();
        assert_eq!(record(&field(5, &body))["body"]["doubleValue"], expected);
    }
}

#[test]
fn unknown_fields_are_left_out() {
    assert_eq!(record(b"\x20\x05\x1a\x01s\xa2\x06\x01x"), json!({ "severityText": "s" }));
}

#[test]
fn rule_57_an_index_into_no_string_table_is_passed_on() {
    assert_eq!(record(b"\x2a\x02\x40\x05"), json!({ "body": { "stringValueStrindex": 5 } }));
}

#[test]
fn list_elements_that_stand_apart_are_gathered() {
    let pair = |key: &str| field(6, &field(1, key.as_bytes()));
    let apart = [pair("a"), b"\x10\x09".to_vec(), pair("b")].concat();
    assert_eq!(
        record(&apart),
        json!({ "attributes": [{ "key": "a" }, { "key": "b" }], "severityNumber": 9 })
    );
}

#[test]
fn the_last_scalar_wins_even_if_it_is_the_default() {
    assert_eq!(record(b"\x10\x09\x10\x05"), json!({ "severityNumber": 5 }));
    assert_eq!(record(b"\x10\x09\x10\x00"), json!({}));
}

#[test]
fn a_message_that_occurs_twice_is_merged() {
    // Two bodies with an array each: the arrays are one.
    let body = |text: &[u8]| field(5, &field(5, &field(1, &field(1, text))));
    let expected =
        json!({ "body": { "arrayValue": { "values": [{ "stringValue": "a" }, { "stringValue": "b" }] } } });
    assert_eq!(record(&[body(b"a"), body(b"b")].concat()), expected);
    // Unless the second unsets the first in between.
    let between = field(5, &field(1, b"x"));
    let expected = json!({ "body": { "arrayValue": { "values": [{ "stringValue": "b" }] } } });
    assert_eq!(record(&[body(b"a"), between, body(b"b")].concat()), expected);
}

#[test]
fn packed_and_single_numbers_are_one_list() {
    let point = |bytes: &[u8]| metric(&field(9, &field(1, bytes)))["histogram"]["dataPoints"][0].take();
    let one = 1_u64.to_le_bytes();
    let single = [&[0x31][..], &one].concat();
    let mixed = [field(6, &[one, one].concat()), single].concat();
    assert_eq!(point(&mixed), json!({ "bucketCounts": ["1", "1", "1"] }));
    assert_eq!(point(b"\x32\x00"), json!({}));
    let apart = [field(6, &one), b"\x50\x01".to_vec(), field(6, b""), field(6, &one)].concat();
    assert_eq!(point(&apart), json!({ "bucketCounts": ["1", "1"], "flags": 1 }));
}

#[test]
fn out_of_order_at_a_hundred_levels_does_not_take_forever() {
    // Every level holds its child first and is then found to be out of order.
    let mut nested = b"\x10\x01".to_vec();
    for _ in 0..45 {
        nested = [field(5, &field(1, &nested)), field(5, b"")].concat();
    }
    let request = in_scope(&field(5, &nested));
    assert_eq!(validate(Signal::Logs, &request), Ok(1));
    let mut out = Vec::new();
    write_request(Signal::Logs, &[request], &mut out);
    assert_eq!(out.windows(10).filter(|name| name == b"arrayValue").count(), 45);
}

/// opentelemetry-proto's reader wants these fields of an entity even if they are empty.
fn complete_entities(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(complete_entities),
        serde_json::Value::Object(members) => {
            for entity in
                members.get_mut("entityRefs").and_then(|list| list.as_array_mut()).into_iter().flatten()
            {
                for (name, empty) in [
                    ("schemaUrl", json!("")),
                    ("type", json!("")),
                    ("idKeys", json!([])),
                    ("descriptionKeys", json!([])),
                ] {
                    entity.as_object_mut().unwrap().entry(name).or_insert(empty);
                }
            }
            members.values_mut().for_each(complete_entities);
        }
        _ => {}
    }
}

/// What opentelemetry-proto makes of the JSON.
fn read_back<T: serde::de::DeserializeOwned>(signal: Signal, request: &[u8]) -> T {
    let mut json = read(signal, request);
    complete_entities(&mut json);
    serde_json::from_value(json).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn opentelemetry_proto_reads_back_traces(request in arbitrary::traces()) {
        let back: ExportTraceServiceRequest = read_back(Signal::Traces, &request.encode_to_vec());
        prop_assert_eq!(back, request);
    }

    #[test]
    fn opentelemetry_proto_reads_back_logs(request in arbitrary::logs()) {
        let back: ExportLogsServiceRequest = read_back(Signal::Logs, &request.encode_to_vec());
        prop_assert_eq!(back, request);
    }

    #[test]
    fn opentelemetry_proto_reads_back_metrics(request in arbitrary::metrics()) {
        let back: ExportMetricsServiceRequest = read_back(Signal::Metrics, &request.encode_to_vec());
        prop_assert_eq!(back, request);
    }

    #[test]
    fn what_protobuf_merges_is_merged(parts in vec(arbitrary::logs(), 2), request in arbitrary::metrics()) {
        // Encodings of the same message one after another are their merger.
        let records: Vec<LogRecord> = parts.into_iter().flat_map(|request| request.resource_logs)
            .flat_map(|entry| entry.scope_logs).flat_map(|scope| scope.log_records).collect();
        let merged = in_scope(&records.iter().flat_map(LogRecord::encode_to_vec).collect::<Vec<u8>>());
        prop_assert_eq!(read(Signal::Logs, &merged), read(Signal::Logs, &reencoded(Signal::Logs, &merged)));

        let metrics: Vec<Metric> = request.resource_metrics.into_iter()
            .flat_map(|entry| entry.scope_metrics).flat_map(|scope| scope.metrics).collect();
        let merged = in_scope(&metrics.iter().flat_map(Metric::encode_to_vec).collect::<Vec<u8>>());
        prop_assert_eq!(read(Signal::Metrics, &merged), read(Signal::Metrics, &reencoded(Signal::Metrics, &merged)));
    }

    #[test]
    fn near_otlp_is_written_as_prost_reads_it(fields in vec(damaged::wire(), 0..4), depth in 0..4_usize) {
        let mut bytes = fields.concat();
        for _ in 0..depth {
            bytes = field(2, &bytes);
        }
        let request = field(1, &bytes);
        for signal in Signal::ALL {
            if validate(signal, &request).is_ok() {
                prop_assert_eq!(read(signal, &request), read(signal, &reencoded(signal, &request)));
            }
        }
    }
}
