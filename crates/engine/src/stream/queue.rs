//! The queue of one stream: what is admitted and not settled, and how far its consumers have come.
//!
//! This is a state machine without locks, tasks and a clock: whoever uses it says what time it is, and does what it answers.
//!
//! ```text
//!   … settled | taken by consumers | waits in memory | backlog: on disk alone | next number
//! ```
//!
//! Entries are numbered as they are admitted. Those that follow each other are kept together as [runs](EntryRun), so that a backlog of
//! a million entries takes no more room here than one of ten. What is in memory goes before what is on disk alone: once anything is
//! on disk, what comes stays there too, until a consumer has read all of it. A batch ends where it is large enough, where the next
//! entry would make it too large, or where it is taken because it is due; no run has entries of two batches.
//!
//! A *claim* is what a request that waits until its entries are settled has in a run. What is withdrawn is cut out at once where no
//! consumer has it, and is only marked where one does: the consumer takes it out between two attempts.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::buffers::Buffers;
use super::decision::BatchClosing;
use super::ledger::{ClaimedEntry, Ledger, RunClaim, share};
use super::{Batch, BatchSettings, NumberSet, StreamAddress};
use crate::journal::Chunk;
use crate::outcome::Fate;
use crate::telemetry::{BatchLinks, TraceContext};
use otlp::Signal;

/// Runs of a backlog are as far apart as this at the least, or as a part of the backlog's age: so their number grows with the
/// logarithm of that, and how old the oldest entry is stays known well enough.
const BETWEEN_RUNS: Duration = Duration::from_secs(1);
const PART_OF_AGE: u32 = 64;

/// What is admitted and not settled of one stream.
#[derive(Debug)]
pub(super) struct Queue {
    /// By number: first those that consumers have taken, then those that wait in memory, then those that are on disk alone.
    runs: VecDeque<EntryRun>,
    taken: usize,
    waiting: usize,
    /// The bytes of those that wait in memory.
    buffers: Buffers,
    /// Batches among them that are closed.
    closed_batches: usize,
    /// Bytes of the one that is being filled, and when its first entry was admitted.
    open_bytes: usize,
    opened: Option<Instant>,
    /// The traced requests that have entries in it.
    open_links: Option<Box<BatchLinks>>,
    /// Framed bytes of what is in memory, with what consumers have taken.
    in_memory: u64,
    /// Runs with entries that somebody waits for.
    claims: usize,
    /// The number of the next entry.
    next: u64,
    /// Batches that consumers have.
    in_flight: usize,
    consumers: usize,
    /// A consumer is about to read the backlog.
    backlog_is_taken: bool,
    /// Somebody will look whether the batch that is being filled is due.
    is_scheduled: bool,
    last_used: Instant,
}

/// Entries whose numbers follow each other.
#[derive(Debug)]
struct EntryRun {
    /// Of what damage has taken, or was settled by a process before this one, numbers may be missing.
    numbers: Range<u64>,
    volume: Volume,
    /// When the first of them was admitted; if that was before this process, when it was found.
    came: Instant,
    /// Whether a batch ends with it: for runs in memory.
    ends_batch: bool,
    /// Requests whose last entry is in it. On disk alone none are counted.
    requests: u64,
    /// The traced requests that have entries in the batch that ends with it.
    links: Option<Box<BatchLinks>>,
    /// Of the request that its entries are of, if somebody waits for them, or did.
    claim: Option<Box<RunClaim>>,
}

/// Framed bytes, and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// An entry that is admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry<'e> {
    /// Without its frame.
    pub(super) bytes: &'e [u8],
    /// With its frame, if it stays in the memory of its request's body.
    pub(super) in_body: Option<&'e Bytes>,
    pub(super) records: u64,
    /// The position in the request of what it is or is a piece of.
    pub(super) index: usize,
}

/// What is to be known of the request whose entries are admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRequest<'r> {
    /// If its sender waits until they are settled.
    pub(super) ledger: Option<&'r Arc<Ledger>>,
    /// Its span, if it is traced.
    pub(super) trace: Option<TraceContext>,
}

/// What was appended.
#[derive(Debug, Default)]
pub(super) struct AppendedEntries {
    pub(super) numbers: Range<u64>,
    pub(super) volume: Volume,
    /// Framed bytes of it that stay in the memory of the request's body.
    pub(super) in_body: u64,
    /// Bytes of memory that were taken for the rest.
    pub(super) memory: u64,
    /// Batches that are closed with it.
    pub(super) closings: SmallVec<[BatchClosing; 4]>,
}

/// When batches are taken, and by how many consumers.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakeRules<'s> {
    pub(super) batch: &'s BatchSettings,
    /// As many as may be busy at a time.
    pub(super) consumers: usize,
    /// Why everything is due at once, if it is.
    pub(super) hurry: Option<&'static str>,
}

/// What there is for a consumer.
#[derive(Debug)]
pub(super) enum Taken {
    Batch(TakenBatch),
    /// What comes next is on disk alone, and for this consumer to read.
    Backlog,
    /// Nothing for now: the consumer is signed off.
    Nothing,
}

