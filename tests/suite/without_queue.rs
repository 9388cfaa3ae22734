//! An exporter without a queue or without retries: the sender hears of what fails, and still has the data.

use std::sync::Arc;
use std::time::Duration;

use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::grpc;
use crate::support::letters::letters;
use crate::support::payload::{entry, logs, request};
use crate::support::scripted::{Said, Scripted};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Metrics, PATIENCE, Sluice, SluiceProcess, clock, eventually};

const UP: &str = "otlp_http/up";

const NO_QUEUE: &str = "sending_queue: { enabled: false }";
const NO_RETRIES: &str = "retry_on_failure: { enabled: false }";

/// For exporters that retry: not as long as a test waits.
const HASTY: &str = "acknowledge: delivered\nacknowledge_timeout: 300ms\n";
const PATIENT: &str = "acknowledge: delivered\nacknowledge_timeout: 1h\n";

/// The `acknowledge_timeout` of senders that are to wait for something before it is over, which [`clock::pass`] then has it be.
const AWHILE: Duration = Duration::from_secs(60);

fn received(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum("sluice_received_records_total", &[("outcome", outcome)])
}

/// Checks that a request of so many records was given back to its sender: nothing of it is left, rejected or dead-lettered.
async fn assert_given_back(sluice: &Sluice, records: f64) {
    let metrics = sluice.settled().await;
    assert_eq!((received(&metrics, "refused"), received(&metrics, "accepted")), (records, 0.0));
    assert_eq!(metrics.sum("sluice_withdrawn_records_total", &[]), records);
    assert_eq!((metrics.exported(UP, "rejected"), metrics.exported(UP, "dead_lettered")), (0.0, 0.0));
    assert!(letters(&sluice.directory().join("letters")).is_empty());
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0);
}

#[tokio::test]
async fn without_a_queue_the_sender_gets_the_upstreams_failure_and_its_retry_arrives_once() {
    // A Collector's `wait_for_result` asks for the same.
    for queue in [NO_QUEUE, "sending_queue: { wait_for_result: true }"] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503).message("come back later"));
        let config = yaml::up(&up.url(), &[queue, NO_RETRIES]) + LETTERS;
        let sluice = Sluice::start(&config).await;
        let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
        assert_eq!(answer.status, 503, "{queue}: {answer:?}");
        let message = answer.error().message;
        assert!(message.contains("`otlp_http/up`") && message.contains("come back later"), "{message}");
        assert_given_back(&sluice, 2.0).await;
        assert_eq!(up.counts().refused, 1);
        up.clear_faults();
        sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
        assert_eq!(up.texts(Signal::Logs), ["1", "2"]);
    }
}

/// A request of so many resources of the stream `a`, with a record each.
fn resources(first: usize, count: usize) -> Vec<u8> {
    let texts: Vec<String> = (first..first + count).map(|number| format!("{number:04}")).collect();
    let entries: Vec<_> = texts.iter().map(|text| entry(Signal::Logs, "a", &[text])).collect();
    request(&entries)
}

#[tokio::test]
async fn without_a_queue_what_a_request_brings_to_a_stream_is_one_batch_whatever_it_is_cut_into() {
    let batches = "sending_queue: { enabled: false, batch: { min_size: 1, max_size: 4KiB } }";
    let journal = "journal: { directory: ./journal, max_size: 16MiB, segment_size: 1MiB }\n";
    for (queue, more) in [(NO_QUEUE, ""), (NO_QUEUE, journal), (batches, "")] {
        let up = sinks::recording().await;
        let directory = tempfile::tempdir().unwrap();
        let more = more.replace("./journal", &directory.path().display().to_string());
        let sluice = Sluice::start(&(yaml::up(&up.url(), &[queue, QUICK]) + &more)).await;
        for number in 0..3 {
            sluice.accept(Signal::Logs, resources(100 * number, 100)).await;
        }
        let expected: Vec<String> = (0..300).map(|number| format!("{number:04}")).collect();
        assert_eq!(up.texts(Signal::Logs), expected);
        // Not smaller than they must be, and nothing of two requests together.
        let most = if queue == batches { 9 } else { 3 };
        let requests = up.counts().requests;
        assert!((3..=most).contains(&requests) && requests % 3 == 0, "{queue}: {requests}");
    }
}

