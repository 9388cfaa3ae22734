use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{arbitrary, oracle, put_frame};

/// What makes a record invalid once [`poison`] has gone over the bytes.
const MARK: &str = "p0ison";

/// Makes every [`MARK`] invalid UTF-8 without moving anything.
fn poison(mut request: Vec<u8>) -> Vec<u8> {
    let marks: Vec<usize> = request
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, at)| *at == MARK.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in marks {
        request[at] = 0xff;
    }
    request
}

fn marked() -> KeyValue {
    KeyValue { key: MARK.to_owned(), ..KeyValue::default() }
}

fn framed(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        put_frame(&mut out, entry.bytes.len());
        out.extend_from_slice(&entry.bytes);
    }
    out
}

/// A request of one entry and scope with these records.
fn logs(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let resource = Resource { dropped_attributes_count: 1, ..Resource::default() };
    let scope = ScopeLogs { log_records: records, schema_url: "scope".into(), ..ScopeLogs::default() };
    let entry =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope], schema_url: "entry".into() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }
}

fn record(name: &str) -> LogRecord {
    LogRecord { event_name: name.to_owned(), ..LogRecord::default() }
}

#[test]
fn rule_9_an_empty_request_is_fine() {
    let split = split(Signal::Logs, b"").unwrap();
    assert!(split.entries.is_empty() && split.cuts.is_empty());
}

#[test]
fn a_bad_record_is_cut_out_and_its_neighbours_stay() {
    let bad = LogRecord { attributes: vec![marked()], ..record("bad") };
    let all = logs(vec![record("a"), bad.clone(), record("b")]);
    let request = poison(all.encode_to_vec());
    let split = split(Signal::Logs, &request).unwrap();
    let kept = ExportLogsServiceRequest::decode(&*framed(&split.entries)).unwrap();
    assert_eq!(kept, logs(vec![record("a"), record("b")]));
    assert_eq!(split.entries[0].records, 2);
    assert_eq!(split.entries[0].resource(), b"\x10\x01");
    let [cut] = &*split.cuts else { panic!("{:?}", split.cuts) };
    assert_eq!(cut.path, "resource_logs[0].scope_logs[0].log_records[1].attributes[0].key");
    assert_eq!((cut.index, cut.records, cut.reason), (0, 1, Reason::Utf8));
    assert_eq!(request[cut.offset], 0xff);
    assert_eq!(cut.bytes, poison(logs(vec![bad]).encode_to_vec()));
}

#[test]
fn a_bad_scope_is_cut_out_whole_and_its_records_count() {
    let mut request = logs(vec![record("a"), record("b")]);
    let good = request.resource_logs[0].scope_logs[0].clone();
    request.resource_logs[0].scope_logs.push(ScopeLogs { schema_url: MARK.into(), ..good.clone() });
    let bytes = poison(request.encode_to_vec());
    let split = split(Signal::Logs, &bytes).unwrap();
    assert_eq!(framed(&split.entries), logs(good.log_records).encode_to_vec());
    assert_eq!(split.cuts[0].path, "resource_logs[0].scope_logs[1].schema_url");
    assert_eq!(split.cuts[0].records, 2);
}

#[test]
fn a_bad_resource_takes_its_entry_and_no_other_along() {
    let mut request = logs(vec![record("a"), record("b")]);
    let good = request.resource_logs[0].clone();
    request.resource_logs[0].resource = Some(Resource { attributes: vec![marked()], ..Resource::default() });
    let bad = poison(request.encode_to_vec());
    request.resource_logs.push(good);
    let bytes = poison(request.encode_to_vec());
    let split = split(Signal::Logs, &bytes).unwrap();
    assert_eq!(split.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [1]);
    assert!(matches!(split.entries[0].bytes, Cow::Borrowed(_)));
    assert_eq!((split.cuts[0].index, split.cuts[0].records), (0, 2));
    assert_eq!(split.cuts[0].bytes, bad);
}

#[test]
fn a_part_whose_records_cannot_be_counted_counts_as_one() {
    let split = split(Signal::Logs, b"\x0a\x03\x12\x05\x12").unwrap();
    assert!(split.entries.is_empty());
    assert_eq!((split.cuts[0].records, split.cuts[0].reason), (1, Reason::Truncated));
    assert_eq!(split.cuts[0].path, "resource_logs[0].scope_logs[0]");
}

#[test]
fn broken_framing_of_the_request_itself_is_malformed() {
    for (request, path, offset, reason) in [
        (&b"\x0a\x00\x0a\x05\x12"[..], "resource_logs[1]", 2, Reason::Truncated),
        (b"\x08\x00", "resource_logs[0]", 0, Reason::WireType),
        (b"\x0a\x00\x0b", "resource_logs[1]", 2, Reason::Group),
        (b"\x0a\x00\x80", "ExportLogsServiceRequest", 2, Reason::Truncated),
    ] {
        let expected = Malformed { path: path.to_owned(), offset, reason };
        assert_eq!(split(Signal::Logs, request).unwrap_err(), expected);
    }
}

