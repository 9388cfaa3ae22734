//! What operators hold by the API: streams and exporters, for a time or until they release them.

use std::path::Path;

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::http::{self, Answer};
use crate::support::payload::{entry_of, logs, request, resource};
use crate::support::router::write_config;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Front, Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";
const READER: &str = "0123456789abcdef-reader";
const WRITER: &str = "0123456789abcdef-writer";

/// What is refused or fails waits for the rest of a test, unless somebody has it try before.
const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

fn config(up: &Sink, rest: &str) -> String {
    config_with(up, &[QUICK, SINGLY], rest)
}

fn config_with(up: &Sink, options: &[&str], rest: &str) -> String {
    yaml::up(&up.url(), options)
        + &format!("admin: {{ endpoint: 127.0.0.1:0, read_token: {READER}, write_token: {WRITER} }}\n{rest}")
}

async fn post_as(front: &Front, token: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    http::send(front.admin, "POST", &format!("/api/v1/{path}"), &headers, body.to_string().into()).await
}

/// Asks for a change that has to be made.
async fn post(front: &Front, path: &str, body: &Value) -> Value {
    let answer = post_as(front, WRITER, path, body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn named(key: &str) -> Value {
    json!({ "exporter": UP, "signal": "logs", "key": key })
}

async fn send(front: &Front, key: &str, text: &str) {
    front.accept(Signal::Logs, logs(&[(key, &[text])])).await;
}

async fn stream(front: &Front, key: &str) -> Value {
    front.api(&format!("/api/v1/streams?key={key}")).await["streams"][0].clone()
}

/// Waits until a stream has something that is held.
async fn held(front: &Front, key: &str) -> Value {
    waits(front, key, "held").await
}

/// Waits until a stream is in this state.
async fn waits(front: &Front, key: &str, state: &str) -> Value {
    eventually(&format!("it is {state}"), async || {
        let shown = stream(front, key).await;
        (shown["state"] == state).then_some(shown)
    })
    .await
}

/// Of the answer to a release, how many streams go on, and how many others are tried.
fn gone_on(answer: &Value) -> (u64, u64) {
    let count = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {answer}"));
    (count("released"), count("tried"))
}

/// Waits until an upstream has a record of this text.
async fn arrives(up: &Sink, text: &str) {
    let is_there = async || up.texts(Signal::Logs).contains(&text.to_owned()).then_some(());
    eventually(&format!("`{text}` arrives"), is_there).await;
}

fn sorted_texts(up: &Sink) -> Vec<String> {
    let mut texts = up.texts(Signal::Logs);
    texts.sort();
    texts
}

#[tokio::test]
async fn a_stream_that_is_held_waits_and_all_others_go_on_until_it_is_released() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
    for key in ["a", "b"] {
        send(&sluice, key, "1").await;
    }
    up.records(2).await;
    let changed = post(&sluice, "streams/hold", &named("a")).await;
    assert_eq!((&changed["key"], &changed["hold"]["until"]), (&json!("a"), &Value::Null), "{changed}");
    let listed = sluice.api("/api/v1/exporters/otlp_http/up").await["held_by_operators"].clone();
    assert_eq!(
        (&listed[0]["key"], &listed[0]["hold"], &listed[1]),
        (&json!("a"), &changed["hold"], &Value::Null)
    );
    for key in ["a", "b"] {
        send(&sluice, key, "2").await;
    }
    up.records(3).await;
    let shown = held(&sluice, "a").await;
    assert_eq!(
        (&shown["hold"]["reason"], &shown["hold"]["scope"]),
        (&json!("held by an operator"), &json!("stream"))
    );
    assert_eq!(
        (&shown["failed_attempts"], &shown["last_error"]),
        (&json!(0), &Value::Null),
        "nothing is wrong"
    );
    assert_eq!(stream(&sluice, "b").await["hold"], Value::Null);
    let one = sluice.api("/api/v1/streams/one?exporter=otlp_http/up&signal=logs&key=a").await;
    assert_eq!(one["hold"], shown["hold"]);
    assert_eq!(sluice.api("/api/v1/exporters").await["exporters"][0]["held_streams"], 1);
    assert_eq!(sluice.metric("sluice_held_streams", &[("exporter", UP)]).await, 1.0);

    assert_eq!(post(&sluice, "streams/release", &named("a")).await["hold"], Value::Null);
    up.records(4).await;
    assert_eq!(
        post(&sluice, "streams/release", &named("a")).await["hold"],
        Value::Null,
        "it is no error again"
    );
    sluice.settled().await;
    for action in ["hold", "release"] {
        let line = sluice.logged(&format!("action=\"{action}\"")).await;
        for part in
            ["what operators hold is changed", UP, "key=\"a\"", "by=\"write_token\"", "peer=127.0.0.1:"]
        {
            assert!(line.contains(part), "{line}");
        }
    }
    assert!(!sluice.log().join("\n").contains(WRITER));
}

#[tokio::test]
async fn an_exporter_that_is_held_sends_nothing_through_reloads_and_another_goes_on() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    let with = |timeout: &str| {
        yaml::exporters(&[
            (UP, yaml::to(&up.url(), &[QUICK, SINGLY, timeout])),
            ("otlp_http/other", yaml::to(&other.url(), &[SINGLY])),
        ]) + &yaml::by_stream("otlp_http/up, otlp_http/other")
            + &format!("admin: {{ endpoint: 127.0.0.1:0, read_token: {READER}, write_token: {WRITER} }}\n")
    };
    let sluice = Sluice::start(&with("timeout: 5s")).await;
    let changed = post(&sluice, "exporters/otlp_http/up/hold", &json!({})).await;
    assert_eq!((&changed["exporter"], &changed["key"]), (&json!(UP), &Value::Null));
    send(&sluice, "a", "1").await;
    other.records(1).await;
    assert_eq!(held(&sluice, "a&exporter=otlp_http/up").await["hold"]["scope"], "exporter");
    write_config(sluice.directory(), &with("timeout: 6s"));
    assert_eq!(post(&sluice, "reload", &Value::Null).await["version"], 2);
    send(&sluice, "b", "2").await;
    other.records(2).await;
    assert_eq!(held(&sluice, "b&exporter=otlp_http/up").await["hold"]["reason"], "held by an operator");
    let shown = sluice.api("/api/v1/exporters/otlp_http%2Fup").await;
    assert!(shown["hold"]["since"].is_string() && shown["held"].is_null(), "{shown}");
    assert_eq!(up.requests().len(), 0);
    post(&sluice, "exporters/otlp_http%2Fup/release", &json!({})).await;
    up.records(2).await;
    assert_eq!(sorted_texts(&up), ["1", "2"]);
    sluice.settled().await;
}

