//! Which records match, told by decoded messages.
#![allow(clippy::float_cmp, reason = "what equals a bound does so to the last bit")]

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use regex::Regex;

use super::super::bound::QueryBound;
use super::super::field::{AttributePlace, QueryField};
use super::super::pattern::{PatternPart, TextPattern};
use super::super::{Comparison, FieldTest, Query, SeverityLevel};
use super::ADMITTED;
use otlp::{ReadValue, Signal};

/// All that a query can ask of a record.
#[derive(Clone, Default)]
struct DecodedTelemetry {
    signal: Option<Signal>,
    resource: Vec<KeyValue>,
    scope: InstrumentationScope,
    metadata: Vec<KeyValue>,
    own: Vec<KeyValue>,
    time: u64,
    duration: Option<u64>,
    severity_number: i32,
    severity_text: String,
    failed: bool,
    body: Option<AnyValue>,
    name: String,
    status_message: String,
    ids: [Vec<u8>; 3],
}

pub(super) fn matching(query: &Query, signal: Signal, request: &[u8]) -> BTreeSet<(usize, usize)> {
    let entries = decoded(signal, request).into_iter().enumerate();
    let records = entries.flat_map(|(entry, records)| {
        records.into_iter().enumerate().map(move |(at, record)| ((entry, at), record))
    });
    records.filter(|(_, record)| record.matches(query)).map(|(position, _)| position).collect()
}

fn decoded(signal: Signal, request: &[u8]) -> Vec<Vec<DecodedTelemetry>> {
    let of = |resource: Option<Resource>, scope: &Option<InstrumentationScope>| DecodedTelemetry {
        signal: Some(signal),
        resource: resource.unwrap_or_default().attributes,
        scope: scope.clone().unwrap_or_default(),
        ..DecodedTelemetry::default()
    };
    match signal {
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(request).unwrap();
            let entries = request.resource_logs.into_iter().map(|entry| {
                let scopes = entry.scope_logs.iter().flat_map(|scope| {
                    let around = of(entry.resource.clone(), &scope.scope);
                    scope.log_records.iter().map(move |record| around.clone().with_log(record))
                });
                scopes.collect()
            });
            entries.collect()
        }
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(request).unwrap();
            let entries = request.resource_spans.into_iter().map(|entry| {
                let scopes = entry.scope_spans.iter().flat_map(|scope| {
                    let around = of(entry.resource.clone(), &scope.scope);
                    scope.spans.iter().map(move |span| {
                        let status = span.status.clone().unwrap_or_default();
                        DecodedTelemetry {
                            own: span.attributes.clone(),
                            time: span.start_time_unix_nano,
                            duration: (span.end_time_unix_nano != 0)
                                .then(|| span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
                            failed: status.code == 2,
                            status_message: status.message,
                            name: span.name.clone(),
                            ids: [span.trace_id.clone(), span.span_id.clone(), span.parent_span_id.clone()],
                            ..around.clone()
                        }
                    })
                });
                scopes.collect()
            });
            entries.collect()
        }
        Signal::Metrics => {
            let request = ExportMetricsServiceRequest::decode(request).unwrap();
            let entries = request.resource_metrics.into_iter().map(|entry| {
                let mut records = Vec::new();
                for scope in &entry.scope_metrics {
                    let around = of(entry.resource.clone(), &scope.scope);
                    for metric in &scope.metrics {
                        let (metadata, name) = (metric.metadata.clone(), metric.name.clone());
                        let around = DecodedTelemetry { metadata, name, ..around.clone() };
                        let points = points(metric.data.as_ref());
                        records.extend(points.into_iter().map(|(time, own)| DecodedTelemetry {
                            own,
                            time,
                            ..around.clone()
                        }));
                    }
                }
                records
            });
            entries.collect()
        }
    }
}

