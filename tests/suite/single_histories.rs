//! The histories of single streams and single tenants.

use rig::sink::{Fault, Sink};
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{entry_of, request, resource};
use crate::support::sinks;
use crate::support::yaml::{self, QUICK};
use crate::support::{Sluice, eventually};

/// Acme's records go to an upstream, globex's to one that takes nothing.
fn config(well: &Sink, failing: &Sink, rest: &str) -> String {
    yaml::exporters(&[
        ("otlp_http/well", yaml::to(&well.url(), &[])),
        ("otlp_http/failing", yaml::to(&failing.url(), &[QUICK])),
    ]) + &format!(
        "tenants: {{ list: [{{ id: acme }}, {{ id: globex }}, {{ id: silent }}] }}\n\
         routes:\n\
         \x20 - {{ tenants: acme, key: {{ service: service.name }}, exporters: [otlp_http/well] }}\n\
         \x20 - {{ tenants: '*', key: service.name, exporters: [otlp_http/failing] }}\n{rest}"
    )
}

async fn send(sluice: &Sluice, tenant: &str, service: &str, texts: &[&str]) {
    let resource = resource(&[("tenant.id", tenant), ("service.name", service)]);
    sluice.accept(Signal::Logs, request(&[entry_of(Signal::Logs, resource, texts)])).await;
}

async fn history(sluice: &Sluice, query: &str) -> Value {
    sluice.api(&format!("/api/v1/history?{query}")).await
}

/// What a figure has come to over all steps: each value is how much a second of some five.
fn sum(history: &Value, figure: &str) -> f64 {
    let values = history["series"][figure].as_array().unwrap();
    assert_eq!(values.len(), 180);
    5.0 * values.iter().filter_map(Value::as_f64).sum::<f64>()
}

fn last(history: &Value, figure: &str) -> Value {
    history["series"][figure].as_array().unwrap().last().unwrap().clone()
}

/// Waits until a history has come to about so many records more than `before`.
async fn delivered(sluice: &Sluice, query: &str, before: f64, records: f64) -> Value {
    eventually(&format!("{records} records more are in the history of {query}"), async || {
        let shown = history(sluice, query).await;
        let more = sum(&shown, "exported_records") - before;
        // On a busy machine a step is longer than it is said to be, and a second of it has fewer of them.
        (0.4 * records..=1.1 * records).contains(&more).then_some(shown)
    })
    .await
}

const OF_ACME: &str = "exporter=otlp_http/well&signal=logs&tenant=acme&key=web";
const OF_GLOBEX: &str = "range=15m&exporter=otlp_http/failing&signal=logs&tenant=globex&key=api";

#[tokio::test]
async fn streams_and_tenants_have_a_history_from_their_first_record_on_which_goes_on_over_a_reload() {
    let (well, failing) = (sinks::counting().await, sinks::counting().await);
    failing.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&well, &failing, "")).await;
    send(&sluice, "acme", "web", &["x"; 100]).await;
    send(&sluice, "globex", "api", &["y"]).await;
    for query in ["tenant=acme", OF_ACME] {
        let shown = delivered(&sluice, query, 0.0, 100.0).await;
        assert_eq!((&shown["range"], &shown["step_seconds"]), (&json!("15m"), &json!(5)));
        assert!(shown["began"].as_str() > shown["from"].as_str(), "{shown}");
        assert_eq!((last(&shown, "pending_bytes"), sum(&shown, "failed_attempts")), (json!(0.0), 0.0));
        assert_eq!(shown["series"]["exported_records"][0], Value::Null);
    }
    let waiting = sluice.api("/api/v1/tenants/globex").await["pending_bytes"].as_f64();
    for query in ["tenant=globex", OF_GLOBEX] {
        let shown = eventually("its failed attempts and what waits are in its history", async || {
            let shown = history(&sluice, query).await;
            let is_told =
                sum(&shown, "failed_attempts") > 0.0 && last(&shown, "pending_bytes").as_f64() == waiting;
            is_told.then_some(shown)
        })
        .await;
        assert_eq!(sum(&shown, "exported_records"), 0.0);
    }
    // The exporter's has what went to it from all tenants, and is asked for without the name of any.
    let of_exporter = delivered(&sluice, "exporter=otlp_http/well", 0.0, 100.0).await;
    assert_eq!(of_exporter["began"], Value::Null);

    sluice
        .reconfigure(
            &config(&well, &failing, "unrouted: drop\n").replace("id: acme", "id: acme, hold: false"),
        )
        .await;
    let mut before = Vec::new();
    for query in ["tenant=acme", OF_ACME] {
        before.push((query, sum(&history(&sluice, query).await, "exported_records")));
    }
    send(&sluice, "acme", "web", &["x"; 50]).await;
    failing.set_fault(Fault::none());
    for (query, before) in before {
        delivered(&sluice, query, before, 50.0).await;
    }
    for query in ["tenant=globex", OF_GLOBEX] {
        let shown = delivered(&sluice, query, 0.0, 1.0).await;
        assert_eq!(last(&shown, "pending_bytes"), json!(0.0));
    }
}

#[tokio::test]
async fn what_is_not_delivered_is_in_the_history_of_its_stream_and_tenant() {
    let (well, failing) = (sinks::counting().await, sinks::counting().await);
    failing.set_fault(Fault::status(400));
    let sluice = Sluice::start(&config(&well, &failing, "")).await;
    send(&sluice, "globex", "api", &["a bad record"]).await;
    for query in ["tenant=globex", OF_GLOBEX] {
        eventually("it is told", async || {
            let shown = history(&sluice, query).await;
            // On a busy machine a step is longer than it is said to be, and a second of it has less than a fifth.
            let is_told = |figure| (0.3..=1.1).contains(&sum(&shown, figure));
            (is_told("not_delivered_records") && is_told("failed_attempts")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_has_never_sent_has_an_empty_history_and_what_is_not_there_none() {
    let (well, failing) = (sinks::counting().await, sinks::counting().await);
    let sluice = Sluice::start(&config(&well, &failing, "")).await;
    assert_eq!(sum(&history(&sluice, "tenant=silent").await, "exported_records"), 0.0);
    for (query, status, error) in [
        ("tenant=nobody", 404, "there is no tenant of this id"),
        (OF_ACME, 404, "there is no stream of this name, and was none lately"),
        (
            "range=24h&tenant=silent",
            400,
            "the history of a single stream or tenant goes back 15 minutes: write `range=15m`",
        ),
        (
            "exporter=otlp_http/well&signal=smoke",
            400,
            "`signal` is one of traces, metrics, logs, not `smoke`",
        ),
    ] {
        let answer = sluice.get(&format!("/api/v1/history?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["error"], error, "{query}");
    }
}