#[tokio::test]
async fn a_hold_for_a_time_ends_by_itself_and_one_of_a_tenants_stream_is_of_that_alone() {
    let up = sinks::recording().await;
    let yaml = yaml::exporters(&[(UP, yaml::to(&up.url(), &[SINGLY]))])
        + &format!(
            "routes: [{{ tenants: '*', key: service.name, exporters: [{UP}] }}]\n\
             tenants: {{ list: [{{ id: acme }}, {{ id: globex }}] }}\n\
             admin: {{ endpoint: 127.0.0.1:0, read_token: {READER}, write_token: {WRITER} }}\n"
        );
    let sluice = Sluice::start(&yaml).await;
    let send = async |tenant: &str, text: &str| {
        let resource = resource(&[("tenant.id", tenant), ("service.name", "web")]);
        sluice.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource, &[text])])).await;
    };
    for tenant in ["acme", "globex"] {
        send(tenant, "1").await;
    }
    up.records(2).await;
    let mut name = json!({ "exporter": UP, "signal": "logs", "tenant": "acme", "key": "web", "for": "1s" });
    let changed = post(&sluice, "streams/hold", &name).await;
    assert!(changed["hold"]["until"].is_string() && changed["tenant"] == "acme", "{changed}");
    for tenant in ["acme", "globex"] {
        send(tenant, tenant).await;
    }
    up.records(4).await;
    assert_eq!(up.texts(Signal::Logs)[2..], ["globex", "acme"], "one waited for its time, the other did not");
    // There is no stream of that key that is nobody's.
    name.as_object_mut().unwrap().shift_remove("tenant");
    assert_eq!(post_as(&sluice, WRITER, "streams/hold", &name).await.status, 404);
}

