//! Request bodies: codings, sizes, transfer codings, and refusals that the sender lives to see.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use sluice::otlp::Signal;
use tokio::net::TcpStream;

use crate::receiver::start;
use crate::support::grpc;
use crate::support::http2::Calls;
use crate::support::payload::{filler, logs};
use crate::support::sinks::Received as _;
use crate::support::wire::{Wire, chunked, head};

const PROTOBUF: &str = "content-type: application/x-protobuf";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(data, 1).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

/// Older Collectors send this over HTTP as `snappy`, later ones as `x-snappy-framed`, and all over gRPC.
pub(crate) fn snappy_frames(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.into_inner().unwrap()
}

/// What current Collectors send over HTTP as `snappy`.
pub(crate) fn snappy_block(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).unwrap()
}

/// As Collectors send it: large blocks, and a checksum.
pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().block_size(BlockSize::Max4MB).content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A body of many pieces, and the same in two halves.
fn body() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let text = filler("long", 100_000);
    let body = logs(&[("a", &[&text, "end"])]);
    let (first, second) = body.split_at(body.len() / 2);
    (body.clone(), first.to_vec(), second.to_vec())
}

#[tokio::test]
async fn rule_1_every_coding_is_taken_also_in_several_members_and_frames() {
    let (up, sluice) = start("").await;
    let (body, first, second) = body();
    let compressed = [
        ("identity", body.clone()),
        ("gzip", gzip(&body)),
        ("GZIP", gzip(&body)),
        ("x-gzip", gzip(&body)),
        ("gzip", [gzip(&first), gzip(&second)].concat()),
        ("zstd", zstd(&body)),
        ("zstd", [zstd(&first), zstd(&second)].concat()),
        ("deflate", zlib(&body)),
        ("zlib", zlib(&body)),
        ("snappy", snappy_block(&body)),
        ("snappy", snappy_frames(&body)),
        ("Snappy", [snappy_frames(&first), snappy_frames(&second)].concat()),
        ("x-snappy-framed", snappy_frames(&body)),
        ("lz4", lz4(&body)),
        ("lz4", [lz4(&first), lz4(&second)].concat()),
    ];
    let count = compressed.len();
    for (index, (coding, bytes)) in compressed.into_iter().enumerate() {
        let answer = sluice.post_with(Signal::Logs, bytes, &[("content-encoding", coding)]).await;
        assert_eq!((answer.status, answer.partial(Signal::Logs)), (200, None), "case {index}, {coding}");
        up.records(2 * (index as u64 + 1)).await;
    }
    let received: Vec<_> = up.bodies(Signal::Logs);
    assert_eq!(received.len(), count);
    assert!(received.iter().all(|received| *received == body), "what comes out is what was compressed");
}

#[tokio::test]
async fn a_body_that_is_not_what_its_coding_says_is_400() {
    let (_up, sluice) = start("").await;
    let (body, ..) = body();
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 5);
        bytes
    };
    let cases = [
        ("gzip", cut(gzip(&body))),
        ("gzip", body.clone()),
        ("zstd", cut(zstd(&body))),
        ("zstd", body.clone()),
        ("zstd", [zstd(&body), cut(zstd(&body))].concat()),
        ("deflate", cut(zlib(&body))),
        ("deflate", body.clone()),
        ("snappy", cut(snappy_block(&body))),
        ("snappy", cut(snappy_frames(&body))),
        ("x-snappy-framed", body.clone()),
        ("lz4", cut(lz4(&body))),
        ("lz4", body.clone()),
    ];
    for (index, (coding, bytes)) in cases.into_iter().enumerate() {
        let answer = sluice.post_with(Signal::Logs, bytes, &[("content-encoding", coding)]).await;
        assert_eq!(answer.status, 400, "case {index}, {coding}");
        assert!(answer.error().message.contains("not valid"), "{answer:?}");
    }
    assert_eq!(sluice.metric("sluice_memory_bytes", &[]).await, 0.0, "nothing stays reserved");
}

#[tokio::test]
async fn rule_31_a_body_beyond_the_limit_is_413_declared_or_chunked_before_or_after_decompression() {
    let (up, sluice) = start("max_request_body_size: 10KiB").await;
    let exact = {
        let text = filler("x", 10 * 1024 - logs(&[("a", &[&filler("x", 10_000)])]).len() + 10_000);
        logs(&[("a", &[&text])])
    };
    assert_eq!(exact.len(), 10 * 1024);
    let larger = logs(&[("a", &[&filler("x", 10 * 1024)])]);

    sluice.accept(Signal::Logs, exact.clone()).await;
    let codings: [(&str, Compress); 6] = [
        ("gzip", gzip),
        ("zstd", zstd),
        ("deflate", zlib),
        ("snappy", snappy_block),
        ("x-snappy-framed", snappy_frames),
        ("lz4", lz4),
    ];
    for (coding, compress) in codings {
        let answer = sluice.post_with(Signal::Logs, compress(&exact), &[("content-encoding", coding)]).await;
        assert_eq!(answer.status, 200, "{coding}");
        let answer = sluice.post_with(Signal::Logs, compress(&larger), &[("content-encoding", coding)]).await;
        assert_eq!(answer.status, 413, "{coding}");
        assert!(answer.error().message.contains("after decompression"), "{answer:?}");
        assert_eq!(answer.error().code, 8, "RESOURCE_EXHAUSTED (rule 3)");
    }
    let answer = sluice.post(Signal::Logs, larger.clone()).await;
    assert_eq!(answer.status, 413);
    assert!(answer.error().message.contains("10240 bytes"), "{answer:?}");

    let mut wire = Wire::open(sluice.otlp).await;
    wire.request("POST /v1/logs", &[PROTOBUF, "transfer-encoding: chunked"], chunked(&larger, 1000)).await;
    assert_eq!(wire.answer().await.status, 413);
    up.records(7).await;
    sluice.settled().await;
    assert_eq!(sluice.metric("sluice_memory_bytes", &[]).await, 0.0, "nothing stays reserved");
}

