//! A secret in every place of a record that can hold one, and upstreams that say them back in every form that answers have: none of
//! them in anything that is shown.

use std::collections::HashMap;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use memchr::memmem;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use serde_json::{Value, json};
use sluice::otlp::Signal;
use tokio::process::Command;
use tonic::Code;

use crate::support::grpc::framed;
use crate::support::letters::letters;
use crate::support::own_telemetry::Backend;
use crate::support::payload::{KEY, any_attribute, attribute, field, request, resource_of};
use crate::support::scripted::{Asked, Said, Scripted};
use crate::support::yaml::{LETTERS, QUICK, SINGLY};
use crate::support::{PATIENCE, SluiceProcess, http};

/// What each secret that is a text begins with.
const PLANTED: &str = "hushed-";

/// A number that is a secret for the name of its attribute.
const NUMBER: i64 = 918_273_645_546_372_819;

/// How many of the number's digits are looked for: as many as the answer that is cut keeps of a secret. Fewer would be
/// found by chance in times that have microseconds.
const DIGITS: usize = 9;

/// Places of secrets that records of every signal have. Each is quoted by an answer of its own.
const PLACES: [&str; 7] = ["resource", "scope", "record", "list", "map", "bytes", "number"];

/// Those of one signal alone.
const PLACES_OF: [(Signal, &[&str]); 3] = [
    (Signal::Logs, &["body-text", "body-map"]),
    (Signal::Traces, &["status", "event", "link"]),
    (Signal::Metrics, &["metadata", "point", "exemplar"]),
];

const READER: [(&str, &str); 1] = [("authorization", "Bearer reader-of-pages-0123456789")];

/// The forms of answers in HTTP, each by the path of its exporter.
const FORMS: [&str; 12] = [
    "text", "message", "error", "members", "escaped", "page", "status", "cut", "spaces", "moved", "partial",
    "binary",
];

fn secret(place: &str) -> String {
    match place {
        "number" => NUMBER.to_string(),
        place => format!("{PLANTED}{place}-0451"),
    }
}

fn hidden(key: &str, place: &str) -> KeyValue {
    attribute(key, &secret(place))
}

fn map(pairs: Vec<KeyValue>) -> Any {
    Any::KvlistValue(KeyValueList { values: pairs })
}

/// What records of every signal have.
fn attributes() -> Vec<KeyValue> {
    let text = AnyValue { value: Some(Any::StringValue(secret("list"))) };
    vec![
        hidden("session.token", "record"),
        any_attribute("old.passwords.secret", Any::ArrayValue(ArrayValue { values: vec![text] })),
        any_attribute("login", map(vec![any_attribute("inner", map(vec![hidden("password", "map")]))])),
        any_attribute("raw.secret", Any::BytesValue(secret("bytes").into_bytes())),
        any_attribute("pin.secret", Any::IntValue(NUMBER)),
    ]
}

/// An entry of a signal with all of the secrets that one can have; `key` names its stream.
fn entry(signal: Signal, key: &str) -> Vec<u8> {
    let resource = Some(resource_of(vec![
        attribute(KEY, key),
        attribute("tenant.id", "acme"),
        hidden("db.password", "resource"),
    ]));
    let scope =
        Some(InstrumentationScope { attributes: vec![hidden("api_key", "scope")], ..Default::default() });
    match signal {
        Signal::Logs => {
            let text = format!("login failed: password={} of bob", secret("body-text"));
            let body = |value| Some(AnyValue { value: Some(value) });
            let record =
                |value| LogRecord { body: body(value), attributes: attributes(), ..Default::default() };
            let records =
                vec![record(Any::StringValue(text)), record(map(vec![hidden("password", "body-map")]))];
            let scope_logs = vec![ScopeLogs { scope, log_records: records, ..Default::default() }];
            ResourceLogs { resource, scope_logs, ..Default::default() }.encode_to_vec()
        }
        Signal::Traces => {
            let span = Span {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                name: "login".to_owned(),
                attributes: attributes(),
                events: vec![span::Event {
                    attributes: vec![hidden("token", "event")],
                    ..Default::default()
                }],
                links: vec![span::Link {
                    trace_id: vec![1; 16],
                    span_id: vec![3; 8],
                    attributes: vec![hidden("token", "link")],
                    ..Default::default()
                }],
                status: Some(Status { message: format!("secret={}", secret("status")), code: 2 }),
                ..Default::default()
            };
            let scope_spans = vec![ScopeSpans { scope, spans: vec![span], ..Default::default() }];
            ResourceSpans { resource, scope_spans, ..Default::default() }.encode_to_vec()
        }
        Signal::Metrics => {
            let exemplar = Exemplar {
                filtered_attributes: vec![hidden("token", "exemplar")],
                value: Some(exemplar::Value::AsInt(1)),
                ..Default::default()
            };
            let point = NumberDataPoint {
                attributes: [attributes(), vec![hidden("client_secret", "point")]].concat(),
                exemplars: vec![exemplar],
                value: Some(number_data_point::Value::AsInt(1)),
                ..Default::default()
            };
            let metric = Metric {
                name: "logins".to_owned(),
                metadata: vec![hidden("credential", "metadata")],
                data: Some(Data::Gauge(Gauge { data_points: vec![point] })),
                ..Default::default()
            };
            let scope_metrics = vec![ScopeMetrics { scope, metrics: vec![metric], ..Default::default() }];
            ResourceMetrics { resource, scope_metrics, ..Default::default() }.encode_to_vec()
        }
    }
}

