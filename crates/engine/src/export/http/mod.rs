//! The `otlp_http` exporter: one attempt at sending one batch (OTLP/HTTP of the OTLP specification).
//!
//! What it promises: an attempt waits for its destination's allowance, takes an idle connection or opens one,
//! sends the batch without copying it, and says what the answer means. Connections are HTTP/1.1, reused, never
//! older than `max_connection_age`, and opened to whatever the name resolves to at that moment. Trying again,
//! halving and counting are the stream's.

mod answer;
mod pool;
mod target;

#[cfg(test)]
pub(super) mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout_at};
use tracing::trace;

use self::answer::Reply;
pub use self::answer::error_message;
use self::pool::{Connection, Pool, PoolLimits};
use self::target::FixedTargets;
pub(super) use self::target::check_target;
pub use self::target::{FRAMING_HEADERS, HttpTarget};
use super::auth::{AuthHeader, AuthHeaders, secrets_of};
use super::upstream::answer_body::Unreadable;
use super::upstream::body::RequestBody;
use super::upstream::circuit::CircuitState;
use super::upstream::destination::{self, Destinations, keep_swept};
use super::upstream::detail::chain;
use super::upstream::dial::{self, Connector, DialError};
use super::upstream::first_bytes::{FirstBytes, Spoken};
use super::upstream::proxy::{Proxies, Way};
use super::upstream::sanitizer::Sanitizer;
use super::upstream::tls::Tls;
use super::upstream::{STALE, is_https};
use super::{
    Answer, Conditions, ExporterSettings, OtlpHttpSettings, Outcome, RetrySettings, Statuses, TargetError,
    TransportError, ValidKey,
};
use crate::net::Network;
use crate::route::Values;
use crate::stream::Batch;

/// A destination with its idle connections.
type Destination = destination::Destination<Pool>;

/// The largest request that is sent, before compression (OTLP rule 32), unless the exporter's batches are
/// configured to be larger.
const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// Bytes of an answer that are read at a time, and that its head may have: the buffer of a connection, which is not
/// charged to the memory budget. hyper would let it grow with what arrives.
const READ_BUFFER: usize = 16 * 1024;

/// The `otlp_http` transport of one exporter, shared by its streams.
#[derive(Debug)]
pub struct HttpTransport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: OtlpHttpSettings,
    auth: Option<Arc<AuthHeaders>>,
    max_in_flight: usize,
    retry: RetrySettings,
    statuses: Statuses,
    valid_key: Option<ValidKey>,
    max_request: usize,
    connector: Connector,
    tls: Tls,
    proxies: Proxies,
    fixed: FixedTargets,
    destinations: Arc<Destinations<Pool>>,
}

/// Why an attempt ended without an answer.
enum Failure {
    Dial(DialError),
    /// On a connection that has begun so, if it is a new one.
    Http(hyper::Error, Option<Spoken>),
    Timeout(Duration),
}

