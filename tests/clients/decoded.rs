//! Requests of any signal, decoded and brought into one form, so that those of different writers can be compared.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use sluice::otlp::Signal;

/// The names of attributes in messages that are compared. Few, so that actions and attributes meet. The last makes filters of resources and services meet something.
const KEYS: [&str; 8] = ["a", "b.c", "user.email", "user.id", "n", "password", "é", "service.name"];

/// A request of any signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decoded {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Decoded {
    pub(crate) fn of(signal: Signal, body: &[u8]) -> Self {
        match signal {
            Signal::Traces => Self::Traces(ExportTraceServiceRequest::decode(body).unwrap()),
            Signal::Metrics => Self::Metrics(ExportMetricsServiceRequest::decode(body).unwrap()),
            Signal::Logs => Self::Logs(ExportLogsServiceRequest::decode(body).unwrap()),
        }
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        match (self, other) {
            (Self::Traces(all), Self::Traces(more)) => all.resource_spans.extend(more.resource_spans),
            (Self::Metrics(all), Self::Metrics(more)) => all.resource_metrics.extend(more.resource_metrics),
            (Self::Logs(all), Self::Logs(more)) => all.resource_logs.extend(more.resource_logs),
            _ => panic!("a sink gets what is for its path"),
        }
    }

    /// The message with attributes of few names, each once, as OTLP wants it, and without what no SDK says.
    pub(crate) fn comparable(mut self) -> Self {
        self.each_list(&mut |attributes| {
            for pair in &mut *attributes {
                let sum: usize = pair.key.bytes().map(usize::from).sum();
                KEYS[sum % KEYS.len()].clone_into(&mut pair.key);
            }
            attributes.sort_by(|one, other| one.key.cmp(&other.key));
            attributes.dedup_by(|one, other| one.key == other.key);
        });
        self.each_value(&mut |value| {
            if let Some(Value::KvlistValue(list)) = &mut value.value {
                list.values.sort_by(|one, other| one.key.cmp(&other.key));
                list.values.dedup_by(|one, other| one.key == other.key);
            }
        });
        self.fill();
        self
    }

    /// The message in one form, where writers are free to choose.
    pub(crate) fn canonical(mut self) -> Self {
        self.fill();
        self.each_list(&mut |attributes| attributes.sort_by(|one, other| one.key.cmp(&other.key)));
        self
    }

    /// A message for each record, with that record alone. What has none is left out.
    pub(crate) fn records(self) -> Vec<Self> {
        let mut records = Vec::new();
        match self {
            Self::Traces(request) => {
                for mut entry in request.resource_spans {
                    for mut scope in std::mem::take(&mut entry.scope_spans) {
                        for span in std::mem::take(&mut scope.spans) {
                            let scope_spans = vec![ScopeSpans { spans: vec![span], ..scope.clone() }];
                            let resource_spans = vec![ResourceSpans { scope_spans, ..entry.clone() }];
                            records.push(Self::Traces(ExportTraceServiceRequest { resource_spans }));
                        }
                    }
                }
            }
            Self::Metrics(request) => {
                for mut entry in request.resource_metrics {
                    for mut scope in std::mem::take(&mut entry.scope_metrics) {
                        for point in std::mem::take(&mut scope.metrics)
                            .into_iter()
                            .flat_map(|metric| points_of(&metric))
                        {
                            let scope_metrics = vec![ScopeMetrics { metrics: vec![point], ..scope.clone() }];
                            let resource_metrics = vec![ResourceMetrics { scope_metrics, ..entry.clone() }];
                            records.push(Self::Metrics(ExportMetricsServiceRequest { resource_metrics }));
                        }
                    }
                }
            }
            Self::Logs(request) => {
                for mut entry in request.resource_logs {
                    for mut scope in std::mem::take(&mut entry.scope_logs) {
                        for record in std::mem::take(&mut scope.log_records) {
                            let scope_logs = vec![ScopeLogs { log_records: vec![record], ..scope.clone() }];
                            let resource_logs = vec![ResourceLogs { scope_logs, ..entry.clone() }];
                            records.push(Self::Logs(ExportLogsServiceRequest { resource_logs }));
                        }
                    }
                }
            }
        }
        records
    }

    /// The message without `metadata` of metrics.
    pub(crate) fn without_metadata(mut self) -> Self {
        if let Self::Metrics(request) = &mut self {
            let scopes = request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics);
            scopes.flat_map(|scope| &mut scope.metrics).for_each(|metric| metric.metadata.clear());
        }
        self
    }

    /// Shows the attributes of every resource.
    pub(crate) fn each_resource(&mut self, mut visit: impl FnMut(&mut Vec<KeyValue>)) {
        let mut show =
            |resource: &mut Option<Resource>| visit(&mut resource.get_or_insert_default().attributes);
        match self {
            Self::Traces(request) => {
                request.resource_spans.iter_mut().for_each(|entry| show(&mut entry.resource));
            }
            Self::Metrics(request) => {
                request.resource_metrics.iter_mut().for_each(|entry| show(&mut entry.resource));
            }
            Self::Logs(request) => {
                request.resource_logs.iter_mut().for_each(|entry| show(&mut entry.resource));
            }
        }
    }

    /// Shows the attributes of all that records stand in, or that stands in them: of resources, of scopes, and of the events of spans.
    pub(crate) fn each_beside_records(&mut self, mut visit: impl FnMut(&mut Vec<KeyValue>)) {
        self.each_resource(&mut visit);
        let mut show =
            |scope: &mut Option<InstrumentationScope>| visit(&mut scope.get_or_insert_default().attributes);
        match self {
            Self::Traces(request) => {
                for scope in request.resource_spans.iter_mut().flat_map(|entry| &mut entry.scope_spans) {
                    show(&mut scope.scope);
                }
                let scopes = request.resource_spans.iter_mut().flat_map(|entry| &mut entry.scope_spans);
                let events = scopes.flat_map(|scope| &mut scope.spans).flat_map(|span| &mut span.events);
                events.for_each(|event| visit(&mut event.attributes));
            }
            Self::Metrics(request) => {
                for scope in request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics) {
                    show(&mut scope.scope);
                }
            }
            Self::Logs(request) => {
                for scope in request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs) {
                    show(&mut scope.scope);
                }
            }
        }
    }

    /// Shows the attributes of every record, and when it was: the start of a span, the time of a log record or a data point.
    pub(crate) fn each_record(&mut self, mut visit: impl FnMut(&mut Vec<KeyValue>, &mut u64)) {
        match self {
            Self::Traces(request) => {
                let scopes = request.resource_spans.iter_mut().flat_map(|entry| &mut entry.scope_spans);
                for span in scopes.flat_map(|scope| &mut scope.spans) {
                    visit(&mut span.attributes, &mut span.start_time_unix_nano);
                }
            }
            Self::Metrics(request) => {
                let scopes = request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics);
                for data in scopes.flat_map(|scope| &mut scope.metrics).filter_map(|one| one.data.as_mut()) {
                    macro_rules! points {
                        ($data:expr) => {
                            for point in &mut $data.data_points {
                                visit(&mut point.attributes, &mut point.time_unix_nano);
                            }
                        };
                    }
                    match data {
                        Data::Gauge(data) => points!(data),
                        Data::Sum(data) => points!(data),
                        Data::Histogram(data) => points!(data),
                        Data::ExponentialHistogram(data) => points!(data),
                        Data::Summary(data) => points!(data),
                    }
                }
            }
            Self::Logs(request) => {
                let scopes = request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs);
                for record in scopes.flat_map(|scope| &mut scope.log_records) {
                    visit(&mut record.attributes, &mut record.time_unix_nano);
                }
            }
        }
    }

    /// Writes empty messages where there are none.
    fn fill(&mut self) {
        fn filled(resource: &mut Option<Resource>) {
            resource.get_or_insert_default();
        }
        fn filled_scope(scope: &mut Option<InstrumentationScope>) {
            scope.get_or_insert_default();
        }
        match self {
            Self::Traces(request) => {
                for entry in &mut request.resource_spans {
                    filled(&mut entry.resource);
                    for scope in &mut entry.scope_spans {
                        filled_scope(&mut scope.scope);
                        scope.spans.iter_mut().for_each(|span| {
                            span.status.get_or_insert_default();
                        });
                    }
                }
            }
            Self::Logs(request) => {
                for entry in &mut request.resource_logs {
                    filled(&mut entry.resource);
                    for scope in &mut entry.scope_logs {
                        filled_scope(&mut scope.scope);
                        scope.log_records.iter_mut().for_each(|record| {
                            record.body.get_or_insert_default();
                        });
                    }
                }
            }
            Self::Metrics(request) => {
                for entry in &mut request.resource_metrics {
                    filled(&mut entry.resource);
                    for scope in &mut entry.scope_metrics {
                        filled_scope(&mut scope.scope);
                        for metric in &mut scope.metrics {
                            if let Some(Data::ExponentialHistogram(data)) = &mut metric.data {
                                for point in &mut data.data_points {
                                    point.positive.get_or_insert_default();
                                    point.negative.get_or_insert_default();
                                }
                            }
                        }
                    }
                }
            }
        }
        self.each_list(&mut |attributes| {
            for pair in attributes {
                pair.key_strindex = 0;
                pair.value.get_or_insert_default();
            }
        });
        self.each_value(&mut |value| {
            if let Some(Value::KvlistValue(list)) = &mut value.value {
                for pair in &mut list.values {
                    pair.key_strindex = 0;
                    pair.value.get_or_insert_default();
                }
            }
        });
    }

    /// Shows every list of attributes.
    fn each_list(&mut self, visit: &mut dyn FnMut(&mut Vec<KeyValue>)) {
        match self {
            Self::Traces(request) => {
                for entry in &mut request.resource_spans {
                    entry.resource.iter_mut().for_each(|resource| visit(&mut resource.attributes));
                    for scope in &mut entry.scope_spans {
                        scope.scope.iter_mut().for_each(|scope| visit(&mut scope.attributes));
                        for span in &mut scope.spans {
                            visit(&mut span.attributes);
                            span.events.iter_mut().for_each(|event| visit(&mut event.attributes));
                            span.links.iter_mut().for_each(|link| visit(&mut link.attributes));
                        }
                    }
                }
            }
            Self::Logs(request) => {
                for entry in &mut request.resource_logs {
                    entry.resource.iter_mut().for_each(|resource| visit(&mut resource.attributes));
                    for scope in &mut entry.scope_logs {
                        scope.scope.iter_mut().for_each(|scope| visit(&mut scope.attributes));
                        scope.log_records.iter_mut().for_each(|record| visit(&mut record.attributes));
                    }
                }
            }
            Self::Metrics(request) => {
                for entry in &mut request.resource_metrics {
                    entry.resource.iter_mut().for_each(|resource| visit(&mut resource.attributes));
                    for scope in &mut entry.scope_metrics {
                        scope.scope.iter_mut().for_each(|scope| visit(&mut scope.attributes));
                        for metric in &mut scope.metrics {
                            visit(&mut metric.metadata);
                            metric.data.iter_mut().for_each(|data| each_list_of_points(data, visit));
                        }
                    }
                }
            }
        }
    }

    /// Shows every value, and those within it.
    fn each_value(&mut self, visit: &mut dyn FnMut(&mut AnyValue)) {
        self.each_list(&mut |attributes| {
            for value in attributes.iter_mut().filter_map(|pair| pair.value.as_mut()) {
                each_value_in(value, visit);
            }
        });
        if let Self::Logs(request) = self {
            let scopes = request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs);
            for body in
                scopes.flat_map(|scope| &mut scope.log_records).filter_map(|record| record.body.as_mut())
            {
                each_value_in(body, visit);
            }
        }
    }
}

