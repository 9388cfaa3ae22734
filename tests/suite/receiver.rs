//! OTLP/HTTP as senders meet it: paths, methods, types, answers.

use prost::Message;
use rig::sink::Sink;
use sluice::otlp::Signal;

use crate::support::http::{self, Answer};
use crate::support::payload::{entry, entry_of, field, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::{Sluice, yaml};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A Sluice whose HTTP receiver has these options.
pub(crate) async fn start(options: &str) -> (Sink, Sluice) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, {options} }} }} }} }}\n\
         exporters: {{ otlp_http/up: {{ endpoint: {}, compression: none }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n",
        up.url()
    ))
    .await;
    (up, sluice)
}

async fn send(
    sluice: &Sluice,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<bytes::Bytes>,
) -> Answer {
    http::send(sluice.otlp, method, path, headers, body.into()).await
}

/// `google.rpc.Status` with its details.
#[derive(Clone, PartialEq, Message)]
struct DetailedStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

#[tokio::test]
async fn rule_28_every_signal_has_its_path_also_below_otlp_and_a_configured_one() {
    let options = "traces_url_path: /t, metrics_url_path: /in/metrics, logs_url_path: /services/collector";
    let (up, sluice) = start(options).await;
    let configured = ["/t", "/in/metrics", "/services/collector"];
    for signal in Signal::ALL {
        let paths = [
            signal.path().to_owned(),
            format!("/otlp{}", signal.path()),
            configured[signal.index()].to_owned(),
        ];
        for path in &paths {
            let body = request(&[entry(signal, "a", &[path])]);
            let answer = send(&sluice, "POST", path, &[PROTOBUF], body).await;
            assert_eq!((answer.status, answer.partial(signal)), (200, None), "{path}");
        }
        sluice.settled().await;
        assert_eq!(up.texts(signal), paths, "each has come in as its own signal");
    }
}