#[tokio::test]
async fn what_is_held_stays_so_after_a_crash_where_there_is_a_journal() {
    let (up, kept) = (sinks::recording().await, tempfile::tempdir().unwrap());
    let journal = |directory: &Path| format!("journal: {{ directory: '{}/journal' }}\n", directory.display());
    let yaml = config(&up, &journal(kept.path()));
    let mut first = SluiceProcess::start(&yaml, &[]).await;
    for key in ["a", "b", "c"] {
        send(&first, key, "1").await;
    }
    up.records(3).await;
    post(&first, "streams/hold", &named("a")).await;
    post(&first, "streams/hold", &named("c")).await;
    post(&first, "streams/release", &named("c")).await;
    send(&first, "a", "of a").await;
    held(&first, "a").await;
    first.kill().await;

    // What was delivered before a crash may be so again; what is held is not at all.
    let mut second = SluiceProcess::start(&yaml, &[]).await;
    for key in ["b", "c"] {
        send(&second, key, key).await;
        arrives(&up, key).await;
    }
    assert_eq!(held(&second, "a").await["hold"]["reason"], "held by an operator");
    post(&second, &format!("exporters/{UP}/hold"), &json!({ "for": "10m" })).await;
    post(&second, "streams/release", &named("a")).await;
    assert_eq!(held(&second, "a").await["hold"]["scope"], "exporter");
    second.kill().await;

    let third = SluiceProcess::start(&yaml, &[]).await;
    assert!(held(&third, "a").await["hold"]["until"].is_string());
    assert!(!up.texts(Signal::Logs).contains(&"of a".to_owned()));
    post(&third, &format!("exporters/{UP}/release"), &json!({})).await;
    arrives(&up, "of a").await;
    third.settled().await;
}

