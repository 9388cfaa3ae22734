//! A request on its way through the journal.
//!
//! It has its room in the streams and on the budget, but is in no queue yet. The journal hands requests on in the order in
//! which they stand in its log, from its own thread: what each stream gets there has the order that it has on disk.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::full::Full;
use super::group::Group;
use super::ledger::Ledger;
use super::queue::{NewEntry, NewRequest};
use super::receipt::Receipt;
use super::refused::Refused;
use super::registry::Registry;
use super::{NumberSet, Reservation, Stream};
use crate::journal::{self, AssignedNumbers, Journal, JournalEntry, NotWritten};
use crate::telemetry::TraceContext;

/// A request that is being written. Dropped before, it is admitted all the same, unless it waits for more than that.
#[derive(Debug)]
pub struct Writing {
    written: oneshot::Receiver<Result<Option<Receipt>, NotWritten>>,
    outcome: Arc<WriteOutcome>,
    /// How long the disk may take.
    patience: Duration,
}

/// Whether a request was written before its sender was told that it was not: one of the two happens, never both.
#[derive(Debug, Default)]
struct WriteOutcome(AtomicU8);

impl WriteOutcome {
    const OPEN: u8 = 0;
    const ENDED: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Ends it so, if it has not ended; returns whether that was now.
    fn end(&self, how: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, how, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The entries of a request for one stream, which share the memory of its body.
#[derive(Debug)]
pub(super) struct WrittenGroup {
    stream: Arc<Stream>,
    registry: Arc<Registry>,
    entries: SmallVec<[WrittenEntry; 2]>,
    bytes: u64,
    /// Whether the sender waits until they are settled.
    waits: bool,
    /// The span of the request that the attempts to send them are linked with.
    trace: Option<TraceContext>,
}

#[derive(Debug)]
struct WrittenEntry {
    /// The position in the request of what it is or is a piece of.
    index: usize,
    entry: JournalEntry,
    /// With its frame, if it stays in the memory of the body.
    in_body: Option<Bytes>,
}

impl Writing {
    /// Ready once the request is on disk and in its streams; with its receipt, if it waits for any of its entries. If the disk takes too long
    /// for that, the request is given up: what is written of it later is no part of any stream, and is settled at once.
    pub async fn written(&mut self) -> Result<Option<Receipt>, Refused> {
        let late = tokio::time::sleep(self.patience);
        tokio::select! {
            biased;
            written = self.ended() => return written,
            () = late => {}
        }
        if self.outcome.end(WriteOutcome::GIVEN_UP) {
            return Err(Refused::Full(Full::Disk));
        }
        self.ended().await
    }

    /// The same, however long it takes.
    pub async fn ended(&mut self) -> Result<Option<Receipt>, Refused> {
        let written = (&mut self.written).await.unwrap_or(Err(NotWritten::Closed));
        written.map_err(|problem| match problem {
            NotWritten::TooLarge { .. } => Refused::TooLargeForJournal,
            NotWritten::Full => Refused::Full(Full::Journal),
            NotWritten::Disk(_) | NotWritten::Forgotten | NotWritten::Closed => Refused::Full(Full::Disk),
        })
    }
}

impl WrittenGroup {
    pub(super) fn new(group: Group<'_>, body: &Bytes, all_wait: bool, trace: Option<TraceContext>) -> Self {
        let (waits, trace) = (group.waits(all_wait), group.linked(trace));
        let Group { stream, registry, entries, bytes, .. } = group;
        let entries = entries.into_iter().map(|piece| WrittenEntry {
            index: piece.index,
            in_body: piece.bytes.in_body().cloned(),
            entry: JournalEntry { bytes: piece.bytes.share(body), records: piece.records },
        });
        Self { stream, registry, entries: entries.collect(), bytes, waits, trace }
    }

    fn admit(&self, first: u64, ledger: Option<&Arc<Ledger>>) -> Range<u64> {
        let entries = self.entries.iter().map(|WrittenEntry { index, entry, in_body }| NewEntry {
            bytes: &entry.bytes,
            in_body: in_body.as_ref(),
            records: entry.records,
            index: *index,
        });
        let request = NewRequest { ledger, trace: self.trace };
        self.stream.append_written(entries, self.entries.len(), request, first)
    }

    /// What was written of it is no part of the stream.
    fn void(&self, first: u64) {
        let numbers = NumberSet::from(first..first + self.entries.len() as u64);
        self.stream.place().expect("with a journal every stream is in it").settle(&numbers);
        self.take_back();
    }

    fn take_back(&self) {
        self.stream.unreserve(self.bytes);
        let in_body = self.entries.iter().filter_map(|entry| entry.in_body.as_ref());
        let in_body: u64 = in_body.map(|framed| framed.len() as u64).sum();
        self.registry.shared().budget.release(self.bytes - in_body);
        self.registry.abandon(&self.stream);
    }
}

/// Has the `journal` write a request, for which room is reserved. `held` is what it takes beside its entries.
pub(super) fn write(journal: &Journal, groups: Vec<WrittenGroup>, held: Reservation) -> Writing {
    let (sender, written) = oneshot::channel();
    let of_journal = |group: &WrittenGroup| journal::StreamEntries {
        stream: group.stream.place().expect("with a journal every stream is in it").id(),
        entries: group.entries.iter().map(|written| written.entry.clone()).collect(),
    };
    let request = groups.iter().map(of_journal).collect();
    let runtime = Handle::current();
    let (outcome, patience) = (Arc::new(WriteOutcome::default()), journal.patience());
    let of_journal = outcome.clone();
    let done = move |result: Result<AssignedNumbers, NotWritten>| {
        // Streams start their consumers there.
        let _runtime = runtime.enter();
        let in_time = of_journal.end(WriteOutcome::ENDED);
        let outcome = match result {
            Ok(appended) if !in_time => {
                groups.iter().zip(&appended.first).for_each(|(group, first)| group.void(*first));
                return;
            }
            Ok(appended) => Ok(admit(groups, &appended, held)),
            Err(problem) => {
                groups.iter().for_each(WrittenGroup::take_back);
                Err(problem)
            }
        };
        // If nobody waits any more, the receipt takes back what it is for.
        drop(sender.send(outcome));
    };
    journal.append(request, Box::new(done));
    Writing { written, outcome, patience }
}

fn admit(groups: Vec<WrittenGroup>, appended: &AssignedNumbers, held: Reservation) -> Option<Receipt> {
    let waiting = groups.iter().filter(|group| group.waits).map(|group| group.entries.len() as u64).sum();
    let ledger = (waiting > 0).then(|| Arc::new(Ledger::new(waiting)));
    let mut places = Vec::new();
    for (group, first) in groups.into_iter().zip(&appended.first) {
        let ledger = ledger.as_ref().filter(|_| group.waits);
        let numbers = group.admit(*first, ledger);
        if ledger.is_some() {
            places.push((group.stream, numbers));
        }
    }
    ledger.map(|ledger| Receipt::new(ledger, places, held))
}
