//! The `otlp_grpc` exporter: one attempt at sending one batch as a unary `Export` call.
//!
//! Connections are HTTP/2 and shared by the calls of a destination. None of these may delay another: a connection
//! takes only as many calls as the upstream says, and a message that can't be written within a second - its upstream
//! doesn't read it, or has let others fill the connection's window - goes on by itself on a connection of its own. So
//! does from the start the message of a stream whose last attempt hung.

mod answer;
pub mod call;
mod pool;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderValue;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::trace;

use self::call::{Answered, CallError, Message, call};
use self::pool::{Place, Pool, Unopened};
use self::target::FixedTargets;
pub use self::target::GrpcTarget;
pub(super) use self::target::check_target;
use super::auth::{AuthHeader, AuthHeaders, secrets_of};
use super::upstream::body::RequestBody;
use super::upstream::circuit::CircuitState;
use super::upstream::destination::{Destinations, Origin, keep_swept};
use super::upstream::detail::chain;
use super::upstream::dial::{self, Connector, DialError};
use super::upstream::first_bytes::{FirstBytes, Spoken};
use super::upstream::proxy::Proxies;
use super::upstream::sanitizer::Sanitizer;
use super::upstream::tls::Tls;
use super::upstream::{STALE, is_https};
use super::{
    Answer, Compression, Conditions, Encoding, ExporterSettings, OtlpGrpcSettings, Outcome, RetrySettings,
    Statuses, TargetError, TransportError, ValidKey,
};
use crate::net::Network;
use crate::route::{Template, Values};
use crate::stream::{Batch, Budget};

/// The largest message that servers take if nobody tells them otherwise.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The largest request that is sent, before compression (OTLP rule 4): a record that is alone in its batch.
const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// How long a message may take to be written on a connection that it shares.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a new connection may take to show that HTTP/2 is spoken.
pub(super) const GREETING: Duration = Duration::from_secs(10);

/// Connections without a call are closed after this time.
const IDLE: Duration = Duration::from_secs(90);

/// Bytes of answers that may be on their way on one connection: several times what one call may have, so that none
/// fills it.
const ANSWERS_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer's head, and of its trailers: as many as servers write by default at most.
const MAX_HEAD: u32 = 16 * 1024;

/// The `otlp_grpc` transport of one exporter, shared by its streams.
#[derive(Debug)]
pub struct GrpcTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: OtlpGrpcSettings,
    auth: Option<Arc<AuthHeaders>>,
    max_in_flight: usize,
    retry: RetrySettings,
    statuses: Statuses,
    valid_key: Option<ValidKey>,
    connector: Connector,
    tls: Tls,
    proxies: Proxies,
    fixed: FixedTargets,
    destinations: Arc<Destinations<Pool>>,
}

/// Why an attempt ended without an answer.
enum Failure {
    Open(Unopened),
    Call(h2::Error),
    Timeout(Duration),
}

impl GrpcTransport {
    pub(super) fn new(
        settings: &ExporterSettings,
        grpc: &OtlpGrpcSettings,
        network: &Network,
        former: Option<&Arc<AuthHeaders>>,
    ) -> Result<Self, TransportError> {
        let wants_tls = grpc.url.as_ref().and_then(Template::as_text).is_some_and(is_https);
        let destinations = Arc::<Destinations<Pool>>::default();
        let shared = Shared {
            tls: Tls::new(grpc.tls.clone(), b"h2", wants_tls)?,
            connector: Connector::new(network, grpc.timeout, destinations.room()),
            proxies: Proxies::from_env(),
            auth: grpc.auth.as_ref().map(|auth| AuthHeaders::new(auth, network, former)).transpose()?,
            max_in_flight: settings.max_in_flight,
            retry: settings.retry.clone(),
            statuses: settings.statuses.clone(),
            valid_key: settings.valid_key.clone(),
            fixed: FixedTargets::default(),
            destinations,
            settings: grpc.clone(),
        };
        shared.check_templates()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn target(&self, values: &impl Values) -> Result<Arc<GrpcTarget>, TargetError> {
        if let Some(valid_key) = &self.shared.valid_key {
            valid_key.check(values)?;
        }
        self.shared.target(values)
    }

    pub(super) fn auth(&self) -> Option<&Arc<AuthHeaders>> {
        self.shared.auth.as_ref()
    }

    pub(super) fn circuits(&self) -> Vec<(String, CircuitState)> {
        self.shared.destinations.circuits()
    }

    pub(super) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.shared.tls.certificate_expiry()
    }

