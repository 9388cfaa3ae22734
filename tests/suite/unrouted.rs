//! What no route takes: refused with the status that is configured, or kept as dead letters until there is a route.

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use tonic::Code;

use crate::support::grpc::{call, export, framed};
use crate::support::letters::{Letter, letters, replay, wait_for_letters};
use crate::support::payload::{KEY, entries, entry_of, field, request, resource, texts};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{Sluice, eventually, http};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn entry(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    entry_of(Signal::Logs, resource(attributes), &[text])
}

fn log(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    request(&[entry(attributes, text)])
}

/// A request in JSON, of one record, with or without a resource attribute.
fn json_log(attribute: Option<(&str, &str)>, text: &str) -> Vec<u8> {
    let attributes: Vec<_> = attribute
        .map(|(key, value)| serde_json::json!({ "key": key, "value": { "stringValue": value } }))
        .into_iter()
        .collect();
    serde_json::json!({ "resourceLogs": [{
        "resource": { "attributes": attributes },
        "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": text } }] }],
    }] })
    .to_string()
    .into()
}

async fn post(sluice: &Sluice, content_type: &str, agent: &str, body: Vec<u8>) -> http::Answer {
    let headers = [("content-type", content_type), ("user-agent", agent)];
    http::send(sluice.otlp, "POST", "/v1/logs", &headers, body.into()).await
}

/// One exporter that says the stream of each request, and these routes; what they don't take becomes dead letters.
fn keeping(up: &Sink, routes: &str) -> String {
    let stream = "headers: { X-Stream: '{{ key }}' }";
    yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[QUICK, stream]))])
        + routes
        + "unrouted: dead_letter\n"
        + LETTERS
}

/// The stream and the text of each record that an upstream has taken, in their order.
fn arrived(up: &Sink) -> Vec<(String, String)> {
    let mut arrived = Vec::new();
    for taken in up.taken() {
        let stream = taken.headers["x-stream"].to_str().unwrap();
        for text in entries(&taken.body).iter().flat_map(|entry| texts(Signal::Logs, entry)) {
            arrived.push((stream.to_owned(), text));
        }
    }
    arrived
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(stream, text)| ((*stream).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn what_no_route_takes_is_kept_with_its_sender_and_sent_in_order_once_there_is_a_route() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&keeping(&up, &yaml::by_stream("otlp_http/up"))).await;
    let agent = "agent/1 ".to_owned() + &"x".repeat(200);
    let by = ("shop", "x");
    let of_protobuf = post(&sluice, PROTOBUF, &agent, log(&[by], "1")).await;
    let of_json = post(&sluice, JSON, &agent, json_log(Some(by), "2")).await;
    for answer in [of_protobuf, of_json] {
        assert_eq!((answer.status, answer.body.len() <= 2), (200, true), "{}", answer.text());
    }
    let body = framed(0, &log(&[by], "3"));
    let reply = call(sluice.otlp, export(Signal::Logs), &[("user-agent", &agent)], body).await;
    assert_eq!((reply.code(), &reply.body[..]), (Code::Ok, &framed(0, b"")[..]));
    let directory = sluice.directory().join("letters");
    let kept = wait_for_letters(&directory, 3).await;
    for letter in &kept {
        let missing = "no route takes these logs: routes look at the resource attributes `s2.stream`";
        assert_eq!((letter.text("reason"), letter.records()), (missing, 1));
        assert_eq!((&letter.note["exporter"], &letter.note["key"]), (&().into(), &().into()));
        let origin = &letter.note["origin"];
        assert_eq!(origin["receiver"], "otlp");
        assert!(origin["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{origin}");
        let named = origin["user_agent"].as_str().unwrap();
        assert!(named.starts_with("agent/1 xxx") && named.chars().count() == 101, "{named}");
    }
    let page = sluice.api("/api/v1/dead-letters").await;
    assert_eq!(page["letters"][2]["origin"], kept[0].note["origin"], "the newest come first");
    let metrics = sluice.settled().await;
    let received = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]);
    assert_eq!((received("dropped"), received("rejected"), received("accepted")), (3.0, 0.0, 0.0));
    let counted = async || {
        let metrics = sluice.metrics().await;
        (metrics.sum("sluice_received_dead_lettered_records_total", &[("signal", "logs")]) >= 3.0)
            .then_some(())
    };
    eventually("the letters are counted", counted).await;

    let (success, output) = replay(&sluice).await;
    let told = "`s2.stream` (s2.stream absent); received by `otlp` from 127.0.0.1:";
    assert!(!success && output.contains(told) && output.contains(", user agent `agent/1 xxx"), "{output}");
    assert_eq!(letters(&directory).len(), 3, "what still has no route stays");
    sluice.reconfigure(&keeping(&up, "routes: [{ key: shop, exporters: [otlp_http/up] }]\n")).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up), pairs(&[("x", "1"), ("x", "2"), ("x", "3")]));
    assert_eq!(letters(&directory).len(), 0);
}

