//! The means of sending: one attempt at one batch, and what its answer means.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use thiserror::Error;
use tokio::time::Instant;

use super::debug::{DebugTarget, DebugTransport};
use super::file::{FileTarget, FileTransport};
use super::grpc::{GrpcTarget, GrpcTransport};
use super::http::{HttpTarget, HttpTransport};
use super::upstream::circuit::{Circuit, CircuitState, Pass, Sign};
use super::upstream::status::says_nobody_is_there;
use super::upstream::target::check_target;
use super::{ExporterKind, ExporterSettings, HoldScope};
use crate::client::ProxyError;
use crate::client::TlsError;
use crate::client::{UrlError, shown_url};
use crate::credentials::{AuthHeaders, CredentialsError, HeaderValueError};
use crate::net::Network;
use crate::route::{RenderError, Template, Values};
use crate::stream::{Batch, Budget};
use crate::telemetry::OpenSpan;
use otlp::{Redaction, Signal};

/// How one exporter sends; shared by its streams.
#[derive(Debug)]
pub enum Transport {
    /// `otlp_http`.
    Http(HttpTransport),
    /// `file`.
    File(FileTransport),
    /// `debug`.
    Debug(DebugTransport),
    /// `nop`, which sends nothing anywhere.
    Nop,
    /// `otlp_grpc`.
    Grpc(GrpcTransport),
}

/// Where the batches of one stream go.
#[derive(Clone, Debug)]
pub enum Target {
    /// A URL with headers.
    Http(Arc<HttpTarget>),
    /// A file.
    File(FileTarget),
    /// A line on standard output.
    Debug(DebugTarget),
    /// Nowhere.
    Nop,
    /// A method of a gRPC server, with metadata.
    Grpc(Arc<GrpcTarget>),
}

/// The conditions under which a batch is attempted.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Whether the stream's last attempt hung, which decides about the allowance; kept up to date by the attempt.
    pub hanging: &'a AtomicBool,
    /// What of the batch is not shown where the upstream says it back.
    pub redaction: &'a ArcSwap<Redaction>,
    /// What is charged for what is made of the batch, such as its compressed body.
    pub budget: &'a Arc<Budget>,
    /// The leave to ask the destination, for those that share a circuit.
    pub pass: Option<&'a Pass<'a>>,
    /// When the attempt began to do more than wait for its turn: until then it leaves no trace if it is dropped.
    pub begun: &'a OnceLock<Instant>,
    /// The span of the attempt, if it has one: it begins with the attempt, and is named to the upstream.
    pub span: Option<&'a OpenSpan>,
}

impl Conditions<'_> {
    /// Begins the attempt, if it may still be made.
    pub(super) fn begin(&self) -> bool {
        let holds = self.pass.is_none_or(Pass::holds);
        if holds {
            self.begun.get_or_init(Instant::now);
            if let Some(span) = self.span {
                span.begin();
            }
        }
        holds
    }

    /// Names the span of the attempt to the upstream.
    pub(super) fn traceparent(&self) -> Option<HeaderValue> {
        self.span.map(|span| span.context().header())
    }
}

/// What an attempt needs that shares nothing with others.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct LoneAttempt {
    hanging: AtomicBool,
    redaction: ArcSwap<Redaction>,
    pub(super) budget: Arc<Budget>,
    begun: OnceLock<Instant>,
}

#[cfg(test)]
impl Default for LoneAttempt {
    fn default() -> Self {
        let (hanging, redaction, begun) = Default::default();
        Self { hanging, redaction, budget: Arc::new(Budget::new(u64::MAX)), begun }
    }
}

#[cfg(test)]
impl LoneAttempt {
    pub(super) fn conditions(&self) -> Conditions<'_> {
        let Self { hanging, redaction, budget, begun } = self;
        Conditions { hanging, redaction, budget, pass: None, begun, span: None }
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The metric's label: an HTTP status, a gRPC code such as `UNAVAILABLE`, or `connect`, `tls`, `timeout`, `reset`,
    /// `protocol`, `oversize`, `encode`, `descriptors`, `token`, `token_refused`, `written`, `io`, `printed`, `discarded`,
    /// `other`.
    pub code: Cow<'static, str>,
    /// What to do with the batch.
    pub outcome: Outcome,
    /// What `statuses` says of time, else zero: how long the wait before the next attempt is at least, or, of an outcome that
    /// ends or divides the batch, how long after its first failure that happens at the earliest. Until then it is tried again.
    pub least: Duration,
    /// For logs: one line of at most some 256 characters, without secrets; empty if there is nothing to say.
    pub detail: String,
}

