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
use crate::{
    Entry, Found, ReadValue, RecordAttribute, RecordAttributes, RoomCheck, Signal, most_partitioned,
    partition, split,
};

/// A record with all that tells it from another.
#[derive(Clone, Debug, PartialEq)]
struct DecodedRecord {
    combination: Vec<String>,
    /// The messages around it.
    around: String,
    /// As it was encoded.
    raw: Vec<u8>,
}

/// Partitions the entries of any bytes by attributes of these names, and by the records' own ones: of each part all records have one combination, no two
/// parts have the same, and together they are the records that were there, byte for byte and in order.
pub fn check_partition(signal: Signal, bytes: &[u8], names: &[String]) {
    let of_names =
        |is_alone| names.iter().map(move |name| RecordAttribute { name: name.as_str().into(), is_alone });
    let wanted: Vec<RecordAttribute> = of_names(false).chain(of_names(true)).collect();
    let Ok(split) = split(signal, bytes) else { return };
    let mut written = 0;
    for entry in &split.entries {
        let Some(before) = records(signal, entry, &wanted) else { continue };
        let attributes = RecordAttributes::new(&wanted, is_usable);
        let mut ways: Vec<Vec<String>> = Vec::new();
        let mut way_of = |found: &[Found<'_>], _: &mut RoomCheck<'_>| {
            let way: Vec<String> = found.iter().map(shown).collect();
            let known = ways.iter().position(|known| *known == way);
            known.or_else(|| (ways.push(way), Some(ways.len() - 1)).1).map(|way| way as u32)
        };
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
            assert_eq!(records(signal, part, &wanted).as_ref(), Some(&expected));
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

/// What was found, without what messages that are decoded can't tell: how a list or a map is encoded.
fn shown(found: &Found<'_>) -> String {
    match found {
        Found::Value(value) if !is_usable(*value) => "unusable".to_owned(),
        other => format!("{other:?}"),
    }
}

fn is_usable(value: ReadValue<'_>) -> bool {
    match value {
        ReadValue::Text(text) => !text.is_empty(),
        ReadValue::Int(_) | ReadValue::Bool(_) => true,
        _ => false,
    }
}

/// The records of an entry. `None` if a metric states its data twice, so that nobody can tell them apart.
fn records(signal: Signal, entry: &Entry<'_>, wanted: &[RecordAttribute]) -> Option<Vec<DecodedRecord>> {
    let request = framed(&entry.bytes);
    let mut raw = Vec::new();
    let root = match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    };
    encoded_records(root, &request, &mut raw)?;
    let decoded = match signal {
        Signal::Traces => spans(&request, wanted),
        Signal::Metrics => data_points(&request, wanted),
        Signal::Logs => log_records(&request, wanted),
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

fn spans(request: &[u8], wanted: &[RecordAttribute]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportTraceServiceRequest::decode(request).expect("it is valid").resource_spans {
        for mut scope in std::mem::take(&mut entry.scope_spans) {
            for span in std::mem::take(&mut scope.spans) {
                let mut sources = vec![&span.attributes[..]];
                sources.extend(span.events.iter().map(|event| &event.attributes[..]));
                sources.push(of_scope(scope.scope.as_ref()));
                records
                    .push((combination(&span.attributes, &sources, wanted), format!("{entry:?} {scope:?}")));
            }
        }
    }
    records
}

fn log_records(request: &[u8], wanted: &[RecordAttribute]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportLogsServiceRequest::decode(request).expect("it is valid").resource_logs {
        for mut scope in std::mem::take(&mut entry.scope_logs) {
            for record in std::mem::take(&mut scope.log_records) {
                let sources = [of_scope(scope.scope.as_ref()), &record.attributes];
                records.push((
                    combination(&record.attributes, &sources, wanted),
                    format!("{entry:?} {scope:?}"),
                ));
            }
        }
    }
    records
}

fn data_points(request: &[u8], wanted: &[RecordAttribute]) -> DecodedRecords {
    let mut records = Vec::new();
    for mut entry in ExportMetricsServiceRequest::decode(request).expect("it is valid").resource_metrics {
        for mut scope in std::mem::take(&mut entry.scope_metrics) {
            for mut metric in std::mem::take(&mut scope.metrics) {
                let points = metric.data.as_mut().map(take_attributes_of_points).unwrap_or_default();
                for point in points {
                    let sources = [of_scope(scope.scope.as_ref()), &metric.metadata, &point];
                    records.push((
                        combination(&point, &sources, wanted),
                        format!("{entry:?} {scope:?} {metric:?}"),
                    ));
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

/// What counts of each attribute: of those that the record has of its own, or where of these sources a later one overrides an
/// earlier one.
fn combination(own: &[KeyValue], sources: &[&[KeyValue]], wanted: &[RecordAttribute]) -> Vec<String> {
    let own = [own];
    wanted.iter().map(|one| effective(if one.is_alone { &own } else { sources }, &one.name)).collect()
}

fn effective(sources: &[&[KeyValue]], name: &str) -> String {
    let is_usable = |value: &Any| match value {
        Any::StringValue(text) => !text.is_empty(),
        Any::IntValue(_) | Any::BoolValue(_) => true,
        _ => false,
    };
    let (mut counts, mut is_counted_usable) = ("absent".to_owned(), false);
    for source in sources {
        let values: Vec<Option<&Any>> = source
            .iter()
            .filter(|pair| pair.key == name)
            .map(|pair| pair.value.as_ref().and_then(|value| value.value.as_ref()))
            .map(|value| value.filter(|value| !matches!(value, Any::StringValueStrindex(_))))
            .collect();
        let [first, ref others @ ..] = values[..] else { continue };
        let is_list = |value: &Any| matches!(value, Any::ArrayValue(_) | Any::KvlistValue(_));
        let is_same = |value: Option<&Any>| {
            // Zeros of either sign are told apart, and what is not a number is itself.
            format!("{value:?}") == format!("{first:?}") && !value.is_some_and(is_list)
        };
        if !others.iter().copied().all(is_same) {
            return "conflicting".to_owned();
        }
        let is_usable = first.is_some_and(is_usable);
        if is_usable || !is_counted_usable {
            counts = if is_usable { format!("{first:?}") } else { "unusable".to_owned() };
            is_counted_usable = is_usable;
        }
    }
    counts
}
