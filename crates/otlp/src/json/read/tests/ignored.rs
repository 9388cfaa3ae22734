//! Parts without records in which there is something that OTLP doesn't know.

use super::*;
use crate::ignored::Ignored as Told;

fn told(signal: Signal, json: &str) -> Told {
    let transcoded = transcode(signal, json).unwrap();
    assert_eq!(transcoded.omitted.cuts, [], "{json}");
    transcoded.omitted.ignored
}

#[test]
fn an_unknown_name_where_records_are_missing_is_told_with_the_name_that_was_expected() {
    use Signal::{Logs, Metrics, Traces};
    for (signal, json, path, expected) in [
        (Logs, r#"{"timestamp":1,"body":"x"}"#, "timestamp", "`resourceLogs` is expected"),
        (Logs, r#"{"logRecords":[{}]}"#, "logRecords", "`resourceLogs` is expected"),
        (
            Logs,
            r#"{"resourceLogs":[{"logRecords":[{}]}]}"#,
            "resourceLogs[0].logRecords",
            "`scopeLogs` is expected",
        ),
        (
            Logs,
            r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"records":[{}]}]}]}"#,
            "resourceLogs[0].scopeLogs[0].records",
            "`logRecords` is expected",
        ),
        (
            Traces,
            r#"{"resourceSpan":[{"scopeSpans":[{"spans":[{}]}]}]}"#,
            "resourceSpan",
            "`resourceSpans` is expected",
        ),
        (Traces, r#"{"ResourceSpans":[{}]}"#, "ResourceSpans", "`resourceSpans` is expected"),
        // Empty, but what comes later under this name would be lost.
        (Logs, r#"{"resourcelogs":[]}"#, "resourcelogs", "`resourceLogs` is expected"),
        (Logs, r#"{"Resource_Logs":null}"#, "Resource_Logs", "`resourceLogs` is expected"),
        (
            Traces,
            r#"{"resourceSpans":[],"RESOURCESPANS":[]}"#,
            "RESOURCESPANS",
            "`resourceSpans` is expected",
        ),
        (
            Logs,
            r#"{"resourceLogs":[{"scopelogs":{}}]}"#,
            "resourceLogs[0].scopelogs",
            "`scopeLogs` is expected",
        ),
        (
            Metrics,
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"datapoints":[]}}]}]}]}"#,
            "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.datapoints",
            "`dataPoints` is expected",
        ),
        (
            Traces,
            r#"{"resource_span":[{}],"resource_spans":[]}"#,
            "resource_span",
            "`resourceSpans` is expected",
        ),
        (
            Traces,
            r#"{"resource_spans":[{"scope_span":[{}],"scope_spans":[{}]}]}"#,
            "resourceSpans[0].scope_span",
            "`scopeSpans` is expected",
        ),
        (Traces, r#"{"batches":[{}],"resourceSpans":null}"#, "batches", "`resourceSpans` is expected"),
        (Metrics, r#"{"name":"m","value":0}"#, "name", "`resourceMetrics` is expected"),
        (
            Metrics,
            r#"{"resourceMetrics":[{"schemaUrl":"u","metrics":[{}]}]}"#,
            "resourceMetrics[0].metrics",
            "`scopeMetrics` is expected",
        ),
        (
            Metrics,
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","guage":{"dataPoints":[{}]}}]}]}]}"#,
            "resourceMetrics[0].scopeMetrics[0].metrics[0].guage",
            "one of `gauge`, `sum`, ",
        ),
        (
            Metrics,
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"points":[{}]}}]}]}]}"#,
            "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.points",
            "`dataPoints` is expected",
        ),
    ] {
        let told = told(signal, json);
        let [said] = told.sentences() else { panic!("{json}: {told:?}") };
        assert!(said.starts_with(&format!("`{path}` is not known to OTLP")), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(told.count(), 1, "{json}");
    }
}

#[test]
fn what_is_empty_or_has_records_beside_is_told_of_nothing() {
    for json in [
        "{}",
        "null",
        r#"{"resourceLogs":[]}"#,
        r#"{"resourceLogs":[{}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{}]}]}"#,
        r#"{"new":null,"newer":[],"newest":{},"resourceLogs":[]}"#,
        r#"{"resourcelogs":[],"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#,
        r#"{"new":1,"resourceLogs":[{"new":2,"scopeLogs":[{"new":3,"logRecords":[{"new":4}]}]}]}"#,
        r#"{"resourceLogs":[{"resource":{"new":1}}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"scope":{"new":1}}]}]}"#,
    ] {
        assert_eq!(told(Signal::Logs, json), Told::default(), "{json}");
    }
}

#[test]
fn every_part_without_records_is_told_of_and_the_first_three_by_name() {
    let entries = r#"{"logRecords":[{}]},"#.repeat(9);
    let json = format!(r#"{{"new":1,"resourceLogs":[{entries}{{"scopeLogs":[{{"logRecords":[{{}}]}}]}}]}}"#);
    let told = told(Signal::Logs, &json);
    assert_eq!((told.count(), told.sentences().len()), (9, 3));
    assert!(told.sentences()[2].starts_with("`resourceLogs[2].logRecords`"), "{told:?}");
}

#[test]
fn a_wrong_record_is_a_record() {
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"new":1,"logRecords":[{"flags":"x"}]}]}]}"#;
    let omitted = transcode(Signal::Logs, json).unwrap().omitted;
    assert_eq!((omitted.cuts.len(), omitted.ignored.count()), (1, 0));
    // And what is told of a part goes with it.
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"new":1}],"resource":5}]}"#;
    let omitted = transcode(Signal::Logs, json).unwrap().omitted;
    assert_eq!((omitted.cuts.len(), omitted.ignored.count()), (1, 0));
}
