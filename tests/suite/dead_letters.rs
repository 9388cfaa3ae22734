//! Dead letters: where they go when there is no room, and their way back.

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;

use crate::support::letters::{letters, replay, replaying, wait_for_letters};
use crate::support::payload::{field, filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

const UP: &str = "otlp_http/up";

#[tokio::test]
async fn without_a_directory_what_would_go_there_counts_as_rejected() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
    assert_eq!(sluice.settled().await.exported(UP, "rejected"), 2.0);
}

#[tokio::test]
async fn a_full_directory_drops_the_new_letter_and_keeps_the_old_ones() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
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
    up.set_fault(Fault::status(406));
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

#[tokio::test]
async fn the_bound_holds_for_all_exporters_together() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(406));
    let options = || yaml::to(&up.url(), &[QUICK, SINGLY]);
    let names = [UP, "otlp_http/other", "otlp_http/third"];
    let exporters = yaml::exporters(&names.map(|name| (name, options())));
    let bound = "dead_letter: { directory: '@DIR@/letters', max_size: 16KiB }\n";
    let sluice = Sluice::start(&(exporters + &yaml::by_stream(&names.join(", ")) + bound)).await;
    let streams: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let text = filler("text", 2000);
    let texts = [&*text];
    let entries: Vec<(&str, &[&str])> = streams.iter().map(|stream| (&**stream, &texts[..])).collect();
    sluice.accept(Signal::Logs, logs(&entries)).await;
    let metrics = sluice.settled().await;
    let of = |outcome: &str| -> f64 { names.iter().map(|name| metrics.exported(name, outcome)).sum() };
    let stored = letters(&sluice.directory().join("letters"));
    let (kept, dropped) = (of("dead_lettered"), of("dropped"));
    assert_eq!((kept, kept + dropped), (stored.len() as f64, 30.0));
    assert!((1.0..=8.0).contains(&kept), "{kept} letters of 2 kB in 16 KiB");
    let files = std::fs::read_dir(sluice.directory().join("letters")).unwrap();
    let size: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(size <= 16 << 10, "{size}");
    assert_eq!(metrics.sum("sluice_dead_letter_bytes", &[]), size as f64);
}

#[tokio::test]
async fn replay_sends_letters_again_in_order_to_their_own_exporter_and_removes_them() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::status(406));
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

/// Two streams of five letters each, whose upstream is well again.
async fn two_streams_of_letters() -> (Sink, Sluice) {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(406));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + LETTERS)).await;
    for number in 1..=5 {
        for stream in ["a", "b"] {
            sluice.accept(Signal::Logs, logs(&[(stream, &[&format!("{stream}{number}")])])).await;
        }
    }
    assert_eq!(sluice.settled().await.exported(UP, "dead_lettered"), 10.0);
    up.clear_faults();
    (up, sluice)
}

/// What an upstream got of a stream, in order.
fn of_stream(up: &Sink, stream: &str) -> Vec<String> {
    up.texts(Signal::Logs).into_iter().filter(|text| text.starts_with(stream)).collect()
}

#[tokio::test]
async fn a_replay_whose_upstream_fails_in_the_middle_goes_on_where_it_stopped() {
    let (up, sluice) = two_streams_of_letters().await;
    up.set_fault(Fault::status(503).on_text("a3"));
    let (success, output) = replay(&sluice).await;
    assert!(!success, "{output}");
    assert_eq!(of_stream(&up, "a"), ["a1", "a2"], "nothing overtakes the letter that fails");
    assert_eq!(of_stream(&up, "b"), ["b1", "b2", "b3", "b4", "b5"], "the other stream goes on");
    assert!(output.contains("left: behind a letter of its stream that was not delivered"), "{output}");
    assert_eq!(letters(&sluice.directory().join("letters")).len(), 3);

    up.clear_faults();
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    assert_eq!(of_stream(&up, "a"), ["a1", "a2", "a3", "a4", "a5"]);
    assert_eq!(of_stream(&up, "b").len(), 5, "nothing twice");
}

#[tokio::test]
async fn a_replay_that_is_killed_is_run_again_and_keeps_the_order() {
    let (up, sluice) = two_streams_of_letters().await;
    up.set_fault(Fault::hang().on_text("a3"));
    let mut broken_off = replaying(&sluice).spawn().expect("the binary was built");
    eventually("the third letter of a stream is not answered", async || {
        up.requests().iter().any(|request| request.answered.is_none()).then_some(())
    })
    .await;
    assert_eq!(of_stream(&up, "a"), ["a1", "a2"]);
    broken_off.kill().await.expect("it runs");
    up.clear_faults();
    let (success, output) = replay(&sluice).await;
    assert!(success, "{output}");
    for stream in ["a", "b"] {
        let all: Vec<String> = (1..=5).map(|number| format!("{stream}{number}")).collect();
        assert_eq!(of_stream(&up, stream), all);
    }
    assert_eq!(letters(&sluice.directory().join("letters")).len(), 0);
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