    pub(super) async fn attempt(
        &self,
        target: &GrpcTarget,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Option<Answer> {
        if batch.len() > MAX_REQUEST {
            let detail = format!("{} bytes are more than the {MAX_REQUEST} that are sent", batch.len());
            return Some(Answer {
                code: "oversize".into(),
                outcome: Outcome::Bad,
                least: Duration::ZERO,
                detail,
            });
        }
        keep_swept(&self.shared, IDLE / 2, |shared| (&*shared.destinations, &shared.tls));
        // What waits for its header takes no place among the calls to the destination.
        let auth = self.shared.auth.as_deref();
        if let Err(answer) = AuthHeaders::ready(auth).await {
            return Some(answer);
        }
        let alone = conditions.hanging.load(Ordering::Relaxed);
        let exchange = || {
            AuthHeaders::attempt(auth, async |header| {
                self.shared.exchange(target, header.as_deref(), batch, alone, conditions).await
            })
        };
        target.destination.allowance.run(conditions.hanging, || conditions.begin(), exchange).await
    }
}

impl Shared {
    /// One call and its answer. `alone`: on a connection of its own.
    async fn exchange(
        &self,
        target: &GrpcTarget,
        header: Option<&AuthHeader>,
        batch: &Batch,
        alone: bool,
        conditions: Conditions<'_>,
    ) -> Answer {
        let (budget, traceparent) = (conditions.budget, conditions.traceparent());
        let sanitizer = Sanitizer {
            secrets: secrets_of(&target.secrets, header),
            redaction: conditions.redaction,
            batch,
        };
        let compression = self.settings.compression;
        let message = match RequestBody::new(batch, Encoding::Proto, compression, budget).await {
            Ok(message) => message,
            Err(error) => {
                let detail = format!("the batch can't be encoded: {error}");
                return Answer {
                    code: "encode".into(),
                    outcome: Outcome::Refused,
                    least: Duration::ZERO,
                    detail,
                };
            }
        };
        let limit = self.settings.timeout;
        let heads = (header, traceparent.as_ref());
        let sent = match Instant::now().checked_add(limit).filter(|_| !limit.is_zero()) {
            Some(deadline) => timeout_at(deadline, self.send(target, heads, &message, alone, budget)).await,
            None => Ok(self.send(target, heads, &message, alone, budget).await),
        };
        match sent.unwrap_or(Err(Failure::Timeout(limit))) {
            Ok(answered) => answered.judge(&self.statuses, batch.records(), batch.len(), &sanitizer),
            Err(failure) => failure.answer(&sanitizer),
        }
    }

    /// Sends on a connection with room, or on a new one; once more, at once, if that says that it has not taken the call, or
    /// ends as one does that was closed just when it was used again. The others whose calls were on it do the same, so that
    /// the next one, which is younger than the first, is theirs too.
    async fn send(
        &self,
        target: &GrpcTarget,
        heads: (Option<&AuthHeader>, Option<&HeaderValue>),
        message: &RequestBody,
        mut alone: bool,
        budget: &Arc<Budget>,
    ) -> Result<Answered, Failure> {
        let message = Message {
            chunks: message.chunks().cloned(),
            len: message.len(),
            compressed: self.settings.compression != Compression::None,
        };
        let mut first = None;
        while !alone {
            let (place, is_new) = self.place(target, first).await?;
            let started = Instant::now();
            let request = target.request(heads, self.settings.timeout);
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
                return Err(Failure::Call(error));
            }
            first = Some(started);
        }
        let place = self.open(target, false).await.map_err(Failure::Open)?;
        let request = target.request(heads, self.settings.timeout);
        match call(place.sender(), request, message, None, budget).await {
            Ok(answered) => Ok(answered),
            Err(CallError::Unsent(error) | CallError::Ended(error)) => Err(Failure::Call(error)),
            Err(CallError::Stuck) => unreachable!("patience has no end here"),
        }
    }

    /// A place on a connection of the destination, of those that were opened `since` then, and whether it was opened for
    /// this.
    async fn place(&self, target: &GrpcTarget, since: Option<Instant>) -> Result<(Place, bool), Failure> {
        let pool = &target.destination.pool;
        if let Some(place) = pool.take(self.tls.generation(), since) {
            return Ok((place, false));
        }
        let asked = Instant::now();
        let mut opening = pool.opening.lock().await;
        if let Some(place) = pool.take(self.tls.generation(), since) {
            return Ok((place, false));
        }
        // Tried by another while this one waited.
        if let Some(unopened) = opening.as_ref().filter(|unopened| unopened.at > asked) {
            return Err(Failure::Open(unopened.clone()));
        }
        let opened = self.open(target, true).await;
        *opening = opened.as_ref().err().cloned();
        opened.map(|place| (place, true)).map_err(Failure::Open)
    }

    async fn open(&self, target: &GrpcTarget, shared: bool) -> Result<Place, Unopened> {
        let destination = &target.destination;
        let (io, generation) =
            dial::dial(&self.connector, &self.tls, &destination.origin, &destination.way).await?;
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

impl Failure {
    /// None of these is an answer, so all are worth another attempt.
    fn answer(self, sanitizer: &Sanitizer<'_>) -> Answer {
        let (code, detail) = match self {
            Self::Open(unopened) => (unopened.code, sanitizer.clean_own(&unopened.detail)),
            Self::Timeout(limit) => ("timeout", sanitizer.clean_own(&format!("no answer within {limit:?}"))),
            // An upstream that closes a connection may say why.
            Self::Call(error) => {
                ("reset", sanitizer.clean("the call ended without an answer", &chain(&error)))
            }
        };
        let (outcome, least) = (Outcome::Retry { after: None }, Duration::ZERO);
        Answer { code: code.into(), outcome, least, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ExporterKind;
    use crate::export::transport::LoneAttempt;
    use crate::route::{RoutingKey, Template};
    use crate::stream::{BatchSettings, QueueSettings, WhenFull};
    use otlp::Signal;

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
            headers: vec![],
            auth: None,
            compression: Compression::None,
            timeout: Duration::from_secs(10),
            tls: crate::export::TlsClientSettings::default(),
            max_connection_age: Duration::from_secs(300),
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
        assert_eq!((answer.code.as_ref(), answer.outcome), ("oversize", Outcome::Bad));
        let connected = listener.accept().map_err(|error| error.kind());
        assert_eq!(connected.unwrap_err(), std::io::ErrorKind::WouldBlock);
    }
}
