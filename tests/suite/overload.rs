//! Overload: what there is no room for is refused, or shed where that is configured; what was acknowledged is delivered,
//! in order, and memory stays within its bound.

use std::time::Duration;

use rig::send::{Load, Report, SendProtocol, SendSettings};
use rig::sink::{Fault, Sink};
use sluice::otlp::Signal;

use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK};
use crate::support::{PATIENCE, Sluice, SluiceProcess, eventually};

const MIB: u64 = 1 << 20;

/// A batch at a time, each answered this late: 64 KiB in 20 ms are 3 MB/s for each stream.
const LATE: Duration = Duration::from_millis(20);
const QUEUE: &str =
    "sending_queue: { queue_size: 512KiB, batch: { min_size: 32KiB, max_size: 64KiB, flush_timeout: 10ms } }";

/// Senders that wait for nothing but their answers.
fn greedy(to: String, streams: usize) -> SendSettings {
    SendSettings {
        streams,
        entries: 5,
        records: 20,
        connections: 16,
        share_streams: true,
        timeout: PATIENCE,
        ..SendSettings::new(to)
    }
}

/// Runs a load until so many requests have been refused and others taken.
async fn overload(settings: SendSettings, refused: u64) -> Report {
    let load = Load::start(settings).unwrap();
    eventually("many are refused, and many taken", async || {
        let progress = load.progress();
        (progress.failed >= refused && progress.requests >= refused).then_some(())
    })
    .await;
    load.stop();
    load.finish().await
}

/// Everything that was acknowledged is there, once, and in order.
async fn assert_delivered(up: &Sink, report: &Report) {
    up.records(report.records).await;
    let counts = up.counts();
    assert_eq!((counts.records, counts.duplicates), (report.records, 0), "{counts:?}");
    assert!(counts.in_order(), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_streams_refuse_with_503_alone_and_deliver_what_they_took_over_http() {
    full_streams(SendProtocol::Http, "503").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_streams_refuse_with_unavailable_alone_and_deliver_what_they_took_over_grpc() {
    full_streams(SendProtocol::Grpc, "UNAVAILABLE").await;
}

async fn full_streams(protocol: SendProtocol, refusal: &str) {
    let up = sinks::counting().await;
    up.set_fault(Fault::none().delayed(LATE));
    let config = yaml::up(&up.url(), &[QUEUE]) + "limits: { memory: 64MiB }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    // Of what so many send at a time, a stream takes a sixth in the time for which they wait.
    let settings =
        SendSettings { protocol, connections: 96, entries: 1, records: 400, ..greedy(sluice.url(), 2) };
    let report = overload(settings, 50).await;
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [refusal], "{report}");
    assert_delivered(&up, &report).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), report.records as f64);
    let received = |outcome| metrics.sum("sluice_received_records_total", &[("outcome", outcome)]);
    assert_eq!(
        (received("accepted"), received("dropped"), received("rejected")),
        (report.records as f64, 0.0, 0.0)
    );
    assert_eq!(metrics.sum("sluice_memory_bytes", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_refuses_and_delivers_what_it_took_within_its_bound() {
    const LIMIT: u64 = 16 * MIB;
    let up = sinks::counting().await;
    up.set_fault(Fault::none().delayed(Duration::from_millis(500)));
    let queue = "sending_queue: { batch: { min_size: 8KiB, max_size: 16KiB, flush_timeout: 10ms } }";
    let config = yaml::up(&up.url(), &[queue]) + &format!("limits: {{ memory: {LIMIT} }}\n");
    let sluice = SluiceProcess::start(&config, &[]).await;
    let settings = SendSettings { connections: 64, records: 100, ..greedy(sluice.url(), 200) };
    let report = overload(settings, 100).await;
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), ["503"], "{report}");
    assert_delivered(&up, &report).await;
    // Invariant: the limit, 64 MiB, 16 KiB for each connection and 6 KiB for each stream.
    let bound = LIMIT + 64 * MIB + 64 * 16 * 1024 + 200 * 6 * 1024;
    let peak = sluice.peak_resident_bytes();
    assert!(peak <= bound, "{peak} bytes were resident, {bound} are allowed");
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

/// One stream has room for one request; while it is full, the others are to have theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_stream_takes_no_room_from_others() {
    let up = sinks::recording().await;
    let queue = "sending_queue: { queue_size: 1500, batch: { min_size: 1, flush_timeout: 0s } }";
    up.set_fault(Fault::none().delayed(Duration::from_millis(50)).on_streams("slow"));
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK, queue])).await;
    let text = filler("", 1000);
    sluice.accept(Signal::Logs, logs(&[("slow", &[&text])])).await;
    let waits = async {
        for _ in 0..10 {
            // Each waits for the one before it to be delivered, and none is refused.
            sluice.accept(Signal::Logs, logs(&[("slow", &[&text]), ("fine", &["both"])])).await;
        }
    };
    let others = async {
        for round in 0..200 {
            sluice.accept(Signal::Logs, logs(&[("fine", &[&format!("alone {round}")])])).await;
        }
    };
    tokio::join!(waits, others);
    up.records(11 + 10 + 200).await;
    sluice.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shed_drops_of_the_full_stream_alone_and_tells_all_of_it() {
    let up = sinks::counting().await;
    up.set_fault(Fault::none().delayed(Duration::from_millis(500)).on_streams("stream-0"));
    // Room for what the others get in half a second.
    let queue = "sending_queue: { queue_size: 1MiB, when_full: shed, \
                 batch: { min_size: 32KiB, max_size: 64KiB, flush_timeout: 10ms } }";
    let config = yaml::up(&up.url(), &[queue]) + "limits: { memory: 64MiB }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    let (requests, rate) = (Some(800), Some(400.0));
    let settings = SendSettings { requests, rate, connections: 4, ..greedy(sluice.url(), 5) };
    let report = Load::start(settings).unwrap().finish().await;
    up.clear_faults();
    assert!(report.failures.is_empty() && report.rejected > 0, "{report}");
    let metrics = sluice.settled().await;
    assert_eq!(
        metrics.exported("otlp_http/up", "dropped"),
        report.rejected as f64,
        "partial success counts them"
    );
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), (report.records - report.rejected) as f64);
    let of_each = report.records / 5;
    for (stream, counts) in up.streams(Signal::Logs) {
        let dropped = if stream == "stream-0" { report.rejected } else { 0 };
        assert_eq!(counts.records, of_each - dropped, "{stream}");
        assert_eq!((counts.duplicates, counts.reordered), (0, 0), "{stream}");
    }
}
