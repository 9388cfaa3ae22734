//! A consumer: what takes batches from a stream and sends them, from its turn on.

use std::sync::Arc;

use super::Exporter;
use super::turn::Turn;
use crate::stream::Stream;

/// What takes batches from a stream and sends them, from its turn on; counted as long as it lives.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) exporter: Arc<Exporter>,
    pub(super) stream: Arc<Stream>,
    pub(super) turn: Turn,
}

impl Consumer {
    pub(super) fn new(exporter: Arc<Exporter>, stream: Arc<Stream>, turn: Turn) -> Self {
        exporter.consumer_begins();
        Self { exporter, stream, turn }
    }

    /// Whether the next batch of its stream waits for its turn behind those of other streams: while many consumers have begun, none
    /// sends a second batch before others send their first.
    pub(super) fn has_to_wait(&self) -> bool {
        self.exporter.has_many_consumers() && self.stream.pending_bytes() > 0 && !self.stream.is_failing()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.exporter.consumer_ends();
    }
}
