//! What a removed exporter still does, and the time that it has.

use std::sync::Arc;
use std::time::Duration;

use rig::sink::{Fault, Sink};
use sluice::export::Exporter;
use sluice::otlp::Signal;

use crate::support::payload::logs;
use crate::support::router::write_config;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

/// The only exporter has this name, and fills its batches for longer than anybody waits here.
fn filling(up: &Sink, exporter: &str) -> String {
    let slow = "sending_queue: { batch: { flush_timeout: 5m } }";
    let exporters = yaml::exporters(&[(exporter, yaml::to(&up.url(), &[slow, QUICK]))]);
    format!("{exporters}{}shutdown_timeout: 10m\n", yaml::by_stream(exporter))
}

#[tokio::test]
async fn a_removed_exporter_sends_at_once_what_it_was_still_filling() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&filling(&up, "otlp_http/one")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    assert_eq!(up.counts().requests, 0);
    sluice.reconfigure(&filling(&up, "otlp_http/other")).await;
    up.records(1).await;
    eventually("it is gone, long before its time", async || {
        (sluice.router().exporters().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_exporter_that_comes_back_fills_its_batches_again() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&filling(&up, "otlp_http/one")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["0"])])).await;
    sluice.reconfigure(&filling(&up, "otlp_http/other")).await;
    sluice.reconfigure(&filling(&up, "otlp_http/one")).await;
    up.clear_faults();
    up.records(1).await;
    for text in ["1", "2", "3", "4", "5"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    assert!(sluice.shut_down().await.is_empty());
    assert_eq!(up.texts(Signal::Logs), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(up.taken().len(), 2, "all that came afterwards in one batch");
}

#[tokio::test]
async fn an_exporter_that_comes_back_after_it_was_given_up_is_the_same_one() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let config = |exporter: &str| {
        let exporters = yaml::exporters(&[(exporter, yaml::to(&up.url(), &[QUICK, SINGLY]))]);
        format!("{exporters}{}shutdown_timeout: 0s\n", yaml::by_stream(exporter))
    };
    let sluice = Sluice::start(&config("otlp_http/one")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let one: Arc<Exporter> = sluice.router().exporters()[0].clone();

    tokio::time::pause();
    write_config(sluice.directory(), &config("otlp_http/other"));
    sluice.router().reload("a test").await.unwrap();
    for _ in 0..1000 {
        if one.is_given_up() {
            break;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(one.is_given_up(), "it had no time");
    // At this very moment it is still listed.
    write_config(sluice.directory(), &config("otlp_http/one"));
    sluice.router().reload("a test").await.unwrap();
    tokio::time::resume();

    up.clear_faults();
    sluice.accept(Signal::Logs, logs(&[("a", &["y"])])).await;
    eventually("`other` is gone", async || (sluice.router().exporters().len() == 1).then_some(())).await;
    assert!(Arc::ptr_eq(&sluice.router().exporters()[0], &one) && !one.is_given_up());
    let metrics = sluice.settled().await;
    assert_eq!(metrics.sum("sluice_routed_records_total", &[("exporter", "otlp_http/one")]), 2.0);
    eventually("`y` is delivered", async || {
        up.texts(Signal::Logs).last().filter(|text| *text == "y").map(drop)
    })
    .await;
}

#[tokio::test]
async fn an_exporter_that_is_removed_again_has_the_whole_time_again() {
    let url = format!("http://{}", sinks::nobody().await);
    let config = |exporter: &str, timeout: &str| {
        let exporters = yaml::exporters(&[(exporter, yaml::to(&url, &[]))]);
        format!("{exporters}{}shutdown_timeout: {timeout}\n", yaml::by_stream(exporter))
    };
    let sluice = Sluice::start(&config("otlp_http/one", "1s")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let one: Arc<Exporter> = sluice.router().exporters()[0].clone();

    tokio::time::pause();
    // At one moment, so that the first removal does not notice that it is over.
    for (exporter, timeout) in [("other", "1s"), ("one", "1s"), ("other", "100s")] {
        write_config(sluice.directory(), &config(&format!("otlp_http/{exporter}"), timeout));
        sluice.router().reload("a test").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(!one.is_given_up() && one.registry().pending_records() == 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(one.is_given_up());
    tokio::time::resume();
    eventually("it is gone", async || {
        sluice.router().exporters().iter().all(|exporter| !Arc::ptr_eq(exporter, &one)).then_some(())
    })
    .await;
}