#[tokio::test]
async fn without_a_queue_a_request_is_taken_or_refused_as_a_whole_by_an_upstream_that_fails_now_and_then() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).ratio(0.5));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[NO_QUEUE, NO_RETRIES]) + LETTERS)).await;
    let (mut taken, mut reported) = (0, 0);
    for number in 0..30 {
        let answer = sluice.post(Signal::Logs, resources(10 * number, 10)).await;
        match answer.status {
            200 => taken += 10,
            503 => reported += 10,
            status => panic!("{status}: {}", answer.text()),
        }
    }
    let metrics = sluice.settled().await;
    assert_eq!(up.counts().records, taken, "nothing arrived of what the sender was told to send again");
    assert_eq!(taken + reported, 300);
    assert_eq!(metrics.sum("sluice_withdrawn_records_total", &[]), reported as f64);
}

#[tokio::test]
async fn a_search_for_bad_records_that_takes_longer_than_its_sender_waits_ends_all_the_same() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).on_text("poison").delayed(Duration::from_millis(10)));
    let config = yaml::up(&up.url(), &[NO_QUEUE, QUICK]) + LETTERS + "acknowledge_timeout: 300ms\n";
    let sluice = Sluice::start(&config).await;
    let text = |n| if n % 10 == 9 { format!("poison {n}") } else { format!("text {n}") };
    let texts: Vec<String> = (0..200).map(text).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let answer = sluice.post(Signal::Logs, logs(&[("a", &all)])).await;
    assert_eq!(answer.status, 503, "it is late: {answer:?}");
    let metrics = sluice.settled().await;
    assert_eq!((metrics.exported(UP, "delivered"), metrics.exported(UP, "dead_lettered")), (180.0, 20.0));
    let good: Vec<&str> = all.into_iter().filter(|text| text.starts_with("text")).collect();
    assert_eq!(up.texts(Signal::Logs), good, "each once, in order");
}

#[tokio::test]
async fn over_grpc_the_failure_is_unavailable() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[NO_QUEUE, NO_RETRIES])).await;
    let body = grpc::framed(0, &logs(&[("a", &["1"])]));
    let reply = grpc::call(sluice.otlp, grpc::export(Signal::Logs), &[], body).await;
    assert_eq!(reply.code(), tonic::Code::Unavailable);
    assert!(reply.message().contains("did not deliver it"), "{}", reply.message());
}

#[tokio::test]
async fn without_a_queue_an_upstream_that_recovers_in_time_is_a_success() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).first(3));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[NO_QUEUE, QUICK])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_eq!((up.texts(Signal::Logs).len(), up.counts().refused), (1, 3));
}

#[tokio::test]
async fn without_a_queue_the_wait_ends_at_acknowledge_timeout() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let config = yaml::up(&up.url(), &[NO_QUEUE, QUICK]) + LETTERS + "acknowledge_timeout: 200ms\n";
    let sluice = Sluice::start(&config).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().message.contains("not delivered within"), "{answer:?}");
    assert_given_back(&sluice, 1.0).await;
}