/// What an answer means for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken. It is never sent again, whatever was rejected of it (OTLP rule 13).
    Delivered {
        /// Records that the upstream rejected by partial success; at most the batch's.
        rejected: u64,
        /// The answer's detail is worth a warning.
        warning: bool,
    },
    /// Not taken now, or nobody answered.
    Retry {
        /// What the upstream asks to wait (`Retry-After`), unbounded.
        after: Option<Duration>,
    },
    /// Something in the batch is bad: halve it.
    Bad,
    /// The destination is wrong, not the data: hold the stream, or more than that, and say so.
    Hold {
        /// What is held.
        scope: HoldScope,
        /// As in [`Outcome::Retry`].
        after: Option<Duration>,
    },
    /// Refused for good, as a whole.
    Refused,
    /// The same, and the configuration wants no dead letter of it.
    Unwanted,
}

/// Why an exporter can't be set up. For people who configure.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The TLS settings or their files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// `auth`.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A URL without values.
    #[error("`{url}` is {source}")]
    Url {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// A header that frames the message.
    #[error("the header `{0}` can't be configured: Sluice sets it to fit each request")]
    FramingHeader(HeaderName),
    /// A header's value that can't be sent.
    #[error(transparent)]
    HeaderValue(#[from] HeaderValueError),
}

impl TargetError {
    /// Of a URL that this template has given, and that may be shown like this.
    pub(super) fn url(url: &str, source: UrlError, template: &Template) -> Self {
        Self::Url { url: shown_url(url), source, of_row: template.reads_row() }
    }

    /// Of the header `name`, whose value this template has given.
    pub(super) fn header(name: &HeaderName, template: &Template) -> Self {
        Self::HeaderValue { name: name.clone(), of_row: template.reads_row() }
    }

    /// Whether the row of the stream's tenant is what has to be changed.
    pub fn is_of_row(&self) -> bool {
        match self {
            Self::Render(error) => error.is_of_row(),
            Self::Url { of_row, .. } | Self::HeaderValue { of_row, .. } => *of_row,
            Self::NoEndpoint(_) | Self::Key { .. } | Self::Proxy(_) => false,
        }
    }
}

/// Why a stream has no target: its entries can't be sent by this exporter.
#[derive(Debug, Error)]
pub enum TargetError {
    /// A template can't be filled.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The exporter has no URL for the signal.
    #[error("the exporter has no `endpoint` and no `{0}_endpoint`")]
    NoEndpoint(Signal),
    /// The upstream takes no such routing key.
    #[error("the upstream does not take the key `{key}`{}{description}", if .description.is_empty() { "" } else { ": " })]
    Key {
        /// The key.
        key: String,
        /// What one has to be; empty if nobody says so.
        description: String,
    },
    /// The rendered URL is none.
    #[error("`{url}` is {source}")]
    Url {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        source: UrlError,
        /// Its template reads values of the tenant's row.
        of_row: bool,
    },
    /// A rendered header can't be sent.
    #[error("the value of the header `{name}` holds characters that can't be sent")]
    HeaderValue {
        /// Which header.
        name: HeaderName,
        /// Its template reads values of the tenant's row.
        of_row: bool,
    },
    /// The way there goes through a proxy that can't be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl Transport {
    /// Sets up the exporter `name`, which connects through `network`. Reads certificates and secrets, so it blocks; opens no
    /// connection. What `former`, its transport before a reload, authenticates with is used on, unless `auth` has changed.
    pub fn new(
        name: &str,
        settings: &ExporterSettings,
        network: &Network,
        former: Option<&Self>,
    ) -> Result<Self, TransportError> {
        let former = former.and_then(Self::auth);
        Ok(match &settings.kind {
            ExporterKind::OtlpHttp(http) => Self::Http(HttpTransport::new(settings, http, network, former)?),
            ExporterKind::OtlpGrpc(grpc) => Self::Grpc(GrpcTransport::new(settings, grpc, network, former)?),
            ExporterKind::File(file) => Self::File(FileTransport::new(file)),
            ExporterKind::Debug(debug) => Self::Debug(DebugTransport::new(name, debug)),
            ExporterKind::Nop => Self::Nop,
        })
    }

    fn auth(&self) -> Option<&Arc<AuthHeaders>> {
        match self {
            Self::Http(http) => http.auth(),
            Self::Grpc(grpc) => grpc.auth(),
            Self::File(_) | Self::Debug(_) | Self::Nop => None,
        }
    }

    /// Where the batches of the stream with these values go.
    pub fn target(&self, values: &impl Values) -> Result<Target, TargetError> {
        Ok(match self {
            Self::Http(http) => Target::Http(http.target(values)?),
            Self::File(file) => Target::File(file.target(values)),
            Self::Debug(_) => Target::Debug(DebugTarget::new(values)),
            Self::Nop => Target::Nop,
            Self::Grpc(grpc) => Target::Grpc(grpc.target(values)?),
        })
    }

    /// Every destination that is in use, by its origin, and how its circuit is; in no order.
    pub fn circuits(&self) -> Vec<(String, CircuitState)> {
        match self {
            Self::Http(http) => http.circuits(),
            Self::Grpc(grpc) => grpc.circuits(),
            Self::File(_) | Self::Debug(_) | Self::Nop => Vec::new(),
        }
    }

    /// When the certificate ends that is shown to upstreams, or one of its chain before it, if one is shown.
    pub fn certificate_expiry(&self) -> Option<SystemTime> {
        match self {
            Self::Http(http) => http.certificate_expiry(),
            Self::Grpc(grpc) => grpc.certificate_expiry(),
            Self::File(_) | Self::Debug(_) | Self::Nop => None,
        }
    }

    /// One attempt at sending a batch. Waits for the header of `auth` and for the destination's allowance first, which the
    /// exporter's `timeout` does not cover; if the conditions no longer hold by then, it isn't made, and there is no
    /// answer. An attempt that is dropped closes its connection.
    pub async fn attempt(
        &self,
        target: &Target,
        batch: &Batch,
        conditions: Conditions<'_>,
    ) -> Option<Answer> {
        match (self, target) {
            (Self::Http(http), Target::Http(target)) => http.attempt(target, batch, conditions).await,
            (Self::File(file), Target::File(target)) if conditions.begin() => {
                Some(file.attempt(target, batch).await)
            }
            (Self::Debug(debug), Target::Debug(target)) if conditions.begin() => {
                Some(debug.attempt(target, batch).await)
            }
            (Self::Nop, Target::Nop) if conditions.begin() => {
                let outcome = Outcome::Delivered { rejected: 0, warning: false };
                Some(Answer::own("discarded", outcome, String::new()))
            }
            (Self::File(_), Target::File(_))
            | (Self::Debug(_), Target::Debug(_))
            | (Self::Nop, Target::Nop) => None,
            (Self::Grpc(grpc), Target::Grpc(target)) => grpc.attempt(target, batch, conditions).await,
            _ => unreachable!("a target is used with the transport that made it"),
        }
    }
}

impl ExporterSettings {
    /// Finds out whether a stream with these values has a target, as far as it is the templates that decide it.
    pub fn check_target(&self, values: &impl Values) -> Result<(), TargetError> {
        match &self.kind {
            ExporterKind::OtlpHttp(http) => check_target(&**http, values),
            ExporterKind::OtlpGrpc(grpc) => check_target(&**grpc, values),
            ExporterKind::File(_) | ExporterKind::Debug(_) | ExporterKind::Nop => Ok(()),
        }
    }
}

impl Target {
    /// The circuit of what is behind the network; a disk has none.
    pub fn circuit(&self) -> Option<&Circuit> {
        match self {
            Self::Http(target) => Some(target.circuit()),
            Self::Grpc(target) => Some(target.circuit()),
            Self::File(_) | Self::Debug(_) | Self::Nop => None,
        }
    }
}

impl Outcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retry",
            Self::Bad => "bad",
            Self::Hold { .. } => "hold",
            Self::Refused => "refused",
            Self::Unwanted => "unwanted",
        }
    }
}

