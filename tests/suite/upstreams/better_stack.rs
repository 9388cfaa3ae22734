//! `preset: better_stack`, with a source for each tenant.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::Value;
use sluice::otlp::Signal;

use super::{QUICK, send, texts};
use crate::support::payload::{request, resource};
use crate::support::stand_ins::{BetterStack, StandIn};
use crate::support::yaml::{self, LETTERS, SINGLY};
use crate::support::{Front, Sluice, eventually};

const SOURCES: [(&str, &str); 2] = [("acme", "acme-t0ken"), ("globex", "globex-t0ken")];

const PATIENT: &str = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";

fn config(up: &StandIn<BetterStack>, options: &[&str], acme: &str) -> String {
    let mut all = vec![format!(
        "preset: better_stack, endpoint: 'http://{{{{ tenant.host }}}}', token: '{{{{ tenant.token }}}}'"
    )];
    all.extend(options.iter().map(|option| (*option).to_owned()));
    let host = up.url().replace("http://", "");
    let (host, port) = host.split_once(':').unwrap();
    yaml::exporters(&[(
        "otlp_http/betterstack",
        all.join(", ").replace("tenant.host }}", &format!("tenant.host }}}}:{port}")),
    )]) + &format!(
        "routes: [{{ tenants: '*', key: service.name, exporters: [otlp_http/betterstack] }}]\n\
             tenants:\n  list:\n\
             \x20   - {{ id: acme, values: {{ host: {host}, token: {acme} }} }}\n\
             \x20   - {{ id: globex, values: {{ host: {host}, token: globex-t0ken }} }}\n"
    ) + LETTERS
}

async fn send_as(front: &Front, signal: Signal, tenant: &str, service: &str, texts: &[&str]) {
    send(front, signal, &[("tenant.id", tenant), ("service.name", service)], texts).await;
}

/// Waits until so many streams of a tenant are held.
async fn held(front: &Front, tenant: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} streams of {tenant} are held"), async || {
        let page = front.api(&format!("/api/v1/streams?tenant={tenant}&state=held")).await;
        Some(page["streams"].as_array().unwrap().clone()).filter(|held| held.len() == count)
    })
    .await
}

#[tokio::test]
async fn what_each_client_sends_arrives_in_its_source() {
    let up = BetterStack::start(&SOURCES).await;
    let sluice = Sluice::start(&config(&up, &[], "acme-t0ken")).await;
    for round in 0..3 {
        for tenant in ["acme", "globex"] {
            for signal in Signal::ALL {
                send_as(&sluice, signal, tenant, "web", &[&format!("{tenant} {round}")]).await;
            }
        }
    }
    let taken = up.records(18).await;
    for tenant in ["acme", "globex"] {
        for signal in Signal::ALL {
            assert_eq!(taken.of(tenant, signal), texts(tenant, 3), "{signal}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_over_its_quota_waits_for_an_hour_and_no_other_does() {
    let up = BetterStack::start(&SOURCES).await;
    up.expect(402);
    up.rules.set_over_quota("acme", true);
    let sluice = Sluice::start(&config(&up, &[QUICK, SINGLY], "acme-t0ken")).await;
    send_as(&sluice, Signal::Logs, "acme", "web", &["1"]).await;
    held(&sluice, "acme", 1).await;
    send_as(&sluice, Signal::Traces, "acme", "shop", &["2"]).await;
    send_as(&sluice, Signal::Logs, "globex", "web", &["3"]).await;
    assert_eq!(up.records(1).await.of("globex", Signal::Logs), ["3"]);
    let held = held(&sluice, "acme", 2).await;
    assert_eq!(up.asked().len(), 2, "one question is enough for all of a client: {held:?}");
    assert!(held.iter().all(|stream| stream["last_error"]["code"] == "402"), "{held:?}");
    // Another row of the tenant, as after a change of its plan, asks again.
    up.rules.set_over_quota("acme", false);
    let changed = config(&up, &[QUICK, SINGLY], "acme-t0ken")
        .replace("id: acme, values: {", "id: acme, values: { plan: large,");
    sluice.reconfigure(&changed).await;
    let taken = up.records(3).await;
    assert_eq!((taken.of("acme", Signal::Logs).len(), taken.of("acme", Signal::Traces).len()), (1, 1));
}

#[tokio::test]
async fn the_token_of_a_source_that_is_being_rotated_is_tried_after_the_new_one() {
    let up = BetterStack::start(&SOURCES).await;
    up.expect(401);
    let sluice = Sluice::start(&config(&up, &[PATIENT], "[not-yet, acme-t0ken]")).await;
    send_as(&sluice, Signal::Logs, "acme", "web", &["1"]).await;
    assert_eq!(up.records(1).await.of("acme", Signal::Logs), ["1"]);
}

#[tokio::test]
async fn a_token_that_is_unknown_holds_its_clients_streams_and_loses_nothing() {
    let up = BetterStack::start(&SOURCES).await;
    up.expect(401);
    let sluice = Sluice::start(&config(&up, &[QUICK], "unknown")).await;
    send_as(&sluice, Signal::Logs, "acme", "web", &["1"]).await;
    let held = held(&sluice, "acme", 1).await;
    assert!(held[0]["last_error"]["message"].as_str().unwrap().contains("Unauthorized"), "{held:?}");
    sluice.reconfigure(&config(&up, &[QUICK], "acme-t0ken")).await;
    assert_eq!(up.records(1).await.of("acme", Signal::Logs), ["1"]);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_divided_until_it_is_taken() {
    let up = BetterStack::start_with_limit(&SOURCES, 4 << 10).await;
    up.expect(413);
    let sluice = Sluice::start(&config(&up, &[QUICK], "acme-t0ken")).await;
    let random = |_| (0..1000).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    let records: Vec<String> = (0..32).map(random).collect();
    let all: Vec<&str> = records.iter().map(String::as_str).collect();
    send_as(&sluice, Signal::Logs, "acme", "web", &all).await;
    assert_eq!(up.records(32).await.of("acme", Signal::Logs), all);
    sluice.settled().await;
}

#[tokio::test]
async fn a_span_without_an_end_is_sent_on_as_it_came_and_skipped_there() {
    let up = BetterStack::start(&SOURCES).await;
    up.expect_drops();
    let sluice = Sluice::start(&config(&up, &[], "acme-t0ken")).await;
    let span = |name: &str, end: u64| Span {
        name: name.to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 1,
        end_time_unix_nano: end,
        ..Span::default()
    };
    let spans = vec![span("ended", 2), span("endless", 0), span("last", 3)];
    let entry = ResourceSpans {
        resource: Some(resource(&[("tenant.id", "acme"), ("service.name", "web")])),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    sluice.accept(Signal::Traces, request(&[entry.encode_to_vec()])).await;
    let taken = up.records(2).await;
    assert_eq!(
        (taken.of("acme", Signal::Traces), taken.dropped),
        (vec!["ended".to_owned(), "last".to_owned()], vec!["endless".to_owned()])
    );
}
