//! What the OTLP exporters to the network do alike, whatever their protocol: the destinations of their streams, TLS, proxies,
//! `auth`, the allowance, the body of a request and the time it has. What differs is an [`OtlpProtocol`] with its
//! [`OtlpExchange`]: connections, the head of a request, and what its answer means.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use otlp::Signal;
use tokio::time::{Instant, timeout_at};

use super::allowance::Allowance;
use super::body::RequestBody;
use super::destination::{Destination, Destinations};
use super::protocol::OtlpProtocol;
use super::sanitizer::Sanitizer;
use super::target::OtlpTarget;
use crate::backoff::RetrySettings;
use crate::client::{
    Connector, DialError, Origin, Proxies, ProxyError, Tls, Way, dial, is_https, parse_url, shown_url,
};
use crate::credentials::{AuthHeader, AuthHeaders, HeaderValueError, TokenError, secrets_of};
use crate::export::turn::Turns;
use crate::export::{
    Answer, AttemptOutcome, Circuit, CircuitState, Conditions, ExporterSettings, HoldScope, Statuses,
    TargetError, TransportError, UpstreamSettings, ValidKey,
};
use crate::net::{Network, Transmission};
use crate::route::{Template, Values};
use crate::stream::Batch;

/// The largest request that is sent, before compression (OTLP rules 4 and 32), unless the exporter's batches are configured to be
/// larger: a record that is alone in its batch.
pub(in crate::export) const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// Headers that frame a message, which is Sluice's and its HTTP library's to do: another value would break the connection.
pub const FRAMING_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How a protocol sends a request.
pub trait OtlpExchange: OtlpProtocol {
    /// Sends a request with this body and judges its answer, or what has come instead of one.
    fn exchange(
        transport: &OtlpTransport<Self>,
        exchange: Exchange<'_, Self>,
        body: RequestBody,
    ) -> impl Future<Output = Answer> + Send;
}

/// How one exporter sends over the network; shared by its streams.
#[derive(Debug)]
pub struct OtlpTransport<P: OtlpProtocol> {
    pub(in crate::export) protocol: P,
    auth: Option<Arc<AuthHeaders>>,
    max_in_flight: usize,
    max_request: usize,
    retry: RetrySettings,
    pub(in crate::export) statuses: Statuses,
    valid_key: Option<ValidKey>,
    connector: Connector,
    pub(in crate::export) tls: Arc<Tls>,
    proxies: Proxies,
    /// The targets of URLs and headers without values: one for all streams of a signal, whatever their number.
    fixed: [OnceLock<Arc<OtlpTarget<P>>>; 3],
    destinations: Arc<Destinations<P::Pool>>,
}

impl<P: OtlpExchange> OtlpTransport<P> {
    pub(in crate::export) fn new(
        settings: &ExporterSettings,
        protocol: &P,
        network: &Network,
        former: Option<&Arc<AuthHeaders>>,
    ) -> Result<Self, TransportError> {
        let UpstreamSettings { auth, timeout, tls, .. } = protocol.upstream();
        let proxies = protocol.proxies()?;
        let wants_tls = protocol.urls().any(|url| url.as_text().is_some_and(is_https));
        let tls = Arc::new(Tls::new(tls.clone(), if P::IS_HTTP2 { b"h2" } else { b"http/1.1" }, wants_tls)?);
        let destinations = Arc::<Destinations<P::Pool>>::default();
        let connector = Connector::new(network, *timeout, destinations.room());
        let auth = auth.as_ref().map(|auth| AuthHeaders::new(auth, network, former)).transpose()?;
        check_templates(protocol)?;
        Ok(Self {
            protocol: protocol.clone(),
            auth,
            max_in_flight: settings.max_in_flight,
            max_request: MAX_REQUEST.max(settings.queue.batch.max_size),
            retry: settings.retry.clone(),
            statuses: settings.statuses.clone(),
            valid_key: settings.valid_key.clone(),
            connector,
            tls,
            proxies,
            fixed: Default::default(),
            destinations,
        })
    }

