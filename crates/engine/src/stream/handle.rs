//! A stream as its senders, its exporter and the API have it: the [`Queue`] behind its mutex, and what is known of the stream beside.
//!
//! Entries are appended under a short lock, which gives them their place. Batches are taken by *consumers*, tasks
//! that the exporter starts when a stream has something to send and that end when it has not: an idle stream costs
//! no task and no timer, nor does one that only waits for its batch to fill. With one consumer (the default), a batch is settled
//! before the next one is taken.
//!
//! With a journal, every entry is there before it is in the queue, under the number that it has here. Memory is for streams that get
//! on: what there is no memory for stays on disk alone, and what an upstream doesn't take goes back there. It is read when it is
//! about to be sent.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::context::StreamContext;
use super::decision::{self, BatchClosing, DecisionDetails};
use super::figures::StreamFigures;
use super::full::Full;
use super::history::{History, StreamActivity};
use super::journal_place::{JournalPlace, ReadBatches};
use super::ledger::ClaimedEntry;
use super::limit::{NotReserved, ReservedShares, StreamLimit};
use super::own_hold::OwnHold;
use super::queue::{
    AppendedEntries, NewEntry, NewRequest, Queue, ReadBatch, RemovedRuns, TakeRules, Taken, TakenBatch,
    Volume, Wake,
};
use super::read_ahead::{EarlyBatches, EarlyRead, StreamQueue};
use super::read_memory::ReadMemoryPermit;
use super::stream_count::{CountedOnce, StreamCount};
use super::stream_word::StreamWord;
use super::wait_queue::WaitQueue;
use super::{Batch, NumberSet, QueueSettings, StreamAddress, StreamAttempt, StreamName};
use crate::journal::{Chunk, RecoveredStream};
use crate::notice;
use crate::outcome::Fate;
use crate::telemetry::LogScope;
use crate::tenants::{QuotaShare, TenantAccount};
use otlp::Signal;

/// What senders learn of a batch whose consumer has gone.
const ABANDONED: &str = "sending it was broken off";

/// What senders learn of entries that the journal has lost.
const DAMAGED: &str = "damage in the journal has put it aside";

/// What a stream reads, in bytes, whose upstream doesn't take anything just now: enough to ask again with.
const LITTLE: usize = 16 << 10;

/// The ordered queue of one (exporter, signal, routing key).
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    context: Arc<StreamContext<Self>>,
    /// What it holds, how old that is, what it does, and how often it has failed.
    pub(super) figures: StreamFigures,
    /// Requests with entries here that are not settled.
    pub(super) requests: AtomicU64,
    /// Requests that wait for room here.
    pub(super) waiting: WaitQueue,
    queue: Mutex<StreamQueue<JoinHandle<ReadBatches>>>,
    /// Wakes consumers whose batch may have lost entries, or that are to make their next attempt at once, or none.
    withdrawal: Notify,
    given_up: AtomicBool,
    /// Whether the upstream has taken a batch, whatever it has said of its records, since this stream began or an attempt last failed.
    delivers: AtomicBool,
    /// Since when its own destination refuses it, and how often somebody has asked for an attempt at once.
    own_hold: OwnHold,
    hanging: AtomicBool,
    /// Whether it has got any of what this process tells of itself.
    has_own_telemetry: AtomicBool,
    /// Of the streams of this name before it as well; of its entries only what they have come to.
    history: Mutex<History>,
    route: Option<Arc<StreamCount>>,
    /// Whether it counts against the limits of streams.
    counted: CountedOnce,
    /// Its place in the journal, if there is one.
    place: Option<JournalPlace>,
    /// Of the tenant whose data it holds, if that is one's.
    account: Option<Arc<TenantAccount>>,
}

/// The queue of a stream while nobody else has it. When it is let go of, everybody can see how old its oldest entry is.
#[derive(Debug)]
pub(super) struct LockedQueue<'s> {
    state: MutexGuard<'s, StreamQueue<JoinHandle<ReadBatches>>>,
    figures: &'s StreamFigures,
}

impl Deref for LockedQueue<'_> {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.state
    }
}

impl DerefMut for LockedQueue<'_> {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.state
    }
}

impl Drop for LockedQueue<'_> {
    fn drop(&mut self) {
        self.figures.set_oldest(self.state.oldest());
    }
}

/// What the API shows of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Framed bytes admitted and not settled.
    pub pending_bytes: u64,
    /// Batches waiting, without those in flight.
    pub waiting_batches: usize,
    /// Batches being sent.
    pub in_flight: usize,
    /// Failures since the upstream last took anything: each attempt that failed for something else than the data, and each batch
    /// of which nothing was taken. 0 while all is well.
    pub failed_attempts: u64,
    /// What it does now.
    pub activity: StreamActivity,
    /// Since when its own destination refuses it, or it has none.
    pub held_since: Option<SystemTime>,
    /// What it has come to, with what the streams of this name before it have.
    pub history: History,
    /// Age of the oldest entry that is not settled.
    pub oldest: Option<Duration>,
    /// How long its attempt has been under way, if that has not been answered for long.
    pub unanswered: Option<Duration>,
}

