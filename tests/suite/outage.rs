//! Outages: an upstream that dies under many streams is probed, not stormed, and gets everything when it comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rig::send::{Load, SendSettings};
use rig::sink::{Fault, RetryAfter, Sink};

use sluice::otlp::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml;
use crate::support::{PATIENCE, Sluice, eventually};

const STREAMS: usize = 5000;

/// Attempts that may have begun when the circuit opens.
const IN_FLIGHT: u64 = 256;

/// Retries with pauses that are long beside an attempt, and that a test can wait for.
const RETRIES: &str = "retry_on_failure: { initial_interval: 100ms, max_interval: 400ms }";

/// A record for every stream.
async fn send(to: &Sluice) -> u64 {
    let settings = SendSettings {
        streams: STREAMS,
        entries: 100,
        records: 1,
        requests: Some(STREAMS as u64 / 100),
        ..SendSettings::new(to.url())
    };
    let sent = Load::start(settings).unwrap().finish().await;
    assert!(sent.all_taken(), "{sent}");
    sent.records
}

/// Waits until the exporter's only destination is called away, or there again.
async fn wait_until(sluice: &Sluice, away: bool) {
    eventually("the circuit has changed", async || {
        let metrics = sluice.metrics().await;
        let of = |circuit| metrics.sum("sluice_destinations", &[("circuit", circuit)]);
        let (open, closed) = (of("open") + of("half_open"), of("closed"));
        ((open, closed) == if away { (1.0, 0.0) } else { (0.0, 1.0) }).then_some(())
    })
    .await;
}

/// A way to an upstream that is cut: connections are accepted and closed at once, until it `works`.
async fn cut_off(up: &Sink) -> (String, Arc<AtomicBool>) {
    let (listener, upstream) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), up.addr());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let works = Arc::new(AtomicBool::new(false));
    let is_mended = works.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            if is_mended.load(Ordering::Relaxed) {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(upstream).await.unwrap();
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }
    });
    (url, works)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_dies_under_many_streams_is_probed_and_not_stormed() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[RETRIES])).await;
    let records = send(&sluice).await;
    wait_until(&sluice, true).await;
    let start = Instant::now();
    let before = up.counts().refused;
    let after = up.wait_for_requests(before + 10, PATIENCE).await.expect("it is probed").refused;
    // The pauses are 100 ms at least in either line.
    let allowed = IN_FLIGHT + 4 + 2 * start.elapsed().as_millis() as u64 / 100;
    assert!(after - before <= allowed, "{after} requests met an upstream that is down");

    let shown = sluice.api("/api/v1/exporters").await;
    let destination = &shown["exporters"][0]["destinations"]["shown"][0];
    assert_eq!(destination["origin"], up.url());
    assert!(destination["open_seconds"].as_f64().is_some(), "{destination}");

    up.clear_faults();
    up.records(records).await;
    let counts = up.counts();
    assert!(counts.in_order() && counts.duplicates == 0, "{counts:?}");
    wait_until(&sluice, false).await;
    sluice.settled().await;
}

#[tokio::test]
async fn an_upstream_that_is_cut_off_gets_everything_when_it_is_back() {
    let up = sinks::counting().await;
    let (url, works) = cut_off(&up).await;
    let sluice = Sluice::start(&yaml::up(&url, &[RETRIES])).await;
    let records = send(&sluice).await;
    wait_until(&sluice, true).await;
    works.store(true, Ordering::Relaxed);
    up.records(records).await;
    assert!(up.counts().in_order());
    sluice.settled().await;
}

#[tokio::test]
async fn streams_that_are_asked_to_wait_open_no_circuit_for_others() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503).retry_after(RetryAfter::Seconds(3600)).on_streams("full *"));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[RETRIES, yaml::SINGLY])).await;
    for stream in 0..20 {
        let key = format!("full {stream}");
        sluice.accept(Signal::Logs, logs(&[(&key, &["text"])])).await;
    }
    up.wait_for_requests(20, PATIENCE).await.expect("each is told to wait");
    assert_eq!(sluice.metric("sluice_destinations", &[("circuit", "closed")]).await, 1.0);
    sluice.accept(Signal::Logs, logs(&[("fine", &["text"])])).await;
    up.records(1).await;
}

#[tokio::test]
async fn what_waits_for_an_upstream_that_is_down_is_dead_lettered_at_max_elapsed_time() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let retries = "retry_on_failure: { initial_interval: 50ms, max_interval: 50ms, max_elapsed_time: 300ms }";
    let config = yaml::up(&up.url(), &[retries]) + yaml::LETTERS;
    let sluice = Sluice::start(&config).await;
    let records = send(&sluice).await;
    let labels = [("exporter", "otlp_http/up"), ("outcome", "dead_lettered")];
    sluice.wait_for_metric("sluice_exported_records_total", &labels, records as f64).await;
    sluice.settled().await;
}

#[tokio::test]
async fn a_reload_that_names_another_endpoint_is_followed_by_streams_that_wait_for_the_circuit() {
    let (down, up) = (sinks::counting().await, sinks::counting().await);
    down.set_fault(Fault::status(503));
    let hours = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let sluice = Sluice::start(&yaml::up(&down.url(), &[hours])).await;
    let records = send(&sluice).await;
    wait_until(&sluice, true).await;
    sluice.reconfigure(&yaml::up(&up.url(), &[hours])).await;
    up.records(records).await;
}

#[tokio::test]
async fn after_an_outage_backlogs_drain_evenly() {
    const BACKLOG: usize = 20;
    let up = sinks::recording().await;
    up.set_fault(Fault::status(503));
    let queue = "sending_queue: { max_in_flight: 4, batch: { min_size: 1, flush_timeout: 0s } }";
    let sluice = Sluice::start(&yaml::up(&up.url(), &[RETRIES, queue])).await;
    let keys: Vec<String> = (0..50).map(|stream| format!("stream {stream}")).collect();
    for _ in 0..BACKLOG {
        let texts: Vec<[&str; 1]> = keys.iter().map(|key| [key.as_str()]).collect();
        let entries: Vec<(&str, &[&str])> =
            keys.iter().zip(&texts).map(|(key, text)| (key.as_str(), &text[..])).collect();
        sluice.accept(Signal::Logs, logs(&entries)).await;
    }
    wait_until(&sluice, true).await;
    // Slowly, so that the pauses of those that had failed themselves are short beside it.
    up.set_fault(Fault::none().delayed(Duration::from_millis(20)));
    up.records((keys.len() * BACKLOG) as u64).await;

    let mut delivered: HashMap<String, usize> = keys.into_iter().map(|key| (key, 0)).collect();
    let mut furthest_apart = 0;
    for text in up.texts(Signal::Logs) {
        *delivered.get_mut(&text).expect("it was sent") += 1;
        let (least, most) = (delivered.values().min(), delivered.values().max());
        furthest_apart = furthest_apart.max(most.unwrap() - least.unwrap());
    }
    // In turn, but for what was on its way, or in a pause of its own, when the upstream came back.
    assert!(furthest_apart < BACKLOG / 2, "one stream was {furthest_apart} batches ahead of another");
}
