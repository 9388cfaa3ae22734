//! The `otlp_http` exporter: one attempt at sending one batch (OTLP/HTTP of the OTLP specification).
//!
//! What it promises: an attempt waits for its destination's allowance, takes an idle connection or opens one,
//! sends the batch without copying it, and says what the answer means. Connections are HTTP/1.1, reused, never
//! older than `max_connection_age`, and opened to whatever the name resolves to at that moment. Trying again,
//! halving and counting are the stream's.

mod answer;
mod pool;

#[cfg(test)]
pub(super) mod tests;

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use otlp::Signal;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tracing::trace;

use self::answer::Reply;
use self::pool::{HttpConnection, HttpPool, PoolLimits};
use super::upstream::answer_body::AnswerError;
use super::upstream::body::RequestBody;
use super::upstream::connection_age::STALE;
use super::upstream::destination::Destination;
use super::upstream::protocol::OtlpProtocol;
use super::upstream::target::OtlpTarget;
use super::upstream::transport::{Exchange, OtlpExchange, OtlpTransport};
use super::{Answer, OtlpHttpSettings, UpstreamSettings};
use crate::client::{DialError, FirstBytes, Origin, Proxies, ProxyError, Spoken, Way, chain};
use crate::encoding::Encoding;
use crate::route::Template;

/// The transport of an `otlp_http` exporter.
pub type HttpTransport = OtlpTransport<OtlpHttpSettings>;

/// Where the requests of one stream go.
pub type HttpTarget = OtlpTarget<OtlpHttpSettings>;

/// Bytes of an answer that are read at a time, and that its head may have: the buffer of a connection, which is not
/// charged to the memory budget. hyper would let it grow with what arrives.
const READ_BUFFER: usize = 16 * 1024;

impl OtlpProtocol for OtlpHttpSettings {
    type Pool = HttpPool;

    const IS_HTTP2: bool = false;

    fn upstream(&self) -> &UpstreamSettings {
        &self.upstream
    }

    fn urls(&self) -> impl Iterator<Item = &Template> {
        self.urls.iter().flatten()
    }

    fn url(&self, signal: Signal) -> Option<&Template> {
        self.urls[signal.index()].as_ref()
    }

    fn fixed_path(_: Signal) -> Option<&'static str> {
        None
    }

    fn header_text(_: &HeaderName, value: String) -> String {
        value
    }

    fn own_headers(&self, origin: &Origin) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        let host = HeaderValue::from_str(&origin.authority()).expect("a host was a part of a URL");
        headers.insert(HOST, host);
        let content_type = match self.encoding {
            Encoding::Proto => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(name) = self.upstream.compression.in_http() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        headers
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn proxies(&self) -> Result<Proxies, ProxyError> {
        self.proxy_url
            .as_ref()
            .map_or_else(|| Ok(Proxies::from_env()), |url| Proxies::fixed(url.expose_secret()))
    }

    fn pool(&self) -> HttpPool {
        HttpPool::new(PoolLimits {
            max_idle: self.max_idle_connections,
            idle_timeout: self.idle_timeout,
            max_age: self.upstream.max_connection_age,
        })
    }

    fn sweep_pause(&self) -> Duration {
        let idle = self.idle_timeout;
        if idle.is_zero() { Duration::from_secs(60) } else { (idle / 2).max(Duration::from_secs(1)) }
    }
}

impl OtlpExchange for OtlpHttpSettings {
    async fn exchange(transport: &HttpTransport, exchange: Exchange<'_, Self>, body: RequestBody) -> Answer {
        let Exchange { target, deadline, batch, sanitizer, conditions, .. } = &exchange;
        let (response, connection) = match deadline.apply(send(transport, &exchange, body)).await {
            Some(Ok(sent)) => sent,
            Some(Err(failure)) => return failure.answer(&exchange),
            None => return exchange.timed_out(),
        };
        let (head, body) = response.into_parts();
        let body = deadline.apply(answer::read(body, conditions.budget)).await;
        let body = body.unwrap_or(Err(AnswerError::BrokeOff));
        if body.is_ok() {
            HttpPool::give_back(&target.destination, connection);
        }
        let reply = Reply { status: head.status, headers: &head.headers, body };
        reply.judge(&transport.statuses, batch.records(), sanitizer, SystemTime::now())
    }
}

/// Why an attempt ended without an answer.
enum HttpFailure {
    Dial(DialError),
    /// On a connection that has begun so, if it is a new one.
    Http(hyper::Error, Option<Spoken>),
}

