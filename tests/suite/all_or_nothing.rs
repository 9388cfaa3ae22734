//! All or nothing: what is valid and routed in a request is admitted whole, or the request is refused whole with a
//! retryable status; under `shed` the part that is cut out is named.

use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::support::http::{self, Answer};
use crate::support::letters::wait_for_letters;
use crate::support::payload::{KEY, filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK};
use crate::support::{Front, Sluice};

const UP: &str = "otlp_http/up";

/// A stream's queue holds one record of a kilobyte, but not two.
fn narrow(when_full: &str) -> String {
    format!(
        "sending_queue: {{ queue_size: 1500, sizer: bytes, when_full: {when_full}, batch: {{ min_size: 1, flush_timeout: 0s }} }}"
    )
}

fn assert_retryable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").expect("it says when to retry").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(answer.error().code, 14, "UNAVAILABLE");
}

/// The routing keys of streams with something in them.
async fn holding(sluice: &Front) -> Vec<String> {
    let streams = sluice.api("/api/v1/streams").await;
    let all = streams["streams"].as_array().expect("a list");
    let mut keys: Vec<String> = all
        .iter()
        .filter(|stream| stream["pending_bytes"] != 0)
        .map(|stream| stream["key"].as_str().expect("a text").to_owned())
        .collect();
    keys.sort();
    keys
}

fn kilobyte(text: &str) -> String {
    filler(text, 1000)
}

#[tokio::test]
async fn a_request_that_touches_a_full_stream_is_refused_whole() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, &narrow("refuse")])).await;
    sluice.accept(Signal::Logs, logs(&[("full", &[&kilobyte("1")])])).await;
    let before = sluice.assert_conserved().await;

    let mixed =
        logs(&[("fresh", &[&kilobyte("2")]), ("full", &[&kilobyte("3")]), ("other", &[&kilobyte("4")])]);
    let answer = sluice.post(Signal::Logs, mixed.clone()).await;
    assert_retryable(&answer);
    assert!(answer.error().message.contains("full"), "{:?}", answer.error());

    assert_eq!(holding(&sluice).await, ["full"]);
    let after = sluice.assert_conserved().await;
    for name in ["sluice_pending_records", "sluice_pending_bytes", "sluice_memory_bytes"] {
        assert_eq!(after.sum(name, &[]), before.sum(name, &[]), "{name}");
    }
    assert_eq!(after.sum("sluice_received_records_total", &[("outcome", "refused")]), 3.0);
    assert_eq!(after.sum("sluice_received_requests_total", &[("outcome", "refused")]), 1.0);

    up.clear_faults();
    sluice.settled().await;
    sluice.accept(Signal::Logs, mixed).await;
    up.records(4).await;
    let arrived = up.counts();
    assert_eq!((arrived.records, arrived.duplicates), (4, 0), "nothing of the refused request was kept");
}

#[tokio::test]
async fn rule_41_overload_is_503_with_seconds_to_wait_in_the_encoding_of_the_request() {
    let memory = "limits: { memory: 1MiB }\n";
    let queue = "sending_queue: { queue_size: 16MiB, batch: { min_size: 1, flush_timeout: 0s } }";
    // Of the stream that is full, and of any, where there is no memory left.
    for (queue, more, size, stream) in
        [(narrow("refuse"), "", 1000, "a"), (queue.to_owned(), memory, 700_000, "b")]
    {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503));
        let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, &queue]) + more)).await;
        sluice.accept(Signal::Logs, logs(&[("a", &[&filler("first", size)])])).await;
        let text = filler("second", size);
        assert_retryable(&sluice.post(Signal::Logs, logs(&[(stream, &[&text])])).await);
        let json = serde_json::json!({ "resourceLogs": [{
            "resource": { "attributes": [{ "key": KEY, "value": { "stringValue": stream } }] },
            "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": text } }] }],
        }] });
        let headers = [("content-type", "application/json")];
        let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, json.to_string().into()).await;
        assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/json")));
        let seconds: u64 = answer.header("retry-after").expect("it says when to retry").parse().unwrap();
        assert!((1..=5).contains(&seconds), "{seconds}");
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(status["code"], 14, "UNAVAILABLE: {status}");
    }
}