#[tokio::test]
async fn a_stream_that_is_forgotten_while_it_is_held_is_held_still_and_can_be_released() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    send(&sluice, "a", "1").await;
    sluice.settled().await;
    post(&sluice, "streams/hold", &named("a")).await;
    // Until nothing is known of it but the hold.
    let registry = sluice.router().exporters()[0].registry().clone();
    registry.forget_idle();
    for first in 0..50 {
        let keys: Vec<String> = (0..100).map(|number| format!("other-{first}-{number}")).collect();
        let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (key.as_str(), &["x"][..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
        sluice.settled().await;
        registry.forget_idle();
    }
    let one = async || sluice.get("/api/v1/streams/one?exporter=otlp_http/up&signal=logs&key=a").await;
    assert_eq!(sluice.api("/api/v1/streams?key=a").await["total"], 0);
    let shown: Value = serde_json::from_slice(&one().await.body).unwrap();
    assert_eq!((&shown["live"], &shown["hold"]["scope"]), (&json!(false), &json!("stream")), "{shown}");
    send(&sluice, "a", "2").await;
    held(&sluice, "a").await;
    post(&sluice, "streams/release", &named("a")).await;
    arrives(&up, "2").await;
}

#[tokio::test]
async fn who_may_not_write_and_what_can_not_be_done_changes_nothing_and_is_told() {
    let up = sinks::recording().await;
    let sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
    send(&sluice, "a", "1").await;
    up.records(1).await;
    for path in
        ["streams/hold", "streams/release", "exporters/otlp_http/up/hold", "exporters/otlp_http/up/release"]
    {
        assert_eq!(post_as(&sluice, READER, path, &named("a")).await.status, 403, "{path}");
        assert_eq!(post_as(&sluice, "somebody-else", path, &named("a")).await.status, 401, "{path}");
        let authorization = format!("Bearer {WRITER}");
        let headers = [("authorization", &*authorization)];
        let answer =
            http::send(sluice.admin, "GET", &format!("/api/v1/{path}"), &headers, bytes::Bytes::new()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path}");
    }
    let with = |key: &str, value: Value| {
        let mut body = named("a");
        body[key] = value;
        body
    };
    for (path, body, status, said) in [
        ("streams/hold", with("exporter", json!("otlp_http/gone")), 404, "no such stream"),
        ("streams/hold", named("nobody"), 404, "no such stream"),
        ("streams/release", named("nobody"), 404, "no such stream"),
        ("streams/hold", with("signal", json!("profiles")), 422, "traces, metrics, logs"),
        ("streams/hold", with("signal", Value::Null), 422, "`signal` is missing"),
        ("streams/hold", with("for", json!("soon")), 422, "`for` is a duration"),
        ("streams/hold", with("for", json!("0s")), 422, "`for` is a duration"),
        ("streams/hold", with("for", json!("1ns")), 422, "from a second to a year"),
        ("exporters/otlp_http/up/hold", json!({ "for": "999ms" }), 422, "from a second to a year"),
        ("streams/hold", with("for", json!(10)), 422, "`for` is a text"),
        ("streams/hold", with("until", json!("x")), 422, "exporter, signal, tenant, key and for"),
        ("streams/release", with("for", json!("1m")), 422, "exporter, signal, tenant and key"),
        ("streams/hold", json!([]), 400, "not a JSON object"),
        ("exporters/otlp_http/gone/hold", json!({}), 404, "no exporter `otlp_http/gone`"),
        ("exporters/otlp_http/up/hold", json!({ "key": "a" }), 422, "there is for"),
        ("exporters/otlp_http/up/release", json!({ "for": "1m" }), 422, "there is none"),
    ] {
        let answer = post_as(&sluice, WRITER, path, &body).await;
        let error =
            serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, status, "{path} {body}: {error}");
        assert!(error.contains(said), "{path} {body}: {error}");
    }
    sluice.logged("what operators hold is not changed").await;
    send(&sluice, "a", "2").await;
    up.records(2).await;
    assert_eq!(stream(&sluice, "a").await["hold"], Value::Null);
}

/// What needs attention and is of this kind.
async fn attention(front: &Front, kind: &str) -> Vec<Value> {
    let overview = front.api("/api/v1/overview").await;
    let all = overview["attention"].as_array().unwrap().iter();
    all.filter(|attention| attention["kind"] == kind).cloned().collect()
}

