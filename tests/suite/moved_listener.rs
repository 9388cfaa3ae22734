//! A listener that moves to another address: whoever has found the old one is served.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::sink::Sink;
use sluice::otlp::Signal;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::http::Answer;
use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::wire::Wire;
use crate::support::yaml::{self, SINGLY};
use crate::support::{PATIENCE, Sluice};

fn listening(up: &Sink, endpoint: &str, options: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{endpoint}', {options} }} }} }} }}\n{}",
        yaml::up(&up.url(), &[SINGLY])
    )
}

/// A Sluice with these listener options, and how to move its listener away.
async fn start(options: &str) -> (Sink, Sluice, impl AsyncFn(&Sluice)) {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&listening(&up, "127.0.0.1:0", options)).await;
    let elsewhere = listening(&up, &sinks::nobody().await.to_string(), options);
    (up, sluice, async move |sluice: &Sluice| sluice.reconfigure(&elsewhere).await)
}

fn head_of(body: &[u8]) -> [String; 2] {
    ["content-type: application/x-protobuf".to_owned(), format!("content-length: {}", body.len())]
}

async fn send(wire: &mut Wire, body: &[u8]) {
    let [kind, length] = head_of(body);
    wire.request("POST /v1/logs", &[&kind, &length], body).await;
}

fn is_last(answer: &Answer) -> bool {
    answer.headers.get(CONNECTION).is_some_and(|connection| connection == "close")
}

#[tokio::test]
async fn who_waits_to_be_accepted_when_a_listener_moves_is_served() {
    let (up, sluice, leave) = start("max_connections: 1").await;
    let body = logs(&[("a", &["first"])]);
    let mut first = Wire::open(sluice.otlp).await;
    let [kind, length] = head_of(&body);
    first.request("POST /v1/logs", &[&kind, &length], &body[..5]).await;
    // They are in the kernel's accept queue: there is only one place.
    let mut waiting = Vec::new();
    for text in ["second", "third", "fourth"] {
        let mut wire = Wire::open(sluice.otlp).await;
        send(&mut wire, &logs(&[("a", &[text])])).await;
        waiting.push(wire);
    }
    leave(&sluice).await;
    first.write(&body[5..]).await;
    for mut wire in std::iter::once(first).chain(waiting) {
        let answer = wire.answer().await;
        assert_eq!((answer.status, is_last(&answer)), (200, true), "{answer:?}");
        wire.closed().await;
    }
    up.records(4).await;
    assert_eq!(up.texts(Signal::Logs), ["first", "second", "third", "fourth"]);
    let refused = TcpStream::connect(sluice.otlp).await;
    assert!(refused.is_err(), "the old address is closed");
}

#[tokio::test]
async fn a_kept_alive_connection_of_a_listener_that_moves_gets_one_more_answer() {
    let (up, sluice, leave) = start("").await;
    let mut wire = Wire::open(sluice.otlp).await;
    send(&mut wire, &logs(&[("a", &["before"])])).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, is_last(&answer)), (200, false), "{answer:?}");
    leave(&sluice).await;
    send(&mut wire, &logs(&[("a", &["after"])])).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, is_last(&answer)), (200, true), "{answer:?}");
    wire.closed().await;
    up.records(2).await;
}

/// A body that comes when the test says.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn an_http2_connection_of_a_listener_that_moves_ends_once_its_requests_are_answered() {
    let (up, sluice, leave) = start("").await;
    let stream = TcpStream::connect(sluice.otlp).await.unwrap();
    let (mut requests, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut send = |text: &str| {
        let (pieces, body) = mpsc::unbounded_channel();
        let request = Request::post("http://sluice/v1/logs").header("content-type", "application/x-protobuf");
        let answer = requests.send_request(request.body(Pieces(body)).unwrap());
        let bytes = Bytes::from(logs(&[("a", &[text])]));
        pieces.send(bytes.slice(..5)).unwrap();
        (answer, pieces, bytes.slice(5..))
    };
    let (answer, pieces, rest) = send("before");
    pieces.send(rest).unwrap();
    drop(pieces);
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);

    let (answer, pieces, rest) = send("under way");
    let answer = tokio::spawn(answer);
    leave(&sluice).await;
    pieces.send(rest).unwrap();
    drop(pieces);
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    // By GOAWAY, without waiting for the sender to close.
    tokio::time::timeout(PATIENCE, connection).await.expect("it ends in time").unwrap().unwrap();
    up.records(2).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_connections_of_a_listener_that_has_just_moved() {
    let (up, sluice, leave) = start("max_connections: 10").await;
    let mut wire = Wire::open(sluice.otlp).await;
    send(&mut wire, &logs(&[("a", &["before"])])).await;
    assert_eq!(wire.answer().await.status, 200);
    leave(&sluice).await;
    assert!(sluice.shut_down().await.is_empty());
    // Were it still open, a request on it would be told 200 and lost with the process.
    wire.closed().await;
    assert_eq!(up.texts(Signal::Logs), ["before"]);
}
