//! What the load generator sends, and what it says about it.

use std::time::Duration;

use rig::send::{Load, Report, SendCompression, SendSettings};
use rig::sink::{Counts, Fault, RetryAfter, Sink, SinkSettings};
use sluice::otlp::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Long enough for a connection to be opened on a busy machine, since that has to come before an answer can be missed.
const TIMEOUT: Duration = Duration::from_secs(2);

async fn sink() -> Sink {
    Sink::start(SinkSettings::default()).await.expect("a free port")
}

/// Twelve small requests to six streams over two connections.
fn small(sink: &Sink) -> SendSettings {
    SendSettings {
        streams: 6,
        entries: 4,
        records: 3,
        record_bytes: 300,
        connections: 2,
        requests: Some(12),
        ..SendSettings::new(sink.url())
    }
}

async fn send(settings: SendSettings) -> Report {
    Load::start(settings).expect("the settings are right").finish().await
}

/// What the sink has of every stream and sender is what the sender knows to be taken.
fn assert_same(sink: &Sink, signal: Signal, report: &Report) {
    let streams = sink.streams(signal);
    for taken in report.sequences.iter().filter(|taken| taken.records > 0) {
        assert_eq!(streams[&taken.stream].senders[&taken.sender], taken.records, "{taken:?}");
    }
}

fn assert_complete(counts: &Counts, report: &Report) {
    assert!(counts.in_order(), "{counts:?}");
    assert_eq!(counts.records - counts.duplicates, report.records);
    assert_eq!(counts.unnumbered, 0);
}

#[tokio::test]
async fn every_signal_arrives_numbered_and_in_order() {
    for signal in Signal::ALL {
        let sink = sink().await;
        let report = send(SendSettings { signal, ..small(&sink) }).await;
        let counts = sink.counts();
        assert!(report.all_taken());
        assert_eq!((report.requests, report.entries, report.records), (12, 48, 144));
        assert_complete(&counts, &report);
        assert_eq!((counts.bytes, counts.streams, counts.duplicates), (report.bytes, 6, 0));
        assert_same(&sink, signal, &report);
    }
}

#[tokio::test]
async fn compressed_bodies_hold_the_same() {
    let compressions =
        [SendCompression::Gzip, SendCompression::Zstd, SendCompression::Snappy, SendCompression::Lz4];
    for compression in compressions {
        let sink = sink().await;
        let report = send(SendSettings { compression, ..small(&sink) }).await;
        let counts = sink.counts();
        assert_complete(&counts, &report);
        assert_eq!((counts.bytes, counts.wire_bytes), (report.bytes, report.wire_bytes));
        assert!(report.wire_bytes < report.bytes / 2);
    }
}

#[tokio::test]
async fn each_stream_has_one_sender_unless_streams_are_shared() {
    for (share_streams, senders) in [(false, 1), (true, 2)] {
        let sink = sink().await;
        // The connections take turns as they please: enough requests for each to get some.
        let settings = SendSettings { share_streams, requests: Some(200), ..small(&sink) };
        let report = send(settings).await;
        assert_complete(&sink.counts(), &report);
        assert_same(&sink, Signal::Logs, &report);
        assert!(sink.streams(Signal::Logs).values().all(|stream| stream.senders.len() <= senders));
        assert_eq!(report.sequences.len(), 6 * senders);
    }
}

#[tokio::test]
async fn streams_that_a_sink_takes_for_one_are_in_order_all_the_same() {
    let settings = SinkSettings { attribute: "service.name".to_owned(), ..SinkSettings::default() };
    let sink = Sink::start(settings).await.unwrap();
    for share_streams in [false, true] {
        let report = send(SendSettings { share_streams, ..small(&sink) }).await;
        assert!(report.all_taken(), "{report}");
    }
    let counts = sink.counts();
    assert_eq!(
        (counts.streams, counts.missing, counts.duplicates, counts.reordered),
        (1, 0, 0, 0),
        "{counts:?}"
    );
}

#[tokio::test]
async fn who_never_connects_is_told_no_latency() {
    let nobody = std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let report =
        send(SendSettings { requests: Some(2), ..SendSettings::new(format!("http://{nobody}")) }).await;
    assert!(report.failed > 0 && report.latency_ms.is_none(), "{report}");
    assert!(!report.to_string().contains("latency"), "{report}");
}

