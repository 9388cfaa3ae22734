//! What records have of attributes, told by decoded messages, and what partitioning has to come to by that.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::{child, fields, framed};
use crate::otlp::{Entry, Found, RecordAttributes, Room, Signal, Value, most_partitioned, partition, split};

/// A record with all that tells it from another.
#[derive(Clone, Debug, PartialEq)]
struct DecodedRecord {
    combination: Vec<String>,
    /// The messages around it.
    around: String,
    /// As it was encoded.
    raw: Vec<u8>,
}

/// Partitions the entries of any bytes by attributes of these names: of each part all records have one combination, no two
/// parts have the same, and together they are the records that were there, byte for byte and in order.
pub fn check_partition(signal: Signal, bytes: &[u8], names: &[String]) {
    let names: Vec<Box<str>> = names.iter().map(|name| name.as_str().into()).collect();
    let Ok(split) = split(signal, bytes) else { return };
    let mut written = 0;
    for entry in &split.entries {
        let Some(before) = records(signal, entry, &names) else { continue };
        let attributes = RecordAttributes::new(&names, is_usable);
        let mut ways = 0..;
        let mut way_of = |_: &[Found<'_>], _: &mut Room<'_>| ways.next();
        let parts = partition(signal, entry, &attributes, &mut way_of, &mut |_| true);
        let parts = parts.expect("there is room");
        let mut combinations: Vec<&Vec<String>> = Vec::new();
        for record in &before {
            if !combinations.contains(&&record.combination) {
                combinations.push(&record.combination);
            }
        }
        assert_eq!(parts.as_ref().map_or(1, Vec::len), combinations.len().max(1), "{combinations:?}");
        for (part, combination) in parts.iter().flatten().zip(combinations) {
            let expected: Vec<_> =
                before.iter().filter(|record| record.combination == *combination).cloned().collect();
            assert_eq!(records(signal, part, &names).as_ref(), Some(&expected));
            assert_eq!((part.records, part.index), (expected.len() as u64, entry.index));
            assert_eq!(super::records(signal, &framed(&part.bytes)), Some(part.records), "a part is valid");
            assert_eq!(part.resource(), entry.resource());
            written += part.bytes.len();
        }
    }
    if split.cuts.is_empty() {
        assert!(written <= most_partitioned(signal, bytes), "{written} bytes are not foreseen");
    }
}

fn is_usable(value: Value<'_>) -> bool {
    !matches!(value, Value::Text("") | Value::Other)
}

/// The records of an entry. `None` if a metric states its data twice, so that nobody can tell them apart.
fn records(signal: Signal, entry: &Entry<'_>, names: &[Box<str>]) -> Option<Vec<DecodedRecord>> {
    let request = framed(&entry.bytes);
    let mut raw = Vec::new();
    let root = match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    };
    encoded_records(root, &request, &mut raw)?;
    let decoded = match signal {
        Signal::Traces => spans(&request, names),
        Signal::Metrics => data_points(&request, names),
        Signal::Logs => log_records(&request, names),
    };
    assert_eq!(decoded.len(), raw.len());
    let record = |((combination, around), raw)| DecodedRecord { combination, around, raw };
    Some(decoded.into_iter().zip(raw).map(record).collect())
}

/// Adds the bytes of the records in a message.
fn encoded_records(message: &str, bytes: &[u8], raw: &mut Vec<Vec<u8>>) -> Option<()> {
    let mut data = BTreeSet::new();
    for (number, field, content) in fields(bytes)? {
        let (Some(inner), Some(content)) = (child(message, number), content) else { continue };
        match inner {
            "Span" | "LogRecord" => raw.push(field.to_vec()),
            _ if inner.ends_with("DataPoint") => raw.push(field.to_vec()),
            "Numbers" | "Histogram" | "ExponentialHistogram" | "Summary" if !data.is_empty() => return None,
            _ => {
                if message == "Metric" && inner != "KeyValue" {
                    data.insert(number);
                }
                encoded_records(inner, content, raw)?;
            }
        }
    }
    Some(())
}

type DecodedRecords = Vec<(Vec<String>, String)>;

fn spans(request: &[u8], names: &[Box<str>]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportTraceServiceRequest::decode(request).expect("it is valid").resource_spans {
        for mut scope in std::mem::take(&mut entry.scope_spans) {
            for span in std::mem::take(&mut scope.spans) {
                let mut sources = vec![&span.attributes[..]];
                sources.extend(span.events.iter().map(|event| &event.attributes[..]));
                sources.push(of_scope(scope.scope.as_ref()));
                records.push((combination(&sources, names), format!("{entry:?} {scope:?}")));
            }
        }
    }
    records
}

fn log_records(request: &[u8], names: &[Box<str>]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportLogsServiceRequest::decode(request).expect("it is valid").resource_logs {
        for mut scope in std::mem::take(&mut entry.scope_logs) {
            for record in std::mem::take(&mut scope.log_records) {
                let sources = [of_scope(scope.scope.as_ref()), &record.attributes];
                records.push((combination(&sources, names), format!("{entry:?} {scope:?}")));
            }
        }
    }
    records
}

fn data_points(request: &[u8], names: &[Box<str>]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportMetricsServiceRequest::decode(request).expect("it is valid").resource_metrics {
        for mut scope in std::mem::take(&mut entry.scope_metrics) {
            for mut metric in std::mem::take(&mut scope.metrics) {
                let points = metric.data.as_mut().map(take_attributes_of_points).unwrap_or_default();
                for point in points {
                    let sources = [of_scope(scope.scope.as_ref()), &metric.metadata, &point];
                    records.push((combination(&sources, names), format!("{entry:?} {scope:?} {metric:?}")));
                }
            }
        }
    }
    records
}

/// Takes the data points out, and says what attributes each has.
fn take_attributes_of_points(data: &mut Data) -> Vec<Vec<KeyValue>> {
    match data {
        Data::Gauge(data) => data.data_points.drain(..).map(|point| point.attributes).collect(),
        Data::Sum(data) => data.data_points.drain(..).map(|point| point.attributes).collect(),
        Data::Histogram(data) => data.data_points.drain(..).map(|point| point.attributes).collect(),
        Data::ExponentialHistogram(data) => {
            data.data_points.drain(..).map(|point| point.attributes).collect()
        }
        Data::Summary(data) => data.data_points.drain(..).map(|point| point.attributes).collect(),
    }
}

fn of_scope(scope: Option<&InstrumentationScope>) -> &[KeyValue] {
    scope.map_or(&[], |scope| &scope.attributes)
}

/// What counts of each name, where of these sources a later one overrides an earlier one.
fn combination(sources: &[&[KeyValue]], names: &[Box<str>]) -> Vec<String> {
    names.iter().map(|name| effective(sources, name)).collect()
}

fn effective(sources: &[&[KeyValue]], name: &str) -> String {
    let mut counts = "absent".to_owned();
    for source in sources {
        let values: Vec<Option<&Any>> = source
            .iter()
            .filter(|pair| pair.key == name)
            .map(|pair| pair.value.as_ref().and_then(|value| value.value.as_ref()))
            .collect();
        let usable = |value: Option<&Any>| {
            matches!(value, Some(Any::StringValue(_) | Any::IntValue(_) | Any::BoolValue(_)))
        };
        match values[..] {
            [] => {}
            [first, ref rest @ ..] if rest.iter().all(|value| *value == first && usable(*value)) => {
                if usable(first) && first != Some(&Any::StringValue(String::new())) {
                    counts = format!("{first:?}");
                }
            }
            _ => return "conflicting".to_owned(),
        }
    }
    counts
}
