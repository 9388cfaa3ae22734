//! What the processors of routes change in what is sent on, whatever it came in as.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;
use sluice::run::Role;
use tonic::Code;

use crate::support::grpc::{call, export, framed};
use crate::support::letters::{replay, wait_for_letters};
use crate::support::payload::{KEY, attribute, entries, entry_of, filler, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, http};

/// Removes what is personal of log records, and says where they come from.
const PROCESSORS: &str = "processors:
  resource/env: { attributes: [{ key: env, value: prod, action: upsert }] }
  attributes/redact: { actions: [{ key: user.email, action: delete }, { key: card, value: '***', action: update }] }
";

/// A log record of this stream with an e-mail address and a card.
fn personal(stream: &str) -> ResourceLogs {
    let attributes =
        vec![attribute("user.email", "a@b.c"), attribute("card", "4111"), attribute("shop", "1")];
    let log_records = vec![LogRecord { attributes, ..LogRecord::default() }];
    ResourceLogs {
        resource: Some(resource(&[(KEY, stream), ("env", "test")])),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

fn body(stream: &str) -> Vec<u8> {
    request(&[personal(stream).encode_to_vec()])
}

/// Names and texts of attributes.
fn texts(attributes: &[KeyValue]) -> String {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => format!("{}={text}", pair.key),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The attributes of the resource and of the record of each entry that an upstream has taken.
fn arrived(up: &Sink) -> Vec<String> {
    let mut arrived = Vec::new();
    for entry in up.taken().iter().flat_map(|taken| entries(&taken.body)) {
        let entry = ResourceLogs::decode(&*entry).unwrap();
        let resource = texts(&entry.resource.unwrap_or_default().attributes);
        for record in entry.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            arrived.push(format!("{resource} | {}", texts(&record.attributes)));
        }
    }
    arrived
}

const REDACTED: &str = "s2.stream=a env=prod | card=*** shop=1";
const AS_IT_CAME: &str = "s2.stream=a env=test | user.email=a@b.c card=4111 shop=1";

#[tokio::test]
async fn what_a_route_edits_is_edited_however_it_comes_in() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0 }}, grpc: {{ endpoint: 127.0.0.1:0 }} }} }} }}\n{}\
         {PROCESSORS}routes: [{{ key: s2.stream, processors: [resource/env, attributes/redact], exporters: [otlp_http/up] }}]\n",
        yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY]))]),
    ))
    .await;
    sluice.accept(Signal::Logs, body("a")).await;
    let json = serde_json::json!({ "resourceLogs": [personal("a")] }).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, json.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    let reply = call(grpc, export(Signal::Logs), &[], framed(0, &body("a"))).await;
    assert_eq!(reply.code(), Code::Ok, "{}", reply.message());
    sluice.settled().await;
    assert_eq!(arrived(&up), [REDACTED; 3]);
}

#[tokio::test]
async fn a_route_that_continues_edits_its_own_copy_alone() {
    let (edited, plain) = (sinks::recording().await, sinks::recording().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/edited", yaml::to(&edited.url(), &[SINGLY])),
        ("otlp_http/plain", yaml::to(&plain.url(), &[SINGLY])),
    ]);
    let routes = "routes:
  - { key: s2.stream, processors: [resource/env, attributes/redact], exporters: [otlp_http/edited], continue: true }
  - { match: { env: test }, key: s2.stream, exporters: [otlp_http/plain] }
";
    let sluice = Sluice::start(&(exporters + PROCESSORS + routes)).await;
    sluice.accept(Signal::Logs, body("a")).await;
    sluice.settled().await;
    assert_eq!(arrived(&edited), [REDACTED]);
    assert_eq!(arrived(&plain), [AS_IT_CAME], "it is routed by the resource as it came, too");
}

#[tokio::test]
async fn all_exporters_of_a_route_get_the_same_edited_entry() {
    let (one, other) = (sinks::recording().await, sinks::recording().await);
    let exporters = yaml::exporters(&[
        ("otlp_http/one", yaml::to(&one.url(), &[SINGLY])),
        ("otlp_http/other", yaml::to(&other.url(), &[SINGLY])),
    ]);
    let routes = "routes: [{ key: s2.stream, processors: [attributes/redact, resource/env], exporters: [otlp_http/one, otlp_http/other] }]\n";
    let sluice = Sluice::start(&(exporters + PROCESSORS + routes)).await;
    sluice.accept(Signal::Logs, body("a")).await;
    sluice.settled().await;
    assert_eq!((arrived(&one), arrived(&other)), (vec![REDACTED.to_owned()], vec![REDACTED.to_owned()]));
    assert_eq!(one.taken()[0].body, other.taken()[0].body);
}

#[tokio::test]
async fn a_value_may_be_a_template_and_an_entry_without_what_it_reads_is_rejected_with_the_reason() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "{}processors: {{ resource: {{ attributes: [{{ key: way, value: '{{{{ signal }}}}/{{{{ key }}}}/{{{{ resource[\"zone\"] }}}}', \
         action: upsert }}, {{ key: zone, action: delete }}] }} }}\n\
         routes: [{{ name: by-zone, key: s2.stream, processors: [resource], exporters: [otlp_http/up] }}]\n",
        yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY]))]),
    ))
    .await;
    let entry = |attributes: &[(&str, &str)]| entry_of(Signal::Logs, resource(attributes), &["x"]);
    let both = request(&[entry(&[(KEY, "a"), ("zone", "eu")]), entry(&[(KEY, "b")])]);
    let answer = sluice.post(Signal::Logs, both).await;
    let (records, message) = answer.partial(Signal::Logs).expect("one has no zone");
    assert_eq!(records, 1);
    assert!(
        message.contains(
            "the route `by-zone` can't edit it: the resource has no attribute `zone`, which a template needs"
        ),
        "{message}"
    );
    sluice.settled().await;
    assert_eq!(arrived(&up), ["s2.stream=a way=logs/a/eu | "]);
}