#[tokio::test]
async fn the_routing_attribute_can_be_chosen() {
    let settings = SinkSettings { attribute: "service.name".to_owned(), ..SinkSettings::default() };
    let sink = Sink::start(settings).await.unwrap();
    send(SendSettings { attribute: "service.name".to_owned(), ..small(&sink) }).await;
    let keys: Vec<_> = sink.streams(Signal::Logs).into_keys().collect();
    assert_eq!(keys, ["stream-0", "stream-1", "stream-2", "stream-3", "stream-4", "stream-5"]);
}

#[tokio::test]
async fn the_beginning_of_routing_keys_can_be_chosen() {
    for prefix in ["demo", "", "1"] {
        let sink = sink().await;
        let settings = SendSettings { stream_prefix: prefix.to_owned(), ..small(&sink) };
        let report = send(settings).await;
        assert_complete(&sink.counts(), &report);
        assert_same(&sink, Signal::Logs, &report);
        let keys: Vec<_> = sink.streams(Signal::Logs).into_keys().collect();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5].map(|number| format!("{prefix}{number}")));
    }
}

#[tokio::test]
async fn a_fixed_rate_sends_the_asked_number_and_not_faster() {
    let sink = sink().await;
    let started = Instant::now();
    let report = send(SendSettings { rate: Some(500.0), requests: Some(51), ..small(&sink) }).await;
    assert_eq!((report.requests, report.unsent, sink.counts().accepted), (51, 0, 51));
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn latency_counts_from_when_a_request_was_due() {
    let sink = sink().await;
    sink.script([Fault::none().delayed(Duration::from_millis(300))]);
    let settings = SendSettings { rate: Some(1000.0), requests: Some(20), connections: 1, ..small(&sink) };
    let report = send(settings).await;
    // One request is slow, but all that were due behind it waited for it.
    assert!(report.latency_ms.is_some_and(|latency| latency.p50 > 250.0), "{:?}", report.latency_ms);
}

#[tokio::test]
async fn failures_are_counted_by_status_and_leave_no_gap() {
    let sink = sink().await;
    sink.script([
        Fault::status(503),
        Fault::status(400),
        Fault::reset_after(10),
        Fault::none(),
        Fault::status(503),
    ]);
    let report = send(small(&sink)).await;
    assert!(!report.all_taken());
    assert_eq!((report.requests, report.failed), (8, 4));
    assert_eq!((report.failures["503"], report.failures["400"], report.failures["closed"]), (2, 1, 1));
    assert_complete(&sink.counts(), &report);
}

#[tokio::test]
async fn retries_keep_the_order_and_lose_nothing() {
    let sink = sink().await;
    let wait = RetryAfter::Seconds(0);
    sink.script([
        Fault::status(503).retry_after(wait),
        Fault::status(429).retry_after(RetryAfter::Date(Duration::ZERO)),
        Fault::none(),
        Fault::reset_after(100),
        Fault::cut_answer(),
        Fault::not_http(),
        Fault::status(502).retry_after(wait),
        Fault::status(504).retry_after(wait),
    ]);
    let report = send(SendSettings { retry: true, ..small(&sink) }).await;
    let counts = sink.counts();
    assert!(report.all_taken());
    assert_eq!((report.requests, report.retries.values().sum::<u64>()), (12, 7));
    assert_complete(&counts, &report);
    assert_eq!(counts.duplicates, 12, "the request whose answer was cut came twice");
}

#[tokio::test]
async fn at_most_once_repeats_what_was_refused_and_gives_up_what_was_not_answered() {
    let sink = sink().await;
    let wait = RetryAfter::Seconds(0);
    sink.script([
        Fault::status(503).retry_after(wait),
        Fault::none(),
        Fault::cut_answer(),
        Fault::none(),
        Fault::reset_after(10),
        Fault::status(504).retry_after(wait),
        Fault::status(503).retry_after(wait),
    ]);
    let settings = SendSettings { retry: true, at_most_once: true, connections: 1, ..small(&sink) };
    let report = send(SendSettings { streams: 4, ..settings }).await;
    let counts = sink.counts();
    assert_eq!((report.requests, report.failed, report.records), (9, 3, 9 * 12));
    assert_eq!((report.retries["503"], report.retries.len()), (2, 1));
    assert_eq!((report.failures["closed"], report.failures["504"]), (2, 1));
    assert_eq!((counts.duplicates, counts.records), (0, 10 * 12), "one of the three had been taken");
    assert_eq!(report.sequences.len(), 4);
    for taken in &report.sequences {
        assert_eq!((taken.records, &taken.unknown[..]), (36, &[(3, 6), (9, 15)][..]), "{taken:?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_early_and_closes_does_not_hold_up_the_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 100]).await.unwrap();
            let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal).await.unwrap();
            stream.shutdown().await.unwrap();
            // The rest of the body, so that the answer is not lost to a reset.
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
    });
    let settings = SendSettings { requests: Some(3), records: 1000, ..SendSettings::new(endpoint) };
    let report = send(settings).await;
    assert_eq!((report.failed, report.failures.get("timeout")), (3, None), "{report}");
    server.await.unwrap();
}

