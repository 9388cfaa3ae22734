//! An upstream that keeps what it is sent, whatever the protocol, and says yes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use sluice::otlp::Signal;
use tokio::net::TcpListener;

/// A request: its signal, and its body as it came.
pub(crate) type Captured = (Signal, Bytes);

/// An upstream on HTTP/1.1 and HTTP/2, for as long as the test's runtime lives.
pub(crate) struct Capture {
    address: SocketAddr,
    captured: Arc<Mutex<Vec<Captured>>>,
}

impl Capture {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let captured = Arc::new(Mutex::new(Vec::new()));
        let of_all = Arc::clone(&captured);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let captured = Arc::clone(&of_all);
                let service = service_fn(move |request| answer(request, Arc::clone(&captured)));
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    server.serve_connection(TokioIo::new(connection), service).await.ok();
                });
            }
        });
        Self { address, captured }
    }

    /// The endpoint to send to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came, in its order.
    pub(crate) fn captured(&self) -> Vec<Captured> {
        self.captured.lock().clone()
    }
}

async fn answer(
    request: http::Request<Incoming>,
    captured: Arc<Mutex<Vec<Captured>>>,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    captured.lock().push((signal(head.uri.path()), body));
    let content_type = &head.headers["content-type"];
    let answer = match content_type.as_bytes() {
        b"application/json" => Full::from("{}").boxed(),
        // An empty message in its frame.
        b"application/grpc" => Full::from(&[0; 5][..]).with_trailers(async { Some(Ok(ok())) }).boxed(),
        _ => Full::default().boxed(),
    };
    let response = http::Response::builder().header("content-type", content_type);
    Ok(response.body(answer).expect("the answer is well-formed"))
}

fn ok() -> http::HeaderMap {
    [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))]
        .into_iter()
        .collect()
}

/// `/v1/traces`, or `/opentelemetry.proto.collector.trace.v1.TraceService/Export`.
fn signal(path: &str) -> Signal {
    let part = |signal: &Signal| match signal {
        Signal::Traces => "trace",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    };
    Signal::ALL.into_iter().find(|signal| path.contains(part(signal))).expect("the path is a signal's")
}
