//! OTLP/JSON as senders and upstreams meet it: taken, answered, cut out of, refused, and sent on.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use rig::send::{Load, SendEncoding, SendSettings};
use rig::sink::Fault;
use serde_json::{Value, json};
use sluice::otlp::{self, Signal};

use crate::support::letters::wait_for_letters;
use crate::support::payload::{KEY, entry, field, logs, request};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{Sluice, SluiceProcess, http};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn start(url: &str) -> Sluice {
    Sluice::start(&(yaml::up(url, &[QUICK]) + LETTERS)).await
}

/// Posts JSON; the status, and the answer, which is JSON, too.
async fn post(sluice: &Sluice, path: &str, body: impl Into<bytes::Bytes>) -> (u16, Value) {
    post_with(sluice, path, body, &[JSON]).await
}

async fn post_with(
    sluice: &Sluice,
    path: &str,
    body: impl Into<bytes::Bytes>,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let answer = http::send(sluice.otlp, "POST", path, headers, body.into()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    (answer.status, serde_json::from_slice(&answer.body).expect("the answer is JSON"))
}

/// What a request in protobuf is in JSON.
fn json_of(signal: Signal, request: &[u8]) -> Vec<u8> {
    let mut json = Vec::new();
    otlp::write_request(signal, &[request], &mut json);
    json
}

fn resource(stream: &str) -> Value {
    json!({ "attributes": [{ "key": KEY, "value": { "stringValue": stream } }] })
}

#[tokio::test]
async fn rules_26_27_and_46_json_is_taken_on_the_same_paths_and_answered_in_json() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    for signal in Signal::ALL {
        let paths = [signal.path().to_owned(), format!("/otlp{}", signal.path())];
        for (path, kind) in paths.iter().zip(["application/json", "Application/JSON; charset=utf-8"]) {
            let body = request(&[entry(signal, "a", &[path])]);
            let answer = post_with(&sluice, path, json_of(signal, &body), &[("content-type", kind)]).await;
            assert_eq!(answer, (200, json!({})), "{path}");
        }
        sluice.settled().await;
        assert_eq!(up.entries(signal), paths.map(|path| entry(signal, "a", &[&path])), "bytes are prost's");
    }
    assert!(up.taken().iter().all(|request| request.headers["content-type"] == "application/x-protobuf"));
}

#[tokio::test]
async fn rule_35_an_empty_request_in_json_succeeds() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    for body in ["{}", r#"{"resourceLogs":[]}"#, "null"] {
        assert_eq!(post(&sluice, "/v1/logs", body).await, (200, json!({})));
    }
    assert_eq!(up.counts().requests, 0);
}

#[tokio::test]
async fn json_is_decompressed_and_both_sizes_are_limited() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(
        &("receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_request_body_size: 100KiB } } } }\n"
            .to_owned()
            + &yaml::up(&up.url(), &[])),
    )
    .await;
    let gzip = |json: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json).unwrap();
        encoder.finish().unwrap()
    };
    let headers = [JSON, ("content-encoding", "gzip")];
    let body = json_of(Signal::Logs, &logs(&[("a", &["small"])]));
    assert_eq!(post_with(&sluice, "/v1/logs", gzip(&body), &headers).await, (200, json!({})));
    let spaces = [&body[..], &vec![b' '; 100 << 10]].concat();
    for (body, headers) in [(gzip(&spaces), &headers[..]), (spaces, &headers[..1])] {
        let (status, error) = post_with(&sluice, "/v1/logs", body, headers).await;
        assert_eq!((status, &error["code"]), (413, &json!(8)));
    }
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["small"]);
}