#[tokio::test]
async fn without_retries_a_destination_that_refuses_us_is_told_to_the_waiting_sender_at_once() {
    for status in [401, 403, 404, 405, 407, 415, 501, 301] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(status).message("wrong token s3cr3t-token"));
        let headers = "headers: { Authorization: 'Bearer s3cr3t-token' }";
        // The answer comes long before this, or the test would not end.
        let config =
            yaml::up(&up.url(), &[NO_QUEUE, NO_RETRIES, headers]) + LETTERS + "acknowledge_timeout: 1h\n";
        let sluice = Sluice::start(&config).await;
        for round in 1..=3 {
            let answer = sluice.post(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
            assert_eq!(answer.status, 503, "{status}: {answer:?}");
            let message = answer.error().message;
            assert!(
                message.contains("`otlp_http/up` did not deliver it") && !message.contains("s3cr3t"),
                "{message}"
            );
            assert!(message.contains(&status.to_string()), "{message}");
            assert!(status == 301 || message.contains("wrong token"), "{message}");
            assert_given_back(&sluice, 2.0 * f64::from(round)).await;
            assert_eq!(up.counts().refused, round as u64, "one attempt for each request");
        }
        // It is no worse for what comes when the token is right.
        up.clear_faults();
        sluice.accept(Signal::Logs, logs(&[("a", &["1", "2"])])).await;
        assert_eq!(up.texts(Signal::Logs), ["1", "2"]);
    }
}

#[tokio::test]
async fn without_retries_a_grpc_upstream_that_refuses_us_is_told_to_the_waiting_sender_at_once() {
    for code in [tonic::Code::Unauthenticated, tonic::Code::PermissionDenied, tonic::Code::Unimplemented] {
        let up = Scripted::saying(Said::status(code, &[("grpc-message", "no such tenant")])).await;
        let options = format!("{}, {NO_QUEUE}, {NO_RETRIES}", up.grpc_options());
        let config = yaml::exporters(&[("otlp_grpc/up", options)])
            + &yaml::by_stream("otlp_grpc/up")
            + "acknowledge_timeout: 1h\n";
        let sluice = Sluice::start(&config).await;
        let body = grpc::framed(0, &logs(&[("a", &["1"])]));
        let reply = grpc::call(sluice.otlp, grpc::export(Signal::Logs), &[], body).await;
        assert_eq!(reply.code(), tonic::Code::Unavailable, "{code:?}");
        assert!(reply.message().contains("no such tenant"), "{}", reply.message());
    }
}

#[tokio::test]
async fn without_retries_what_nobody_waits_for_is_held_and_what_somebody_waits_for_is_not() {
    let (up, other) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::status(401).message("expired"));
    // One stream of `up` for both: what comes by `s2.stream: a` waits for it, as `other` has no queue.
    let retry = "retry_on_failure: { enabled: false, initial_interval: 5ms, max_interval: 9ms }";
    let config = yaml::exporters(&[
        ("otlp_http/up", yaml::to(&up.url(), &[SINGLY, retry])),
        ("otlp_http/other", yaml::to(&other.url(), &[NO_QUEUE, NO_RETRIES])),
    ]) + &yaml::by_stream("otlp_http/up, otlp_http/other")
        + LETTERS;
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_eq!(other.texts(Signal::Logs), ["1"], "it was answered once this one had it");
    up.wait_for_requests(2, PATIENCE).await.unwrap();
    up.clear_faults();
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["1"], "it was held, and is in no letter");
    assert!(letters(&sluice.directory().join("letters")).is_empty());
}

#[tokio::test]
async fn a_sender_that_has_waited_too_long_is_told_what_the_last_attempt_failed_for() {
    let cases = [
        (Fault::status(401).message("expired token s3cr3t-token"), "401 Unauthorized: expired token"),
        (Fault::status(404).message("no such path"), "404 Not Found: no such path"),
        (Fault::status(503).message("overloaded"), "503 Service Unavailable: overloaded"),
        (Fault::close_after(1), "otlp_http/up`: "),
    ];
    for (fault, words) in cases {
        let up = sinks::recording().await;
        up.set_fault(fault);
        let headers = "headers: { Authorization: 'Bearer s3cr3t-token' }";
        let config =
            yaml::up(&up.url(), &[NO_QUEUE, QUICK, headers]) + LETTERS + "acknowledge_timeout: 60s\n";
        let sluice = Sluice::start(&config).await;
        let fails_meanwhile = async {
            // By the second attempt, it is known why the first failed.
            up.wait_for_requests(2, PATIENCE).await.unwrap();
            clock::pass(AWHILE).await;
        };
        let body = logs(&[("a", &["1"])]);
        let (answer, ()) = tokio::join!(sluice.post(Signal::Logs, body), fails_meanwhile);
        let message = answer.error().message;
        assert_eq!(answer.status, 503, "{message}");
        assert!(message.contains("not delivered within 60s (`otlp_http/up`: "), "{message}");
        assert!(message.contains(words) && !message.contains("s3cr3t"), "{message}");
        assert_given_back(&sluice, 1.0).await;
    }
}

