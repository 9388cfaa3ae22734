//! Answers that nobody takes: their connection is closed after a time, and what they hold is bounded until then.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use sluice::otlp::Signal;

use crate::attacker::{Attacker, END_HEADERS, call_head, frame};
use crate::meter::{KIB, MIB, cost_of, peak_memory};
use crate::silence::address;
use crate::support::http2::{END_STREAM, kind};
use crate::support::payload::logs;
use crate::support::wire::Wire;
use crate::support::{PATIENCE, SluiceProcess, eventually, grpc, http, sinks, yaml};

/// The setting that says how much of an answer may come before its reader asks for more.
const INITIAL_WINDOW_SIZE: u16 = 4;

const LIMIT: u64 = 64 * MIB;

async fn start() -> (rig::sink::Sink, SluiceProcess) {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[])
        + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, write_timeout: 1s } } } }\n"
        + &format!("limits: {{ memory: {LIMIT} }}\n");
    let sluice = SluiceProcess::start(&config, &[]).await;
    (up, sluice)
}

/// What the program may need in all for so many connections, whatever they send.
const fn bound(connections: usize) -> u64 {
    LIMIT + 64 * MIB + connections as u64 * 16 * KIB
}

async fn not_taken(sluice: &SluiceProcess, receiver: &str, connections: usize) {
    let labels = [("receiver", receiver), ("cause", "answer_not_taken")];
    let metric = "sluice_connection_errors_total";
    sluice.wait_for_metric(metric, &labels, connections as f64).await;
}

#[tokio::test]
async fn answers_for_which_an_http_2_window_is_never_opened_end_their_connection() {
    const CONNECTIONS: usize = 100;
    const CALLS: u32 = 256;
    let head = call_head(grpc::export(Signal::Logs));
    let body = grpc::framed(0, &logs(&[("a", &["x"])]));
    for window in [0, 1] {
        let (_up, sluice) = start().await;
        let attack = async {
            let mut attackers = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut attacker = Attacker::open(sluice.otlp).await;
                attacker.begin_http2(&[(INITIAL_WINDOW_SIZE, window)]).await;
                for call in 0..CALLS {
                    let stream = 2 * call + 1;
                    let begin = frame(kind::HEADERS, END_HEADERS, stream, &head);
                    attacker.send(&[begin, frame(kind::DATA, END_STREAM, stream, &body)].concat()).await;
                }
                attackers.push(attacker);
            }
            for attacker in &attackers {
                eventually("it is closed", async || attacker.is_ended().then_some(())).await;
            }
        };
        let ((), cost) = cost_of(&sluice, attack).await;
        assert!(cost.memory < bound(CONNECTIONS), "window {window}: {cost:?}");
        // There is memory for some of them alone.
        let [not_taken, no_memory] = ["answer_not_taken", "no_memory"]
            .map(async |cause| sluice.metric("sluice_connection_errors_total", &[("cause", cause)]).await);
        let [not_taken, no_memory] = [not_taken.await, no_memory.await].map(|count| count as usize);
        assert!(not_taken > 0, "{not_taken} and {no_memory}");
        assert_eq!(not_taken + no_memory, CONNECTIONS);
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    }
}

/// A request without a body in HPACK (RFC 7541), of which most is in the static table.
fn request_head(method: u8, path: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![method, 0x86, 4], text(path), vec![1], text("x")].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

#[tokio::test]
async fn answers_that_wait_for_an_http_2_window_hold_no_more_than_the_limit_whatever_they_are() {
    const CALLS: u32 = 256;
    let json = [request_head(POST, "/v1/logs"), vec![0x0f, 0x10, 16], b"application/json".to_vec()].concat();
    let export = call_head(grpc::export(Signal::Logs));
    for (what, of_grpc, connections, ends, head) in [
        ("404", false, 400, true, request_head(GET, "/nowhere")),
        ("404 on twice as many", false, 800, true, request_head(GET, "/nowhere")),
        ("404 before the body", false, 400, false, request_head(POST, "/nowhere")),
        ("405", false, 400, true, request_head(GET, "/v1/logs")),
        ("400", false, 400, true, json),
        ("INVALID_ARGUMENT on the HTTP port", false, 400, true, export.clone()),
        ("INVALID_ARGUMENT on the gRPC port", true, 800, true, export.clone()),
        ("UNAVAILABLE beside calls that have begun", false, 400, false, export.clone()),
        ("UNAVAILABLE beside calls that have begun, on the gRPC port", true, 400, false, export),
    ] {
        let up = sinks::counting().await;
        let config = yaml::up(&up.url(), &[])
            + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0 }, grpc: { endpoint: 127.0.0.1:0 } } } }\n"
            + &format!("limits: {{ memory: {LIMIT} }}\n");
        let sluice = SluiceProcess::start(&config, &[]).await;
        let to = if of_grpc { address(&sluice, "OTLP/gRPC on ").await } else { sluice.otlp };
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        // In some pieces, so that what fits is answered before there is too much.
        let pieces: Vec<Vec<u8>> = (0..CALLS)
            .map(|call| frame(kind::HEADERS, flags, 2 * call + 1, &head))
            .collect::<Vec<_>>()
            .chunks(64)
            .map(<[Vec<u8>]>::concat)
            .collect();
        let mut attackers = Vec::new();
        for _ in 0..connections {
            let mut attacker = Attacker::open(to).await;
            attacker.begin_http2(&[(INITIAL_WINDOW_SIZE, 0)]).await;
            attackers.push(attacker);
        }
        for piece in &pieces {
            for attacker in &mut attackers {
                attacker.send(piece).await;
            }
        }
        let labels = [("receiver", "otlp"), ("cause", "no_memory")];
        eventually("what there is no memory for has ended its connection", async || {
            (sluice.metric("sluice_connection_errors_total", &labels).await > 0.0).then_some(())
        })
        .await;
        drop(attackers);
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
        let peak = peak_memory(&sluice);
        assert!(peak < bound(connections), "{what}: {peak} bytes for {connections} connections");
        sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    }
}

