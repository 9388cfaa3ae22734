//! Calls that a proper client would not make, and what they are answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sluice::otlp::Signal;
use tokio::net::TcpStream;

/// How a call was answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Headers and trailers.
    pub headers: HeaderMap,
    /// The body, framed.
    pub body: Bytes,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<prost_types::Duration>,
}

/// The path of `Export`.
pub fn export(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

/// A message as it stands in a body.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// Makes one call on a connection of its own, with this body as it is.
pub async fn call(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    call_with(to, path, headers, Full::new(body.into())).await
}

/// Makes one call with any body.
pub async fn call_with<B>(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: B) -> Reply
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let stream = TcpStream::connect(to).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://{to}{path}"));
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("the test's request is well-formed");
    let answer = tokio::time::timeout(super::PATIENCE, sender.send_request(request)).await;
    let (head, body) = answer.expect("it is answered").expect("it is answered").into_parts();
    assert_eq!(head.status, 200);
    let body = body.collect().await.expect("the answer is whole");
    let mut headers = head.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    Reply { headers, body: body.to_bytes() }
}

/// A body in pieces.
pub struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    endless: bool,
}

impl Pieces {
    /// These bytes, so many at a time.
    pub fn of(bytes: &[u8], size: usize) -> Self {
        let pieces: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        Self { pieces: pieces.into_iter(), endless: false }
    }

    /// The same, but the end never comes.
    pub fn endless(self) -> Self {
        Self { endless: true, ..self }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match self.pieces.next() {
            Some(piece) => Poll::Ready(Some(Ok(http_body::Frame::data(piece)))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Reply {
    /// A header or trailer as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `grpc-status`.
    pub fn code(&self) -> tonic::Code {
        let status = self.header("grpc-status").expect("every call has a status");
        tonic::Code::from_bytes(status.as_bytes())
    }

    /// `grpc-message`, decoded.
    pub fn message(&self) -> String {
        let text = self.header("grpc-message").unwrap_or_default();
        percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
    }

    /// `grpc-status-details-bin`.
    pub fn details(&self) -> Option<Status> {
        self.binary("grpc-status-details-bin")
    }

    /// The delay of `RetryInfo` in both places, which have to agree.
    pub fn retry_delay(&self) -> Option<Duration> {
        let alone: Option<RetryInfo> = self.binary("google.rpc.retryinfo-bin");
        let details = self.details().map(|status| status.details).unwrap_or_default();
        let among = details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
        let among = among.map(|detail| RetryInfo::decode(&*detail.value).expect("a RetryInfo"));
        assert_eq!(alone, among);
        alone.map(|info| info.retry_delay.expect("a delay").try_into().expect("not negative"))
    }

    fn binary<M: Message + Default>(&self, name: &str) -> Option<M> {
        let text = self.header(name)?.trim_end_matches('=');
        let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).expect("Base64");
        Some(M::decode(&*bytes).expect("a message"))
    }
}
