//! What the strict validator must say, told in another way: by prost, which builds the messages, and by a plain
//! walk for the rules that prost doesn't have. Shares no code and no table with the validator; the tests and the
//! fuzz targets compare the two.

mod edits;
mod records;

pub use edits::check_edit;
pub use records::check_partition;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::{JsonReadError, Reason, Signal, read_request, split, validate, write_request};

/// Compares validator and oracle on any bytes, and checks what [`split`](split()) makes of them.
pub fn check(signal: Signal, bytes: &[u8]) {
    let verdict = validate(signal, bytes);
    assert_eq!(verdict.ok(), records(signal, bytes), "validator (left) and oracle: {verdict:?}");
    if let Err(fault) = verdict {
        assert!(fault.offset < bytes.len(), "{fault:?} is outside of the request");
    }
    let Ok(split) = split(signal, bytes) else {
        assert!(verdict.is_err(), "a valid request must split");
        return;
    };
    for entry in &split.entries {
        let request = framed(&entry.bytes);
        assert_eq!(request.len(), super::frame_len(entry.bytes.len()));
        assert_eq!(records(signal, &request), Some(entry.records), "what is admitted is valid");
    }
    for cut in &split.cuts {
        assert!(records(signal, &cut.bytes).is_none(), "what is cut out is not valid: {cut:?}");
    }
    if verdict.is_ok() {
        assert!(split.cuts.is_empty(), "nothing is cut out of a valid request");
    }
}

/// Checks what is made of any bytes as OTLP/JSON: it is valid, what is not JSON is refused, and what is written of it
/// is read as the same again.
pub fn check_json(signal: Signal, json: &[u8]) {
    let transcoded = match read_request(signal, json, &mut |_| true) {
        Ok(transcoded) => transcoded,
        Err(JsonReadError::Malformed(malformed)) => {
            assert!(malformed.offset <= json.len(), "{malformed:?} is outside of the document");
            return;
        }
        Err(JsonReadError::NoRoom) => panic!("there was room"),
    };
    let read = records(signal, &transcoded.bytes);
    assert!(read.is_some(), "what is read is valid");
    for cut in &transcoded.omitted.cuts {
        assert!(cut.offset <= json.len() && cut.records > 0, "{cut:?}");
        // Escapes that mean nothing are not JSON to serde; to us they are, and the string is wrong.
        for line in cut.bytes.split_inclusive(|byte| *byte == b'\n') {
            let again = read_request(signal, line, &mut |_| true).expect("a letter is JSON");
            // An id in base64 without padding is wrong only beside hexadecimal ones.
            let is_wrong = !again.omitted.cuts.is_empty() || cut.reason == Reason::IdLength;
            assert!(is_wrong, "what is cut out is wrong: {cut:?}");
        }
    }
    let mut written = Vec::new();
    write_request(signal, &[&transcoded.bytes], &mut written);
    let again = read_request(signal, &written, &mut |_| true).expect("what is written is read");
    assert!(again.omitted.cuts.is_empty(), "what is written is right: {:?}", again.omitted.cuts);
    assert_eq!(records(signal, &again.bytes), read);
}

/// An entry as a request.
fn framed(entry: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    super::put_frame(&mut request, entry.len());
    request.extend_from_slice(entry);
    request
}

/// The records of a valid request; `None` if it is not valid.
pub fn records(signal: Signal, bytes: &[u8]) -> Option<u64> {
    let decodes = |bytes: &[u8]| match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes).is_ok(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes).is_ok(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes).is_ok(),
    };
    // To prost field 1000 is unknown, a Collector reads it as field 2: both have to take it.
    if !decodes(bytes) || !decodes(&with_scopes_of_once(bytes)?) {
        return None;
    }
    let root = match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    };
    let mut records = 0;
    is_strict(root, bytes, &mut records).then_some(records)
}

/// Whether bytes that prost takes hold to the stricter rules, too.
fn is_strict(message: &str, mut bytes: &[u8], records: &mut u64) -> bool {
    let mut resources = 0;
    let (mut has_scopes, mut records_of_once) = (false, 0);
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, wire) = (key >> 3, key & 7);
        let is_entry = message.starts_with("Resource") && message != "Resource";
        if is_entry && number == 1000 && wire != 2 {
            return false;
        }
        let len = match wire {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            _ => return false,
        };
        let (content, rest) = bytes.split_at(len);
        bytes = rest;
        if is_entry && number == 1 {
            resources += 1;
        }
        if let Some(expected) = id_len(message, number)
            && ![0, expected].contains(&len)
        {
            return false;
        }
        if let Some(child) = child(message, number) {
            *records += u64::from(child == "LogRecord" || child == "Span" || child.ends_with("DataPoint"));
            if wire == 2 && !is_strict(child, content, records) {
                return false;
            }
        }
        if resources > 1 {
            return false;
        }
        has_scopes |= is_entry && number == 2;
        if is_entry
            && number == 1000
            && let Some(scopes) = child(message, 2)
            && !is_strict(scopes, content, &mut records_of_once)
        {
            return false;
        }
    }
    if !has_scopes {
        *records += records_of_once;
    }
    true
}

