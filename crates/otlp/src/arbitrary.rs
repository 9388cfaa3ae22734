//! Arbitrary OTLP messages for property tests.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use crate::Signal;

/// The encoded bytes of a valid request.
pub fn request(signal: Signal) -> BoxedStrategy<Vec<u8>> {
    match signal {
        Signal::Traces => traces().prop_map(|request| request.encode_to_vec()).boxed(),
        Signal::Metrics => metrics().prop_map(|request| request.encode_to_vec()).boxed(),
        Signal::Logs => logs().prop_map(|request| request.encode_to_vec()).boxed(),
    }
}

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scopes = (option(scope()), vec(span(), 0..4), text());
    let scopes = scopes.prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let entries = (option(resource()), vec(scopes, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(entries, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scopes = (option(scope()), vec(metric(), 0..4), text());
    let scopes = scopes.prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let entries =
        (option(resource()), vec(scopes, 0..3), text()).prop_map(|(resource, scope_metrics, schema_url)| {
            ResourceMetrics { resource, scope_metrics, schema_url }
        });
    vec(entries, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

pub(crate) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scopes = (option(scope()), vec(log_record(), 0..4), text());
    let scopes =
        scopes.prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let entries = (option(resource()), vec(scopes, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(entries, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8), text(), text());
    let numbers = (0..6_i32, time(), time(), count(), count(), count(), count());
    let event = (time(), text(), attributes(), count()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    );
    let link = (id(16), id(8), text(), attributes(), count(), count()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    );
    let status = (text(), 0..3_i32).prop_map(|(message, code)| Status { message, code });
    (ids, numbers, attributes(), vec(event, 0..3), vec(link, 0..3), option(status)).prop_map(
        |(ids, numbers, attributes, events, links, status)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: ids.3,
            name: ids.4,
            kind: numbers.0,
            start_time_unix_nano: numbers.1,
            end_time_unix_nano: numbers.2,
            flags: numbers.3,
            dropped_attributes_count: numbers.4,
            dropped_events_count: numbers.5,
            dropped_links_count: numbers.6,
            attributes,
            events,
            links,
            status,
        },
    )
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let numbers = (time(), time(), 0..25_i32, count(), count());
    (numbers, text(), option(any_value()), attributes(), id(16), id(8), text()).prop_map(
        |(numbers, severity_text, body, attributes, trace_id, span_id, event_name)| LogRecord {
            time_unix_nano: numbers.0,
            observed_time_unix_nano: numbers.1,
            severity_number: numbers.2,
            severity_text,
            body,
            attributes,
            dropped_attributes_count: numbers.3,
            flags: numbers.4,
            trace_id,
            span_id,
            event_name,
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let number = || vec(number_data_point(), 0..4);
    let data = prop_oneof![
        number().prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (number(), 0..3_i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram_data_point(), 0..4), 0..3_i32).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_data_point(), 0..4), 0..3_i32).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_data_point(), 0..4).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ];
    (text(), text(), text(), attributes(), option(data)).prop_map(
        |(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data },
    )
}

fn number_data_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        double().prop_map(number_data_point::Value::AsDouble),
        any::<i64>().prop_map(number_data_point::Value::AsInt),
    ];
    (attributes(), time(), time(), vec(exemplar(), 0..2), count(), option(value)).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            exemplars,
            flags,
            value,
        },
    )
}

fn histogram_data_point() -> impl Strategy<Value = HistogramDataPoint> {
    let buckets = (vec(any::<u64>(), 0..4), vec(double(), 0..4));
    let optional = (option(double()), option(double()), option(double()));
    (attributes(), (time(), time(), any::<u64>()), buckets, optional, vec(exemplar(), 0..2), count())
        .prop_map(|(attributes, times, buckets, (sum, min, max), exemplars, flags)| HistogramDataPoint {
            attributes,
            start_time_unix_nano: times.0,
            time_unix_nano: times.1,
            count: times.2,
            sum,
            bucket_counts: buckets.0,
            explicit_bounds: buckets.1,
            exemplars,
            flags,
            min,
            max,
        })
}

fn exponential_data_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        (any::<i32>(), vec(any::<u64>(), 0..4))
            .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts })
    };
    let optional = (option(double()), option(double()), option(double()), double());
    let numbers = (time(), time(), any::<u64>(), any::<i32>(), any::<u64>(), count());
    (attributes(), numbers, option(buckets()), option(buckets()), optional, vec(exemplar(), 0..2)).prop_map(
        |(attributes, numbers, positive, negative, (sum, min, max, zero_threshold), exemplars)| {
            ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano: numbers.0,
                time_unix_nano: numbers.1,
                count: numbers.2,
                sum,
                scale: numbers.3,
                zero_count: numbers.4,
                positive,
                negative,
                flags: numbers.5,
                exemplars,
                min,
                max,
                zero_threshold,
            }
        },
    )
}

fn summary_data_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), time(), time(), any::<u64>(), double(), vec(quantile, 0..3), count()).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags)| {
            SummaryDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                quantile_values,
                flags,
            }
        },
    )
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let value = prop_oneof![
        double().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt),
    ];
    (attributes(), time(), id(8), id(16), option(value)).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value,
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    let texts = || vec(text(), 0..3);
    let entity =
        (text(), text(), texts(), texts()).prop_map(|(schema_url, r#type, id_keys, description_keys)| {
            EntityRef { schema_url, r#type, id_keys, description_keys }
        });
    (attributes(), count(), vec(entity, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    )
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), count()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    )
}

/// Some of them are so few that many messages have the same.
fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = prop_oneof![
        4 => "[xy]?".prop_map(Value::StringValue),
        1 => (0..2_i64).prop_map(Value::IntValue),
        1 => Just(Value::DoubleValue(0.5)),
    ];
    let few = ("[ab]", value).prop_map(|(key, value)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    });
    vec(prop_oneof![2 => key_value(any_value()), 1 => few], 0..3)
}

fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    ("[a-zé\"\\\\.]{1,12}", option(value), prop_oneof![9 => Just(0), 1 => any::<i32>()])
        .prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex })
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::StringValue),
        1 => any::<bool>().prop_map(Value::BoolValue),
        2 => any::<i64>().prop_map(Value::IntValue),
        1 => (0..300_i64).prop_map(Value::IntValue),
        1 => double().prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..9).prop_map(Value::BytesValue),
    ];
    let leaf = option(leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 8, 3, |inner| {
        let values = vec(inner.clone(), 1..3).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let pairs =
            vec(key_value(inner), 1..3).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        prop_oneof![values, pairs].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn option<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::weighted(0.8, strategy)
}

/// Mostly short; sometimes longer than one length byte can say, or not ASCII.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z /]{0,12}",
        2 => "[ -~]{0,40}",
        1 => "[\\x00-\\x1f\"\\\\é水🦀a]{0,20}",
        1 => "[a-z]{120,140}",
    ]
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => Just(Vec::new()), 4 => vec(any::<u8>(), len)]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 4 => 1_700_000_000_000_000_000..1_800_000_000_000_000_000_u64, 1 => any::<u64>()]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 2 => 0..1000_u32, 1 => any::<u32>()]
}

/// No NaN, which equals nothing, and only what every JSON reader reads exactly.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => Just(-0.0), 4 => any::<i32>().prop_map(|value| f64::from(value) / 16.0)]
}