/// Time and attributes of each data point.
fn points(data: Option<&Data>) -> Vec<(u64, Vec<KeyValue>)> {
    macro_rules! of {
        ($data:expr) => {
            $data.data_points.iter().map(|point| (point.time_unix_nano, point.attributes.clone())).collect()
        };
    }
    match data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => of!(data),
        Some(Data::Sum(data)) => of!(data),
        Some(Data::Histogram(data)) => of!(data),
        Some(Data::ExponentialHistogram(data)) => of!(data),
        Some(Data::Summary(data)) => of!(data),
    }
}

impl DecodedTelemetry {
    fn with_log(self, record: &LogRecord) -> Self {
        let observed = record.observed_time_unix_nano;
        Self {
            own: record.attributes.clone(),
            time: if record.time_unix_nano == 0 { observed } else { record.time_unix_nano },
            severity_number: record.severity_number,
            severity_text: record.severity_text.clone(),
            body: record.body.clone(),
            name: record.event_name.clone(),
            ids: [record.trace_id.clone(), record.span_id.clone(), Vec::new()],
            ..self
        }
    }

    fn matches(&self, query: &Query) -> bool {
        match query {
            Query::Everything => true,
            Query::And(parts) => parts.iter().all(|part| self.matches(part)),
            Query::Or(parts) => parts.iter().any(|part| self.matches(part)),
            Query::Not(part) => !self.matches(part),
            Query::Text(pattern) => {
                let texts = [self.body_text(), Some(self.name.clone()), Some(self.status_message.clone())];
                // An empty body is a text, too.
                let is_there = |(at, text): &(usize, String)| *at == 0 || !text.is_empty();
                let texts = texts.into_iter().enumerate().filter_map(|(at, text)| Some((at, text?)));
                texts.filter(is_there).any(|(_, text)| is_in(pattern, &text))
            }
            Query::Field(field, test) => self.has(field, test),
        }
    }

    fn has(&self, field: &QueryField, test: &FieldTest) -> bool {
        let pattern = if let FieldTest::Matches(pattern) = test { Some(pattern) } else { None };
        let text = |text: &str| !text.is_empty() && is_like(pattern.unwrap(), text);
        let id = |id: &[u8]| text(&hex(id));
        let ordered = |value: Option<f64>, number: fn(QueryBound) -> f64| {
            value.is_some_and(|value| pattern.is_some() || is_within(value, test, number))
        };
        match field {
            QueryField::Signal => match test {
                FieldTest::Compare(_, QueryBound::Signal(signal)) => Some(*signal) == self.signal,
                _ => true,
            },
            QueryField::Tenant => is_exactly_like(pattern.unwrap(), "acme"),
            QueryField::Stream => ["k", "l"].iter().any(|key| is_exactly_like(pattern.unwrap(), key)),
            QueryField::Exporter => ["one", "two"].iter().any(|name| is_exactly_like(pattern.unwrap(), name)),
            QueryField::SeverityLevel => {
                ordered(self.level().map(|level| f64::from(level as u8)), |bound| match bound {
                    QueryBound::SeverityLevel(level) => f64::from(level as u8),
                    _ => unreachable!("a level is compared with levels"),
                })
            }
            QueryField::SeverityNumber => {
                ordered(Some(f64::from(self.severity_number)).filter(|number| *number != 0.0), |bound| {
                    match bound {
                        QueryBound::Number(number) => number,
                        _ => unreachable!("a number is compared with numbers"),
                    }
                })
            }
            QueryField::SeverityText => text(&self.severity_text),
            QueryField::Body => self.body_text().is_some_and(|body| is_in(pattern.unwrap(), &body)),
            QueryField::Name => text(&self.name),
            QueryField::TraceId => id(&self.ids[0]),
            QueryField::SpanId => id(&self.ids[1]),
            QueryField::ParentSpanId => id(&self.ids[2]),
            QueryField::Time => {
                Self::is_between(Some(if self.time == 0 { ADMITTED } else { self.time }), test)
            }
            QueryField::Duration => Self::is_between(self.duration, test),
            QueryField::Scope => text(&self.scope.name),
            QueryField::Attribute { place, .. } => {
                let names: Vec<&str> = field.attributes().collect();
                self.attribute(*place, &names).is_some_and(|value| has_value(&value, test))
            }
        }
    }