#[tokio::test]
async fn what_is_held_is_told_with_who_holds_it_how_long_and_how_much_waits_and_nothing_else_is() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    for key in ["a", "b"] {
        send(&sluice, key, "1").await;
    }
    up.records(2).await;
    let mut name = named("a");
    name["for"] = json!("10m");
    let hold = post(&sluice, "streams/hold", &name).await["hold"].clone();
    assert_eq!(hold["by"], "the write token, from 127.0.0.1", "{hold}");
    send(&sluice, "a", "2").await;
    held(&sluice, "a").await;
    let told = eventually("what waits is told", async || {
        let told = attention(&sluice, "stream_held").await;
        told.first().filter(|told| told["pending_bytes"].as_u64() > Some(0)).cloned()
    })
    .await;
    assert_eq!((&told["severity"], &told["since"]), (&json!("info"), &hold["since"]));
    assert_eq!(told["subject"], json!({ "kind": "stream", "name": "a" }));
    assert_eq!(told["href"], "/streams/one?exporter=otlp%5Fhttp%2Fup&signal=logs&key=a");
    let text = told["text"].as_str().unwrap();
    let (bytes, before) = (
        told["pending_bytes"].as_u64().unwrap(),
        "otlp_http/up: its stream of logs `a` is held by an operator",
    );
    assert!(
        text.starts_with(&format!(
            "{before} (the write token, from 127.0.0.1) for 0 s, and for 9 min more, {bytes} bytes wait"
        )),
        "{text}"
    );
    let overview = sluice.api("/api/v1/overview").await;
    assert_eq!(
        overview["attention_total"], 1,
        "an upstream that is well is not told of: {}",
        overview["attention"]
    );
    assert_eq!(overview["streams"]["held"], 1);

    post(&sluice, &format!("exporters/{UP}/hold"), &json!({})).await;
    send(&sluice, "b", "2").await;
    held(&sluice, "b").await;
    let [told] = &attention(&sluice, "exporter_held").await[..] else {
        panic!("{}", sluice.api("/api/v1/overview").await)
    };
    assert_eq!((&told["severity"], &told["href"]), (&json!("info"), &json!("/exporters/otlp_http/up")));
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("all its streams are held by an operator (the write token")
            && text.contains("until somebody releases it"),
        "{text}"
    );
    assert_eq!(sluice.api("/api/v1/overview").await["attention_total"], 2);

    post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await;
    post(&sluice, "streams/release", &named("a")).await;
    up.records(4).await;
    assert_eq!(sluice.api("/api/v1/overview").await["attention"], json!([]));
}

#[tokio::test]
async fn many_streams_of_an_exporter_that_are_held_are_told_in_one_sentence() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    for key in ["1", "2", "3", "4", "5", "6"] {
        send(&sluice, key, "x").await;
        sluice.settled().await;
        post(&sluice, "streams/hold", &named(key)).await;
    }
    let [told] = &attention(&sluice, "stream_held").await[..] else { panic!("one sentence") };
    assert_eq!(told["subject"], json!({ "kind": "exporter", "name": UP }));
    assert!(told["text"].as_str().unwrap().contains("6 of its streams are held by operators"), "{told}");
}

#[tokio::test]
async fn a_release_of_what_an_upstream_has_refused_tries_it_at_once_and_nothing_else() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(401));
    let sluice = SluiceProcess::start(&config_with(&up, &[PATIENT, SINGLY], ""), &[]).await;
    for key in ["a", "b"] {
        send(&sluice, key, key).await;
        held(&sluice, key).await;
    }
    let first = stream(&sluice, "a").await;
    let since = first["hold"]["since"].as_str().unwrap_or_else(|| panic!("since when: {first}")).to_owned();

    // It is refused again, and still the same hold.
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("a")).await), (0, 1));
    let again = eventually("it is refused again", async || {
        let shown = held(&sluice, "a").await;
        (shown["failed_attempts"] == 2).then_some(shown)
    })
    .await;
    assert_eq!(again["hold"]["since"], *since);
    assert!(*since <= *again["last_error"]["at"].as_str().unwrap(), "{again}");

    up.clear_faults();
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("a")).await), (0, 1));
    arrives(&up, "a").await;
    assert_eq!(stream(&sluice, "a").await["hold"], Value::Null);
    assert_eq!(
        (held(&sluice, "b").await["failed_attempts"].clone(), up.texts(Signal::Logs)),
        (json!(1), vec!["a".to_owned()])
    );
    assert_eq!(gone_on(&post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await), (0, 1));
    arrives(&up, "b").await;
    sluice.settled().await;
    assert_eq!(gone_on(&post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await), (0, 0));
    let line = sluice.logged("tried=1").await;
    for part in ["what operators hold is changed", "action=\"release\"", "released=0", "by=\"write_token\""] {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn a_release_has_what_waits_to_repeat_an_attempt_repeat_it_and_what_operators_hold_by_itself_wait_on() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config_with(&up, &[PATIENT, SINGLY], "")).await;
    for key in ["a", "b"] {
        send(&sluice, key, key).await;
        waits(&sluice, key, "backing_off").await;
    }
    post(&sluice, "streams/hold", &named("b")).await;
    up.clear_faults();
    assert_eq!(gone_on(&post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await), (0, 1));
    arrives(&up, "a").await;
    // What waits in spite of the hold counts as released, since nothing goes on before.
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("b")).await), (1, 0));
    arrives(&up, "b").await;
}

