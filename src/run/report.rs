//! Reports on the configuration in use, and on reloads.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::config::{self, ConfigOutline, Problems};
use crate::export::TransportError;
use crate::journal::OpenError;
use crate::receive::TlsServer;
use crate::watches::AlertmanagerError;

/// The reloads so far, by outcome.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Reloads after which the new configuration was in use.
    pub succeeded: AtomicU64,
    /// Reloads after which the former configuration stayed in use.
    pub failed: AtomicU64,
    /// The last reloads, the newest first.
    history: Mutex<VecDeque<ReloadRecord>>,
}

/// The most reloads that are remembered.
const REMEMBERED: usize = 50;

/// The most characters of an error that are remembered.
const REMEMBERED_OF_ERROR: usize = 4096;

/// The outcome of a reload.
#[derive(Clone, Debug)]
pub struct ReloadRecord {
    /// When the reload ended.
    pub at: SystemTime,
    /// Who or what has asked for it, such as "SIGHUP" or "the write token, from 192.0.2.1".
    pub by: String,
    /// The version that is in use since, or the beginning of the error.
    pub outcome: Result<u64, String>,
}

impl Reloads {
    /// Counts and remembers a reload that has just ended, and who or what has asked for it.
    pub(super) fn record(&self, by: &str, outcome: &Result<u64, ReloadError>) {
        let counter = if outcome.is_ok() { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let outcome = match outcome {
            Ok(version) => Ok(*version),
            Err(error) => Err(error.to_string().chars().take(REMEMBERED_OF_ERROR).collect()),
        };
        let mut history = self.history.lock();
        history.truncate(REMEMBERED - 1);
        history.push_front(ReloadRecord { at: SystemTime::now(), by: by.to_owned(), outcome });
    }

    /// The last reloads, the newest first.
    pub fn history(&self) -> Vec<ReloadRecord> {
        self.history.lock().iter().cloned().collect()
    }
}

/// The configuration in use, for the API; it holds no secrets.
#[derive(Clone, Debug)]
pub struct ConfigReport {
    /// Where it comes from.
    pub source: String,
    /// Counts up from 1 with every successful load.
    pub version: u64,
    /// When the configuration came into use.
    pub loaded_at: SystemTime,
    /// The configuration as written, secrets replaced.
    pub redacted: serde_json::Value,
    /// The file line by line, likewise.
    pub text: Arc<str>,
    /// The values of the configuration by their keys.
    pub outline: Arc<ConfigOutline>,
    /// What presets have filled in.
    pub presets: Vec<config::FilledPreset>,
    /// What works, but not as its writer may think.
    pub warnings: Vec<config::Problem>,
    /// The time and the error of the newest reload, if it failed.
    pub last_error: Option<(SystemTime, ReloadError)>,
    /// Files whose change causes a reload, and the hash of their contents at the newest attempt.
    pub files: (Vec<PathBuf>, u64),
    /// Whether the admin listener shows metrics of each tenant.
    pub tenant_metrics: bool,
    /// The listeners that show a certificate, by their names.
    pub certificates: Vec<(Arc<str>, Arc<TlsServer>)>,
    /// `shutdown_delay` and `shutdown_timeout`.
    pub shutdown: (Duration, Duration),
}

/// The hint for a listener whose address overlaps one in use.
pub(super) const OVERLAPS: &str =
    "; it overlaps an address that is in use now, so this change needs a restart";

impl ReloadError {
    /// Whether the configuration would be in use after a restart.
    pub fn needs_restart(&self) -> bool {
        match self {
            Self::Journal => true,
            Self::Listen { hint, .. } => *hint == OVERLAPS,
            _ => false,
        }
    }
}

/// Why a configuration is not in use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration has errors.
    #[error("{0}")]
    Problems(Arc<Problems>),
    /// What is wrong with a configuration that was only tried, without what its variables and files have given.
    #[error("{0}")]
    Candidate(Arc<str>),
    /// An exporter can't be set up.
    #[error("exporter `{0}`: {1}")]
    Exporter(Arc<str>, Arc<TransportError>),
    /// The client of the Alertmanager can't be made.
    #[error("`alertmanager`: {0}")]
    Alertmanager(Arc<AlertmanagerError>),
    /// Own telemetry can't be sent as it is configured.
    #[error("`telemetry`: {0}")]
    Telemetry(Arc<TransportError>),
    /// A listener can't be bound.
    #[error("can't listen on {address}: {reason}{hint}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        reason: Arc<io::Error>,
        /// What to do, or nothing.
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
