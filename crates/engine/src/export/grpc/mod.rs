//! The `otlp_grpc` exporter: one attempt at sending one batch as a unary `Export` call.
//!
//! Connections are HTTP/2 and shared by the calls of a destination. None of these may delay another: a connection
//! takes only as many calls as the upstream says, and a message that can't be written within a second - its upstream
//! doesn't read it, or has let others fill the connection's window - goes on by itself on a connection of its own. So
//! does from the start the message of a stream whose last attempt hung.

mod answer;
pub mod call;
mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use otlp::Signal;
use tokio::time::{Instant, timeout};
use tracing::trace;

use self::call::{CallAnswer, CallError, GrpcMessage, call};
use self::pool::{CallSlot, GrpcPool, IDLE, Unopened};
use super::settings::GREETING;
use super::upstream::body::RequestBody;
use super::upstream::connection_age::STALE;
use super::upstream::protocol::OtlpProtocol;
use super::upstream::target::OtlpTarget;
use super::upstream::transport::{Exchange, OtlpExchange, OtlpTransport};
use super::{Answer, AttemptOutcome, Compression, OtlpGrpcSettings, UpstreamSettings};
use crate::client::{DialError, FirstBytes, Origin, Proxies, ProxyError, Spoken, chain};
use crate::encoding::Encoding;
use crate::route::Template;
use crate::rpc::{ACCEPT_ENCODING, ACCEPTED, ENCODING, MEDIA_TYPE};

/// The transport of an `otlp_grpc` exporter.
pub type GrpcTransport = OtlpTransport<OtlpGrpcSettings>;

/// Where the calls of one stream go.
pub type GrpcTarget = OtlpTarget<OtlpGrpcSettings>;

/// The largest message that servers take if nobody tells them otherwise.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// How long a message may take to be written on a connection that it shares.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of answers that may be on their way on one connection: several times what one call may have, so that none
/// fills it.
const ANSWERS_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer's head, and of its trailers: as many as servers write by default at most.
const MAX_HEAD: u32 = 16 * 1024;

impl OtlpProtocol for OtlpGrpcSettings {
    type Pool = GrpcPool;

    const IS_HTTP2: bool = true;

    fn upstream(&self) -> &UpstreamSettings {
        &self.upstream
    }

    fn urls(&self) -> impl Iterator<Item = &Template> {
        self.url.iter()
    }

    fn url(&self, _: Signal) -> Option<&Template> {
        self.url.as_ref()
    }

    fn fixed_path(signal: Signal) -> Option<&'static str> {
        Some(signal.method())
    }

    fn header_text(name: &HeaderName, value: String) -> String {
        // Metadata of this name is binary, and written in Base64.
        if name.as_str().ends_with("-bin") { BASE64.encode(value) } else { value }
    }

    fn own_headers(&self, _: &Origin) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, ACCEPTED.clone());
        if let Some(name) = self.upstream.compression.in_grpc() {
            headers.insert(ENCODING, HeaderValue::from_static(name));
        }
        headers
    }

    fn encoding(&self) -> Encoding {
        Encoding::Proto
    }

    fn proxies(&self) -> Result<Proxies, ProxyError> {
        Ok(Proxies::from_env())
    }

    fn pool(&self) -> GrpcPool {
        GrpcPool::new(self.upstream.max_connection_age)
    }

    fn sweep_pause(&self) -> Duration {
        IDLE / 2
    }
}

impl OtlpExchange for OtlpGrpcSettings {
    async fn exchange(transport: &GrpcTransport, exchange: Exchange<'_, Self>, body: RequestBody) -> Answer {
        let Exchange { deadline, batch, sanitizer, .. } = &exchange;
        match deadline.apply(send(transport, &exchange, &body)).await {
            Some(Ok(answered)) => {
                answered.judge(&transport.statuses, batch.records(), batch.len(), sanitizer)
            }
            Some(Err(GrpcFailure::Open(unopened))) => exchange.unanswered(unopened.code, &unopened.detail),
            Some(Err(GrpcFailure::Call(error))) => {
                // An upstream that closes a connection may say why.
                let detail = sanitizer.clean("the call ended without an answer", &chain(&error));
                Answer::own("reset", AttemptOutcome::Retry { after: None }, detail)
            }
            None => exchange.timed_out(),
        }
    }
}

/// Why an attempt ended without an answer.
enum GrpcFailure {
    Open(Unopened),
    Call(h2::Error),
}

