//! Looking at records as they pass: who may, what is shown and what is not, and that it costs the data nothing.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use rig::send::{Load, SendSettings};
use serde_json::{Value, json};
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::support::events::{PageEvent, PageFollower};
use crate::support::payload::{KEY, any_attribute, attribute, entry, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK};
use crate::support::{Front, PATIENCE, Sluice, SluiceProcess, eventually};

const READER: &str = "0123456789abcdef-reader";
const OPEN: &str = "tap: { open: true }\n";

/// A tap that is read.
struct TapFollower {
    page: PageFollower,
    /// All that was shown.
    seen: String,
}

impl TapFollower {
    /// Opens one, or returns the status that refuses it.
    async fn open(to: SocketAddr, path: &str, token: Option<&str>) -> Result<Self, u16> {
        let token = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            token.iter().map(|token| ("authorization", token.as_str())).collect();
        let page = PageFollower::try_of(to, path, &headers).await.map_err(|answer| answer.status)?;
        Ok(Self { page, seen: String::new() })
    }

    /// The name and the data of the next event; nothing once the tap has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let PageEvent::Named(name, data) = self.page.next().await? {
                self.seen += &data.to_string();
                return Some((name, data));
            }
        }
    }

    /// The data of the next event of this name; others are passed over.
    async fn next_of(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) = self.next().await.expect("the tap goes on");
            if name == wanted {
                return data;
            }
        }
    }
}

fn debug(more: &str) -> String {
    format!("exporters: {{ nop: }}\nroutes: [{{ key: {KEY}, exporters: [nop] }}]\n{more}")
}

async fn tap(front: &Front, query: &str) -> TapFollower {
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    TapFollower::open(front.admin, &format!("/api/v1/tap?query={query}"), None).await.unwrap()
}

fn log(record: LogRecord) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource = Some(resource(&[(KEY, "k"), ("service.name", "api"), ("host.name", "prod-1")]));
    request(&[ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }.encode_to_vec()])
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

