//! How queries are read, and what is said of what is wrong.

use super::*;

fn read(text: &str) -> String {
    Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

#[test]
fn queries_are_read_as_log_people_write_them() {
    for (text, written) in [
        ("", ""),
        ("  ", ""),
        ("a b", "a b"),
        ("a AND b", "a b"),
        ("a OR b c", "a OR (b c)"),
        ("a AND (b OR c)", "a (b OR c)"),
        ("NOT a b", "NOT a b"),
        ("NOT (a b)", "NOT (a b)"),
        ("-a", "NOT a"),
        ("((a))", "a"),
        ("(a b) c", "a b c"),
        ("level:ERR", "level:error"),
        ("severity:warning", "level:warn"),
        ("message:x", "body:x"),
        ("status:(500 OR 503)", "status:500 OR status:503"),
        ("status:(NOT 500)", "NOT status:500"),
        ("a:\"b c\"", "a:\"b c\""),
        ("a:b\\ c*", "a:b\\ c*"),
        ("url:http://x/y?z", "url:http\\://x/y?z"),
        ("duration:>1500ms", "duration:>1500ms"),
        ("duration:[1s TO 2000ms]", "duration:[1s TO 2s]"),
        ("dt:[2026-03-27T00:00:00Z TO ..]", "dt:[2026-03-27T00:00:00Z TO ..]"),
        ("dt:>2026-03-27T01:00:00.5+01:00", "dt:>2026-03-27T00:00:00.5Z"),
        ("\"AND\"", "\"AND\""),
        ("ANDROID", "ANDROID"),
        ("signal:logs", "signal:logs"),
        ("host:a\\]", "host:\"a]\""),
        ("host:\"a]\"", "host:\"a]\""),
        ("path:a[0]", "path:\"a[0]\""),
        ("[error]", "\"[error]\""),
        ("trace_id:*", "trace_id:*"),
        ("trace:4bF9*", "trace_id:4bF9*"),
        ("span:00f067aa0ba902b7", "span_id:00f067aa0ba902b7"),
        ("parent_span_id:?0f067aa0ba902b7", "parent_span_id:?0f067aa0ba902b7"),
    ] {
        assert_eq!(read(text), written, "{text}");
    }
}

#[test]
fn a_wrong_query_is_told_at_its_column_with_what_to_write() {
    for (text, column, says) in [
        ("level:eror", 7, "write trace, debug, info, warn, error or fatal"),
        ("a level:>", 10, "a value is missing"),
        ("status:>= 500", 10, "a value is missing"),
        ("a AND", 6, "a condition is missing at the end"),
        ("a OR", 5, "a condition is missing at the end"),
        ("OR a", 1, "a condition is missing before `OR`"),
        ("a AND OR b", 7, "a condition is missing before `OR`"),
        ("(a", 1, "write `)`"),
        ("a)", 2, "leave it out"),
        ("()", 2, "nothing in the brackets"),
        ("a (b ()", 7, "nothing in the brackets"),
        ("\"a", 1, "write `\"` at its end"),
        ("x \"a\"b", 6, "a space is missing"),
        ("a:", 3, "no value"),
        (":a", 1, "a field is missing"),
        ("a*:b", 1, "no wildcards"),
        ("level:err*", 7, "no wildcard"),
        ("status:[500 599]", 13, "[FROM TO UPTO]"),
        ("status:[500 TO 599", 8, "write `]`"),
        ("status:[500 TO x]", 16, "is not a number"),
        ("status:{1 TO 2}", 8, "written with `[`"),
        ("tenant:>a", 8, "has no order"),
        ("dt:2026-03-27", 4, "write `>=` or `<` before it"),
        ("dt:>yesterday", 5, "write a day such as"),
        ("duration:>5", 11, "write one such as 500ms"),
        ("signal:spans", 8, "write traces, metrics or logs"),
        ("a\\", 2, "a backslash"),
        ("\"\"", 1, "write a word"),
        ("[a TO b]", 4, "stands in a range"),
        ("a host:a]", 9, "nothing is open that `]` could close"),
        ("host:a[0]]", 10, "nothing is open that `]` could close"),
        ("a]", 2, "nothing is open that `]` could close"),
        ("a]:b", 2, "nothing is open that `]` could close"),
        ("trace_id:zz", 10, "has 32 hexadecimal digits"),
        ("trace:4bf92f3577b34da6", 7, "has 32 hexadecimal digits"),
        ("trace:(\"\" OR a*)", 8, "has 32 hexadecimal digits"),
        ("trace:4bf9-*", 7, "has 32 hexadecimal digits"),
        ("a span_id:00f067aa0ba902b7ff", 11, "has 16 hexadecimal digits"),
        ("span:00f067aa0ba902b7ff*", 6, "has 16 hexadecimal digits"),
        ("parent_span_id:00f067aa0ba902b", 16, "has 16 hexadecimal digits"),
    ] {
        let error = Query::parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_hidden_attribute_may_not_be_asked_for_by_any_of_its_names() {
    let is_hidden = |name: &str| matches!(name, "host.name" | "http.status_code" | "scope.x" | "level");
    for (text, column) in [
        ("host.name:a", 1),
        ("a \"host:b\" -host:a", 13),
        ("level:error OR (b host:*)", 19),
        ("status:>=500", 1),
        ("status:(200 OR 500)", 1),
        ("x NOT resource.host.name:[1 TO 2]", 7),
        ("ho\\st:a", 1),
        ("attributes.level:x", 1),
    ] {
        let error = Query::parse_without(text, &is_hidden).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains("hidden by `tap.redact`"), "{text}: {error}");
        assert!(Query::parse(text).is_ok(), "{text}");
    }
    // Where its place is said, a name is short for nothing; and fields are no attributes.
    for text in ["resource.host:a", "level:error", "host_name:a", "\"host.name\"", "x:host"] {
        assert!(Query::parse_without(text, &is_hidden).is_ok(), "{text}");
    }
}

#[test]
fn what_is_said_of_a_wrong_query_repeats_nothing_of_it() {
    for text in
        ["level:s3cret", "dt:>s3cret", "dt:s3cret", "s3cret:", "s3cret*:a", "signal:s3cret", "a:[s3cret TO"]
    {
        let error = Query::parse(text).expect_err(text);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn long_and_deep_queries_are_refused_and_end() {
    let deep = "(".repeat(40) + "a" + &")".repeat(40);
    assert!(Query::parse(&deep).unwrap_err().message.contains("at most 32 deep"));
    assert!(Query::parse(&"NOT ".repeat(40)).unwrap_err().message.contains("at most 32 deep"));
    assert!(Query::parse(&"a ".repeat(200)).unwrap_err().message.contains("at most 128 conditions"));
    assert!(Query::parse(&"a".repeat(5000)).unwrap_err().message.contains("at most 4096 characters"));
    assert!(Query::parse(&"a".repeat(256)).is_ok());
    // The name of a stream is as long as its key, and only compared.
    for name in ["stream", "tenant", "exporter"] {
        assert!(Query::parse(&format!("{name}:{}", "a".repeat(2000))).is_ok());
        assert!(Query::parse(&format!("{name}:\"{}\"", "\\\"".repeat(1024))).is_ok());
        let long = format!("{name}:{}*", "a".repeat(256));
        assert!(Query::parse(&long).unwrap_err().message.contains("at most 256 characters"), "{long}");
    }
    for long in ["a".repeat(257), format!("\"{}\"", "a".repeat(256)), format!("body:{}", "*a".repeat(200))] {
        assert!(Query::parse(&long).unwrap_err().message.contains("at most 256 characters"), "{long}");
    }
}