#[tokio::test]
async fn a_letter_goes_to_all_its_streams_once_and_what_has_no_route_stays_in_its_place() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    let config = |routes: &str| {
        let stream = "headers: { X-Stream: '{{ key }}' }";
        let to = |sink: &Sink| yaml::to(&sink.url(), &[QUICK, stream]);
        yaml::exporters(&[("otlp_http/up", to(&up)), ("otlp_http/other", to(&other))])
            + routes
            + "unrouted: dead_letter\n"
            + LETTERS
    };
    let sluice = Sluice::start(&config(&yaml::by_stream("otlp_http/up"))).await;
    let (a, b) = (("shop", "a"), ("shop", "b"));
    let first = request(&[
        entry(&[a], "a1"),
        entry(&[b], "b1"),
        entry(&[("till", "5")], "t1"),
        entry(&[(KEY, "taken")], "taken"),
        entry(&[a], "a2"),
    ]);
    sluice.accept(Signal::Logs, first).await;
    sluice.accept(Signal::Logs, request(&[entry(&[a], "a3"), entry(&[("till", "5")], "t2")])).await;
    sluice.settled().await;
    assert_eq!(arrived(&up), pairs(&[("taken", "taken")]));
    let directory = sluice.directory().join("letters");
    let kept = wait_for_letters(&directory, 2).await;
    assert_eq!(kept.iter().map(Letter::records).sum::<u64>(), 6);

    let shops = "routes: [{ match: { shop: '*' }, key: shop, exporters: [otlp_http/up, otlp_http/other] }]\n";
    sluice.reconfigure(&config(shops)).await;
    other.set_fault(Fault::status(406).on_text("a1"));
    let (success, output) = replay(&sluice).await;
    assert!(!success, "{output}");
    let all = pairs(&[("taken", "taken"), ("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")]);
    assert_eq!(arrived(&up), all);
    assert_eq!(arrived(&other), pairs(&[("b", "b1")]), "nothing overtakes what is refused: {output}");
    let left = letters(&directory);
    let of: Vec<_> = left.iter().map(|letter| (letter.text("exporter"), letter.text("key"))).collect();
    assert_eq!(of, [("otlp_http/other", "a"), ("", ""), ("otlp_http/other", "a"), ("", "")]);
    assert!(left[1].text("reason").contains("no route takes these logs"), "{:?}", left[1].note);
    assert_eq!(left[1].note["origin"]["receiver"], "otlp");

    other.clear_faults();
    let tills = shops.replace("}]\n", "}, { key: till, exporters: [otlp_http/other] }]\n");
    sluice.reconfigure(&config(&tills)).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up), all, "nothing twice");
    let rest = pairs(&[("b", "b1"), ("a", "a1"), ("a", "a2"), ("5", "t1"), ("a", "a3"), ("5", "t2")]);
    assert_eq!(arrived(&other), rest);
    assert_eq!(letters(&directory).len(), 0);
}

#[tokio::test]
async fn without_a_directory_what_no_route_takes_is_rejected() {
    let up = sinks::recording().await;
    let config = yaml::up(&up.url(), &[QUICK]) + "unrouted: dead_letter\n";
    let sluice = Sluice::start(&config).await;
    let answer = sluice.post(Signal::Logs, log(&[], "1")).await;
    assert_eq!(answer.partial(Signal::Logs).expect("nothing was taken").0, 1);
}

