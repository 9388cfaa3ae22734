//! Reloads that make an exporter's templates read other resource attributes, so that streams are named anew.

use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::Message as _;
use sluice::cli::sink::{Fault, Sink};
use sluice::otlp::Signal;

use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{PATIENCE, Sluice, eventually};

/// One exporter with these headers, and one stream for every value of `s2.stream`.
fn config(up: &Sink, headers: &str) -> String {
    yaml::up(&up.url(), &[SINGLY, QUICK, &format!("headers: {{ {headers} }}")])
}

/// A header that reads an attribute.
fn reads(attribute: &str) -> String {
    format!("x-read: '{attribute} {{{{ resource[\"{attribute}\"] }}}}'")
}

/// A record of the stream `key` whose resource has every attribute that is asked for here, each with the same value.
fn record(key: &str, text: &str) -> Vec<u8> {
    let mut request = ExportLogsServiceRequest::decode(&*logs(&[(key, &[text])])).unwrap();
    for entry in &mut request.resource_logs {
        let value = AnyValue { value: Some(Value::StringValue("x".to_owned())) };
        entry.resource.as_mut().unwrap().attributes.extend(["tenant", "region"].map(|name| KeyValue {
            key: name.to_owned(),
            value: Some(value.clone()),
            ..KeyValue::default()
        }));
    }
    request.encode_to_vec()
}

/// The value of `x-read` that each record was taken with.
fn read(up: &Sink) -> Vec<String> {
    let header = |request: &sluice::cli::sink::RecordedRequest| {
        request.headers.get("x-read").map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    up.taken().iter().map(header).collect()
}

#[tokio::test]
async fn a_reload_that_asks_for_another_attribute_loses_nothing_that_is_queued() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&up, "")).await;
    for text in ["1", "2", "3"] {
        // Without the attribute.
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    sluice.reconfigure(&config(&up, &reads("tenant"))).await;
    up.clear_faults();
    up.wait_for_records(3, PATIENCE).await.unwrap();
    assert_eq!(sluice.settled().await.exported("otlp_http/up", "delivered"), 3.0);
}

#[tokio::test]
async fn a_key_keeps_its_order_through_reloads_that_ask_for_other_attributes() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).on_text("before"));
    let sluice = Sluice::start(&config(&up, "")).await;
    sluice.accept(Signal::Logs, record("a", "before 1")).await;
    sluice.accept(Signal::Logs, record("a", "before 2")).await;
    // The first comes back in the end: it must not take what is sent then to the front.
    let mut number = 2;
    for headers in [reads("tenant"), reads("region"), String::new(), reads("tenant")] {
        sluice.reconfigure(&config(&up, &headers)).await;
        for _ in 0..2 {
            number += 1;
            sluice.accept(Signal::Logs, record("a", &format!("after {number}"))).await;
        }
    }
    sluice.accept(Signal::Logs, record("b", "another key")).await;
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["another key"], "only the key that is held up waits");

    up.clear_faults();
    up.records(11).await;
    let mut expected = vec!["another key".to_owned(), "before 1".to_owned(), "before 2".to_owned()];
    expected.extend((3..=10).map(|number| format!("after {number}")));
    assert_eq!(up.texts(Signal::Logs), expected);
    assert_eq!(sluice.settled().await.exported("otlp_http/up", "delivered"), 11.0);
    // Each by the newest settings that its stream has the attributes for, which may be older than those in use.
    let read = read(&up);
    assert_eq!(read[3..], ["tenant x", "tenant x", "", "", "", "", "tenant x", "tenant x"]);
}

#[tokio::test]
async fn a_stream_that_goes_on_is_sent_by_the_attribute_that_is_asked_for_now() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&config(&up, &reads("tenant"))).await;
    sluice.accept(Signal::Logs, record("a", "1")).await;
    up.records(1).await;
    // Both have the same value, so the identity is the same text.
    sluice.reconfigure(&config(&up, &reads("region"))).await;
    sluice.accept(Signal::Logs, record("a", "2")).await;
    up.records(2).await;
    assert_eq!(read(&up), ["tenant x", "region x"]);
    eventually("the stream of before is gone", async || {
        (sluice.api("/api/v1/streams").await["total"] == 1).then_some(())
    })
    .await;
}

