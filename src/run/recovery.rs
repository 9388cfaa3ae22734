//! The recovery of the journal at the start, and the records in it that no exporter of the configuration sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use super::report::ReloadError;
use crate::export::Exporter;
use crate::journal::{Damage, Journal, JournalSettings, RecoveredStream, Recovery};
use crate::stream::{StreamAddress, StreamName};

/// The streams that the journal has, by exporter.
pub(super) type RecoveredStreams = HashMap<Arc<str>, Vec<(StreamName, RecoveredStream)>>;

/// What the API shows of the journal's recovery.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// Damage that was found in the files.
    pub damage: Vec<Damage>,
    /// Segments that were read.
    pub segments: u64,
    /// How long the recovery took.
    pub took: Duration,
    unclaimed: ArcSwap<Vec<Unclaimed>>,
}

/// The records that the journal keeps for an exporter that the configuration doesn't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// The exporter.
    pub exporter: Arc<str>,
    /// The number of its streams.
    pub streams: u64,
    /// The number of their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl RecoveryReport {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let Recovery { damage, segments, took, .. } = recovery;
        Self { damage: damage.clone(), segments: *segments, took: *took, unclaimed: ArcSwap::default() }
    }

    /// The records that were recovered and that no exporter has claimed.
    pub(super) fn unclaimed(&self) -> Arc<Vec<Unclaimed>> {
        self.unclaimed.load_full()
    }

    /// Notes the streams that no exporter has claimed.
    pub(super) fn leave(&self, found: &RecoveredStreams) {
        let left = found.iter().map(|(name, streams)| Unclaimed::of(name, streams));
        let left: Vec<Unclaimed> = left.filter(|unclaimed| unclaimed.streams > 0).collect();
        self.unclaimed.store(Arc::new(left));
    }
}

impl Unclaimed {
    /// The records of an exporter that a reload removed before everything was delivered.
    pub(super) fn paused(exporter: &Exporter) -> Self {
        let registry = exporter.registry();
        Self {
            exporter: exporter.name().clone(),
            streams: registry.len() as u64,
            records: registry.pending_records(),
            bytes: registry.pending_bytes(),
        }
    }

    pub(super) fn of(exporter: &Arc<str>, streams: &[(StreamName, RecoveredStream)]) -> Self {
        Self {
            exporter: exporter.clone(),
            streams: streams.len() as u64,
            records: streams.iter().map(|(_, stream)| stream.records).sum(),
            bytes: streams.iter().map(|(_, stream)| stream.bytes).sum(),
        }
    }
}

/// Opens the journal, on a thread that may block.
pub(super) async fn open(settings: JournalSettings) -> Result<(Journal, Recovery), ReloadError> {
    let opened = tokio::task::spawn_blocking(move || Journal::open(settings)).await;
    let opened = opened.expect("opening a journal doesn't panic");
    opened.map_err(|error| ReloadError::NoJournal(Arc::new(error)))
}

/// Logs what the journal holds, and sorts its streams by exporter.
pub(super) fn look_through(recovery: Recovery) -> (RecoveryReport, RecoveredStreams) {
    for damage in &recovery.damage {
        warn!("the journal is damaged: {damage}");
    }
    let records: u64 = recovery.streams.iter().map(|stream| stream.records).sum();
    let (streams, took) = (recovery.streams.len(), recovery.took);
    info!(streams, records, segments = recovery.segments, ?took, "journal opened");
    let (recovered, mut found) = (RecoveryReport::of(&recovery), RecoveredStreams::new());
    for stream in recovery.streams {
        if let Some(StreamAddress { exporter, name }) = StreamAddress::of_journal(&stream.key) {
            found.entry(exporter).or_default().push((name, stream));
        } else {
            let (stream, records) = (stream.id, stream.records);
            error!(
                ?stream,
                records, "the name of a stream in the journal can't be read: its records stay there"
            );
        }
    }
    (recovered, found)
}

/// Logs the streams that no exporter has claimed.
pub(super) fn report(found: &RecoveredStreams) {
    for (name, streams) in found {
        let Unclaimed { streams, records, .. } = Unclaimed::of(name, streams);
        say(
            name,
            streams,
            records,
            "the journal has records of an exporter that the configuration doesn't have",
        );
    }
}

/// Logs what a removed exporter has not delivered in its time.
pub(super) fn report_paused(exporter: &Exporter) {
    let Unclaimed { exporter, streams, records, .. } = Unclaimed::paused(exporter);
    say(&exporter, streams, records, "exporter removed before everything was delivered");
}

fn say(exporter: &str, streams: u64, records: u64, what: &str) {
    warn!(
        exporter,
        streams, records, "{what}: they stay in the journal until the configuration has it again"
    );
}
