//! A page of the API that is followed by server-sent events.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::http::Answer;

/// The events that come, on a connection of their own.
pub struct PageFollower {
    body: Incoming,
    /// What has come of the next one.
    text: String,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum PageEvent {
    /// An event, by its name, with its data.
    Named(String, Value),
    /// A comment.
    Comment(String),
}

impl PageFollower {
    /// Follows a page over HTTP/1.1; panics if it is not sent as events.
    pub async fn of(to: SocketAddr, path: &str) -> Self {
        Self::try_of(to, path, &[]).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// The same with more headers, or the answer if it is no events.
    pub async fn try_of(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("the connection is open");
        tokio::spawn(connection);
        let request = request(&[("host", to.to_string().as_str())], path.to_owned(), headers);
        Self::begin(sender.send_request(request).await).await
    }

    /// The same over HTTP/2.
    pub async fn over_http2(to: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("it speaks HTTP/2");
        tokio::spawn(connection);
        let answer = sender.send_request(request(&[], format!("http://{to}{path}"), &[])).await;
        Self::begin(answer).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    async fn begin(answer: hyper::Result<http::Response<Incoming>>) -> Result<Self, Answer> {
        let (head, body) = answer.expect("it answers").into_parts();
        if head.headers["content-type"] == "text/event-stream" {
            assert_eq!(
                (head.status.as_u16(), &head.headers["cache-control"]),
                (200, &"no-store".parse().expect("it is a value"))
            );
            return Ok(Self { body, text: String::new() });
        }
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        Err(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// What comes next; nothing at the end.
    pub async fn next(&mut self) -> Option<PageEvent> {
        timeout(PATIENCE, self.read()).await.expect("an event, or the end, in time")
    }

    async fn read(&mut self) -> Option<PageEvent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (parsed(event), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let Some(Ok(frame)) = self.body.frame().await else {
                assert_eq!(self.text, "", "an event that is not whole");
                return None;
            };
            if let Ok(data) = frame.into_data() {
                self.text += std::str::from_utf8(&data).expect("it is text");
            }
        }
    }

    /// The next snapshot of the page.
    pub async fn snapshot(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(PageEvent::Named(name, data)) if name == "snapshot" => return data,
                Some(PageEvent::Comment(_)) => {}
                other => panic!("not a snapshot: {other:?}"),
            }
        }
    }

    /// The first snapshot of which `is_it` says so.
    pub async fn snapshot_where(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let snapshot = self.snapshot().await;
            if is_it(&snapshot) {
                return snapshot;
            }
        }
    }

    /// Waits until there is nothing more to come; what comes before is passed over.
    pub async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}

fn request(own: &[(&str, &str)], uri: String, headers: &[(&str, &str)]) -> http::Request<Empty<Bytes>> {
    let request = http::Request::get(uri).header("accept", "text/event-stream");
    let request =
        own.iter().chain(headers).fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Empty::new()).expect("the test's request is well-formed")
}

fn parsed(event: &str) -> PageEvent {
    if let Some(comment) = event.strip_prefix(':') {
        return PageEvent::Comment(comment.trim().to_owned());
    }
    let (name, data) = event.split_once('\n').expect("an event has two lines");
    let name = name.strip_prefix("event: ").expect("it has a name");
    let data = data.strip_prefix("data: ").expect("it has data");
    PageEvent::Named(name.to_owned(), serde_json::from_str(data).expect("the data are JSON"))
}
