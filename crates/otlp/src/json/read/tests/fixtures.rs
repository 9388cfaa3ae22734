//! Requests that others have written: see `tests/fixtures`.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde::de::DeserializeOwned;

use super::*;
use crate::write_request;

macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/", $path))
    };
}

/// What opentelemetry-proto reads; the examples have nothing that it forgets.
fn by_serde<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_specifications_examples_are_read_as_opentelemetry_proto_reads_them() {
    let json = fixture!("specification/trace.json");
    assert_eq!(traces(json), by_serde(json));
    let json = fixture!("specification/metrics.json");
    assert_eq!(metrics(json), by_serde(json));
    for json in [fixture!("specification/logs.json"), fixture!("specification/events.json")] {
        assert_eq!(logs(json), by_serde(json));
    }
}

#[test]
fn the_specifications_examples_come_back_as_they_were_but_for_defaults() {
    for (signal, json) in [
        (Signal::Traces, fixture!("specification/trace.json")),
        (Signal::Metrics, fixture!("specification/metrics.json")),
        (Signal::Logs, fixture!("specification/logs.json")),
        (Signal::Logs, fixture!("specification/events.json")),
    ] {
        let mut written = Vec::new();
        write_request(signal, &[whole(signal, json)], &mut written);
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(canonical(written), canonical(by_serde(json)));
    }
}

/// The examples write some things otherwise than we do: `1` for `1.0`, upper-case ids, 64-bit integers as numbers, and
/// two defaults.
fn canonical(json: serde_json::Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match json {
        Json::Object(members) => members
            .into_iter()
            .filter(|(name, value)| !(["scale", "zeroThreshold"].contains(&&**name) && value == 0))
            .map(|(name, value)| (name, canonical(value)))
            .collect(),
        Json::Array(elements) => elements.into_iter().map(canonical).collect(),
        Json::Number(number) => Json::String(format!("{}", number.as_f64().unwrap())),
        Json::String(text) => match text.parse::<f64>() {
            Ok(number) if text.len() < 10 => Json::String(format!("{number}")),
            _ => Json::String(text.to_lowercase()),
        },
        other => other,
    }
}

#[test]
fn the_three_bodies_that_better_stack_documents_are_read() {
    let spans = |json: &str| traces(json).resource_spans.remove(0).scope_spans.remove(0).spans;

    let single = spans(fixture!("better_stack/single_span.json")).remove(0);
    assert_eq!(single.name, "all that a span needs");
    assert_eq!((single.trace_id[0], single.span_id[7]), (0x8f, 0x78));
    assert_eq!(single.end_time_unix_nano - single.start_time_unix_nano, 1_000_000);

    let several = spans(fixture!("better_stack/spans_with_attributes.json"));
    assert_eq!(several[0].trace_id, several[1].trace_id);
    assert_eq!(several[0].span_id, several[1].parent_span_id);
    assert_eq!(several[0].start_time_unix_nano, 1_760_000_000_123_456_789);
    let values =
        several[0].attributes.iter().map(|pair| pair.value.as_ref().unwrap().value.as_ref().unwrap());
    let expected = [
        Value::StringValue("POST".into()),
        Value::IntValue(201),
        Value::DoubleValue(19.9),
        Value::BoolValue(false),
    ];
    assert!(values.eq(&expected));
    assert_eq!((several[0].kind, several[1].kind), (2, 3));

    let events = spans(fixture!("better_stack/spans_with_events.json")).remove(0).events;
    assert_eq!(events.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["connected", "exception"]);
    assert_eq!(events[1].time_unix_nano, 1_760_000_002_000_000_000);
    let message = events[1].attributes[1].value.as_ref().unwrap().value.as_ref();
    assert_eq!(message, Some(&Value::StringValue("no answer:\n\t\"250 OK\" — 5 s".into())));
}
