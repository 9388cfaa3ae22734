//! What the journal has from before: when Sluice starts, and when an exporter comes back that a reload had removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::recovered::Recovered;
use super::report::ReloadError;
use crate::export::Exporter;
use crate::journal::{Journal, JournalSettings, RecoveredStream, Recovery};

/// How long a removed exporter may wait for the answers to its last attempts.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// When what belongs to an exporter that isn't there is sent.
const BACK: &str = "the configuration has it again";

/// By exporter.
pub(super) type Found = HashMap<Arc<str>, Vec<RecoveredStream>>;

/// Opens the journal, on a thread that may block.
pub(super) async fn open(settings: JournalSettings) -> Result<(Journal, Recovery), ReloadError> {
    let opened = tokio::task::spawn_blocking(move || Journal::open(settings)).await;
    let opened = opened.expect("opening a journal doesn't panic");
    opened.map_err(|error| ReloadError::NoJournal(Arc::new(error)))
}

/// Says what was in the journal, and sorts it by exporter.
pub(super) fn look_through(recovery: Recovery) -> (Recovered, Found) {
    for damage in &recovery.damage {
        warn!("the journal is damaged: {damage}");
    }
    let records: u64 = recovery.streams.iter().map(|stream| stream.records).sum();
    let (streams, took) = (recovery.streams.len(), recovery.took);
    info!(streams, records, segments = recovery.segments, ?took, "journal opened");
    let (recovered, mut found) = (Recovered::of(&recovery), Found::new());
    for stream in recovery.streams {
        found.entry(stream.key.exporter.clone()).or_default().push(stream);
    }
    (recovered, found)
}

/// Says what nobody sends.
pub(super) fn report(found: &Found, exporters: &[Arc<Exporter>]) {
    for (name, streams) in found {
        if exporters.iter().any(|exporter| exporter.name() == name) {
            let what = "the journal has records that the exporter's templates give no destination for";
            say(name, streams, what, "a start with templates that do");
        } else {
            say(
                name,
                streams,
                "the journal has records of an exporter that the configuration doesn't have",
                BACK,
            );
        }
    }
}

/// Leaves in the journal what a removed exporter has not delivered. Returns what that is.
pub(super) async fn keep(exporter: &Exporter) -> Vec<RecoveredStream> {
    exporter.suspend();
    if !exporter.at_rest(Instant::now() + LAST_ANSWERS).await {
        let exporter = exporter.name();
        warn!(%exporter, "attempts were not answered in time, and will be repeated if the exporter comes back");
    }
    let left = exporter.registry().left_in_journal();
    say(exporter.name(), &left, "exporter removed before everything was delivered", BACK);
    left
}

fn say(exporter: &str, streams: &[RecoveredStream], what: &str, until: &str) {
    if streams.is_empty() {
        return;
    }
    let records: u64 = streams.iter().map(|stream| stream.records).sum();
    let streams = streams.len();
    warn!(exporter, streams, records, "{what}: they stay in the journal until {until}");
}
