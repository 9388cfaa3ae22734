//! `max_elapsed_time`: what is given up becomes a dead letter, or is counted and said; never is it gone in silence.

use serde_json::json;
use sluice::otlp::Signal;

use crate::support::letters::letters;
use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, SINGLY};
use crate::support::{Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";

const SHORT: &str =
    "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms, max_elapsed_time: 200ms }";

/// The text of a record that is as long as a batch.
fn long(name: &str) -> String {
    filler(name, 4000)
}

#[tokio::test]
async fn what_is_given_up_leaves_the_journal_and_is_not_sent_after_a_restart() {
    let kept = tempfile::tempdir().unwrap();
    let durable = format!(
        "journal: {{ directory: '{0}/journal', max_size: 16MiB, segment_size: 1MiB }}\n\
         dead_letter: {{ directory: '{0}/letters' }}\n",
        kept.path().display()
    );
    let nobody = format!("http://{}", sinks::nobody().await);
    let sluice = Sluice::start(&(yaml::up(&nobody, &[SHORT, SINGLY]) + &durable)).await;
    // Streams enough to open the circuit, and two of them with more than one batch.
    let keys = ["a", "b", "c", "d", "e", "f", "a", "b", "a"];
    for (number, key) in keys.iter().enumerate() {
        sluice.accept(Signal::Logs, logs(&[(key, &[&long(&number.to_string())])])).await;
    }
    eventually("the circuit opens", async || {
        let away = sluice.metric("sluice_destinations", &[("circuit", "closed")]).await == 0.0;
        let over = sluice.metrics().await.exported(UP, "dead_lettered") == keys.len() as f64;
        (away || over).then_some(())
    })
    .await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "dead_lettered"), keys.len() as f64);
    let stored = letters(&kept.path().join("letters"));
    let of_a: Vec<_> = stored.iter().filter(|letter| letter.text("key") == "a").collect();
    let sent: Vec<_> = ["0", "6", "8"].map(|text| logs(&[("a", &[&long(text)])])).into();
    assert_eq!(of_a.iter().map(|letter| letter.bytes.clone()).collect::<Vec<_>>(), sent, "in their order");
    assert!(stored.iter().all(|letter| letter.text("reason").starts_with("given up")), "{stored:?}");
    assert!(sluice.shut_down().await.is_empty());
    drop(sluice);

    let up = sinks::recording().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SHORT, SINGLY]) + &durable)).await;
    assert_eq!(sluice.metric("sluice_recovered_records_total", &[]).await, 0.0);
    sluice.accept(Signal::Logs, logs(&[("a", &["new"])])).await;
    sluice.settled().await;
    assert_eq!(up.texts(Signal::Logs), ["new"]);
    assert_eq!(letters(&kept.path().join("letters")).len(), keys.len());
    assert_eq!(sluice.api("/api/v1/dead-letters").await["total"], json!(keys.len()));
}

#[tokio::test]
async fn without_a_directory_what_is_given_up_is_counted_and_logged() {
    let nobody = format!("http://{}", sinks::nobody().await);
    for journal in ["", "journal: { directory: '@DIR@/journal', max_size: 16MiB }\n"] {
        let config = yaml::up(&nobody, &[SHORT, SINGLY]) + journal;
        let sluice = SluiceProcess::start(&config, &[]).await;
        sluice.accept(Signal::Logs, logs(&[("the key", &["1", "2", "3"])])).await;
        let line = sluice.logged("records not delivered: given up after retries").await;
        for part in ["the key", "records=3", "outcome=\"lost\""] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(sluice.settled().await.exported(UP, "rejected"), 3.0);
    }
}

#[tokio::test]
async fn what_is_held_for_a_wrong_token_is_not_given_up() {
    let up = sinks::recording().await;
    up.set_fault(rig::sink::Fault::status(401));
    let brief = "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms, max_elapsed_time: 1ms }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[brief, SINGLY]) + LETTERS)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    up.wait_for_requests(5, crate::support::PATIENCE).await.expect("it is asked again");
    assert_eq!(sluice.metric("sluice_pending_records", &[]).await, 1.0);
    up.clear_faults();
    up.records(1).await;
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 0.0);
}