    fn is_between(value: Option<u64>, test: &FieldTest) -> bool {
        let Some(value) = value else { return false };
        let nanos = |bound: &QueryBound| match bound {
            QueryBound::Time(nanos) | QueryBound::Duration(nanos) => *nanos,
            _ => unreachable!("times are compared with times"),
        };
        match test {
            FieldTest::Matches(_) => true,
            FieldTest::Compare(comparison, bound) => match comparison {
                Comparison::Equal => value == nanos(bound),
                Comparison::Below => value < nanos(bound),
                Comparison::AtMost => value <= nanos(bound),
                Comparison::Above => value > nanos(bound),
                Comparison::AtLeast => value >= nanos(bound),
            },
            FieldTest::Between(from, to) => {
                from.as_ref().is_none_or(|from| value >= nanos(from))
                    && to.as_ref().is_none_or(|to| value <= nanos(to))
            }
        }
    }

    fn level(&self) -> Option<SeverityLevel> {
        use SeverityLevel::{Debug, Error, Fatal, Info, Trace, Warn};
        match (self.signal?, self.severity_number) {
            (Signal::Traces, _) => self.failed.then_some(Error),
            (Signal::Metrics, _) => None,
            (Signal::Logs, 0) => SeverityLevel::of_log(0, &self.severity_text),
            (Signal::Logs, number) => match number {
                1..=4 => Some(Trace),
                5..=8 => Some(Debug),
                9..=12 => Some(Info),
                13..=16 => Some(Warn),
                17..=20 => Some(Error),
                21..=24 => Some(Fatal),
                _ => None,
            },
        }
    }

    fn body_text(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        let is_there = matches!(&body.value, Some(value) if !matches!(value, Any::StringValueStrindex(_)));
        is_there.then(|| value_text(body))
    }

    /// The first of these attributes that is nearest to the record.
    fn attribute(&self, place: Option<AttributePlace>, names: &[&str]) -> Option<AnyValue> {
        let places: Vec<&Vec<KeyValue>> = match place {
            Some(AttributePlace::Record) => vec![&self.own],
            Some(AttributePlace::Scope) => vec![&self.scope.attributes],
            Some(AttributePlace::Resource) => vec![&self.resource],
            None => vec![&self.own, &self.metadata, &self.scope.attributes, &self.resource],
        };
        places.into_iter().find_map(|attributes| {
            names.iter().find_map(|name| {
                let last = attributes.iter().rev().find(|attribute| attribute.key == *name);
                last.map(|attribute| attribute.value.clone().unwrap_or_default())
            })
        })
    }
}

fn has_value(value: &AnyValue, test: &FieldTest) -> bool {
    let member = value.value.as_ref();
    if let FieldTest::Matches(pattern) = test
        && pattern.is_any()
    {
        return true;
    }
    if let Some(Any::ArrayValue(list)) = member {
        return list.values.iter().any(|item| has_value(item, test));
    }
    match test {
        FieldTest::Matches(pattern) => {
            let number = pattern.literal().and_then(|text| text.parse::<f64>().ok());
            let int = pattern.literal().and_then(|text| text.parse::<i64>().ok());
            match member {
                Some(Any::IntValue(value)) if int.is_some() => int == Some(*value),
                Some(Any::IntValue(value)) if number.is_some() => number == Some(*value as f64),
                Some(Any::DoubleValue(value)) if number == Some(*value) => true,
                _ => is_like(pattern, &value_text(value)),
            }
        }
        ordered => {
            let number = match member {
                Some(Any::IntValue(value)) => Some(*value as f64),
                Some(Any::DoubleValue(value)) => Some(*value),
                Some(Any::StringValue(text)) => text.trim().parse().ok(),
                _ => None,
            };
            number.is_some_and(|number| {
                is_within(number, ordered, |bound| match bound {
                    QueryBound::Number(number) => number,
                    _ => unreachable!("attributes are compared with numbers"),
                })
            })
        }
    }
}

