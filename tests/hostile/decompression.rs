//! Compressed bodies that ask for more than they send: bombs, bodies that never end, and parts that hold nothing.

use std::io::Write as _;

use sluice::otlp::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::attacker::{Attacker, END_HEADERS, call_head, frame};
use crate::meter::{MIB, assert_linear, cost_of};
use crate::support::http2::kind;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::{PATIENCE, SluiceProcess, grpc, yaml};

/// `limits.memory` of these tests.
const LIMIT: u64 = 64 * MIB;

const CODINGS: [&str; 6] = ["gzip", "deflate", "zstd", "snappy", "x-snappy-framed", "lz4"];

fn compressed(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::bulk::compress(data, 1).unwrap(),
        "snappy" => snap::raw::Encoder::new().compress_vec(data).unwrap(),
        "x-snappy-framed" => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.into_inner().unwrap()
        }
        "lz4" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        _ => unreachable!("it is one of `CODINGS`"),
    }
}

async fn start() -> (rig::sink::Sink, SluiceProcess) {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[]) + &format!("limits: {{ memory: {LIMIT} }}\n");
    let sluice = SluiceProcess::start(&config, &[]).await;
    (up, sluice)
}

/// Sends a body in chunks of this size; the status of the answer.
async fn post_in_chunks(sluice: &SluiceProcess, coding: &str, body: &[u8], chunk: usize) -> u16 {
    let mut request = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
         content-encoding: {coding}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(chunk) {
        write!(request, "{:x}\r\n", chunk.len()).unwrap();
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let (mut reader, mut writer) = TcpStream::connect(sluice.otlp).await.unwrap().into_split();
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(&request).await;
        writer
    });
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("it is answered in time");
    writing.abort();
    let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
    status.expect("it is answered").parse().expect("a status is a number")
}

#[tokio::test]
async fn bombs_of_every_coding_stay_below_the_memory_limit_and_what_one_copy_takes() {
    let (up, sluice) = start().await;
    for coding in CODINGS {
        let bomb = compressed(coding, &vec![0; 4 * LIMIT as usize]);
        let ((), cost) = cost_of(&sluice, async {
            // Four at a time, of which not two fit.
            let one = || post_in_chunks(&sluice, coding, &bomb, 64 * 1024);
            let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
            for status in [a, b, c, d] {
                assert!([413, 503].contains(&status), "{coding}: {status}");
            }
        })
        .await;
        assert!(cost.memory <= LIMIT + 64 * MIB, "{coding}: {cost:?}");
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    }
    sluice.accept(Signal::Logs, logs(&[("x", &["after"])])).await;
    up.records(1).await;
}

/// Asserts that it costs CPU time in proportion to their size to send these bodies in chunks of this size; returns the
/// most memory that any of them took. Each is twice as large as the one before.
async fn assert_linear_in_size(
    what: &str,
    sluice: &SluiceProcess,
    coding: &str,
    bodies: &[Vec<u8>],
    chunk: usize,
) -> u64 {
    assert_linear(&format!("{what}, {coding}"), sluice, bodies, async |body| {
        let status = post_in_chunks(sluice, coding, body, chunk).await;
        assert!([200, 400].contains(&status), "{what}, {coding}: {status}");
    })
    .await
}

#[tokio::test]
async fn one_byte_chunks_cost_cpu_time_linear_in_what_is_sent_in_every_coding() {
    let (_up, sluice) = start().await;
    for coding in ["identity"].into_iter().chain(CODINGS) {
        let body = |doubled: u32| {
            // What is decoded is no OTLP, so that nothing comes behind it.
            let numbers = (0_u32..(2000 << doubled)).map(|i| i.wrapping_mul(2_654_435_761) >> 8);
            let bytes: Vec<u8> = numbers.flat_map(u32::to_be_bytes).collect();
            if coding == "identity" { bytes } else { compressed(coding, &bytes) }
        };
        let bodies: Vec<_> = (0..4).map(body).collect();
        assert_linear_in_size("one-byte chunks", &sluice, coding, &bodies, 1).await;
    }
}

#[tokio::test]
async fn parts_that_hold_nothing_cost_cpu_time_linear_in_their_number_and_a_bounded_memory() {
    let (_up, sluice) = start().await;
    let skipped = b"\x50\x2a\x4d\x18\0\0\0\0";
    let stream = b"\xff\x06\0\0sNaPpY";
    let parts: [(&str, &str, Vec<u8>); 7] = [
        ("empty members", "gzip", compressed("gzip", b"")),
        ("empty frames", "zstd", compressed("zstd", b"")),
        ("skipped frames", "zstd", skipped.to_vec()),
        ("stream identifiers", "snappy", stream.to_vec()),
        ("frames of a byte", "x-snappy-framed", compressed("x-snappy-framed", b"x")),
        ("empty frames", "lz4", compressed("lz4", b"")),
        ("frames of a byte", "lz4", compressed("lz4", b"x")),
    ];
    for (what, coding, part) in parts {
        let bodies = [MIB, 2 * MIB, 4 * MIB, 8 * MIB].map(|size| part.repeat(size as usize / part.len()));
        let memory = assert_linear_in_size(what, &sluice, coding, &bodies, 64 * 1024).await;
        assert!(memory <= 64 * MIB, "{what}, {coding}: {memory} bytes");
    }
}

#[tokio::test]
async fn begun_bodies_take_no_more_than_a_few_times_what_has_come_and_leave_room_for_others() {
    const CONNECTIONS: u64 = 12;
    const CALLS: u32 = 100;
    let (up, sluice) = start().await;
    let path = grpc::export(Signal::Logs);
    for coding in CODINGS.into_iter().filter(|coding| *coding != "x-snappy-framed") {
        let bomb = compressed(coding, &vec![0; LIMIT as usize]);
        let come = &bomb[..256.min(bomb.len() - 1)];
        // The prefix of a message that is compressed, and declared to be of a mebibyte.
        let begin = [&[1, 0, 16, 0, 0][..], come].concat();
        let mut head = call_head(path);
        // `grpc-encoding`, a literal that goes into no table.
        head.extend_from_slice(&[0, 13]);
        head.extend_from_slice(b"grpc-encoding");
        head.push(coding.len() as u8);
        head.extend_from_slice(coding.as_bytes());
        let mut attackers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut attacker = Attacker::open(sluice.otlp).await;
            attacker.begin_http2(&[]).await;
            for call in 0..CALLS {
                let stream = 2 * call + 1;
                let head = frame(kind::HEADERS, END_HEADERS, stream, &head);
                assert!(attacker.send(&[head, frame(kind::DATA, 0, stream, &begin)].concat()).await);
            }
            attackers.push(attacker);
        }
        let calls = CONNECTIONS * u64::from(CALLS);
        // Behind everything that was written: each connection answers what it is asked after that.
        sluice.accept(Signal::Logs, logs(&[("x", &["in between"])])).await;
        let held = sluice.metric("sluice_memory_bytes", &[]).await;
        // 6 KiB for the call itself, and a kibibyte for what has come of its body and its head.
        assert!(held <= (calls * 7 * MIB / 1024) as f64, "{coding}: {held} bytes are held by {calls} calls");
        drop(attackers);
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
    }
    up.records(5).await;
}
