//! What a gRPC connection goes through: pings, more calls than it takes, certificates that change.

use std::net::SocketAddr;
use std::time::Duration;

use h2::Reason;
use rig::sink::Sink;
use sluice::otlp::Signal;
use sluice::run::Role;
use tokio::net::TcpStream;
use tokio::time::advance;
use tonic::Code;

use crate::support::grpc::{export, framed};
use crate::support::http2::{ACK, Calls, END_STREAM, Frame, Frames, kind};
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::tls::{Authority, handshake};
use crate::support::yaml::{by_stream, exporters, to};
use crate::support::{PATIENCE, Sluice, clock, eventually};

const SECOND: Duration = Duration::from_secs(1);

/// `SETTINGS_MAX_CONCURRENT_STREAMS`.
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// A Sluice whose gRPC receiver has these options, and where it listens.
async fn start(options: &str) -> (Sink, Sluice, SocketAddr) {
    let up = sinks::recording().await;
    let protocols =
        format!("http: {{ endpoint: 127.0.0.1:0 }}, grpc: {{ endpoint: 127.0.0.1:0, {options} }}");
    let sluice = Sluice::start(&format!(
        "receivers: {{ otlp: {{ protocols: {{ {protocols} }} }} }}\n{}{}",
        exporters(&[("otlp_http/up", to(&up.url(), &[]))]),
        by_stream("otlp_http/up")
    ))
    .await;
    let grpc = sluice.router().addresses(Role::OtlpGrpc).await[0];
    (up, sluice, grpc)
}

async fn connect(to: SocketAddr) -> Calls {
    Calls::over(TcpStream::connect(to).await.unwrap()).await
}

fn one(text: &str) -> Vec<u8> {
    framed(0, &logs(&[("a", &[text])]))
}

#[tokio::test]
async fn a_sender_that_answers_pings_stays_and_one_that_does_not_is_closed_after_the_timeout() {
    let (time, timeout) = (Duration::from_secs(600), Duration::from_secs(40));
    let keepalive = "keepalive: { server_parameters: { time: 10m, timeout: 40s, max_connection_idle: 10h } }";
    let (_up, _sluice, grpc) = start(keepalive).await;
    let _held = clock::hold();
    let mut peer = Frames::open(grpc).await;
    assert_answers(&mut peer).await;
    for _ in 0..3 {
        advance(time.saturating_sub(SECOND)).await;
        assert_answers(&mut peer).await;
        advance(time).await;
        let ping = asked(&mut peer).await.expect("an idle connection stays");
        peer.write(kind::PING, ACK, 0, &ping.payload).await;
        assert_answers(&mut peer).await;
    }
    advance(time + SECOND).await;
    let _unanswered = asked(&mut peer).await.expect("an idle connection stays");
    advance(timeout.saturating_sub(SECOND)).await;
    assert_answers(&mut peer).await;
    advance(2 * SECOND).await;
    assert!(asked(&mut peer).await.is_none(), "it is asked once");
}

/// The receiver's next ping, or the end of the connection.
async fn asked(peer: &mut Frames) -> Option<Frame> {
    let ping = peer.next(kind::PING, PATIENCE).await?;
    assert_eq!((ping.flags & ACK, ping.stream), (0, 0));
    Some(ping)
}

/// Has a ping answered by the receiver, which so has read all that came before, and has not asked anything itself.
async fn assert_answers(peer: &mut Frames) {
    peer.write(kind::PING, 0, 0, b"a sender").await;
    let answer = peer.next(kind::PING, PATIENCE).await.expect("the connection is open");
    assert_eq!((answer.flags & ACK, &answer.payload[..]), (ACK, &b"a sender"[..]), "it has not asked");
}

#[tokio::test]
async fn a_call_beyond_those_that_a_connection_takes_is_refused_and_may_come_again() {
    let (up, _sluice, grpc) = start("max_concurrent_streams: 2").await;
    let path = export(Signal::Logs);
    let mut peer = Frames::open(grpc).await;
    let settings = peer.next(kind::SETTINGS, PATIENCE).await.unwrap();
    assert_eq!(settings.setting(MAX_CONCURRENT_STREAMS), Some(2));
    peer.write(kind::SETTINGS, ACK, 0, b"").await;
    for stream in [1, 3, 5] {
        peer.begin(stream, path).await;
    }
    let refused = peer.next(kind::RST_STREAM, PATIENCE).await.unwrap();
    // Which says that nothing has been done, so that the call may be sent again (RFC 9113, section 8.7).
    assert_eq!((refused.stream, refused.reason()), (5, Reason::REFUSED_STREAM));

    peer.write(kind::DATA, END_STREAM, 1, &one("x")).await;
    assert_eq!(peer.next(kind::HEADERS, PATIENCE).await.unwrap().stream, 1);
    up.records(1).await;
    peer.begin(7, path).await;
    peer.write(kind::DATA, END_STREAM, 7, &one("y")).await;
    up.records(2).await;
    peer.write(kind::DATA, END_STREAM, 3, &one("z")).await;
    up.records(3).await;
    assert_eq!(up.texts(Signal::Logs), ["x", "y", "z"]);
}

#[tokio::test]
async fn a_client_that_reads_the_settings_keeps_further_calls_back() {
    let (up, _sluice, grpc) = start("max_concurrent_streams: 2").await;
    let path = export(Signal::Logs);
    let mut calls = connect(grpc).await;
    assert_eq!(calls.allowed(), 2);
    let (mut first, second) = (calls.begin(path).await, calls.begin(path).await);
    let mut third = calls.begin(path).await;
    third.send(one("third"), true);
    calls.settled().await;
    assert!(up.requests().is_empty(), "it waits");
    first.send(one("first"), true);
    assert_eq!(first.code().await, Code::Ok);
    assert_eq!(third.code().await, Code::Ok);
    second.reset();
    up.records(2).await;
    assert_eq!(up.texts(Signal::Logs), ["first", "third"]);
}

#[tokio::test]
async fn certificates_change_without_a_word_to_the_calls_in_progress() {
    let authority = Authority::new("authority");
    let (up, _sluice, grpc) =
        start(&format!("tls: {{ {}, reload_interval: 1ms }}", authority.server())).await;
    let client = authority.client(None, &["h2"]);
    let open = async || handshake(grpc, client.clone()).await.expect("it speaks TLS");
    let mut calls = Calls::over(open().await).await;
    let path = export(Signal::Logs);
    let body = one("x");
    let (begun, rest) = body.split_at(body.len() / 2);
    let mut call = calls.begin(path).await;
    call.send(begun.to_vec(), false);
    calls.settled().await;

    let changed = authority.sign("localhost");
    authority.write("server", &changed);
    eventually("the new certificate is served", async || {
        let stream = open().await;
        let shown = stream.get_ref().1.peer_certificates().expect("a server shows one");
        (shown[0] == changed.der()).then_some(())
    })
    .await;

    call.send(rest.to_vec(), true);
    assert_eq!(call.code().await, Code::Ok);
    assert_eq!(calls.call(path, one("y")).await, Code::Ok);
    up.records(2).await;
    assert_eq!(up.texts(Signal::Logs), ["x", "y"]);
}
