//! Conservation: for every exporter, records routed = delivered + rejected + dead-lettered + dropped + pending,
//! after every kind of fault.

use std::time::Duration;

use rig::send::{Load, Report, SendSettings};
use rig::sink::{Counts, Fault, RetryAfter, Sink, SinkSettings};
use sluice::otlp::Signal;

use crate::support::letters::letters;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Metrics, PATIENCE, Sluice};

const UP: &str = "otlp_http/up";

/// Small batches, so that there are many, and an upstream that does not answer is soon given up.
const MANY_BATCHES: &str = "sending_queue: { batch: { min_size: 2KiB, max_size: 4KiB, flush_timeout: 2ms } }";

/// What came of a run.
struct Outcome {
    sent: Report,
    arrived: Counts,
    metrics: Metrics,
    letters: usize,
}

impl Outcome {
    fn ended(&self, outcome: &str) -> f64 {
        self.metrics.exported(UP, outcome)
    }
}

async fn send(to: &Sluice, signal: Signal) -> Report {
    let settings = SendSettings {
        signal,
        streams: 8,
        entries: 4,
        records: 5,
        connections: 2,
        requests: Some(60),
        share_streams: true,
        retry: true,
        ..SendSettings::new(to.url())
    };
    let report = Load::start(settings).expect("the settings are right").finish().await;
    assert!(report.all_taken(), "{report}");
    report
}

/// Sends a load while the upstream has these faults, and checks that every record is accounted for.
async fn under(faults: impl IntoIterator<Item = Fault>) -> Outcome {
    let up = sinks::counting().await;
    for fault in faults {
        up.add_fault(fault);
    }
    let config = yaml::up(&up.url(), &[QUICK, MANY_BATCHES, "timeout: 300ms"]) + LETTERS;
    let sluice = Sluice::start(&config).await;
    let sent = send(&sluice, Signal::Logs).await;
    let metrics = sluice.settled().await;
    let ended: f64 = ["delivered", "rejected", "dead_lettered", "dropped"]
        .iter()
        .map(|outcome| metrics.exported(UP, outcome))
        .sum();
    assert_eq!(ended, sent.records as f64, "every record has ended, once");
    let letters = letters(&sluice.directory().join("letters"));
    let lettered: u64 = letters.iter().map(crate::support::letters::Letter::records).sum();
    assert_eq!(metrics.exported(UP, "dead_lettered"), lettered as f64, "what is counted is on disk");
    Outcome { sent, arrived: up.counts(), metrics, letters: letters.len() }
}

/// The same, where the fault passes or can be retried: everything is delivered in the end.
async fn delivered_under(fault: Fault) -> Outcome {
    let outcome = under([fault]).await;
    assert_eq!(outcome.ended("delivered"), outcome.sent.records as f64);
    assert_eq!(outcome.arrived.records - outcome.arrived.duplicates, outcome.sent.records);
    assert!(outcome.arrived.in_order(), "{:?}", outcome.arrived);
    assert_eq!(outcome.letters, 0);
    outcome
}

#[tokio::test]
async fn records_of_every_signal_are_delivered_once_without_faults() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    let mut records = 0;
    for signal in Signal::ALL {
        records += send(&sluice, signal).await.records;
    }
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "delivered"), records as f64);
    assert_eq!((up.counts().records, up.counts().duplicates), (records, 0));
    let accepted = metrics.sum("sluice_received_records_total", &[("outcome", "accepted")]);
    assert_eq!(accepted, records as f64);
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0, "all memory has been given back");
}

#[tokio::test]
async fn refused_connections_lose_nothing() {
    let address = sinks::nobody().await;
    let sluice = Sluice::start(&yaml::up(&format!("http://{address}"), &[QUICK, MANY_BATCHES])).await;
    let sent = send(&sluice, Signal::Logs).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_pending_records", &[]), sent.records as f64, "all are waiting");
    let up = Sink::start(SinkSettings { listen: address, ..SinkSettings::default() }).await.unwrap();
    up.records(sent.records).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "delivered"), sent.records as f64);
    assert!(metrics.sum("sluice_export_attempts_total", &[("code", "connect")]) > 0.0, "{metrics:?}");
}

#[tokio::test]
async fn an_upstream_that_goes_away_and_comes_back_misses_nothing() {
    let up = sinks::counting().await;
    let address = up.addr();
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, MANY_BATCHES])).await;
    let before = send(&sluice, Signal::Logs).await.records;
    sluice.settled().await;
    up.stop().await;
    let meanwhile = send(&sluice, Signal::Logs).await.records;
    let up = Sink::start(SinkSettings { listen: address, ..SinkSettings::default() }).await.unwrap();
    up.records(meanwhile).await;
    assert_eq!(sluice.settled().await.exported(UP, "delivered"), (before + meanwhile) as f64);
}

#[tokio::test]
async fn resets_in_the_middle_of_a_body_lose_nothing() {
    delivered_under(Fault::reset_after(1000).ratio(0.2)).await;
}

#[tokio::test]
async fn connections_closed_in_the_middle_of_a_body_lose_nothing() {
    delivered_under(Fault::close_after(1000).ratio(0.2)).await;
}

