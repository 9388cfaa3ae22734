//! What the specification and the Collector take. "Serde" in a name: opentelemetry-proto's decoder fails or forgets it.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, NumberDataPoint, Sum, number_data_point,
};

use super::*;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const TRACE_BYTES: [u8; 16] =
    [0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];

fn sum(members: &str) -> Sum {
    match metric(&format!(r#""sum":{{{members}}}"#)).data {
        Some(Data::Sum(sum)) => sum,
        other => panic!("{other:?} is no sum"),
    }
}

fn point(members: &str) -> NumberDataPoint {
    sum(&format!(r#""dataPoints":[{{{members}}}]"#)).data_points.remove(0)
}

fn histogram(members: &str) -> HistogramDataPoint {
    match metric(&format!(r#""histogram":{{"dataPoints":[{{{members}}}]}}"#)).data {
        Some(Data::Histogram(Histogram { mut data_points, .. })) => data_points.remove(0),
        other => panic!("{other:?} is no histogram"),
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.into())
}

#[test]
fn rule_35_an_empty_request_is_one() {
    for json in
        ["{}", " {\r\n\t} ", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#, "null", " null\n"]
    {
        assert_eq!(whole(Signal::Traces, json), b"", "{json}");
    }
}

#[test]
fn rule_49_ids_are_hexadecimal_in_any_case() {
    for id in [TRACE.to_owned(), TRACE.to_uppercase(), TRACE.replace('f', "F")] {
        assert_eq!(span(&format!(r#""traceId":"{id}""#)).trace_id, TRACE_BYTES);
        assert_eq!(record(&format!(r#""traceId":"{id}""#)).trace_id, TRACE_BYTES);
        assert_eq!(span(&format!(r#""links":[{{"traceId":"{id}"}}]"#)).links[0].trace_id, TRACE_BYTES);
        let exemplar = point(&format!(r#""exemplars":[{{"traceId":"{id}"}}]"#)).exemplars.remove(0);
        assert_eq!(exemplar.trace_id, TRACE_BYTES);
    }
    assert_eq!(span(r#""parentSpanId":"00000000000000Ff""#).parent_span_id, [0, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn ids_in_base64_are_told_by_their_length() {
    for id in ["W47/95gDgQPSabYzgT/GDA==", "W47/95gDgQPSabYzgT/GDA", "W47_95gDgQPSabYzgT_GDA"] {
        assert_eq!(span(&format!(r#""traceId":"{id}""#)).trace_id, TRACE_BYTES, "{id}");
    }
    for id in ["7uGbfshjQ44=", "7uGbfshjQ44"] {
        assert_eq!(span(&format!(r#""spanId":"{id}""#)).span_id, b"\xee\xe1\x9b\x7e\xc8\x63\x43\x8e", "{id}");
    }
}

#[test]
fn base64_ids_without_padding_are_taken_where_no_id_of_their_entry_is_hexadecimal() {
    let (trace, span) = ("W47/95gDgQPSabYzgT/GDA", "7uGbfshjQ44");
    let request = |spans: &[String]| in_span(&spans.join(","));
    let ids = |trace: &str, span: &str| format!(r#"{{"traceId":"{trace}","spanId":"{span}"}}"#);
    let read = |json: String| {
        let transcoded = transcode(Signal::Traces, json).unwrap();
        let cuts: Vec<String> = transcoded.omitted.cuts.iter().map(|cut| cut.path.clone()).collect();
        (validate(Signal::Traces, &transcoded.bytes).unwrap(), cuts)
    };
    assert_eq!(read(request(&[ids(trace, span), ids(trace, span)])), (2, vec![]));
    assert_eq!(read(request(&[ids("W47/95gDgQPSabYzgT/GDA==", span)])), (1, vec![]));
    // Wherever in the entry the hexadecimal one stands.
    let path = |index: usize| format!("resourceSpans[0].scopeSpans[0].spans[{index}].spanId");
    assert_eq!(read(request(&[ids(TRACE, span)])), (0, vec![path(0)]));
    assert_eq!(read(request(&[ids("", span), ids(TRACE, "")])), (1, vec![path(0)]));
    assert_eq!(read(request(&[ids(TRACE, ""), ids("", span), ids("", "7uGbfshjQ44=")])), (2, vec![path(1)]));
    // In another entry it says nothing.
    let entry = |spans: &str| format!(r#"{{"scopeSpans":[{{"spans":[{spans}]}}]}}"#);
    let entries = [entry(&ids(TRACE, "")), entry(&ids(trace, span)), entry(&ids(TRACE, ""))].join(",");
    assert_eq!(read(format!(r#"{{"resourceSpans":[{entries}]}}"#)), (3, vec![]));
}

#[test]
fn unpadded_ids_of_hexadecimal_digits_are_taken_only_beside_one_that_must_be_base64() {
    let cuts = |spans: &[(&str, &str)]| {
        let ids = |(trace, span): &(&str, &str)| format!(r#"{{"traceId":"{trace}","spanId":"{span}"}}"#);
        let spans: Vec<String> = spans.iter().map(ids).collect();
        transcode(Signal::Traces, in_span(&spans.join(","))).unwrap().omitted.cuts.len()
    };
    let (trace, span) = ("W47/95gDgQPSabYzgT/GDA", "7uGbfshjQ44");
    // Cut off ids, alone and together, of either length.
    assert_eq!(cuts(&[("", "eee19b7ec3c")]), 1);
    assert_eq!(cuts(&[("5b8efff798038103d269b6", "")]), 1);
    assert_eq!(cuts(&[("5b8efff798038103d269b6", "eee19b7ec3c"), ("", "eee19b7ec3c")]), 2);
    // What happens to have no other letters, in an entry that is in base64.
    assert_eq!(cuts(&[(trace, "eee19b7ec3c")]), 0);
    assert_eq!(cuts(&[("", "eee19b7ec3c"), ("", span)]), 0);
    assert_eq!(cuts(&[("", "eee19b7ec3c"), ("", "7uGbfshjQ44=")]), 0);
}

#[test]
fn integers_in_strings_may_have_leading_zeros() {
    assert_eq!(record(r#""timeUnixNano":"007""#).time_unix_nano, 7);
    assert_eq!(record(r#""flags":"0007""#).flags, 7);
    assert_eq!(histogram(r#""bucketCounts":["01","00"]"#).bucket_counts, [1, 0]);
    for (number, expected) in [("-007", -7), ("+7", 7), ("000", 0), ("00000000000000000000000001", 1)] {
        let read = value(&format!(r#"{{"intValue":"{number}"}}"#)).value;
        assert_eq!(read, Some(Value::IntValue(expected)), "{number}");
        let attribute = format!(r#""attributes":[{{"key":"k","value":{{"intValue":"{number}"}}}}]"#);
        assert_eq!(
            span(&attribute).attributes[0].value.as_ref().unwrap().value,
            Some(Value::IntValue(expected))
        );
    }
}

#[test]
fn an_id_may_be_empty() {
    assert_eq!(span(r#""traceId":"","spanId":null"#), Span::default());
}

#[test]
fn rule_50_enums_are_numbers_and_names_are_taken_too() {
    for kind in ["3", r#""3""#, r#""SPAN_KIND_CLIENT""#, "3.0"] {
        assert_eq!(span(&format!(r#""kind":{kind}"#)).kind, 3, "{kind}");
    }
    assert_eq!(record(r#""severityNumber":"SEVERITY_NUMBER_INFO2""#).severity_number, 10);
    let temporality = r#""aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE""#;
    assert_eq!(sum(temporality).aggregation_temporality, 2);
    // A number that nobody has named yet, and a negative one, which takes ten bytes.
    assert_eq!(span(r#""kind":77"#).kind, 77);
    assert_eq!(span(r#""kind":-1"#).kind, -1);
}

#[test]
fn rule_51_unknown_names_are_passed_over_at_any_depth() {
    let deep = format!("{}1{}", r#"{"a":["#.repeat(50_000), "]}".repeat(50_000));
    for unknown in
        ["1", "null", "\"\\u00e9\\\"}\"", "[[], {}, [1, -2.5e3, true, false]]", r#"{"a":{},"b":[{}]}"#, &deep]
    {
        let members = format!(r#""new":{unknown},"name":"n","newer" : {unknown} "#);
        assert_eq!(span(&members).name, "n");
        let nested = format!(
            r#""attributes":[{{"new":{unknown},"key":"k","value":{{"stringValue":"v","x":{unknown}}}}}]"#
        );
        assert_eq!(span(&nested).attributes[0].key, "k");
        assert_eq!(
            traces(format!(r#"{{"new":{unknown},"resourceSpans":[{{"new":{unknown}}}]}}"#))
                .resource_spans
                .len(),
            1
        );
    }
}

#[test]
fn rule_52_names_are_lower_camel_case_and_those_of_the_schema_are_taken_too() {
    let camel = r#""traceState":"s","startTimeUnixNano":"5","droppedAttributesCount":7"#;
    let snake = r#""trace_state":"s","start_time_unix_nano":"5","dropped_attributes_count":7"#;
    assert_eq!(span(camel), span(snake));
    assert_eq!(span(camel).start_time_unix_nano, 5);
    let request = r#"{"resource_spans":[{"scope_spans":[{"spans":[{}]}],"schema_url":"u"}]}"#;
    assert_eq!(traces(request).resource_spans[0].schema_url, "u");
    // Names are as exact as any others, and may be escaped.
    assert_eq!(span(r#""Name":"x","NAME":"x","tracestate":"x""#), Span::default());
    assert_eq!(span(r#""\u006eame":"n""#).name, "n");
}

#[test]
fn rule_53_integers_of_64_bits_are_strings_or_numbers() {
    for number in ["1544712660300000000", r#""1544712660300000000""#] {
        assert_eq!(
            span(&format!(r#""endTimeUnixNano":{number}"#)).end_time_unix_nano,
            1_544_712_660_300_000_000
        );
    }
    for number in ["-9223372036854775808", r#""-9223372036854775808""#] {
        assert_eq!(value(&format!(r#"{{"intValue":{number}}}"#)).value, Some(Value::IntValue(i64::MIN)));
    }
    assert_eq!(histogram(r#""count":18446744073709551615"#).count, u64::MAX);
    assert_eq!(histogram(r#""bucketCounts":["1",2,"3"]"#).bucket_counts, [1, 2, 3]);
    assert_eq!(point(r#""asInt":5"#).value, Some(number_data_point::Value::AsInt(5)));
}

#[test]
fn serde_integers_of_32_bits_may_be_strings() {
    assert_eq!(span(r#""droppedEventsCount":"7","flags":"257""#).flags, 257);
}

#[test]
fn serde_integers_may_have_exponents_and_fractions_if_they_are_whole() {
    for number in ["200", "2e2", "200.0", "2.00E+2", r#""2e2""#, r#""200.0""#, "20000e-2"] {
        assert_eq!(
            value(&format!(r#"{{"intValue":{number}}}"#)).value,
            Some(Value::IntValue(200)),
            "{number}"
        );
        assert_eq!(span(&format!(r#""droppedLinksCount":{number}"#)).dropped_links_count, 200, "{number}");
        assert_eq!(span(&format!(r#""startTimeUnixNano":{number}"#)).start_time_unix_nano, 200, "{number}");
    }
    assert_eq!(record(r#""timeUnixNano":1e3"#).time_unix_nano, 1000);
}

#[test]
fn serde_doubles_may_be_strings_and_not_a_number() {
    let double = |json: &str| match value(&format!(r#"{{"doubleValue":{json}}}"#)).value {
        Some(Value::DoubleValue(double)) => double,
        other => panic!("{other:?} is no double"),
    };
    for (json, expected) in [
        ("1.5", 1.5),
        (r#""1.5""#, 1.5),
        ("3", 3.0),
        ("-0.0", -0.0),
        ("1e-7", 1e-7),
        (r#""Infinity""#, f64::INFINITY),
        (r#""-Infinity""#, f64::NEG_INFINITY),
    ] {
        assert_eq!(double(json).to_bits(), expected.to_bits(), "{json}");
    }
    assert!(double(r#""NaN""#).is_nan());
    match point(r#""asDouble":"NaN""#).value {
        Some(number_data_point::Value::AsDouble(value)) => assert!(value.is_nan()),
        other => panic!("{other:?} is no double"),
    }
    assert_eq!(histogram(r#""explicitBounds":["Infinity",0.5]"#).explicit_bounds, [f64::INFINITY, 0.5]);
}

#[test]
fn serde_null_is_absent_anywhere() {
    assert_eq!(
        span(r#""name":null,"attributes":null,"status":null,"kind":null,"traceId":null"#),
        Span::default()
    );
    assert_eq!(
        value(r#"{"stringValue":null,"intValue":"5","arrayValue":null}"#).value,
        Some(Value::IntValue(5))
    );
    assert_eq!(
        sum(r#""isMonotonic":null,"aggregationTemporality":null,"dataPoints":[{}]"#).data_points.len(),
        1
    );
    assert_eq!(histogram(r#""sum":null,"bucketCounts":null"#), HistogramDataPoint::default());
    assert_eq!(traces(r#"{"resourceSpans":[{"resource":null,"scopeSpans":null}]}"#).resource_spans.len(), 1);
}

#[test]
fn null_in_a_list_keeps_its_place() {
    let array = value(r#"{"arrayValue":{"values":[null,{"boolValue":true},null]}}"#);
    let Some(Value::ArrayValue(array)) = array.value else { panic!("{array:?} is no array") };
    assert_eq!(array.values.len(), 3);
    assert_eq!(array.values[1].value, Some(Value::BoolValue(true)));
    assert_eq!(histogram(r#""bucketCounts":[1,null,3]"#).bucket_counts, [1, 0, 3]);
    // What JavaScript makes of NaN.
    assert!(histogram(r#""explicitBounds":[1,null]"#).explicit_bounds[1].is_nan());
    assert_eq!(span(r#""attributes":[null]"#).attributes, [KeyValue::default()]);
    assert_eq!(traces(r#"{"resourceSpans":[null,{"scopeSpans":[null]}]}"#).resource_spans.len(), 2);
    let entity = r#"{"resourceLogs":[{"resource":{"entityRefs":[{"idKeys":["a",null]}]}}]}"#;
    assert_eq!(logs(entity).resource_logs[0].resource.as_ref().unwrap().entity_refs[0].id_keys, ["a", ""]);
}

#[test]
fn serde_an_enum_name_or_a_null_loses_no_metric() {
    let sum = sum(r#""aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","isMonotonic":null,
           "dataPoints":[{"timeUnixNano":"1e3","asDouble":"NaN"},{"timeUnixNano":7.0,"asInt":"2"}]"#);
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (1, false));
    assert_eq!(sum.data_points.iter().map(|point| point.time_unix_nano).collect::<Vec<_>>(), [1000, 7]);
}

#[test]
fn serde_empty_arrays_kvlists_and_missing_keys_are_taken() {
    for (json, expected) in [
        (r#"{"arrayValue":{}}"#, Value::ArrayValue(ArrayValue::default())),
        (r#"{"arrayValue":{"values":[]}}"#, Value::ArrayValue(ArrayValue::default())),
        (r#"{"kvlistValue":{}}"#, Value::KvlistValue(KeyValueList::default())),
        (r#"{"kvlistValue":{"values":[]}}"#, Value::KvlistValue(KeyValueList::default())),
        (r#"{"bytesValue":""}"#, Value::BytesValue(vec![])),
        (r#"{"stringValue":""}"#, Value::StringValue(String::new())),
    ] {
        assert_eq!(value(json).value, Some(expected), "{json}");
    }
    assert_eq!(value("{}").value, None);
    let attributes =
        span(r#""attributes":[{"value":{"stringValue":"v"}},{"key":"k"},{},{"key":"","value":{}}]"#)
            .attributes;
    assert_eq!(attributes[0].value.as_ref().unwrap().value, Some(text("v")));
    assert_eq!((&*attributes[1].key, &attributes[1].value), ("k", &None));
    assert_eq!(attributes[2], KeyValue::default());
    assert_eq!(attributes[3].value, Some(AnyValue::default()));
}

#[test]
fn rule_58_every_kind_of_value_is_allowed_on_every_attribute() {
    let values = r#"[{"key":"a","value":{"boolValue":true}},{"key":"b","value":{"bytesValue":"/w=="}},
        {"key":"c","value":{"arrayValue":{"values":[{"intValue":"1"}]}}},
        {"key":"d","value":{"kvlistValue":{"values":[{"key":"e","value":{"doubleValue":0}}]}}},{"key":"f","value":{}}]"#;
    let attributes = [
        span(&format!(r#""attributes":{values}"#)).attributes,
        span(&format!(r#""events":[{{"attributes":{values}}}]"#)).events.remove(0).attributes,
        record(&format!(r#""attributes":{values}"#)).attributes,
        point(&format!(r#""attributes":{values}"#)).attributes,
        metric(&format!(r#""metadata":{values}"#)).metadata,
    ];
    for attributes in &attributes {
        assert_eq!(attributes.len(), 5);
        assert_eq!(attributes[1].value.as_ref().unwrap().value, Some(Value::BytesValue(vec![255])));
    }
}

#[test]
fn rule_55_empty_envelopes_are_taken_as_they_are() {
    let request = traces(r#"{"resourceSpans":[{},{"resource":{},"scopeSpans":[{},{"spans":[]}]}]}"#);
    assert_eq!(request.resource_spans.len(), 2);
    assert_eq!(request.resource_spans[1].scope_spans.len(), 2);
    assert!(request.resource_spans[1].resource.is_some());
}

#[test]
fn rule_57_an_index_into_no_string_table_is_read_as_any_number() {
    let pair =
        span(r#""attributes":[{"keyStrindex":3,"value":{"stringValueStrindex":"4"}}]"#).attributes.remove(0);
    assert_eq!(pair.key_strindex, 3);
    assert_eq!(pair.value.unwrap().value, Some(Value::StringValueStrindex(4)));
}

#[test]
fn serde_base64_may_be_url_safe_and_without_padding() {
    for base64 in ["+/8=", "-_8=", "+/8", "-_8"] {
        let value = value(&format!(r#"{{"bytesValue":"{base64}"}}"#)).value;
        assert_eq!(value, Some(Value::BytesValue(vec![0xfb, 0xff])), "{base64}");
    }
}

#[test]
fn rule_54_strings_may_hold_every_character_escaped_or_not() {
    for (json, expected) in [
        (r"\u00e9\ud83e\udd80\/\b\f\n\r\t\\\u0000", "é🦀/\u{8}\u{c}\n\r\t\\\0"),
        ("é水🦀\u{7f}", "é水🦀\u{7f}"),
        (r#"a\"b"#, "a\"b"),
        (&"x".repeat(200), &"x".repeat(200)),
        (&r"\n".repeat(100), &"\n".repeat(100)),
        (&"\\u0041".repeat(60), &"A".repeat(60)),
    ] {
        assert_eq!(value(&format!(r#"{{"stringValue":"{json}"}}"#)).value, Some(text(expected)));
        let pair = format!(r#""attributes":[{{"key":"{json}","value":{{"stringValue":"{json}"}}}}]"#);
        let pair = span(&pair).attributes.remove(0);
        assert_eq!((pair.key, pair.value.unwrap().value), (expected.to_owned(), Some(text(expected))));
    }
}

#[test]
fn members_may_come_in_any_order_and_with_any_white_space() {
    let compact = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"intValue":"300"}}]},"scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"body":{"stringValue":"b"}},{}]}]}]}"#;
    let turned = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"b"}},{}],"scope":{"name":"s"}}],"resource":{"attributes":[{"value":{"intValue":"300"},"key":"k"}]}}]}"#;
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(compact).unwrap()).unwrap();
    assert_eq!(logs(compact), logs(turned));
    assert_eq!(logs(compact), logs(&pretty));
    assert_eq!(logs(compact), logs(pretty.replace('\n', "\r\n\t")));
}

#[test]
fn attributes_of_every_length_are_read_like_the_others() {
    for key_len in [0, 1, 59, 60, 100, 104, 105, 106, 110, 119, 120, 121, 122, 126, 127, 128, 200] {
        for text_len in [0, 1, 2, 60, 61, 119, 120, 121, 122, 123, 126, 127, 128, 300] {
            let (key, text) = ("k".repeat(key_len), "v".repeat(text_len));
            let json = format!(r#""attributes":[{{"key":"{key}","value":{{"stringValue":"{text}"}}}}]"#);
            let pair = span(&json).attributes.remove(0);
            assert_eq!((pair.key, pair.value.unwrap().value), (key, Some(Value::StringValue(text))));
        }
        for int in [0, 1, 127, 128, 300, i64::MAX, -1, i64::MIN] {
            for quote in ["", "\""] {
                let key = "k".repeat(key_len);
                let json =
                    format!(r#""attributes":[{{"key":"{key}","value":{{"intValue":{quote}{int}{quote}}}}}]"#);
                let pair = span(&json).attributes.remove(0);
                assert_eq!((pair.key, pair.value.unwrap().value), (key, Some(Value::IntValue(int))));
            }
        }
    }
}

#[test]
fn lengths_are_as_short_as_they_can_be_however_their_neighbours_were() {
    for lens in [[1, 200, 1, 40_000, 1], [40_000, 1, 200, 1, 300_000], [130, 127, 126, 125, 124]] {
        let events =
            lens.map(|len| format!(r#"{{"attributes":[{{"key":"{}"}}]}}"#, "k".repeat(len))).join(",");
        let bytes = whole(Signal::Traces, in_span(&format!(r#"{{"events":[{events}]}}"#)));
        assert_eq!(bytes, ExportTraceServiceRequest::decode(&*bytes).unwrap().encode_to_vec());
    }
}