fn is_within(value: f64, test: &FieldTest, number: fn(QueryBound) -> f64) -> bool {
    match test {
        FieldTest::Matches(_) => true,
        FieldTest::Compare(Comparison::Equal, bound) => value == number(*bound),
        FieldTest::Compare(Comparison::Below, bound) => value < number(*bound),
        FieldTest::Compare(Comparison::AtMost, bound) => value <= number(*bound),
        FieldTest::Compare(Comparison::Above, bound) => value > number(*bound),
        FieldTest::Compare(Comparison::AtLeast, bound) => value >= number(*bound),
        FieldTest::Between(from, to) => {
            from.is_none_or(|from| value >= number(from)) && to.is_none_or(|to| value <= number(to))
        }
    }
}

/// Two hexadecimal digits for each byte.
fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("it is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// As text, which has tests of its own.
fn value_text(value: &AnyValue) -> String {
    ReadValue::of(&value.encode_to_vec()).text().into_owned()
}

/// The pattern as a regular expression; of ASCII letters the case does not count if that is wanted.
fn regex(pattern: &TextPattern, folds: bool) -> String {
    let of_char = |char: char| {
        if folds && char.is_ascii_alphabetic() {
            format!("[{}{}]", char.to_ascii_lowercase(), char.to_ascii_uppercase())
        } else {
            regex::escape(&char.to_string())
        }
    };
    let of_part = |part: &PatternPart| match part {
        PatternPart::Text(text) => text.chars().map(of_char).collect(),
        PatternPart::Run => "(?s:.*)".to_owned(),
        PatternPart::One => "(?s:.)".to_owned(),
    };
    pattern.parts().iter().map(of_part).collect()
}

fn is_like(pattern: &TextPattern, text: &str) -> bool {
    Regex::new(&format!("^{}$", regex(pattern, true))).unwrap().is_match(text)
}

fn is_exactly_like(pattern: &TextPattern, text: &str) -> bool {
    Regex::new(&format!("^{}$", regex(pattern, false))).unwrap().is_match(text)
}

fn is_in(pattern: &TextPattern, text: &str) -> bool {
    Regex::new(&regex(pattern, true)).unwrap().is_match(text)
}

/// Three log records of a service: a failure, a warning, and one that says little.
pub(super) fn sample_logs() -> Vec<u8> {
    let any = |value| AnyValue { value: Some(value) };
    let attribute =
        |key: &str, value| KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() };
    let text = |text: &str| Any::StringValue(text.to_owned());
    let day = 86_400_000_000_000;
    let noon_of_27_march_2026 = 1_774_569_600_000_000_000 + day / 2;
    let failure = LogRecord {
        time_unix_nano: noon_of_27_march_2026,
        severity_number: 17,
        body: Some(any(text("upstream: Connection refused"))),
        attributes: vec![attribute("http.response.status_code", Any::IntValue(503))],
        trace_id: (1..=16).collect(),
        ..LogRecord::default()
    };
    let colours = ArrayValue { values: vec![any(text("red")), any(text("Blue"))] };
    let warning = LogRecord {
        observed_time_unix_nano: noon_of_27_march_2026 + day,
        severity_number: 13,
        body: Some(any(text("slow"))),
        attributes: vec![
            attribute("status", text("404")),
            attribute("tags", Any::ArrayValue(colours)),
            attribute("flag", Any::BoolValue(true)),
            attribute("ratio", Any::DoubleValue(0.5)),
        ],
        ..LogRecord::default()
    };
    let little = LogRecord {
        time_unix_nano: noon_of_27_march_2026 - 80 * day,
        severity_number: 9,
        severity_text: "oops".to_owned(),
        ..LogRecord::default()
    };
    let scope = InstrumentationScope { name: "http".to_owned(), ..InstrumentationScope::default() };
    let resource = vec![attribute("service.name", text("api")), attribute("host.name", text("prod-1"))];
    let scope_logs =
        ScopeLogs { scope: Some(scope), log_records: vec![failure, warning, little], ..ScopeLogs::default() };
    let entry = ResourceLogs {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_logs: vec![scope_logs],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec()
}
