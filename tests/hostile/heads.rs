//! What a connection makes the program hold before there is a body: heads, whole and half, and the tables of HPACK.

use std::net::SocketAddr;
use std::time::Duration;

use rig::sink::Sink;
use sluice::otlp::Signal;
use tokio::time::Instant;

use crate::attacker::{Attacker, CONTINUATION, END_HEADERS, call_head, frame};
use crate::meter::{Cost, KIB, MIB, cost_of, peak_memory};
use crate::silence::address;
use crate::support::http2::{Calls, kind};
use crate::support::payload::logs;
use crate::support::sinks;
use crate::support::{SluiceProcess, eventually, grpc, http, yaml};

const LIMIT: u64 = 64 * MIB;

/// The flag of a call without a body.
const END_STREAM: u8 = 1;

/// A reference to `via`, which has no value, in the static table of HPACK (RFC 7541), and to the newest entry of the dynamic one.
const VIA: u8 = 0x80 + 60;
const NEWEST: u8 = 0x80 + 62;

/// A literal that becomes the newest entry of the dynamic table.
const ENTRY: &[u8] = &[0x40, 1, b'x', 1, b'y'];

/// What the program may need beside what it needs when it is idle, for so many connections, whatever they send.
const fn bound(connections: usize) -> u64 {
    LIMIT + 64 * MIB + connections as u64 * 16 * KIB
}

/// A program with little memory, which gives heads much time, so that none ends by itself.
async fn start() -> (Sink, SluiceProcess) {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[])
        + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, read_header_timeout: 10m }, grpc: { endpoint: 127.0.0.1:0 } } } }\n"
        + &format!("limits: {{ memory: {LIMIT} }}\n");
    let sluice = SluiceProcess::start(&config, &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["before"])])).await;
    sluice.settled().await;
    (up, sluice)
}

/// What it costs to hold these connections, each of which sends the same; they are closed again. What came of them is counted,
/// and others are served meanwhile.
async fn cost_of_holding(
    sluice: &SluiceProcess,
    to: SocketAddr,
    connections: usize,
    http2: bool,
    pieces: &[Vec<u8>],
) -> (u64, Cost) {
    let attack = async {
        let mut attackers = Vec::new();
        for _ in 0..connections {
            let mut attacker = Attacker::open(to).await;
            if http2 {
                attacker.begin_http2(&[]).await;
            }
            for piece in pieces {
                attacker.send(piece).await;
            }
            attackers.push(attacker);
        }
        // As much is held by then as ever will be, though not everything is read.
        let mut last = f64::NAN;
        eventually("what is held does not change any more", async || {
            let held = sluice.metric("sluice_memory_bytes", &[]).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            (std::mem::replace(&mut last, held).to_bits() == held.to_bits()).then_some(())
        })
        .await;
        assert!(last <= LIMIT as f64, "{last} bytes are counted");
        let sent = attackers.iter().map(|attacker| attacker.sent).sum();
        drop(attackers);
        read_to_the_end(sluice).await;
        sent
    };
    let (sent, cost) = cost_of(sluice, attack).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    (sent, cost)
}

