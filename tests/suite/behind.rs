//! With a journal, memory is for streams that get on: what others wait with stays on disk.

use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::gate::Gate;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

/// Two exporters with a stream for every value of `s2.stream`: those of `stuck*`, and the others.
fn two(stuck: &str, up: &str, memory: &str) -> String {
    let exporters = yaml::exporters(&[
        ("otlp_http/stuck", yaml::to(stuck, &[SINGLY, QUICK])),
        ("otlp_http/up", yaml::to(up, &[SINGLY, QUICK])),
    ]);
    format!(
        "{exporters}routes:
  - {{ match: {{ s2.stream: 'stuck*' }}, key: s2.stream, exporters: [otlp_http/stuck] }}
  - {{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}
limits: {{ memory: {memory} }}
journal: {{ directory: '@DIR@/journal' }}
"
    )
}

/// Requests of about a third of a mebibyte for streams `stuck0`, `stuck1` ... that nobody takes anything from.
async fn stuck(sluice: &Sluice, requests: usize) {
    let text = "x".repeat(350_000);
    for nth in 0..requests {
        sluice.accept(Signal::Logs, logs(&[(&format!("stuck{nth}"), &[&text])])).await;
    }
}

/// Waits until a removed exporter sends nothing more, though it has something left.
async fn has_had_its_time(sluice: &Sluice) {
    let paused = || sluice.router().exporters().iter().any(|exporter| exporter.is_paused());
    eventually("a removed exporter is paused", async || paused().then_some(())).await;
}

#[tokio::test]
async fn streams_that_are_refused_wait_on_disk_and_take_no_memory() {
    let (refusing, up) = (sinks::recording().await, sinks::recording().await);
    refusing.set_fault(Fault::status(503));
    let sluice = Sluice::start(&two(&refusing.url(), &up.url(), "4MiB")).await;
    stuck(&sluice, 20).await;
    let half = 2.0 * 1024.0 * 1024.0;
    eventually("what is refused is put back", async || {
        (sluice.metric("sluice_memory_bytes", &[]).await < half).then_some(())
    })
    .await;
    sluice.accept(Signal::Logs, logs(&[("other", &["arrives"])])).await;
    up.records(1).await;
    assert_eq!(sluice.metric("sluice_pending_records", &[("exporter", "otlp_http/stuck")]).await, 20.0);

    refusing.clear_faults();
    refusing.records(20).await;
    sluice.settled().await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.exported("otlp_http/stuck", "delivered"), 20.0);
    assert_eq!(refusing.taken().len(), 20, "each once");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_does_not_keep_the_backlog_of_others_from_being_read() {
    let (silent, up) = (Gate::start().await, sinks::recording().await);
    let sluice = Sluice::start(&two(&silent.url(), &up.url(), "4MiB")).await;
    // More than half of the memory, so that what comes later stays on disk, and all the room for reading.
    stuck(&sluice, 12).await;
    silent.arrived(8).await;
    for text in ["0", "1", "2"] {
        sluice.accept(Signal::Logs, logs(&[("other", &[text])])).await;
    }
    up.records(3).await;
    assert_eq!(up.texts(Signal::Logs), ["0", "1", "2"]);
    for _ in 0..12 {
        silent.answer(200);
    }
    sluice.settled().await;
    sluice.assert_conserved().await;
}

#[tokio::test]
async fn what_a_removed_exporter_has_not_delivered_stays_in_the_journal_until_it_comes_back() {
    let (refusing, up) = (sinks::recording().await, sinks::recording().await);
    refusing.set_fault(Fault::status(503));
    let ours = format!("{}shutdown_timeout: 0s\n", two(&refusing.url(), &up.url(), "64MiB"));
    let others = ours.replace("otlp_http/stuck", "otlp_http/new");
    let sluice = Sluice::start(&ours).await;
    for text in ["0", "1", "2"] {
        sluice.accept(Signal::Logs, logs(&[("stuck", &[text])])).await;
    }
    sluice.reconfigure(&others).await;
    has_had_its_time(&sluice).await;
    assert_eq!(refusing.taken().len(), 0);

    refusing.clear_faults();
    sluice.reconfigure(&ours).await;
    refusing.records(3).await;
    sluice.accept(Signal::Logs, logs(&[("stuck", &["3"])])).await;
    sluice.settled().await;
    assert_eq!(refusing.texts(Signal::Logs), ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn an_attempt_that_hangs_when_a_removed_exporter_has_had_its_time_counts_when_it_is_answered() {
    let (gate, up) = (Gate::start().await, sinks::recording().await);
    let ours = format!("{}shutdown_timeout: 0s\n", two(&gate.url(), &up.url(), "64MiB"));
    let others = ours.replace("otlp_http/stuck", "otlp_http/new");
    let sluice = Sluice::start(&ours).await;
    let accept = async |text: &str| sluice.accept(Signal::Logs, logs(&[("stuck", &[text])])).await;
    for text in ["0", "1"] {
        accept(text).await;
    }
    gate.arrived(1).await;
    sluice.reconfigure(&others).await;
    has_had_its_time(&sluice).await;
    gate.answer(200);
    sluice.wait_for_metric("sluice_pending_records", &[("exporter", "otlp_http/stuck")], 1.0).await;

    sluice.reconfigure(&ours).await;
    gate.arrived(2).await;
    gate.answer(200);
    accept("2").await;
    gate.arrived(3).await;
    gate.answer(200);
    let metrics = sluice.settled().await;
    assert_eq!(gate.texts(), [["0"], ["1"], ["2"]]);
    assert_eq!(metrics.sum("sluice_streams", &[]), 1.0);
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_an_exporter_that_was_removed_and_has_had_its_time() {
    let (refusing, up) = (sinks::recording().await, sinks::recording().await);
    refusing.set_fault(Fault::status(503));
    let timeout =
        |time: &str| format!("{}shutdown_timeout: {time}\n", two(&refusing.url(), &up.url(), "64MiB"));
    let sluice = Sluice::start(&timeout("0s")).await;
    sluice.accept(Signal::Logs, logs(&[("stuck", &["0"])])).await;
    sluice.reconfigure(&timeout("0s").replace("otlp_http/stuck", "otlp_http/new")).await;
    has_had_its_time(&sluice).await;
    sluice.reconfigure(&timeout("1h").replace("otlp_http/stuck", "otlp_http/new")).await;
    let left = tokio::time::timeout(crate::support::PATIENCE, sluice.shut_down()).await;
    assert!(left.expect("it needs no hour").is_empty());
}

#[tokio::test]
async fn what_stands_in_line_when_its_exporter_has_had_its_time_is_not_sent() {
    let (gate, up) = (Gate::start().await, sinks::recording().await);
    let ours = two(&gate.url(), &up.url(), "64MiB")
        .replace("sending_queue: {", "sending_queue: { max_in_flight: 1,");
    let ours = ours + "shutdown_timeout: 0s\n";
    let sluice = Sluice::start(&ours).await;
    for stream in ["stuck0", "stuck1"] {
        sluice.accept(Signal::Logs, logs(&[(stream, &["x"])])).await;
    }
    gate.arrived(1).await;
    sluice.reconfigure(&ours.replace("otlp_http/stuck", "otlp_http/new")).await;
    has_had_its_time(&sluice).await;
    gate.answer(200);
    sluice.wait_for_metric("sluice_pending_records", &[("exporter", "otlp_http/stuck")], 1.0).await;
    assert!(sluice.shut_down().await.is_empty());
    assert_eq!(gate.texts().len(), 1);
}