impl HttpTransport {
    pub(super) fn new(
        settings: &ExporterSettings,
        http: &OtlpHttpSettings,
        network: &Network,
        former: Option<&Arc<AuthHeaders>>,
    ) -> Result<Self, TransportError> {
        let proxies = match &http.proxy_url {
            Some(url) => Proxies::fixed(url.expose_secret())?,
            None => Proxies::from_env(),
        };
        let wants_tls = http.urls.iter().flatten().any(|url| url.as_text().is_some_and(is_https));
        let destinations = Arc::<Destinations<Pool>>::default();
        let shared = Shared {
            tls: Tls::new(http.tls.clone(), b"http/1.1", wants_tls)?,
            connector: Connector::new(network, http.timeout, destinations.room()),
            proxies,
            auth: http.auth.as_ref().map(|auth| AuthHeaders::new(auth, network, former)).transpose()?,
            max_in_flight: settings.max_in_flight,
            retry: settings.retry.clone(),
            statuses: settings.statuses.clone(),
            valid_key: settings.valid_key.clone(),
            max_request: MAX_REQUEST.max(settings.queue.batch.max_size),
            fixed: FixedTargets::default(),
            destinations,
            settings: http.clone(),
        };
        shared.check_templates()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn target(&self, values: &impl Values) -> Result<Arc<HttpTarget>, TargetError> {
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
        target: &HttpTarget,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Option<Answer> {
        if batch.len() > self.shared.max_request {
            let detail =
                format!("{} bytes are more than the {} that are sent", batch.len(), self.shared.max_request);
            return Some(Answer {
                code: "oversize".into(),
                outcome: Outcome::Bad,
                least: Duration::ZERO,
                detail,
            });
        }
        keep_swept(&self.shared, self.shared.sweep_pause(), |shared| (&*shared.destinations, &shared.tls));
        // What waits for its header takes no place among the requests to the destination.
        let auth = self.shared.auth.as_deref();
        if let Err(answer) = AuthHeaders::ready(auth).await {
            return Some(answer);
        }
        let exchange = || {
            AuthHeaders::attempt(auth, async |header| {
                self.shared.exchange(target, header.as_deref(), batch, conditions).await
            })
        };
        target.destination.allowance.run(conditions.hanging, || conditions.begin(), exchange).await
    }

    #[cfg(test)]
    fn with_proxies(mut self, proxies: Proxies) -> Self {
        Arc::get_mut(&mut self.shared).expect("not shared yet").proxies = proxies;
        self
    }
}

impl Shared {
    /// How often connections are looked at that may have been idle for too long.
    fn sweep_pause(&self) -> Duration {
        let idle = self.settings.idle_timeout;
        if idle.is_zero() { Duration::from_secs(60) } else { (idle / 2).max(Duration::from_secs(1)) }
    }

    /// One request and its answer.
    async fn exchange(
        &self,
        target: &HttpTarget,
        header: Option<&AuthHeader>,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Answer {
        let (budget, traceparent) = (conditions.budget, conditions.traceparent());
        let sanitizer = Sanitizer {
            secrets: secrets_of(&target.secrets, header),
            redaction: conditions.redaction,
            batch,
        };
        let (encoding, compression) = (self.settings.encoding, self.settings.compression);
        let body = match RequestBody::new(batch, encoding, compression, budget).await {
            Ok(body) => body,
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
        let deadline = Deadline::new(self.settings.timeout);
        let sent = deadline.apply(self.send(target, header, traceparent.as_ref(), body)).await;
        let (response, connection) = match sent.unwrap_or(Err(Failure::Timeout(self.settings.timeout))) {
            Ok(sent) => sent,
            Err(failure) => return failure.answer(target, &sanitizer),
        };
        let (head, body) = response.into_parts();
        let body = deadline.apply(answer::read(body, budget)).await.unwrap_or(Err(Unreadable::BrokeOff));
        if body.is_ok() {
            Pool::give_back(&target.destination, connection);
        }
        let reply = Reply { status: head.status, headers: &head.headers, body };
        reply.judge(&self.statuses, batch.records(), &sanitizer, SystemTime::now())
    }

    /// Sends on an idle connection or on a new one.
    ///
    /// An upstream may close an idle connection just when it is used again. That says nothing about the
    /// upstream, so the request goes out once more, at once, on a new connection.
    async fn send(
        &self,
        target: &HttpTarget,
        header: Option<&AuthHeader>,
        traceparent: Option<&HeaderValue>,
        body: RequestBody,
    ) -> Result<(http::Response<Incoming>, Connection), Failure> {
        if let Some(connection) = target.destination.pool.take(self.tls.generation()) {
            let started = Instant::now();
            match request(connection, target.request(header, traceparent, body.clone())).await {
                Err(error) if is_stale(&error, started) => trace!(%error, "an idle connection was closed"),
                done => return done.map_err(|error| Failure::Http(error, None)),
            }
        }
        let (connection, first) = self.connect(target).await?;
        request(connection, target.request(header, traceparent, body))
            .await
            .map_err(|error| Failure::Http(error, first.spoken()))
    }

    async fn connect(&self, target: &HttpTarget) -> Result<(Connection, FirstBytes), Failure> {
        let destination = &target.destination;
        let (io, generation) = dial::dial(&self.connector, &self.tls, &destination.origin, &destination.way)
            .await
            .map_err(Failure::Dial)?;
        let (io, first) = FirstBytes::of(io);
        let (sender, connection) = http1::Builder::new()
            .writev(true)
            .read_buf_exact_size(Some(READ_BUFFER))
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| Failure::Http(error, first.spoken()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                trace!(%error, "an upstream connection ended");
            }
        });
        Ok((destination.pool.opened(sender, generation), first))
    }
}

/// The end of an attempt; never, if the timeout is zero.
struct Deadline(Option<Instant>);

impl Deadline {
    fn new(timeout: Duration) -> Self {
        Self(if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) })
    }

    async fn apply<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.0 {
            Some(at) => timeout_at(at, work).await.ok(),
            None => Some(work.await),
        }
    }
}

async fn request(
    mut connection: Connection,
    request: http::Request<RequestBody>,
) -> hyper::Result<(http::Response<Incoming>, Connection)> {
    let response = connection.sender.send_request(request).await?;
    Ok((response, connection))
}

fn is_stale(error: &hyper::Error, started: Instant) -> bool {
    // `is_canceled`: the request never left.
    error.is_canceled() || (!error.is_parse() && started.elapsed() < STALE)
}

impl Failure {
    /// None of these is an answer, so all are worth another attempt (OTLP rules 43 and 44).
    fn answer(self, target: &HttpTarget, sanitizer: &Sanitizer<'_>) -> Answer {
        let (code, detail) = match self {
            Self::Dial(error) => (error.code(), error.to_string()),
            Self::Timeout(limit) => ("timeout", format!("no answer within {limit:?}")),
            Self::Http(error, _) if is_tls(&error) => ("tls", chain(&error)),
            Self::Http(error, Some(spoken @ (Spoken::Tls | Spoken::Http2 | Spoken::Other))) => {
                ("protocol", foreign(target, &error, Some(spoken)))
            }
            Self::Http(error, spoken) if error.is_parse() => ("protocol", foreign(target, &error, spoken)),
            Self::Http(error, _) => {
                ("reset", format!("the connection ended without an answer: {}", chain(&error)))
            }
        };
        let (outcome, least) = (Outcome::Retry { after: None }, Duration::ZERO);
        // What came was not read as an answer, and nothing of it is in the error.
        Answer { code: code.into(), outcome, least, detail: sanitizer.clean_own(&detail) }
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

impl Shared {
    fn pool_limits(&self) -> PoolLimits {
        PoolLimits {
            max_idle: self.settings.max_idle_connections,
            idle_timeout: self.settings.idle_timeout,
            max_age: self.settings.max_connection_age,
        }
    }
}