    pub(in crate::export) fn auth(&self) -> Option<&Arc<AuthHeaders>> {
        self.auth.as_ref()
    }

    /// Every destination that is in use, by its origin, and how its circuit is; in no order.
    pub(in crate::export) fn circuits(&self) -> Vec<(String, CircuitState)> {
        self.destinations.circuits()
    }

    /// When the certificate ends that is shown to upstreams, if one is shown.
    pub(in crate::export) fn certificate_expiry(&self) -> Option<SystemTime> {
        self.tls.certificate_expiry()
    }

    /// Where the batches of the stream with these values go.
    pub(in crate::export) fn target(&self, values: &impl Values) -> Result<Arc<OtlpTarget<P>>, TargetError> {
        if let Some(valid_key) = &self.valid_key {
            valid_key.check(values)?;
        }
        let render = || {
            OtlpTarget::render(&self.protocol, values, self.auth.as_deref(), |origin| {
                self.destination(origin)
            })
        };
        if !self.is_fixed(values.signal()) {
            return render().map(Arc::new);
        }
        let slot = &self.fixed[values.signal().index()];
        if let Some(known) = slot.get() {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(render()?);
        Ok(Arc::clone(slot.get_or_init(|| fresh)))
    }

    /// Whether the targets of all streams of the signal are one.
    fn is_fixed(&self, signal: Signal) -> bool {
        let headers = self.protocol.upstream().headers.iter().map(|(_, value)| &value.0);
        self.protocol.url(signal).into_iter().chain(headers).all(|template| template.as_text().is_some())
    }

    fn destination(&self, origin: &Origin) -> Result<Arc<Destination<P::Pool>>, ProxyError> {
        self.destinations.get(origin, || {
            Ok(Destination {
                origin: origin.clone(),
                way: match self.proxies.way(origin)? {
                    Way::Forward(proxy) if P::IS_HTTP2 => Way::Tunnel(proxy),
                    way => way,
                },
                turns: Turns::default(),
                allowance: Allowance::new(self.max_in_flight),
                circuit: Circuit::new(&self.retry),
                pool: self.protocol.pool(),
            })
        })
    }

    /// Opens a connection. Returns the generation of the TLS files with it.
    pub(in crate::export) async fn dial(
        &self,
        target: &OtlpTarget<P>,
    ) -> Result<(Box<dyn Transmission>, u64), DialError> {
        let Destination { origin, way, .. } = &*target.destination;
        dial(&self.connector, &self.tls, origin, way).await
    }

    /// As [`Transport::attempt`](crate::export::Transport::attempt) says.
    pub(in crate::export) async fn attempt(
        &self,
        target: &OtlpTarget<P>,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Option<Answer> {
        if batch.len() > self.max_request {
            let detail =
                format!("{} bytes are more than the {} that are sent", batch.len(), self.max_request);
            return Some(Answer::own("oversize", AttemptOutcome::Bad, detail));
        }
        self.destinations.keep_swept(&self.tls, self.protocol.sweep_pause());
        // What waits for its header takes no place among the requests to the destination.
        if let Some(auth) = &self.auth
            && let Err(error) = auth.current().await
        {
            return Some(without_header(&error));
        }
        // A stream whose last attempt hung waits for a place among those that hang, and must not keep other streams from beginning.
        if let Some(turn) = conditions.turn.filter(|_| conditions.hanging.load(Ordering::Relaxed)) {
            turn.end();
        }
        let exchange = || self.authenticated(target, batch, conditions);
        target.destination.allowance.run(conditions.hanging, || conditions.begin(), exchange).await
    }

    /// One request with the header of this moment, where there is `auth`, and its answer.
    async fn authenticated(
        &self,
        target: &OtlpTarget<P>,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Answer {
        let Some(auth) = &self.auth else { return self.exchange(target, None, batch, conditions).await };
        let header = match auth.current().await {
            Ok(header) => header,
            Err(error) => return without_header(&error),
        };
        let answer = self.exchange(target, Some(&header), batch, conditions).await;
        auth.answered(&header, &answer.code);
        answer
    }

    /// One request and its answer.
    async fn exchange(
        &self,
        target: &OtlpTarget<P>,
        auth: Option<&AuthHeader>,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Answer {
        let UpstreamSettings { compression, timeout, .. } = *self.protocol.upstream();
        let sanitizer =
            Sanitizer { secrets: secrets_of(&target.secrets, auth), redaction: conditions.redaction, batch };
        let body =
            match RequestBody::new(batch, self.protocol.encoding(), compression, conditions.budget).await {
                Ok(body) => body,
                Err(error) => {
                    let detail = format!("the batch can't be encoded: {error}");
                    return Answer::own("encode", AttemptOutcome::Refused, detail);
                }
            };
        let deadline = Deadline::new(timeout);
        P::exchange(self, Exchange { target, auth, batch, deadline, sanitizer, conditions }, body).await
    }

    #[cfg(test)]
    pub(in crate::export) fn with_proxies(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }
}

/// What an attempt comes to that can't be made without a header: it waits as for an upstream that refuses it.
fn without_header(error: &TokenError) -> Answer {
    let (code, outcome) = if error.is_refusal() {
        ("token_refused", AttemptOutcome::Hold { scope: HoldScope::Stream, after: None })
    } else {
        ("token", AttemptOutcome::Retry { after: None })
    };
    Answer::own(code, outcome, error.to_string())
}

/// Finds what is wrong with URLs and headers that have no values, before there is data.
fn check_templates(protocol: &impl OtlpProtocol) -> Result<(), TransportError> {
    for text in protocol.urls().filter_map(Template::as_text) {
        parse_url(text).map_err(|source| TransportError::Url { url: shown_url(text), source })?;
    }
    for (name, template) in &protocol.upstream().headers {
        if FRAMING_HEADERS.contains(&name.as_str()) {
            return Err(TransportError::FramingHeader(name.clone()));
        }
        if template.0.as_text().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
            return Err(HeaderValueError(name.clone()).into());
        }
    }
    Ok(())
}

/// One request that is to be sent.
#[derive(Debug)]
pub struct Exchange<'a, P: OtlpProtocol> {
    pub(in crate::export) target: &'a OtlpTarget<P>,
    auth: Option<&'a AuthHeader>,
    pub(in crate::export) batch: &'a Batch,
    pub(in crate::export) deadline: Deadline,
    pub(in crate::export) sanitizer: Sanitizer<'a>,
    pub(in crate::export) conditions: Conditions<'a>,
}

impl<P: OtlpProtocol> Exchange<'_, P> {
    /// The request, with its credential and the name of its span if it has any.
    pub(in crate::export) fn request<B>(&self, body: B) -> http::Request<B> {
        self.target.request(self.auth, self.conditions.traceparent().as_ref(), body)
    }

    /// What the attempt comes to if there was no answer, which says nothing of the batch, and so is worth another attempt (OTLP
    /// rules 43 and 44). Nothing of `detail` is the upstream's.
    pub(in crate::export) fn unanswered(&self, code: &'static str, detail: &str) -> Answer {
        Answer::own(code, AttemptOutcome::Retry { after: None }, self.sanitizer.clean_own(detail))
    }

    /// The same when its time is over.
    pub(in crate::export) fn timed_out(&self) -> Answer {
        self.unanswered("timeout", &format!("no answer within {:?}", self.deadline.timeout))
    }
}

/// The end of an attempt; never, if the timeout is zero.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Deadline {
    timeout: Duration,
    at: Option<Instant>,
}

impl Deadline {
    fn new(timeout: Duration) -> Self {
        let at = if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) };
        Self { timeout, at }
    }

    pub(in crate::export) async fn apply<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.at {
            Some(at) => timeout_at(at, work).await.ok(),
            None => Some(work.await),
        }
    }
}