/// Sends on an idle connection or on a new one.
///
/// An upstream may close an idle connection just when it is used again. That says nothing about the
/// upstream, so the request goes out once more, at once, on a new connection.
async fn send(
    transport: &HttpTransport,
    exchange: &Exchange<'_, OtlpHttpSettings>,
    body: RequestBody,
) -> Result<(http::Response<Incoming>, HttpConnection), HttpFailure> {
    if let Some(connection) = exchange.target.destination.pool.take(transport.tls.generation()) {
        let started = Instant::now();
        match request(connection, exchange.request(body.clone())).await {
            Err(error) if is_stale(&error, started) => trace!(%error, "an idle connection was closed"),
            done => return done.map_err(|error| HttpFailure::Http(error, None)),
        }
    }
    let (connection, first) = connect(transport, exchange.target).await?;
    request(connection, exchange.request(body))
        .await
        .map_err(|error| HttpFailure::Http(error, first.spoken()))
}

async fn connect(
    transport: &HttpTransport,
    target: &HttpTarget,
) -> Result<(HttpConnection, FirstBytes), HttpFailure> {
    let (io, generation) = transport.dial(target).await.map_err(HttpFailure::Dial)?;
    let (io, first) = FirstBytes::of(io);
    let (sender, connection) = http1::Builder::new()
        .writev(true)
        .read_buf_exact_size(Some(READ_BUFFER))
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| HttpFailure::Http(error, first.spoken()))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            trace!(%error, "an upstream connection ended");
        }
    });
    Ok((target.destination.pool.opened(sender, task.abort_handle(), generation), first))
}

async fn request(
    mut connection: HttpConnection,
    request: http::Request<RequestBody>,
) -> hyper::Result<(http::Response<Incoming>, HttpConnection)> {
    let response = connection.sender.send_request(request).await?;
    Ok((response, connection))
}

fn is_stale(error: &hyper::Error, started: Instant) -> bool {
    // `is_canceled`: the request never left.
    error.is_canceled() || (!error.is_parse() && started.elapsed() < STALE)
}

impl HttpFailure {
    /// What the attempt comes to: of what came nothing is in the error, since it was not read as an answer.
    fn answer(self, exchange: &Exchange<'_, OtlpHttpSettings>) -> Answer {
        let target = exchange.target;
        let (code, detail) = match self {
            Self::Dial(error) => (error.code(), error.to_string()),
            Self::Http(error, _) if is_tls(&error) => ("tls", chain(&error)),
            Self::Http(error, Some(spoken @ (Spoken::Tls | Spoken::Http2 | Spoken::Other))) => {
                ("protocol", foreign(target, &error, Some(spoken)))
            }
            Self::Http(error, spoken) if error.is_parse() => ("protocol", foreign(target, &error, spoken)),
            Self::Http(error, _) => {
                ("reset", format!("the connection ended without an answer: {}", chain(&error)))
            }
        };
        exchange.unanswered(code, &detail)
    }
}

/// For people: that what came was no answer in HTTP/1.1, from where, and what to write instead.
fn foreign(target: &HttpTarget, error: &hyper::Error, spoken: Option<Spoken>) -> String {
    let (url, error) = (target.url(), chain(error));
    let Destination { origin, way, .. } = &*target.destination;
    let hint = match (spoken, way) {
        (Some(Spoken::Http1), _) => return format!("not an HTTP/1.1 answer from `{url}`: {error}"),
        (_, Way::Forward(proxy)) => {
            return format!(
                "not an HTTP/1.1 answer from the proxy `{}`: {error}: is that its URL?",
                proxy.origin
            );
        }
        (Some(Spoken::Tls), _) => "it speaks TLS: write `https://`",
        (Some(Spoken::Http2), _) => {
            "it speaks HTTP/2, as an otlp_grpc endpoint (port 4317): use its HTTP port (4318), or `otlp_grpc`"
        }
        (Some(Spoken::Other) | None, _) if origin.https => "is it an otlp_grpc endpoint (port 4317)?",
        (Some(Spoken::Other) | None, _) => "is it https, or an otlp_grpc endpoint (port 4317)?",
    };
    format!("not an HTTP/1.1 answer from `{url}`: {error}: {hint}")
}

/// Whether TLS broke the connection: with TLS 1.3 a server refuses our certificate only after the handshake.
fn is_tls(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>()
            || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            return true;
        }
        cause = error.source();
    }
    false
}