/// Counts a batch among those of its stream that wait because they are held, until this is dropped.
#[derive(Debug)]
pub struct HeldBatch<'s> {
    stream: &'s Stream,
    /// Unless there are so many that it makes no difference.
    is_counted: bool,
}

/// Shows an attempt of a stream as not answered for long, until this is dropped.
#[derive(Debug)]
pub struct UnansweredAttempt<'s> {
    stream: &'s Stream,
    began: Instant,
}

/// A batch that was read from the journal.
#[derive(Debug)]
pub(super) struct BacklogBatch {
    pub(super) batch: Batch,
    /// Its part of the memory that there is for backlogs.
    pub(super) room: ReadMemoryPermit,
}

impl Stream {
    pub(super) fn new(
        name: StreamName,
        context: Arc<StreamContext<Self>>,
        route: Option<Arc<StreamCount>>,
        account: Option<Arc<TenantAccount>>,
        place: Option<JournalPlace>,
        history: History,
    ) -> Self {
        let figures = context.figures().enter(&name, account.as_ref(), &history);
        let stream = Self {
            name,
            place,
            account,
            context,
            figures,
            requests: AtomicU64::new(0),
            counted: CountedOnce::default(),
            waiting: WaitQueue::default(),
            queue: Mutex::new(StreamQueue::new(Instant::now())),
            withdrawal: Notify::new(),
            given_up: AtomicBool::new(false),
            delivers: AtomicBool::new(false),
            own_hold: OwnHold::default(),
            hanging: AtomicBool::new(false),
            has_own_telemetry: AtomicBool::new(false),
            history: Mutex::new(history),
            route,
        };
        stream.context.shared().attempts.begin(&stream.figures, || stream.address());
        stream
    }

    /// What names it among the streams of all exporters.
    pub fn address(&self) -> StreamAddress {
        StreamAddress { exporter: self.context.exporter().clone(), name: self.name.clone() }
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Of the tenant whose data it holds, if that is one's.
    pub fn account(&self) -> Option<&Arc<TenantAccount>> {
        self.account.as_ref()
    }

    /// What it shares with the other streams of its exporter.
    pub fn context(&self) -> &StreamContext<Self> {
        &self.context
    }

    /// Its place in the journal, if there is one.
    pub(super) fn place(&self) -> Option<&JournalPlace> {
        self.place.as_ref()
    }

    pub(super) fn signal(&self) -> Signal {
        self.name.signal
    }

    /// Its queue, for as long as what is returned lives.
    pub(super) fn queue(&self) -> LockedQueue<'_> {
        LockedQueue { state: self.queue.lock(), figures: &self.figures }
    }

    /// Reserves room for one request's entries of `bytes` framed bytes. An empty stream takes any size, as far as its tenant's
    /// other streams leave anything of what the tenant may hold. `shares` is what the request has reserved of that.
    pub(super) fn reserve(
        &self,
        bytes: u64,
        settings: &QueueSettings,
        limit: &StreamLimit,
        shares: &mut ReservedShares,
    ) -> Result<(), NotReserved> {
        let (most, bounded) = (limit.most(settings), limit.is_queue());
        let fits = |word: StreamWord| !word.is_gone() && (word.bytes() == 0 || word.bytes() + bytes <= most);
        let before = match self.figures.reserve(bytes, fits) {
            Ok(before) => before.bytes(),
            Err(word) if word.is_gone() => return Err(NotReserved::Gone),
            Err(_) => return Err(NotReserved::Full),
        };
        let requests = self.requests.fetch_add(1, Ordering::AcqRel);
        if bounded && settings.queue_requests.is_some_and(|most| before != 0 && requests >= most) {
            self.take_back(bytes);
            return Err(NotReserved::Full);
        }
        self.reserve_share(bytes, limit, shares, before == 0).map_err(|full| {
            self.take_back(bytes);
            NotReserved::OverLimit(full)
        })
    }

