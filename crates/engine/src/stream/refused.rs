//! What is not admitted, and why.

use std::sync::Arc;

use super::StreamName;
use super::full::Full;
use super::registry::Registry;

/// What an entry was not admitted for, under `when_full: shed`.
#[derive(Debug, Clone)]
pub struct Shed {
    /// The exporter that had no room.
    pub registry: Arc<Registry>,
    /// The entry's position in the request.
    pub index: usize,
    /// The stream that it was for.
    pub name: StreamName,
    /// Its records.
    pub records: u64,
    /// The entry under its frame, as a request of its own.
    pub bytes: Vec<u8>,
    /// What was full.
    pub full: Full,
}

/// Why a request was not admitted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now in what all streams share.
    Full(Full),
    /// There is no room now in one stream, the first that was met.
    FullStream {
        /// What is full: [`Full::Stream`] or [`Full::Share`].
        full: Full,
        /// The stream's exporter.
        exporter: Arc<str>,
        /// Which of its streams.
        name: StreamName,
    },
    /// There can never be room: the request needs more than `limits.memory`.
    TooLarge,
    /// There can never be room: the request is larger than what the journal may hold.
    TooLargeForJournal,
    /// There can never be room: the request names more streams than there may be.
    TooManyStreams,
}

/// Why one entry can't be placed.
#[derive(Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// The request has to be refused.
    Refused(Refused),
    /// The exporter can't send this entry, and why.
    Unfit(String),
}

impl Shed {
    pub(super) fn new(
        registry: &Arc<Registry>,
        index: usize,
        name: StreamName,
        records: u64,
        entry: &[u8],
        full: Full,
    ) -> Self {
        let mut bytes = Vec::with_capacity(otlp::frame_len(entry.len()));
        otlp::put_frame(&mut bytes, entry.len());
        bytes.extend_from_slice(entry);
        Self { registry: registry.clone(), index, name, records, bytes, full }
    }
}
