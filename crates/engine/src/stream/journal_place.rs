//! A stream's place in the journal, where its entries are kept until they are settled.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::{NumberSet, StreamAddress};
use crate::journal::{Chunk, Journal, ReadError, RecoveredStream, StreamId};
use crate::notice;

/// Batches that were read at once, one behind the other.
pub(super) type ReadBatches = Result<VecDeque<Vec<Chunk>>, ReadError>;

/// The place of a stream, until this is dropped.
#[derive(Debug)]
pub(super) struct JournalPlace {
    journal: Journal,
    id: StreamId,
}

impl JournalPlace {
    /// The place of a stream that is made now.
    pub(super) fn new(journal: &Journal, address: &StreamAddress) -> Self {
        Self { id: journal.stream(&address.to_journal()), journal: journal.clone() }
    }

    /// The place that the journal had for a stream when it was opened.
    pub(super) fn again(journal: &Journal, found: &RecoveredStream) -> Self {
        Self { id: journal.stream_again(found), journal: journal.clone() }
    }

    /// How the journal names the stream.
    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    /// Has the journal keep these entries no longer.
    pub(super) fn settle(&self, numbers: &NumberSet) {
        for range in numbers.ranges() {
            self.journal.settle(self.id, range.start..=range.end - 1);
        }
    }

    /// Reads what there is of these numbers, up to so many bytes. If the disk takes long, that is said in the log, of this exporter.
    pub(super) async fn read(
        &self,
        numbers: Range<u64>,
        most: usize,
        exporter: &Arc<str>,
    ) -> Result<Vec<Chunk>, ReadError> {
        let id = self.id;
        let reading = self.journal.aside(move |journal| journal.read(id, numbers, most));
        let read = self.patiently(reading, exporter).await;
        read.expect("reading doesn't panic, and is not broken off while the runtime lives")
    }

    /// Begins to read what will be asked for later, as several batches of so many bytes. `None` if the journal does not do that.
    pub(super) fn read_ahead(
        &self,
        numbers: Range<u64>,
        most: usize,
        batches: usize,
    ) -> Option<JoinHandle<ReadBatches>> {
        let id = self.id;
        self.journal.ahead(move |journal| journal.read_batches(id, numbers, most, batches))
    }

    /// Waits for a read, and says so if the disk takes long.
    pub(super) async fn patiently<T>(&self, reading: impl Future<Output = T>, exporter: &Arc<str>) -> T {
        let patience = self.journal.patience();
        let mut reading = pin!(reading);
        let began = Instant::now();
        loop {
            if let Ok(read) = timeout(patience, &mut reading).await {
                return read;
            }
            if let Some(suppressed) = notice::due(exporter, "hanging") {
                let waited = began.elapsed();
                error!(%exporter, ?waited, suppressed, "the backlog of a stream waits: the disk does not answer a read");
            }
        }
    }
}

impl Drop for JournalPlace {
    fn drop(&mut self) {
        self.journal.forget(self.id);
    }
}