#[tokio::test]
async fn rule_29_a_chunked_body_needs_no_length() {
    let (up, sluice) = start("").await;
    let (body, ..) = body();
    for (records, coding, bytes) in [(2, "identity", body.clone()), (4, "gzip", gzip(&body))] {
        let mut wire = Wire::open(sluice.otlp).await;
        let coding = format!("content-encoding: {coding}");
        let headers = [PROTOBUF, &coding, "transfer-encoding: chunked"];
        wire.request("POST /v1/logs", &headers, chunked(&bytes, 7000)).await;
        assert_eq!(wire.answer().await.status, 200);
        up.records(records).await;
    }
    assert!(up.bodies(Signal::Logs).iter().all(|received| *received == body));
}

#[tokio::test]
async fn a_sender_that_writes_everything_before_it_reads_sees_why_it_was_refused() {
    let (_up, sluice) = start("max_request_body_size: 10KiB").await;
    let body = vec![0; 4 << 20];
    let length = format!("content-length: {}", body.len());
    let cases: [(&str, &[&str], u16); 5] = [
        ("POST /nowhere", &[PROTOBUF, &length], 404),
        ("PUT /v1/logs", &[PROTOBUF, &length], 405),
        ("POST /v1/logs", &["content-type: text/plain", &length], 415),
        ("POST /v1/logs", &[PROTOBUF, "content-encoding: br", &length], 415),
        ("POST /v1/logs", &[PROTOBUF, &length], 413),
    ];
    for (request_line, headers, expected) in cases {
        let mut wire = Wire::open(sluice.otlp).await;
        wire.request(request_line, headers, &body).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, expected, "{request_line} {headers:?}");
        assert!(!answer.error().message.is_empty());
    }
    let mut wire = Wire::open(sluice.otlp).await;
    wire.request("POST /v1/logs", &[PROTOBUF, "transfer-encoding: chunked"], chunked(&body, 100_000)).await;
    assert_eq!(wire.answer().await.status, 413, "chunked");
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_taken() {
    let (up, sluice) = start("").await;
    let body = logs(&[("a", &["never whole"])]);
    let mut wire = Wire::open(sluice.otlp).await;
    let length = format!("content-length: {}", body.len() + 1);
    wire.write(head("POST /v1/logs", &[PROTOBUF, &length])).await;
    wire.write(&body).await;
    drop(wire);
    sluice.accept(Signal::Logs, logs(&[("a", &["whole"])])).await;
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["whole"]);
}

#[tokio::test]
async fn a_body_in_one_byte_chunks_is_taken_in_every_coding() {
    let (up, sluice) = start("").await;
    let (body, ..) = body();
    let codings = [
        ("identity", body.clone()),
        ("gzip", gzip(&body)),
        ("deflate", zlib(&body)),
        ("zstd", zstd(&body)),
        ("snappy", snappy_block(&body)),
        ("x-snappy-framed", snappy_frames(&body)),
        ("lz4", lz4(&body)),
    ];
    for (index, (coding, bytes)) in codings.into_iter().enumerate() {
        let mut wire = Wire::open(sluice.otlp).await;
        let coding = format!("content-encoding: {coding}");
        let headers = [PROTOBUF, &coding, "transfer-encoding: chunked"];
        wire.request("POST /v1/logs", &headers, chunked(&bytes, 1)).await;
        assert_eq!(wire.answer().await.status, 200, "{coding}");
        up.records(2 * (index as u64 + 1)).await;
    }
    assert!(up.bodies(Signal::Logs).iter().all(|received| *received == body));
}

#[tokio::test]
async fn a_few_empty_frames_do_no_harm_and_a_flood_of_them_ends_its_connection() {
    let (up, sluice) = start("").await;
    let message = grpc::framed(0, &logs(&[("a", &["x"])]));
    for flood in [false, true] {
        let stream = TcpStream::connect(sluice.otlp).await.unwrap();
        let mut calls = Calls::over(stream).await;
        let mut call = calls.begin(grpc::export(Signal::Logs)).await;
        for _ in 0..if flood { 2000 } else { 20 } {
            call.send("", false);
        }
        call.send(message.clone(), !flood);
        if flood {
            call.ended().await;
        } else {
            assert_eq!(call.code().await, tonic::Code::Ok);
        }
    }
    up.records(1).await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}