#[tokio::test]
async fn rule_11_what_is_wrong_in_json_is_cut_out_named_and_kept_and_the_rest_is_taken() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let log = |text: &str| json!({ "body": { "stringValue": text } });
    let wrong = json!({ "traceId": "short" });
    let body = json!({ "resourceLogs": [
        { "resource": resource("a"), "scopeLogs": [{ "logRecords": [log("before"), wrong, log("after")] }] },
        { "scopeLogs": [{ "logRecords": [log("unrouted")] }] },
        7,
    ]})
    .to_string();
    let (status, answer) = post(&sluice, "/v1/logs", body.clone()).await;
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (200, &json!("3")));
    let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    for expected in [
        format!(
            "resourceLogs[0].scopeLogs[0].logRecords[1].traceId at byte {}",
            body.find("\"short\"").unwrap()
        ),
        format!("resourceLogs[2] at byte {}: must be an object", body.len() - 3),
        KEY.to_owned(),
    ] {
        assert!(message.contains(&expected), "{expected}: {message}");
    }
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["before", "after"]);

    let letters = wait_for_letters(&sluice.directory().join("letters"), 2).await;
    let lines: Vec<Value> =
        letters.iter().map(|letter| serde_json::from_slice(&letter.bytes).expect("a line of JSON")).collect();
    let scope = json!({ "logRecords": [wrong] });
    assert_eq!(lines[0], json!({ "resourceLogs": [{ "resource": resource("a"), "scopeLogs": [scope] }] }));
    assert_eq!(lines[1], json!({ "resourceLogs": [7] }));
    for letter in &letters {
        assert_eq!((letter.text("encoding"), letter.records()), ("json", 1));
    }
    assert_eq!(sluice.metric("sluice_received_records_total", &[("outcome", "rejected")]).await, 3.0);
    assert_eq!(sluice.metric("sluice_received_bytes_total", &[("signal", "logs")]).await, body.len() as f64);
}

#[tokio::test]
async fn rule_40_broken_json_and_json_of_which_nothing_is_valid_are_400_with_a_path() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let good = json!({ "resource": resource("a"), "scopeLogs": [{ "logRecords": [{}] }] }).to_string();
    for (body, field) in [
        (format!(r#"{{"resourceLogs":[{good},{{"scopeLogs":[}}]}}"#), "resourceLogs[1].scopeLogs[0]"),
        (format!(r#"{{"resourceLogs":[{good}]"#), "ExportLogsServiceRequest"),
        (r#"{"resourceLogs":[{"scopeLogs":{}}]}"#.to_owned(), "resourceLogs[0].scopeLogs"),
        ("resourceLogs".to_owned(), "ExportLogsServiceRequest"),
        (format!("{{\"resourceLogs\":[{good}]}}\n").repeat(2), "ExportLogsServiceRequest"),
        (String::new(), "ExportLogsServiceRequest"),
    ] {
        let (status, error) = post(&sluice, "/v1/logs", body.clone()).await;
        assert_eq!((status, &error["code"]), (400, &json!(3)), "{body}");
        assert!(error["message"].as_str().unwrap().contains("byte "), "{error}");
        let violation = &error["details"][0]["fieldViolations"][0];
        assert_eq!(violation["field"], json!(field), "{body}");
    }
    assert_eq!(up.counts().requests, 0, "nothing of a broken document is taken");
}

#[tokio::test]
async fn the_three_bodies_that_better_stack_documents_for_curl_are_taken() {
    let up = sinks::recording().await;
    let yaml = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))])
        + "routes: [{ match: { service.name: '*' }, key: service.name, exporters: [otlp_http/up] }]\n";
    let sluice = Sluice::start(&yaml).await;
    for body in [
        include_str!("../fixtures/better_stack/single_span.json"),
        include_str!("../fixtures/better_stack/spans_with_attributes.json"),
        include_str!("../fixtures/better_stack/spans_with_events.json"),
    ] {
        assert_eq!(post(&sluice, "/v1/traces", body).await, (200, json!({})));
    }
    sluice.settled().await;
    let mut names = up.texts(Signal::Traces);
    names.sort();
    assert_eq!(names, ["INSERT orders", "POST /orders", "all that a span needs", "send newsletter"]);
}

