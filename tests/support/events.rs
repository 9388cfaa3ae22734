//! Server-sent events of the admin listener, as they come.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A page that goes on.
pub struct Events {
    body: Incoming,
    connection: JoinHandle<()>,
    read: String,
    /// All that has come.
    pub seen: String,
}

impl Events {
    /// Opens a page, or returns the status that refuses it.
    pub async fn open(to: SocketAddr, path: &str, token: Option<&str>) -> Result<Self, u16> {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request =
            http::Request::get(path).header("host", to.to_string()).header("accept", "text/event-stream");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let (head, body) = sender.send_request(request).await.expect("it answers").into_parts();
        if head.status != 200 {
            connection.abort();
            return Err(head.status.as_u16());
        }
        assert_eq!(head.headers["content-type"], "text/event-stream");
        Ok(Self { body, connection, read: String::new(), seen: String::new() })
    }

    /// The name and the data of the next event; nothing once they have ended.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    return Some((name.to_owned(), serde_json::from_str(data).expect("data is JSON")));
                }
            }
            let frame = self.body.frame().await?.ok()?;
            let text =
                String::from_utf8(frame.into_data().unwrap_or_default().to_vec()).expect("events are text");
            self.read += &text;
            self.seen += &text;
        }
    }

    /// The data of the next event of this name; others are passed over.
    pub async fn next_of(&mut self, wanted: &str) -> Value {
        let next = async {
            loop {
                let (name, data) = self.next().await.expect("they go on");
                if name == wanted {
                    return data;
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, next)
            .await
            .unwrap_or_else(|_| panic!("no event {wanted} comes"))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
