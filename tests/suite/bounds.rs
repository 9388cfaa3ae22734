//! Bounded: memory stays within its limit whatever arrives, and nothing is refused as retryable that can never fit.

use std::io::Write as _;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use rig::send::{Load, SendSettings};
use rig::sink::Fault;
use sluice::otlp::Signal;

use crate::bodies::{lz4, snappy_block, snappy_frames};
use crate::support::payload::{self, entry, field, filler, logs, request, resource};
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{PATIENCE, Sluice, SluiceProcess, eventually, grpc};

const MIB: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Valid OTLP of about that size, which compresses well.
fn large(bytes: usize) -> Vec<u8> {
    logs(&[("x", &[&filler("", bytes)])])
}

/// Up to a gigabyte each, in little more than a mebibyte at the most.
fn bombs() -> [(&'static str, Vec<u8>); 5] {
    let mebibyte = vec![b'.'; MIB];
    // What follows a full flush does not depend on what was before it, so that it can be repeated.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let mut flushed = || {
        encoder.write_all(&mebibyte).unwrap();
        encoder.flush().unwrap();
        std::mem::take(encoder.get_mut())
    };
    let (head, block) = (flushed(), flushed());
    [
        ("gzip", gzip(&mebibyte).repeat(1024)),
        ("deflate", [head, block.repeat(1024)].concat()),
        ("zstd", zstd(&mebibyte).repeat(1024)),
        // These have less to say for each byte.
        ("snappy", snappy_frames(&mebibyte).repeat(20)),
        ("lz4", lz4(&mebibyte).repeat(200)),
    ]
}

/// The same of exactly that size.
fn large_to_the_byte(bytes: usize) -> Vec<u8> {
    let mut request = large(bytes - 100);
    let missing = bytes - request.len();
    // A field of the request that Sluice does not know.
    let padding = missing - 3;
    request.extend(field(100, vec![b'.'; padding]));
    assert_eq!(request.len(), bytes);
    request
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_and_its_memory_given_back() {
    let up = sinks::counting().await;
    let limits = "limits: { memory: 16MiB }\n";
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[]) + limits), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("x", &["before"])])).await;
    sluice.settled().await;
    let before = sluice.resident_bytes();
    for (encoding, bomb) in bombs() {
        assert!(bomb.len() < MIB + MIB / 8, "{encoding}: {}", bomb.len());
        let answer = sluice.post_with(Signal::Logs, bomb.clone(), &[("content-encoding", encoding)]).await;
        assert_eq!((answer.status, answer.error().code), (413, 8), "{encoding}: {answer:?}");
        let coding = [("grpc-encoding", encoding)];
        let reply =
            grpc::call(sluice.otlp, grpc::export(Signal::Logs), &coding, grpc::framed(1, &bomb)).await;
        assert_eq!(reply.code(), tonic::Code::ResourceExhausted, "{encoding}: {reply:?}");
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    }
    let grown = sluice.resident_bytes().saturating_sub(before);
    assert!(grown < 80 * MIB as u64, "{grown} bytes more are resident");
    sluice.accept(Signal::Logs, logs(&[("x", &["after"])])).await;
    up.records(2).await;
}

#[tokio::test]
async fn bodies_are_limited_before_and_after_decompression() {
    let up = sinks::counting().await;
    let receivers = "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_request_body_size: 1MiB } } } }\n";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[]) + receivers)).await;
    let (fits, over) = (large(MIB - 100), large(MIB));
    assert_eq!(sluice.post(Signal::Logs, over.clone()).await.status, 413);
    let gzipped = [("content-encoding", "gzip")];
    assert_eq!(sluice.post_with(Signal::Logs, gzip(&over), &gzipped).await.status, 413);
    assert_eq!(sluice.post(Signal::Logs, fits.clone()).await.status, 200);
    assert_eq!(sluice.post_with(Signal::Logs, gzip(&fits), &gzipped).await.status, 200);
    up.records(2).await;
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn a_request_larger_than_the_memory_limit_is_413_and_one_that_fits_an_empty_stream_is_taken() {
    let up = sinks::counting().await;
    let queue =
        "sending_queue: { queue_size: 64KiB, batch: { min_size: 1, max_size: 32KiB, flush_timeout: 0s } }";
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[queue]) + "limits: { memory: 4MiB }\n")).await;
    let answer = sluice.post(Signal::Logs, large(4 * MIB)).await;
    assert_eq!((answer.status, answer.error().code), (413, 8), "{answer:?}");
    assert_eq!(answer.header("retry-after"), None);
    sluice.accept(Signal::Logs, large(4 * MIB - 200)).await;
    up.records(1).await;
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn fan_out_that_can_never_fit_the_memory_limit_is_413() {
    let up = sinks::counting().await;
    let exporters = yaml::exporters(&[
        ("otlp_http/one", yaml::to(&up.url(), &[])),
        ("otlp_http/two", yaml::to(&up.url(), &[])),
    ]);
    let config = exporters + &yaml::by_stream("otlp_http/one, otlp_http/two") + "limits: { memory: 4MiB }\n";
    let sluice = Sluice::start(&config).await;
    let answer = sluice.post(Signal::Logs, large(3 * MIB)).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    sluice.accept(Signal::Logs, large(MIB)).await;
    up.records(1).await;
}

