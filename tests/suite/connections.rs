//! Connections: one after another on one, many requests at once, slow ones, too many.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sluice::net::Network;
use sluice::otlp::Signal;
use sluice::receive::{BoundListener, Handler, HttpResponse, ListenerSettings};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::receiver::start;
use crate::support::SluiceProcess;
use crate::support::payload::logs;
use crate::support::sinks::Received as _;
use crate::support::wire::{Wire, head};
use crate::support::yaml;

const PROTOBUF: &str = "content-type: application/x-protobuf";

fn length(body: &[u8]) -> String {
    format!("content-length: {}", body.len())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let (up, sluice) = start("").await;
    let mut wire = Wire::open(sluice.otlp).await;
    let mut pipelined = Vec::new();
    for index in 0..20 {
        let body = logs(&[("a", &[&format!("{index}")])]);
        let path = if index % 5 == 4 { "POST /nowhere" } else { "POST /v1/logs" };
        pipelined.extend(head(path, &[PROTOBUF, &length(&body)]).into_bytes());
        pipelined.extend(body);
    }
    wire.write(&pipelined).await;
    for index in 0..20 {
        assert_eq!(wire.answer().await.status, if index % 5 == 4 { 404 } else { 200 }, "request {index}");
    }
    up.records(16).await;
    let sent: Vec<_> = (0..20).filter(|index| index % 5 != 4).map(|index: i32| index.to_string()).collect();
    assert_eq!(up.texts(Signal::Logs), sent);
}