#[test]
fn other_fields_of_the_request_are_dropped() {
    let split = split(Signal::Logs, b"\x10\x05\x0a\x02\x1a\x00\x1a\x01x").unwrap();
    assert_eq!(framed(&split.entries), b"\x0a\x02\x1a\x00");
}

#[test]
fn rule_55_a_valid_entry_without_records_stays_as_it_is() {
    let split = split(Signal::Logs, b"\x0a\x02\x12\x00").unwrap();
    assert_eq!((split.entries[0].bytes.as_ref(), split.entries[0].records), (&b"\x12\x00"[..], 0));
}

#[test]
fn unknown_fields_around_a_cut_stay_byte_for_byte() {
    // Field 100 with "u", in an encoding that is longer than needed: in the entry in front of the scope, in the scope
    // behind the records.
    let unknown = b"\xa2\x86\x80\x00\x01u";
    let scope = [&b"\x12\x02\x1a\x00\x12\x03\x1a\x01\xff"[..], unknown].concat();
    let entry = [unknown, &[0x12, scope.len() as u8][..], &scope].concat();
    let request = [&[0x0a, entry.len() as u8][..], &entry].concat();
    let split = split(Signal::Logs, &request).unwrap();
    let kept = [unknown, &[0x12, 10][..], b"\x12\x02\x1a\x00", unknown].concat();
    assert_eq!(split.entries[0].bytes.as_ref(), kept);
}

#[test]
fn a_resource_that_comes_last_is_found() {
    let split = split(Signal::Logs, b"\x0a\x06\x12\x00\x0a\x02\x10\x07").unwrap();
    assert_eq!(split.entries[0].resource(), b"\x10\x07");
}

#[test]
fn a_metric_with_data_twice_is_cut_out_whole() {
    // gauge: one point; sum: one good and one bad point.
    let metric = b"\x2a\x02\x0a\x00\x3a\x05\x0a\x00\x0a\x01\x07";
    let scope = [&b"\x12\x0b"[..], metric, b"\x12\x00"].concat();
    let request = [&b"\x0a\x11\x12\x0f"[..], &scope].concat();
    let split = split(Signal::Metrics, &request).unwrap();
    assert_eq!(split.cuts[0].records, 3);
    assert_eq!(split.entries[0].bytes.as_ref(), b"\x12\x02\x12\x00");
}

#[test]
fn a_flood_of_bad_records_takes_few_cuts_and_loses_none() {
    let bad = LogRecord { attributes: vec![marked()], ..LogRecord::default() };
    let request = poison(logs(vec![bad; 1000]).encode_to_vec());
    let twice = request.repeat(2);
    let split = split(Signal::Logs, &twice).unwrap();
    assert!(split.entries.is_empty());
    assert_eq!(split.cuts.len(), 17);
    assert_eq!(split.cuts.iter().map(|cut| cut.records).sum::<u64>(), 2000);
    let bytes: usize = split.cuts.iter().map(|cut| cut.bytes.len()).sum();
    assert!(bytes < twice.len() + 17 * 100, "{bytes} for {}", twice.len());
    assert_eq!(split.cuts[16].path, "resource_logs[0].scope_logs[0].log_records[16].attributes[0].key");
}

#[test]
fn bad_records_under_a_large_resource_take_little_more_than_the_request() {
    let bad = LogRecord { attributes: vec![marked()], ..LogRecord::default() };
    let mut request = logs(vec![bad; 100]);
    request.resource_logs[0].schema_url = "s".repeat(1 << 20);
    let request = poison(request.encode_to_vec());
    let split = split(Signal::Logs, &request).unwrap();
    let bytes: usize = split.cuts.iter().map(|cut| cut.bytes.len()).sum();
    assert!(bytes < 3 * request.len(), "{bytes} for {}", request.len());
    assert_eq!(split.cuts.iter().map(|cut| cut.records).sum::<u64>(), 100);
}

fn is_marked(attributes: &[KeyValue]) -> bool {
    attributes.last().is_some_and(|last| last.key == MARK)
}

/// What is left of log records once the marked ones are gone, and of scopes and entries once nothing is in them.
fn without_marked_logs(mut request: ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    request.resource_logs.retain_mut(|entry| {
        let scopes = entry.scope_logs.len();
        entry.scope_logs.retain_mut(|scope| {
            let records = scope.log_records.len();
            scope.log_records.retain(|record| !is_marked(&record.attributes));
            records == 0 || !scope.log_records.is_empty()
        });
        scopes == 0 || !entry.scope_logs.is_empty()
    });
    request
}

