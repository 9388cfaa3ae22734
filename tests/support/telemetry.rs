//! What arrived, decoded, by stream.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, NumberDataPoint, ResourceMetrics, exemplar};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use rig::sink::RecordedRequest;
use sluice::otlp::Signal;

use super::payload::KEY;

/// The entries of each stream, in their order. What differs between two runs of one sender is made equal: the times of
/// metrics are removed, and metrics and their points are sorted, since SDKs keep them in maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    pub traces: BTreeMap<String, Vec<ResourceSpans>>,
    pub metrics: BTreeMap<String, Vec<ResourceMetrics>>,
    pub logs: BTreeMap<String, Vec<ResourceLogs>>,
}

impl Telemetry {
    /// Decodes requests in protobuf.
    pub fn of(requests: &[RecordedRequest]) -> Self {
        let mut all = Self::default();
        for request in requests {
            let signal = Signal::ALL.into_iter().find(|signal| request.path.ends_with(signal.path()));
            all.add(signal.expect("the path is a signal's"), &request.body);
        }
        all
    }

    /// Adds the entries of a request in protobuf.
    pub fn add(&mut self, signal: Signal, body: &[u8]) {
        match signal {
            Signal::Traces => {
                for entry in ExportTraceServiceRequest::decode(body).expect("a request").resource_spans {
                    self.traces.entry(stream(entry.resource.as_ref())).or_default().push(entry);
                }
            }
            Signal::Metrics => {
                for mut entry in
                    ExportMetricsServiceRequest::decode(body).expect("a request").resource_metrics
                {
                    for scope in &mut entry.scope_metrics {
                        sort_metrics(&mut scope.metrics);
                        scope.metrics.iter_mut().for_each(make_comparable);
                    }
                    self.metrics.entry(stream(entry.resource.as_ref())).or_default().push(entry);
                }
            }
            Signal::Logs => {
                for entry in ExportLogsServiceRequest::decode(body).expect("a request").resource_logs {
                    self.logs.entry(stream(entry.resource.as_ref())).or_default().push(entry);
                }
            }
        }
    }

    /// The streams that there are, of any signal.
    pub fn streams(&self) -> Vec<(Signal, String)> {
        let traces = self.traces.keys().map(|key| (Signal::Traces, key.clone()));
        let metrics = self.metrics.keys().map(|key| (Signal::Metrics, key.clone()));
        let logs = self.logs.keys().map(|key| (Signal::Logs, key.clone()));
        traces.chain(metrics).chain(logs).collect()
    }

    /// Spans, data points and log records.
    pub fn records(&self) -> u64 {
        let spans = self.traces.values().flatten().flat_map(|entry| &entry.scope_spans);
        let metrics = self.metrics.values().flatten().flat_map(|entry| &entry.scope_metrics);
        let logs = self.logs.values().flatten().flat_map(|entry| &entry.scope_logs);
        let points = metrics.flat_map(|scope| &scope.metrics).map(points);
        let sum = spans.map(|scope| scope.spans.len()).sum::<usize>()
            + points.sum::<usize>()
            + logs.map(|scope| scope.log_records.len()).sum::<usize>();
        sum as u64
    }

    /// Panics unless this is what was sent, and shows what differs.
    pub fn assert_is(&self, sent: &Self, how: &str) {
        assert!(self == sent, "{how}: what arrived is not what was sent:\n{}", difference(self, sent));
    }

    /// The same in one form, where writers are free to choose: the order of attributes and metrics, empty messages
    /// or none, empty buckets at the end, whether a span's flags repeat that it is sampled.
    pub fn canonical(mut self) -> Self {
        for entry in self.traces.values_mut().flatten() {
            sort(entry.resource.as_mut());
            for scope in &mut entry.scope_spans {
                sort_scope(scope.scope.as_mut());
                scope.spans.iter_mut().for_each(canonical_span);
            }
        }
        for entry in self.logs.values_mut().flatten() {
            sort(entry.resource.as_mut());
            for scope in &mut entry.scope_logs {
                sort_scope(scope.scope.as_mut());
                scope.log_records.iter_mut().for_each(canonical_log);
            }
        }
        for entry in self.metrics.values_mut().flatten() {
            sort(entry.resource.as_mut());
            for scope in &mut entry.scope_metrics {
                sort_scope(scope.scope.as_mut());
                sort_metrics(&mut scope.metrics);
                scope.metrics.iter_mut().for_each(canonical_metric);
            }
        }
        self
    }
}