/// Every signal with each of the places that it has.
fn places() -> impl Iterator<Item = (Signal, &'static str)> {
    PLACES_OF
        .into_iter()
        .flat_map(|(signal, own)| PLACES.iter().chain(own).map(move |place| (signal, *place)))
}

/// The place whose secret the answer to this request quotes: its stream is called so.
fn place_of(asked: &Asked) -> &'static str {
    let is_asked = |place: &str| memmem::find(&asked.body, format!("stream-{place}.").as_bytes()).is_some();
    let found = places().find(|(_, place)| is_asked(place));
    found.expect("each stream is called by a place").1
}

/// An upstream that quotes a secret: as it refuses the credential, as it has no time, and then as it refuses the data.
async fn quoting() -> Scripted {
    let asked_before = Mutex::new(HashMap::<(String, &str), usize>::new());
    Scripted::new(move |asked| {
        let place = place_of(asked);
        let before = {
            let mut asked_before = asked_before.lock();
            let before = asked_before.entry((asked.path.clone(), place)).or_default();
            *before += 1;
            *before - 1
        };
        let secret = secret(place);
        let quote = format!("the value \"{secret}\" is not one that we take");
        if asked.path.starts_with("/opentelemetry") {
            return said_by_grpc(&quote, before);
        }
        let status = *[401, 503].get(before).unwrap_or(&400);
        let form = asked.path.split('/').nth(1).expect("a form");
        said_by_http(form, status, place, &secret, &quote)
    })
    .await
}

fn said_by_grpc(quote: &str, before: usize) -> Said {
    let code = *[Code::Unauthenticated, Code::Unavailable].get(before).unwrap_or(&Code::InvalidArgument);
    if before == 2 {
        let partial = field(1, [vec![0x08, 0x01], field(2, quote)].concat());
        return Said::grpc(&[], framed(0, &partial), &[("grpc-status", "0")]);
    }
    let message = utf8_percent_encode(quote, NON_ALPHANUMERIC).to_string();
    Said::status(code, &[("grpc-message", &message)])
}

fn said_by_http(form: &str, status: u16, place: &str, secret: &str, quote: &str) -> Said {
    let json =
        |status, value: &Value| Said::new(status, &[("content-type", "application/json")], value.to_string());
    let text = |text: String| Said::new(status, &[("content-type", "text/plain")], text);
    match form {
        "text" if place == "bytes" => text(format!("bad bytes {}", BASE64_STANDARD.encode(secret))),
        "message" => json(status, &json!({ "message": quote })),
        "error" => json(status, &json!({ "error": { "message": quote } })),
        "members" => json(
            status,
            &json!({ "errors": [
                { "attribute": { "key": "other.secret", "value": { "stringValue": secret } } },
                { "password": secret, "reason": quote },
            ] }),
        ),
        "escaped" => {
            let escapes = secret.chars().map(|char| format!("\\u{:04x}", u32::from(char)));
            let escaped = escapes.collect::<Vec<_>>().concat();
            let body = format!("{{\"errors\":[{{\"was\":\"{escaped}\",\"but\":\"is not taken\"}}]}}");
            Said::new(status, &[("content-type", "application/json")], body)
        }
        "page" => {
            let page = format!("<!doctype html><title>Bad</title>\n<pre>\n{quote}\n</pre>");
            Said::new(status, &[("content-type", "text/html")], page)
        }
        "status" => Said::new(status, &[("content-type", "application/x-protobuf")], field(2, quote)),
        "moved" if status == 401 => {
            Said::new(302, &[("location", &format!("https://elsewhere.example/{secret}/v1/logs"))], "")
        }
        "text" | "moved" => text(quote.to_owned()),
        // The length at which texts are cut is within the secret, wherever that begins.
        "cut" => text(format!("{} {secret}", "x".repeat(256 - "400 Bad Request: ".len() - 10))),
        "spaces" => text(format!("a{}{secret}", " ".repeat(16 * 1024 - 30 - PLANTED.len()))),
        "partial" => {
            json(200, &json!({ "partialSuccess": { "rejectedLogRecords": "1", "errorMessage": quote } }))
        }
        "binary" => {
            let partial = field(1, field(2, quote));
            Said::new(200, &[("content-type", "application/x-protobuf")], partial)
        }
        form => unreachable!("{form}"),
    }
}