/// Drops the marked points. Whether there are others, or were none.
fn keep_unmarked_points(data: &mut Data) -> bool {
    let before = oracle::attributes_of_points(data).len();
    match data {
        Data::Gauge(data) => data.data_points.retain(|point| !is_marked(&point.attributes)),
        Data::Sum(data) => data.data_points.retain(|point| !is_marked(&point.attributes)),
        Data::Histogram(data) => data.data_points.retain(|point| !is_marked(&point.attributes)),
        Data::ExponentialHistogram(data) => data.data_points.retain(|point| !is_marked(&point.attributes)),
        Data::Summary(data) => data.data_points.retain(|point| !is_marked(&point.attributes)),
    }
    before == 0 || !oracle::attributes_of_points(data).is_empty()
}

fn without_marked_metrics(mut request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    request.resource_metrics.retain_mut(|entry| {
        let scopes = entry.scope_metrics.len();
        entry.scope_metrics.retain_mut(|scope| {
            let metrics = scope.metrics.len();
            scope.metrics.retain_mut(|metric| metric.data.as_mut().is_none_or(keep_unmarked_points));
            metrics == 0 || !scope.metrics.is_empty()
        });
        scopes == 0 || !entry.scope_metrics.is_empty()
    });
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_but_the_bad_log_records_is_lost(mut request in arbitrary::logs(), marks: u64) {
        let records = request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs)
            .flat_map(|scope| &mut scope.log_records);
        let mut marked_records = 0;
        for (_, record) in records.enumerate().filter(|(at, _)| marks >> (at % 64) & 1 == 1) {
            record.attributes.push(marked());
            marked_records += 1;
        }
        let bytes = poison(request.encode_to_vec());
        let split = split(Signal::Logs, &bytes).unwrap();
        prop_assert_eq!(split.cuts.iter().map(|cut| cut.records).sum::<u64>(), marked_records);
        let kept = ExportLogsServiceRequest::decode(&*framed(&split.entries)).unwrap();
        prop_assert_eq!(kept, without_marked_logs(request));
    }

    #[test]
    fn nothing_but_the_bad_data_points_is_lost(mut request in arbitrary::metrics(), marks: u64) {
        let metrics = request.resource_metrics.iter_mut().flat_map(|entry| &mut entry.scope_metrics)
            .flat_map(|scope| &mut scope.metrics);
        let all = metrics.filter_map(|metric| metric.data.as_mut()).flat_map(oracle::attributes_of_points);
        let mut marked_points = 0;
        for (_, attributes) in all.enumerate().filter(|(at, _)| marks >> (at % 64) & 1 == 1) {
            attributes.push(marked());
            marked_points += 1;
        }
        let bytes = poison(request.encode_to_vec());
        let split = split(Signal::Metrics, &bytes).unwrap();
        prop_assert_eq!(split.cuts.iter().map(|cut| cut.records).sum::<u64>(), marked_points);
        let kept = ExportMetricsServiceRequest::decode(&*framed(&split.entries)).unwrap();
        prop_assert_eq!(kept, without_marked_metrics(request));
    }

    #[test]
    fn a_valid_request_splits_into_its_own_bytes(request in arbitrary::request(Signal::Traces)) {
        let split = split(Signal::Traces, &request).unwrap();
        prop_assert!(split.cuts.is_empty());
        prop_assert!(split.entries.iter().all(|entry| matches!(entry.bytes, Cow::Borrowed(_))));
        prop_assert_eq!(framed(&split.entries), &*request);
    }
}

/// An entry's fields with the scopes under field 1000.
fn of_once(entry: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in Fields::of(entry).map(Result::unwrap) {
        match field.delimited().filter(|_| field.number == 2) {
            Some(scope) => {
                out.extend_from_slice(&[0xc2, 0x3e]);
                crate::wire::put_varint(&mut out, scope.len() as u64);
                out.extend_from_slice(scope);
            }
            None => out.extend_from_slice(field.raw),
        }
    }
    out
}

fn in_frame(entry: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, entry.len());
    out.extend_from_slice(entry);
    out
}

#[test]
fn an_entry_with_its_scopes_under_field_1000_alone_gets_them_under_field_2() {
    let today = logs(vec![record("a"), record("b")]).resource_logs.remove(0).encode_to_vec();
    let request = in_frame(&of_once(&today));
    let split = split(Signal::Logs, &request).unwrap();
    assert_eq!(split.cuts, []);
    let [entry] = &*split.entries else { panic!("{split:?}") };
    assert_eq!((&*entry.bytes, entry.records), (&*today, 2));
    assert_eq!(entry.resource(), b"\x10\x01");
}