#[tokio::test]
async fn a_sender_that_has_waited_too_long_is_not_told_what_was_wrong_with_anothers_data() {
    let up = sinks::recording().await;
    up.add_fault(Fault::status(400).message("alice@example.com is no number").on_text("alice"));
    up.add_fault(Fault::hang().on_text("bob"));
    let sluice =
        Sluice::start(&(yaml::up(&up.url(), &[NO_QUEUE, QUICK]) + "acknowledge_timeout: 2s\n")).await;
    let alices = sluice.post(Signal::Logs, logs(&[("shared", &["alice"])])).await;
    assert!(alices.partial(Signal::Logs).unwrap().1.contains("is no number"), "{}", alices.text());
    let bobs = sluice.post(Signal::Logs, logs(&[("shared", &["bob"])])).await;
    let message = bobs.error().message;
    assert!(message.contains("not delivered within 2s (`otlp_http/up` has not answered yet): "), "{message}");
    assert!(!message.contains("alice"), "{message}");
}

#[tokio::test]
async fn a_sender_that_has_waited_too_long_is_told_of_upstreams_that_failed_or_have_not_answered_and_no_others()
 {
    let (bad, good, silent) = (sinks::recording().await, sinks::recording().await, sinks::recording().await);
    bad.set_fault(Fault::status(403).message("not yours"));
    silent.set_fault(Fault::hang());
    let config = yaml::exporters(&[
        ("otlp_http/bad", yaml::to(&bad.url(), &[QUICK])),
        ("otlp_http/good", yaml::to(&good.url(), &[QUICK])),
        // Its attempt fails no sooner than the sender has its answer.
        ("otlp_http/silent", yaml::to(&silent.url(), &[QUICK, "timeout: 1h"])),
    ]) + &yaml::by_stream("otlp_http/bad, otlp_http/good, otlp_http/silent")
        + "acknowledge: delivered\nacknowledge_timeout: 60s\n";
    let sluice = Sluice::start(&config).await;
    let body = grpc::framed(0, &logs(&[("a", &["1"])]));
    let fails_meanwhile = async {
        // By the second attempt, it is known why the first failed.
        bad.wait_for_requests(2, PATIENCE).await.unwrap();
        good.records(1).await;
        clock::pass(AWHILE).await;
    };
    let (reply, ()) =
        tokio::join!(grpc::call(sluice.otlp, grpc::export(Signal::Logs), &[], body), fails_meanwhile);
    assert_eq!(reply.code(), tonic::Code::Unavailable);
    let message = reply.message();
    let causes = "(`otlp_http/bad`: 403 Forbidden: not yours; `otlp_http/silent` has not answered yet)";
    assert!(message.contains(causes), "{message}");
}

#[tokio::test]
async fn a_sender_that_has_waited_too_long_is_told_of_an_upstream_that_hangs_once_however_many_streams_wait()
{
    let up = sinks::recording().await;
    up.set_fault(Fault::hang());
    let config = yaml::up(&up.url(), &[QUICK, SINGLY, "timeout: 1h"])
        + "acknowledge: delivered\nacknowledge_timeout: 60s\n";
    let sluice = Sluice::start(&config).await;
    let hangs_meanwhile = async {
        up.wait_for_requests(2, PATIENCE).await.unwrap();
        clock::pass(AWHILE).await;
    };
    let body = logs(&[("a", &["1"]), ("b", &["2"])]);
    let (answer, ()) = tokio::join!(sluice.post(Signal::Logs, body), hangs_meanwhile);
    let message = answer.error().message;
    assert!(message.contains("within 60s (`otlp_http/up` has not answered yet): "), "{message}");
}