#[tokio::test]
async fn a_query_does_not_change_the_path() {
    let (_up, sluice) = start("").await;
    let answer = send(&sluice, "POST", "/v1/logs?token=x", &[PROTOBUF], logs(&[("a", &["x"])])).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_wrong_path_is_404_and_names_the_right_ones() {
    let (_up, sluice) = start("").await;
    for path in
        ["/", "/v1/log", "/v1/logs/", "/V1/logs", "/otlpv1/logs", "/otlp/otlp/v1/logs", "/v1/logs/v1/logs"]
    {
        let answer = send(&sluice, "POST", path, &[PROTOBUF], logs(&[("a", &["x"])])).await;
        assert_eq!(answer.status, 404, "{path}");
        let status = answer.error();
        assert_eq!(status.code, 5, "{path}");
        assert!(status.message.contains(&format!("`{path}`")), "{}", status.message);
        for signal in Signal::ALL {
            assert!(status.message.contains(signal.path()), "{}", status.message);
        }
    }
}

#[tokio::test]
async fn rule_59_profiles_are_404_and_say_so() {
    let (_up, sluice) = start("").await;
    for path in ["/v1development/profiles", "/v1/profiles", "/otlp/v1development/profiles"] {
        let answer = send(&sluice, "POST", path, &[PROTOBUF], "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.error().message.contains("profiles are not supported"), "{answer:?}");
    }
}

#[tokio::test]
async fn rule_24_another_method_than_post_is_405_with_allow() {
    let (_up, sluice) = start("").await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = send(&sluice, method, "/v1/logs", &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert!(answer.error().message.contains(method), "{answer:?}");
    }
}

#[tokio::test]
async fn rule_25_protobuf_is_taken_however_its_type_is_written() {
    let (up, sluice) = start("").await;
    let types = [
        "application/x-protobuf",
        "application/protobuf",
        "Application/X-Protobuf",
        "application/x-protobuf; x=y",
    ];
    for content_type in types {
        let body = logs(&[("a", &[content_type])]);
        let answer = send(&sluice, "POST", "/v1/logs", &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, 200, "{content_type}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    }
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), types);
}

#[tokio::test]
async fn another_type_is_415_and_says_what_to_send() {
    let (_up, sluice) = start("").await;
    let long = "text/".to_owned() + &"x".repeat(200);
    let shortened = format!("`Content-Type: text/{}…` is not taken", "x".repeat(95));
    let types: [(&[(&str, &str)], &str); 5] = [
        (&[], "there is no `Content-Type`"),
        (&[("content-type", "text/\tplain")], "`Content-Type: text/\u{fffd}plain` is not taken"),
        (&[("content-type", "application/grpc")], "`Content-Type: application/grpc` is not taken"),
        (&[("content-type", "")], "`Content-Type: ` is not taken"),
        (&[("content-type", &long)], &shortened),
    ];
    for (headers, said) in types {
        let answer = send(&sluice, "POST", "/v1/logs", headers, logs(&[("a", &["x"])])).await;
        assert_eq!(answer.status, 415, "{headers:?}");
        let instead =
            "send `Content-Type: application/x-protobuf`, `application/protobuf` or `application/json`";
        assert_eq!(answer.error().message, format!("{said}: {instead}"));
    }
}

#[tokio::test]
async fn content_types_that_contradict_each_other_are_415_and_one_that_is_repeated_is_taken() {
    let (up, sluice) = start("").await;
    let json = br#"{"resourceLogs":[]}"#;
    let protobuf = logs(&[("a", &["x"])]);
    // RFC 9110, section 5.3: a line after another is the same as a value after a comma.
    let contradicting: [(&[&str], &str); 7] = [
        (&["application/json", "application/x-protobuf"], "application/json, application/x-protobuf"),
        (&["application/x-protobuf", "application/json"], "application/x-protobuf, application/json"),
        (&["application/json", "text/plain"], "application/json, text/plain"),
        (
            &["application/json", "application/json", "text/plain"],
            "application/json, application/json, text/plain",
        ),
        (&["application/json, application/x-protobuf"], "application/json, application/x-protobuf"),
        (&["application/json; a=b, application/protobuf"], "application/json; a=b, application/protobuf"),
        (&["application/json; a=\"\\\"\", text/plain"], "application/json; a=\"\\\"\", text/plain"),
    ];
    for (types, named) in contradicting {
        let headers: Vec<_> = types.iter().map(|content_type| ("content-type", *content_type)).collect();
        for body in [&json[..], &protobuf] {
            let answer = send(&sluice, "POST", "/v1/logs", &headers, body.to_vec()).await;
            assert_eq!(answer.status, 415, "{types:?}");
            let said = answer.error().message;
            assert!(said.starts_with(&format!("`Content-Type: {named}` is not taken: send ")), "{said}");
        }
    }
    let repeated: [&[&str]; 5] = [
        &["application/json", "application/json"],
        &["application/json", "Application/JSON; charset=utf-8"],
        &["application/json, application/json"],
        &["application/json, "],
        &["application/json; a=\"b, \\\", c\""],
    ];
    for types in repeated {
        let headers: Vec<_> = types.iter().map(|content_type| ("content-type", *content_type)).collect();
        assert_eq!(send(&sluice, "POST", "/v1/logs", &headers, &json[..]).await.status, 200, "{types:?}");
    }
    let both = [PROTOBUF, ("content-type", "application/protobuf")];
    assert_eq!(send(&sluice, "POST", "/v1/logs", &both, protobuf).await.status, 200);
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["x"]);
}

#[tokio::test]
async fn an_unknown_coding_and_more_than_one_are_415() {
    let (_up, sluice) = start("").await;
    // Codings in a row were applied in a row, also the same one twice (RFC 9110, section 8.4).
    let codings: [(&[(&str, &str)], &str); 5] = [
        (&[PROTOBUF, ("content-encoding", "gzip"), ("content-encoding", "gzip")], "gzip, gzip"),
        (&[PROTOBUF, ("content-encoding", "br")], "br"),
        (&[PROTOBUF, ("content-encoding", "lzma")], "lzma"),
        (&[PROTOBUF, ("content-encoding", "gzip, gzip")], "gzip, gzip"),
        (&[PROTOBUF, ("content-encoding", "gzip"), ("content-encoding", "zstd")], "gzip, zstd"),
    ];
    for (headers, named) in codings {
        let answer = send(&sluice, "POST", "/v1/logs", headers, logs(&[("a", &["x"])])).await;
        assert_eq!(answer.status, 415, "{headers:?}");
        let instead = "send gzip, zstd, deflate, snappy, lz4, identity, or no such header";
        assert_eq!(answer.error().message, format!("`Content-Encoding: {named}` is not taken: {instead}"));
    }
}

#[tokio::test]
async fn rule_37_every_error_body_is_a_status() {
    let (_up, sluice) = start("max_request_body_size: 1KiB").await;
    let large = vec![0; 2048];
    let cases: [(&str, &str, Vec<u8>, u16); 5] = [
        ("POST", "/nowhere", vec![], 404),
        ("GET", "/v1/logs", vec![], 405),
        ("POST", "/v1/logs", vec![0xff], 400),
        ("POST", "/v1/logs", large.clone(), 413),
        ("POST", "/v1/traces", vec![0x0a], 400),
    ];
    for (method, path, body, expected) in cases {
        let answer = send(&sluice, method, path, &[PROTOBUF], body).await;
        assert_eq!(answer.status, expected, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"), "{method} {path}");
        let status = answer.error();
        assert!(status.code != 0 && !status.message.is_empty(), "{method} {path}: {status:?}");
    }
    for (method, path, expected) in [
        ("POST", "/nowhere", 404),
        ("PUT", "/v1/logs", 405),
        ("POST", "/v1/logs", 413),
        ("POST", "/v1/traces", 413),
    ] {
        let answer = send(&sluice, method, path, &[JSON], large.clone()).await;
        assert_eq!((answer.status, answer.header("content-type")), (expected, Some("application/json")));
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(status["code"].is_i64() && status["message"].is_string(), "{status}");
    }
}

#[tokio::test]
async fn rule_40_what_cannot_be_decoded_is_400_with_a_bad_request_detail() {
    let (_up, sluice) = start("").await;
    let truncated = &logs(&[("a", &["x"])])[..10];
    let answer = sluice.post(Signal::Logs, truncated.to_vec()).await;
    assert_eq!(answer.status, 400);
    let status = DetailedStatus::decode(answer.body.clone()).unwrap();
    assert_eq!(status.code, 3);
    assert_eq!(status.details.len(), 1);
    assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let detail = BadRequest::decode(&*status.details[0].value).unwrap();
    assert!(detail.field_violations[0].field.starts_with("resource_logs"), "{detail:?}");
    assert_eq!(detail.field_violations[0].description, status.message);
}

#[tokio::test]
async fn requests_in_which_no_otlp_is_looked_for_are_counted_by_themselves() {
    let (_up, sluice) = start("").await;
    let text = ("content-type", "text/plain");
    for (method, path, kind, times) in
        [("POST", "/", PROTOBUF, 1), ("GET", "/v1/logs", PROTOBUF, 2), ("POST", "/v1/logs", text, 3)]
    {
        for _ in 0..times {
            send(&sluice, method, path, &[kind], logs(&[("a", &["x"])])).await;
        }
    }
    for (code, times) in [("404", 1.0), ("405", 2.0), ("415", 3.0)] {
        let labels = [("transport", "http"), ("code", code)];
        assert_eq!(sluice.metric("sluice_misdirected_requests_total", &labels).await, times, "{code}");
    }
    for outcome in ["accepted", "refused", "rejected", "dropped"] {
        let labels = [("signal", "logs"), ("transport", "http"), ("outcome", outcome)];
        assert_eq!(sluice.metric("sluice_received_records_total", &labels).await, 0.0, "{outcome}");
    }
}

#[tokio::test]
async fn json_that_is_sent_as_protobuf_is_told_so() {
    let (_up, sluice) = start("").await;
    let pretty = "\n{\n  \"resourceLogs\": [\n".to_owned() + &"    {},\n".repeat(100) + "  ]\n}";
    for json in
        ["{}", r#"{"resourceLogs":[]}"#, " \t{ }", "\u{feff}{\"resourceLogs\": null}", pretty.as_str()]
    {
        let answer = sluice.post(Signal::Logs, json.to_owned()).await;
        assert_eq!(answer.status, 400, "{json}");
        let message = answer.error().message;
        assert!(message.starts_with("this looks like JSON, not protobuf"), "{json}: {message}");
        assert!(message.contains("send JSON with `Content-Type: application/json`"), "{message}");
    }
    let group = sluice.post(Signal::Logs, vec![b'{', b'x']).await;
    assert!(group.error().message.starts_with("groups are not allowed"), "{group:?}");
}

#[tokio::test]
async fn rule_35_an_empty_request_succeeds() {
    let (up, sluice) = start("").await;
    for signal in Signal::ALL {
        let answer = sluice.post(signal, "").await;
        assert_eq!((answer.status, answer.partial(signal)), (200, None));
    }
    assert_eq!(up.counts().requests, 0);
}

#[tokio::test]
async fn rule_36_success_is_200_with_a_response_in_which_partial_success_is_unset() {
    let (_up, sluice) = start("").await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["x"])])).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.is_empty(), "an empty response message has no bytes");
    let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["content-length", "content-type", "date"]);
    assert_eq!(answer.header("content-length"), Some("0"));
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
}