#[tokio::test]
async fn records_of_every_signal_are_shown_decoded() {
    let sluice = Sluice::start(&debug(OPEN)).await;
    let mut tap = tap(&sluice, "").await;
    let list = ArrayValue { values: vec![text("a"), AnyValue { value: Some(Any::IntValue(1)) }] };
    let record = LogRecord {
        time_unix_nano: 1_774_569_600_500_000_000,
        severity_number: 17,
        body: Some(text("connection refused")),
        attributes: vec![
            any_attribute("list", Any::ArrayValue(list)),
            any_attribute("n", Any::IntValue(503)),
        ],
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..LogRecord::default()
    };
    sluice.accept(Signal::Logs, log(record)).await;
    let shown = tap.next_of("record").await;
    let resource = json!({ KEY: "k", "service.name": "api", "host.name": "prod-1" });
    assert_eq!(
        shown,
        json!({
            "signal": "logs", "tenant": null, "exporter": "nop", "stream": "k",
            "time": "2026-03-27T00:00:00.5Z", "level": "error", "body": "connection refused",
            "service": "api", "host": "prod-1", "trace_id": "01".repeat(16), "span_id": "02".repeat(8),
            "resource": resource, "scope": {}, "attributes": { "list": ["a", 1], "n": 503 },
        })
    );

    let span = Span {
        name: "GET /".to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_250_000_000,
        status: Some(Status { code: 2, message: "timeout".to_owned() }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let of_k = Some(crate::support::payload::resource(&[(KEY, "k")]));
    let spans = ResourceSpans { resource: of_k.clone(), scope_spans, ..ResourceSpans::default() };
    sluice.accept(Signal::Traces, request(&[spans.encode_to_vec()])).await;
    let shown = tap.next_of("record").await;
    for (name, expected) in [
        ("signal", json!("traces")),
        ("name", json!("GET /")),
        ("level", json!("error")),
        ("status_message", json!("timeout")),
        ("duration_ns", json!(250_000_000)),
        ("parent_span_id", json!("03".repeat(8))),
        ("time", json!("1970-01-01T00:00:01Z")),
    ] {
        assert_eq!(shown[name], expected, "{name}");
    }

    let point = NumberDataPoint {
        attributes: vec![attribute("queue", "mail")],
        time_unix_nano: 1,
        value: Some(number_data_point::Value::AsInt(7)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true };
    let metric = Metric {
        name: "queue.length".to_owned(),
        unit: "{item}".to_owned(),
        data: Some(Data::Sum(sum)),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let metrics = ResourceMetrics { resource: of_k, scope_metrics, ..ResourceMetrics::default() };
    sluice.accept(Signal::Metrics, request(&[metrics.encode_to_vec()])).await;
    let shown = tap.next_of("record").await;
    let expected = json!({ "name": "queue.length", "unit": "{item}", "type": "sum", "temporality": "cumulative", "value": 7 });
    assert_eq!((&shown["metric"], &shown["attributes"]), (&expected, &json!({ "queue": "mail" })));
}

#[tokio::test]
async fn the_query_is_asked_by_the_server_and_every_tap_is_shown_its_own() {
    let sluice = Sluice::start(&debug(OPEN)).await;
    let mut of_stream = tap(&sluice, "stream:b").await;
    let mut of_text = tap(&sluice, "\"two\" OR signal:traces").await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one", "two"]), ("b", &["one b"])])).await;
    assert_eq!(of_stream.next_of("record").await["body"], "one b");
    assert_eq!(of_text.next_of("record").await["body"], "two");
    sluice.accept(Signal::Traces, request(&[entry(Signal::Traces, "a", &["span"])])).await;
    assert_eq!(of_text.next_of("record").await["name"], "span");
}

#[tokio::test]
async fn a_record_that_goes_to_two_exporters_is_shown_once_with_both_and_as_its_route_edits_it() {
    let yaml = "
exporters: { nop: , nop/other: }
processors: { attributes/clean: { actions: [{ key: user, action: delete }] } }
routes: [{ key: s2.stream, processors: [attributes/clean], exporters: [nop, nop/other] }]
tap: { open: true }
";
    let sluice = Sluice::start(yaml).await;
    let mut tap = tap(&sluice, "").await;
    for body in ["first", "second"] {
        let attributes = vec![attribute("user", "eve"), attribute("other", "x")];
        sluice
            .accept(
                Signal::Logs,
                log(LogRecord { body: Some(text(body)), attributes, ..LogRecord::default() }),
            )
            .await;
    }
    for body in ["first", "second"] {
        let shown = tap.next_of("record").await;
        assert_eq!((&shown["body"], &shown["attributes"]), (&json!(body), &json!({ "other": "x" })));
        let streams =
            json!([{ "exporter": "nop", "stream": "k" }, { "exporter": "nop/other", "stream": "k" }]);
        assert_eq!(shown["streams"], streams);
    }
}

#[tokio::test]
async fn planted_secrets_are_redacted_wherever_they_stand() {
    const SECRETS: [&str; 7] =
        ["s3cret-a", "s3cret-b", "s3cret-c", "s3cret-d", "s3cret-e", "s3cret-f", "s3cret-g"];
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 1MiB }\n")).await;
    let mut tap = tap(&sluice, "").await;
    let record = LogRecord {
        body: Some(text("login with password=s3cret-a and Authorization: Bearer s3cret-b-12345")),
        attributes: vec![
            attribute("http.request.header.authorization", "s3cret-c"),
            attribute("DB_PASSWORD", "s3cret-d"),
            attribute("url.query", "api_key=s3cret-e&x=1"),
            any_attribute("client_secret", Any::BytesValue(b"s3cret-f".to_vec())),
            attribute("json", r#"{"token": "s3cret-g"}"#),
            attribute("gen_ai.usage.input_tokens", "12"),
        ],
        time_unix_nano: 1,
        ..LogRecord::default()
    };
    sluice.accept(Signal::Logs, log(record)).await;
    let shown = tap.next_of("record").await;
    assert_eq!(shown["attributes"]["http.request.header.authorization"], "[redacted]");
    assert_eq!(shown["attributes"]["gen_ai.usage.input_tokens"], "12");
    assert!(shown["body"].as_str().unwrap().starts_with("login with [redacted]"), "{shown}");
    let found = sluice.api("/api/v1/logs").await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    for secret in SECRETS {
        assert!(!tap.seen.contains(secret) && !found.to_string().contains(secret), "{secret}: {}", tap.seen);
        let asked = sluice.api(&format!("/api/v1/logs?query={secret}")).await;
        assert_eq!(asked["data"], json!([]), "{secret} is not found out by asking");
    }
    let asked = sluice.get("/api/v1/logs?query=x+DB_PASSWORD:s3*").await;
    assert_eq!(asked.status, 400, "{}", asked.text());
}

#[tokio::test]
async fn values_that_are_no_texts_are_redacted_by_what_they_are_written_as() {
    const CARD: i64 = 4_111_111_111_111_111;
    let sluice = Sluice::start(&debug(
        r"tap: { open: true, recent: 1MiB, redact: ['\b4[0-9]{15}\b', '^key$', '^true$'] }
",
    ))
    .await;
    let mut tap = tap(&sluice, "").await;
    let card = || AnyValue { value: Some(Any::IntValue(CARD)) };
    let list = ArrayValue { values: vec![AnyValue { value: Some(Any::IntValue(7)) }, card()] };
    let pair = |key: &str, value| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() };
    let map = KeyValueList { values: vec![pair("inner", card()), pair("key", text("x"))] };
    let record = LogRecord {
        body: Some(card()),
        attributes: vec![
            any_attribute("int", Any::IntValue(CARD)),
            any_attribute("double", Any::DoubleValue(CARD as f64)),
            any_attribute("bytes", Any::BytesValue([&[0xff][..], CARD.to_string().as_bytes()].concat())),
            any_attribute("list", Any::ArrayValue(list)),
            any_attribute("map", Any::KvlistValue(map)),
            any_attribute("flag", Any::BoolValue(true)),
            any_attribute("other", Any::IntValue(CARD + 1_000_000_000_000_000)),
            any_attribute("key", Any::IntValue(1)),
        ],
        time_unix_nano: CARD as u64,
        ..LogRecord::default()
    };
    sluice.accept(Signal::Logs, log(record)).await;
    let shown = tap.next_of("record").await;
    let hidden = "[redacted]";
    assert_eq!(
        shown["attributes"],
        json!({
            "int": hidden, "double": hidden, "bytes": hidden, "list": [7, hidden],
            "map": { "inner": hidden, "key": hidden }, "flag": hidden,
            "other": CARD + 1_000_000_000_000_000, "key": hidden,
        })
    );
    assert_eq!((&shown["body"], &shown["time"]), (&json!(hidden), &json!("1970-02-17T13:58:31.111111111Z")));
    for (query, found) in [
        ("", 1),
        ("int:4111111111111111", 0),
        ("int:>4000000000000000", 0),
        ("int:[1 TO ..]", 0),
        ("NOT double:>1", 1),
        ("bytes:*", 1),
        ("bytes:/zQxMTEx*", 0),
        ("list:7", 1),
        ("list:>8", 0),
        ("map:*4111*", 0),
        ("flag:true", 0),
        ("body:4111", 0),
        ("4111", 0),
        ("other:>5000000000000000", 1),
    ] {
        let written = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let page = sluice.api(&format!("/api/v1/logs?query={written}")).await;
        assert_eq!(page["data"].as_array().unwrap().len(), found, "{query}: {page}");
        assert!(!page.to_string().contains(&CARD.to_string()), "{query}: {page}");
    }
}

#[tokio::test]
async fn a_hidden_attribute_is_not_asked_for_by_a_short_name() {
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 1MiB, redact: [^host] }\n")).await;
    sluice.accept(Signal::Logs, log(LogRecord::default())).await;
    for query in ["x host:prod-1", "x host.name:prod-1", "x resource.host.name:prod-1", "x NOT (host:*)"] {
        for page in ["tap", "logs"] {
            let written = utf8_percent_encode(query, NON_ALPHANUMERIC);
            let answer = sluice.get(&format!("/api/v1/{page}?query={written}")).await;
            let said: Value = serde_json::from_slice(&answer.body).unwrap();
            let column = 1 + query.find("host").unwrap().min(query.find("resource").unwrap_or(usize::MAX));
            assert_eq!((answer.status, &said["column"]), (400, &json!(column)), "{page} {query}: {said}");
            assert!(said["error"].as_str().unwrap().contains("hidden by `tap.redact`"), "{said}");
        }
    }
    let found = sluice.api("/api/v1/logs?query=service:api").await;
    assert_eq!(found["data"][0]["host"], "[redacted]");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.arg("tap").args(["--url", &format!("http://{}", sluice.admin), "host:prod-1"]);
    let asked = command.output().await.unwrap();
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
}

#[tokio::test]
async fn a_wrong_query_is_told_at_its_column() {
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 1MiB }\n")).await;
    for page in ["tap", "logs"] {
        let answer = sluice.get(&format!("/api/v1/{page}?query=service:api%20level:eror")).await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &said["column"]), (400, &json!(19)), "{said}");
        assert!(said["error"].as_str().unwrap().contains("write trace, debug, info"), "{said}");
    }
    for wrong in ["?limit=x", "?x=1"] {
        let answer = sluice.get(&format!("/api/v1/tap{wrong}")).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

#[tokio::test]
async fn records_are_shown_to_who_has_the_read_token_also_on_loopback() {
    let admin = |more: &str| debug(&format!("admin: {{ endpoint: '127.0.0.1:0'{more} }}\n"));
    let with_token = format!(", read_token: {READER}");
    let closed = Sluice::start(&admin(&with_token)).await;
    let unset = Sluice::start(&admin("")).await;
    let open = Sluice::start(&(admin(&with_token) + OPEN)).await;
    for (sluice, token, expected) in [
        (&closed, None, Some(401)),
        (&closed, Some("another"), Some(401)),
        (&closed, Some(READER), None),
        (&unset, None, Some(403)),
        (&unset, Some(READER), Some(403)),
        (&open, None, None),
    ] {
        let opened = TapFollower::open(sluice.admin, "/api/v1/tap", token).await.err();
        assert_eq!(opened, expected, "{token:?}");
    }
    for page in ["/api/v1/tap", "/api/v1/logs"] {
        assert_eq!(closed.get(page).await.status, 401);
        assert_eq!(unset.get(page).await.status, 403);
    }
    assert_eq!(closed.get("/api/v1/watches").await.status, 200, "what is counted is no record");
}

#[tokio::test]
async fn a_tap_ends_when_the_tokens_change() {
    let with = |token: &str| debug(&format!("admin: {{ endpoint: '127.0.0.1:0', read_token: {token} }}\n"));
    let sluice = Sluice::start(&with(READER)).await;
    let mut tap = TapFollower::open(sluice.admin, "/api/v1/tap", Some(READER)).await.unwrap();
    // Of a reload that changes something else it sees nothing.
    sluice.reconfigure(&(with(READER) + "shutdown_timeout: 7s\n")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
    assert_eq!(tap.next_of("record").await["body"], "one");
    sluice.reconfigure(&with("0123456789abcdef-another")).await;
    let ended = tokio::time::timeout(PATIENCE, tap.next()).await.expect("it ends");
    assert_eq!(ended, None);
    assert_eq!(TapFollower::open(sluice.admin, "/api/v1/tap", Some(READER)).await.err(), Some(401));
}

#[tokio::test]
async fn sixteen_taps_are_open_at_most() {
    let sluice = Sluice::start(&debug(OPEN)).await;
    let mut taps = Vec::new();
    for _ in 0..16 {
        taps.push(tap(&sluice, "").await);
    }
    assert_eq!(TapFollower::open(sluice.admin, "/api/v1/tap", None).await.err(), Some(503));
    taps.pop();
    eventually("there is room for one", async || {
        TapFollower::open(sluice.admin, "/api/v1/tap", None).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taps_under_load_lose_nothing_of_the_data_and_say_what_they_left_out() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[QUICK]) + OPEN), &[]).await;
    let mut read = TapFollower::open(sluice.admin, "/api/v1/tap?limit=50", None).await.unwrap();
    // Nobody reads this one until all is over: what it is shown waits in the sockets.
    let mut unread =
        TapFollower::open(sluice.admin, "/api/v1/tap?limit=5&query=NOT%20x:y", None).await.unwrap();
    // Nobody reads this one at all, and the sockets are soon full.
    let never_read = TapFollower::open(sluice.admin, "/api/v1/tap?limit=1000", None).await.unwrap();
    let settings = SendSettings {
        streams: 10,
        entries: 5,
        records: 20,
        connections: 8,
        share_streams: true,
        timeout: PATIENCE,
        ..SendSettings::new(sluice.url())
    };
    let load = Load::start(settings).unwrap();
    let (mut shown, mut left_out) = (0, 0);
    // What the load has to do while it is tapped.
    while load.progress().requests < 1000 || left_out < 1000 {
        match read.next().await.expect("it goes on") {
            (name, _) if name == "record" => shown += 1,
            (_, data) => left_out += data["count"].as_u64().unwrap(),
        }
    }
    load.stop();
    let report = load.finish().await;
    assert_eq!(report.failed, 0, "{report}");
    up.records(report.records).await;
    assert_eq!((up.counts().records, up.counts().duplicates), (report.records, 0));
    assert!(up.counts().in_order());
    while shown + left_out < report.records {
        match tokio::time::timeout(PATIENCE, read.next()).await.expect("all is told").expect("it goes on") {
            (name, _) if name == "record" => shown += 1,
            (_, data) => left_out += data["count"].as_u64().unwrap(),
        }
    }
    assert_eq!(shown + left_out, report.records, "each record is shown or left out");
    let (mut shown, mut left_out) = (0, 0);
    while shown + left_out < report.records {
        match tokio::time::timeout(PATIENCE, unread.next()).await.expect("all is told").expect("it goes on") {
            (name, _) if name == "record" => shown += 1,
            (_, data) => left_out += data["count"].as_u64().unwrap(),
        }
    }
    assert_eq!(shown + left_out, report.records);
    drop((read, unread, never_read));
    sluice.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taps_with_the_slowest_of_queries_leave_out_what_they_have_no_time_for() {
    const REQUESTS: usize = 40;
    const RECORDS: usize = 10;
    let sluice = SluiceProcess::start(&debug(OPEN), &[]).await;
    // Each condition goes through the whole text, and none is found in it.
    let slow: Vec<String> = (0..120).map(|nth| format!("body:*a?a*b{nth}*")).collect();
    let slow = slow.join(" OR ");
    let mut taps = Vec::new();
    for _ in 0..16 {
        let query = utf8_percent_encode(&slow, NON_ALPHANUMERIC);
        let path = format!("/api/v1/tap?query={query}");
        taps.push(TapFollower::open(sluice.admin, &path, None).await.unwrap());
    }
    let long = "a".repeat(60_000);
    for _ in 0..REQUESTS {
        sluice.accept(Signal::Logs, logs(&[("a", &[&*long; RECORDS])])).await;
    }
    // Of 400 records with 16 taps of 120 conditions each, a text of 60,000 bytes would be gone through 768,000 times.
    let mut left_out = 0;
    while left_out <= (REQUESTS * RECORDS / 2) as u64 {
        let (name, data) =
            tokio::time::timeout(PATIENCE, taps[0].next()).await.expect("it is told").expect("it goes on");
        assert_eq!(name, "left_out", "nothing matches: {data}");
        left_out += data["count"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn a_query_sees_what_is_shown_and_not_what_is_there() {
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 1MiB }\n")).await;
    let mut guessing = tap(&sluice, "password=s3*").await;
    let mut excluding = tap(&sluice, "NOT password=s3*").await;
    let record = || LogRecord { body: Some(text("login with password=s3cret")), ..LogRecord::default() };
    sluice.accept(Signal::Logs, log(record())).await;
    assert_eq!(excluding.next_of("record").await["body"], "login with [redacted]");
    sluice.accept(Signal::Logs, log(LogRecord { body: Some(text("password=[redacted]")), ..record() })).await;
    let found = sluice.api("/api/v1/logs?query=NOT+password%3Ds3*").await;
    assert_eq!(found["data"].as_array().unwrap().len(), 2, "also that of which the text begins so");
    let told = tokio::time::timeout(std::time::Duration::from_millis(1500), guessing.next()).await;
    assert!(told.is_err(), "nothing of it is shown, nor counted: {told:?}");
}

#[tokio::test]
async fn the_terminal_shows_records_as_lines_or_json_and_says_where_a_query_is_wrong() {
    let config = debug(&format!("admin: {{ endpoint: '127.0.0.1:0', read_token: {READER} }}\n"));
    let sluice = SluiceProcess::start(&config, &[]).await;
    let run = |arguments: &[&str], token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("tap").args(["--url", &format!("http://{}", sluice.admin)]).args(arguments);
        command.env_remove("SLUICE_ADMIN_TOKEN");
        if let Some(token) = token {
            command.env("SLUICE_ADMIN_TOKEN", token);
        }
        command.output()
    };
    let record =
        || LogRecord { body: Some(text("connection refused")), severity_number: 17, ..LogRecord::default() };
    let send = async {
        loop {
            sluice.accept(Signal::Logs, log(record())).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let runs = async {
        let lines =
            run(&["--records", "2", "--time", "60s", "level:error refused"], Some(READER)).await.unwrap();
        assert!(lines.status.success(), "{lines:?}");
        let lines = String::from_utf8(lines.stdout).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.contains("error k api: connection refused") && !lines.contains('\u{1b}'), "{lines}");
        let json = run(&["--json", "--records", "1", "--time", "60s"], Some(READER)).await.unwrap();
        let shown: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&shown["body"], &shown["host"]), (&json!("connection refused"), &json!("prod-1")));
        let wrong = run(&["level:eror"], Some(READER)).await.unwrap();
        assert_eq!(wrong.status.code(), Some(2));
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert!(said.contains("\n  level:eror\n        ^"), "{said}");
        let refused = run(&[], None).await.unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8(refused.stderr).unwrap().contains("SLUICE_ADMIN_TOKEN"));
        let nothing = run(&["--time", "100ms", "nothing-like-this"], Some(READER)).await.unwrap();
        assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    };
    tokio::select! {
        () = runs => {}
        () = send => {}
    }
}

#[tokio::test]
async fn a_record_without_a_time_has_that_of_its_admission() {
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 1MiB }\n")).await;
    let mut tap = tap(&sluice, "dt:>=2026-01-01").await;
    sluice
        .accept(Signal::Logs, log(LogRecord { body: Some(text("timeless")), ..LogRecord::default() }))
        .await;
    let shown = tap.next_of("record").await;
    let time = shown["time"].as_str().expect("it has a time");
    assert!(time > "2026-01-01", "{time}");
    for (asked, found) in [
        (("from", "2026-01-01"), 1),
        (("to", "2026-01-01"), 0),
        (("query", "dt:*"), 1),
        (("query", "dt:[2026-01-01 TO ..]"), 1),
        (("query", "dt:<2026-01-01"), 0),
    ] {
        let (parameter, value) = (asked.0, utf8_percent_encode(asked.1, NON_ALPHANUMERIC));
        let page = sluice.api(&format!("/api/v1/logs?{parameter}={value}")).await;
        let records = page["data"].as_array().unwrap();
        assert_eq!(records.len(), found, "{asked:?}");
        assert!(records.iter().all(|record| record["dt"] == time), "{asked:?}: {page}");
    }
}

