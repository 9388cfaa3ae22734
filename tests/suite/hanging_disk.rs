//! A disk below the journal that hangs: it neither does what it is asked nor says that it can't.

use std::time::Duration;

use rig::sink::{Fault, Sink};
use sluice::journal::simulation::SimulatedDisk;
use sluice::journal::stalling::{Stalled, StallingDisk};
use sluice::journal::{Journal, JournalSettings, Unwritten};
use sluice::otlp::Signal;
use sluice::run::Unkept;
use tokio::time::timeout;

use crate::support;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::wire::{Wire, head};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

/// How long this disk may take for an answer: longer than a busy machine keeps a thread of the journal from its turn, so that
/// the disk never counts as hanging when it doesn't.
const PATIENCE: Duration = Duration::from_secs(3);

const CHANGES: Stalled = Stalled { changes: true, syncs: false, looks: false };
const LOOKS: Stalled = Stalled { changes: false, syncs: false, looks: true };
const NOTHING: Stalled = Stalled { changes: false, syncs: false, looks: false };

struct Hanging {
    up: Sink,
    disk: StallingDisk,
    journal: Journal,
    sluice: Sluice,
}

async fn start(rest: &str) -> Hanging {
    let up = sinks::recording().await;
    let disk = StallingDisk::new(SimulatedDisk::new(1).process());
    let settings =
        JournalSettings { max_size: 16 << 20, segment_size: 1 << 20, ..JournalSettings::new("simulated") };
    let (journal, recovery) = Journal::open_on_disk(settings, disk.disk(), PATIENCE).unwrap();
    let config = yaml::up(&up.url(), &[QUICK, SINGLY])
        + "journal: { directory: simulated, max_size: 16MiB, segment_size: 1MiB }\nshutdown_timeout: 1s\n"
        + rest;
    let sluice = Sluice::start_with_journal(&config, (journal.clone(), recovery)).await;
    Hanging { up, disk, journal, sluice }
}

impl Hanging {
    async fn post(&self, text: &str) -> u16 {
        self.sluice.post(Signal::Logs, logs(&[("a", &[text])])).await.status
    }

    async fn received(&self, outcome: &str) -> f64 {
        self.sluice.metric("sluice_received_records_total", &[("outcome", outcome)]).await
    }

    async fn works_again(&self) {
        self.disk.stall(NOTHING);
        eventually("it works again", async || {
            (self.sluice.metric("sluice_journal_failing", &[]).await == 0.0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn senders_are_refused_in_time_and_what_is_written_later_is_not_delivered() {
    for acknowledge in ["queued", "delivered"] {
        let hanging = start(&format!("acknowledge: {acknowledge}\n")).await;
        assert_eq!(hanging.post("1").await, 200);
        hanging.disk.stall(CHANGES);
        // The first waits for the disk; by its end that counts as failing, so the next doesn't.
        let refused = hanging.sluice.post(Signal::Logs, logs(&[("a", &["2"])])).await;
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
        assert!(refused.text().contains("the journal can't be written"), "{}", refused.text());
        eventually("it counts as failing", async || {
            (hanging.sluice.metric("sluice_journal_failing", &[]).await == 1.0).then_some(())
        })
        .await;
        let why = hanging.sluice.api("/api/v1/journal").await["failing"]["why"].clone();
        assert!(why.as_str().is_some_and(|why| why.starts_with("the disk does not answer")), "{why}");
        for _ in 0..3 {
            assert_eq!(hanging.post("3").await, 503);
        }
        hanging.works_again().await;
        // As the senders were told to.
        assert_eq!((hanging.post("2").await, hanging.post("3").await), (200, 200));
        hanging.sluice.settled().await;
        assert_eq!(hanging.up.texts(Signal::Logs), ["1", "2", "3"]);
        assert_eq!((hanging.received("accepted").await, hanging.received("refused").await), (3.0, 4.0));
        hanging.sluice.assert_conserved().await;
    }
}

#[tokio::test]
async fn a_sender_that_leaves_while_its_request_is_written_is_counted_by_what_becomes_of_it() {
    let hanging = start("").await;
    hanging.disk.stall(CHANGES);
    let body = logs(&[("a", &["1"])]);
    let mut wire = Wire::open(hanging.sluice.otlp).await;
    let length = format!("content-length: {}", body.len());
    wire.write(head("POST /v1/logs", &["content-type: application/x-protobuf", &length])).await;
    wire.write(body).await;
    eventually("it is being written", async || (hanging.journal.unwritten().requests > 0).then_some(()))
        .await;
    drop(wire);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(hanging.received("accepted").await, 0.0, "it is on no disk");
    hanging.works_again().await;
    eventually("it is counted", async || {
        (hanging.received("accepted").await + hanging.received("refused").await == 1.0).then_some(())
    })
    .await;
    hanging.sluice.settled().await;
    let accepted = hanging.received("accepted").await;
    assert_eq!(
        hanging.up.texts(Signal::Logs).len() as f64,
        accepted,
        "delivered if, and only if, it is accepted"
    );
    hanging.sluice.assert_conserved().await;
}

#[tokio::test]
async fn a_shutdown_ends_in_time_and_says_of_how_many_records_nobody_knows() {
    let hanging = start("").await;
    assert_eq!(hanging.post("1").await, 200);
    hanging.sluice.settled().await;
    hanging.disk.stall(CHANGES);
    assert_eq!(hanging.sluice.post(Signal::Logs, logs(&[("a", &["2", "3"])])).await.status, 503);
    // 1 s to deliver and 5 s to close; the disk never answers.
    let left =
        timeout(support::PATIENCE, hanging.sluice.shut_down()).await.expect("it does not wait for the disk");
    let unwritten = Unwritten { requests: 1, records: 2 };
    assert_eq!((left.journal.clone(), left.is_empty()), (Some(Unkept::Hangs(unwritten)), false));
    let said = left.journal.unwrap().to_string();
    assert!(said.contains("whether 2 records of 1 requests are on it is not known"), "{said}");
    hanging.disk.stall(NOTHING);
}

#[tokio::test]
async fn a_backlog_that_can_not_be_read_keeps_neither_senders_nor_a_shutdown_waiting() {
    let hanging = start("limits: { memory: 1MiB }\n").await;
    hanging.up.set_fault(Fault::status(503));
    let text = "x".repeat(100_000);
    for _ in 0..8 {
        assert_eq!(hanging.post(&text).await, 200);
    }
    hanging.disk.stall(LOOKS);
    hanging.up.clear_faults();
    eventually("the disk is asked", async || (hanging.disk.waiting() > 0).then_some(())).await;
    assert_eq!(hanging.post("small").await, 200);
    assert_eq!(hanging.sluice.metric("sluice_journal_failing", &[]).await, 0.0);
    timeout(support::PATIENCE, hanging.sluice.shut_down()).await.expect("it does not wait for the disk");
    hanging.disk.stall(NOTHING);
}