fn config(up: &Scripted, own: &Backend) -> String {
    let exporter = |form| {
        let url = up.url();
        format!("  otlp_http/{form}: {{ endpoint: '{url}/{form}', compression: none, {QUICK}, {SINGLY} }}\n")
    };
    let exporters = FORMS.map(exporter).concat();
    let names: Vec<_> = FORMS.iter().map(|form| format!("otlp_http/{form}")).collect();
    format!(
        "exporters:\n{exporters}  otlp_grpc/up: {{ {grpc}, compression: none, {QUICK}, {SINGLY} }}\n\
         routes: [{{ key: {KEY}, exporters: [{names}, otlp_grpc/up] }}]\n\
         tenants:\n  list: [{{ id: acme }}]\n\
         admin: {{ endpoint: 127.0.0.1:0, read_token: reader-of-pages-0123456789 }}\n{LETTERS}{own}",
        grpc = up.grpc_options(),
        names = names.join(", "),
        own = own.config("sampling: 1"),
    )
}

/// What a page says to a reader.
async fn page(sluice: &SluiceProcess, path: &str) -> String {
    let answer = http::send(sluice.admin, "GET", path, &READER, Bytes::new()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

/// What a command prints.
async fn printed(sluice: &SluiceProcess, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .current_dir(sluice.directory())
        .env("SLUICE_ADMIN_TOKEN", "reader-of-pages-0123456789")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Every page and every list that shows what upstreams have said.
async fn pages(sluice: &SluiceProcess) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in
        ["overview", "streams?limit=1000", "exporters", "tenants", "tenants/acme", "dead-letters?limit=1000"]
    {
        let path = format!("/api/v1/{path}");
        shown.push((path.clone(), page(sluice, &path).await));
    }
    shown.push(("/metrics".to_owned(), page(sluice, "/metrics").await));
    let exporters: Vec<_> =
        FORMS.iter().map(|form| format!("otlp_http/{form}")).chain(["otlp_grpc/up".to_owned()]).collect();
    for exporter in &exporters {
        let path = format!("/api/v1/exporters/{exporter}");
        shown.push((path.clone(), page(sluice, &path).await));
        for (signal, place) in places() {
            let path = format!(
                "/api/v1/streams/one?exporter={exporter}&signal={signal}&tenant=acme&key=stream-{place}."
            );
            shown.push((path.clone(), page(sluice, &path).await));
        }
    }
    let list: Value = serde_json::from_str(&page(sluice, "/api/v1/dead-letters?limit=1000").await).unwrap();
    for letter in list["letters"].as_array().unwrap().iter().step_by(20) {
        let path = format!("/api/v1/dead-letters/{}", letter["file"].as_str().unwrap());
        shown.push((path.clone(), page(sluice, &path).await));
    }
    shown
}

#[tokio::test]
async fn no_secret_of_a_record_is_shown_in_what_an_upstream_says_back() {
    let (up, own) = (quoting().await, Backend::start().await);
    let mut sluice = SluiceProcess::start(&config(&up, &own), &["--log-level", "trace"]).await;
    for (signal, place) in places() {
        let body = request(&[entry(signal, &format!("stream-{place}."))]);
        sluice.accept(signal, body).await;
    }
    sluice.settled().await;
    let directory = sluice.directory().join("letters");
    let reasons: Vec<_> = letters(&directory).iter().map(|letter| letter.text("reason").to_owned()).collect();
    assert!(reasons.len() > 300, "{}", reasons.len());
    let mut shown = pages(&sluice).await;
    let replay = ["replay", "--config", "sluice.yaml", "--exporter"];
    for exporter in ["otlp_http/text", "otlp_http/escaped", "otlp_grpc/up"] {
        for more in [&["--dry-run", "letters"][..], &["letters"]] {
            let args = [&replay[..], &[exporter], more].concat();
            shown.push((format!("{args:?}"), printed(&sluice, &args).await));
        }
    }
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0), "all was refused or taken");
    shown.push(("the log".to_owned(), sluice.log().join("\n")));
    shown.push(("its own log".to_owned(), format!("{:?}", own.logs())));
    shown.push(("its own spans".to_owned(), format!("{:?}", own.spans())));
    shown.extend(reasons.iter().map(|reason| ("a letter's reason".to_owned(), reason.clone())));

    // Of a secret nothing may be seen, also if it is cut.
    let base64 = BASE64_STANDARD.encode(secret("bytes"));
    for (what, text) in &shown {
        for secret in ["hush", &NUMBER.to_string()[..DIGITS], &base64[..8], "\\u0068\\u0075"] {
            if let Some(at) = text.find(secret) {
                let around = &text.as_bytes()[at.saturating_sub(300)..(at + 200).min(text.len())];
                panic!("{secret} is in {what}: {}", String::from_utf8_lossy(around));
            }
        }
    }
    for words in ["is not one that we take", "bad bytes", "is not taken", "<pre>", "[redacted]"] {
        let told = shown.iter().filter(|(_, text)| text.contains(words)).count();
        assert!(told > 3, "{words}: what is no secret is shown, {told} times");
    }
}