#[tokio::test]
async fn a_request_is_refused_whole_if_one_of_two_exporters_is_full() {
    let (stalled, fine) = (sinks::recording().await, sinks::recording().await);
    stalled.set_fault(Fault::status(503));
    let exporters = yaml::exporters(&[
        ("otlp_http/fine", yaml::to(&fine.url(), &[QUICK])),
        ("otlp_http/stalled", yaml::to(&stalled.url(), &[QUICK, &narrow("refuse")])),
    ]);
    let sluice = Sluice::start(&(exporters + &yaml::by_stream("otlp_http/fine, otlp_http/stalled"))).await;
    sluice.accept(Signal::Logs, logs(&[("a", &[&kilobyte("1")])])).await;
    fine.records(1).await;
    assert_retryable(&sluice.post(Signal::Logs, logs(&[("a", &[&kilobyte("2")])])).await);
    let metrics = sluice.assert_conserved().await;
    for exporter in ["otlp_http/fine", "otlp_http/stalled"] {
        assert_eq!(metrics.sum("sluice_routed_records_total", &[("exporter", exporter)]), 1.0, "{exporter}");
    }
    assert_eq!(fine.counts().records, 1);
}

#[tokio::test]
async fn shed_cuts_out_what_has_no_room_and_names_it() {
    for dead_letter in [true, false] {
        let up = sinks::recording().await;
        up.set_fault(Fault::status(503).on_streams("full"));
        let config = yaml::up(&up.url(), &[QUICK, &narrow("shed")]);
        let sluice = Sluice::start(&if dead_letter { config + LETTERS } else { config }).await;
        sluice.accept(Signal::Logs, logs(&[("full", &[&kilobyte("1")])])).await;

        let cut = kilobyte("3");
        let mixed = logs(&[("fresh", &[&kilobyte("2")]), ("full", &[&cut, &cut]), ("fresh", &["4"])]);
        let answer = sluice.post(Signal::Logs, mixed).await;
        assert_eq!(answer.status, 200);
        let (rejected, message) = answer.partial(Signal::Logs).expect("something was cut out");
        assert_eq!(rejected, 2);
        assert!(message.contains("entry 1") && message.contains(UP), "{message}");
        up.records(2).await;

        let ended = if dead_letter { "dead_lettered" } else { "dropped" };
        sluice.wait_for_metric("sluice_exported_records_total", &[("outcome", ended)], 2.0).await;
        let metrics = sluice.assert_conserved().await;
        let received = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]);
        assert_eq!((received("accepted"), received("dropped"), received("rejected")), (3.0, 2.0, 0.0));
        if dead_letter {
            let letters = wait_for_letters(&sluice.directory().join("letters"), 1).await;
            assert_eq!(letters[0].bytes, logs(&[("full", &[&cut, &cut])]));
            assert_eq!((letters[0].text("exporter"), letters[0].text("key")), (UP, "full"));
        }
        up.clear_faults();
        up.records(3).await;
        sluice.settled().await;
    }
}

#[tokio::test]
async fn an_empty_stream_takes_a_request_that_is_larger_than_its_queue() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, &narrow("refuse")])).await;
    let texts: Vec<String> = (0..50).map(|index| kilobyte(&index.to_string())).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    sluice.accept(Signal::Logs, logs(&[("a", &texts)])).await;
    up.records(50).await;
    assert_eq!(up.texts(Signal::Logs), texts);
    sluice.settled().await;
}

#[tokio::test]
async fn a_queue_size_without_a_unit_counts_requests() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let queue = "sending_queue: { queue_size: 2, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    for text in ["1", "2"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    assert_retryable(&sluice.post(Signal::Logs, logs(&[("a", &["3"])])).await);
    sluice.accept(Signal::Logs, logs(&[("b", &["4"])])).await;
    up.clear_faults();
    up.records(3).await;
    sluice.settled().await;
    sluice.accept(Signal::Logs, logs(&[("a", &["5"])])).await;
    up.records(4).await;
}