#[tokio::test]
async fn full_memory_is_503_and_never_above_its_limit() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let sluice = Sluice::start(&(yaml::up(&up.url(), &[QUICK, SINGLY]) + "limits: { memory: 4MiB }\n")).await;
    let mut taken = 0;
    let refused = loop {
        let body = logs(&[(&format!("stream {taken}"), &[&filler("", 200_000)])]);
        let answer = sluice.post(Signal::Logs, body).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 21, "more than the limit was taken");
    };
    assert!(taken >= 15, "{taken} requests of 200 kB fill 4 MiB");
    assert_eq!((refused.status, refused.error().code), (503, 14), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    let metrics = sluice.assert_conserved().await;
    let used = metrics.sum("sluice_memory_bytes", &[]);
    assert!(used <= metrics.sum("sluice_memory_limit_bytes", &[]), "{used}");
    up.clear_faults();
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    sluice.accept(Signal::Logs, large(200_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upstream_at_full_load_holds_no_more_than_the_limit() {
    const LIMIT: u64 = 48 << 20;
    const OVERHEAD: u64 = 64 << 20;
    let up = sinks::counting().await;
    up.set_fault(Fault::hang());
    let config = yaml::up(&up.url(), &["timeout: 1h", "sending_queue: { queue_size: 4MiB }"])
        + &format!("limits: {{ memory: {LIMIT} }}\n");
    let sluice = SluiceProcess::start(&config, &[]).await;
    let idle = sluice.resident_bytes();
    let load = SendSettings {
        streams: 200,
        entries: 10,
        records: 20,
        connections: 8,
        share_streams: true,
        retry: false,
        timeout: Duration::from_secs(2),
        ..SendSettings::new(sluice.url())
    };
    let load = Load::start(load).unwrap();
    let (mut most, mut resident) = (0.0_f64, 0);
    eventually("memory is full and stays so for a while", async || {
        let metrics = sluice.metrics().await;
        most = most.max(metrics.sum("sluice_memory_bytes", &[]));
        resident = resident.max(sluice.resident_bytes());
        (load.progress().failed > 200).then_some(())
    })
    .await;
    load.stop();
    load.finish().await;
    sluice.assert_conserved().await;
    // What a batch was given beyond its entries is only counted once it is there.
    assert!(most <= LIMIT as f64 * 1.05, "{most} bytes are above the limit");
    assert!(most > LIMIT as f64 / 2.0, "the load fills memory, not only {most} bytes");
    let streams = 200 * 6 * 1024 + 16 * 16 * 1024;
    let bound = idle + LIMIT + OVERHEAD + streams;
    assert!(
        resident <= bound,
        "{resident} bytes are resident, {bound} are allowed, {idle} were at the start"
    );
}

#[tokio::test]
async fn a_hundred_levels_of_nesting_and_ten_thousand_are_dealt_with() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    let nested = |levels: usize| {
        let value = (0..levels).fold(field(1, "x"), |value, _| field(5, field(1, value)));
        let record = field(2, field(2, field(5, value)));
        request(&[[field(1, resource(&[(payload::KEY, "x")]).encode_to_vec()), record].concat()])
    };
    let sizes: Vec<usize> = (40..56).chain([1000, 10_000]).collect();
    let mut taken = Vec::new();
    for levels in sizes {
        let body = nested(levels);
        // prost, which nearly every server in Rust decodes with, stops at a hundred messages inside one another.
        let readable = ExportLogsServiceRequest::decode(&*body).is_ok();
        let answer = sluice.post(Signal::Logs, body.clone()).await;
        assert_eq!(answer.status, if readable { 200 } else { 400 }, "{levels}: {answer:?}");
        if readable {
            taken.extend(payload::entries(&body));
        } else {
            assert!(answer.error().message.contains("nested"), "{levels}: {answer:?}");
        }
    }
    assert!((1..16).contains(&taken.len()), "the limit is among those that were tried: {}", taken.len());
    sluice.settled().await;
    assert_eq!(up.entries(Signal::Logs), taken);
}

#[tokio::test]
async fn a_compressed_body_of_any_size_is_taken() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[SINGLY])).await;
    let mut sent = 0;
    for around in [4096, 8192, 32 * 1024, 128 * 1024, 256 * 1024, MIB] {
        for size in around - 1..=around + 1 {
            let body = large_to_the_byte(size);
            let codings = [
                ("gzip", gzip(&body)),
                ("deflate", deflate(&body)),
                ("zstd", zstd(&body)),
                ("snappy", snappy_block(&body)),
                ("snappy", snappy_frames(&body)),
                ("lz4", lz4(&body)),
            ];
            for (encoding, compressed) in codings {
                let answer =
                    sluice.post_with(Signal::Logs, compressed, &[("content-encoding", encoding)]).await;
                assert_eq!(answer.status, 200, "{encoding}, {size} bytes: {answer:?}");
                sent += 1;
            }
        }
    }
    up.records(sent).await;
}

