//! Routing keys of named parts: what they name, and what exporters read of them.

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::Sluice;
use crate::support::payload::{entry_of, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};

/// One exporter with these options, and a stream for each tenant and service; a host stands in for a service.
fn config(up: &Sink, options: &str) -> String {
    yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[SINGLY, QUICK, options]))])
        + "routes: [{ key: { tenant: tenant.id, service: [service.name, host.name] }, exporters: [otlp_http/up] }]\n"
}

fn log(attributes: &[(&str, &str)], text: &str) -> Vec<u8> {
    request(&[entry_of(Signal::Logs, resource(attributes), &[text])])
}

/// The streams of the API: key and parts.
async fn streams(sluice: &Sluice) -> Vec<(Value, Value)> {
    let page = sluice.api("/api/v1/streams").await;
    let mut streams: Vec<_> = page["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| (stream["key"].clone(), stream["parts"].clone()))
        .collect();
    streams.sort_by_key(|(key, _)| key.to_string());
    streams
}

#[tokio::test]
async fn exporters_read_the_parts_and_the_api_shows_them() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(
        &up,
        "headers: { X-Tenant: '{{ key.tenant | upper }}', X-Service: '{{ key.service }}', X-Key: '{{ key }}' }",
    ))
    .await;
    sluice.accept(Signal::Logs, log(&[("tenant.id", "acme"), ("service.name", "check/out")], "1")).await;
    sluice
        .accept(Signal::Logs, log(&[("tenant.id", "acme"), ("host.name", "h1"), ("zone", "eu")], "2"))
        .await;
    sluice
        .accept(Signal::Logs, log(&[("tenant.id", "acme"), ("host.name", "h1"), ("zone", "us")], "3"))
        .await;
    sluice.settled().await;
    let sent: Vec<_> = up
        .taken()
        .iter()
        .map(|request| ["x-tenant", "x-service", "x-key"].map(|name| request.headers[name].clone()))
        .collect();
    assert_eq!(sent.iter().filter(|sent| **sent == ["ACME", "check/out", "acme/check%2Fout"]).count(), 1);
    assert_eq!(sent.iter().filter(|sent| **sent == ["ACME", "h1", "acme/h1"]).count(), 2, "{sent:?}");
    assert_eq!(
        streams(&sluice).await,
        [
            (json!("acme/check%2Fout"), json!({ "tenant": "acme", "service": "check/out" })),
            (json!("acme/h1"), json!({ "tenant": "acme", "service": "h1" })),
        ]
    );
    let answer = sluice.post(Signal::Logs, log(&[("tenant.id", "acme")], "4")).await;
    let (records, message) = answer.partial(Signal::Logs).expect("there is no key");
    assert_eq!(records, 1);
    assert!(message.contains("no route"), "{message}");
}

#[tokio::test]
async fn parts_that_run_into_each_other_name_streams_of_their_own() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    for (tenant, service) in [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("a", "b"), ("b", "a")] {
        sluice.accept(Signal::Logs, log(&[("tenant.id", tenant), ("service.name", service)], "x")).await;
    }
    sluice.settled().await;
    let keys: Vec<_> = streams(&sluice).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a%252Fb/c", "a%2Fb/c", "a/b", "a/b%2Fc", "b/a"]);
}

#[tokio::test]
async fn templates_that_come_to_read_another_part_change_no_stream_and_no_order() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&up, "headers: { X-Read: '{{ key.tenant }}' }")).await;
    let entry = |text: &str| log(&[("tenant.id", "acme"), ("service.name", "shop")], text);
    sluice.accept(Signal::Logs, entry("1")).await;
    sluice.accept(Signal::Logs, entry("2")).await;
    sluice.reconfigure(&config(&up, "headers: { X-Read: '{{ key.service }}' }")).await;
    sluice.accept(Signal::Logs, entry("3")).await;
    assert_eq!(streams(&sluice).await.len(), 1);
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3"]);
    let read: Vec<_> = up.taken().iter().map(|request| request.headers["x-read"].clone()).collect();
    assert_eq!(read, ["shop", "shop", "shop"], "what is queued is sent by the settings of now as well");
}

#[tokio::test]
async fn each_part_is_a_directory_of_a_file_exporter() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = format!(
        "exporters: {{ file/local: {{ path: '{}' }} }}\n\
         routes: [{{ key: {{ tenant: tenant.id, service: service.name }}, exporters: [file/local] }}]\n",
        directory.path().display()
    );
    let sluice = Sluice::start(&yaml).await;
    for (tenant, service) in [("acme", "check/out"), ("..", ".."), ("acme", "logs.jsonl")] {
        sluice.accept(Signal::Logs, log(&[("tenant.id", tenant), ("service.name", service)], "x")).await;
    }
    sluice.settled().await;
    for file in ["acme/check%2Fout/logs.jsonl", "%2E./%2E./logs.jsonl", "acme/logs%2Ejsonl/logs.jsonl"] {
        assert!(directory.path().join(file).is_file(), "{file}");
    }
}

#[tokio::test]
async fn a_dead_letter_keeps_the_parts_for_its_replay() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400));
    let letters = tempfile::tempdir().unwrap();
    let yaml = config(&up, "headers: { X-Tenant: '{{ key.tenant }}' }")
        + &format!("dead_letter: {{ directory: '{}' }}\n", letters.path().display());
    let sluice = Sluice::start(&yaml).await;
    sluice.accept(Signal::Logs, log(&[("tenant.id", "acme"), ("service.name", "shop ü")], "x")).await;
    sluice.settled().await;
    let page = sluice.api("/api/v1/dead-letters").await;
    assert_eq!(page["letters"][0]["key"], "acme/shop%20%C3%BC");
    let note = letters.path().join(page["letters"][0]["file"].as_str().unwrap());
    let note: Value = serde_json::from_slice(&std::fs::read(note).unwrap()).unwrap();
    assert_eq!(
        note["parts"],
        json!([{ "name": "tenant", "value": "acme" }, { "name": "service", "value": "shop ü" }])
    );
}

#[tokio::test]
async fn a_template_of_an_exporter_that_reads_an_attribute_refuses_the_reload_and_says_which_key_to_write() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    let answer = sluice.reload(&config(&up, "headers: { X-Zone: '{{ resource[\"zone\"] }}' }")).await;
    assert_eq!(answer.status, 422);
    let said = answer.text();
    assert!(said.contains("service: [service.name, host.name], tenant: tenant.id, zone: zone"), "{said}");
    assert!(said.contains("`{{ key.zone }}` here"), "{said}");
    sluice.accept(Signal::Logs, log(&[("tenant.id", "acme"), ("service.name", "shop")], "x")).await;
    sluice.settled().await;
}