#[tokio::test]
async fn a_hold_is_as_old_as_the_first_refusal_although_an_attempt_between_was_not_answered() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(401));
    let sluice = Sluice::start(&config_with(&up, &[PATIENT, SINGLY], "")).await;
    send(&sluice, "a", "a").await;
    let since = held(&sluice, "a").await["hold"]["since"].clone();
    assert!(since.is_string(), "{since}");
    up.set_fault(Fault::reset_after(1));
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("a")).await), (0, 1));
    waits(&sluice, "a", "backing_off").await;
    up.set_fault(Fault::status(401));
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("a")).await), (0, 1));
    assert_eq!(held(&sluice, "a").await["hold"]["since"], since);
}

#[tokio::test]
async fn streams_whose_destination_is_away_are_not_tried_by_a_release_and_counted_by_themselves() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = SluiceProcess::start(&config_with(&up, &[PATIENT, SINGLY], ""), &[]).await;
    for key in ["a", "b", "c", "d"] {
        send(&sluice, key, key).await;
        waits(&sluice, key, "backing_off").await;
    }
    // With this one the destination is away, and so it waits for its turn to ask, as the next one does.
    for key in ["e", "f"] {
        send(&sluice, key, key).await;
        waits(&sluice, key, "waiting").await;
    }
    // One may be asking in its turn.
    eventually("all six wait", async || {
        let released = post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await;
        assert_eq!(gone_on(&released), (0, 0), "{released}");
        (released["away"] == 6).then_some(())
    })
    .await;
    let one = post(&sluice, "streams/release", &named("a")).await;
    assert_eq!((gone_on(&one), &one["away"]), ((0, 0), &json!(1)), "{one}");
    sluice.logged("away=6").await;
}

#[tokio::test]
async fn the_streams_that_a_release_of_their_exporter_lets_go_on_are_counted() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    post(&sluice, &format!("exporters/{UP}/hold"), &json!({})).await;
    for key in ["a", "b", "c"] {
        send(&sluice, key, key).await;
        held(&sluice, key).await;
    }
    post(&sluice, "streams/hold", &named("c")).await;
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("a")).await), (0, 0), "its exporter is held");
    assert_eq!(gone_on(&post(&sluice, &format!("exporters/{UP}/release"), &json!({})).await), (2, 0));
    up.records(2).await;
    assert_eq!(sorted_texts(&up), ["a", "b"]);
}

#[tokio::test]
async fn what_is_held_for_the_answer_to_another_stream_is_tried_by_one_and_goes_on_when_that_is_taken() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(402));
    let options = [PATIENT, SINGLY, "statuses: { 402: { hold_exporter: 1h } }"];
    let sluice = Sluice::start(&config_with(&up, &options, "")).await;
    for key in ["a", "b", "c"] {
        send(&sluice, key, key).await;
        held(&sluice, key).await;
    }
    let since = stream(&sluice, "c").await["hold"]["since"].clone();
    let exporter = sluice.api(&format!("/api/v1/exporters/{UP}")).await;
    assert!(since.is_string() && exporter["held"]["since"] == since, "{since}: {}", exporter["held"]);
    assert_eq!(attention(&sluice, "exporter_held").await[0]["since"], since);

    post(&sluice, "streams/release", &named("c")).await;
    eventually("one stream was refused again", async || (up.requests().len() == 2).then_some(())).await;
    assert_eq!(held(&sluice, "c").await["hold"]["since"], since, "it is the same hold");

    up.clear_faults();
    assert_eq!(gone_on(&post(&sluice, "streams/release", &named("c")).await), (0, 1));
    up.records(3).await;
    assert_eq!(
        (sorted_texts(&up).len(), up.requests().len()),
        (3, 5),
        "one had to be taken before the others"
    );
}