/// Waits until nothing is held any more. The system still has most of what was sent, which is read all the same: twelve million
/// headers, of which an unoptimised build decodes one in a microsecond while it has a processor to itself.
async fn read_to_the_end(sluice: &SluiceProcess) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let held = sluice.metric("sluice_memory_bytes", &[]).await;
        if held.to_bits() == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{held} bytes are held by connections that are closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn calls(number: u32, flags: u8, block: impl Fn(u32, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let head = |call| {
        let mut head = call_head(grpc::export(Signal::Logs));
        block(call, &mut head);
        frame(kind::HEADERS, END_HEADERS | flags, 2 * call + 1, &head)
    };
    (0..number).map(head).collect()
}

/// Calls that ask to be told of every change of the health.
fn watches(number: u32) -> Vec<Vec<u8>> {
    let call = |call| {
        let head = call_head("/grpc.health.v1.Health/Watch");
        let begin = frame(kind::HEADERS, END_HEADERS, 2 * call + 1, &head);
        [begin, frame(kind::DATA, END_STREAM, 2 * call + 1, &grpc::framed(0, b""))].concat()
    };
    (0..number).map(call).collect()
}

#[tokio::test]
async fn begun_calls_whose_headers_are_a_byte_each_hold_no_more_than_the_limit() {
    const CONNECTIONS: usize = 100;
    // Uncounted, these would hold some gibibyte, eight times what is allowed.
    const CALLS: u32 = 256;
    let references = |reference: u8, number: usize| {
        calls(CALLS, 0, move |call, block| {
            if call == 0 && reference == NEWEST {
                block.extend_from_slice(ENTRY);
            }
            block.extend(std::iter::repeat_n(reference, number));
        })
    };
    for (what, attack) in [
        ("no more headers", references(VIA, 0)),
        ("references to the static table", references(VIA, 450)),
        ("references to the dynamic table", references(NEWEST, 470)),
        ("calls that are answered for as long as their reader likes", watches(CALLS)),
    ] {
        let (_up, sluice) = start().await;
        let (sent, cost) = cost_of_holding(&sluice, sluice.otlp, CONNECTIONS, true, &attack).await;
        assert!(cost.memory < bound(CONNECTIONS), "{what}: {sent} bytes cost {cost:?}");
    }
}

#[tokio::test]
async fn headers_of_a_few_bytes_keep_no_more_than_the_limit_of_what_was_read_around_them() {
    const CONNECTIONS: usize = 100;
    // What is between two headers fills the buffer that holds either.
    let filler = frame(0x42, 0, 0, &[0; 8192]);
    let apart = |calls: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        calls.into_iter().map(|call| [call, filler.clone()].concat()).collect()
    };
    let header = |index: u8| [&[0, 1, b'x', 2, b'y'][..], &[b'0' + index % 10]].concat();
    for (what, attack) in [
        ("begun calls", apart(calls(130, 0, |call, block| block.extend(header(call as u8))))),
        ("the table of HPACK", apart(calls(130, END_STREAM, |_, block| block.extend_from_slice(ENTRY)))),
    ] {
        let (_up, sluice) = start().await;
        let (sent, cost) = cost_of_holding(&sluice, sluice.otlp, CONNECTIONS, true, &attack).await;
        assert!(cost.memory < bound(CONNECTIONS), "{what}: {sent} bytes cost {cost:?}");
    }
}

#[tokio::test]
async fn half_heads_hold_no_more_than_the_limit() {
    const CONNECTIONS: usize = 1000;
    let http1 = |line: &str, length: usize| -> Vec<Vec<u8>> {
        let head = format!("POST /v1/logs HTTP/1.1\r\nhost: x\r\n{}", line.repeat(length / line.len()));
        head.as_bytes().chunks(1000).map(<[u8]>::to_vec).collect()
    };
    let begun = |headers: usize| {
        let block = [call_head(grpc::export(Signal::Logs)), vec![VIA; headers]].concat();
        vec![frame(kind::HEADERS, 0, 1, &block), frame(CONTINUATION, 0, 1, &[VIA])]
    };
    for (what, http2, attack) in [
        ("8 KiB of HTTP/1.1 in a header", false, http1("x", 8000)),
        ("15 KiB of HTTP/1.1 in headers", false, http1("x: y\r\n", 15 * 1024)),
        ("15 KiB of HTTP/1.1 in a header", false, http1("x", 15 * 1024)),
        ("headers of HTTP/2 that end in no frame", true, begun(450)),
        (
            "a frame of HTTP/2 that does not end",
            true,
            vec![frame(kind::HEADERS, 0, 1, &[0; 16_000])[..15_000].to_vec()],
        ),
    ] {
        let (_up, sluice) = start().await;
        let (sent, cost) = cost_of_holding(&sluice, sluice.otlp, CONNECTIONS, http2, &attack).await;
        assert!(cost.memory < bound(CONNECTIONS), "{what}: {sent} bytes cost {cost:?}");
    }
}