#[tokio::test]
async fn recent_records_are_searched_backwards_a_page_at_a_time() {
    let off = Sluice::start(&debug(OPEN)).await;
    assert_eq!(off.get("/api/v1/logs").await.status, 404, "they are off by default");
    let sluice = Sluice::start(&debug("tap: { open: true, recent: 4MiB }\n")).await;
    for number in 0..5_u64 {
        let time_unix_nano = (1_774_569_600 + number) * 1_000_000_000;
        let severity_number = if number == 3 { 17 } else { 9 };
        let body = Some(text(&format!("number {number}")));
        sluice
            .accept(
                Signal::Logs,
                log(LogRecord { body, severity_number, time_unix_nano, ..LogRecord::default() }),
            )
            .await;
    }
    sluice.accept(Signal::Traces, request(&[entry(Signal::Traces, "k", &["a span"])])).await;
    let messages = |page: &Value| -> Vec<String> {
        let records = page["data"].as_array().unwrap().iter();
        records.map(|record| record["message"].as_str().unwrap().to_owned()).collect()
    };
    let page = sluice.api("/api/v1/logs?batch_size=2").await;
    assert_eq!(messages(&page), ["number 4", "number 3"]);
    let newest = &page["data"][0];
    assert_eq!(newest["dt"], "2026-03-27T00:00:04Z");
    assert_eq!(
        (&newest["level"], &newest["service"], &newest["host"]),
        (&json!("info"), &json!("api"), &json!("prod-1"))
    );
    let next = page["next"].as_str().unwrap();
    let page = sluice.api(&format!("/api/v1/logs?batch_size=3&after={next}")).await;
    assert_eq!(messages(&page), ["number 2", "number 1", "number 0"]);
    for (query, expected) in [
        ("query=level:error", &["number 3"][..]),
        ("order=oldest_first&batch_size=1", &["number 0"]),
        ("from=2026-03-27T00:00:03Z", &["number 4", "number 3"]),
        ("to=2026-03-27T00:00:00Z", &["number 0"]),
        ("tenant=acme", &[]),
    ] {
        assert_eq!(messages(&sluice.api(&format!("/api/v1/logs?{query}")).await), expected, "{query}");
    }
    for wrong in [
        "order=up",
        "from=yesterday",
        "after=x",
        "batch_size=many",
        "batch_size=0",
        "batch_size=1001",
        "page=2",
    ] {
        assert_eq!(sluice.get(&format!("/api/v1/logs?{wrong}")).await.status, 400, "{wrong}");
    }
    assert!(sluice.metric("sluice_memory_bytes", &[]).await > 0.0, "they count against limits.memory");
    sluice.reconfigure(&debug(OPEN)).await;
    assert_eq!(sluice.get("/api/v1/logs").await.status, 404);
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}