fn each_value_in(value: &mut AnyValue, visit: &mut dyn FnMut(&mut AnyValue)) {
    visit(value);
    match &mut value.value {
        Some(Value::ArrayValue(list)) => list.values.iter_mut().for_each(|value| each_value_in(value, visit)),
        Some(Value::KvlistValue(list)) => {
            for value in list.values.iter_mut().filter_map(|pair| pair.value.as_mut()) {
                each_value_in(value, visit);
            }
        }
        _ => {}
    }
}

fn each_list_of_points(data: &mut Data, visit: &mut dyn FnMut(&mut Vec<KeyValue>)) {
    macro_rules! points {
        ($data:expr) => {
            for point in &mut $data.data_points {
                visit(&mut point.attributes);
                point.exemplars.iter_mut().for_each(|exemplar| visit(&mut exemplar.filtered_attributes));
            }
        };
    }
    match data {
        Data::Gauge(data) => points!(data),
        Data::Sum(data) => points!(data),
        Data::Histogram(data) => points!(data),
        Data::ExponentialHistogram(data) => points!(data),
        Data::Summary(data) => data.data_points.iter_mut().for_each(|point| visit(&mut point.attributes)),
    }
}

/// A metric for each data point, with that point alone.
fn points_of(metric: &Metric) -> Vec<Metric> {
    macro_rules! alone {
        ($kind:ident, $data:expr) => {{
            let mut data = $data.clone();
            let points = std::mem::take(&mut data.data_points);
            let alone = points.into_iter().map(|point| {
                let mut data = data.clone();
                data.data_points.push(point);
                Metric { data: Some(Data::$kind(data)), ..metric.clone() }
            });
            alone.collect()
        }};
    }
    match &metric.data {
        Some(Data::Gauge(data)) => alone!(Gauge, data),
        Some(Data::Sum(data)) => alone!(Sum, data),
        Some(Data::Histogram(data)) => alone!(Histogram, data),
        Some(Data::ExponentialHistogram(data)) => alone!(ExponentialHistogram, data),
        Some(Data::Summary(data)) => alone!(Summary, data),
        None => Vec::new(),
    }
}
