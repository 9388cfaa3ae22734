//! Floods: what comes in numbers or sizes that nobody meant. Each is bounded, answered or closed, and leaves ordinary
//! senders alone.

use std::time::Duration;

use sluice::otlp::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::payload::{KEY, entry, field, filler, logs, request};
use crate::support::sinks::{self, Received as _};
use crate::support::wire::{Wire, head};
use crate::support::yaml::{self, QUICK};
use crate::support::{PATIENCE, Sluice, SluiceProcess, http};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const PROTOBUF: &str = "content-type: application/x-protobuf";

/// Connections, as many of ten thousand as this machine allows a process to have beside its other files.
fn connections() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be read");
    10_000.min(files.saturating_sub(500) as usize)
}

#[tokio::test]
async fn ten_thousand_idle_connections_take_sixteen_kibibytes_each_at_most() {
    let up = sinks::counting().await;
    // None is to be closed meanwhile, however slow this machine is.
    let receivers = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, read_header_timeout: 10m, \
                     idle_timeout: 10m, max_connections: 11000 } } } }\n";
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[]) + receivers), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["before"])])).await;
    sluice.settled().await;
    let before = sluice.resident_bytes();
    let body = logs(&[("a", &["x"])]);
    let post =
        [head("POST /v1/logs", &[PROTOBUF, &format!("content-length: {}", body.len())]).into_bytes(), body];
    let post = post.concat();
    let mut idle = Vec::new();
    for index in 0..connections() {
        let mut wire = Wire::open(sluice.otlp).await;
        // Half of them have been used.
        if index % 2 == 0 {
            wire.write(&post).await;
            assert_eq!(wire.answer().await.status, 200);
        }
        idle.push(wire);
    }
    up.records(1 + idle.len().div_ceil(2) as u64).await;
    let grown = sluice.resident_bytes().saturating_sub(before);
    let bound = idle.len() as u64 * 16 * KIB;
    assert!(grown <= bound, "{grown} bytes for {} connections", idle.len());
    sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    for wire in &mut idle {
        assert!(wire.is_silent(), "it is still open");
    }
}

#[tokio::test]
async fn slow_heads_and_bodies_end_by_themselves_and_others_are_served_meanwhile() {
    const SLOW: usize = 200;
    let up = sinks::counting().await;
    let receivers = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, read_header_timeout: 1s, \
                     read_timeout: 1s } } } }\n";
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[]) + receivers), &[]).await;
    let mut slow = JoinSet::new();
    for index in 0..SLOW {
        let mut wire = Wire::open(sluice.otlp).await;
        slow.spawn(async move {
            if index % 2 == 0 {
                wire.write("POST /v1/logs HTTP/1.1\r\nx: ").await;
            } else {
                wire.write(head("POST /v1/logs", &[PROTOBUF, "content-length: 1000000"])).await;
                wire.write("x").await;
                assert_eq!(wire.answer().await.status, 408);
            }
            wire.drip_until_closed(Duration::from_millis(100)).await;
        });
    }
    let mut served = 0;
    while !slow.is_empty() {
        served += 1;
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        while let Some(ended) = slow.try_join_next() {
            ended.expect("it is answered, or closed");
        }
    }
    up.records(served).await;
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn a_million_routing_keys_take_no_more_streams_than_there_may_be() {
    const STREAMS: u64 = 10_000;
    const KEYS: u64 = 1_000_000;
    const A_REQUEST: u64 = 1_000;
    let up = sinks::counting().await;
    // Nothing is delivered, so that no stream becomes idle.
    up.set_fault(rig::sink::Fault::status(503));
    let retry = "retry_on_failure: { initial_interval: 1h, max_interval: 1h }";
    let limits = format!("limits: {{ streams: {STREAMS}, memory: 64MiB }}\n");
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[retry]) + &limits), &[]).await;
    for first in (0..KEYS).step_by(A_REQUEST as usize) {
        let entries: Vec<_> = (first..first + A_REQUEST)
            .map(|key| entry(Signal::Logs, &format!("key {key}"), &["x"]))
            .collect();
        let answer = sluice.post(Signal::Logs, request(&entries)).await;
        if first < STREAMS {
            assert_eq!(answer.status, 200, "{first}: {answer:?}");
        } else {
            assert_eq!((answer.status, answer.error().code), (503, 14), "{first}: {answer:?}");
            assert!(answer.header("retry-after").is_some());
        }
    }
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_streams", &[]), STREAMS as f64);
    assert_eq!(metrics.sum("sluice_pending_records", &[]), STREAMS as f64);
    let (peak, bound) = (sluice.peak_resident_bytes(), 64 * MIB + 64 * MIB + STREAMS * 6 * KIB);
    assert!(peak <= bound, "{peak} bytes were resident, {bound} are allowed");
    let known = logs(&[("key 0", &["one more"])]);
    sluice.accept(Signal::Logs, known).await;
    let more: Vec<_> = (0..=STREAMS).map(|key| entry(Signal::Logs, &format!("{key}"), &["x"])).collect();
    assert_eq!(sluice.post(Signal::Logs, request(&more)).await.status, 503);
}