/// A request that prost has read, with field 2 of each entry where field 1000 was. `None` if it has groups.
fn with_scopes_of_once(request: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (number, raw, entry) in fields(request)? {
        let (1, Some(entry)) = (number, entry) else {
            out.extend_from_slice(raw);
            continue;
        };
        let mut inner = Vec::new();
        for (number, raw, content) in fields(entry)? {
            match content.filter(|_| number == 1000) {
                Some(content) => {
                    inner.push(0x12);
                    prost::encoding::encode_varint(content.len() as u64, &mut inner);
                    inner.extend_from_slice(content);
                }
                None => inner.extend_from_slice(raw),
            }
        }
        out.push(0x0a);
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(&inner);
    }
    Some(out)
}

/// Number, bytes and, where it has a length, content.
type RawField<'a> = (u64, &'a [u8], Option<&'a [u8]>);

/// The fields of a message that prost has read. `None` if there are groups.
fn fields(mut bytes: &[u8]) -> Option<Vec<RawField<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let start = bytes;
        let key = varint(&mut bytes);
        let len = match key & 7 {
            0 => {
                varint(&mut bytes);
                0
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = bytes.split_at(len);
        bytes = rest;
        let raw = &start[..start.len() - rest.len()];
        fields.push((key >> 3, raw, (key & 7 == 2).then_some(content)));
    }
    Some(fields)
}

fn id_len(message: &str, number: u64) -> Option<usize> {
    match (message, number) {
        ("Span" | "Link", 1) | ("LogRecord", 9) | ("Exemplar", 5) => Some(16),
        ("Span", 2 | 4) | ("Link", 2) | ("LogRecord", 10) | ("Exemplar", 4) => Some(8),
        _ => None,
    }
}

/// The message in a field that can hold, however deep, something that the stricter rules are about.
fn child(message: &str, number: u64) -> Option<&'static str> {
    Some(match (message, number) {
        ("traces", 1) => "ResourceSpans",
        ("metrics", 1) => "ResourceMetrics",
        ("logs", 1) => "ResourceLogs",
        ("ResourceSpans" | "ResourceMetrics" | "ResourceLogs", 1) => "Resource",
        ("ResourceSpans", 2) => "ScopeSpans",
        ("ResourceMetrics", 2) => "ScopeMetrics",
        ("ResourceLogs", 2) => "ScopeLogs",
        ("ScopeSpans" | "ScopeMetrics" | "ScopeLogs", 1) => "InstrumentationScope",
        ("ScopeSpans", 2) => "Span",
        ("ScopeMetrics", 2) => "Metric",
        ("ScopeLogs", 2) => "LogRecord",
        ("Span", 11) => "Event",
        ("Span", 13) => "Link",
        ("Span", 15) => "Status",
        ("LogRecord", 5) | ("KeyValue", 2) | ("ArrayValue", 1) => "AnyValue",
        ("Metric", 5 | 7) => "Numbers",
        ("Metric", 9) => "Histogram",
        ("Metric", 10) => "ExponentialHistogram",
        ("Metric", 11) => "Summary",
        ("Numbers", 1) => "NumberDataPoint",
        ("Histogram", 1) => "HistogramDataPoint",
        ("ExponentialHistogram", 1) => "ExponentialHistogramDataPoint",
        ("Summary", 1) => "SummaryDataPoint",
        ("NumberDataPoint", 5) | ("HistogramDataPoint", 8) | ("ExponentialHistogramDataPoint", 11) => {
            "Exemplar"
        }
        ("ExponentialHistogramDataPoint", 8 | 9) => "Buckets",
        ("SummaryDataPoint", 6) => "ValueAtQuantile",
        ("AnyValue", 5) => "ArrayValue",
        ("AnyValue", 6) => "KeyValueList",
        ("Resource", 3) => "EntityRef",
        ("Resource" | "KeyValueList" | "ExponentialHistogramDataPoint", 1)
        | ("InstrumentationScope" | "Event", 3)
        | ("Link", 4)
        | ("LogRecord", 6)
        | ("NumberDataPoint" | "SummaryDataPoint" | "Exemplar", 7)
        | ("Span" | "HistogramDataPoint", 9)
        | ("Metric", 12) => "KeyValue",
        _ => return None,
    })
}

/// Reads a varint that prost has read before.
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first().expect("prost has read it");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            break;
        }
    }
    value
}

/// The attributes of every data point.
pub(super) fn attributes_of_points(data: &mut Data) -> Vec<&mut Vec<KeyValue>> {
    match data {
        Data::Gauge(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
        Data::Sum(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
        Data::Histogram(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
        Data::ExponentialHistogram(data) => {
            data.data_points.iter_mut().map(|point| &mut point.attributes).collect()
        }
        Data::Summary(data) => data.data_points.iter_mut().map(|point| &mut point.attributes).collect(),
    }
}
