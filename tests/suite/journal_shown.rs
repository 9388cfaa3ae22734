//! What the metrics and the API show of a journal.

use std::path::Path;

use rig::sink::Fault;
use serde_json::{Value, json};
use sluice::otlp::Signal;

use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Sluice, SluiceProcess, eventually};

const PAGE: &str = "/api/v1/journal";

/// The smallest journal there may be.
fn journal(below: &Path) -> String {
    let below = below.display();
    format!("journal: {{ directory: '{below}/journal', max_size: 16MiB, segment_size: 1MiB }}\n")
}

#[tokio::test]
async fn metrics_and_api_say_what_the_journal_does() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + &journal(kept.path()))).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"]), ("b", &["3"])])).await;
    let metrics = sluice.settled().await;
    let of = |name: &str| metrics.sum(&format!("sluice_journal_{name}"), &[]);
    assert_eq!((of("written_requests_total"), of("commits_total"), of("syncs_total")), (1.0, 1.0, 1.0));
    assert!(of("written_bytes_total") >= logs(&[("a", &["1", "2"]), ("b", &["3"])]).len() as f64);
    assert!(of("commit_seconds_total") >= of("sync_seconds_total") && of("sync_seconds_total") > 0.0);
    assert_eq!(of("limit_bytes"), f64::from(16 << 20));
    assert!((1.0..=f64::from(16 << 20)).contains(&of("bytes")), "{}", of("bytes"));
    assert_eq!(metrics.sum("sluice_journal_segments", &[("state", "used")]), 1.0);
    for nothing in ["failing", "waiting_requests", "unclaimed_records", "carried_bytes_total"] {
        assert_eq!(of(nothing), 0.0, "{nothing}");
    }
    for nothing in ["quarantined_total", "quarantined_bytes_total"] {
        assert_eq!(of(nothing), 0.0, "{nothing}");
    }
    let labels: Vec<&str> = metrics.names().into_iter().filter(|name| name.contains("journal")).collect();
    assert_eq!(labels.len(), 17, "{labels:?}");

    let page = sluice.api(PAGE).await;
    assert_eq!(page["directory"], kept.path().join("journal").to_str().unwrap());
    assert_eq!((&page["sync"], &page["max_size"]), (&json!("always"), &json!(16 << 20)));
    assert_eq!(page["written"]["entries"], 2);
    assert_eq!((&page["settled_entries"], &page["failing"]), (&json!(2), &Value::Null));
    assert_eq!(page["recovery"]["damage"], json!({ "total": 0, "shown": [] }));
    assert_eq!(page["unclaimed"], json!({ "total": 0, "shown": [] }));
}

#[tokio::test]
async fn without_a_journal_the_page_says_so_and_there_are_no_metrics() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    assert_eq!(sluice.api(PAGE).await, json!({ "directory": null }));
    assert!(!sluice.metrics().await.names().iter().any(|name| name.contains("journal")));
}

#[tokio::test]
async fn what_no_configured_exporter_claims_is_kept_and_shown_until_one_does() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    let config = |exporter: &str| {
        let exporters = yaml::exporters(&[(exporter, yaml::to(&up.url(), &[QUICK, SINGLY]))]);
        exporters + &yaml::by_stream(exporter) + &journal(kept.path()) + "shutdown_timeout: 0s\n"
    };
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config("otlp_http/old")).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text]), ("b", &[text])])).await;
    }
    assert!(sluice.shut_down().await.is_empty(), "all of it is in the journal");
    drop(sluice);
    up.clear_faults();

    let process = SluiceProcess::start(&config("otlp_http/new"), &[]).await;
    process.logged("the journal has records of an exporter that the configuration doesn't have").await;
    let shown = process.api(PAGE).await["unclaimed"].clone();
    assert_eq!(shown["total"], 1);
    let left = &shown["shown"][0];
    assert_eq!((&left["exporter"], &left["streams"]), (&json!("otlp_http/old"), &json!(2)));
    assert_eq!(left["records"], 6);
    assert!(left["bytes"].as_u64() > Some(100), "{left}");
    assert_eq!(process.metric("sluice_journal_unclaimed_records", &[]).await, 6.0);
    process.accept(Signal::Logs, logs(&[("a", &["other"])])).await;
    process.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["other"], "nobody else gets it");

    process.write_config(&config("otlp_http/old"));
    up.records(1 + 6).await;
    eventually("it is claimed", async || (process.api(PAGE).await["unclaimed"]["total"] == 0).then_some(()))
        .await;
    let metrics = process.settled().await;
    assert_eq!(metrics.sum("sluice_recovered_records_total", &[("exporter", "otlp_http/old")]), 6.0);
    assert_eq!(metrics.sum("sluice_journal_unclaimed_records", &[]), 0.0);
}