#[tokio::test]
async fn slow_answers_lose_nothing() {
    let outcome = delivered_under(Fault::none().delayed(Duration::from_millis(20))).await;
    assert_eq!(outcome.arrived.duplicates, 0);
}

#[tokio::test]
async fn answers_that_never_come_lose_nothing() {
    let outcome = delivered_under(Fault::hang().first(8)).await;
    assert_eq!(outcome.metrics.sum("sluice_export_attempts_total", &[("code", "timeout")]), 8.0);
}

#[tokio::test]
async fn answers_cut_off_lose_nothing_and_are_sent_again() {
    let outcome = delivered_under(Fault::cut_answer().ratio(0.2)).await;
    assert!(outcome.arrived.duplicates > 0, "a sender without an answer can't know");
}

#[tokio::test]
async fn answers_that_are_not_http_lose_nothing() {
    delivered_under(Fault::not_http().ratio(0.2)).await;
}

#[tokio::test]
async fn a_body_that_is_no_otlp_after_200_counts_as_delivered_and_is_not_sent_again() {
    let outcome = delivered_under(Fault::garbage_body().ratio(0.5)).await;
    assert_eq!(outcome.arrived.duplicates, 0);
}

#[tokio::test]
async fn overload_with_and_without_retry_after_loses_nothing() {
    for status in [429, 502, 503, 504] {
        delivered_under(Fault::status(status).first(20)).await;
        delivered_under(Fault::status(status).retry_after(RetryAfter::Seconds(0)).first(20)).await;
        delivered_under(Fault::status(status).retry_after(RetryAfter::Date(Duration::ZERO)).first(20)).await;
    }
}

#[tokio::test]
async fn a_rejected_token_empties_no_queue() {
    for status in [401, 403, 404] {
        let outcome = delivered_under(Fault::status(status).first(40)).await;
        let code = status.to_string();
        assert_eq!(outcome.metrics.sum("sluice_export_attempts_total", &[("code", &code)]), 40.0);
    }
}

#[tokio::test]
async fn partial_success_is_counted_as_the_upstream_says() {
    let outcome = under([Fault::partial_success(2, "two too many").first(10)]).await;
    assert_eq!(outcome.ended("rejected"), 20.0);
    assert_eq!(outcome.arrived.duplicates, 0, "partial success is never retried");
}

#[tokio::test]
async fn partial_success_that_lies_is_clamped_to_the_batch() {
    for lie in [i64::MAX, 1_000_000, -5] {
        let outcome = under([Fault::partial_success(lie, "a lie")]).await;
        let rejected = if lie > 0 { outcome.sent.records } else { 0 };
        assert_eq!(outcome.ended("rejected"), rejected as f64, "{lie}");
        assert_eq!(outcome.arrived.duplicates, 0);
    }
}

#[tokio::test]
async fn records_refused_as_bad_are_dead_lettered_one_by_one() {
    let outcome = under([Fault::status(400).on_text("0000000000000007")]).await;
    // Eight streams, two senders: record 7 of each.
    assert_eq!(outcome.ended("dead_lettered"), 16.0);
    assert_eq!(outcome.ended("delivered"), outcome.sent.records as f64 - 16.0);
    assert_eq!(outcome.letters, 16);
}

#[tokio::test]
async fn all_faults_at_once_lose_nothing_unaccounted() {
    let outcome = under([
        Fault::status(400).on_text("0000000000000011"),
        Fault::reset_after(500).ratio(0.05),
        Fault::status(503).ratio(0.1),
        Fault::cut_answer().ratio(0.05),
        Fault::not_http().ratio(0.05),
        Fault::status(401).first(5),
        Fault::hang().first(2),
        Fault::partial_success(1, "one").ratio(0.05),
        Fault::status(406).ratio(0.05),
        Fault::garbage_body().ratio(0.05),
        Fault::redirect(302, "http://127.0.0.1:9/").ratio(0.05),
    ])
    .await;
    for ended in ["delivered", "rejected", "dead_lettered"] {
        assert!(outcome.ended(ended) > 0.0, "{ended}");
    }
}

#[tokio::test]
async fn rules_21_and_42_retry_after_is_honoured_in_seconds_and_as_a_date() {
    // A date has whole seconds: the one that is two seconds away is more than one away.
    for wait in [RetryAfter::Seconds(1), RetryAfter::Date(Duration::from_secs(2))] {
        let up = sinks::recording().await;
        up.script([Fault::status(503).retry_after(wait)]);
        let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY])).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["one"])])).await;
        up.wait_for_requests(2, PATIENCE).await.unwrap();
        let requests = up.requests();
        let waited = requests[1].arrived - requests[0].arrived;
        assert!(waited >= Duration::from_millis(990), "{wait:?}: {waited:?}");
        sluice.settled().await;
    }
}

#[tokio::test]
async fn retries_that_are_given_up_become_dead_letters() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let given_up = "retry_on_failure: { initial_interval: 5ms, max_interval: 10ms, max_elapsed_time: 50ms }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[given_up, SINGLY]) + LETTERS)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["one", "two"])])).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported(UP, "dead_lettered"), 2.0);
    let letters = letters(&sluice.directory().join("letters"));
    assert_eq!(letters[0].bytes, logs(&[("a", &["one", "two"])]));
    assert!(letters[0].text("reason").contains("503"), "{}", letters[0].note);
}
