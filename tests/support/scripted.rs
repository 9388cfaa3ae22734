//! An upstream that answers every request with the bytes that a test gives it, over HTTP/1.1 and HTTP/2.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{eventually, grpc};

/// An answer as it is written.
#[derive(Clone, Debug)]
pub struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether the body's end is never written.
    endless: bool,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// All of them.
    pub headers: HeaderMap,
    /// As it came.
    pub body: Bytes,
    /// When its body had arrived.
    pub at: Instant,
    /// The number of its connection.
    pub connection: usize,
}

/// The upstream. It ends with the test's runtime.
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Names and values as a map.
fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let name = |name: &str| name.parse::<HeaderName>().expect("a header's name");
    pairs.iter().map(|(of, value)| (name(of), value.parse().expect("a header's value"))).collect()
}

impl Said {
    /// An answer of HTTP.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).expect("three digits");
        Self { status, headers: map(headers), body: body.into(), trailers: None, endless: false }
    }

    /// An answer of gRPC: a message as it stands in a body, with headers beside its content type, and trailers.
    pub fn grpc(headers: &[(&str, &str)], framed: impl Into<Bytes>, trailers: &[(&str, &str)]) -> Self {
        let mut all = vec![("content-type", "application/grpc")];
        all.extend_from_slice(headers);
        Self { trailers: Some(map(trailers)), ..Self::new(200, &all, framed) }
    }

    /// A call that ends with this status, and a full success where that is OK.
    pub fn status(code: tonic::Code, trailers: &[(&str, &str)]) -> Self {
        let number = (code as i32).to_string();
        let mut all = vec![("grpc-status", number.as_str())];
        all.extend_from_slice(trailers);
        Self::grpc(&[], grpc::framed(0, b""), &all)
    }

    /// The same, but its end never comes.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.endless = true;
        self
    }
}

impl Scripted {
    /// Starts one that answers by a script.
    pub async fn new(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (asked, script) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(script));
        let all = asked.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (all, script) = (all.clone(), script.clone());
                let service = service_fn(move |request| {
                    let (all, script) = (all.clone(), script.clone());
                    async move { Ok::<_, Infallible>(answer(request, connection, &all, &*script).await) }
                });
                tokio::spawn(async move {
                    let serving = Builder::new(TokioExecutor::new());
                    let _ = serving.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, asked }
    }

    /// One that always says the same.
    pub async fn saying(said: Said) -> Self {
        Self::new(move |_| said.clone()).await
    }

    /// The endpoint, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `endpoint` and `tls` of a gRPC exporter that sends there without TLS.
    pub fn grpc_options(&self) -> String {
        format!("endpoint: '{}', tls: {{ insecure: true }}", self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    /// Waits until so many requests have arrived.
    pub async fn wait_for(&self, requests: usize) -> Vec<Asked> {
        eventually("the upstream is asked", async || {
            Some(self.asked()).filter(|asked| asked.len() >= requests)
        })
        .await
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    all: &Mutex<Vec<Asked>>,
    script: &(impl Fn(&Asked) -> Said + Sync),
) -> Response<SaidBody> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let asked = Asked { path, headers: head.headers, body, at: Instant::now(), connection };
    let said = script(&asked);
    all.lock().expect("nobody panics with it").push(asked);
    let frames = Some(Frame::data(said.body));
    let frames = frames.into_iter().chain(said.trailers.map(Frame::trailers)).collect();
    let mut response = Response::new(SaidBody { frames, endless: said.endless });
    (*response.status_mut(), *response.headers_mut()) = (said.status, said.headers);
    response
}

/// What is left to write of an answer.
struct SaidBody {
    frames: VecDeque<Frame<Bytes>>,
    endless: bool,
}

impl http_body::Body for SaidBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.endless && self.frames.front().is_none_or(Frame::is_trailers) {
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(Ok))
    }
}