#[tokio::test]
async fn a_sender_that_has_waited_too_long_for_a_batch_to_fill_is_not_told_that_its_upstream_does_not_answer()
{
    let up = sinks::recording().await;
    let slow = "sending_queue: { batch: { min_size: 100000, flush_timeout: 1h } }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[slow]) + HASTY)).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1"])])).await;
    let message = answer.error().message;
    assert!(message.contains("within 300ms (`otlp_http/up` has not taken it yet): "), "{message}");
}

/// What the log says of a request that was not delivered.
const UNDELIVERED: &str = "request not delivered in time, or its sender has gone";

#[tokio::test]
async fn the_log_names_exporter_and_key_of_what_was_not_delivered_in_time() {
    let (up, good) = (sinks::recording().await, sinks::recording().await);
    up.set_fault(Fault::hang());
    let config = yaml::exporters(&[
        ("otlp_http/good", yaml::to(&good.url(), &[SINGLY])),
        ("otlp_http/up", yaml::to(&up.url(), &[SINGLY])),
    ]) + &yaml::by_stream("otlp_http/good, otlp_http/up")
        + HASTY;
    let sluice = SluiceProcess::start(&config, &[]).await;
    for key in ["one", "two"] {
        assert_eq!(sluice.post(Signal::Logs, logs(&[(key, &["1"])])).await.status, 503);
        let named = || sluice.log().into_iter().find(|line| line.contains(UNDELIVERED) && line.contains(key));
        let line = eventually("the line about this stream", async || named()).await;
        assert!(line.contains(&format!("exporter=otlp_http/up signal=logs key=\"{key}\"")), "{line}");
    }
}

#[tokio::test]
async fn the_log_names_exporter_and_key_of_what_was_given_up_or_whose_sender_has_gone() {
    let (up, good) = (sinks::recording().await, sinks::recording().await);
    up.add_fault(Fault::status(503).on_streams("given-up"));
    up.add_fault(Fault::hang().on_streams("gone"));
    let config = yaml::exporters(&[
        ("otlp_http/good", yaml::to(&good.url(), &[NO_QUEUE])),
        ("otlp_http/up", yaml::to(&up.url(), &[NO_QUEUE, NO_RETRIES])),
    ]) + &yaml::by_stream("otlp_http/good, otlp_http/up")
        + "acknowledge_timeout: 1h\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    let named = async |key: &str| {
        let find = || sluice.log().into_iter().find(|line| line.contains(UNDELIVERED) && line.contains(key));
        eventually("the line about this stream", async || find()).await
    };
    assert_eq!(sluice.post(Signal::Logs, logs(&[("given-up", &["1"])])).await.status, 503);
    let line = named("given-up").await;
    assert!(line.contains("exporter=otlp_http/up signal=logs key=\"given-up\""), "{line}");

    let mut wire = Wire::open(sluice.otlp).await;
    let body = logs(&[("gone", &["2"])]);
    let headers = ["content-type: application/x-protobuf", &*format!("content-length: {}", body.len())];
    wire.request("POST /v1/logs", &headers, body).await;
    up.wait_for_requests(2, PATIENCE).await.unwrap();
    // Until the good one's answer is there, it may be the one that is named.
    let taken = [("exporter", "otlp_http/good"), ("outcome", "delivered")];
    sluice.wait_for_metric("sluice_exported_records_total", &taken, 2.0).await;
    drop(wire);
    let line = named("gone\"").await;
    assert!(line.contains("exporter=otlp_http/up signal=logs key=\"gone\""), "{line}");
}