/// A batch for a consumer.
#[derive(Debug)]
pub(super) struct TakenBatch {
    pub(super) batch: Batch,
    /// Bytes of memory that it takes.
    pub(super) memory: u64,
    /// The traced requests that have entries in it, if there are any.
    pub(super) links: Option<Box<BatchLinks>>,
    /// If it had to be closed for that.
    pub(super) closing: Option<BatchClosing>,
}

/// What is to be done so that everything is taken in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wake {
    /// Consumers to be started.
    pub(super) consumers: usize,
    /// When the first entry of a batch was admitted that is not due yet: then somebody has to look again.
    pub(super) look_again: Option<Instant>,
}

/// Runs that are not in the queue any more.
#[derive(Debug, Default)]
pub(super) struct RemovedRuns {
    pub(super) numbers: NumberSet,
    pub(super) volume: Volume,
    /// Of that, framed bytes that were in memory.
    pub(super) in_memory: u64,
    /// Bytes of memory that are free now, beside what consumers have.
    pub(super) memory: u64,
    pub(super) requests: u64,
}

/// What was withdrawn of a request.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    /// What was cut out.
    pub(super) left: RemovedRuns,
    /// Whether consumers have some of it, or may have read it.
    pub(super) consumers_have_some: bool,
}

/// What is on disk alone now.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    pub(super) volume: Volume,
    /// Bytes of memory that are free now, beside what consumers have.
    pub(super) memory: u64,
    pub(super) requests: u64,
    /// What had been withdrawn from a consumer's batch.
    pub(super) withdrawn: RemovedRuns,
}

/// A batch that was read from the backlog.
#[derive(Debug)]
pub(super) struct ReadBatch {
    pub(super) batch: Batch,
    /// What was admitted and is not there.
    pub(super) lost: Volume,
    /// What is there and nobody knew of.
    pub(super) found: Volume,
}

impl std::ops::AddAssign for Volume {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.records += more.records;
    }
}

impl Volume {
    /// What is left of it without another volume, and what of that it does not have.
    fn without(self, other: Self) -> (Self, Self) {
        let minus = |one: Self, other: Self| Self {
            bytes: one.bytes.saturating_sub(other.bytes),
            records: one.records.saturating_sub(other.records),
        };
        (minus(self, other), minus(other, self))
    }

    fn of(entries: &[ClaimedEntry]) -> Self {
        entries.iter().fold(Self::default(), |sum, entry| Self {
            bytes: sum.bytes + entry.framed,
            records: sum.records + entry.records,
        })
    }
}

impl RemovedRuns {
    fn add(&mut self, run: &EntryRun, was_in_memory: bool) {
        self.numbers.insert(run.numbers.clone());
        self.volume += run.volume;
        self.in_memory += if was_in_memory { run.volume.bytes } else { 0 };
        self.requests += run.requests;
    }
}

impl EntryRun {
    fn new(numbers: Range<u64>, volume: Volume, came: Instant) -> Self {
        Self { numbers, volume, came, ends_batch: false, requests: 0, links: None, claim: None }
    }

    fn overlaps(&self, numbers: &Range<u64>) -> bool {
        self.numbers.start < numbers.end && numbers.start < self.numbers.end
    }