#[tokio::test]
async fn streams_beyond_their_limit_are_refused_as_full_ones_are() {
    let up = sinks::counting().await;
    up.set_fault(Fault::status(503));
    let config = yaml::up(&up.url(), &[QUICK, SINGLY]) + "limits: { streams: 3 }\n";
    let sluice = Sluice::start(&config).await;
    for key in ["a", "b", "c"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["1"])])).await;
    }
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["2"]), ("d", &["2"])])).await;
    assert_eq!((answer.status, answer.error().code), (503, 14), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(sluice.post(Signal::Traces, request(&[entry(Signal::Traces, "a", &["1"])])).await.status, 503);
    sluice.accept(Signal::Logs, logs(&[("a", &["2"])])).await;
    let metrics = sluice.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_streams", &[]), 3.0);
    assert_eq!(metrics.sum("sluice_pending_records", &[]), 4.0);
}

#[tokio::test]
async fn streams_beyond_their_limit_are_shed_where_that_is_configured() {
    let up = sinks::counting().await;
    let queue = "sending_queue: { when_full: shed, batch: { flush_timeout: 0s } }";
    let config = yaml::up(&up.url(), &[QUICK, queue]) + "limits: { streams: 1 }\n";
    let sluice = Sluice::start(&config).await;
    let answer = sluice.post(Signal::Logs, logs(&[("a", &["1"]), ("b", &["2", "3"])])).await;
    let (rejected, message) = answer.partial(Signal::Logs).expect("a stream was shed");
    assert_eq!((answer.status, rejected), (200, 2), "{message}");
    up.records(1).await;
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "dropped"), 2.0);
}

#[tokio::test]
async fn a_route_may_have_fewer_streams_of_its_own() {
    let up = sinks::counting().await;
    let routes = "routes:
  - { match: { s2.stream: 'vip-*' }, key: s2.stream, exporters: [otlp_http/up] }
  - { match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/up], max_streams: 2 }
";
    let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))]);
    let sluice = Sluice::start(&(exporters + routes)).await;
    for key in ["a", "b", "vip-1", "vip-2", "vip-3"] {
        sluice.accept(Signal::Logs, logs(&[(key, &["1"])])).await;
    }
    assert_eq!(sluice.post(Signal::Logs, logs(&[("c", &["1"])])).await.status, 503);
    sluice.accept(Signal::Logs, logs(&[("vip-4", &["1"]), ("a", &["2"])])).await;
    up.records(7).await;
}

#[tokio::test]
async fn senders_that_trickle_hold_no_more_memory_than_they_have_sent() {
    use tokio::io::AsyncWriteExt as _;
    const SENDERS: usize = 20;
    const SENT: usize = 1000;
    /// What a body may take beyond what has come of it: a buffer that a read filled a small part of.
    const SPARE: usize = 64 * 1024;
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[]) + "limits: { memory: 64MiB }\n";
    let sluice = Sluice::start(&config).await;
    let mut senders = Vec::new();
    for _ in 0..SENDERS {
        let mut sender = tokio::net::TcpStream::connect(sluice.otlp).await.unwrap();
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            60 * MIB
        );
        sender.write_all(head.as_bytes()).await.unwrap();
        sender.write_all(&[0; SENT]).await.unwrap();
        senders.push(sender);
    }
    let least = (SENDERS * SENT) as f64;
    let used = eventually("all that was sent is counted", async || {
        let used = sluice.metric("sluice_memory_bytes", &[]).await;
        (used >= least).then_some(used)
    })
    .await;
    assert!(used <= (SENDERS * (SENT + SPARE)) as f64, "{used} bytes for {least} that were sent");
    sluice.accept(Signal::Logs, logs(&[("x", &["in between"])])).await;
    up.wait_for_records(1, PATIENCE).await.unwrap();
    drop(senders);
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}