#[tokio::test]
async fn rule_24_http_2_is_spoken_by_prior_knowledge() {
    let (up, sluice) = start("").await;
    let stream = TcpStream::connect(sluice.otlp).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answers = (0..50).map(|index: i32| {
        let mut sender = sender.clone();
        async move {
            let request = http::Request::post("http://sluice/v1/logs")
                .header("content-type", "application/x-protobuf")
                .body(Full::new(bytes::Bytes::from(logs(&[("a", &[&index.to_string()])]))))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
            assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    });
    let tasks: Vec<_> = answers.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
    up.records(50).await;
}

#[tokio::test]
async fn a_sender_that_expects_100_continue_gets_it_or_a_refusal() {
    let (up, sluice) = start("max_request_body_size: 10KiB").await;
    let body = logs(&[("a", &["x"])]);
    let mut wire = Wire::open(sluice.otlp).await;
    wire.write(head("POST /v1/logs", &[PROTOBUF, &length(&body), "expect: 100-continue"])).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.write(&body).await;
    assert_eq!(wire.answer().await.status, 200);
    up.records(1).await;

    for (request_line, length, expected) in
        [("POST /nowhere", length(&body), 404), ("POST /v1/logs", "content-length: 20000".to_owned(), 413)]
    {
        let mut wire = Wire::open(sluice.otlp).await;
        wire.write(head(request_line, &[PROTOBUF, &length, "expect: 100-continue"])).await;
        assert_eq!(wire.answer().await.status, expected, "at once, without the body");
    }
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_its_connection() {
    let (_up, sluice) = start("read_header_timeout: 1s").await;
    let mut slow = Wire::open(sluice.otlp).await;
    slow.write("POST /v1/logs HTTP/1.1\r\nhost: sluice\r\n").await;
    // One more byte now and then doesn't help.
    slow.drip_until_closed(Duration::from_millis(300)).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["others are served"])])).await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408() {
    let (_up, sluice) = start("read_timeout: 1s").await;
    let mut slow = Wire::open(sluice.otlp).await;
    slow.write(head("POST /v1/logs", &[PROTOBUF, "content-length: 1000"])).await;
    slow.write("x").await;
    let answer = slow.answer().await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.error().code, 4, "DEADLINE_EXCEEDED");
    slow.closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let (_up, sluice) = start("idle_timeout: 1s").await;
    let body = logs(&[("a", &["x"])]);
    let (mut idle, mut busy) = (Wire::open(sluice.otlp).await, Wire::open(sluice.otlp).await);
    let mut silent = Wire::open(sluice.otlp).await;
    idle.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
    assert_eq!(idle.answer().await.status, 200);
    let requests = async {
        loop {
            busy.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
            assert_eq!(busy.answer().await.status, 200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = async { idle.closed().await; silent.closed().await } => {}
        () = requests => unreachable!("it is a loop"),
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_until_one_closes() {
    let (_up, sluice) = start("max_connections: 2").await;
    let body = logs(&[("a", &["x"])]);
    let post = head("POST /v1/logs", &[PROTOBUF, &length(&body)]);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::open(sluice.otlp).await;
        wire.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
        assert_eq!(wire.answer().await.status, 200);
        connections.push(wire);
    }
    let mut third = Wire::open(sluice.otlp).await;
    third.write(&post).await;
    third.write(&body).await;
    // Those that are in go on being served while it waits.
    for wire in &mut connections {
        for _ in 0..10 {
            wire.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
            assert_eq!(wire.answer().await.status, 200);
        }
    }
    assert!(third.is_silent());
    connections.pop();
    assert_eq!(third.answer().await.status, 200);
}

#[tokio::test]
async fn that_the_limit_of_connections_is_reached_is_told() {
    let receivers =
        "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_connections: 1 } } } }\n";
    let yaml = yaml::up("http://127.0.0.1:1", &[]) + receivers;
    let sluice = SluiceProcess::start(&yaml, &[]).await;
    let _only = Wire::open(sluice.otlp).await;
    let line = sluice.logged("`max_connections` (1) is reached").await;
    assert!(line.contains("otlp"), "{line}");
}

#[tokio::test]
async fn a_connection_that_waits_is_served_once_a_reload_raises_the_limit() {
    let (up, sluice) = start("max_connections: 1").await;
    let body = logs(&[("a", &["x"])]);
    let mut first = Wire::open(sluice.otlp).await;
    first.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = Wire::open(sluice.otlp).await;
    second.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
    let yaml = std::fs::read_to_string(sluice.config()).unwrap();
    sluice.reconfigure(&yaml.replace("max_connections: 1", "max_connections: 2")).await;
    assert_eq!(second.answer().await.status, 200);
    first.request("POST /v1/logs", &[PROTOBUF, &length(&body)], &body).await;
    assert_eq!(first.answer().await.status, 200, "the one that was in goes on");
    up.records(3).await;
}

/// Answers when it is let, which may be too late.
#[derive(Default)]
struct Slow {
    begun: Notify,
    go_on: Notify,
}

impl Handler for Slow {
    async fn answer(&self, _: &ListenerSettings, _: http::Request<Incoming>) -> HttpResponse {
        self.begun.notify_one();
        self.go_on.notified().await;
        http::Response::new(sluice::receive::ResponseBody::from(bytes::Bytes::new()))
    }
}

#[tokio::test]
async fn a_request_that_outlives_the_patience_of_a_stopped_listener_is_cut_not_answered() {
    let slow = Arc::new(Slow::default());
    let bound = BoundListener::bind(
        &Network::Machine,
        ListenerSettings::for_people("slow", "127.0.0.1:0".parse().unwrap()),
    )
    .unwrap();
    let listener = bound.serve(slow.clone());

    let mut first = Wire::open(listener.address()).await;
    first.request("POST /v1/logs", &[PROTOBUF, "content-length: 0"], "").await;
    slow.begun.notified().await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (mut second, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://sluice/v1/logs").body(Full::<bytes::Bytes>::default()).unwrap();
    let answered = tokio::spawn(second.send_request(request));
    slow.begun.notified().await;

    listener.stop(Duration::ZERO, Duration::from_millis(10)).await;
    slow.go_on.notify_waiters();
    first.closed().await;
    assert!(answered.await.unwrap().is_err(), "the same over HTTP/2");
}

#[tokio::test]
async fn a_request_within_the_patience_of_a_stopped_listener_is_answered() {
    let slow = Arc::new(Slow::default());
    let bound = BoundListener::bind(
        &Network::Machine,
        ListenerSettings::for_people("slow", "127.0.0.1:0".parse().unwrap()),
    )
    .unwrap();
    let listener = bound.serve(slow.clone());
    let mut wire = Wire::open(listener.address()).await;
    wire.request("POST /v1/logs", &[PROTOBUF, "content-length: 0"], "").await;
    slow.begun.notified().await;
    let stopped = tokio::spawn(listener.stop(Duration::ZERO, crate::support::PATIENCE));
    slow.go_on.notify_one();
    assert_eq!(wire.answer().await.status, 200);
    wire.closed().await;
    stopped.await.unwrap();
}
