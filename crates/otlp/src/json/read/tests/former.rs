//! Names that fields had once: taken where the field itself is absent or empty, and nothing beside it.

use super::*;

/// For each signal the names of the scopes and of the records, and the names that the scopes had.
const NAMES: [(Signal, &str, &str, [&str; 4]); 3] = [
    (
        Signal::Traces,
        "scopeSpans",
        "spans",
        [
            "deprecatedScopeSpans",
            "deprecated_scope_spans",
            "instrumentationLibrarySpans",
            "instrumentation_library_spans",
        ],
    ),
    (
        Signal::Metrics,
        "scopeMetrics",
        "metrics",
        [
            "deprecatedScopeMetrics",
            "deprecated_scope_metrics",
            "instrumentationLibraryMetrics",
            "instrumentation_library_metrics",
        ],
    ),
    (
        Signal::Logs,
        "scopeLogs",
        "logRecords",
        [
            "deprecatedScopeLogs",
            "deprecated_scope_logs",
            "instrumentationLibraryLogs",
            "instrumentation_library_logs",
        ],
    ),
];

const RESOURCE: &str = r#""resource":{"attributes":[{"key":"k","value":{"stringValue":"v"}}]}"#;

/// A list of one scope with one record.
fn scopes(signal: Signal, records: &str, name: &str) -> String {
    let record = match signal {
        Signal::Traces => format!(r#"{{"name":"{name}"}}"#),
        Signal::Metrics => format!(r#"{{"name":"{name}","gauge":{{"dataPoints":[{{"asInt":"1"}}]}}}}"#),
        Signal::Logs => format!(r#"{{"body":{{"stringValue":"{name}"}}}}"#),
    };
    format!(r#"[{{"scope":{{"name":"s"}},"{records}":[{record}]}}]"#)
}

fn entry(signal: Signal, members: &str) -> String {
    format!(r#"{{"{}":[{{{members}}}]}}"#, signal.json_entry_field())
}

#[test]
fn an_entry_with_the_old_member_alone_is_read_as_if_it_had_the_new() {
    for (signal, today, records, names) in NAMES {
        let scopes = scopes(signal, records, "n");
        let expected = whole(signal, entry(signal, &format!(r#"{RESOURCE},"{today}":{scopes}"#)));
        assert_eq!(validate(signal, &expected), Ok(1));
        for name in names {
            for members in [
                format!(r#"{RESOURCE},"{name}":{scopes}"#),
                format!(r#"{RESOURCE},"{name}":{scopes},"{today}":[]"#),
                format!(r#"{RESOURCE},"{today}":null , "{name}" : {scopes} "#),
                format!(r#"{RESOURCE},"{name}":{scopes},"{name}":{scopes}"#),
            ] {
                let json = entry(signal, &members);
                let transcoded = transcode(signal, &json).unwrap();
                assert_eq!(transcoded.omitted.ignored, Ignored::default(), "{json}");
                assert_eq!(transcoded.bytes, expected, "{json}");
            }
        }
    }
}

#[test]
fn an_old_member_that_is_empty_or_says_the_same_is_nothing() {
    for (signal, today, records, names) in NAMES {
        let new = scopes(signal, records, "n");
        let expected = whole(signal, entry(signal, &format!(r#"{RESOURCE},"{today}":{new}"#)));
        for name in names {
            let empty = format!(r#"[{{"scope":{{"name":"s"}},"{records}":[]}}]"#);
            for old in [
                "null",
                "[]",
                "{}",
                r#""""#,
                " [ ] ",
                "[{}]",
                "[null]",
                "[{},{}]",
                &empty,
                &*new,
                &new.replace(':', " : "),
            ] {
                for members in [
                    format!(r#"{RESOURCE},"{today}":{new},"{name}":{old}"#),
                    format!(r#""{name}":{old},{RESOURCE},"{today}":{new}"#),
                ] {
                    let json = entry(signal, &members);
                    let transcoded = transcode(signal, &json).unwrap();
                    assert_eq!(transcoded.omitted.ignored.sentences(), [""; 0], "{json}");
                    assert_eq!(transcoded.omitted.cuts, []);
                    assert_eq!(transcoded.bytes, expected, "{json}");
                }
            }
        }
    }
}

#[test]
fn an_old_member_that_says_something_else_is_not_taken_and_that_is_told() {
    for (signal, today, records, names) in NAMES {
        let (new, other) = (scopes(signal, records, "new"), scopes(signal, records, "old"));
        let expected = whole(signal, entry(signal, &format!(r#""{today}":{new}"#)));
        for name in names {
            for old in [&*other, "5", r#"[{"scope":5}]"#] {
                let json = entry(signal, &format!(r#""{today}":{new},"{name}":{old}"#));
                let transcoded = transcode(signal, &json).unwrap();
                assert_eq!((transcoded.bytes, transcoded.omitted.cuts), (expected.clone(), vec![]), "{json}");
                let [said] = transcoded.omitted.ignored.sentences() else { panic!("{json}") };
                let path = format!("`{}[0].{name}` was ignored", signal.json_entry_field());
                assert!(said.starts_with(&path) && said.contains(&format!("`{today}`")), "{said}");
            }
        }
    }
}

#[test]
fn an_instrumentation_library_is_the_scope_where_there_is_none() {
    let json = |scope: &str| {
        format!(
            r#"{{"resourceSpans":[{{"instrumentationLibrarySpans":[{{{scope}"spans":[{{"name":"n"}}]}}]}}]}}"#
        )
    };
    let scope = |json: String| traces(json).resource_spans[0].scope_spans[0].scope.clone();
    let name =
        |scope: Option<opentelemetry_proto::tonic::common::v1::InstrumentationScope>| scope.unwrap().name;
    for library in ["instrumentationLibrary", "instrumentation_library"] {
        assert_eq!(name(scope(json(&format!(r#""{library}":{{"name":"l"}},"#)))), "l");
        assert_eq!(name(scope(json(&format!(r#""scope":null,"{library}":{{"name":"l"}},"#)))), "l");
        assert_eq!(name(scope(json(&format!(r#""{library}":{{"name":"s"}},"scope":{{"name":"s"}},"#)))), "s");
        assert_eq!(scope(json(&format!(r#""{library}":null,"#))), None);
    }
    // In a scope of a scope it is unknown.
    let inner = r#""scope":{"instrumentationLibrary":{"name":"x"}},"#;
    assert_eq!(name(scope(json(inner))), "");
}

#[test]
fn what_is_wrong_in_an_old_member_is_cut_out_and_named_as_the_document_names_it() {
    let json = r#"{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"l"},"spans":[
        {"name":"a"},{"name":"b","spanId":"xx"},{"name":"c"}]}],"resource":{}},{}]}"#;
    let transcoded = transcode(Signal::Traces, json).unwrap();
    let [cut] = &*transcoded.omitted.cuts else { panic!("{transcoded:?}") };
    assert_eq!(cut.path, "resourceSpans[0].instrumentationLibrarySpans[0].spans[1].spanId");
    assert!(json[cut.offset..].starts_with(r#""xx""#));
    assert_eq!(validate(Signal::Traces, &transcoded.bytes), Ok(2));
    let again = transcode(Signal::Traces, &cut.bytes).unwrap();
    assert_eq!(again.omitted.cuts.len(), 1, "what was cut out is wrong by itself");
    assert!(String::from_utf8_lossy(&cut.bytes).contains(r#""instrumentationLibrary":{"name":"l"}"#));

    for (value, path, reason) in [
        ("5", "resourceLogs[0].instrumentationLibraryLogs", Reason::NotAList),
        (r#"{"a":1}"#, "resourceLogs[0].instrumentationLibraryLogs", Reason::NotAList),
        (
            r#"[{"instrumentationLibrary":5}]"#,
            "resourceLogs[0].instrumentationLibraryLogs[0].instrumentationLibrary",
            Reason::NotAnObject,
        ),
    ] {
        let json = format!(r#"{{"resourceLogs":[{{"instrumentationLibraryLogs":{value}}}]}}"#);
        let cuts = transcode(Signal::Logs, json).unwrap().omitted.cuts;
        assert_eq!((&*cuts[0].path, cuts[0].reason), (path, reason), "{value}");
    }
}

#[test]
fn names_that_another_signal_or_another_message_had_once_are_unknown() {
    let json = r#"{"resourceLogs":[{"instrumentationLibrarySpans":[{"spans":[{}]}]}]}"#;
    let transcoded = transcode(Signal::Logs, json).unwrap();
    assert_eq!(transcoded.omitted.ignored.count(), 1);
    let json = in_span(r#"{"instrumentationLibrarySpans":[{}],"name":"n"}"#);
    assert_eq!(traces(json).resource_spans[0].scope_spans[0].spans[0].name, "n");
}

#[test]
fn old_members_of_one_entry_are_not_taken_for_anothers() {
    let old = r#""instrumentationLibraryLogs":[{"logRecords":[{}]}]"#;
    let json = format!(
        r#"{{"resourceLogs":[{{{old}}},{{}},{{"scopeLogs":[{{"instrumentationLibrary":{{"name":"l"}}}},{{}}]}},{{{old}}}]}}"#
    );
    let request = logs(json);
    let scopes: Vec<usize> = request.resource_logs.iter().map(|entry| entry.scope_logs.len()).collect();
    assert_eq!(scopes, [1, 0, 2, 1]);
    assert_eq!(request.resource_logs[2].scope_logs[1].scope, None);
}