/// The same with a journal below `kept`, and no time for anything at the end.
fn kept(up: &Sink, headers: &str, kept: &Path) -> String {
    config(up, headers) + &format!("journal: {{ directory: '{}' }}\nshutdown_timeout: 0s\n", kept.display())
}

#[tokio::test]
async fn a_key_keeps_its_order_through_a_restart_with_the_attributes_of_before() {
    let directory = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let (before, after) = (kept(&up, "", directory.path()), kept(&up, &reads("tenant"), directory.path()));
    let sluice = Sluice::start(&before).await;
    sluice.accept(Signal::Logs, record("a", "1")).await;
    sluice.reconfigure(&after).await;
    sluice.accept(Signal::Logs, record("a", "2")).await;
    assert!(sluice.shut_down().await.is_empty());
    drop(sluice);

    let sluice = Sluice::start(&before).await;
    sluice.accept(Signal::Logs, record("a", "3")).await;
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3"]);
    assert_eq!(read(&up), ["", "", ""]);
}

#[tokio::test]
async fn what_a_reload_gives_a_destination_is_delivered_before_what_came_since() {
    let directory = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let (fit, unfit) = (kept(&up, "", directory.path()), kept(&up, &reads("tenant"), directory.path()));
    let sluice = Sluice::start(&fit).await;
    for text in ["1", "2"] {
        sluice.accept(Signal::Logs, record("a", text)).await;
    }
    assert!(sluice.shut_down().await.is_empty());
    drop(sluice);

    let sluice = Sluice::start(&unfit).await;
    sluice.accept(Signal::Logs, record("a", "being sent")).await;
    eventually("an attempt was answered", async || {
        (sluice.metric("sluice_export_attempts_total", &[]).await > 0.0).then_some(())
    })
    .await;
    sluice.accept(Signal::Logs, record("a", "3")).await;
    assert_eq!(sluice.metric("sluice_journal_unclaimed_records", &[]).await, 2.0);
    sluice.reconfigure(&fit).await;
    assert_eq!(sluice.metric("sluice_journal_unclaimed_records", &[]).await, 0.0);
    sluice.accept(Signal::Logs, record("a", "4")).await;
    up.clear_faults();
    sluice.settled().await;
    sluice.assert_conserved().await;
    let mut texts = up.texts(Signal::Logs);
    texts.retain(|text| text != "being sent");
    assert_eq!(texts, ["1", "2", "3", "4"]);
    assert!(sluice.shut_down().await.is_empty());
    drop(sluice);

    let sluice = Sluice::start(&fit).await;
    assert_eq!(sluice.metric("sluice_recovered_records_total", &[]).await, 0.0, "nothing of it comes again");
}

#[tokio::test]
async fn attributes_that_come_back_keep_their_place_through_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    let (old, new) = (kept(&up, "", directory.path()), kept(&up, &reads("tenant"), directory.path()));
    let sluice = Sluice::start(&old).await;
    sluice.accept(Signal::Logs, record("a", "1")).await;
    sluice.settled().await;
    up.set_fault(Fault::status(503));
    for (config, text) in [(&new, "2"), (&old, "3"), (&new, "4"), (&old, "5")] {
        sluice.reconfigure(config).await;
        sluice.accept(Signal::Logs, record("a", text)).await;
    }
    assert!(sluice.shut_down().await.is_empty());
    drop(sluice);

    let sluice = Sluice::start(&old).await;
    sluice.accept(Signal::Logs, record("a", "6")).await;
    up.clear_faults();
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn what_comes_behind_what_a_reload_gives_a_destination_stays_behind_it_through_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let (fit, unfit) = (kept(&up, "", directory.path()), kept(&up, &reads("tenant"), directory.path()));
    let mut number = 0;
    // The second of them is given back what the first has queued; the third finds two streams of one name.
    for first in [&fit, &unfit, &fit] {
        let sluice = Sluice::start(first).await;
        sluice.reconfigure(&fit).await;
        for _ in 0..2 {
            number += 1;
            sluice.accept(Signal::Logs, record("a", &number.to_string())).await;
        }
        assert!(sluice.shut_down().await.is_empty());
    }
    up.clear_faults();
    let sluice = Sluice::start(&fit).await;
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3", "4", "5", "6"]);
}
