//! An upstream made by hand, so that it can do what a proper server would not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// Which connection it came on, counted from zero.
    pub(super) connection: usize,
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// What the upstream does after it has read a request.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// Writes this and waits for the next request.
    Answer(String),
    /// Writes this and closes the connection.
    AnswerAndClose(String),
    /// Resets the connection after writing this.
    Reset(String),
    /// Says nothing and keeps the connection open.
    Silence,
}

/// A listener and what it received. Its connections end with it.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(super) async fn answering(response: &str) -> Self {
        let response = response.to_owned();
        Self::new(move |_| Then::Answer(response.clone())).await
    }

    pub(super) async fn new(script: impl Fn(&Received) -> Then + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::accepting(move |connection, stream, received| {
            let script = Arc::clone(&script);
            async move { converse(connection, stream, &*script, &received).await }
        })
        .await
    }

    /// Leaves everything from the first byte of a connection to `serve`.
    pub(super) async fn accepting<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(usize, TcpStream, Arc<Mutex<Vec<Received>>>) -> F + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(number, stream, Arc::clone(&log)));
            }
        });
        Self { address, received, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/v1/logs", self.address)
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// The connections that requests came on, in the order of the requests.
    pub(super) fn connections(&self) -> Vec<usize> {
        self.received.lock().iter().map(|received| received.connection).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one TCP connection, which can be reset.
async fn converse(
    connection: usize,
    stream: TcpStream,
    script: &(impl Fn(&Received) -> Then + Sync),
    log: &Mutex<Vec<Received>>,
) {
    if let Some(stream) = converse_over(connection, stream, script, log).await {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Serves one connection; returns it if it is to be reset.
pub(super) async fn converse_over<S: AsyncRead + AsyncWrite + Unpin>(
    connection: usize,
    stream: S,
    script: &(impl Fn(&Received) -> Then + Sync),
    log: &Mutex<Vec<Received>>,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(connection, &mut stream).await {
        log.lock().push(request.clone());
        match script(&request) {
            Then::Answer(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Then::AnswerAndClose(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Then::Reset(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                return Some(stream.into_inner());
            }
            Then::Silence => std::future::pending().await,
        }
        stream.flush().await.ok()?;
    }
    None
}

/// Reads a request with a `Content-Length`, or one without a body.
pub(super) async fn read_request(
    connection: usize,
    stream: &mut (impl AsyncRead + Unpin),
) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap();
    let headers: HashMap<_, _> = rest
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { connection, line: line.to_owned(), headers, body })
}