impl Answer {
    /// What an attempt comes to that no upstream has answered.
    pub(super) fn own(code: &'static str, outcome: Outcome, detail: String) -> Self {
        Self { code: code.into(), outcome, least: Duration::ZERO, detail }
    }

    /// What it shows of the destination. Whoever says when to come again is there, whatever else it says; but only if
    /// that has lengthened the wait, which is then `wished`: what asks for more attempts than there would be is no
    /// reason to leave a circuit closed. A status that ends or divides the batch, because the configuration says so, is
    /// about the batch, whatever it usually says about the destination.
    pub fn sign(&self, wished: bool) -> Sign {
        if wished {
            return Sign::Alive;
        }
        let may_be_down = matches!(self.outcome, Outcome::Retry { .. } | Outcome::Hold { .. });
        match &*self.code {
            "oversize" | "encode" | "descriptors" | "token" | "token_refused" => Sign::Unclear,
            _ if !may_be_down => Sign::Alive,
            "connect" | "tls" | "timeout" | "reset" | "protocol" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" => {
                Sign::Down
            }
            code if code.parse().is_ok_and(says_nobody_is_there) => Sign::Down,
            _ => Sign::Alive,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(target) => target.fmt(f),
            Self::File(target) => target.fmt(f),
            Self::Debug(_) => f.write_str("standard output"),
            Self::Nop => f.write_str("nowhere"),
            Self::Grpc(target) => target.fmt(f),
        }
    }
}