#[test]
fn field_1000_beside_field_2_stays_byte_for_byte_and_counts_nothing() {
    let today = logs(vec![record("a")]).resource_logs.remove(0).encode_to_vec();
    for both in
        [[today.clone(), of_once(&today[4..])].concat(), [of_once(&today[4..]), today.clone()].concat()]
    {
        let request = in_frame(&both);
        let split = split(Signal::Logs, &request).unwrap();
        assert_eq!((split.cuts.len(), split.entries[0].records), (0, 1));
        assert!(matches!(split.entries[0].bytes, Cow::Borrowed(_)));
        assert_eq!(&*split.entries[0].bytes, &*both);
    }
}

#[test]
fn a_bad_record_under_field_1000_is_cut_out_alone() {
    let good = logs(vec![record("a"), record("c")]).resource_logs.remove(0).encode_to_vec();
    let bad = LogRecord { attributes: vec![marked()], ..record("b") };
    let all = logs(vec![record("a"), bad, record("c")]).resource_logs.remove(0).encode_to_vec();
    let request = poison(in_frame(&of_once(&all)));
    let split = split(Signal::Logs, &request).unwrap();
    assert_eq!((&*split.entries[0].bytes, split.entries[0].records), (&*good, 2));
    let [cut] = &*split.cuts else { panic!("{split:?}") };
    assert_eq!((&*cut.path, cut.records), ("resource_logs[0].1000[0].log_records[1].attributes[0].key", 1));
}

#[test]
fn unknown_fields_where_records_are_missing_are_told_with_the_field_that_was_expected() {
    let scope_with = |fields: &[u8]| in_frame(&[&[0x12, fields.len() as u8][..], fields].concat());
    for (request, path, expected) in [
        (b"\x3a\x01x".to_vec(), "7", "`resource_logs` (field 1) is expected"),
        (b"\x10\x05\x18\x07".to_vec(), "2", "`resource_logs` (field 1) is expected"),
        (in_frame(b"\x3a\x01x"), "resource_logs[0].7", "`scope_logs` (field 2) is expected"),
        (
            [in_frame(b""), in_frame(b"\x0a\x00\x20\x01")].concat(),
            "resource_logs[1].4",
            "`scope_logs` (field 2) is expected",
        ),
        (scope_with(b"\x22\x01x"), "resource_logs[0].scope_logs[0].4", "`log_records` (field 2) is expected"),
    ] {
        let split = split(Signal::Logs, &request).unwrap();
        let [said] = split.ignored.sentences() else { panic!("{path}: {split:?}") };
        assert!(said.starts_with(&format!("`{path}` is not known")) && said.contains(expected), "{said}");
    }
    let metric = in_frame(b"\x12\x07\x12\x05\x0a\x00\x6a\x01x");
    let split = split(Signal::Metrics, &metric).unwrap();
    assert!(
        split.ignored.sentences()[0].contains("one of `gauge` (field 5), `sum` (field 7), "),
        "{split:?}"
    );
}

#[test]
fn records_under_field_1000_that_are_not_under_field_2_beside_it_are_told() {
    for entry in [
        &b"\x12\x00\xc2\x3e\x02\x12\x00"[..],
        b"\xc2\x3e\x02\x12\x00\x12\x02\x0a\x00",
        b"\x12\x04\x12\x02\x1a\x00\xc2\x3e\x02\x12\x00",
    ] {
        let request = in_frame(entry);
        let split = split(Signal::Logs, &request).unwrap();
        let [said] = split.ignored.sentences() else { panic!("{entry:x?}: {split:?}") };
        assert_eq!(
            said,
            "`resource_logs[0]`: field 1000 was ignored, since it differs from the `scope_logs` (field 2) beside it"
        );
    }
}

#[test]
fn nothing_is_told_of_what_is_empty_or_has_records_beside() {
    let record = logs(vec![record("a")]).encode_to_vec();
    let record_beside = [&record[2..], b"\x3a\x01x"].concat();
    for request in [
        b"".to_vec(),
        in_frame(b""),
        in_frame(b"\x0a\x00\x12\x00\x1a\x01u"),
        in_frame(b"\x3a\x00"),
        [record, b"\x3a\x01x".to_vec()].concat(),
        in_frame(&record_beside),
        // Field 1000 says nothing, or what field 2 says.
        in_frame(b"\x12\x00\xc2\x3e\x00"),
        in_frame(b"\x12\x02\x12\x00\xc2\x3e\x02\x12\x00"),
    ] {
        let split = split(Signal::Logs, &request).unwrap();
        assert_eq!(split.ignored, Ignored::default(), "{request:x?}");
    }
}
