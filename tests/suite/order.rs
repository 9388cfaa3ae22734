//! Order: within a stream, entries leave in the order they were admitted, whatever happens on the way.

use std::time::Duration;

use rig::send::{Load, Report, SendSettings};
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;

use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{PATIENCE, Sluice};

fn load(to: &Sluice) -> SendSettings {
    SendSettings {
        streams: 6,
        entries: 3,
        records: 4,
        connections: 4,
        share_streams: true,
        requests: Some(120),
        retry: true,
        ..SendSettings::new(to.url())
    }
}

/// Every record that a sender was told is taken has arrived, after its predecessors.
fn assert_in_order(sent: &Report, up: &Sink) {
    assert!(sent.all_taken(), "{sent}");
    let counts = up.counts();
    assert!(counts.in_order(), "{counts:?}");
    assert!(!sent.sequences.is_empty());
    for taken in &sent.sequences {
        let arrived = up.stream(Signal::Logs, &taken.stream);
        assert_eq!(arrived.senders.get(&taken.sender), Some(&taken.records), "{taken:?}");
    }
}

fn restless() -> [Fault; 4] {
    [
        Fault::status(503).ratio(0.15),
        Fault::reset_after(700).ratio(0.1),
        Fault::cut_answer().ratio(0.1),
        Fault::hang().first(3),
    ]
}

async fn in_order_with(queue: &str) {
    let up = sinks::counting().await;
    for fault in restless() {
        up.add_fault(fault);
    }
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue, "timeout: 300ms"])).await;
    let sent = Load::start(load(&sluice)).unwrap().finish().await;
    up.records(sent.records).await;
    sluice.settled().await;
    assert_in_order(&sent, &up);
}

#[tokio::test]
async fn small_batches_keep_every_streams_order_through_faults() {
    in_order_with(SINGLY).await;
}

#[tokio::test]
async fn large_batches_keep_every_streams_order_through_faults() {
    in_order_with("sending_queue: { batch: { min_size: 20KiB, max_size: 40KiB, flush_timeout: 10ms } }")
        .await;
}

#[tokio::test]
async fn batches_that_split_entries_keep_every_streams_order_through_faults() {
    in_order_with("sending_queue: { batch: { min_size: 500, max_size: 700, flush_timeout: 2ms } }").await;
}

#[tokio::test]
async fn order_holds_while_settings_change_under_load() {
    let up = sinks::counting().await;
    up.add_fault(Fault::status(503).ratio(0.1));
    let config = |round: usize| {
        let queue =
            [SINGLY, "sending_queue: { batch: { min_size: 8KiB, max_size: 9KiB, flush_timeout: 5ms } }"];
        let compression = ["compression: gzip", "compression: none", "compression: zstd"][round % 3];
        let options = format!("endpoint: '{}', {compression}, {QUICK}, {}", up.url(), queue[round % 2]);
        yaml::exporters(&[("otlp_http/up", options)]) + &yaml::by_stream("otlp_http/up")
    };
    let sluice = Sluice::start(&config(0)).await;
    let mut running = Load::start(SendSettings { requests: None, ..load(&sluice) }).unwrap();
    for round in 1..=6 {
        let so_far = up.counts().records;
        up.records(so_far + 300).await;
        sluice.reconfigure(&config(round)).await;
    }
    running.stop();
    running.ended().await;
    let sent = running.finish().await;
    up.records(sent.records).await;
    sluice.settled().await;
    assert_in_order(&sent, &up);
}

#[tokio::test]
async fn a_batch_is_not_sent_before_the_one_ahead_is_settled() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503).on_text("first"));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, SINGLY])).await;
    for text in ["first", "second", "third"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[text])])).await;
    }
    up.wait_for_requests(5, PATIENCE).await.unwrap();
    assert!(up.requests().iter().all(|request| request.body == logs(&[("a", &["first"])])));
    up.clear_faults();
    up.records(3).await;
    assert_eq!(up.texts(Signal::Logs), ["first", "second", "third"]);
}

#[tokio::test]
async fn a_stream_that_is_refused_a_record_goes_on_in_order() {
    let up = sinks::recording().await;
    up.set_fault(Fault::status(400).on_text("poison"));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["1", "2", "poison", "3", "4"])])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["5", "poison", "6"])])).await;
    up.records(6).await;
    assert_eq!(up.texts(Signal::Logs), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(sluice.settled().await.exported("otlp_http/up", "rejected"), 2.0);
}

#[tokio::test]
async fn several_consumers_deliver_everything() {
    let up = sinks::counting().await;
    up.set_fault(Fault::none().delayed(Duration::from_millis(5)));
    let queue = "sending_queue: { num_consumers: 4, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    let sent = Load::start(load(&sluice)).unwrap().finish().await;
    up.records(sent.records).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), sent.records as f64);
    assert_eq!(up.counts().missing, 0);
}

#[tokio::test]
async fn streams_of_several_consumers_send_several_batches_at_a_time() {
    let up = sinks::recording().await;
    up.set_fault(Fault::hang());
    let queue = "sending_queue: { num_consumers: 3, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    for text in ["1", "2", "3", "4"] {
        sluice.accept(Signal::Logs, logs(&[("a", &[&filler(text, 100)])])).await;
    }
    up.wait_for_requests(3, PATIENCE).await.unwrap();
    let streams = sluice.api("/api/v1/streams").await;
    assert_eq!(streams["streams"][0]["in_flight"], 3, "{streams}");
}