#[tokio::test]
async fn a_request_that_is_unrouted_to_its_last_record_is_answered_as_configured_and_one_in_part_with_200() {
    let up = sinks::recording().await;
    let config = |status: &str| yaml::up(&up.url(), &[QUICK]) + status;
    let sluice = Sluice::start(&config("")).await;
    let grpc = async |body: Vec<u8>| call(sluice.otlp, export(Signal::Logs), &[], framed(0, &body)).await;
    let unrouted = request(&[entry(&[("shop", "x")], "1"), entry(&[], "2")]);
    assert_eq!(sluice.post(Signal::Logs, unrouted.clone()).await.partial(Signal::Logs).unwrap().0, 2);
    assert_eq!(grpc(unrouted.clone()).await.code(), Code::Ok);

    sluice.reconfigure(&config("unrouted_status: 400\n")).await;
    let named = "no route takes these logs: routes look at the resource attributes `s2.stream`";
    let answer = post(&sluice, PROTOBUF, "x", unrouted.clone()).await;
    let error = answer.error();
    assert_eq!((answer.status, error.code), (400, 3));
    assert_eq!(error.message, format!("resource_logs[0] (s2.stream absent) and 1 more: {named}"));
    let answer = post(&sluice, JSON, "x", json_log(None, "3")).await;
    let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &error["code"]), (400, &3.into()));
    assert_eq!(error["message"], format!("resourceLogs[0] (s2.stream absent): {named}"));
    let reply = grpc(unrouted.clone()).await;
    assert_eq!(reply.code(), Code::InvalidArgument);
    assert!(reply.message().contains(named), "{}", reply.message());

    let before = sluice.metrics().await;
    let mixed = request(&[entry(&[(KEY, "a")], "taken"), entry(&[], "4")]);
    assert_eq!(sluice.post(Signal::Logs, mixed.clone()).await.partial(Signal::Logs).unwrap().0, 1);
    assert_eq!(grpc(mixed).await.code(), Code::Ok);
    let invalid = field(2, field(2, field(9, "x")));
    let broken = request(&[entry(&[], "5"), invalid]);
    let (rejected, message) = sluice.post(Signal::Logs, broken).await.partial(Signal::Logs).unwrap();
    assert!(
        rejected == 2 && message.contains("a trace id must have 16 bytes"),
        "not for the route alone: {message}"
    );
    assert_eq!(sluice.post(Signal::Logs, Vec::new()).await.status, 200, "an empty request lacks no route");
    let metrics = sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["taken", "taken"]);
    let rejected = [("outcome", "rejected")];
    assert_eq!(before.sum("sluice_received_requests_total", &rejected), 3.0);
    assert_eq!(metrics.sum("sluice_received_requests_total", &rejected), 3.0);
    assert_eq!(before.sum("sluice_received_records_total", &rejected), 9.0);
}

/// Two receivers, of which one asks the table of tenants who sends, and a route for tenants of these ids.
fn of_tenants(up: &Sink, tenants: &str, rows: &str) -> String {
    format!(
        "receivers:\n\
         \x20 otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }}\n\
         \x20 otlp/inside: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }} }} }}\n\
         exporters:\n\
         \x20 otlp_http/up:\n\
         \x20   endpoint: {}\n\
         \x20   compression: none\n\
         \x20   headers: {{ X-Stream: '{{{{ tenant.id }}}} {{{{ tenant.token }}}}' }}\n\
         routes: [{{ tenants: '{tenants}', receivers: [otlp], key: shop, exporters: [otlp_http/up] }}]\n\
         unrouted: dead_letter\n{LETTERS}\
         tenants:\n\
         \x20 unknown: dead_letter\n\
         \x20 stamp: from\n\
         \x20 list:\n\
         \x20   - {{ id: acme, senders: [{{ name: web, token: acme-in }}], values: {{ token: acme-out }} }}\n\
         \x20   - {{ id: proxy, senders: [{{ name: web, token: proxy-in, may_send_for: ['*'] }}], values: {{ token: proxy-out }} }}\n\
         {rows}",
        up.url()
    )
}

#[tokio::test]
async fn a_letter_is_left_where_routes_look_at_headers_of_requests_which_it_does_not_keep() {
    let up = sinks::recording().await;
    let prod = "routes:\n  - { name: prod, match: { request: { X-Env: { not: test } } }, exporters: [otlp_http/up] }\n";
    let sluice = Sluice::start(&keeping(&up, prod)).await;
    let headers = [("content-type", PROTOBUF), ("x-env", "test")];
    http::send(sluice.otlp, "POST", "/v1/logs", &headers, log(&[("shop", "x")], "1").into()).await;
    wait_for_letters(&sluice.directory().join("letters"), 1).await;
    let (success, output) = replay(&sluice).await;
    assert!(!success && output.contains("the route `prod` looks at headers of the request"), "{output}");
    assert!(up.taken().is_empty(), "without its header it would go where it did not");
    // A route before it that asks for nothing of the request takes it.
    let by_shop =
        "routes:\n  - { name: shops, match: { shop: '*' }, exporters: [otlp_http/up] }\n".to_owned();
    sluice.reload(&keeping(&up, &(by_shop + prod.strip_prefix("routes:\n").unwrap()))).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up), pairs(&[("shops", "1")]));
}

#[tokio::test]
async fn the_embedded_configuration_sends_no_letter_that_never_had_an_exporter() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&keeping(&up, &yaml::by_stream("otlp_http/up"))).await;
    post(&sluice, PROTOBUF, "agent", log(&[("shop", "x")], "1")).await;
    wait_for_letters(&sluice.directory().join("letters"), 1).await;
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["replay", "letters"])
        .current_dir(sluice.directory())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("name the configuration by `--config FILE`"), "{said}");
    assert_eq!(letters(&sluice.directory().join("letters")).len(), 1);
}

