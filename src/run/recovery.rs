//! What the journal has from before when Sluice starts, and what of it, or of a removed exporter, nobody sends.

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

/// What is told of the journal's recovery.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// What was wrong with the files.
    pub damage: Vec<Damage>,
    /// Segments that were read.
    pub segments: u64,
    /// How long it took.
    pub took: Duration,
    unclaimed: ArcSwap<Vec<Unclaimed>>,
}

/// What the journal keeps for an exporter that the configuration doesn't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// The exporter.
    pub exporter: Arc<str>,
    /// Its streams.
    pub streams: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl RecoveryReport {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let Recovery { damage, segments, took, .. } = recovery;
        Self { damage: damage.clone(), segments: *segments, took: *took, unclaimed: ArcSwap::default() }
    }

    /// What was found and is still kept.
    pub(super) fn unclaimed(&self) -> Arc<Vec<Unclaimed>> {
        self.unclaimed.load_full()
    }

    /// Notes what is left.
    pub(super) fn leave(&self, found: &RecoveredStreams) {
        let left = found.iter().map(|(name, streams)| Unclaimed::of(name, streams));
        let left: Vec<Unclaimed> = left.filter(|unclaimed| unclaimed.streams > 0).collect();
        self.unclaimed.store(Arc::new(left));
    }
}

impl Unclaimed {
    /// What an exporter has that a reload removed before all was delivered.
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

/// Says what was in the journal, and sorts it by exporter.
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

/// Says what nobody sends.
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

/// Says what a removed exporter has not delivered in its time.
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
