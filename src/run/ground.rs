//! What a router stands on: what has to be there before it starts, and outlives every configuration.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::listeners::Serve;
use super::report::ReloadError;
use crate::config::Source;
use crate::journal::{Journal, JournalSettings, RecoveredStream, Recovery};
use crate::net::Network;

/// What a router stands on.
pub struct Ground {
    /// Where later configurations come from.
    pub source: Source,
    /// Looks up an environment variable for them.
    pub env: fn(&str) -> Option<String>,
    /// Puts its listeners to work.
    pub serve: Serve,
    /// Where they listen, and its exporters connect.
    pub network: Network,
    /// The journal that the configuration names, and what was in it.
    pub journal: Option<(Journal, Recovery)>,
}

/// By exporter.
pub(super) type Found = HashMap<Arc<str>, Vec<RecoveredStream>>;

/// Opens the journal, on a thread that may block.
pub(super) async fn open_journal(settings: JournalSettings) -> Result<(Journal, Recovery), ReloadError> {
    let opened = tokio::task::spawn_blocking(move || Journal::open(settings)).await;
    let opened = opened.expect("opening a journal doesn't panic");
    opened.map_err(|error| ReloadError::NoJournal(Arc::new(error)))
}

/// Says what was in the journal.
pub(super) fn look_through(recovery: Recovery) -> Found {
    for damage in &recovery.damage {
        warn!("the journal is damaged: {damage}");
    }
    let records: u64 = recovery.streams.iter().map(|stream| stream.records).sum();
    let (streams, took) = (recovery.streams.len(), recovery.took);
    info!(streams, records, segments = recovery.segments, ?took, "journal opened");
    let mut found = Found::new();
    for stream in recovery.streams {
        found.entry(stream.key.exporter.clone()).or_default().push(stream);
    }
    found
}
