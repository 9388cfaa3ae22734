//! What is told of the journal's recovery, and of what nobody has claimed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::recovery::Found;
use crate::export::Exporter;
use crate::journal::{Damage, RecoveredStream, Recovery};
use crate::stream::StreamName;

/// What is told of the journal's recovery.
#[derive(Debug, Default)]
pub struct Recovered {
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

impl Recovered {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let Recovery { damage, segments, took, .. } = recovery;
        Self { damage: damage.clone(), segments: *segments, took: *took, unclaimed: ArcSwap::default() }
    }

    /// What was found and is still kept.
    pub(super) fn unclaimed(&self) -> Arc<Vec<Unclaimed>> {
        self.unclaimed.load_full()
    }

    /// Notes what is left.
    pub(super) fn leave(&self, found: &Found) {
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
