//! Records as people and their tools are shown them.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::query::{RecordOrigin, SeverityLevel, rfc3339};
use otlp::{AttributeView, PointValue, ReadValue, RecordFields, RecordView, Signal};

/// A record of any signal, as a tap shows it.
pub(super) fn record(record: &RecordView<'_, '_>, origin: &RecordOrigin<'_>) -> Json {
    let fields = record.fields();
    let mut shown = Map::new();
    shown.insert("signal".into(), record.signal().name().into());
    put_origin(origin, &mut shown);
    shown.insert("time".into(), rfc3339(origin.time_of(&fields)).into());
    shown.insert("level".into(), level(record.signal(), &fields));
    match record.signal() {
        Signal::Logs => {
            shown.insert("body".into(), fields.body.json());
            if !fields.name.is_empty() {
                shown.insert("name".into(), fields.name.into());
            }
        }
        Signal::Traces | Signal::Metrics => {
            shown.insert("name".into(), fields.name.into());
        }
    }
    put_common(record, &fields, &mut shown);
    if record.signal() == Signal::Traces {
        shown.insert("parent_span_id".into(), hex(fields.parent_span_id));
        shown.insert("duration_ns".into(), fields.end.saturating_sub(fields.time).into());
        if !fields.status_message.is_empty() {
            shown.insert("status_message".into(), fields.status_message.into());
        }
    }
    if let Some(metric) = record.metric() {
        let (name, unit, kind) = (metric.name, metric.unit, metric.kind);
        let (temporality, value) = (record.temporality(), value(kind, &fields));
        let metric =
            json!({ "name": name, "unit": unit, "type": kind, "temporality": temporality, "value": value });
        shown.insert("metric".into(), metric);
    }
    shown.into()
}

/// A log record as clients of log stores read it.
pub(super) fn log(record: &RecordView<'_, '_>, origin: &RecordOrigin<'_>) -> Json {
    let fields = record.fields();
    let mut shown = Map::new();
    shown.insert("dt".into(), rfc3339(origin.time_of(&fields)).into());
    shown.insert("level".into(), level(record.signal(), &fields));
    let message = if fields.body == ReadValue::Empty { fields.name.into() } else { fields.body.text() };
    shown.insert("message".into(), message.into());
    put_origin(origin, &mut shown);
    put_common(record, &fields, &mut shown);
    shown.into()
}

fn put_origin(origin: &RecordOrigin<'_>, shown: &mut Map<String, Json>) {
    shown.insert("tenant".into(), origin.tenant.into());
    if let Some((exporter, key)) = origin.streams.first() {
        shown.insert("exporter".into(), (*exporter).into());
        shown.insert("stream".into(), (*key).into());
    }
    if origin.streams.len() > 1 {
        let streams =
            origin.streams.iter().map(|(exporter, key)| json!({ "exporter": exporter, "stream": key }));
        shown.insert("streams".into(), streams.collect());
    }
}

/// Puts the fields that records of every signal have.
fn put_common(record: &RecordView<'_, '_>, fields: &RecordFields<'_>, shown: &mut Map<String, Json>) {
    let resource = attributes(record.resource_attributes());
    for (name, key) in [("service", "service.name"), ("host", "host.name")] {
        shown.insert(name.into(), resource.get(key).cloned().unwrap_or_default());
    }
    if record.signal() != Signal::Metrics {
        shown.insert("trace_id".into(), hex(fields.trace_id));
        shown.insert("span_id".into(), hex(fields.span_id));
    }
    shown.insert("resource".into(), resource.into());
    let mut scope = Map::new();
    let (name, version) = record.scope();
    for (key, text) in [("name", name), ("version", version)] {
        if !text.is_empty() {
            scope.insert(key.into(), text.into());
        }
    }
    let of_scope = attributes(record.scope_attributes());
    if !of_scope.is_empty() {
        scope.insert("attributes".into(), of_scope.into());
    }
    shown.insert("scope".into(), scope.into());
    shown.insert("attributes".into(), attributes(record.attributes()).into());
}

fn attributes<'a>(attributes: impl Iterator<Item = AttributeView<'a>>) -> Map<String, Json> {
    attributes.map(|attribute| (attribute.key().to_owned(), attribute.value().json())).collect()
}

fn level(signal: Signal, fields: &RecordFields<'_>) -> Json {
    let level = match signal {
        Signal::Logs => SeverityLevel::of_log(fields.severity_number, fields.severity_text),
        Signal::Traces => fields.failed.then_some(SeverityLevel::Error),
        Signal::Metrics => None,
    };
    level.map(SeverityLevel::name).into()
}

/// What a data point says: a number, or of a distribution how many values it has and their sum.
fn value(kind: &str, fields: &RecordFields<'_>) -> Json {
    let is_distribution = matches!(kind, "histogram" | "exponential_histogram" | "summary");
    match fields.value {
        PointValue::Int(number) => number.into(),
        PointValue::Double(number) if number.is_finite() => number.into(),
        PointValue::Double(number) => number.to_string().into(),
        PointValue::Nothing if is_distribution => {
            json!({ "count": fields.count, "sum": fields.sum.filter(|sum| sum.is_finite()) })
        }
        PointValue::Nothing => Json::Null,
    }
}

/// Hexadecimal digits; null where there is no id.
fn hex(id: &[u8]) -> Json {
    if id.is_empty() {
        return Json::Null;
    }
    id.iter()
        .fold(String::with_capacity(2 * id.len()), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("writing to a String can't fail");
            digits
        })
        .into()
}