/// Sends on a connection with room, or on a new one; once more, at once, if that says that it has not taken the call, or
/// ends as one does that was closed just when it was used again. The others whose calls were on it do the same, so that
/// the next one, which is younger than the first, is theirs too. After an attempt that hung the call has a connection of its own.
async fn send(
    transport: &GrpcTransport,
    exchange: &Exchange<'_, OtlpGrpcSettings>,
    body: &RequestBody,
) -> Result<CallAnswer, GrpcFailure> {
    let (target, budget) = (exchange.target, exchange.conditions.budget);
    let UpstreamSettings { compression, timeout, .. } = transport.protocol.upstream;
    let message = GrpcMessage {
        chunks: body.chunks().cloned(),
        len: body.len(),
        compressed: compression != Compression::None,
    };
    let mut alone = exchange.conditions.hanging.load(Ordering::Relaxed);
    let mut first = None;
    while !alone {
        let (place, is_new) = place(transport, target, first).await?;
        let started = Instant::now();
        let request = head(exchange, timeout);
        let sent = call(place.sender(), request, message.clone(), Some(WRITE_PATIENCE), budget).await;
        let (error, not_taken) = match sent {
            Ok(answered) => return Ok(answered),
            Err(CallError::Stuck) => {
                alone = true;
                continue;
            }
            Err(CallError::Unsent(error)) => (error, true),
            Err(CallError::Ended(error)) => {
                let stale = !is_new && error.is_io() && started.elapsed() < STALE;
                (error, stale)
            }
        };
        if not_taken {
            trace!(reason = ?error.reason(), "a connection takes no more calls");
            place.close();
        }
        if !not_taken || first.is_some() {
            return Err(GrpcFailure::Call(error));
        }
        first = Some(started);
    }
    let place = open(transport, target, false).await.map_err(GrpcFailure::Open)?;
    match call(place.sender(), head(exchange, timeout), message, None, budget).await {
        Ok(answered) => Ok(answered),
        Err(CallError::Unsent(error) | CallError::Ended(error)) => Err(GrpcFailure::Call(error)),
        Err(CallError::Stuck) => unreachable!("patience has no end here"),
    }
}

/// The head of a call that has so much time; zero: all it wants.
fn head(exchange: &Exchange<'_, OtlpGrpcSettings>, timeout: Duration) -> http::Request<()> {
    let mut request = exchange.request(());
    *request.version_mut() = http::Version::HTTP_2;
    if !timeout.is_zero() {
        // At most eight digits.
        let text = match timeout.as_millis() {
            millis @ 0..=99_999_999 => format!("{millis}m"),
            _ => format!("{}S", timeout.as_secs().min(99_999_999)),
        };
        let value = HeaderValue::from_str(&text).expect("digits and a letter are printable");
        request.headers_mut().insert("grpc-timeout", value);
    }
    request
}

/// A place on a connection of the destination, of those that were opened `since` then, and whether it was opened for
/// this.
async fn place(
    transport: &GrpcTransport,
    target: &GrpcTarget,
    since: Option<Instant>,
) -> Result<(CallSlot, bool), GrpcFailure> {
    let pool = &target.destination.pool;
    if let Some(place) = pool.take(transport.tls.generation(), since) {
        return Ok((place, false));
    }
    let asked = Instant::now();
    let mut opening = pool.opening.lock().await;
    if let Some(place) = pool.take(transport.tls.generation(), since) {
        return Ok((place, false));
    }
    // Tried by another while this one waited.
    if let Some(unopened) = opening.as_ref().filter(|unopened| unopened.at > asked) {
        return Err(GrpcFailure::Open(unopened.clone()));
    }
    let opened = open(transport, target, true).await;
    *opening = opened.as_ref().err().cloned();
    opened.map(|place| (place, true)).map_err(GrpcFailure::Open)
}

async fn open(transport: &GrpcTransport, target: &GrpcTarget, shared: bool) -> Result<CallSlot, Unopened> {
    let destination = &target.destination;
    let (io, generation) = transport.dial(target).await?;
    let (io, first) = FirstBytes::of(io);
    let greeting = async {
        let (sender, mut connection): (SendRequest<Bytes>, _) = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_HEAD)
            .initial_connection_window_size(ANSWERS_WINDOW)
            .handshake(io)
            .await?;
        let mut pings = connection.ping_pong().expect("it is asked for once");
        let closed = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closed);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Not the error: what the upstream says in it may be of records.
                trace!(reason = ?error.reason(), "an upstream connection ended");
            }
            ended.store(true, Ordering::Relaxed);
        });
        // What the other side allows, above all how many calls, comes before its answer.
        pings.ping(h2::Ping::opaque()).await?;
        Ok::<_, h2::Error>((sender, closed))
    };
    match timeout(GREETING, greeting).await {
        Ok(Ok((sender, closed))) => Ok(destination.pool.opened(sender, generation, closed, shared)),
        Ok(Err(error)) => {
            let code = if first.is_empty() { "reset" } else { "protocol" };
            Err(Unopened::without_greeting(&destination.origin, first.spoken(), code, &chain(&error)))
        }
        Err(_) => {
            let error = format!("no answer within {GREETING:?}");
            Err(Unopened::without_greeting(&destination.origin, first.spoken(), "timeout", &error))
        }
    }
}

