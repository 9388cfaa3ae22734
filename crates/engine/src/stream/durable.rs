//! A stream whose entries are in the journal.
//!
//! Every entry is there before it is in the stream, and the journal hands requests on in the order in which they stand
//! in its log: so the order on disk is the order in the queue. What the stream has no memory for stays on disk alone,
//! and so does what comes after it: see `behind.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::queue::Stream;
use super::receipt::Stub;
use super::{NumberSet, QueueSettings, StreamAddress};
use crate::journal::{Journal, RecoveredStream, StreamId};
use crate::telemetry::TraceContext;

/// A stream's place in the journal, until this is dropped.
#[derive(Debug)]
pub(super) struct Durable {
    journal: Journal,
    id: StreamId,
}

impl Durable {
    /// The place of a stream that is made now.
    pub(super) fn new(journal: &Journal, address: &StreamAddress) -> Self {
        Self { id: journal.stream(&address.to_journal()), journal: journal.clone() }
    }

    /// The place that the journal had for a stream when it was opened.
    pub(super) fn again(journal: &Journal, found: &RecoveredStream) -> Self {
        Self { id: journal.stream_again(found), journal: journal.clone() }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    /// These entries need not be kept.
    pub(super) fn settle(&self, numbers: &NumberSet) {
        for run in numbers.ranges() {
            self.journal.settle(self.id, run.start..=run.end - 1);
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.journal.forget(self.id);
    }
}

impl Stream {
    /// Takes over what the journal had of the stream when it was opened, before anything else is admitted.
    pub(super) fn recover(self: &Arc<Self>, found: &RecoveredStream) {
        self.hold(found.bytes);
        let mut queue = self.queue();
        queue.fall_behind(found.first..found.last + 1, found.bytes, found.records);
        queue.next_sequence = found.last + 1;
        self.registry().recovered(self, found.records, found.bytes);
        let start = queue.consumers == 0;
        queue.consumers += usize::from(start);
        drop(queue);
        if start {
            self.registry().start(self.clone());
        }
    }

    /// As [`Stream::append`], for entries that the journal has, under the numbers that it has given them from `first` on. They
    /// stay on disk alone if there is no memory for them, or if others do that came before them.
    pub(super) fn append_written<'a>(
        self: &Arc<Self>,
        entries: impl Iterator<Item = (&'a [u8], u64)> + Clone,
        settings: &QueueSettings,
        (stub, trace): (Option<Stub>, Option<TraceContext>),
        first: u64,
    ) {
        let (mut count, mut bytes, mut records) = (0, 0, 0);
        for (entry, entry_records) in entries.clone() {
            count += 1;
            bytes += otlp::frame_len(entry.len()) as u64;
            records += entry_records;
        }
        let mut queue = self.queue();
        let full = queue.in_memory > 0 && queue.in_memory + bytes > settings.queue_bytes;
        let may_stay = !full && self.tenant_has_memory_for(bytes) && !self.registry().shared().is_short();
        if queue.behind.is_none() && may_stay {
            // With the queue still in hand: a batch that is put back in between has to take these with it.
            queue.next_sequence = first;
            self.append_to(queue, entries, settings, stub, trace);
            return;
        }
        queue.fall_behind(first..first + count, bytes, records);
        queue.next_sequence = first + count;
        if let Some(stub) = stub {
            queue.stubs.add(first, stub);
        }
        let start = queue.consumers == 0;
        queue.consumers += usize::from(start);
        self.registry().admitted_on_disk(self, records, bytes);
        drop(queue);
        self.requests.fetch_sub(1, Ordering::SeqCst);
        self.line.freed();
        if start {
            self.registry().start(self.clone());
        }
    }
}
