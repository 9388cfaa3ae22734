mod accepted;
mod cut_out;
mod fixtures;
mod former;
mod ignored;
mod refused;
mod round_trips;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::{split, validate};

/// What a document is read as; what was read must be valid, and no larger than what was asked for.
fn transcode(signal: Signal, json: impl AsRef<[u8]>) -> Result<Transcoded, Malformed> {
    let json = json.as_ref();
    let mut asked = 0;
    let mut room = |bytes| {
        asked += bytes;
        true
    };
    let transcoded = match read_request(signal, json, &mut room) {
        Ok(transcoded) => transcoded,
        Err(JsonReadError::Malformed(malformed)) => {
            assert!(malformed.offset <= json.len(), "{malformed:?}");
            return Err(malformed);
        }
        Err(JsonReadError::NoRoom) => panic!("there was room"),
    };
    assert_eq!(validate(signal, &transcoded.bytes).err(), None, "what is read is valid");
    let cuts: usize = transcoded.omitted.cuts.iter().map(|cut| cut.bytes.len()).sum();
    assert!(transcoded.bytes.capacity() + cuts <= asked);
    Ok(transcoded)
}

/// The bytes of a document that is right in all its parts.
fn whole(signal: Signal, json: impl AsRef<[u8]>) -> Vec<u8> {
    let transcoded = transcode(signal, json).unwrap();
    assert_eq!(transcoded.omitted.cuts, []);
    transcoded.bytes
}

fn traces(json: impl AsRef<[u8]>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(&*whole(Signal::Traces, json)).unwrap()
}

fn metrics(json: impl AsRef<[u8]>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&*whole(Signal::Metrics, json)).unwrap()
}

fn logs(json: impl AsRef<[u8]>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest::decode(&*whole(Signal::Logs, json)).unwrap()
}

fn in_span(members: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{members}]}}]}}]}}"#)
}

fn in_metric(members: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{members}]}}]}}]}}"#)
}

fn in_log(members: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{members}]}}]}}]}}"#)
}

/// The span of these members.
fn span(members: &str) -> Span {
    let mut request = traces(in_span(&format!("{{{members}}}")));
    request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

/// The metric of these members.
fn metric(members: &str) -> Metric {
    let mut request = metrics(in_metric(&format!("{{{members}}}")));
    request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0)
}

/// The log record of these members.
fn record(members: &str) -> LogRecord {
    let mut request = logs(in_log(&format!("{{{members}}}")));
    request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

/// The value that this JSON stands for.
fn value(json: &str) -> AnyValue {
    record(&format!(r#""body":{json}"#)).body.unwrap()
}

/// Path and reason of what is wrong with a log record, which is cut out for it, or with its request.
fn fault(members: &str) -> (String, Reason) {
    let json = in_log(&format!("{{{members}}}"));
    match transcode(Signal::Logs, &json) {
        Ok(transcoded) => {
            let [cut] = &*transcoded.omitted.cuts else {
                panic!("{json} is cut in {:?}", transcoded.omitted)
            };
            assert!(transcoded.bytes.is_empty(), "nothing is left");
            (in_record(&cut.path), cut.reason)
        }
        Err(malformed) => (in_record(&malformed.path), malformed.reason),
    }
}

fn in_record(path: &str) -> String {
    let record = "resourceLogs[0].scopeLogs[0].logRecords[0]";
    path.strip_prefix(record).unwrap_or(path).trim_start_matches('.').to_owned()
}