#[tokio::test]
async fn calls_that_are_begun_on_hundreds_of_connections_hold_no_more_than_the_limit_on_either_port() {
    const CALLS: u32 = 256;
    for connections in [400, 800] {
        let (_up, sluice) = start().await;
        let grpc = address(&sluice, "OTLP/gRPC on ").await;
        for to in [sluice.otlp, grpc] {
            let begun = calls(CALLS, 0, |_, _| ());
            let (sent, cost) = cost_of_holding(&sluice, to, connections, true, &[begun.concat()]).await;
            let peak = peak_memory(&sluice);
            assert!(
                peak < bound(connections),
                "{connections} to {to}: {sent} bytes cost {cost:?}, {peak} in all"
            );
        }
    }
}

#[tokio::test]
async fn half_trailers_of_begun_calls_hold_no_more_than_the_limit() {
    const CALLS: u32 = 100;
    for (what, connections, head, length) in [
        ("long ones of calls that wait for a message", 600, call_head(grpc::export(Signal::Logs)), 16_000),
        ("short ones of calls that wait for a message", 300, call_head(grpc::export(Signal::Logs)), 10),
        ("long ones of requests that are answered already", 600, call_head("/v1/logs"), 16_000),
        ("short ones of requests that are answered already", 300, call_head("/nowhere"), 10),
    ] {
        let (_up, sluice) = start().await;
        let mut attack: Vec<u8> =
            (0..CALLS).flat_map(|call| frame(kind::HEADERS, END_HEADERS, 2 * call + 1, &head)).collect();
        attack.extend(frame(kind::HEADERS, END_STREAM, 1, &literal(length)));
        let (sent, cost) = cost_of_holding(&sluice, sluice.otlp, connections, true, &[attack]).await;
        let peak = peak_memory(&sluice);
        assert!(peak < bound(connections), "{what}: {sent} bytes cost {cost:?}, {peak} in all");
    }
}

/// A header whose value has so many bytes, in HPACK.
fn literal(length: usize) -> Vec<u8> {
    // A length that does not fit into seven bits is what is beyond them, by seven bits at a time (RFC 7541, section 5.1).
    let mut header = vec![0, 1, b'a'];
    if let Some(mut beyond) = length.checked_sub(127) {
        header.push(127);
        while beyond >= 128 {
            header.push(beyond as u8 | 128);
            beyond >>= 7;
        }
        header.push(beyond as u8);
    } else {
        header.push(length as u8);
    }
    header.extend(std::iter::repeat_n(b'v', length));
    header
}

#[tokio::test]
async fn a_hundred_calls_at_a_time_on_each_of_some_connections_are_all_taken() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    let mut connections = Vec::new();
    for _ in 0..8 {
        let socket = tokio::net::TcpStream::connect(sluice.otlp).await.unwrap();
        connections.push(Calls::over(socket).await);
    }
    for _ in 0..3 {
        let mut begun = Vec::new();
        for connection in &mut connections {
            for _ in 0..100 {
                begun.push(connection.begin(grpc::export(Signal::Logs)).await);
            }
        }
        for call in &mut begun {
            call.send(grpc::framed(0, &logs(&[("a", &["x"])])), true);
        }
        for call in begun {
            assert_eq!(call.code().await, tonic::Code::Ok);
        }
    }
    drop(connections);
    sluice.settled().await;
    sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn idle_connections_that_had_many_calls_at_a_time_give_their_memory_to_a_sender_that_needs_it() {
    const CALLS: u32 = 256;
    let (_up, sluice) = start().await;
    // Each of them keeps more than half a mebibyte, and all together most of the limit.
    let mut idle = Vec::new();
    for _ in 0..95 {
        let mut connection = Attacker::open(sluice.otlp).await;
        connection.begin_http2(&[]).await;
        let answered = calls(CALLS, END_STREAM, |_, _| ()).concat();
        connection.send(&answered).await;
        idle.push(connection);
    }
    let large = bytes::Bytes::from(logs(&[("a", &[&"x".repeat(20 << 20)])]));
    eventually("there is memory for it", async || {
        let headers = [("content-type", "application/x-protobuf")];
        let answer = http::send(sluice.otlp, "POST", "/v1/logs", &headers, large.clone()).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