    /// Takes back what was reserved here alone. Whoever has looked in between has seen less room than there is.
    fn take_back(&self, bytes: u64) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.figures.subtract(bytes);
        self.waiting.room_freed();
    }

    /// Whether there would be room for so many bytes now. A stream that is gone has some: it will be another one.
    pub(super) fn has_room(&self, bytes: u64, settings: &QueueSettings, limit: &StreamLimit) -> bool {
        let word = self.figures.word();
        let requests = self.requests.load(Ordering::Acquire);
        let few = !limit.is_queue() || settings.queue_requests.is_none_or(|most| requests < most);
        let held = word.bytes();
        held == 0 || word.is_gone() || (held + bytes <= limit.most(settings) && few)
    }

    /// Whether there may be room soon in a stream that is full: what it sends is being answered, and taken.
    pub(super) fn moves(&self) -> bool {
        !self.attempts_fail() && !self.is_held() && !self.hanging.load(Ordering::Relaxed)
    }

    /// Takes a whole reservation back.
    pub(super) fn unreserve(&self, bytes: u64) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.let_go(bytes);
    }

    /// Holds bytes that nobody has to be asked for.
    fn hold(&self, bytes: u64) {
        self.figures.add(bytes);
        self.hold_share(bytes);
    }

    /// Gives held bytes back.
    fn let_go(&self, bytes: u64) {
        // First: a share is never more than its streams hold.
        self.let_go_share(bytes);
        self.figures.subtract(bytes);
        self.waiting.room_freed();
    }

    /// Appends one request's entries for this stream, of which there are `count`, for which room is reserved on the stream and, but for
    /// those that stay in their body, on the budget. Returns their numbers.
    pub(super) fn append<'e>(
        self: &Arc<Self>,
        entries: impl Iterator<Item = NewEntry<'e>>,
        count: usize,
        request: NewRequest<'_>,
    ) -> Range<u64> {
        self.append_to(self.queue(), entries, count, request)
    }

    /// As [`Stream::append`], for entries that the journal has, under the numbers that it has given them from `first` on. They
    /// stay on disk alone if there is no memory for them, or if others do that came before them.
    pub(super) fn append_written<'e>(
        self: &Arc<Self>,
        entries: impl Iterator<Item = NewEntry<'e>> + Clone,
        count: usize,
        request: NewRequest<'_>,
        first: u64,
    ) -> Range<u64> {
        let framed = |entry: NewEntry<'_>| otlp::frame_len(entry.bytes.len()) as u64;
        let bytes = entries.clone().map(framed).sum();
        let reserved = entries.clone().filter(|entry| entry.in_body.is_none()).map(framed).sum();
        let mut queue = self.queue();
        queue.skip_to(first);
        let has_memory =
            queue.in_memory() == 0 || queue.in_memory() + bytes <= self.context.settings().queue_bytes;
        if has_memory
            && queue.may_keep_in_memory()
            && self.tenant_has_memory_for(bytes)
            && !self.context.shared().is_short()
        {
            // With the queue still in hand: a batch that is put back in between has to take these with it.
            return self.append_to(queue, entries, count, request);
        }
        let on_disk = entries.map(|entry| ClaimedEntry {
            index: entry.index,
            framed: framed(entry),
            records: entry.records,
        });
        let appended = queue.append_on_disk(on_disk, count, request.ledger, Instant::now());
        let wake = queue.wake(&self.take_rules(&self.context.settings()), Instant::now());
        self.count_admitted(&appended, reserved);
        drop(queue);
        self.requests.fetch_sub(1, Ordering::SeqCst);
        self.waiting.room_freed();
        self.start(wake);
        appended.numbers
    }

    fn append_to<'e>(
        self: &Arc<Self>,
        mut queue: LockedQueue<'_>,
        entries: impl Iterator<Item = NewEntry<'e>>,
        count: usize,
        request: NewRequest<'_>,
    ) -> Range<u64> {
        let (settings, now) = (self.context.settings(), Instant::now());
        let budget = &self.context.shared().budget;
        let has_room = |spare| budget.has_room(spare);
        let appended = queue.append(entries, count, request, &settings.batch, now, has_room);
        self.enter_memory(appended.volume.bytes);
        let wake = queue.wake(&self.take_rules(&settings), now);
        let reserved = appended.volume.bytes - appended.in_body;
        // Counted before anybody can settle it, so that what is pending never goes below zero.
        self.count_admitted(&appended, reserved);
        drop(queue);
        for closing in appended.closings {
            self.log_closing(closing);
        }
        self.start(wake);
        appended.numbers
    }

    /// Counts what was appended, for which so many bytes were `reserved` on the budget: what was allocated for it is charged instead.
    fn count_admitted(&self, &AppendedEntries { volume, memory, .. }: &AppendedEntries, reserved: u64) {
        self.context.count_routed(self.account.as_deref(), self.signal(), volume);
        let budget = &self.context.shared().budget;
        if memory >= reserved {
            budget.charge(memory - reserved);
        } else {
            budget.release(reserved - memory);
        }
    }

    /// Takes over what the journal had of the stream when it was opened, before anything else is admitted.
    pub(super) fn recover(self: &Arc<Self>, found: &RecoveredStream) {
        let volume = Volume { bytes: found.bytes, records: found.records };
        self.hold(found.bytes);
        let mut queue = self.queue();
        queue.recover(found.first..found.last + 1, volume, Instant::now());
        self.context.count_recovered(self.account.as_deref(), self.signal(), volume);
        let wake = queue.wake(&self.take_rules(&self.context.settings()), Instant::now());
        drop(queue);
        self.start(wake);
    }

    fn take_rules<'s>(&self, settings: &'s QueueSettings) -> TakeRules<'s> {
        let hurry = if self.is_given_up() {
            Some("the stream is given up")
        } else {
            self.context.is_flushing().then_some("the exporter empties its streams")
        };
        TakeRules { batch: &settings.batch, consumers: settings.num_consumers.max(1), hurry }
    }

    fn start(self: &Arc<Self>, wake: Wake) {
        for _ in 0..wake.consumers {
            self.context.start(self.clone());
        }
        if let Some(opened) = wake.look_again {
            self.context.wake_when_due(opened, self.clone(), Self::wake_as_scheduled);
        }
    }

    /// Looks whether anything is to be taken now, and has it taken.
    pub(super) fn wake(self: &Arc<Self>) {
        let wake = self.queue().wake(&self.take_rules(&self.context.settings()), Instant::now());
        self.start(wake);
    }

    /// As [`Stream::wake`], when the batch that is being filled was to be looked at.
    pub(super) fn wake_as_scheduled(self: &Arc<Self>) {
        let rules = self.context.settings();
        let wake = self.queue().wake_as_scheduled(&self.take_rules(&rules), Instant::now());
        self.start(wake);
    }

    /// What comes next, in order, for a consumer that was started. Without anything the consumer is signed off and has to end.
    pub(super) fn take(self: &Arc<Self>) -> Taken {
        let (settings, now) = (self.context.settings(), Instant::now());
        let rules = self.take_rules(&settings);
        let mut queue = self.queue();
        let mut taken = queue.take(self.signal(), &rules, now);
        let wake = if matches!(taken, Taken::Nothing) { queue.wake(&rules, now) } else { Wake::default() };
        drop(queue);
        self.start(wake);
        if let Taken::Batch(TakenBatch { closing, .. }) = &mut taken
            && let Some(closing) = closing.take()
        {
            self.log_closing(closing);
        }
        taken
    }

    /// Takes what waits in memory for the next batches, in order, as long as all of it together has no more than `room` bytes. Nothing
    /// if a sender waits for any of the stream.
    pub(super) fn take_more(&self, room: usize) -> Vec<TakenBatch> {
        self.queue().take_more(self.signal(), room)
    }

    /// A consumer has ended with its batch, whose entries had these numbers, and which takes so much `memory`; or it has not read
    /// what is on disk.
    pub(super) fn settle(&self, numbers: &NumberSet, memory: u64, is_on_disk: bool) {
        let mut queue = self.queue();
        let left = queue.settle(numbers, is_on_disk, Instant::now(), || self.address(), ABANDONED);
        self.leave_memory(left.in_memory);
        drop(queue);
        self.context.shared().budget.release(memory);
        self.count_left(&left);
    }

    /// Gives back the room of what has left the queue.
    fn count_left(&self, left: &RemovedRuns) {
        self.context.count_ended(self.account.as_deref(), left.volume);
        self.context.shared().budget.release(left.memory);
        self.requests.fetch_sub(left.requests, Ordering::AcqRel);
        self.let_go(left.volume.bytes);
    }

    /// Has its consumers end what it holds without another attempt. There is no way back.
    pub fn give_up(self: &Arc<Self>) {
        self.given_up.store(true, Ordering::Release);
        self.withdrawal.notify_waiters();
        self.wake();
    }

    /// Whether [`Stream::give_up`] was called.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Wakes those who hold a batch of which something may have been withdrawn, or which is to be attempted at once, or no more.
    pub fn withdrawal(&self) -> &Notify {
        &self.withdrawal
    }

    /// Takes back what is not settled of the request that has these numbers: nobody waits for it any more, and whoever sent it was told
    /// to send it again. The order of the rest doesn't change.
    pub(super) fn withdraw(&self, request: &Range<u64>) {
        let mut queue = self.queue();
        let (withdrawn, read_ahead) = queue.state.withdraw(request);
        self.leave_memory(withdrawn.left.in_memory);
        drop(queue);
        drop(read_ahead);
        self.end_withdrawn(&withdrawn.left);
        if withdrawn.consumers_have_some {
            self.withdrawal.notify_waiters();
        }
    }

    /// Ends what was withdrawn and left the queue before any consumer had it.
    fn end_withdrawn(&self, left: &RemovedRuns) {
        if left.volume == Volume::default() {
            return;
        }
        if let Some(place) = &self.place {
            place.settle(&left.numbers);
        }
        // Counted as ended before it is no longer pending, so that nothing is missing in between.
        self.context.count_withdrawn(self.name(), left.volume.records);
        self.count_left(left);
    }

    /// Takes what was withdrawn out of a consumer's batch, whose entries had these numbers, and returns what it was. How its records
    /// have ended is for the caller to count.
    pub(super) fn take_withdrawn(&self, numbers: &NumberSet) -> RemovedRuns {
        let mut queue = self.queue();
        let left = queue.take_withdrawn(numbers);
        self.leave_memory(left.in_memory);
        drop(queue);
        if left.volume != Volume::default() {
            if let Some(place) = &self.place {
                place.settle(&left.numbers);
            }
            self.count_left(&left);
        }
        left
    }

    /// Whether all entries of these numbers were withdrawn while a consumer has them.
    pub(super) fn is_withdrawn(&self, numbers: &NumberSet) -> bool {
        self.queue().is_withdrawn(numbers)
    }

    /// Notes that entries which a consumer has have ended: see [`Queue::end`].
    pub(super) fn end(&self, piece: &Batch, ended: &NumberSet, lost: (u64, Fate), reason: &str) {
        if let Some(place) = &self.place {
            place.settle(ended);
        }
        self.queue().end(piece, ended, lost, || self.address(), reason);
    }

    /// Gives entries of these numbers back to the senders that wait for them, which are told to send them again, and why. All
    /// that their requests have here is withdrawn. Entries that nobody waits for stay.
    pub(super) fn give_back_to_senders(&self, numbers: &NumberSet, reason: &Arc<str>) {
        let requests = self.queue().give_up_requests(numbers, &self.address(), reason);
        for request in &requests {
            self.withdraw(request);
        }
    }

    /// Whether a sender waits until anything of it is delivered.
    pub fn is_waited_for(&self) -> bool {
        self.queue().is_waited_for()
    }

    /// Whether the request that has these numbers waits for any of them.
    pub(super) fn is_waited_for_in(&self, request: &Range<u64>) -> bool {
        self.queue().is_waited_for_in(request)
    }

    /// What has not ended of the request that has these numbers, by positions in the request.
    pub(super) fn unsettled_entries(&self, request: &Range<u64>) -> Vec<usize> {
        self.queue().unsettled_entries(request)
    }

    /// Whether memory that a batch of it takes is needed more by others, and the batch is on disk as well.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.place.is_some() && self.context.shared().is_short()
    }

    /// Lets go of all that is in memory, since it is on disk as well: the batch in the hands of the only consumer, and
    /// what comes after it. Whether that was possible.
    pub(super) fn spill(&self) -> bool {
        if self.place.is_none() {
            return false;
        }
        let mut queue = self.queue();
        let in_memory = queue.in_memory();
        let Some((spilled, read_ahead)) = queue.state.spill() else { return false };
        self.leave_memory(in_memory);
        drop(queue);
        drop(read_ahead);
        let Volume { bytes, records } = spilled.volume;
        let details =
            DecisionDetails { bytes: Some(bytes), records: Some(records), ..DecisionDetails::default() };
        self.log_decision("entries are left on disk alone until they are sent", details);
        self.end_withdrawn(&spilled.withdrawn);
        self.context.shared().budget.release(spilled.memory);
        self.requests.fetch_sub(spilled.requests, Ordering::SeqCst);
        self.waiting.room_freed();
        true
    }

    /// Lets go of what was read before it is asked for.
    pub(super) fn forget_ahead(&self) {
        let read_ahead = self.queue().state.forget_ahead();
        drop(read_ahead);
    }

    /// Reads that were begun before a consumer asks for them.
    #[cfg(test)]
    pub(super) fn early_reads(&self) -> usize {
        self.queue().state.early_reads()
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.queue().has_backlog()
    }

    /// Reads what comes next in the journal, as a batch for the consumer that has the backlog in its hands. An empty one if nothing
    /// is left: damage has taken it, or it was withdrawn. Nothing if the journal can't be read just now: others get the room meanwhile.
    pub(super) async fn read_backlog(self: &Arc<Self>) -> Option<BacklogBatch> {
        let place = self.place.as_ref().expect("only streams with a journal have a backlog");
        let exporter = self.context.exporter();
        let early = self.queue().state.take_early();
        if let Some(EarlyRead { batches, end, room, charged }) = early {
            let batches = match batches {
                EarlyBatches::Read(chunks) => Some([chunks].into()),
                EarlyBatches::Reading(reading) => {
                    place.patiently(reading, exporter).await.ok().and_then(Result::ok)
                }
            };
            if let Some(batches) = batches {
                let batch = self.take_read(batches, end, room);
                drop(charged);
                return Some(batch);
            }
        }
        let most = self.context.settings().batch.max_size;
        let wanted = if self.attempts_fail() { LITTLE.min(most) } else { most };
        let room = self.context.shared().reading.acquire(wanted, self.context.reading()).await;
        // Not what comes after them: that may be on disk, but the stream is about to be told, and would have it twice.
        let backlog = self.queue().backlog();
        let Some(backlog) = backlog else { return Some(self.take_read([].into(), 0, room)) };
        let end = backlog.end;
        match place.read(backlog, wanted, exporter).await {
            Ok(chunks) => Some(self.take_read([chunks].into(), end, room)),
            Err(problem) => {
                if let Some(suppressed) = notice::due(exporter, "journal") {
                    error!(suppressed, "the backlog of a stream waits: {problem}");
                }
                None
            }
        }
    }

    /// Makes a batch of the first of what was read, when the backlog ended before `end`. The second waits.
    pub(super) fn take_read(
        self: &Arc<Self>,
        mut batches: VecDeque<Vec<Chunk>>,
        end: u64,
        mut room: ReadMemoryPermit,
    ) -> BacklogBatch {
        let shared = self.context.shared();
        let read = batches.iter().flatten().map(|chunk| chunk.bytes.len()).sum();
        let chunks = batches.pop_front().unwrap_or_default();
        let mut queue = self.queue();
        let ReadBatch { batch, lost, found } =
            queue.take_read(self.signal(), chunks, end, || self.address(), DAMAGED);
        let bytes = batch.len() as u64;
        shared.budget.charge(bytes);
        self.enter_memory(bytes);
        let second = batches.pop_front().map(|second| (second, end, read));
        let most = self.context.settings().batch.max_size;
        let place = self.place.as_ref().filter(|_| !self.attempts_fail());
        let begin = |backlog, batches| place?.read_ahead(backlog, most, batches);
        queue.state.read_on(second, &mut room, most, (&shared.reading, &shared.budget), begin);
        // Another consumer may read what comes next, once the upstream takes anything: only what one consumer alone has in memory can be
        // left on disk again.
        let wake = if self.delivers.load(Ordering::Relaxed) {
            queue.wake(&self.take_rules(&self.context.settings()), Instant::now())
        } else {
            Wake::default()
        };
        drop(queue);
        self.start(wake);
        if found != Volume::default() {
            self.hold(found.bytes);
            self.context.count_recovered(self.account.as_deref(), self.signal(), found);
        }
        if lost != Volume::default() {
            self.count_lost(lost);
        }
        BacklogBatch { batch, room }
    }

    fn count_lost(&self, lost: Volume) {
        let records = lost.records;
        self.context.count_lost(self.name(), records);
        self.context.count_ended(self.account.as_deref(), lost);
        self.let_go(lost.bytes);
        if let Some(suppressed) = notice::due(self.context.exporter(), "damage") {
            let (exporter, key) = (self.context.exporter(), &self.name().key);
            warn!(%exporter, key = &*key.text(), records, suppressed, "records dropped: damage in the journal has put them aside");
        }
    }

    /// Framed bytes admitted and not settled.
    pub fn pending_bytes(&self) -> u64 {
        self.figures.word().bytes()
    }

    /// [`History::delivered_records`], without its lock.
    pub fn delivered_records(&self) -> u64 {
        self.figures.delivered_records()
    }

    /// [`History::not_delivered_records`], without its lock.
    pub fn not_delivered_records(&self) -> u64 {
        self.figures.not_delivered_records()
    }

    /// Notes how an attempt went if it has `failed`, or if somebody has looked at this stream, its exporter or its tenant lately.
    pub fn note_attempt(&self, failed: bool, attempt: impl FnOnce() -> StreamAttempt) {
        let (exporter, tenant) = (self.context.exporter(), self.account().map(|account| account.id()));
        self.context.shared().attempts.note(&self.figures, exporter, tenant, failed, attempt);
    }

    /// Counts an attempt of which the upstream took nothing.
    pub fn count_failed_attempt(&self) {
        self.figures.count_failed_attempt();
    }

    /// Attempts of which the upstream took nothing. Unlike its records they are counted from when this stream began, whatever
    /// streams of its name there were before it.
    pub fn all_failed_attempts(&self) -> u64 {
        self.figures.all_failed_attempts()
    }

    /// Whether it goes on with the history of a stream of its name before it, so that what it counts of records did not begin at zero.
    pub fn continues_another(&self) -> bool {
        self.history.lock().admitted_entries > 0
    }

    /// Notes that what this process tells of itself goes this way: from now on nothing that is logged about the stream is told.
    pub(super) fn note_own_telemetry(&self) {
        self.has_own_telemetry.store(true, Ordering::Relaxed);
    }

    /// Whether what this process tells of itself goes this way.
    pub fn has_own_telemetry(&self) -> bool {
        self.has_own_telemetry.load(Ordering::Relaxed)
    }

    /// Counts one more failure to deliver, or, as the upstream has taken something, none; returns whether there were any before.
    pub fn set_failing(&self, failing: bool) -> bool {
        self.delivers.store(!failing, Ordering::Relaxed);
        let was_failing = (if failing { self.figures.fail() } else { self.figures.recover() }) > 0;
        if failing && !was_failing {
            self.context.shared().newly_failing.note(self.address());
        }
        was_failing
    }

    /// Counts a batch of which the upstream has rejected every record by partial success, as one more failure: it takes what comes
    /// next all the same, as fast as ever.
    pub fn set_rejected(&self) {
        self.set_failing(true);
        self.delivers.store(true, Ordering::Relaxed);
    }

    /// Whether attempts come to nothing, so that little is read for the next one.
    fn attempts_fail(&self) -> bool {
        self.is_failing() && !self.delivers.load(Ordering::Relaxed)
    }

    /// Whether the upstream has taken nothing since an attempt failed.
    pub fn is_failing(&self) -> bool {
        self.figures.failures() > 0
    }

    /// Whether the last attempt to deliver was not answered in time to be called prompt: what sends keeps it here.
    pub fn hanging(&self) -> &AtomicBool {
        &self.hanging
    }

    /// Notes what has become of its records, or of an attempt, for the API.
    pub fn note(&self, change: impl FnOnce(&mut History)) {
        let mut history = self.history.lock();
        change(&mut history);
        self.figures.set_history(&history);
    }

    /// Records of it that have ended in any way.
    pub fn ended_records(&self) -> u64 {
        let history = self.history.lock();
        history.delivered_records + history.not_delivered_records()
    }

    /// Says what it does now, for the API. It shows as held instead while any of its batches is ([`Stream::hold_batch`]), and as idle
    /// while it holds nothing.
    pub fn set_activity(&self, activity: StreamActivity) {
        self.figures.set_activity(activity);
    }

    /// What is wrong with the destination, in its words and without secrets, unless it has taken something since. What it said
    /// of data is not told: that may be another sender's.
    pub(super) fn destination_error(&self) -> Option<Box<str>> {
        let history = self.history.lock();
        let error = history.last_error.as_ref().filter(|error| error.of_destination && self.is_failing());
        error.map(|error| error.message.clone())
    }

    /// Whether it has something that waits until what holds it is over.
    pub fn is_held(&self) -> bool {
        self.figures.word().activity() == StreamActivity::Held
    }

    /// Whether an attempt is on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.figures.word().said_activity() == StreamActivity::Sending
    }

    /// What it has come to, its entries counted.
    pub(super) fn history(&self) -> History {
        let admitted = self.queue().next();
        let mut history = self.history.lock().clone();
        history.admitted_entries += admitted;
        history
    }

    /// When the oldest entry that is not settled was admitted, to the microsecond.
    pub fn oldest(&self) -> Option<Instant> {
        self.figures.oldest()
    }

    /// What the API shows.
    pub fn state(&self) -> StreamState {
        let oldest = self.oldest().map(|since| since.elapsed());
        let history = self.history();
        let word = self.figures.word();
        let queue = self.queue();
        StreamState {
            pending_bytes: word.bytes(),
            waiting_batches: queue.waiting_batches(),
            in_flight: queue.in_flight(),
            failed_attempts: self.figures.failures(),
            activity: word.activity(),
            held_since: self.own_hold.since(),
            history,
            oldest,
            unanswered: self.figures.unanswered().map(|since| since.elapsed()),
        }
    }

    /// Marks a stream that holds nothing as gone, if it was used last before `idle_since`, so that the registry may forget it.
    pub(super) fn retire(&self, idle_since: Option<Instant>) -> bool {
        let is_idle = idle_since.is_none_or(|since| self.queue().last_used() < since);
        let gone = is_idle && self.figures.retire();
        if gone {
            self.leave_limits();
        }
        gone
    }

    /// The limit of a route that it counts against, if there is one.
    pub(super) fn route(&self) -> Option<&Arc<StreamCount>> {
        self.route.as_ref()
    }

    /// Whether it counts against this limit of a route.
    pub(super) fn is_of(&self, route: &Arc<StreamCount>) -> bool {
        self.route.as_ref().is_some_and(|own| Arc::ptr_eq(own, route))
    }

    /// Whether it counts against the limit of this tenant.
    pub(super) fn is_of_tenant(&self, id: &str) -> bool {
        self.account.as_ref().is_some_and(|account| **account.id() == *id)
    }

    /// Whether no request has ever put an entry here.
    pub(super) fn is_unused(&self) -> bool {
        self.queue().next() == 0
    }

    /// Takes the stream off the limits of streams, if it counts.
    pub(super) fn leave_limits(&self) {
        self.counted.leave(|| self.context.shared().leave(self.route.as_ref(), self.account.as_deref()));
    }

    /// Has the stream count again, whatever the limits are.
    pub(super) fn join_limits(&self) {
        let shared = self.context.shared();
        self.counted.join(|| shared.join_anyway(self.route.as_ref(), self.account.as_deref()));
    }

    /// Logs what is decided about the stream. If it has got own telemetry, that is not sent.
    pub fn log_decision(&self, what: impl fmt::Display, details: DecisionDetails<'_>) {
        if !decision::are_logged() {
            return;
        }
        let log = || {
            let (exporter, key) = (self.context.exporter(), &self.name().key);
            let DecisionDetails { bytes, records, waiting, reason, wait } = details;
            let wait = wait.map(tracing::field::debug);
            debug!(%exporter, signal = %self.signal(), key = &*key.text(), tenant = key.tenant(), bytes, records, waiting, reason, wait, "{what}");
        };
        if self.has_own_telemetry() { LogScope::Withheld.of_call(log) } else { log() }
    }

    pub(super) fn log_closing(&self, BatchClosing { bytes, records, waiting, why }: BatchClosing) {
        let (bytes, records, waiting) = (Some(bytes), Some(records), Some(waiting));
        let details = DecisionDetails { bytes, records, waiting, ..DecisionDetails::default() };
        self.log_decision(format_args!("batch closed: {why}"), details);
    }

    /// Says of a batch that it waits because it is held, for whatever reason: until what is returned is dropped, the stream shows as held,
    /// whatever its other consumers do meanwhile.
    pub fn hold_batch(&self) -> HeldBatch<'_> {
        HeldBatch { stream: self, is_counted: self.figures.hold_batch() }
    }

    /// As [`Stream::hold_batch`], for a batch that the stream's own destination has refused, or that has no destination: the
    /// stream is held since now, unless it was so before.
    pub fn begin_own_hold(&self) -> HeldBatch<'_> {
        self.own_hold.begin(SystemTime::now(), || self.hold_batch())
    }

    /// Notes that the destination has taken data, or found fault with the data alone: what is refused later is another hold, unless
    /// another batch is held still. An attempt that nobody has answered, or that is to be repeated, ends none.
    pub fn end_own_hold(&self) {
        self.own_hold.end(|| self.figures.word().held_batches() > 0);
    }

    /// Has it make its next attempt now, if it waits before one.
    pub fn try_now(&self) {
        self.own_hold.ask();
        self.withdrawal.notify_waiters();
    }

    /// Ready once [`Stream::try_now`] was called after this. Made before the stream is seen to wait, so that no call is missed.
    pub fn wanted_now(&self) -> impl Future<Output = ()> {
        let before = self.own_hold.asked();
        async move {
            loop {
                // Made before looking, so that no call is missed.
                let woken = self.withdrawal.notified();
                if self.own_hold.asked() != before {
                    return;
                }
                woken.await;
            }
        }
    }

    /// Shows that an attempt, which `began` then, has not been answered for long, until what is returned is dropped.
    pub fn note_unanswered(&self, began: Instant) -> UnansweredAttempt<'_> {
        self.figures.begin_unanswered(began);
        UnansweredAttempt { stream: self, began }
    }

    /// The share that counts what the stream holds, if it is a tenant's.
    fn share(&self) -> Option<&QuotaShare> {
        let quota = self.account()?.quota();
        Some(if self.place.is_some() { quota.journal() } else { quota.memory() })
    }

    /// Reserves `bytes` of what the stream's tenant may hold, or says why not. `empty`: the stream held nothing before.
    fn reserve_share(
        &self,
        bytes: u64,
        limit: &StreamLimit,
        shares: &mut ReservedShares,
        empty: bool,
    ) -> Result<(), Full> {
        let (Some(account), Some(share)) = (self.account(), self.share()) else { return Ok(()) };
        let limits = self.context.shared().tenants.limits(account.id());
        let Some((most, limit)) = limit.of_tenant(&limits) else {
            share.take(bytes);
            return Ok(());
        };
        let own = shares.of(share);
        if !share.take_within(bytes, most, *own, empty) {
            account.quota().note_refusal();
            return Err(Full::Tenant { tenant: account.id().clone(), limit });
        }
        *own += bytes;
        Ok(())
    }

    /// Takes `bytes` of what the tenant may hold that nobody has to be asked for.
    fn hold_share(&self, bytes: u64) {
        self.share().inspect(|share| share.take(bytes));
    }

    /// Gives `bytes` back of what the tenant may hold.
    fn let_go_share(&self, bytes: u64) {
        self.share().inspect(|share| share.give_back(bytes));
    }

    /// Whether its tenant may hold so much more in memory, beside what is on disk.
    fn tenant_has_memory_for(&self, bytes: u64) -> bool {
        let Some(account) = self.account() else { return true };
        let limits = self.context.shared().tenants.limits(account.id());
        let held = account.quota().memory().held();
        limits.memory.is_none_or(|most| held.saturating_add(bytes) <= most.get())
    }

    /// Notes that framed bytes of entries are in memory from now on.
    fn enter_memory(&self, bytes: u64) {
        self.copies().inspect(|share| share.take(bytes));
    }

    /// Notes that framed bytes of entries are not in memory any more.
    fn leave_memory(&self, bytes: u64) {
        self.copies().inspect(|share| share.give_back(bytes));
    }

    /// The share that counts what is in memory of what is on disk as well.
    fn copies(&self) -> Option<&QuotaShare> {
        self.place.as_ref()?;
        Some(self.account()?.quota().memory())
    }
}

impl Drop for HeldBatch<'_> {
    fn drop(&mut self) {
        if self.is_counted {
            self.stream.figures.release_batch();
        }
    }
}

impl Drop for UnansweredAttempt<'_> {
    fn drop(&mut self) {
        self.stream.figures.end_unanswered(self.began);
    }
}