#[tokio::test]
async fn a_value_of_the_tenants_row_can_be_written_into_its_data() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, auth: {{ authenticator: tenants }} }} }} }} }}\n{}\
         processors: {{ resource/team: {{ attributes: [{{ key: team, value: '{{{{ tenant.team }}}}-{{{{ tenant.id }}}}', action: insert }}] }} }}\n\
         routes: [{{ tenants: '*', processors: [resource/team], exporters: [otlp_http/up] }}]\n\
         tenants: {{ list: [{{ id: acme, senders: [{{ name: web, token: acme-in }}], values: {{ team: blue }} }}, {{ id: globex, \
         senders: [{{ name: web, token: globex-in }}] }}] }}\n",
        yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY]))]),
    ))
    .await;
    let log = request(&[entry_of(Signal::Logs, resource(&[]), &["x"])]);
    let acme = sluice.post_with(Signal::Logs, log.clone(), &[("authorization", "Bearer acme-in")]).await;
    assert_eq!(acme.partial(Signal::Logs), None, "{acme:?}");
    let globex = sluice.post_with(Signal::Logs, log, &[("authorization", "Bearer globex-in")]).await;
    let (_, message) = globex.partial(Signal::Logs).expect("its row has no team");
    assert!(message.contains("the tenant's row has no value `team`"), "{message}");
    sluice.settled().await;
    assert_eq!(arrived(&up), ["team=blue-acme | "]);
}

#[tokio::test]
async fn a_dead_letter_is_edited_once_and_is_replayed_as_it_is() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400));
    let routes = "routes: [{ key: s2.stream, processors: [attributes/hash], exporters: [otlp_http/up] }]\n";
    let sluice = Sluice::start(&format!(
        "{}processors: {{ attributes/hash: {{ actions: [{{ key: card, action: hash }}, {{ pattern: '^user[.]', action: delete }}] }} }}\n\
         {routes}{LETTERS}",
        yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY, QUICK]))]),
    ))
    .await;
    sluice.accept(Signal::Logs, body("a")).await;
    wait_for_letters(&sluice.directory().join("letters"), 1).await;
    up.clear_faults();
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    // By `printf 4111 | sha256sum`.
    let hash = "1f58dbec71994620de8abe61e744f76da60667b7b277ed4bead710a4b8e31ad0";
    let arrived = arrived(&up);
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].contains(&format!("card={hash}")), "{arrived:?}");
}

#[tokio::test]
async fn a_dead_letter_that_never_had_a_route_is_edited_by_the_route_that_it_gets() {
    let up = sinks::recording().await;
    let config = |routes: &str| {
        yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[QUICK]))])
            + PROCESSORS
            + routes
            + "unrouted: dead_letter\n"
            + LETTERS
    };
    let sluice = Sluice::start(&config("routes: [{ key: shop, exporters: [otlp_http/up] }]\n")).await;
    sluice.accept(Signal::Logs, body("a")).await;
    wait_for_letters(&sluice.directory().join("letters"), 1).await;
    let routes = "routes: [{ key: s2.stream, processors: [resource/env, attributes/redact], exporters: [otlp_http/up] }]\n";
    sluice.reconfigure(&config(routes)).await;
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(arrived(&up), [REDACTED]);
}

#[tokio::test]
async fn what_is_journaled_is_edited() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let config = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY, QUICK]))])
        + PROCESSORS
        + "routes: [{ key: s2.stream, processors: [resource/env, attributes/redact], exporters: [otlp_http/up] }]\n\
           journal: { directory: '@DIR@/journal' }\n";
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, body("a")).await;
    let journal = sluice.directory().join("journal");
    let files =
        std::fs::read_dir(&journal).unwrap().filter_map(|file| std::fs::read(file.unwrap().path()).ok());
    let written: Vec<u8> = files.flatten().collect();
    let holds = |text: &str| written.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("shop") && holds("prod"), "the entry is there");
    assert!(!holds("a@b.c") && !holds("4111"), "and nothing of what is to be removed");
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(arrived(&up), [REDACTED]);
}

#[tokio::test]
async fn an_edited_copy_counts_as_memory_beside_the_request_that_it_is_made_of() {
    let up = sinks::recording().await;
    let start = async |processors: &str| {
        Sluice::start(&format!(
            "{}{PROCESSORS}routes: [{{ key: s2.stream, processors: [{processors}], exporters: [otlp_http/up] }}]\nlimits: {{ memory: \
             1MiB }}\n",
            yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY]))]),
        ))
        .await
    };
    let large = filler("large", 600_000);
    let log = || request(&[entry_of(Signal::Logs, resource(&[(KEY, "a")]), &[&large])]);
    start("").await.accept(Signal::Logs, log()).await;
    // Nothing of it is removed.
    start("attributes/redact").await.accept(Signal::Logs, log()).await;
    let answer = start("resource/env").await.post(Signal::Logs, log()).await;
    let why = "edited, it would take more than `limits.memory`";
    assert!(answer.text().contains(why), "twice as much has no room at any time: {answer:?}");
}
