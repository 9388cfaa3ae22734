//! What is told of the journal's recovery, and of what nobody has claimed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::recovery::Found;
use crate::journal::{Damage, RecoveredStream, Recovery};

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

/// What the journal keeps for an exporter that has no place for it: the configuration doesn't have it, or its templates have
/// no destination for these streams.
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

    /// What is still kept for exporters that are not there, by their names.
    pub fn unclaimed(&self) -> Arc<Vec<Unclaimed>> {
        self.unclaimed.load_full()
    }

    /// Notes what is left.
    pub(super) fn leave(&self, found: &Found) {
        let left = found.iter().map(|(name, streams)| Unclaimed::of(name, streams));
        let mut left: Vec<Unclaimed> = left.filter(|unclaimed| unclaimed.streams > 0).collect();
        left.sort_by(|one, other| one.exporter.cmp(&other.exporter));
        self.unclaimed.store(Arc::new(left));
    }
}

impl Unclaimed {
    fn of(exporter: &Arc<str>, streams: &[RecoveredStream]) -> Self {
        Self {
            exporter: exporter.clone(),
            streams: streams.len() as u64,
            records: streams.iter().map(|stream| stream.records).sum(),
            bytes: streams.iter().map(|stream| stream.bytes).sum(),
        }
    }
}
