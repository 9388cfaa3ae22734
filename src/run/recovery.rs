//! What the journal has from before when Sluice starts, and what of it, or of a removed exporter, nobody sends.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::recovered::{Recovered, Unclaimed};
use super::report::ReloadError;
use crate::export::Exporter;
use crate::journal::{Journal, JournalSettings, RecoveredStream, Recovery};
use crate::stream::{StreamAddress, StreamName};

/// The streams that the journal has, by exporter.
pub(super) type Found = HashMap<Arc<str>, Vec<(StreamName, RecoveredStream)>>;

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
pub(super) fn report(found: &Found) {
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