/// The routing key.
fn stream(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|resource| &*resource.attributes).unwrap_or_default();
    let value = attributes.iter().find(|attribute| attribute.key == KEY).and_then(|key| key.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(key)) => key,
        other => panic!("not a routing key: {other:?}"),
    }
}

fn sort_metrics(metrics: &mut [Metric]) {
    metrics.sort_by(|one, other| one.name.cmp(&other.name));
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

/// Checks that there are times, and removes them; sorts.
fn make_comparable(metric: &mut Metric) {
    fn no_times(start: &mut u64, time: &mut u64, exemplars: &mut [Exemplar]) {
        assert!(*start <= *time && *time > 0, "measured from {start} to {time}");
        (*start, *time) = (0, 0);
        for exemplar in &mut *exemplars {
            assert!(exemplar.time_unix_nano > 0, "{exemplar:?}");
            exemplar.time_unix_nano = 0;
        }
        exemplars.sort_by(|one, other| measured(one).total_cmp(&measured(other)));
    }
    let numbers = |points: &mut Vec<NumberDataPoint>| {
        for point in &mut *points {
            no_times(&mut point.start_time_unix_nano, &mut point.time_unix_nano, &mut point.exemplars);
        }
        points.sort_by_key(|point| format!("{:?}", point.attributes));
    };
    match metric.data.as_mut().expect("a metric has data") {
        Data::Gauge(data) => numbers(&mut data.data_points),
        Data::Sum(data) => numbers(&mut data.data_points),
        Data::Histogram(data) => {
            for point in &mut data.data_points {
                no_times(&mut point.start_time_unix_nano, &mut point.time_unix_nano, &mut point.exemplars);
            }
        }
        Data::ExponentialHistogram(data) => {
            for point in &mut data.data_points {
                no_times(&mut point.start_time_unix_nano, &mut point.time_unix_nano, &mut point.exemplars);
            }
        }
        Data::Summary(data) => {
            for point in &mut data.data_points {
                no_times(&mut point.start_time_unix_nano, &mut point.time_unix_nano, &mut []);
            }
        }
    }
}

fn measured(exemplar: &Exemplar) -> f64 {
    match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => value,
        Some(exemplar::Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    }
}

/// Where the two begin to differ.
fn difference(arrived: &Telemetry, sent: &Telemetry) -> String {
    let (arrived, sent) = (format!("{arrived:?}"), format!("{sent:?}"));
    let same = arrived.bytes().zip(sent.bytes()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| {
        let bytes = &text.as_bytes()[same.saturating_sub(600)..text.len().min(same + 300)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    format!("arrived: … {} …\nsent: … {} …", part(&arrived), part(&sent))
}

fn sort(resource: Option<&mut Resource>) {
    sort_attributes(&mut resource.expect("an entry has a resource").attributes);
}

fn sort_scope(scope: Option<&mut InstrumentationScope>) {
    sort_attributes(&mut scope.expect("records have a scope").attributes);
}

fn sort_attributes(attributes: &mut [KeyValue]) {
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes.iter_mut().filter_map(|attribute| attribute.value.as_mut()).for_each(sort_value);
}

fn sort_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::KvlistValue(list)) => sort_attributes(&mut list.values),
        Some(Value::ArrayValue(list)) => list.values.iter_mut().for_each(sort_value),
        _ => {}
    }
}

fn canonical_span(span: &mut Span) {
    sort_attributes(&mut span.attributes);
    span.events.iter_mut().for_each(|event| sort_attributes(&mut event.attributes));
    for link in &mut span.links {
        sort_attributes(&mut link.attributes);
        link.flags &= !0xff;
    }
    span.flags &= !0xff;
    span.status.get_or_insert_default();
}

fn canonical_log(record: &mut LogRecord) {
    sort_attributes(&mut record.attributes);
    record.body.iter_mut().for_each(sort_value);
}

fn canonical_metric(metric: &mut Metric) {
    if let Some(Data::ExponentialHistogram(data)) = &mut metric.data {
        for point in &mut data.data_points {
            for buckets in [&mut point.positive, &mut point.negative] {
                *buckets = buckets.take().and_then(without_empty_end);
            }
        }
    }
}

fn without_empty_end(mut buckets: Buckets) -> Option<Buckets> {
    let used = buckets.bucket_counts.iter().rposition(|count| *count > 0)?;
    buckets.bucket_counts.truncate(used + 1);
    Some(buckets)
}