#[tokio::test]
async fn batches_go_out_as_json_plain_and_compressed_and_count_protobuf() {
    let codings = [
        ("none", None),
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("snappy", Some("snappy")),
        ("lz4", Some("lz4")),
    ];
    for (compression, coding) in codings {
        let up = sinks::recording().await;
        let options =
            format!("endpoint: '{}', compression: {compression}, encoding: json, {}", up.url(), yaml::SINGLY);
        let sluice = Sluice::start(
            &(yaml::exporters(&[("otlp_http/up", options)]) + &yaml::by_stream("otlp_http/up")),
        )
        .await;
        for signal in Signal::ALL {
            let body = request(&[entry(signal, "a", &["x", "y"])]);
            sluice.accept(signal, body.clone()).await;
            sluice.settled().await;
            assert_eq!(up.bodies(signal), [body], "what is sent stands for what came");
        }
        for request in up.taken() {
            assert_eq!(request.headers["content-type"], "application/json");
            assert_eq!(
                request.headers.get("content-encoding").map(|coding| coding.to_str().unwrap()),
                coding
            );
            assert_eq!(request.wire_body.starts_with(br#"{"resource"#), coding.is_none());
        }
    }
}

#[tokio::test]
async fn an_upstreams_answers_in_json_are_understood() {
    let up = sinks::recording().await;
    up.script([Fault::partial_success(1, "too old")]);
    let options = format!("endpoint: '{}', encoding: json, {}", up.url(), yaml::SINGLY);
    let sluice =
        Sluice::start(&(yaml::exporters(&[("otlp_http/up", options)]) + &yaml::by_stream("otlp_http/up")))
            .await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x", "y"])])).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "rejected"), 1.0);
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 1.0);
}

#[tokio::test]
async fn a_load_of_json_arrives_whole_and_in_order() {
    let up = sinks::counting().await;
    let sluice = start(&up.url()).await;
    for signal in Signal::ALL {
        let settings = SendSettings {
            signal,
            encoding: SendEncoding::Json,
            requests: Some(50),
            connections: 3,
            streams: 7,
            ..SendSettings::new(sluice.url())
        };
        let report = Load::start(settings).unwrap().finish().await;
        assert!(report.all_taken(), "{report}");
    }
    sluice.settled().await;
    let counts = up.counts();
    assert_eq!(counts.records, 3 * 50 * 10 * 20);
    assert!(counts.in_order(), "{counts:?}");
}

/// The partial success of a 200 in which nothing was rejected.
fn warning(answer: &(u16, Value)) -> String {
    assert_eq!(answer.0, 200, "{answer:?}");
    let partial = answer.1["partialSuccess"].as_object().expect("there is something to say");
    assert_eq!(partial.keys().collect::<Vec<_>>(), ["errorMessage"], "nothing was rejected");
    partial["errorMessage"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn several_documents_in_one_body_are_400_that_says_so() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    let line =
        json!({ "resourceLogs": [{ "resource": resource("a"), "scopeLogs": [{ "logRecords": [{}] }] }] });
    let (status, error) = post(&sluice, "/v1/logs", format!("{line}\n{line}\n")).await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().unwrap().contains("more than one JSON document"), "{error}");
    assert_eq!(up.counts().requests, 0, "not even the first is taken: it would be sent again");
}

#[tokio::test]
async fn what_is_no_otlp_but_json_is_200_with_a_warning_a_line_and_a_count() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[QUICK]), &[]).await;
    let post = async |signal: Signal, body: &str| {
        let answer = http::send(sluice.otlp, "POST", signal.path(), &[JSON], body.to_owned().into()).await;
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    for (signal, body, name, expected) in [
        (Signal::Logs, r#"{"timestamp":1,"body":"x"}"#, "`timestamp`", "`resourceLogs` is expected"),
        (Signal::Logs, r#"{"logRecords":[{"body":{"stringValue":"x"}}]}"#, "`logRecords`", "`resourceLogs`"),
        (
            Signal::Logs,
            r#"{"resourceLogs":[{"logRecords":[{}]}]}"#,
            "`resourceLogs[0].logRecords`",
            "`scopeLogs`",
        ),
        (
            Signal::Traces,
            r#"{"resourceSpan":[{"scopeSpans":[{"spans":[{}]}]}]}"#,
            "`resourceSpan`",
            "`resourceSpans`",
        ),
        (
            Signal::Metrics,
            r#"{"resourceMetrics":[{"scope_metric":[{}]}]}"#,
            "`resourceMetrics[0].scope_metric`",
            "`scopeMetrics`",
        ),
    ] {
        let message = warning(&post(signal, body).await);
        assert!(message.contains(name) && message.contains(expected), "{message}");
    }
    for name in ["`timestamp`", "`resourceSpan`", "`resourceMetrics[0].scope_metric`"] {
        sluice.logged(name).await;
    }
    let count = async |signal: Signal| {
        sluice.metrics().await.sum("sluice_received_ignored_parts_total", &[("signal", signal.name())])
    };
    assert_eq!(
        (count(Signal::Logs).await, count(Signal::Traces).await, count(Signal::Metrics).await),
        (3.0, 1.0, 1.0)
    );
    // The same in protobuf: another message than a request.
    let answer = sluice.post(Signal::Logs, field(9, "another message")).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("there is something to say");
    assert_eq!(rejected, 0);
    assert!(message.contains("`9`") && message.contains("`resource_logs` (field 1)"), "{message}");
    assert_eq!(count(Signal::Logs).await, 4.0);
}

#[tokio::test]
async fn old_members_arrive_as_the_new_ones_alone_and_are_nothing_beside_them() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    for (signal, records, new, olds) in [
        (Signal::Traces, "spans", "scopeSpans", ["instrumentationLibrarySpans", "deprecatedScopeSpans"]),
        (
            Signal::Metrics,
            "metrics",
            "scopeMetrics",
            ["instrumentationLibraryMetrics", "deprecatedScopeMetrics"],
        ),
        (Signal::Logs, "logRecords", "scopeLogs", ["instrumentationLibraryLogs", "deprecatedScopeLogs"]),
    ] {
        let record = match signal {
            Signal::Traces => {
                json!({ "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "n" })
            }
            Signal::Metrics => json!({ "name": "n", "gauge": { "dataPoints": [{ "asInt": "1" }] } }),
            Signal::Logs => json!({ "body": { "stringValue": "n" } }),
        };
        let scopes = json!([{ records: [record] }]);
        let mut sent = 0;
        for old in olds {
            for (value, beside) in [
                (json!(null), true),
                (json!([]), true),
                (json!({}), true),
                (scopes.clone(), true),
                (scopes.clone(), false),
            ] {
                let mut entry = json!({ "resource": resource("a"), old: value });
                if beside {
                    entry[new] = scopes.clone();
                }
                let body = json!({ signal.json_entry_field(): [entry] }).to_string();
                assert_eq!(post(&sluice, signal.path(), body.clone()).await, (200, json!({})), "{body}");
                sent += 1;
            }
        }
        sluice.settled().await;
        let today =
            json!({ signal.json_entry_field(): [{ "resource": resource("a"), new: scopes }] }).to_string();
        let today = otlp::read_request(signal, today.as_bytes(), &mut |_| true).expect("it is JSON").bytes;
        let arrived = up.entries(signal);
        assert_eq!(arrived.len(), sent);
        for entry in arrived {
            assert_eq!(request(&[entry]), today);
        }
    }
}

#[tokio::test]
async fn field_1000_alone_arrives_as_field_2_and_beside_it_as_it_was() {
    let up = sinks::recording().await;
    let sluice = start(&up.url()).await;
    for signal in Signal::ALL {
        let today = entry(signal, "a", &["n"]);
        let (resource, scope) = today.split_at(2 + usize::from(today[1]));
        assert_eq!((resource[0], scope[0], usize::from(scope[1])), (0x0a, 0x12, scope.len() - 2));
        let old = field(1000, &scope[2..]);
        let both = [&today, &old[..]].concat();
        sluice.accept(signal, request(&[[resource, &old].concat()])).await;
        sluice.accept(signal, request(&[&both])).await;
        sluice.settled().await;
        assert_eq!(up.entries(signal), [today, both], "{signal}");
    }
    let counted = sluice.metric("sluice_received_records_total", &[("outcome", "accepted")]).await;
    assert_eq!(counted, 6.0, "what stands beside field 2 is no record");
}