impl Unopened {
    /// A part of connecting, whoever it is that has accepted. `code` tells what has happened, unless something else is spoken.
    fn without_greeting(origin: &Origin, spoken: Option<Spoken>, code: &'static str, error: &str) -> Self {
        let code = match spoken {
            Some(Spoken::Tls | Spoken::Http1 | Spoken::Other) => "protocol",
            Some(Spoken::Http2) if code == "protocol" => "reset",
            _ => code,
        };
        let detail = match spoken {
            // h2's own error is only that the connection has ended.
            Some(Spoken::Tls) => {
                format!(
                    "HTTP/2 is not spoken at `{origin}`: it speaks TLS: write `https://`, or no `insecure: true`"
                )
            }
            Some(Spoken::Http1) => format!(
                "HTTP/2 is not spoken at `{origin}`: it speaks HTTP/1.1, as an otlp_http endpoint (port 4318): use its gRPC \
                 port (4317), or `otlp_http`"
            ),
            Some(Spoken::Http2) => {
                format!("`{origin}` has begun with HTTP/2 and then not gone on: {error}")
            }
            Some(Spoken::Other) | None if origin.https => {
                format!(
                    "HTTP/2 is not spoken at `{origin}`: {error}: is it an otlp_http endpoint (port 4318)?"
                )
            }
            Some(Spoken::Other) | None => format!(
                "HTTP/2 is not spoken at `{origin}`: {error}: is it https, or an otlp_http endpoint (port 4318)?"
            ),
        };
        Self { code, detail, at: Instant::now() }
    }
}

impl From<DialError> for Unopened {
    fn from(error: DialError) -> Self {
        Self { code: error.code(), detail: error.to_string(), at: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::RetrySettings;
    use crate::export::conditions::LoneAttempt;
    use crate::export::http::tests::upstream_settings;
    use crate::export::upstream::transport::MAX_REQUEST;
    use crate::export::{ExporterKind, ExporterSettings, Statuses};
    use crate::net::Network;
    use crate::route::{RoutingKey, Values};
    use crate::stream::{Batch, BatchSettings, QueueSettings, WhenFull};

    /// A stream without a key.
    struct Stream;

    impl Values for Stream {
        fn key(&self) -> Option<&RoutingKey> {
            None
        }
        fn signal(&self) -> Signal {
            Signal::Logs
        }
    }

    fn transport(address: std::net::SocketAddr) -> GrpcTransport {
        let grpc = OtlpGrpcSettings {
            url: Some(Template::parse(&format!("http://{address}")).unwrap()),
            upstream: upstream_settings(),
        };
        let settings = ExporterSettings {
            kind: ExporterKind::OtlpGrpc(Box::new(grpc.clone())),
            queue: QueueSettings {
                enabled: true,
                num_consumers: 1,
                queue_bytes: 1 << 24,
                queue_requests: None,
                when_full: WhenFull::Refuse,
                batch: BatchSettings { flush_timeout: Duration::ZERO, min_size: 1, max_size: 1 << 19 },
            },
            max_in_flight: 256,
            retry: RetrySettings::without_jitter(),
            statuses: Statuses::default(),
            valid_key: None,
        };
        GrpcTransport::new(&settings, &grpc, &Network::Machine, None).unwrap()
    }

    #[tokio::test]
    async fn rule_4_a_request_that_is_too_large_is_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let transport = transport(listener.local_addr().unwrap());
        let target = transport.target(&Stream).unwrap();
        let alone = LoneAttempt::default();
        let batch = Batch::new(Signal::Logs, vec![Bytes::from(vec![0; MAX_REQUEST + 1])], 1);
        let answer =
            transport.attempt(&target, &batch, alone.conditions()).await.expect("nothing opens a circuit");
        assert_eq!((answer.code.as_ref(), answer.outcome), ("oversize", AttemptOutcome::Bad));
        let connected = listener.accept().map_err(|error| error.kind());
        assert_eq!(connected.unwrap_err(), std::io::ErrorKind::WouldBlock);
    }
}