#[tokio::test]
async fn one_record_of_64_mebibytes_goes_alone_or_is_413() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    // `max_request_body_size` is 64 MiB.
    let size = 64 * MIB as usize;
    let around = logs(&[("a", &[&filler("", 1_000_000)])]).len() - 1_000_000;
    let record = |bytes: usize| filler("", bytes - around - 5);
    let large = record(size);
    let body = logs(&[("a", &[&large])]);
    assert!(body.len() <= size && body.len() > size - 100, "{}", body.len());
    sluice.accept(Signal::Logs, logs(&[("a", &["before"])])).await;
    sluice.accept(Signal::Logs, body).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    up.records(3).await;
    let with_it = up.taken().into_iter().filter(|request| request.body.len() > size / 2);
    assert_eq!(with_it.map(|request| request.body.len()).collect::<Vec<_>>().len(), 1);
    assert!(
        up.bodies(Signal::Logs).iter().all(|body| body.len() > size / 2 || body.len() < 1000),
        "it goes alone"
    );
    let texts = up.texts(Signal::Logs);
    assert_eq!((&*texts[0], texts[1].len(), &*texts[2]), ("before", large.len(), "after"));
    let answer = sluice.post(Signal::Logs, logs(&[("a", &[&record(size + 200)])])).await;
    assert_eq!((answer.status, answer.error().code), (413, 8));
    assert_eq!(answer.header("retry-after"), None);
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn deep_nesting_in_json_is_taken_as_far_as_in_protobuf_and_else_400() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[QUICK])).await;
    let nested = |levels: usize, open: &str, close: &str| {
        let value = format!("{}{{}}{}", open.repeat(levels), close.repeat(levels));
        format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"{KEY}","value":{{"stringValue":"a"}}}}]}},
                "scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#
        )
    };
    let (array, list) = (r#"{"arrayValue":{"values":["#, r#"{"kvlistValue":{"values":[{"key":"k","value":"#);
    let mut taken = 0;
    for (open, close) in [(array, "]}}"), (list, "}]}}")] {
        // A level is two messages in arrays, three in lists; the request around them is four.
        for levels in [10, 20, 30, 31, 32, 33, 45, 46, 47, 48, 49, 50, 100, 10_000] {
            let body = nested(levels, open, close);
            let headers = [("content-type", "application/json")];
            let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, body.into()).await;
            taken += u64::from(answer.status == 200);
            let expected = if levels <= 30 { 200 } else { answer.status };
            assert_eq!(answer.status, expected, "{levels}: {answer:?}");
            assert!([200, 400].contains(&answer.status), "{levels}: {answer:?}");
            assert!(levels < 50 || answer.status == 400, "{levels}");
        }
    }
    up.records(taken).await;
    // Whatever was taken can be read by others.
    for entry in up.entries(Signal::Logs) {
        use prost::Message as _;
        let request = field(1, entry);
        opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest::decode(&*request).unwrap();
    }
}

/// Not one of them says more than a first byte.
#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(sluice.otlp).await.unwrap();
        stream.write_all(b"P").await.unwrap();
        silent.push(stream);
    }
    let taken = tokio::time::timeout(PATIENCE, sluice.accept(Signal::Logs, logs(&[("a", &["x"])]))).await;
    taken.expect("it is served");
    up.records(1).await;
}
