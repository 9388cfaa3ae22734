//! With a journal: kills, templates and settings that change, streams that are stuck, senders that give up.

use std::path::Path;

use rig::sink::Fault;
use sluice::otlp::Signal;
use sluice::run::Leftovers;

use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Sluice, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";

/// One exporter, and the smallest journal there may be.
fn config(up: &str, kept: &Path) -> String {
    let journal = format!("directory: '{}/journal', max_size: 16MiB, segment_size: 1MiB", kept.display());
    yaml::up(up, &[QUICK, SINGLY]) + &format!("journal: {{ {journal} }}\nshutdown_timeout: 0s\n")
}

/// The texts of a stream's records, by number.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:03}")).collect()
}

async fn send(to: &SluiceProcess, texts: &[String]) {
    for text in texts {
        to.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
}

#[tokio::test]
async fn what_templates_give_no_destination_for_is_held_until_they_do() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let without = config(&up.url(), kept.path());
    let with = without
        .replace(SINGLY, &format!("{SINGLY}, headers: {{ X-Key: '{{{{ key | replace(\"a\", \"ä\") }}}}' }}"));
    let mut first = SluiceProcess::start(&without, &[]).await;
    send(&first, &numbered(0..2)).await;
    first.kill().await;
    up.clear_faults();

    let mut second = SluiceProcess::start(&with, &[]).await;
    let line = second.logged("no destination for what is queued").await;
    assert!(line.contains(UP) && line.contains("can't be put into a header"), "{line}");
    assert_eq!(second.metric("sluice_pending_records", &[]).await, 2.0);
    second.kill().await;

    let third = SluiceProcess::start(&without, &[]).await;
    let metrics = third.settled().await;
    assert_eq!(metrics.sum("sluice_pending_records", &[]), 0.0);
    assert_eq!(up.texts(Signal::Logs), numbered(0..2));
}

#[tokio::test]
async fn a_process_that_is_killed_has_lost_nothing_that_it_acknowledged() {
    for sync in ["always", "100ms", "never"] {
        let kept = tempfile::tempdir().unwrap();
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503));
        let config =
            config(&up.url(), kept.path()).replace("segment_size", &format!("sync: {sync}, segment_size"));
        let mut sluice = SluiceProcess::start(&config, &[]).await;
        send(&sluice, &numbered(0..20)).await;
        sluice.signal("KILL").await;
        sluice.ended().await;
        up.clear_faults();
        let sluice = SluiceProcess::start(&config, &[]).await;
        sluice.settled().await;
        assert_eq!(up.texts(Signal::Logs), numbered(0..20), "{sync}");
    }
}

#[tokio::test]
async fn a_change_of_the_journal_needs_a_restart() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::counting().await;
    let with = config(&up.url(), kept.path());
    let without = yaml::up(&up.url(), &[]);
    for (before, after) in [(&with, &without), (&without, &with), (&with, &with.replace("16MiB", "32MiB"))] {
        let sluice = Sluice::start(before).await;
        let answer = sluice.reload(after).await;
        assert_eq!(answer.status, 422);
        assert!(answer.text().contains("a change of `journal` needs a restart"), "{}", answer.text());
        assert_eq!(sluice.shut_down().await, Leftovers::default());
    }
}

#[tokio::test]
async fn a_stuck_stream_leaves_others_room_and_a_full_journal_refuses_all_until_something_is_delivered() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&config(&up.url(), kept.path())).await;
    let body =
        |stream: &str, number: usize| logs(&[(stream, &[&filler(&format!("{stream} {number} "), 500_000)])]);
    let mut taken = [0; 40];
    let mut stream = 0;
    let refused = loop {
        let answer = sluice.post(Signal::Logs, body(&stream.to_string(), taken[stream])).await;
        if answer.status == 200 {
            taken[stream] += 1;
            assert!(taken[stream] < 40, "16 MiB are never full");
            continue;
        }
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
        if answer.text().contains("the journal is full") {
            break answer;
        }
        let share = "the stream's share of the journal is used up";
        assert!(answer.text().contains(share), "{}", answer.text());
        stream += 1;
    };
    assert!(stream > 0 && taken[1] > 0, "one stream does not fill it alone: {}", refused.text());
    assert!(taken[0] > 2, "it may have more than the others: {taken:?}");
    let bytes = sluice.metric("sluice_journal_bytes", &[]).await;
    assert!(bytes <= f64::from(16 << 20), "{bytes}");
    up.clear_faults();
    sluice.settled().await;
    eventually("there is room again", async || {
        (sluice.post(Signal::Logs, body("0", taken[0])).await.status == 200).then_some(())
    })
    .await;
    sluice.settled().await;
    let texts = up.texts(Signal::Logs);
    let of_first = texts.iter().filter_map(|text| text.strip_prefix("0 ")?.split(' ').next()?.parse().ok());
    assert_eq!(of_first.collect::<Vec<usize>>(), (0..=taken[0]).collect::<Vec<_>>());
    assert_eq!(texts.len(), taken.iter().sum::<usize>() + 1);
}

#[tokio::test]
async fn what_is_taken_back_from_a_sender_that_waits_for_delivery_leaves_the_journal() {
    let kept = tempfile::tempdir().unwrap();
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let waits = "acknowledge: delivered\nacknowledge_timeout: 100ms\n";
    let sluice = Sluice::start(&(config(&up.url(), kept.path()) + waits)).await;
    assert_eq!(sluice.post(Signal::Logs, logs(&[("a", &["late"])])).await.status, 503);
    assert_eq!(sluice.settled().await.exported(UP, "dropped"), 1.0);
    assert_eq!(sluice.shut_down().await, Leftovers::default());
    drop(sluice);
    up.clear_faults();
    let sluice = Sluice::start(&(config(&up.url(), kept.path()) + waits)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["again"])])).await;
    assert_eq!(up.texts(Signal::Logs), ["again"]);
    assert_eq!(sluice.metric("sluice_recovered_records_total", &[]).await, 0.0);
}