#[tokio::test]
async fn what_can_not_succeed_is_not_retried() {
    let sink = sink().await;
    sink.set_fault(Fault::status(400).first(1));
    let report = send(SendSettings { retry: true, ..small(&sink) }).await;
    assert_eq!((report.failed, report.failures["400"], report.retries.len()), (1, 1, 0));
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let sink = sink().await;
    sink.script([Fault::status(503).retry_after(RetryAfter::Seconds(1))]);
    let started = Instant::now();
    send(SendSettings { retry: true, requests: Some(1), ..small(&sink) }).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_upstream_that_comes_back_gets_everything() {
    let first = sink().await;
    let listen = first.addr();
    let settings = small(&first);
    first.stop().await;
    let load = Load::start(SendSettings { retry: true, ..settings.clone() }).unwrap();
    let second = Sink::start(SinkSettings { listen, ..SinkSettings::default() }).await.unwrap();
    let report = load.finish().await;
    assert!(report.all_taken());
    assert_complete(&second.counts(), &report);
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_a_failure() {
    let gone = sink().await;
    let settings = SendSettings { requests: Some(2), ..small(&gone) };
    gone.stop().await;
    let report = send(settings).await;
    assert_eq!((report.requests, report.failures["connect"]), (0, 2));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let sink = sink().await;
    sink.set_fault(Fault::hang());
    let settings = SendSettings { timeout: TIMEOUT, requests: Some(2), ..small(&sink) };
    let report = send(settings).await;
    assert_eq!(report.failures["timeout"], 2);
}

#[tokio::test]
async fn rejected_records_are_a_failure() {
    let sink = sink().await;
    sink.script([Fault::partial_success(5, "no")]);
    let report = send(small(&sink)).await;
    assert_eq!((report.rejected, report.failed, report.all_taken()), (5, 0, false));
}

#[tokio::test]
async fn a_run_ends_when_it_is_stopped_or_its_time_is_up() {
    let sink = sink().await;
    let endless = SendSettings { requests: None, ..small(&sink) };
    let load = Load::start(endless.clone()).unwrap();
    sink.wait_for_requests(1, Duration::from_secs(30)).await.unwrap();
    load.stop();
    let report = load.finish().await;
    assert_complete(&sink.counts(), &report);

    let timed = SendSettings { duration: Some(Duration::from_millis(30)), ..endless };
    assert!(send(timed).await.seconds >= 0.03);
}

#[tokio::test]
async fn a_retry_is_given_up_some_time_after_the_stop() {
    let sink = sink().await;
    sink.set_fault(Fault::status(503));
    let timeout = Duration::from_millis(300);
    let settings = SendSettings { retry: true, requests: None, connections: 1, timeout, ..small(&sink) };
    let load = Load::start(settings).unwrap();
    sink.wait_for_requests(1, Duration::from_secs(30)).await.unwrap();
    load.stop();
    let report = load.finish().await;
    assert_eq!((report.requests, report.failed), (0, 1));
}
