//! The means of sending: one for each kind of exporter.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::answer::{Answer, AttemptOutcome};
use super::circuit::{Circuit, CircuitState};
use super::conditions::Conditions;
use super::debug::{DebugTarget, DebugTransport};
use super::error::{TargetError, TransportError};
use super::file::{FileTarget, FileTransport};
use super::grpc::{GrpcTarget, GrpcTransport};
use super::http::{HttpTarget, HttpTransport};
use super::settings::{ExporterKind, ExporterSettings};
use super::turn::Turns;
use super::upstream::target::check_target;
use crate::credentials::AuthHeaders;
use crate::net::Network;
use crate::route::Values;
use crate::stream::Batch;

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
                let outcome = AttemptOutcome::Delivered { rejected: 0, warning: false };
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

    /// The turns of what is behind the network, to which many streams may send.
    pub(super) fn turns(&self) -> Option<&Turns> {
        match self {
            Self::Http(target) => Some(target.turns()),
            Self::Grpc(target) => Some(target.turns()),
            Self::File(_) | Self::Debug(_) | Self::Nop => None,
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