#[tokio::test]
async fn what_is_replayed_is_its_tenants_and_one_that_was_unknown_is_found_once_it_has_a_row() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&of_tenants(&up, "nobody", "")).await;
    let send = async |token: &str, body: Vec<u8>| {
        let authorization = format!("Bearer {token}");
        let answer = sluice.post_with(Signal::Logs, body, &[("authorization", &authorization)]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{}", answer.text());
    };
    // What it says of itself is overwritten by the stamp.
    send("acme-in", log(&[("shop", "s"), ("from", "globex")], "1")).await;
    send("proxy-in", log(&[("shop", "s"), ("tenant.id", "globex"), ("from", "acme")], "2")).await;
    let directory = sluice.directory().join("letters");
    let kept = wait_for_letters(&directory, 2).await;
    let origin = |at: usize, field: &str| kept[at].note["origin"][field].clone();
    assert_eq!((origin(0, "sender"), origin(0, "tenant")), ("acme".into(), "acme".into()));
    assert_eq!((origin(1, "sender"), origin(1, "tenant")), ("proxy".into(), ().into()));
    assert_eq!(kept[1].text("reason"), "there is no tenant `globex`");
    let page = sluice.api("/api/v1/dead-letters").await;
    assert_eq!(page["letters"][1]["tenant"], "acme");

    let (success, output) = replay(&sluice).await;
    assert!(!success && output.contains("left: there is no tenant `globex`"), "{output}");
    let globex = "\x20   - { id: globex, values: { token: globex-out } }\n";
    sluice.reconfigure(&of_tenants(&up, "*", globex)).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up), pairs(&[("acme acme-out", "1"), ("globex globex-out", "2")]));
    let stamps: Vec<_> = up.taken().iter().map(|taken| stamp(&taken.body)).collect();
    assert_eq!(stamps, ["acme", "globex"]);
}

/// The attribute `from` of the first resource.
fn stamp(body: &[u8]) -> String {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message as _;
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let resource = request.resource_logs[0].resource.clone().unwrap();
    let of = resource.attributes.into_iter().filter(|attribute| attribute.key == "from");
    let values: Vec<_> = of.filter_map(|attribute| attribute.value?.value).collect();
    match &values[..] {
        [Value::StringValue(text)] => text.clone(),
        others => panic!("{others:?}"),
    }
}

#[tokio::test]
async fn a_request_of_foreign_entries_alone_is_forbidden_whatever_unrouted_status_says() {
    let up = sinks::recording().await;
    let rejecting = of_tenants(&up, "nobody", "")
        .replace("unrouted: dead_letter", "unrouted_status: 400")
        .replace("unknown: dead_letter", "unknown: reject")
        .replace("stamp: from", "attribute: tenant.id");
    let sluice = Sluice::start(&rejecting).await;
    let send = async |body: Vec<u8>| {
        sluice.post_with(Signal::Logs, body, &[("authorization", "Bearer acme-in")]).await
    };
    let (own, foreign) = (entry(&[("shop", "s")], "1"), entry(&[("tenant.id", "globex")], "2"));
    assert_eq!(send(request(&[&own])).await.status, 400);
    assert_eq!(send(request(&[&foreign])).await.status, 403);
    assert_eq!(send(request(&[&own, &foreign])).await.partial(Signal::Logs).unwrap().0, 2);
}

/// A kill after the answer would lose what waits in memory.
#[tokio::test]
async fn where_an_answer_promises_that_nothing_is_lost_it_comes_when_the_dead_letters_are_written() {
    let up = sinks::recording().await;
    let kept = tempfile::tempdir().unwrap();
    let journal = format!("journal: {{ directory: '{}/journal' }}\n", kept.path().display());
    for promise in [&journal, "acknowledge: delivered\n", &(journal.clone() + "acknowledge: delivered\n")] {
        let sluice = Sluice::start(&(keeping(&up, &yaml::by_stream("otlp_http/up")) + promise)).await;
        let directory = sluice.directory().join("letters");
        for number in 1..=20 {
            let text = number.to_string();
            let body = request(&[entry(&[("s2.stream", "a")], &text), entry(&[], &text)]);
            let answer = post(&sluice, PROTOBUF, "agent", body).await;
            assert_eq!(answer.status, 200, "{promise}{}", answer.text());
            assert_eq!(letters(&directory).len(), number, "{promise}");
        }
        sluice.settled().await;
        sluice.shut_down().await;
    }
}
