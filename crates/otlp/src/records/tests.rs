use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::*;

/// Of use is what is not empty.
fn is_usable(value: ReadValue<'_>) -> bool {
    value != ReadValue::Text("")
}

/// The attribute `k`, wherever it stands.
fn k() -> RecordAttribute {
    RecordAttribute { name: "k".into(), is_alone: false }
}

fn attributes(of: &[(&str, &str)]) -> Vec<KeyValue> {
    let attribute = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue((*text).to_owned())) }),
        ..KeyValue::default()
    };
    of.iter().map(attribute).collect()
}

fn scope(of: &[(&str, &str)]) -> InstrumentationScope {
    InstrumentationScope { attributes: attributes(of), ..InstrumentationScope::default() }
}

/// What the first record has of `k`; and behind a `/`, if that is something else, what it has of its own.
fn first(signal: Signal, entry: &impl prost::Message) -> String {
    let names = [k(), RecordAttribute { is_alone: true, ..k() }];
    let entry = entry.encode_to_vec();
    let found = RecordAttributes::new(&names, is_usable).of_first_record(signal, &entry);
    let shown = |found: &Found<'_>| match found {
        Found::Value(ReadValue::Text(text)) => (*text).to_owned(),
        other => format!("{other:?}"),
    };
    match &found[..] {
        [one, other] if one == other => shown(one),
        [one, alone] => format!("{}/{}", shown(one), shown(alone)),
        other => panic!("two were asked for: {other:?}"),
    }
}

fn span_of(own: &[(&str, &str)], events: &[&[(&str, &str)]], of_scope: &[(&str, &str)]) -> String {
    let event = |of: &&[(&str, &str)]| Event { attributes: attributes(of), ..Event::default() };
    // Neither a link nor the resource counts.
    let link = Link { attributes: attributes(&[("k", "link")]), ..Link::default() };
    let span = Span {
        attributes: attributes(own),
        events: events.iter().map(event).collect(),
        links: vec![link],
        ..Span::default()
    };
    let spans = ScopeSpans { scope: Some(scope(of_scope)), spans: vec![span], ..ScopeSpans::default() };
    let resource = Resource { attributes: attributes(&[("k", "resource")]), ..Resource::default() };
    let entry =
        ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
    first(Signal::Traces, &entry)
}

fn log_of(own: &[(&str, &str)], of_scope: &[(&str, &str)]) -> String {
    let record = LogRecord { attributes: attributes(own), ..LogRecord::default() };
    let logs = ScopeLogs { scope: Some(scope(of_scope)), log_records: vec![record], ..ScopeLogs::default() };
    first(Signal::Logs, &ResourceLogs { scope_logs: vec![logs], ..ResourceLogs::default() })
}

fn point_of(data: Data, metadata: &[(&str, &str)], of_scope: &[(&str, &str)]) -> String {
    let metric = Metric { metadata: attributes(metadata), data: Some(data), ..Metric::default() };
    let metrics =
        ScopeMetrics { scope: Some(scope(of_scope)), metrics: vec![metric], ..ScopeMetrics::default() };
    first(Signal::Metrics, &ResourceMetrics { scope_metrics: vec![metrics], ..ResourceMetrics::default() })
}

const NOTHING: &[(&str, &str)] = &[];

#[test]
fn a_span_is_overridden_by_its_last_event_and_that_by_its_scope() {
    let (own, one, two, scope) =
        (&[("k", "span")][..], &[("k", "one")][..], &[("k", "two")][..], &[("k", "scope")][..]);
    assert_eq!(span_of(NOTHING, &[], NOTHING), "Absent", "neither links nor the resource count");
    assert_eq!(span_of(own, &[], NOTHING), "span");
    assert_eq!(span_of(own, &[one, two, NOTHING], NOTHING), "two/span");
    assert_eq!(span_of(NOTHING, &[one], NOTHING), "one/Absent");
    assert_eq!(span_of(own, &[one, two], scope), "scope/span");
}

#[test]
fn a_log_record_overrides_its_scope() {
    assert_eq!(log_of(NOTHING, &[("k", "scope")]), "scope/Absent");
    assert_eq!(log_of(&[("other", "x"), ("k", "log")], &[("k", "scope")]), "log");
}

#[test]
fn a_data_point_of_any_kind_overrides_the_metadata_of_its_metric_and_these_the_scope() {
    let kinds = |own: &[(&str, &str)]| {
        let attributes = || attributes(own);
        let number = || NumberDataPoint { attributes: attributes(), ..NumberDataPoint::default() };
        let histogram = HistogramDataPoint { attributes: attributes(), ..HistogramDataPoint::default() };
        let exponential = ExponentialHistogramDataPoint {
            attributes: attributes(),
            ..ExponentialHistogramDataPoint::default()
        };
        let summary = SummaryDataPoint { attributes: attributes(), ..SummaryDataPoint::default() };
        [
            Data::Gauge(Gauge { data_points: vec![number()] }),
            Data::Sum(Sum { data_points: vec![number()], ..Sum::default() }),
            Data::Histogram(Histogram { data_points: vec![histogram], ..Histogram::default() }),
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                ..ExponentialHistogram::default()
            }),
            Data::Summary(Summary { data_points: vec![summary] }),
        ]
    };
    let (metadata, scope) = (&[("k", "metadata")][..], &[("k", "scope")][..]);
    for data in kinds(NOTHING) {
        assert_eq!(point_of(data.clone(), NOTHING, scope), "scope/Absent", "{data:?}");
        assert_eq!(point_of(data, metadata, scope), "metadata/Absent");
    }
    for data in kinds(&[("k", "point")]) {
        assert_eq!(point_of(data, metadata, scope), "point");
    }
}

#[test]
fn what_is_of_no_use_overrides_nothing_and_is_shown_where_there_is_nothing_else() {
    assert_eq!(log_of(&[("k", "")], &[("k", "scope")]), "scope/");
    assert_eq!(log_of(&[("k", "")], NOTHING), "");
    assert_eq!(log_of(NOTHING, &[("k", "")]), "/Absent");
}

#[test]
fn a_message_that_has_an_attribute_twice_with_different_values_conflicts_wherever_it_stands() {
    let twice = &[("k", "1"), ("k", "2")][..];
    assert_eq!(log_of(twice, NOTHING), "Conflicting");
    assert_eq!(log_of(&[("k", "log")], twice), "Conflicting/log", "though the record overrides the scope");
    assert_eq!(log_of(&[("k", "1"), ("k", "1")], NOTHING), "1");
    assert_eq!(span_of(NOTHING, &[twice, &[("k", "3")]], NOTHING), "Conflicting/Absent");
}

#[test]
fn a_metric_that_states_its_data_twice_has_what_all_its_points_have() {
    let gauge = |text: &str| {
        let point = NumberDataPoint { attributes: attributes(&[("k", text)]), ..NumberDataPoint::default() };
        let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
        Metric { data, ..Metric::default() }.encode_to_vec()
    };
    let both = |one: &str, two: &str| {
        let metric = [gauge(one), gauge(two)].concat();
        let metrics = [&[0x12, metric.len() as u8][..], &metric].concat();
        let entry = [&[0x12, metrics.len() as u8][..], &metrics].concat();
        let names = [k()];
        RecordAttributes::new(&names, is_usable).of_first_record(Signal::Metrics, &entry)
            == [Found::Conflicting].into_iter().collect::<RecordValues<'_>>()
    };
    assert!(both("a", "b"));
    assert!(!both("a", "a"));
}
