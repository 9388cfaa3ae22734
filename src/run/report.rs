//! What is told of the configuration in use, and of attempts to replace it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use crate::config::{self, Problems};
use crate::export::TransportError;
use crate::journal::OpenError;
use crate::receive::TlsServer;
use crate::watches::AlertmanagerError;

/// Reloads so far, by how they ended.
#[derive(Debug, Default)]
pub struct Reloads {
    /// The new configuration is in use.
    pub succeeded: AtomicU64,
    /// The one before stayed.
    pub failed: AtomicU64,
}

/// What is told of the configuration in use; no secrets in it.
#[derive(Clone, Debug)]
pub struct ConfigReport {
    /// Where it comes from.
    pub source: String,
    /// Counts up from 1 with every successful load.
    pub version: u64,
    /// When it came into use.
    pub loaded_at: SystemTime,
    /// As written, secrets replaced.
    pub redacted: serde_json::Value,
    /// What presets have filled in.
    pub presets: Vec<config::FilledPreset>,
    /// What works, but not as its writer may think.
    pub warnings: Vec<config::Problem>,
    /// Why the newest attempt to reload failed, and when, until one succeeds.
    pub last_error: Option<(SystemTime, ReloadError)>,
    /// Files whose change asks for a reload, and what they held at the newest attempt.
    pub files: (Vec<PathBuf>, u64),
    /// Whether the admin listener shows metrics of each tenant.
    pub tenant_metrics: bool,
    /// The listeners that show a certificate, by their names.
    pub certificates: Vec<(Arc<str>, Arc<TlsServer>)>,
    /// `shutdown_delay` and `shutdown_timeout`.
    pub shutdown: (Duration, Duration),
}

/// Why a configuration is not in use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong.
    #[error("{0}")]
    Problems(Arc<Problems>),
    /// An exporter can't be set up.
    #[error("exporter `{0}`: {1}")]
    Exporter(Arc<str>, Arc<TransportError>),
    /// There can be no Alertmanager at its URL.
    #[error("`alertmanager`: {0}")]
    Alertmanager(Arc<AlertmanagerError>),
    /// A listener can't be bound.
    #[error("can't listen on {address}: {reason}{hint}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        reason: Arc<io::Error>,
        /// What to do.
        hint: &'static str,
    },
    /// The dead-letter directory can't be used.
    #[error("can't use the dead-letter directory `{}`: {reason}", directory.display())]
    DeadLetters {
        /// As configured.
        directory: PathBuf,
        /// What the system says.
        reason: Arc<io::Error>,
    },
    /// The directory of tenants can't be read.
    #[error("can't read the directory of tenants `{}`: {reason}", directory.display())]
    Tenants {
        /// As configured.
        directory: PathBuf,
        /// What the system says.
        reason: Arc<io::Error>,
    },
    /// The journal can't be opened.
    #[error("{0}")]
    NoJournal(Arc<OpenError>),
    /// A journal can't come, go or change while its streams live.
    #[error("a change of `journal` needs a restart")]
    Journal,
    /// The process is ending.
    #[error("shutting down")]
    Stopping,
}