#[tokio::test]
async fn rule_11_what_is_not_routed_is_partial_success_and_the_rest_is_taken() {
    let (up, sluice) = start("").await;
    for signal in Signal::ALL {
        let unrouted = entry_of(signal, resource(&[("service.name", "x")]), &["1", "2", "3"]);
        let body = request(&[entry(signal, "a", &["good"]), unrouted]);
        let answer = sluice.post(signal, body).await;
        assert_eq!(answer.status, 200);
        let (rejected, message) = answer.partial(signal).expect("some were rejected");
        assert_eq!(rejected, 3);
        assert!(message.contains("s2.stream"), "it says what is missing: {message}");
        sluice.settled().await;
        assert_eq!(up.texts(signal), ["good"]);
    }
    let counts = [("signal", "logs"), ("transport", "http"), ("outcome", "rejected")];
    assert_eq!(sluice.metric("sluice_received_records_total", &counts).await, 3.0);
}

#[tokio::test]
async fn a_record_that_is_not_otlp_is_cut_out_and_named() {
    let (up, sluice) = start("").await;
    // scope_logs[0].log_records[1] has a body that is not UTF-8.
    let bad = field(5, field(1, [0xff, 0xfe]));
    let good = |text: &str| field(5, field(1, text));
    let scope: Vec<u8> =
        [good("before"), bad, good("after")].iter().flat_map(|body| field(2, body)).collect();
    let key = field(1, [field(1, "s2.stream"), field(2, field(1, "a"))].concat());
    let entry = [field(1, key), field(2, scope)].concat();
    let answer = sluice.post(Signal::Logs, request(&[entry])).await;
    assert_eq!(answer.status, 200);
    let (rejected, message) = answer.partial(Signal::Logs).expect("one was rejected");
    assert_eq!(rejected, 1);
    assert!(message.starts_with("resource_logs[0].scope_logs[0].log_records[1].body"), "{message}");
    assert!(message.contains(" at byte ") && message.contains("UTF-8"), "{message}");
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["before", "after"]);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send() {
    let (_up, sluice) = start(
        "cors: { allowed_origins: ['https://*.example.com'], allowed_headers: [x-token], max_age: 600 }",
    )
    .await;
    let origin = ("origin", "https://app.example.com");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, x-token"),
    ];
    let answer = send(&sluice, "OPTIONS", "/v1/logs", &preflight, "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("content-type, content-encoding, x-token")
    );
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    assert_eq!(answer.header("vary"), Some("origin"));

    let answer = send(&sluice, "POST", "/v1/logs", &[PROTOBUF, origin], logs(&[("a", &["x"])])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    let answer = send(&sluice, "POST", "/nowhere", &[PROTOBUF, origin], "").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example.com"),
        "also to errors"
    );
}