    /// Whether somebody waits for any of its entries.
    fn is_waited_for(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_waiting())
    }

    /// Those of its entries that were withdrawn while a consumer has them.
    fn withdrawn(&self) -> Range<u64> {
        match &self.claim {
            Some(claim) if claim.ledger.is_none() => {
                self.numbers.start + claim.ended as u64..self.numbers.end
            }
            _ => 0..0,
        }
    }

    /// Splits the entries from `at` on off, of a run whose entries somebody waits for.
    fn split_off(&mut self, at: u64) -> Self {
        let claim = self.claim.as_mut().expect("of a claim it is known how much each entry is");
        let claim = Box::new(claim.split_off((at - self.numbers.start) as usize));
        let mut rest = Self::new(at..self.numbers.end, Volume::of(&claim.entries), self.came);
        self.numbers.end = at;
        self.volume.bytes -= rest.volume.bytes;
        self.volume.records -= rest.volume.records;
        rest.claim = Some(claim);
        (rest.ends_batch, rest.requests) = (self.ends_batch, self.requests);
        (self.ends_batch, self.requests) = (false, 0);
        rest.links = self.links.take();
        rest
    }

    /// Whether entries that come behind it may be kept with it on disk, where the backlog begins with one that came then.
    fn may_grow(&self, first: u64, came: Instant, backlog_since: Instant) -> bool {
        let apart = BETWEEN_RUNS.max(came.saturating_duration_since(backlog_since) / PART_OF_AGE);
        self.claim.is_none() && self.numbers.end == first && came.saturating_duration_since(self.came) < apart
    }
}

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            runs: VecDeque::new(),
            taken: 0,
            waiting: 0,
            buffers: Buffers::default(),
            closed_batches: 0,
            open_bytes: 0,
            opened: None,
            open_links: None,
            in_memory: 0,
            claims: 0,
            next: 0,
            in_flight: 0,
            consumers: 0,
            backlog_is_taken: false,
            is_scheduled: false,
            last_used: now,
        }
    }

    /// The number of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Entries are numbered from here on. Numbers that are left out are nobody's.
    pub(super) fn skip_to(&mut self, next: u64) {
        debug_assert!(self.next <= next, "numbers only rise");
        self.next = next;
    }

    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Framed bytes of entries in memory, with those in flight.
    pub(super) fn in_memory(&self) -> u64 {
        self.in_memory
    }

    /// Batches that consumers have.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Batches that wait in memory.
    pub(super) fn waiting_batches(&self) -> usize {
        self.closed_batches + usize::from(self.open_bytes > 0)
    }

    /// When the oldest entry that is not settled was admitted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.runs.front().map(|run| run.came)
    }

    /// Whether somebody waits until any of it is settled.
    pub(super) fn is_waited_for(&self) -> bool {
        self.claims > 0
    }

    /// Whether what comes may be kept in memory: nothing is on disk alone that goes before it.
    pub(super) fn may_keep_in_memory(&self) -> bool {
        !self.has_backlog() && !self.backlog_is_taken
    }

    /// Whether anything is on disk alone.
    pub(super) fn has_backlog(&self) -> bool {
        self.taken + self.waiting < self.runs.len()
    }

    /// The numbers of what is on disk alone; between the first and the last some may be missing.
    pub(super) fn backlog(&self) -> Option<Range<u64>> {
        let first = self.runs.get(self.taken + self.waiting)?;
        Some(first.numbers.start..self.runs.back()?.numbers.end)
    }

    /// Appends a request's entries, of which there are `count`. `has_room` says whether so many bytes of memory may be taken that are
    /// not needed at once.
    pub(super) fn append<'e>(
        &mut self,
        entries: impl Iterator<Item = NewEntry<'e>>,
        count: usize,
        request: NewRequest<'_>,
        settings: &BatchSettings,
        now: Instant,
        has_room: impl Fn(u64) -> bool,
    ) -> AppendedEntries {
        debug_assert!(self.may_keep_in_memory(), "what is on disk alone goes first");
        let numbers = self.next..self.next + count as u64;
        let mut appended = AppendedEntries { numbers: numbers.clone(), ..AppendedEntries::default() };
        // Runs from here on are of this request.
        let own = self.runs.len();
        for entry in entries {
            let framed = otlp::frame_len(entry.bytes.len());
            if self.open_bytes > 0 && self.open_bytes + framed > settings.max_size {
                appended.closings.extend(self.close_batch("the next entry does not fit"));
            }
            match entry.in_body {
                Some(framed_entry) => {
                    self.buffers.push_shared(framed_entry.clone());
                    appended.in_body += framed as u64;
                }
                None => {
                    appended.memory += self.buffers.push(entry.bytes, self.open_bytes, &has_room) as u64;
                }
            }
            let claimed = ClaimedEntry { index: entry.index, framed: framed as u64, records: entry.records };
            let grows = self.open_bytes > 0
                && self.runs.back().is_some_and(|last| match &last.claim {
                    Some(_) => self.runs.len() > own,
                    None => request.ledger.is_none() && last.numbers.end == self.next,
                });
            if !grows {
                self.push_run(self.next, now, request.ledger.map(|ledger| (ledger, &numbers)));
                self.waiting += 1;
            }
            let volume = self.grow_last_run(claimed);
            if let Some(trace) = request.trace {
                BatchLinks::add(&mut self.open_links, trace);
            }
            appended.volume += volume;
            self.open_bytes += framed;
            self.opened.get_or_insert(now);
            self.in_memory += volume.bytes;
            if settings.min_size > 0 && self.open_bytes >= settings.min_size {
                appended.closings.extend(self.close_batch("it is large enough"));
            }
        }
        if settings.min_size == 0 {
            appended.closings.extend(self.close_batch("a request has ended"));
        }
        self.end_request();
        debug_assert_eq!(self.next, numbers.end, "there are as many entries as was said");
        self.check();
        appended
    }

    /// Notes a request's entries, of which there are `count`, that are on disk alone: each with its framed bytes.
    pub(super) fn append_on_disk(
        &mut self,
        entries: impl Iterator<Item = ClaimedEntry>,
        count: usize,
        ledger: Option<&Arc<Ledger>>,
        now: Instant,
    ) -> AppendedEntries {
        let numbers = self.next..self.next + count as u64;
        let since = self.runs.get(self.taken + self.waiting).map_or(now, |first| first.came);
        let grows = ledger.is_none()
            && self.has_backlog()
            && self.runs.back().is_some_and(|last| last.may_grow(self.next, now, since));
        if !grows {
            self.push_run(self.next, now, ledger.map(|ledger| (ledger, &numbers)));
        }
        let mut volume = Volume::default();
        for entry in entries {
            volume += self.grow_last_run(entry);
        }
        debug_assert_eq!(self.next, numbers.end, "there are as many entries as was said");
        self.check();
        AppendedEntries { numbers, volume, ..AppendedEntries::default() }
    }

    /// Notes what the journal had when it was opened, before anything else is admitted.
    pub(super) fn recover(&mut self, numbers: Range<u64>, volume: Volume, now: Instant) {
        debug_assert!(self.runs.is_empty(), "a stream is recovered before it is used");
        self.next = numbers.end;
        self.runs.push_back(EntryRun::new(numbers, volume, now));
    }

    fn push_run(&mut self, first: u64, now: Instant, claim: Option<(&Arc<Ledger>, &Range<u64>)>) {
        let mut run = EntryRun::new(first..first, Volume::default(), now);
        run.claim = claim.map(|(ledger, request)| {
            let (ledger, request) = (Some(ledger.clone()), request.clone());
            Box::new(RunClaim { ledger, request, entries: Vec::with_capacity(1), ended: 0 })
        });
        self.claims += usize::from(run.claim.is_some());
        if self.runs.capacity() == 0 {
            // Most streams have no more than one.
            self.runs.reserve_exact(1);
        }
        self.runs.push_back(run);
    }

    fn grow_last_run(&mut self, entry: ClaimedEntry) -> Volume {
        let run = self.runs.back_mut().expect("one was pushed, or is there");
        let volume = Volume { bytes: entry.framed, records: entry.records };
        self.next += 1;
        run.numbers.end = self.next;
        run.volume += volume;
        if let Some(claim) = &mut run.claim {
            claim.entries.push(entry);
        }
        volume
    }

    /// The run that a request's last entry went into is the one that gives its place back.
    fn end_request(&mut self) {
        if let Some(last) = self.runs.back_mut() {
            last.requests += 1;
        }
    }

    /// Closes the batch that is being filled, if anything is in it, and returns what is to be logged of that.
    fn close_batch(&mut self, why: &'static str) -> Option<BatchClosing> {
        if self.open_bytes == 0 {
            return None;
        }
        let (from, end) = (self.taken, self.taken + self.waiting);
        let of_batch = self.runs.range(from..end).rev().take_while(|run| !run.ends_batch);
        let (bytes, records) = (self.open_bytes as u64, of_batch.map(|run| run.volume.records).sum());
        let last = &mut self.runs[end - 1];
        (last.ends_batch, last.links) = (true, self.open_links.take());
        self.opened = None;
        self.buffers.close_batch(std::mem::take(&mut self.open_bytes));
        self.closed_batches += 1;
        Some(BatchClosing { bytes, records, waiting: self.closed_batches, why })
    }

    /// Why the batch that is being filled is to be taken now, if it is.
    fn due(&self, rules: &TakeRules<'_>, now: Instant) -> Option<&'static str> {
        let opened = self.opened?;
        let is_due = now.saturating_duration_since(opened) >= rules.batch.flush_timeout
            // Large enough only since a reload: otherwise it would have been closed as it grew.
            || self.open_bytes >= rules.batch.min_size;
        rules.hurry.or_else(|| is_due.then_some("it is due"))
    }

    /// What is to be done so that everything is taken in time. Consumers that are to be started are counted from now on.
    pub(super) fn wake(&mut self, rules: &TakeRules<'_>, now: Instant) -> Wake {
        let is_due = self.due(rules, now).is_some();
        let backlog = self.waiting == 0 && self.has_backlog() && !self.backlog_is_taken;
        let ready = self.closed_batches + usize::from(is_due) + usize::from(backlog);
        let wanted = (self.in_flight + ready).min(rules.consumers);
        // After a reload there may be more than there may be now.
        let consumers = wanted.saturating_sub(self.consumers);
        self.consumers += consumers;
        let is_to_wait = self.open_bytes > 0 && !is_due && self.consumers < rules.consumers;
        let look_again = self.opened.filter(|_| is_to_wait && !self.is_scheduled);
        self.is_scheduled |= look_again.is_some();
        Wake { consumers, look_again }
    }

    /// As [`Self::wake`], by whoever was to look again.
    pub(super) fn wake_as_scheduled(&mut self, rules: &TakeRules<'_>, now: Instant) -> Wake {
        self.is_scheduled = false;
        self.wake(rules, now)
    }

    /// Takes what comes next, for a consumer that was started or has ended its last batch.
    pub(super) fn take(&mut self, signal: Signal, rules: &TakeRules<'_>, now: Instant) -> Taken {
        debug_assert!(self.consumers > self.in_flight, "who takes a batch is counted, and has none");
        // Fewer since a reload: one that has just settled its batch goes first, so that order comes back.
        if self.consumers > rules.consumers {
            return self.sign_off(now);
        }
        if self.waiting == 0 {
            if !self.has_backlog() || self.backlog_is_taken {
                return self.sign_off(now);
            }
            (self.backlog_is_taken, self.in_flight) = (true, self.in_flight + 1);
            return Taken::Backlog;
        }
        let mut closing = None;
        if self.closed_batches == 0 {
            match self.due(rules, now) {
                Some(why) => closing = self.close_batch(why),
                None => return self.sign_off(now),
            }
        }
        self.in_flight += 1;
        Taken::Batch(TakenBatch { closing, ..self.take_batch(signal) })
    }

    fn sign_off(&mut self, now: Instant) -> Taken {
        (self.consumers, self.last_used) = (self.consumers - 1, now);
        Taken::Nothing
    }

    /// Takes the first batch that is closed.
    fn take_batch(&mut self, signal: Signal) -> TakenBatch {
        let (mut numbers, mut volume, mut count) = (NumberSet::default(), Volume::default(), 0);
        for run in self.runs.range(self.taken..self.taken + self.waiting) {
            numbers.insert(run.numbers.clone());
            volume += run.volume;
            count += 1;
            if run.ends_batch {
                break;
            }
        }
        let links = self.runs[self.taken + count - 1].links.take();
        let (chunks, memory) = self.buffers.take(volume.bytes);
        self.taken += count;
        self.waiting -= count;
        self.closed_batches -= 1;
        self.check();
        let batch = Batch::numbered(signal, chunks, volume.records, numbers);
        TakenBatch { batch, memory, links, closing: None }
    }

    /// Takes the next batches for a consumer that has one already, as long as all of them together have no more than `room` bytes.
    /// Nothing if somebody waits for any of the stream.
    pub(super) fn take_more(&mut self, signal: Signal, mut room: usize) -> Vec<TakenBatch> {
        let mut taken = Vec::new();
        while !self.is_waited_for() {
            if self.closed_batches == 0 {
                self.close_batch("it is sent with the batch before it");
            }
            let mut len = 0;
            for run in self.runs.range(self.taken..self.taken + self.waiting) {
                len += run.volume.bytes as usize;
                if run.ends_batch {
                    break;
                }
            }
            if len == 0 || len > room {
                break;
            }
            room -= len;
            taken.push(self.take_batch(signal));
        }
        taken
    }

    /// A consumer has ended with its batch, in which all taken entries of these numbers are, or which it has not read. Those that it
    /// has left without a word were dropped.
    pub(super) fn settle(
        &mut self,
        numbers: &NumberSet,
        is_on_disk: bool,
        now: Instant,
        stream: impl Fn() -> StreamAddress,
        why: &str,
    ) -> RemovedRuns {
        self.in_flight -= 1;
        self.last_used = now;
        self.backlog_is_taken &= !is_on_disk;
        let mut left = RemovedRuns::default();
        for range in numbers.ranges() {
            let (from, end) = self.taken_runs(&range);
            self.taken -= end - from;
            for run in self.runs.drain(from..end).collect::<SmallVec<[EntryRun; 4]>>() {
                left.add(&run, true);
                self.drop_claim(run, &stream, why);
            }
        }
        self.in_memory -= left.in_memory;
        self.give_memory_back();
        self.check();
        left
    }

    /// The places of the taken runs with these numbers.
    fn taken_runs(&self, numbers: &Range<u64>) -> (usize, usize) {
        let from = self.at(numbers.start).min(self.taken);
        let end = self.runs.partition_point(|run| run.numbers.start < numbers.end).min(self.taken);
        (from, end.max(from))
    }

    /// The place of the first run with a number that is not below this one.
    fn at(&self, number: u64) -> usize {
        self.runs.partition_point(|run| run.numbers.end <= number)
    }

    /// A stream that had much to keep needs no room for that any more.
    fn give_memory_back(&mut self) {
        const KEPT: usize = 4;
        if self.runs.is_empty() && self.runs.capacity() > KEPT {
            self.runs = VecDeque::new();
        }
    }

    /// Notes that entries which a consumer has taken have ended, and tells those who wait for them. `piece` is what was sent, to which they
    /// belong; of its records so many as `lost` says were not delivered and ended otherwise, for this reason; if there is a
    /// reason and none was lost, it is a warning.
    pub(super) fn end(
        &mut self,
        piece: &Batch,
        ended: &NumberSet,
        (lost, fate): (u64, Fate),
        stream: impl Fn() -> StreamAddress,
        reason: &str,
    ) {
        if self.claims == 0 && !self.has_withdrawn(piece.numbers()) {
            return;
        }
        if !reason.is_empty() && self.claims > 0 {
            self.lose(piece, (lost, fate), &stream(), &reason.into());
        }
        for range in ended.ranges() {
            let (from, end) = self.taken_runs(&range);
            for run in self.runs.range_mut(from..end) {
                let Some(claim) = &mut run.claim else { continue };
                let is_waiting = claim.is_waiting();
                let up_to = (range.end.min(run.numbers.end) - run.numbers.start) as usize;
                claim.end(up_to.saturating_sub(claim.ended));
                self.claims -= usize::from(is_waiting && !claim.is_waiting());
            }
        }
        self.check();
    }

    /// Which records an upstream has rejected it doesn't say. Where those of several entries were sent together, each
    /// entry that somebody waits for gets its share of them, so that together they are as many as the upstream says.
    fn lose(&self, piece: &Batch, (lost, fate): (u64, Fate), stream: &StreamAddress, reason: &Arc<str>) {
        let (mut before, all) = (0, piece.records());
        for range in piece.numbers().ranges() {
            let (from, end) = self.taken_runs(&range);
            for run in self.runs.range(from..end) {
                let Some(claim) = run.claim.as_ref().filter(|claim| claim.is_waiting()) else { continue };
                for at in claim.ended..claim.entries.len() {
                    if !range.contains(&(run.numbers.start + at as u64)) {
                        continue;
                    }
                    let after = (before + claim.entries[at].records).min(all);
                    claim.lose(at, share(lost, (before, after), all), fate, stream, reason);
                    before = after;
                }
            }
        }
    }

    fn has_withdrawn(&self, numbers: &NumberSet) -> bool {
        self.withdrawn_in(numbers) > 0
    }

    /// How many of these numbers were withdrawn while a consumer has them.
    fn withdrawn_in(&self, numbers: &NumberSet) -> u64 {
        let mut count = 0;
        for range in numbers.ranges() {
            let (from, end) = self.taken_runs(&range);
            for run in self.runs.range(from..end) {
                let withdrawn = run.withdrawn();
                let (start, end) = (withdrawn.start.max(range.start), withdrawn.end.min(range.end));
                count += end.saturating_sub(start);
            }
        }
        count
    }

    /// Whether all entries of these numbers were withdrawn while a consumer has them.
    pub(super) fn is_withdrawn(&self, numbers: &NumberSet) -> bool {
        let withdrawn = self.withdrawn_in(numbers);
        withdrawn > 0 && withdrawn == numbers.len()
    }

    /// Takes out what was withdrawn of a consumer's batch, in which all taken entries of these numbers are.
    pub(super) fn take_withdrawn(&mut self, numbers: &NumberSet) -> RemovedRuns {
        let mut left = RemovedRuns::default();
        for range in numbers.ranges() {
            let (mut at, mut end) = self.taken_runs(&range);
            while at < end {
                let run = &mut self.runs[at];
                let withdrawn = run.withdrawn();
                if withdrawn.is_empty() {
                    at += 1;
                    continue;
                }
                if withdrawn.start > run.numbers.start {
                    // What has ended of it leaves with the batch.
                    let rest = run.split_off(withdrawn.start);
                    left.add(&rest, true);
                    at += 1;
                    continue;
                }
                if let Some(run) = self.runs.remove(at) {
                    left.add(&run, true);
                }
                self.taken -= 1;
                end -= 1;
            }
        }
        self.in_memory -= left.in_memory;
        self.check();
        left
    }

    /// Withdraws what has not ended of the request that has these numbers.
    pub(super) fn withdraw(&mut self, request: &Range<u64>) -> Withdrawn {
        let mut withdrawn = Withdrawn::default();
        let mut at = self.at(request.start);
        while self.runs.get(at).is_some_and(|run| run.overlaps(request)) {
            let claim = self.runs[at].claim.as_mut().expect("all that the request has here is claimed by it");
            let was_waiting = claim.is_waiting();
            claim.ledger = None;
            self.claims -= usize::from(was_waiting);
            if at < self.taken {
                withdrawn.consumers_have_some |= was_waiting;
                at += 1;
                continue;
            }
            let was_in_memory = at < self.taken + self.waiting;
            if was_in_memory {
                withdrawn.left.memory += self.cut(at);
            } else {
                withdrawn.consumers_have_some |= self.backlog_is_taken;
            }
            if let Some(run) = self.runs.remove(at) {
                withdrawn.left.add(&run, was_in_memory);
            }
        }
        self.in_memory -= withdrawn.left.in_memory;
        self.check();
        withdrawn
    }

    /// Takes the bytes of a run that waits in memory out, which is about to go; returns how much memory is free now.
    fn cut(&mut self, at: usize) -> u64 {
        let offset = self.runs.range(self.taken..at).map(|run| run.volume.bytes).sum();
        let end = self.taken + self.waiting;
        let is_open = !self.runs.range(at..end).any(|run| run.ends_batch);
        let begins_batch = at == self.taken || self.runs[at - 1].ends_batch;
        let run = &mut self.runs[at];
        let (bytes, ends_batch, links) = (run.volume.bytes, run.ends_batch, run.links.take());
        if is_open {
            self.open_bytes -= bytes as usize;
            if self.open_bytes == 0 {
                (self.opened, self.open_links) = (None, None);
            } else if begins_batch {
                self.opened = self.runs.get(at + 1).map(|run| run.came);
            }
        }
        match ends_batch {
            true if begins_batch => self.closed_batches -= 1,
            true => (self.runs[at - 1].ends_batch, self.runs[at - 1].links) = (true, links),
            false => {}
        }
        self.waiting -= 1;
        self.buffers.cut(offset, bytes)
    }

    /// Gives what has not ended back to the requests that have any of these numbers and wait: each is told why. Returns their numbers,
    /// which are to be [withdrawn](Self::withdraw).
    pub(super) fn give_up_requests(
        &self,
        numbers: &NumberSet,
        stream: &StreamAddress,
        reason: &Arc<str>,
    ) -> Vec<Range<u64>> {
        let mut requests: Vec<Range<u64>> = Vec::new();
        for range in numbers.ranges() {
            for run in self.runs.range(self.at(range.start)..).take_while(|run| run.overlaps(&range)) {
                let Some(claim) = run.claim.as_ref().filter(|claim| claim.is_waiting()) else { continue };
                if requests.last() == Some(&claim.request) {
                    continue;
                }
                if let Some(ledger) = &claim.ledger {
                    ledger.give_up(stream.clone(), reason, self.unsettled_entries(&claim.request));
                }
                requests.push(claim.request.clone());
            }
        }
        requests
    }

    /// Whether the request that has these numbers waits for any of them.
    pub(super) fn is_waited_for_in(&self, request: &Range<u64>) -> bool {
        self.claims > 0 && self.runs_of(request).any(EntryRun::is_waited_for)
    }

    /// The positions in the request that has these numbers of its entries that have not ended.
    pub(super) fn unsettled_entries(&self, request: &Range<u64>) -> Vec<usize> {
        let waiting = self.runs_of(request).filter(|run| run.is_waited_for());
        let entries = waiting.filter_map(|run| run.claim.as_ref()).flat_map(|claim| claim.unended());
        entries.map(|entry| entry.index).collect()
    }

    fn runs_of(&self, numbers: &Range<u64>) -> impl Iterator<Item = &EntryRun> {
        self.runs.range(self.at(numbers.start)..).take_while(move |run| run.overlaps(numbers))
    }

    /// Leaves all on disk alone that is in memory: what the only consumer has, of which nothing has ended, and what waits behind
    /// it. The consumer is to read it again. `None` if there are other consumers, or nothing is in memory.
    pub(super) fn spill(&mut self) -> Option<Spilled> {
        let count = self.taken + self.waiting;
        if self.in_flight != 1 || count == 0 {
            return None;
        }
        let (taken, mut spilled) = (self.taken, Spilled::default());
        let mut runs: VecDeque<EntryRun> = VecDeque::with_capacity(self.runs.len() - count + 1);
        let since = self.runs[0].came;
        for (at, mut run) in std::mem::take(&mut self.runs).into_iter().enumerate() {
            if at < taken && !run.withdrawn().is_empty() {
                debug_assert_eq!(run.withdrawn(), run.numbers, "nothing of the batch has ended");
                spilled.withdrawn.add(&run, true);
                continue;
            }
            if at < count {
                spilled.volume += run.volume;
                spilled.requests += std::mem::take(&mut run.requests);
                (run.ends_batch, run.links) = (false, None);
            }
            match runs.back_mut() {
                Some(last) if run.claim.is_none() && last.may_grow(run.numbers.start, run.came, since) => {
                    last.numbers.end = run.numbers.end;
                    last.volume += run.volume;
                }
                _ => runs.push_back(run),
            }
        }
        (self.runs, self.taken, self.waiting) = (runs, 0, 0);
        spilled.memory = self.buffers.clear();
        (self.closed_batches, self.open_bytes, self.in_memory) = (0, 0, 0);
        (self.opened, self.open_links) = (None, None);
        self.backlog_is_taken = true;
        self.check();
        Some(spilled)
    }

    /// Makes a batch, for the consumer that has taken the backlog, of what was read of it when it ended before `end`. Without chunks there
    /// is nothing up to there. What has come meanwhile stays; what was withdrawn meanwhile is not in it.
    pub(super) fn take_read(
        &mut self,
        signal: Signal,
        chunks: Vec<Chunk>,
        end: u64,
        stream: impl Fn() -> StreamAddress,
        why_lost: &str,
    ) -> ReadBatch {
        debug_assert!(self.waiting == 0 && self.backlog_is_taken, "what is in memory goes first");
        self.backlog_is_taken = false;
        let end = chunks.last().map_or(end, Chunk::end);
        let mut there = NumberSet::default();
        for chunk in &chunks {
            there.insert(chunk.first..chunk.end());
        }
        let (mut known, mut taken) = (NumberSet::default(), Volume::default());
        let (mut lost, mut found) = (Volume::default(), Volume::default());
        let mut at = self.taken;
        while self.runs.get(at).is_some_and(|run| run.numbers.start < end) {
            let mut run = self.runs.remove(at).expect("it was found just now");
            let numbers = run.numbers.start..run.numbers.end.min(end);
            known.insert(numbers.clone());
            let mut rest = None;
            if run.claim.is_some() {
                rest = (numbers.end < run.numbers.end).then(|| self.split(&mut run, numbers.end));
                for part in self.split_at_edges(run, &there) {
                    if there.contains(part.numbers.start) {
                        taken += part.volume;
                        self.runs.insert(at, part);
                        at += 1;
                    } else {
                        lost += part.volume;
                        self.drop_claim(part, &stream, why_lost);
                    }
                }
            } else {
                let volume = volume_of(&chunks, &numbers);
                taken += volume;
                let (left, unknown) = run.volume.without(volume);
                found += unknown;
                if numbers.end < run.numbers.end {
                    rest = Some(EntryRun::new(numbers.end..run.numbers.end, left, run.came));
                } else {
                    lost += left;
                }
                if volume != Volume::default() {
                    self.runs.insert(at, EntryRun::new(numbers, volume, run.came));
                    at += 1;
                }
            }
            if let Some(rest) = rest {
                self.runs.insert(at, rest);
            }
        }
        self.taken = at;
        let records = chunks.iter().map(Chunk::records).sum();
        let bytes = chunks.into_iter().map(|chunk| chunk.bytes).collect::<Vec<Bytes>>();
        let mut batch = Batch::numbered(signal, bytes, records, there.clone());
        let withdrawn = there.without(&known);
        if !withdrawn.is_empty() {
            batch = batch.without_known(&withdrawn, batch.records() - taken.records);
        }
        self.in_memory += batch.len() as u64;
        self.check();
        ReadBatch { batch, lost, found }
    }

    /// Splits the entries from `at` on off a run whose entries somebody waits for, or did.
    fn split(&mut self, run: &mut EntryRun, at: u64) -> EntryRun {
        let rest = run.split_off(at);
        self.claims += usize::from(run.is_waited_for() && rest.is_waited_for());
        rest
    }

    /// Splits a run wherever numbers that are `there` meet some that are not.
    fn split_at_edges(&mut self, mut run: EntryRun, there: &NumberSet) -> SmallVec<[EntryRun; 1]> {
        let mut parts = SmallVec::new();
        for edge in there.ranges().flat_map(|range| [range.start, range.end]) {
            if run.numbers.start < edge && edge < run.numbers.end {
                let rest = self.split(&mut run, edge);
                parts.push(std::mem::replace(&mut run, rest));
            }
        }
        parts.push(run);
        parts
    }

    /// Ends what has not ended of a run that has left the queue, as dropped for this reason.
    fn drop_claim(&mut self, mut run: EntryRun, stream: &impl Fn() -> StreamAddress, reason: &str) {
        if let Some(claim) = run.claim.as_mut().filter(|claim| claim.is_waiting()) {
            self.claims -= 1;
            claim.drop_rest(&stream(), &reason.into());
        }
    }

    /// Consumers that were started and have no batch.
    #[cfg(test)]
    pub(super) fn idle_consumers(&self) -> usize {
        self.consumers - self.in_flight
    }

    /// Whether everything here fits together. All of it is looked at where that is little.
    fn check(&self) {
        const MOST: usize = 32;
        debug_assert!(self.consumers >= self.in_flight, "each batch has its consumer");
        if !cfg!(debug_assertions) || self.runs.len() > MOST {
            return;
        }
        let bytes = |from, end| self.runs.range(from..end).map(|run| run.volume.bytes).sum::<u64>();
        let (taken, in_memory) = (self.taken, self.taken + self.waiting);
        debug_assert!(in_memory <= self.runs.len());
        let mut before = 0;
        for run in &self.runs {
            debug_assert!(before <= run.numbers.start && run.numbers.start < run.numbers.end, "{self:?}");
            if let Some(claim) = &run.claim {
                debug_assert_eq!(claim.entries.len() as u64, run.numbers.end - run.numbers.start);
                debug_assert_eq!(Volume::of(&claim.entries), run.volume, "{self:?}");
            }
            before = run.numbers.end;
        }
        debug_assert!(before <= self.next, "{self:?}");
        debug_assert_eq!(bytes(taken, in_memory), self.buffers.len(), "{self:?}");
        debug_assert_eq!(bytes(0, in_memory), self.in_memory, "{self:?}");
        let waiting = || self.runs.range(taken..in_memory);
        debug_assert_eq!(waiting().filter(|run| run.ends_batch).count(), self.closed_batches);
        let open = waiting().rev().take_while(|run| !run.ends_batch).map(|run| run.volume.bytes);
        debug_assert_eq!(open.sum::<u64>(), self.open_bytes as u64, "{self:?}");
        debug_assert_eq!(self.runs.iter().filter(|run| run.is_waited_for()).count(), self.claims);
        debug_assert!(self.taken == 0 || self.in_flight > 0, "{self:?}");
    }
}

/// How much of a range of numbers chunks have.
fn volume_of(chunks: &[Chunk], numbers: &Range<u64>) -> Volume {
    let mut volume = Volume::default();
    for chunk in chunks {
        if numbers.start <= chunk.first && chunk.end() <= numbers.end {
            volume += Volume { bytes: chunk.bytes.len() as u64, records: chunk.records() };
        } else if chunk.first < numbers.end && numbers.start < chunk.end() {
            let entries = otlp::frames(&chunk.bytes).zip(&chunk.counts).zip(chunk.first..);
            for (((frame, _), records), _) in entries.filter(|(_, number)| numbers.contains(number)) {
                volume += Volume { bytes: frame.len() as u64, records: u64::from(*records) };
            }
        }
    }
    volume
}

#[cfg(test)]
mod model;
