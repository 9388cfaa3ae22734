//! Connections that begin with another protocol than the one that is spoken, and in pieces.

use std::net::SocketAddr;

use sluice::otlp::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::http2::Calls;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::tls::Authority;
use crate::support::wire::{Wire, head};
use crate::support::{SluiceProcess, eventually, grpc, yaml};

const ERRORS: &str = "sluice_connection_errors_total";

/// The beginning of a `ClientHello` of TLS 1.3.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03";

/// A Sluice with both receivers, with these options in each; and where its gRPC receiver listens.
async fn start(options: &str) -> (rig::sink::Sink, SluiceProcess, SocketAddr) {
    let up = sinks::counting().await;
    let receivers = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: 127.0.0.1:0, {options} }}, grpc: {{ endpoint: 127.0.0.1:0, {options} }} }} }} }}\n"
    );
    let sluice = SluiceProcess::start(&(yaml::up(&up.url(), &[]) + &receivers), &[]).await;
    let line = sluice.logged("OTLP/gRPC on ").await;
    let (_, address) = line.split_once("OTLP/gRPC on ").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    (up, sluice, address)
}

async fn counted(sluice: &SluiceProcess, receiver: &str, cause: &str, expected: f64) {
    sluice.wait_for_metric(ERRORS, &[("receiver", receiver), ("cause", cause)], expected).await;
}

#[tokio::test]
async fn tls_on_a_plaintext_port_is_told_once_for_a_peer_with_what_to_write_and_counted_each_time() {
    let (_up, sluice, grpc) = start("").await;
    for to in [sluice.otlp, grpc, sluice.otlp] {
        let mut wire = Wire::open(to).await;
        wire.write(CLIENT_HELLO).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.text().contains("http:// instead of https://"), "{answer:?}");
    }
    counted(&sluice, "otlp", "tls_to_plaintext", 3.0).await;
    let mut wire = Wire::open(sluice.admin).await;
    wire.write(CLIENT_HELLO).await;
    assert_eq!(wire.answer().await.status, 400);
    counted(&sluice, "admin", "tls_to_plaintext", 1.0).await;
    let line = sluice.logged("it began with TLS").await;
    assert!(line.contains("WARN") && line.contains("127.0.0.1") && line.contains("http://"), "{line}");
    let lines = sluice.log().into_iter().filter(|line| line.contains("it began with TLS"));
    assert_eq!(lines.count(), 1, "one for a cause and a peer");
}

#[tokio::test]
async fn plaintext_on_a_tls_port_is_told_with_what_to_write_and_counted() {
    let authority = Authority::new("authority");
    let (_up, sluice, grpc) = start(&format!("tls: {{ {} }}", authority.server())).await;
    for (to, bytes) in
        [(sluice.otlp, head("POST /v1/logs", &[])), (grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned())]
    {
        let mut wire = Wire::open(to).await;
        wire.write(bytes).await;
        wire.closed().await;
    }
    counted(&sluice, "otlp", "plaintext_to_tls", 2.0).await;
    let line = sluice.logged("it began without TLS").await;
    assert!(line.contains("WARN") && line.contains("https://"), "{line}");
}

#[tokio::test]
async fn what_is_no_http_is_told_and_counted() {
    let (_up, sluice, grpc) = start("").await;
    for (to, bytes) in
        [(sluice.otlp, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".as_bytes()), (grpc, b"SSH-2.0-OpenSSH_9.9\r\n")]
    {
        let mut wire = Wire::open(to).await;
        wire.write(bytes).await;
        assert_eq!(wire.answer().await.status, 400);
    }
    // As much as the largest buffer holds, so that nothing is left unread.
    let mut wire = Wire::open(sluice.otlp).await;
    let start = "POST /v1/logs HTTP/1.1\r\nhost: x\r\nx: ";
    wire.write(format!("{start}{}", "y".repeat(64 * 1024 - start.len()))).await;
    assert_eq!(wire.answer().await.status, 431);
    counted(&sluice, "otlp", "not_http", 2.0).await;
    counted(&sluice, "otlp", "head_too_large", 1.0).await;
    sluice.logged("what it sent is not HTTP").await;
    sluice.logged("a request's head is too large").await;
}

#[tokio::test]
async fn otlp_over_http_1_1_is_taken_on_the_port_for_grpc_and_calls_on_the_other() {
    let (up, sluice, grpc) = start("").await;
    let body = logs(&[("a", &["x"])]);
    let mut wire = Wire::open(grpc).await;
    let length = format!("content-length: {}", body.len());
    wire.request("POST /v1/logs", &["content-type: application/x-protobuf", &length], &body).await;
    assert_eq!(wire.answer().await.status, 200);
    let mut calls = Calls::over(TcpStream::connect(sluice.otlp).await.unwrap()).await;
    let code = calls.call(grpc::export(Signal::Logs), grpc::framed(0, &body)).await;
    assert_eq!(code, tonic::Code::Ok);
    up.records(2).await;
}

#[tokio::test]
async fn a_connection_of_http_2_may_begin_in_pieces() {
    let (up, sluice, _) = start("").await;
    let body = logs(&[("a", &["x"])]);
    for first in [1, 3, 12, 13, 23] {
        let (mut there, here) = tokio::io::duplex(1 << 16);
        let mut socket = TcpStream::connect(sluice.otlp).await.unwrap();
        socket.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut start = vec![0; first];
            tokio::io::AsyncReadExt::read_exact(&mut there, &mut start).await.unwrap();
            socket.write_all(&start).await.unwrap();
            // The pieces arrive one after the other.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let _ = tokio::io::copy_bidirectional(&mut there, &mut socket).await;
        });
        let mut calls = Calls::over(here).await;
        let code = calls.call(grpc::export(Signal::Logs), grpc::framed(0, &body)).await;
        assert_eq!(code, tonic::Code::Ok, "{first} bytes first");
    }
    up.records(5).await;
    eventually("nothing is taken for an error", async || {
        (sluice.metric(ERRORS, &[]).await == 0.0).then_some(())
    })
    .await;
}