#[tokio::test]
async fn pages_may_send_whose_origin_is_written_in_capital_letters() {
    let (_up, sluice) =
        start("cors: { allowed_origins: ['https://App.Example.com', 'HTTPS://*.Example.org'] }").await;
    for origin in ["https://app.example.com", "https://a.example.org"] {
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = send(&sluice, "OPTIONS", "/v1/logs", &asked, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(origin)));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_no_leave() {
    let (_up, sluice) = start("cors: { allowed_origins: ['https://app.example.com'] }").await;
    let origin = ("origin", "https://app.example.com.evil.test");
    let answer =
        send(&sluice, "OPTIONS", "/v1/logs", &[origin, ("access-control-request-method", "POST")], "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));
    let answer = send(&sluice, "POST", "/v1/logs", &[PROTOBUF, origin], logs(&[("a", &["x"])])).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn records_are_counted_as_records_and_requests_as_requests() {
    const LOGS: Signal = Signal::Logs;
    let up = sinks::recording().await;
    let receivers = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_request_body_size: 1MiB } } } }\n";
    let sluice =
        Sluice::start(&(receivers.to_owned() + &yaml::up(&up.url(), &[]) + "limits: { memory: 1MiB }\n"))
            .await;
    let json = |stream: &str, records: usize, text: &str| {
        let record = format!(r#"{{"body":{{"stringValue":"{text}"}}}}"#);
        let records = vec![record; records].join(",");
        let resource =
            format!(r#"{{"attributes":[{{"key":"s2.stream","value":{{"stringValue":"{stream}"}}}}]}}"#);
        format!(
            r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
        )
    };
    let send_json = async |body: String| {
        http::send(sluice.otlp, "POST", "/v1/logs", &[("content-type", "application/json")], body.into())
            .await
            .status
    };
    let unrouted = entry_of(LOGS, resource(&[]), &["6", "7"]);
    // Protobuf of nothing but empty entries takes a hundred times its size.
    let many = vec![entry_of(LOGS, resource(&[]), &[]); 8_000];
    let whole = [request(&many), logs(&[("a", &["8", "9"])])].concat();
    for (status, sent) in [
        (200, sluice.post(LOGS, logs(&[("a", &["1", "2", "3"])])).await.status),
        (200, sluice.post(LOGS, "").await.status),
        (200, send_json(json("a", 2, "x")).await),
        (200, sluice.post(LOGS, request(&[entry(LOGS, "a", &["5"]), unrouted])).await.status),
        (400, sluice.post(LOGS, vec![0xff]).await.status),
        (400, send_json("{".to_owned()).await),
        (413, sluice.post(LOGS, vec![0; 2 << 20]).await.status),
        (413, sluice.post(LOGS, whole).await.status),
        (413, send_json(json("a", 7, &"x".repeat(120_000))).await),
    ] {
        assert_eq!(sent, status);
    }
    let metrics = sluice.settled().await;
    let of = |metric: &str| {
        ["accepted", "partial", "refused", "rejected"]
            .map(|outcome| metrics.sum(metric, &[("outcome", outcome)]))
    };
    assert_eq!(of("sluice_received_requests_total"), [3.0, 1.0, 0.0, 5.0]);
    assert_eq!(of("sluice_received_records_total"), [6.0, 0.0, 0.0, 2.0 + 2.0 + 7.0]);
}

/// As `navigator.sendBeacon` asks, whose requests have credentials.
#[tokio::test]
async fn pages_of_named_origins_may_send_with_credentials_and_every_answer_says_so() {
    let cors = "max_request_body_size: 1KiB, cors: { allowed_origins: ['https://app.example.com', '*'] }";
    let (_up, sluice) = start(cors).await;
    let leave = async |method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let answer = send(&sluice, method, path, headers, body).await;
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let (origin, credentials) =
            (header("access-control-allow-origin"), header("access-control-allow-credentials"));
        assert!(header("vary").is_some_and(|vary| vary.contains("origin")), "{answer:?}");
        (answer.status, origin, credentials)
    };
    for (origin, credentials) in
        [("https://app.example.com", Some("true")), ("https://other.example.com", None)]
    {
        let from = ("origin", origin);
        let asks = [from, ("access-control-request-method", "POST")];
        let text = ("content-type", "text/plain");
        for (expected, method, path, headers, body) in [
            (204, "OPTIONS", "/v1/logs", &asks[..], vec![]),
            (200, "POST", "/v1/logs", &[PROTOBUF, from], logs(&[("a", &["x"])])),
            (400, "POST", "/v1/logs", &[PROTOBUF, from], b"no OTLP".to_vec()),
            (404, "POST", "/nowhere", &[PROTOBUF, from], vec![]),
            (405, "GET", "/v1/logs", &[PROTOBUF, from], vec![]),
            (413, "POST", "/v1/logs", &[PROTOBUF, from], vec![0; 2000]),
            (415, "POST", "/v1/logs", &[text, from], vec![]),
        ] {
            let expected = (expected, Some(origin.to_owned()), credentials.map(str::to_owned));
            assert_eq!(leave(method, path, headers, body).await, expected, "{method} {path} of {origin}");
        }
    }
}

#[tokio::test]
async fn a_request_of_http_1_1_has_one_host() {
    let (up, sluice) = start("").await;
    let body = logs(&[("a", &["x"])]);
    let mut taken = 0;
    for (version, hosts, expected) in [
        ("1.1", "host: a\r\n", 200),
        ("1.1", "host: \r\n", 200),
        ("1.0", "", 200),
        ("1.1", "", 400),
        ("1.1", "host: a\r\nhost: b\r\n", 400),
        ("1.1", "host: a\r\nhost: a\r\n", 400),
        ("1.1", "host: a b\r\n", 400),
        ("1.0", "host: a\r\nhost: b\r\n", 400),
    ] {
        let mut wire = Wire::open(sluice.otlp).await;
        let length = body.len();
        wire.write(format!(
            "POST /v1/logs HTTP/{version}\r\n{hosts}content-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
        wire.write(&body).await;
        assert_eq!(wire.answer().await.status, expected, "HTTP/{version} {hosts:?}");
        taken += u64::from(expected == 200);
    }
    up.records(taken).await;
    let labels = [("transport", "http"), ("code", "400")];
    assert_eq!(sluice.metric("sluice_misdirected_requests_total", &labels).await, 5.0);
}
