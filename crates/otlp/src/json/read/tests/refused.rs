//! What is wrong: with the document, so that it is refused whole, or with a record, which is cut out.

use super::*;

#[test]
fn what_is_not_json_is_refused_whole_with_path_and_offset() {
    for (json, path, offset, reason) in [
        ("", "ExportLogsServiceRequest", 0, Reason::NotAnObject),
        ("[]", "ExportLogsServiceRequest", 0, Reason::NotAnObject),
        ("nul", "ExportLogsServiceRequest", 0, Reason::Syntax),
        ("{", "ExportLogsServiceRequest", 1, Reason::Ended),
        ("{} x", "ExportLogsServiceRequest", 3, Reason::Trailing),
        ("{}{}", "ExportLogsServiceRequest", 2, Reason::SeveralDocuments),
        (
            "{\"resourceLogs\":[]}\n{\"resourceLogs\":[]}\n",
            "ExportLogsServiceRequest",
            20,
            Reason::SeveralDocuments,
        ),
        ("null\r\n{}", "ExportLogsServiceRequest", 6, Reason::SeveralDocuments),
        ("{}\n[]", "ExportLogsServiceRequest", 3, Reason::SeveralDocuments),
        ("null null", "ExportLogsServiceRequest", 5, Reason::Trailing),
        ("\u{feff}{}", "ExportLogsServiceRequest", 0, Reason::NotAnObject),
        (r#"{"resourceLogs":[{}"#, "resourceLogs", 19, Reason::Ended),
        (r#"{"resourceLogs":[{},]}"#, "resourceLogs[1]", 20, Reason::Syntax),
        (r#"{"resourceLogs":[{"scopeLogs":[{}} ]}"#, "resourceLogs[0].scopeLogs", 33, Reason::Syntax),
        (r#"{"resourceLogs":[{"new":[1,2}]}"#, "resourceLogs[0].new", 28, Reason::Syntax),
        (r#"{"resourceLogs":[{"new":01}]}"#, "resourceLogs[0]", 25, Reason::Syntax),
        (r#"{"resourceLogs":[{"new":"\x"}]}"#, "resourceLogs[0].new", 25, Reason::Escape),
        (r#"{"resourceLogs":[{"schemaUrl":"\u12g4"}]}"#, "resourceLogs[0].schemaUrl", 31, Reason::Escape),
        ("{\"resourceLogs\":[{\"schemaUrl\":\"\n\"}]}", "resourceLogs[0].schemaUrl", 31, Reason::Control),
        (r#"{"resourceLogs":[{"schemaUrl":nul}]}"#, "resourceLogs[0]", 30, Reason::Syntax),
        (r#"{"resourceLogs":[{"schemaUrl" "x"}]}"#, "resourceLogs[0]", 30, Reason::Syntax),
        (r#"{"resourceLogs":[{schemaUrl:"x"}]}"#, "resourceLogs[0]", 18, Reason::Syntax),
        (r#"{"resourceLogs":5}"#, "resourceLogs", 16, Reason::NotAList),
        (r#"{"resourceLogs":[],"resource_logs":[]}"#, "resourceLogs", 19, Reason::Twice),
    ] {
        let malformed = transcode(Signal::Logs, json).unwrap_err();
        let expected = Malformed { path: path.to_owned(), offset, reason };
        assert_eq!(malformed, expected, "{json}");
    }
}

#[test]
fn a_document_that_ends_early_is_refused_wherever_it_ends() {
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"intValue":"300"}}]},"new":[{"a":1.5e3}],
        "scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"body":{"stringValue":"b\u00e9"},"traceId":null,"flags":7}]}]}]}"#;
    logs(json);
    for end in 0..json.len() {
        assert!(transcode(Signal::Logs, &json[..end]).is_err(), "{}", &json[..end]);
    }
}

#[test]
fn broken_json_behind_a_wrong_part_still_refuses_the_whole() {
    let json = in_log(r#"{"body":5},{"flags":[1,}"#);
    assert_eq!(transcode(Signal::Logs, json).unwrap_err().reason, Reason::Syntax);
    let json = in_log(r#"{"body":5,"flags":tru}"#);
    assert_eq!(transcode(Signal::Logs, json).unwrap_err().reason, Reason::Syntax);
}

#[test]
fn a_value_of_another_type_is_wrong() {
    for (members, path, reason) in [
        (r#""body":"text""#, "body", Reason::NotAnObject),
        (r#""body":["text"]"#, "body", Reason::NotAnObject),
        (r#""attributes":{}"#, "attributes", Reason::NotAList),
        (r#""attributes":["a"]"#, "attributes[0]", Reason::NotAnObject),
        (r#""severityText":5"#, "severityText", Reason::NotAString),
        (r#""body":{"stringValue":true}"#, "body.stringValue", Reason::NotAString),
        (r#""body":{"bytesValue":[1]}"#, "body.bytesValue", Reason::NotAString),
        (r#""traceId":1"#, "traceId", Reason::NotAString),
        (r#""body":{"boolValue":"true"}"#, "body.boolValue", Reason::NotABoolean),
        (r#""body":{"boolValue":1}"#, "body.boolValue", Reason::NotABoolean),
        (r#""body":{"intValue":true}"#, "body.intValue", Reason::NotANumber),
        (r#""flags":{}"#, "flags", Reason::NotANumber),
        (r#""flags":"""#, "flags", Reason::NotANumber),
        (r#""flags":"+1""#, "flags", Reason::NotANumber),
        (r#""flags":" 1""#, "flags", Reason::NotANumber),
        (r#""flags":"0x10""#, "flags", Reason::NotANumber),
        (r#""body":{"doubleValue":"many"}"#, "body.doubleValue", Reason::NotANumber),
    ] {
        assert_eq!(fault(members), (path.to_owned(), reason), "{members}");
    }
}

#[test]
fn serde_ids_of_other_lengths_are_wrong() {
    for id in [
        "0",
        "00",
        "0123456789abcdef0",
        "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef01",
    ] {
        let length = (String::from("spanId"), Reason::IdLength);
        assert_eq!(fault(&format!(r#""spanId":"{id}""#)), length, "{id}");
    }
    // A span id where a trace id is, and the other way round.
    assert_eq!(fault(r#""traceId":"0123456789abcdef""#).1, Reason::IdLength);
    assert_eq!(fault(r#""spanId":"0123456789abcdef0123456789abcdef""#).1, Reason::IdLength);
    // Base64 of eleven bytes and of nine.
    assert_eq!(fault(r#""spanId":"AAAAAAAAAAAA""#).1, Reason::IdLength);
    assert_eq!(fault(r#""spanId":"xxxxxxxxxxxxxxxx""#).1, Reason::Hex);
    assert_eq!(fault(r#""spanId":"************""#).1, Reason::Hex);
    assert_eq!(fault(r#""spanId":"é123456789abcde""#).1, Reason::Hex);
}

#[test]
fn numbers_out_of_range_or_not_whole_are_wrong() {
    for (members, reason) in [
        (r#""flags":4294967296"#, Reason::OutOfRange),
        (r#""flags":-1"#, Reason::OutOfRange),
        (r#""severityNumber":2147483648"#, Reason::OutOfRange),
        (r#""timeUnixNano":18446744073709551616"#, Reason::OutOfRange),
        (r#""timeUnixNano":"-5""#, Reason::OutOfRange),
        (r#""timeUnixNano":1e+21"#, Reason::OutOfRange),
        (r#""body":{"intValue":9223372036854775808}"#, Reason::OutOfRange),
        (r#""body":{"intValue":"-9223372036854775809"}"#, Reason::OutOfRange),
        (r#""body":{"doubleValue":1e400}"#, Reason::OutOfRange),
        (r#""body":{"doubleValue":"-1e400"}"#, Reason::OutOfRange),
        (r#""body":{"intValue":1.5}"#, Reason::NotWhole),
        (r#""body":{"intValue":"1e-1"}"#, Reason::NotWhole),
        (r#""severityNumber":"SEVERITY_NUMBER_LOUD""#, Reason::EnumName),
        (r#""severityNumber":"""#, Reason::EnumName),
        (r#""severityNumber":"009""#, Reason::EnumName),
    ] {
        assert_eq!(fault(members).1, reason, "{members}");
    }
}

#[test]
fn bytes_that_are_not_base64_are_wrong() {
    for base64 in ["A", "AA=A", "A*A=", "====", "AAAAA"] {
        assert_eq!(fault(&format!(r#""body":{{"bytesValue":"{base64}"}}"#)).1, Reason::Base64, "{base64}");
    }
}

#[test]
fn invalid_utf8_and_lone_surrogates_are_wrong() {
    let json = in_log(r#"{"severityText":"a?b"}"#).replace('?', "\u{1}").into_bytes();
    let json: Vec<u8> = json.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    let transcoded = transcode(Signal::Logs, &json).unwrap();
    let cut = &transcoded.omitted.cuts[0];
    assert_eq!((cut.reason, json[cut.offset]), (Reason::Utf8, 0xff));
    for text in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\udc00\ud800"] {
        assert_eq!(fault(&format!(r#""severityText":"{text}""#)).1, Reason::Surrogate, "{text}");
    }
}

#[test]
fn a_field_may_be_set_once_and_one_of_a_oneof() {
    for (members, path, reason) in [
        (r#""body":{"stringValue":"a","intValue":"1"}"#, "body.intValue", Reason::Members),
        (r#""body":{"stringValue":"a","stringValue":"b"}"#, "body.stringValue", Reason::Members),
        (r#""body":{"stringValue":"a","string_value":"a"}"#, "body.stringValue", Reason::Members),
        (r#""flags":1,"flags":0"#, "flags", Reason::Twice),
        (r#""attributes":[],"attributes":[]"#, "attributes", Reason::Twice),
    ] {
        assert_eq!(fault(members), (path.to_owned(), reason), "{members}");
    }
    let json = in_metric(r#"{"gauge":{"dataPoints":[{}]},"sum":{"dataPoints":[{}]}}"#);
    let cuts = transcode(Signal::Metrics, json).unwrap().omitted.cuts;
    assert_eq!(cuts[0].path, "resourceMetrics[0].scopeMetrics[0].metrics[0].sum");
    assert_eq!((cuts[0].reason, cuts[0].records), (Reason::Members, 2));
    let json = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"logRecords":[{},{}]}],"resource":{}}]}"#;
    let cuts = transcode(Signal::Logs, json).unwrap().omitted.cuts;
    assert_eq!(
        (&*cuts[0].path, cuts[0].reason, cuts[0].records),
        ("resourceLogs[0].resource", Reason::Twice, 2)
    );
}

#[test]
fn depth_is_counted_in_messages_up_to_a_hundred() {
    // Request, entry, scope, record, body; then an array and a value at each level.
    let nested = |levels: usize| {
        let body = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
        format!(r#""body":{body}"#)
    };
    assert_eq!(record(&nested(48)).attributes, []);
    assert_eq!(fault(&nested(49)).1, Reason::Depth);
    assert_eq!(fault(&nested(100_000)).1, Reason::Depth);
    // Serde's readers give up long before.
    assert!(serde_json::from_str::<serde_json::Value>(&in_log(&format!("{{{}}}", nested(48)))).is_err());
    // The last one is an array; an attribute has one level more.
    let pair = |levels: usize| {
        let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#.repeat(levels);
        format!(r#""body":{open}{{"stringValue":"v"}}{}"#, "}]}}".repeat(levels))
    };
    assert_eq!(record(&pair(32)).attributes, []);
    assert_eq!(fault(&pair(33)).1, Reason::Depth);
}

#[test]
fn without_room_nothing_is_taken() {
    let json = in_log(&format!(r#"{{"body":{{"stringValue":"{}"}}}}"#, "x".repeat(10_000)));
    for limit in [0, 100, 9000] {
        let mut left = limit;
        let mut room = |bytes: usize| {
            let fits = bytes <= left;
            left -= if fits { bytes } else { 0 };
            fits
        };
        assert_eq!(
            read_request(Signal::Logs, json.as_bytes(), &mut room).unwrap_err(),
            JsonReadError::NoRoom
        );
    }
}

#[test]
fn what_is_copied_to_undo_its_escapes_is_asked_for_once() {
    let pairs = vec![r#"{"key":"k","value":{"bytesValue":"\/w=="}}"#; 1000].join(",");
    let json = in_log(&format!(r#"{{"attributes":[{pairs}],"traceId":"{}"}},{{}}"#, "0".repeat(100_000)));
    let mut total = 0;
    let mut room = |bytes: usize| {
        total += bytes;
        true
    };
    let transcoded = read_request(Signal::Logs, json.as_bytes(), &mut room).unwrap();
    let kept = transcoded.omitted.cuts[0].bytes.len();
    assert!(total < json.len() / 2 + kept + 1000, "{total}");
}

#[test]
fn what_grows_on_the_way_asks_before_it_does() {
    // Two bytes of JSON for eight of protobuf.
    let bounds = "0,".repeat(100_000);
    let json = in_metric(&format!(r#"{{"histogram":{{"dataPoints":[{{"explicitBounds":[{bounds}0]}}]}}}}"#));
    let mut largest = 0;
    let mut total = 0;
    let mut room = |bytes: usize| {
        (largest, total) = (largest.max(bytes), total + bytes);
        true
    };
    let transcoded = read_request(Signal::Metrics, json.as_bytes(), &mut room).unwrap();
    assert!(transcoded.bytes.len() > 800_000);
    assert!(total < 2 * 800_000 && largest < 800_000, "{total} {largest}");
}
