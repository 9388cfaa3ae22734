//! A backend for what Sluice tells of itself, which decodes what it gets.

use std::io::Read as _;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::eventually;
use super::scripted::{Asked, Said, Scripted};

/// A backend that takes everything, or what its script says.
pub struct Backend {
    upstream: Scripted,
}

fn decode<M: Message + Default>(asked: &Asked) -> M {
    let mut body = Vec::new();
    if asked.headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        GzDecoder::new(&*asked.body).read_to_end(&mut body).expect("it is gzip");
    } else {
        body.extend_from_slice(&asked.body);
    }
    M::decode(&*body).expect("it is OTLP")
}

impl Backend {
    /// Takes everything.
    pub async fn start() -> Self {
        Self::answering(|_| Said::new(200, &[], "")).await
    }

    /// Answers by a script.
    pub async fn answering(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        Self { upstream: Scripted::new(script).await }
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// `telemetry:` that is sent here, with more options.
    pub fn config(&self, options: &str) -> String {
        format!("telemetry: {{ endpoint: '{}', interval: 200ms, {options} }}\n", self.url())
    }

    /// The requests with a signal, as they came.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.upstream.asked().into_iter().filter(|asked| asked.path == path).collect()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.asked("/v1/traces");
        let entries =
            requests.iter().flat_map(|asked| decode::<ExportTraceServiceRequest>(asked).resource_spans);
        entries.flat_map(|entry| entry.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// All log records so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        let requests = self.asked("/v1/logs");
        let entries =
            requests.iter().flat_map(|asked| decode::<ExportLogsServiceRequest>(asked).resource_logs);
        entries.flat_map(|entry| entry.scope_logs).flat_map(|scope| scope.log_records).collect()
    }

    /// The metrics that came last, with their resource.
    pub fn newest_metrics(&self) -> Option<(Resource, Vec<Metric>)> {
        let newest = self.asked("/v1/metrics").pop()?;
        let [entry] = &decode::<ExportMetricsServiceRequest>(&newest).resource_metrics[..] else {
            panic!("all metrics have one resource")
        };
        let metrics = entry.scope_metrics.iter().flat_map(|scope| scope.metrics.clone()).collect();
        Some((entry.resource.clone().unwrap_or_default(), metrics))
    }

    /// Waits for a span of which this holds.
    pub async fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        eventually(what, async || self.spans().into_iter().find(|span| is_it(span))).await
    }

    /// Waits for a log record with this text.
    pub async fn logged(&self, text: &str) -> LogRecord {
        eventually(text, async || self.logs().into_iter().find(|record| body(record).contains(text))).await
    }

    /// Waits until so many more requests with metrics have come: that is how time passes here.
    pub async fn intervals(&self, more: usize) {
        let before = self.asked("/v1/metrics").len();
        eventually("metrics are sent", async || {
            (self.asked("/v1/metrics").len() >= before + more).then_some(())
        })
        .await;
    }
}

/// The text of a log record.
pub fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// An attribute as text; empty if it is not there.
pub fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
    }
}