#[tokio::test]
async fn retries_that_end_give_a_waiting_senders_request_back_whole() {
    for retry in [
        NO_RETRIES,
        "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms, max_elapsed_time: 50ms }",
    ] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503).on_streams("bad"));
        // What has the bad stream's part is given back with it: its sender has one answer for all of it.
        let sluice = Sluice::start(&(yaml::up(&up.url(), &[retry, SINGLY]) + LETTERS + PATIENT)).await;
        let answer = sluice.post(Signal::Logs, logs(&[("bad", &["1", "2"])])).await;
        assert_eq!(answer.status, 503, "{retry}: {answer:?}");
        assert_given_back(&sluice, 2.0).await;
        let answer = sluice.post(Signal::Logs, logs(&[("good", &["3"]), ("bad", &["4"])])).await;
        assert_eq!(answer.status, 503, "{retry}: {answer:?}");
        let metrics = sluice.settled().await;
        assert_eq!((metrics.exported(UP, "rejected"), metrics.exported(UP, "dead_lettered")), (0.0, 0.0));
    }
}

#[tokio::test]
async fn with_a_journal_what_is_given_back_is_not_sent_by_the_next_process() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let config =
        yaml::up(&up.url(), &[NO_QUEUE, NO_RETRIES]) + LETTERS + "journal: { directory: '@DIR@/journal' }\n";
    let sluice = Sluice::start(&config).await;
    assert_eq!(sluice.post(Signal::Logs, logs(&[("a", &["1"])])).await.status, 503);
    assert_given_back(&sluice, 1.0).await;
    let shown = sluice.api("/api/v1/journal").await;
    assert_eq!(shown["pending_entries"].as_u64().unwrap_or_default(), 0, "{shown}");
}

#[tokio::test]
async fn a_sender_waits_for_exporters_without_a_queue_and_for_no_others() {
    let (direct, queued) = (sinks::recording().await, sinks::recording().await);
    queued.set_fault(Fault::hang());
    let config = yaml::exporters(&[
        ("otlp_http/direct", yaml::to(&direct.url(), &[NO_QUEUE, NO_RETRIES])),
        ("otlp_http/queued", yaml::to(&queued.url(), &[QUICK])),
    ]) + &yaml::by_stream("otlp_http/direct, otlp_http/queued");
    let sluice = Sluice::start(&config).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1"])])).await;
    assert_eq!(direct.texts(Signal::Logs), ["1"], "it was answered once this one had it");
    assert_eq!(queued.counts().accepted, 0);
    direct.set_fault(Fault::status(503));
    assert_eq!(sluice.post(Signal::Logs, logs(&[("a", &["2"])])).await.status, 503);
}

#[tokio::test]
async fn what_an_unreliable_upstream_took_and_what_senders_were_told_is_all_that_was_sent() {
    // Half of all requests fail, some for good.
    for fault in [Fault::status(503), Fault::status(400)] {
        let up = sinks::recording().await;
        up.set_fault(fault.ratio(0.5));
        let config = yaml::up(&up.url(), &[NO_QUEUE, NO_RETRIES]) + LETTERS;
        let sluice = Arc::new(Sluice::start(&config).await);
        let (mut accepted, mut reported) = (0, 0);
        for number in 0..100 {
            let answer = sluice.post(Signal::Logs, logs(&[(&format!("{}", number % 7), &["x"])])).await;
            let rejected = match answer.status {
                200 => answer.partial(Signal::Logs).map_or(0, |(rejected, _)| rejected),
                status => i64::from(status == 503),
            };
            if rejected == 1 { reported += 1 } else { accepted += 1 }
        }
        sluice.settled().await;
        assert_eq!((accepted + reported, up.texts(Signal::Logs).len()), (100, accepted));
        assert!(accepted > 10 && reported > 10, "{accepted}, {reported}");
    }
}

#[tokio::test]
async fn a_warning_says_that_senders_wait() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[NO_QUEUE]) + HASTY), &[]).await;
    sluice.logged("without a queue, senders wait until the upstream has taken").await;
}