#[tokio::test]
async fn what_is_kept_for_an_exporter_that_a_reload_removed_is_shown_until_it_comes_back() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let with = yaml::up(&up.url(), &[QUICK, SINGLY]) + &journal(kept.path()) + "shutdown_timeout: 0s\n";
    let other = with.replace("otlp_http/up", "otlp_http/other");
    let sluice = Sluice::start(&with).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    sluice.reconfigure(&other).await;
    eventually("it is kept and shown", async || {
        let unclaimed = sluice.api(PAGE).await["unclaimed"].clone();
        (unclaimed["shown"][0]["exporter"] == "otlp_http/up" && unclaimed["shown"][0]["records"] == 3)
            .then_some(())
    })
    .await;
    assert_eq!(sluice.metric("sluice_exported_records_total", &[("exporter", "otlp_http/up")]).await, 0.0);
    up.clear_faults();
    sluice.reconfigure(&with).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["4"])])).await;
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3", "4"]);
    assert_eq!(sluice.api(PAGE).await["unclaimed"]["total"], 0);
}

#[tokio::test]
async fn a_directory_that_is_moved_away_is_shown_with_since_when_and_why_until_it_is_back() {
    let kept = tempfile::tempdir().unwrap();
    let (here, away) = (kept.path().join("journal"), kept.path().join("away"));
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[QUICK]) + &journal(kept.path())), &[]).await;
    std::fs::rename(&here, &away).unwrap();
    let body = logs(&[("a", &[&filler("x", 200_000)])]);
    let refused = eventually("a request is refused", async || {
        let answer = sluice.post(Signal::Logs, body.clone()).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    assert!(refused.text().contains("the journal can't be written"), "{}", refused.text());
    let failing = sluice.api(PAGE).await["failing"].clone();
    assert!(failing["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{failing}");
    assert!(
        failing["why"].as_str().is_some_and(|why| why.contains("the journal's directory is gone")),
        "{failing}"
    );
    assert_eq!(sluice.metric("sluice_journal_failing", &[]).await, 1.0);
    let line = sluice.logged("the journal can't be written: senders are refused").await;
    for part in ["ERROR", "directory is gone: put it back", here.to_str().unwrap()] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!sluice.says("the journal can be written again"));
    std::fs::rename(&away, &here).unwrap();
    eventually("it goes on by itself", async || {
        (sluice.post(Signal::Logs, body.clone()).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(sluice.metric("sluice_journal_failing", &[]).await, 0.0);
    assert_eq!(sluice.api(PAGE).await["failing"], Value::Null);
    let line = sluice.logged("the journal can be written again").await;
    assert!(line.contains("INFO") && line.contains(here.to_str().unwrap()), "{line}");
    sluice.settled().await;
}

#[tokio::test]
async fn a_shutdown_without_the_directory_delivers_what_it_can_and_says_what_nothing_keeps() {
    let kept = tempfile::tempdir().unwrap();
    let (here, away) = (kept.path().join("journal"), kept.path().join("away"));
    for delivers in [true, false] {
        let up = sinks::counting().await;
        up.set_fault(Fault::status(503));
        let config = yaml::up(&up.url(), &[QUICK, SINGLY]) + &journal(kept.path()) + "shutdown_timeout: 1s\n";
        let mut sluice = SluiceProcess::start(&config, &[]).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
        std::fs::rename(&here, &away).unwrap();
        eventually("it is noticed", async || {
            (sluice.metric("sluice_journal_failing", &[]).await == 1.0).then_some(())
        })
        .await;
        if delivers {
            up.clear_faults();
        }
        sluice.signal("TERM").await;
        assert_eq!(sluice.ended().await.code(), Some(i32::from(!delivers)), "{:?}", sluice.log());
        if !delivers {
            let line = sluice.logged("2 records were not delivered, and nothing keeps them").await;
            assert!(line.contains("the journal's directory is gone"), "{line}");
        }
        assert!(!here.exists(), "it is not made again");
        std::fs::remove_dir_all(&away).unwrap();
    }
}

#[tokio::test]
async fn damage_that_was_found_at_the_start_is_shown() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[QUICK, SINGLY]) + &journal(kept.path());
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    sluice.settled().await;
    sluice.shut_down().await;
    drop(sluice);
    std::fs::write(kept.path().join("journal/segment-00000000000000ff"), "").unwrap();
    let sluice = Sluice::start(&config).await;
    let damage = sluice.api(PAGE).await["recovery"]["damage"].clone();
    let expected = "`segment-00000000000000ff` is empty; it is removed";
    assert_eq!(damage, json!({ "total": 1, "shown": [expected] }));
}
