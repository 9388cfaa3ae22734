//! Dead letters: where they go when there is no room, and their way back.

use std::process::Stdio;

use sluice::cli::sink::Fault;
use sluice::otlp::Signal;
use tokio::process::Command;

use crate::support::Sluice;
use crate::support::letters::{letters, wait_for_letters};
use crate::support::payload::{field, filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};

const UP: &str = "otlp_http/up";

#[tokio::test]
async fn without_a_directory_what_would_go_there_counts_as_rejected() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(501));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
    assert_eq!(sluice.settled().await.exported(UP, "rejected"), 2.0);
}

#[tokio::test]
async fn a_full_directory_drops_the_new_letter_and_keeps_the_old_ones() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(501));
    let full = "dead_letter: { directory: '@DIR@/letters', max_size: 4KiB }\n";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + full)).await;
    for text in ["first", "second", "third"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[&filler(text, 2000)])])).await;
    }
    let metrics = sluice.settled().await;
    let (kept, dropped) = (metrics.exported(UP, "dead_lettered"), metrics.exported(UP, "dropped"));
    assert_eq!((kept, dropped), (1.0, 2.0));
    let letters = letters(&sluice.directory().join("letters"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].bytes, logs(&[("a", &[&filler("first", 2000)])]));
    assert!((1.0..=4096.0).contains(&metrics.sum("sluice_dead_letter_bytes", &[])));
}

#[tokio::test]
async fn a_directory_whose_bound_changes_goes_on_being_written() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(501));
    let config = |size: &str| {
        let bound = format!("dead_letter: {{ directory: '@DIR@/letters', max_size: {size} }}\n");
        yaml::up(&up.url(), &[QUICK, SINGLY]) + &bound
    };
    let sluice = Sluice::start(&config("1KiB")).await;
    let open = || sluice.router().intake().dead_letters.load_full().unwrap();
    let before = open();
    let body = logs(&[("a", &[&filler("text", 2000)])]);
    sluice.accept(Signal::Logs, body.clone()).await;
    assert_eq!(sluice.settled().await.exported(UP, "dropped"), 1.0);
    sluice.reconfigure(&config("1MiB")).await;
    assert!(std::sync::Arc::ptr_eq(&before, &open()), "what is being written is finished");
    sluice.accept(Signal::Logs, body).await;
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 1.0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told_at_the_start() {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[]) + "dead_letter: { directory: '@DIR@/sluice.yaml/letters' }\n";
    let error = Sluice::try_start(&config).await.err().expect("a file is no directory");
    assert!(error.to_string().contains("sluice.yaml/letters"), "{error}");
}

async fn replay(sluice: &Sluice) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("replay")
        .arg(sluice.directory().join("letters"))
        .arg("--config")
        .arg(sluice.config())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the binary was built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn replay_sends_letters_again_in_order_to_their_own_exporter_and_removes_them() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::status(501));
    let config = yaml::exporters(&[
        (UP, yaml::to(&up.url(), &[QUICK, SINGLY, "headers: { X-Stream: '{{ key }}' }"])),
        ("otlp_http/other", yaml::to(&other.url(), &[QUICK, SINGLY])),
    ]) + &yaml::by_stream("otlp_http/up, otlp_http/other")
        + LETTERS;
    let sluice = Sluice::start(&config).await;
    for text in ["1", "2", "3"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 3.0);
    let directory = sluice.directory().join("letters");

    let (success, output) = replay(&sluice).await;
    assert!(!success, "the upstream still refuses: {output}");
    assert_eq!(letters(&directory).len(), 3, "what was not delivered stays");

    up.clear_faults();
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3"]);
    assert!(up.taken().iter().all(|request| request.headers["x-stream"] == "a"));
    assert_eq!(letters(&directory).len(), 0);
    assert_eq!(other.counts().records, 3, "the other exporter got nothing twice");
}

#[tokio::test]
async fn letters_of_parts_that_were_cut_out_are_for_people_and_not_replayed() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS)).await;
    let bad_entry = field(1, [field(1, field(1, b"\xff")), field(2, "")].concat());
    let body = [logs(&[("a", &["good"])]), bad_entry].concat();
    assert_eq!(sluice.post(Signal::Logs, body).await.status, 200);
    up.records(1).await;
    let directory = sluice.directory().join("letters");
    wait_for_letters(&directory, 1).await;
    let (_, output) = replay(&sluice).await;
    assert_eq!(up.counts().records, 1, "{output}");
    assert_eq!(letters(&directory).len(), 1);
}
