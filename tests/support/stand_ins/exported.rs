//! A request of any signal, as upstreams look at it: records with all the attributes that speak of them.

use std::io::Read as _;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use sluice::otlp::Signal;

/// A decoded request.
pub struct Exported {
    signal: Signal,
    records: Vec<ExportedRecord>,
    size: usize,
}

/// A span, a span's event, a log record or a data point.
#[derive(Clone, Debug)]
pub struct ExportedRecord {
    /// A name or a body.
    pub text: String,
    pub resource: Vec<KeyValue>,
    /// Those of what it belongs to and its own, in the order in which later ones count more.
    pub own: Vec<Vec<KeyValue>>,
    /// Whether it is a span that never ends.
    pub is_endless: bool,
    /// Whether it is an event of the span before it.
    pub is_event: bool,
}

impl Exported {
    /// Reads a request; `None` if it is none.
    pub fn read(signal: Signal, body: &[u8], is_json: bool) -> Option<Self> {
        macro_rules! message {
            ($kind:ty) => {
                if is_json {
                    serde_json::from_slice::<$kind>(body).ok()?
                } else {
                    <$kind>::decode(body).ok()?
                }
            };
        }
        let records = match signal {
            Signal::Traces => spans(message!(ExportTraceServiceRequest)),
            Signal::Metrics => points(message!(ExportMetricsServiceRequest)),
            Signal::Logs => logs(message!(ExportLogsServiceRequest)),
        };
        Some(Self { signal, records, size: body.len() })
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub fn records(&self) -> &[ExportedRecord] {
        &self.records
    }

    /// Bytes before compression.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl ExportedRecord {
    /// The text of a resource attribute.
    pub fn of_resource(&self, name: &str) -> Option<String> {
        text_of(&self.resource, name)
    }

    /// The text of an attribute, wherever it counts most.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.own.iter().rev().find_map(|layer| text_of(layer, name)).or_else(|| self.of_resource(name))
    }
}

/// A body that was compressed so; `None` if it wasn't, or if nobody reads that.
pub fn decompressed(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        "" | "identity" => Some(body.to_vec()),
        "gzip" => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain).ok()?;
            Some(plain)
        }
        _ => None,
    }
}

fn text_of(attributes: &[KeyValue], name: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn attributes(resource: Option<Resource>) -> Vec<KeyValue> {
    resource.map(|resource| resource.attributes).unwrap_or_default()
}

fn spans(request: ExportTraceServiceRequest) -> Vec<ExportedRecord> {
    let mut records = Vec::new();
    for entry in request.resource_spans {
        let resource = attributes(entry.resource);
        for span in entry.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let events = span.events.into_iter().map(|event| ExportedRecord {
                text: event.name,
                resource: resource.clone(),
                own: vec![span.attributes.clone(), event.attributes],
                is_endless: false,
                is_event: true,
            });
            let events: Vec<_> = events.collect();
            records.push(ExportedRecord {
                text: span.name,
                resource: resource.clone(),
                own: vec![span.attributes],
                is_endless: span.end_time_unix_nano == 0,
                is_event: false,
            });
            records.extend(events);
        }
    }
    records
}

fn logs(request: ExportLogsServiceRequest) -> Vec<ExportedRecord> {
    let mut records = Vec::new();
    for entry in request.resource_logs {
        let resource = attributes(entry.resource);
        for scope in entry.scope_logs {
            let of_scope = scope.scope.map(|scope| scope.attributes).unwrap_or_default();
            for record in scope.log_records {
                let text = match record.body.and_then(|body| body.value) {
                    Some(Value::StringValue(text)) => text,
                    other => format!("{other:?}"),
                };
                records.push(ExportedRecord {
                    text,
                    resource: resource.clone(),
                    own: vec![of_scope.clone(), record.attributes],
                    is_endless: false,
                    is_event: false,
                });
            }
        }
    }
    records
}

fn points(request: ExportMetricsServiceRequest) -> Vec<ExportedRecord> {
    let mut records = Vec::new();
    for entry in request.resource_metrics {
        let resource = attributes(entry.resource);
        for scope in entry.scope_metrics {
            let of_scope = scope.scope.map(|scope| scope.attributes).unwrap_or_default();
            for metric in scope.metrics {
                let points: Vec<Vec<KeyValue>> = match metric.data {
                    Some(Data::Gauge(data)) => {
                        data.data_points.into_iter().map(|point| point.attributes).collect()
                    }
                    Some(Data::Sum(data)) => {
                        data.data_points.into_iter().map(|point| point.attributes).collect()
                    }
                    Some(Data::Histogram(data)) => {
                        data.data_points.into_iter().map(|point| point.attributes).collect()
                    }
                    Some(Data::ExponentialHistogram(data)) => {
                        data.data_points.into_iter().map(|point| point.attributes).collect()
                    }
                    Some(Data::Summary(data)) => {
                        data.data_points.into_iter().map(|point| point.attributes).collect()
                    }
                    None => Vec::new(),
                };
                for point in points {
                    // Those of the tests say in an attribute which they are.
                    let text = text_of(&point, "text").unwrap_or_else(|| metric.name.clone());
                    records.push(ExportedRecord {
                        text,
                        resource: resource.clone(),
                        own: vec![of_scope.clone(), metric.metadata.clone(), point],
                        is_endless: false,
                        is_event: false,
                    });
                }
            }
        }
    }
    records
}