#[tokio::test]
async fn heads_that_come_while_nothing_is_taken_hold_no_more_than_the_limit() {
    const CONNECTIONS: usize = 200;
    let upper_case = [request_head(GET, "/nowhere"), vec![0, 1, b'X', 1, b'y']].concat();
    for (what, flags, head) in [
        ("requests that may go on", END_HEADERS, request_head(POST, "/v1/logs")),
        ("heads that are not valid", END_HEADERS | END_STREAM, upper_case),
    ] {
        let up = sinks::counting().await;
        let config = yaml::up(&up.url(), &[])
            + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, write_timeout: 5s } } } }\n"
            + &format!("limits: {{ memory: {LIMIT} }}\n");
        let sluice = SluiceProcess::start(&config, &[]).await;
        // More answers than the system keeps, and then what there is something to say of as well.
        let answered = (0..1200).map(|_| (END_HEADERS | END_STREAM, request_head(GET, "/nowhere")));
        let unanswered = (0..1200).map(|_| (flags, head.clone()));
        let frames: Vec<Vec<u8>> = answered
            .chain(unanswered)
            .zip((1..).step_by(2))
            .map(|((flags, head), stream)| frame(kind::HEADERS, flags, stream, &head))
            .collect();
        let mut attackers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut attacker = Attacker::that_reads_nothing(sluice.otlp, 4096).await;
            attacker.begin_http2(&[]).await;
            attackers.push(attacker);
        }
        // Some to each in turn, so that none has said much that is not answered yet. What is not read any more fits into what
        // the system keeps.
        for some in frames.chunks(8).map(<[Vec<u8>]>::concat) {
            for attacker in &mut attackers {
                attacker.send(&some).await;
            }
        }
        drop(attackers);
        sluice.wait_for_metric("sluice_memory_bytes", &[], 0.0).await;
        let peak = peak_memory(&sluice);
        assert!(peak < bound(CONNECTIONS), "{what}: {peak} bytes for {CONNECTIONS} connections");
        sluice.accept(Signal::Logs, logs(&[("a", &["after"])])).await;
    }
}

/// Writes the same request again and again, and reads no answer.
fn never_read(to: SocketAddr, request: &'static str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut attacker = Attacker::that_reads_nothing(to, 4096).await;
        let many = request.repeat(100);
        while attacker.send(many.as_bytes()).await {}
    })
}

#[tokio::test]
async fn answers_of_http_1_1_that_are_never_read_end_their_connection() {
    const CONNECTIONS: usize = 20;
    let (_up, sluice) = start().await;
    for (receiver, to, request) in [
        ("otlp", sluice.otlp, "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("admin", sluice.admin, "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
    ] {
        let attack = async {
            let attacks: Vec<_> = (0..CONNECTIONS).map(|_| never_read(to, request)).collect();
            // Those who are read are answered meanwhile.
            for path in ["/healthz", "/readyz", "/metrics"] {
                let answer = http::send(sluice.admin, "GET", path, &[], bytes::Bytes::new()).await;
                assert_eq!(answer.status, 200, "{path}");
            }
            not_taken(&sluice, receiver, CONNECTIONS).await;
            for attack in attacks {
                tokio::time::timeout(Duration::from_secs(20), attack).await.expect("it is closed").unwrap();
            }
        };
        let ((), cost) = cost_of(&sluice, attack).await;
        assert!(cost.memory < 64 * MIB, "{receiver}: {cost:?}");
    }
}

/// What a probe is answered that asks as soon as it has connected, however much else this process has to do.
fn probe(to: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    let asked = std::net::TcpStream::connect(to).and_then(|mut probe| {
        probe.set_read_timeout(Some(PATIENCE))?;
        write!(probe, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        probe.read_to_string(&mut answer)
    });
    asked.map_or_else(|error| error.to_string(), |_| answer)
}

#[tokio::test]
async fn probes_are_answered_beside_more_connections_that_read_no_metrics_than_there_are_places() {
    const CONNECTIONS: usize = 600;
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[]) + "health: { endpoint: 127.0.0.1:0 }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    for to in [address(&sluice, "health on ").await, sluice.admin] {
        let mut monitor = Wire::open(to).await;
        let mut attacks = Vec::new();
        for index in 1..=CONNECTIONS {
            attacks.push(never_read(to, "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"));
            if index % 60 == 0 {
                for path in ["/healthz", "/readyz"] {
                    let answer = tokio::task::spawn_blocking(move || probe(to, path)).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{path} beside {index} others: {answer:?}");
                    // Those make room for one another, and an idle connection that takes its answers makes none for them.
                    monitor.write(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
                    assert_eq!(monitor.answer().await.status, 200, "{path} beside {index} others");
                }
            }
        }
        for attack in attacks {
            attack.abort();
        }
    }
}
