//! The way out of the real program: what it still does, what it says, and how it exits.

use std::path::Path;

use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;

use crate::support::letters::{Letter, letters};
use crate::support::payload::{entries, filler, logs, texts};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::{Wire, head};
use crate::support::yaml::{LETTERS, by_stream, exporters, to};
use crate::support::{SluiceProcess, eventually};

const PROTOBUF: &str = "content-type: application/x-protobuf";

fn config(up: &Sink, rest: &str) -> String {
    format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}', compression: none, \
         sending_queue: {{ batch: {{ flush_timeout: 5m }} }}, retry_on_failure: {{ initial_interval: 50ms }} }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{rest}",
        up.url()
    )
}

/// Waits until a connection is refused: nobody listens any more.
async fn refused(sluice: &SluiceProcess) {
    eventually("it accepts no more", async || {
        tokio::net::TcpStream::connect(sluice.otlp).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn rule_8_sigterm_flushes_and_delivers_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let up = sinks::recording().await;
        // Nothing would leave for five minutes.
        let mut sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
        for index in 0..100 {
            let (stream, text) = (format!("{}", index % 10), format!("{index}"));
            sluice.accept(Signal::Logs, logs(&[(&stream, &[&text])])).await;
        }
        assert_eq!(up.counts().requests, 0);
        sluice.signal(signal).await;
        assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
        assert_eq!((up.counts().records, up.counts().requests), (100, 10), "one batch per stream");
        sluice.logged("everything was delivered, nothing is left").await;
    }
}

#[tokio::test]
async fn a_request_in_progress_is_finished_and_delivered() {
    let up = sinks::recording().await;
    let mut sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
    let body = logs(&[("a", &["late"])]);
    let mut wire = Wire::open(sluice.otlp).await;
    wire.write(head("POST /v1/logs", &[PROTOBUF, &format!("content-length: {}", body.len())])).await;
    // A connection that was made and not used keeps nobody.
    let _idle = Wire::open(sluice.otlp).await;
    sluice.metrics().await;
    sluice.signal("TERM").await;
    refused(&sluice).await;
    wire.write(&body).await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert_eq!(up.texts(Signal::Logs), ["late"]);
}

#[tokio::test]
async fn a_head_that_never_ends_does_not_hold_up_the_end() {
    let up = sinks::recording().await;
    let receivers =
        "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, read_header_timeout: 1s } } } }\n";
    let yaml = format!("{receivers}{}", config(&up, "shutdown_timeout: 10m\n"));
    let mut sluice = SluiceProcess::start(&yaml, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let mut slow = Wire::open(sluice.otlp).await;
    slow.write("POST /v1/logs HTTP/1.1\r\n").await;
    sluice.metrics().await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert_eq!(up.texts(Signal::Logs), ["x"]);
}

#[tokio::test]
async fn what_others_sent_leaves_while_one_sender_hangs() {
    let up = sinks::recording().await;
    // Longer than anybody waits here: what leaves late would be missed.
    let mut sluice = SluiceProcess::start(&config(&up, "shutdown_timeout: 10m\n"), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let mut hanging = Wire::open(sluice.otlp).await;
    hanging.write(head("POST /v1/logs", &[PROTOBUF, "content-length: 100"])).await;
    sluice.metrics().await;
    sluice.signal("TERM").await;
    up.records(1).await;
    assert!(hanging.is_silent());
    drop(hanging);
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert_eq!(up.texts(Signal::Logs), ["x"]);
}

#[tokio::test]
async fn what_a_hanging_upstream_does_not_take_is_told_and_the_exit_code_is_1() {
    let up = sinks::recording().await;
    up.set_fault(Fault::hang());
    let mut sluice = SluiceProcess::start(&config(&up, "shutdown_timeout: 1s\n"), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"]), ("b", &["3"])])).await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1));
    sluice
        .logged(
            "`otlp_http/up` could not deliver 3 records in time; they are lost (`dead_letter.directory` is not set)",
        )
        .await;
    let line = sluice.logged("not delivered in time").await;
    assert!(line.contains("records=3") && line.contains("streams=2"), "{line}");
}

#[tokio::test]
async fn rule_8_what_is_left_is_in_the_dead_letter_directory() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let rest = "shutdown_timeout: 1s\ndead_letter: { directory: '@DIR@/dead' }\n";
    let mut sluice = SluiceProcess::start(&config(&up, rest), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"]), ("b", &["3"])])).await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1));
    sluice.logged("could not deliver 3 records in time; 3 of them are in the dead-letter directory").await;
    let mut found: Vec<_> = letters(&sluice.directory().join("dead"))
        .iter()
        .map(|letter| {
            assert_eq!((letter.text("exporter"), letter.text("signal")), ("otlp_http/up", "logs"));
            let texts: Vec<_> =
                entries(&letter.bytes).iter().flat_map(|entry| texts(Signal::Logs, entry)).collect();
            (letter.text("key").to_owned(), letter.records(), texts.join(","))
        })
        .collect();
    found.sort();
    assert_eq!(found, [("a".to_owned(), 2, "1,2".to_owned()), ("b".to_owned(), 1, "3".to_owned())]);
}

#[tokio::test]
async fn what_a_full_dead_letter_directory_does_not_take_is_called_lost() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let rest = "shutdown_timeout: 1s\ndead_letter: { directory: '@DIR@/dead', max_size: 4KiB }\n";
    let mut sluice = SluiceProcess::start(&config(&up, rest), &[]).await;
    let (one, other) = (filler("one", 2000), filler("other", 2000));
    sluice.accept(Signal::Logs, logs(&[("a", &[&one]), ("b", &[&other])])).await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1));
    let line = sluice.logged("could not deliver 2 records in time").await;
    let told = "1 of them are in the dead-letter directory (letters: 1), 1 are lost (the dead-letter directory is full)";
    assert!(line.contains(told), "{line}");
    assert_eq!(letters(&sluice.directory().join("dead")).len(), 1);
}

#[tokio::test]
async fn what_is_given_back_to_a_sender_that_waits_is_not_called_lost() {
    for directory in ["", LETTERS] {
        let up = sinks::recording().await;
        up.set_fault(Fault::hang());
        let rest =
            format!("acknowledge: delivered\nacknowledge_timeout: 1h\nshutdown_timeout: 2s\n{directory}");
        let mut sluice = SluiceProcess::start(&config(&up, &rest), &[]).await;
        let body = logs(&[("a", &["1", "2"])]);
        let mut wire = Wire::open(sluice.otlp).await;
        wire.write(head("POST /v1/logs", &[PROTOBUF, &format!("content-length: {}", body.len())])).await;
        wire.write(&body).await;
        sluice.wait_for_metric("sluice_pending_records", &[], 2.0).await;
        sluice.signal("TERM").await;
        assert_eq!(wire.answer().await.status, 503);
        assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
        assert!(!sluice.says("lost"), "{:?}", sluice.log());
    }
}

#[tokio::test]
async fn during_shutdown_delay_it_accepts_and_is_not_ready() {
    let up = sinks::recording().await;
    let mut sluice = SluiceProcess::start(&config(&up, "shutdown_delay: 4s\n"), &[]).await;
    assert_eq!(sluice.get("/readyz").await.status, 200);
    sluice.signal("TERM").await;
    sluice.logged("not ready any more, still accepting").await;
    let answer = sluice.get("/readyz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "stopping\n"));
    assert_eq!(sluice.get("/healthz").await.status, 200);
    sluice.accept(Signal::Logs, logs(&[("a", &["late"])])).await;
    let reload =
        crate::support::http::send(sluice.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await;
    assert_eq!(reload.status, 422, "a configuration would come too late");
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert_eq!(up.texts(Signal::Logs), ["late"]);
}

/// Sends SIGTERM twice and waits for the end.
async fn tell_twice(sluice: &mut SluiceProcess) {
    sluice.signal("TERM").await;
    sluice.logged("delivering what is queued").await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1), "{:?}", sluice.log());
    sluice.logged("told to stop again").await;
}

/// Sends SIGTERM twice to one with an upstream that hangs, and waits for its end.
async fn told_twice(rest: &str) -> SluiceProcess {
    let up = sinks::recording().await;
    up.set_fault(Fault::hang());
    let yaml = config(&up, &format!("shutdown_timeout: 10m\n{rest}"));
    let mut sluice = SluiceProcess::start(&yaml, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x", "y"]), ("b", &["z"])])).await;
    tell_twice(&mut sluice).await;
    sluice
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_says_how_many_records_of_which_exporter_are_lost() {
    let sluice = told_twice("").await;
    let line = sluice.logged("not delivered in time").await;
    assert!(line.contains("exporter=otlp_http/up") && line.contains("records=3"), "{line}");
    sluice.logged("`otlp_http/up` could not deliver 3 records in time; they are lost").await;
}

#[tokio::test]
async fn a_second_signal_makes_dead_letters_of_what_is_left() {
    let sluice = told_twice(LETTERS).await;
    sluice.logged("could not deliver 3 records in time; 3 of them are in the dead-letter directory").await;
    let kept = letters(&sluice.directory().join("letters"));
    assert_eq!(kept.iter().map(Letter::records).sum::<u64>(), 3);
}

/// Exporters to two upstreams that hang, each with a stream for every value of `s2.stream`; each request is a batch.
async fn two_that_hang(batch: &str, shutdown_timeout: &str) -> (SluiceProcess, [Sink; 2]) {
    let ups = [sinks::recording().await, sinks::recording().await];
    for up in &ups {
        up.set_fault(Fault::hang());
    }
    let queue = format!("sending_queue: {{ batch: {{ min_size: 0, {batch} }} }}");
    let exporter = |name, up: &Sink| (name, to(&up.url(), &[&queue]));
    let yaml = exporters(&[exporter("otlp_http/one", &ups[0]), exporter("otlp_http/two", &ups[1])])
        + &by_stream("otlp_http/one, otlp_http/two")
        + LETTERS
        + &format!("shutdown_timeout: {shutdown_timeout}\n");
    (SluiceProcess::start(&yaml, &[]).await, ups)
}

/// Sends three records of each of so many streams.
async fn send_of_each(sluice: &SluiceProcess, streams: usize) {
    for first in (0..streams).step_by(500) {
        let keys: Vec<String> = (first..first + 500).map(|stream| stream.to_string()).collect();
        let entries: Vec<(&str, &[&str])> = keys.iter().map(|key| (&**key, &["1", "2", "3"][..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
    }
}

#[tokio::test]
async fn after_a_second_signal_exporters_share_the_time_and_what_is_told_is_what_is_kept() {
    const STREAMS: usize = 5000;
    let (mut sluice, _ups) = two_that_hang("max_size: 512KiB", "10m").await;
    send_of_each(&sluice, STREAMS).await;
    tell_twice(&mut sluice).await;
    let directory = sluice.directory().join("letters");
    for file in std::fs::read_dir(&directory).unwrap() {
        let file = file.unwrap().path();
        assert_ne!(file.extension().unwrap(), "tmp", "half written: {}", file.display());
    }
    let kept = letters(&directory);
    let kept_of = |exporter: &str| -> u64 {
        kept.iter().filter(|letter| letter.text("exporter") == exporter).map(Letter::records).sum()
    };
    let kept = ["otlp_http/one", "otlp_http/two"].map(|exporter| (exporter, kept_of(exporter)));
    for (exporter, kept) in kept {
        let records = 3 * STREAMS;
        let told = format!("`{exporter}` could not deliver {records} records in time; {kept} of them are in");
        assert!(sluice.says(&told), "{told}: {:?}", sluice.log());
    }
    let [(_, one), (_, two)] = kept;
    assert!(one > 0 && one <= 4 * two && two <= 4 * one, "{one} and {two} records are no fair shares");
}

#[tokio::test]
async fn a_second_signal_tells_of_what_was_given_up_before_it_as_well() {
    const STREAMS: usize = 10_000;
    let (mut sluice, _ups) = two_that_hang("max_size: 512KiB", "10ms").await;
    send_of_each(&sluice, STREAMS).await;
    let directory = sluice.directory().join("letters");
    sluice.signal("TERM").await;
    eventually("letters are written", async || (letter_files(&directory) > 500).then_some(())).await;
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(1), "{:?}", sluice.log());
    sluice.logged("told to stop again").await;
    let all = letters(&directory);
    assert!(all.len() > 500, "{}", all.len());
    for exporter in ["otlp_http/one", "otlp_http/two"] {
        let kept: Vec<_> = all.iter().filter(|letter| letter.text("exporter") == exporter).collect();
        let (records, letters) = (kept.iter().map(|letter| letter.records()).sum::<u64>(), kept.len());
        let told = format!(
            "`{exporter}` could not deliver {} records in time; {records} of them are in the dead-letter directory (letters: {letters})",
            3 * STREAMS
        );
        assert!(sluice.says(&told), "{told}: {:?}", sluice.log());
        let line = sluice.logged(&format!("exporter={exporter} records={}", 3 * STREAMS)).await;
        assert!(line.contains(&format!("streams={STREAMS}")) && !line.contains("are []"), "{line}");
    }
}

/// How many letters a directory has by now.
fn letter_files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count()
}

#[tokio::test]
async fn what_waits_in_a_stream_is_kept_in_letters_as_large_as_its_batches_may_be() {
    let (mut sluice, _ups) = two_that_hang("max_size: 1KiB", "10m").await;
    let all: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    for text in &all {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    tell_twice(&mut sluice).await;
    let kept = letters(&sluice.directory().join("letters"));
    for exporter in ["otlp_http/one", "otlp_http/two"] {
        let kept: Vec<_> = kept.iter().filter(|letter| letter.text("exporter") == exporter).collect();
        let entries = kept.iter().flat_map(|letter| entries(&letter.bytes));
        let found: Vec<String> = entries.flat_map(|entry| texts(Signal::Logs, &entry)).collect();
        assert_eq!(found, all);
        assert!(kept.iter().all(|letter| letter.bytes.len() <= 1024));
        assert!(kept[..kept.len() - 1].iter().all(|letter| letter.bytes.len() > 900), "they are full");
    }
}

#[tokio::test]
async fn a_second_signal_leaves_in_the_journal_what_is_there() {
    let sluice = told_twice(&format!("{LETTERS}journal: {{ directory: '@DIR@/journal' }}\n")).await;
    let line = sluice.logged("records not delivered are left in the journal").await;
    assert!(line.contains("exporter=otlp_http/up") && line.contains("records=3"), "{line}");
    assert!(letters(&sluice.directory().join("letters")).is_empty());
}
