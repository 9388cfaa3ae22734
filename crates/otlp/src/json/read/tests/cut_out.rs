//! What is cut out, and what is left.

use super::*;

fn cut(signal: Signal, json: &str) -> (Transcoded, Vec<(String, u64)>) {
    let transcoded = transcode(signal, json).unwrap();
    let cuts = transcoded.omitted.cuts.iter().map(|cut| (cut.path.clone(), cut.records)).collect();
    (transcoded, cuts)
}

fn letter(cut: &Cut) -> serde_json::Value {
    let (line, rest) = cut.bytes.split_at(cut.bytes.len() - 1);
    assert_eq!(rest, b"\n");
    serde_json::from_slice(line).unwrap()
}

#[test]
fn a_wrong_record_leaves_its_neighbours() {
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"k"}]},"scopeSpans":[{"spans":[
        {"name":"a"},{"name":"b","spanId":"xx","attributes":[{"key":"k"}]},{"name":"c"}],"scope":{"name":"s"}}]}]}"#;
    let (transcoded, cuts) = cut(Signal::Traces, json);
    assert_eq!(cuts, [("resourceSpans[0].scopeSpans[0].spans[1].spanId".to_owned(), 1)]);
    let request = ExportTraceServiceRequest::decode(&*transcoded.bytes).unwrap();
    let scope = &request.resource_spans[0].scope_spans[0];
    assert_eq!(scope.spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(scope.scope.as_ref().unwrap().name, "s");
    let cut = &transcoded.omitted.cuts[0];
    assert!(json[cut.offset..].starts_with(r#""xx""#));
    let expected = serde_json::json!({"resourceSpans": [{"resource": {"attributes": [{"key": "k"}]}, "scopeSpans": [{"spans": [
        {"name": "b", "spanId": "xx", "attributes": [{"key": "k"}]}]}]}]});
    assert_eq!(letter(cut), expected);
}

#[test]
fn a_wrong_data_point_leaves_its_metric() {
    let json = in_metric(
        r#"{"name":"m","unit":"s","sum":{"isMonotonic":true,"dataPoints":[{"asInt":"x"},{"asInt":1},{"asInt":2,"asDouble":2}]}}"#,
    );
    let (transcoded, cuts) = cut(Signal::Metrics, &json);
    let point = |index: usize, field: &str| {
        (format!("resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[{index}].{field}"), 1)
    };
    assert_eq!(cuts, [point(0, "asInt"), point(2, "asDouble")]);
    let request = ExportMetricsServiceRequest::decode(&*transcoded.bytes).unwrap();
    assert_eq!(request.resource_metrics[0].scope_metrics[0].metrics[0].unit, "s");
    let expected = serde_json::json!({"name": "m", "unit": "s", "sum": {"isMonotonic": true, "dataPoints": [{"asInt": "x"}]}});
    let letter = letter(&transcoded.omitted.cuts[0]);
    assert_eq!(letter["resourceMetrics"][0]["scopeMetrics"][0]["metrics"], serde_json::json!([expected]));
}

#[test]
fn a_part_takes_with_it_what_it_holds() {
    let scope = r#"{"logRecords":[{},{"flags":"x"},{}],"scope":5}"#;
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{scope},{{"logRecords":[{{"flags":3}}]}}]}}]}}"#);
    let (transcoded, cuts) = cut(Signal::Logs, &json);
    assert_eq!(cuts, [("resourceLogs[0].scopeLogs[0].scope".to_owned(), 3)]);
    assert_eq!(validate(Signal::Logs, &transcoded.bytes), Ok(1));

    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]}],"resource":[]},{"scopeLogs":[{"logRecords":[{}]}]}]}"#;
    let (transcoded, cuts) = cut(Signal::Logs, json);
    assert_eq!(cuts, [("resourceLogs[0].resource".to_owned(), 2)]);
    assert_eq!(validate(Signal::Logs, &transcoded.bytes), Ok(1));

    let metric = r#"{"name":7,"histogram":{"dataPoints":[{},{}]}}"#;
    let (transcoded, cuts) =
        cut(Signal::Metrics, &in_metric(&format!(r#"{metric},{{"gauge":{{"dataPoints":7}}}}"#)));
    let path = |rest: &str| format!("resourceMetrics[0].scopeMetrics[0].metrics{rest}");
    assert_eq!(cuts, [(path("[0].name"), 2), (path("[1].gauge.dataPoints"), 1)]);
    assert!(transcoded.bytes.is_empty());
}

#[test]
fn entries_of_another_signal_are_not_passed_over() {
    for (signal, other) in [
        (Signal::Traces, "resourceLogs"),
        (Signal::Logs, "resource_metrics"),
        (Signal::Metrics, "resourceSpans"),
    ] {
        let malformed = transcode(signal, format!(r#"{{"{other}":[]}}"#)).unwrap_err();
        assert_eq!((malformed.reason, malformed.offset), (Reason::OtherSignal, 1));
    }
    // Below the request it is a name like any other (rule 51).
    assert_eq!(traces(r#"{"resourceSpans":[{"resourceLogs":[]}]}"#).resource_spans.len(), 1);
}

#[test]
fn what_is_left_of_nothing_is_left_out() {
    // All records of the first scope are gone, so the scope is; the second was empty all along and stays.
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[5]}]},{"scopeLogs":[{"logRecords":[5]},{"scope":{}}]},{}]}"#;
    let (mut transcoded, cuts) = cut(Signal::Logs, json);
    assert_eq!(cuts.len(), 2);
    let request = ExportLogsServiceRequest::decode(&*transcoded.bytes).unwrap();
    let scopes: Vec<_> = request.resource_logs.iter().map(|entry| entry.scope_logs.len()).collect();
    assert_eq!(scopes, [1, 0]);
    let omitted = std::mem::take(&mut transcoded.omitted);
    let mut split = split(Signal::Logs, &transcoded.bytes).unwrap();
    omitted.restore(&mut split);
    assert_eq!(split.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(split.cuts.iter().map(|cut| cut.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn entries_keep_the_positions_they_had() {
    let json = r#"{"resourceLogs":[5,{},5,5,{},{},5]}"#;
    let (mut transcoded, cuts) = cut(Signal::Logs, json);
    assert_eq!(
        cuts.iter().map(|(path, _)| &**path).collect::<Vec<_>>(),
        [0, 2, 3, 6].map(|n| format!("resourceLogs[{n}]"))
    );
    let omitted = std::mem::take(&mut transcoded.omitted);
    let mut split = split(Signal::Logs, &transcoded.bytes).unwrap();
    omitted.restore(&mut split);
    assert_eq!(split.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [1, 4, 5]);
}

#[test]
fn many_wrong_parts_are_named_up_to_a_number_and_all_counted_and_kept() {
    let json = in_log(&vec![r#"{"flags":"x"}"#; 100].join(","));
    let (transcoded, _) = cut(Signal::Logs, &json);
    let cuts = &transcoded.omitted.cuts;
    assert_eq!(cuts.len(), 17);
    assert_eq!(cuts.iter().map(|cut| cut.records).sum::<u64>(), 100);
    let lines = cuts.iter().flat_map(|cut| cut.bytes.split_inclusive(|byte| *byte == b'\n'));
    let lines: Vec<serde_json::Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines.len(), 100);
    // Unless the scope around them is found to be wrong at its end.
    let json = json.replace("]}]}]}", r#"],"scope":5},{"logRecords":[5]}]}]}"#);
    let (transcoded, cuts) = cut(Signal::Logs, &json);
    assert_eq!(cuts.iter().map(|(_, records)| *records).collect::<Vec<_>>(), [100, 1]);
    assert_eq!(transcoded.omitted.cuts[0].reason, Reason::NotAnObject);
}

#[test]
fn a_letter_is_one_line_however_the_document_was_laid_out() {
    let json = in_log("{\r\n  \"flags\":\n  \"x\\n\"\n}");
    let (transcoded, _) = cut(Signal::Logs, &json);
    let expected = serde_json::json!({"flags": "x\n"});
    assert_eq!(
        letter(&transcoded.omitted.cuts[0])["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0],
        expected
    );
}

#[test]
fn without_memory_for_it_a_cut_is_made_and_not_kept() {
    let json = in_log(&format!(r#"{{"flags":1}},{{"flags":"{}"}}"#, "x".repeat(1000)));
    // Half of the document is asked for at first, and then the whole wrong record.
    let mut room = |bytes| bytes < 1000;
    let transcoded = read_request(Signal::Logs, json.as_bytes(), &mut room).unwrap();
    assert_eq!(validate(Signal::Logs, &transcoded.bytes), Ok(1));
    assert_eq!((transcoded.omitted.cuts[0].records, &*transcoded.omitted.cuts[0].bytes), (1, &b""[..]));
}
