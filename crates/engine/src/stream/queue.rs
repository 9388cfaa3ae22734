//! One stream: an ordered queue of closed batches behind one open batch.
//!
//! Entries are appended under a short lock, which gives them their place. Batches are taken by *consumers*, tasks
//! that the exporter starts when a stream has something to send and that end when it has not: an idle stream costs
//! no task and no timer. With one consumer (the default), a batch is settled before the next one is taken.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::behind::Behind;
use super::decision::BatchClosing;
use super::durable::Durable;
use super::figures::{StreamFigures, StreamWord};
use super::history::{Activity, History};
use super::in_flight::InFlight;
use super::line::Line;
use super::open::{ClosedBatch, OpenBatch};
use super::own_hold::OwnHold;
use super::receipt::{Stub, Stubs};
use super::refused::Full;
use super::registry::{NoStream, Registry, StreamCount};
use super::share::OwnShares;
use super::{NumberSet, QueueSettings, StreamAddress, StreamName};
use crate::outcome::Fate;
use crate::telemetry::TraceContext;
use crate::tenants::TenantAccount;
use otlp::{self, Signal};

/// What senders learn of a batch whose consumer has gone.
const ABANDONED: &str = "sending it was broken off";

/// The ordered queue of one (exporter, signal, routing key).
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    registry: Arc<Registry>,
    /// What it holds, how old that is, what it does, and how often it has failed.
    pub(super) figures: StreamFigures,
    /// Requests with entries here that are not settled.
    pub(super) requests: AtomicU64,
    /// Requests that wait for room here.
    pub(super) line: Line,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Wakes consumers whose batch may have lost entries, or that are to make their next attempt at once, or none.
    pub(super) withdrawal: Notify,
    given_up: AtomicBool,
    /// Since when its own destination refuses it, and how often somebody has asked for an attempt at once.
    pub(super) own_hold: OwnHold,
    hanging: AtomicBool,
    /// Whether it has got any of what this process tells of itself.
    has_own_telemetry: AtomicBool,
    /// Of the streams of this name before it as well; of its entries only what they have come to.
    history: Mutex<History>,
    route: Option<Arc<StreamCount>>,
    /// Whether it counts against the limits of streams.
    counts: AtomicBool,
    /// Its place in the journal, if there is one.
    pub(super) durable: Option<Durable>,
    /// Of the tenant whose data it holds, if that is one's.
    account: Option<Arc<TenantAccount>>,
}

/// The queue of a stream while nobody else has it. When it is let go of, everybody can see how old its oldest entry is.
#[derive(Debug)]
pub(super) struct LockedQueue<'s> {
    queue: MutexGuard<'s, Queue>,
    figures: &'s StreamFigures,
}

impl Deref for LockedQueue<'_> {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl DerefMut for LockedQueue<'_> {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

impl Drop for LockedQueue<'_> {
    fn drop(&mut self) {
        self.figures.set_oldest(self.queue.oldest());
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) open: OpenBatch,
    pub(super) closed: VecDeque<ClosedBatch>,
    /// What comes after that and is on disk only.
    pub(super) behind: Option<Behind>,
    /// Framed bytes of entries in memory, those in flight included.
    pub(super) in_memory: u64,
    /// Of requests that wait until their entries are settled.
    pub(super) stubs: Stubs,
    /// Entries in flight that were withdrawn, and those of them that were the last of their request.
    pub(super) withdrawn: NumberSet,
    pub(super) withdrawn_ends: NumberSet,
    pub(super) in_flight: usize,
    in_flight_since: Option<Instant>,
    pub(super) consumers: usize,
    /// A consumer sleeps until the open batch is due.
    waiting: bool,
    pub(super) next_sequence: u64,
    last_used: Instant,
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
    pub activity: Activity,
    /// Since when its own destination refuses it, or it has none.
    pub held_since: Option<SystemTime>,
    /// What it has come to, with what the streams of this name before it have.
    pub history: History,
    /// Age of the oldest entry that is not settled.
    pub oldest: Option<Duration>,
    /// How long its attempt has been under way, if that has not been answered for long.
    pub unanswered: Option<Duration>,
}

impl Stream {
    pub(super) fn new(
        name: StreamName,
        registry: Arc<Registry>,
        route: Option<Arc<StreamCount>>,
        account: Option<Arc<TenantAccount>>,
        durable: Option<Durable>,
        history: History,
    ) -> Self {
        let queue = Queue {
            open: OpenBatch::default(),
            closed: VecDeque::new(),
            behind: None,
            in_memory: 0,
            stubs: Stubs::default(),
            withdrawn: NumberSet::default(),
            withdrawn_ends: NumberSet::default(),
            in_flight: 0,
            in_flight_since: None,
            consumers: 0,
            waiting: false,
            next_sequence: 0,
            last_used: Instant::now(),
        };
        let figures = registry.figures().enter(&name, account.as_ref(), &history);
        let stream = Self {
            name,
            durable,
            account,
            registry,
            figures,
            requests: AtomicU64::new(0),
            counts: AtomicBool::new(true),
            line: Line::default(),
            queue: Mutex::new(queue),
            wake: Notify::new(),
            withdrawal: Notify::new(),
            given_up: AtomicBool::new(false),
            own_hold: OwnHold::default(),
            hanging: AtomicBool::new(false),
            has_own_telemetry: AtomicBool::new(false),
            history: Mutex::new(history),
            route,
        };
        stream.begin_to_note();
        stream
    }

    /// What names it among the streams of all exporters.
    pub fn address(&self) -> StreamAddress {
        StreamAddress { exporter: self.registry.exporter().clone(), name: self.name.clone() }
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Of the tenant whose data it holds, if that is one's.
    pub fn account(&self) -> Option<&Arc<TenantAccount>> {
        self.account.as_ref()
    }

    /// The registry that the stream lives in.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(super) fn signal(&self) -> Signal {
        self.name.signal
    }

    /// Its queue, for as long as what is returned lives.
    pub(super) fn queue(&self) -> LockedQueue<'_> {
        LockedQueue { queue: self.queue.lock(), figures: &self.figures }
    }

    /// Reserves room for one request's entries of `bytes` framed bytes. An empty stream takes any size, as far as its tenant's
    /// other streams leave anything of what the tenant may hold. `shares` is what the request has reserved of that.
    pub(super) fn reserve(
        &self,
        bytes: u64,
        settings: &QueueSettings,
        bound: &Bound,
        shares: &mut OwnShares,
    ) -> Room {
        let (most, bounded) = (bound.most(settings), bound.is_queue());
        let fits = |word: StreamWord| !word.is_gone() && (word.bytes() == 0 || word.bytes() + bytes <= most);
        let before = match self.figures.reserve(bytes, fits) {
            Ok(before) => before.bytes(),
            Err(word) if word.is_gone() => return Room::Gone,
            Err(_) => return Room::Full,
        };
        let requests = self.requests.fetch_add(1, Ordering::AcqRel);
        if bounded && settings.queue_requests.is_some_and(|most| before != 0 && requests >= most) {
            self.take_back(bytes);
            return Room::Full;
        }
        if let Err(full) = self.reserve_share(bytes, bound, shares, before == 0) {
            self.take_back(bytes);
            return Room::OverLimit(full);
        }
        Room::Reserved
    }

    /// Takes back what was reserved here alone. Whoever has looked in between has seen less room than there is.
    fn take_back(&self, bytes: u64) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.figures.subtract(bytes);
        self.line.freed();
    }

    /// Whether there would be room for so many bytes now. A stream that is gone has some: it will be another one.
    pub(super) fn has_room(&self, bytes: u64, settings: &QueueSettings, bound: &Bound) -> bool {
        let word = self.figures.word();
        let requests = self.requests.load(Ordering::Acquire);
        let few = !bound.is_queue() || settings.queue_requests.is_none_or(|most| requests < most);
        let held = word.bytes();
        held == 0 || word.is_gone() || (held + bytes <= bound.most(settings) && few)
    }

    /// Whether there may be room soon in a stream that is full: what it sends is being answered, and taken.
    pub(super) fn moves(&self) -> bool {
        !self.is_failing() && !self.is_held() && !self.hanging.load(Ordering::Relaxed)
    }

    /// Takes a whole reservation back.
    pub(super) fn unreserve(&self, bytes: u64) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.let_go(bytes);
    }

    /// Holds bytes that nobody has to be asked for.
    pub(super) fn hold(&self, bytes: u64) {
        self.figures.add(bytes);
        self.hold_share(bytes);
    }

    /// Gives held bytes back.
    pub(super) fn let_go(&self, bytes: u64) {
        // First: a share is never more than its streams hold.
        self.let_go_share(bytes);
        self.figures.subtract(bytes);
        self.line.freed();
    }

    /// Appends one request's entries for this stream, for which room is reserved on the stream and on the budget. Returns
    /// the sequence number of the first. `stub` is for a request that waits until they are settled, `trace` the span of
    /// one that is traced.
    pub(super) fn append<'a>(
        self: &Arc<Self>,
        entries: impl Iterator<Item = (&'a [u8], u64)>,
        settings: &QueueSettings,
        stub: Option<Stub>,
        trace: Option<TraceContext>,
    ) -> u64 {
        let queue = self.queue();
        let first = queue.next_sequence;
        self.append_to(queue, entries, settings, stub, trace);
        first
    }

    /// As [`Stream::append`], to the queue as it is now.
    pub(super) fn append_to<'a>(
        self: &Arc<Self>,
        mut queue: LockedQueue<'_>,
        entries: impl Iterator<Item = (&'a [u8], u64)>,
        settings: &QueueSettings,
        stub: Option<Stub>,
        trace: Option<TraceContext>,
    ) {
        let (mut records, mut bytes, mut taken) = (0, 0, 0);
        let mut closings = SmallVec::<[BatchClosing; 4]>::new();
        let budget = &self.registry.shared().budget;
        let first = queue.next_sequence;
        for (entry, entry_records) in entries {
            let framed = otlp::frame_len(entry.len());
            if !queue.open.is_empty() && queue.open.len() + framed > settings.batch.max_size {
                closings.extend(self.close_batch(&mut queue, "the next entry does not fit"));
            }
            let number = queue.next_sequence;
            taken += queue.open.push(number, entry, entry_records, |spare| budget.has_room(spare));
            if let Some(request) = trace {
                queue.open.link(request);
            }
            queue.next_sequence += 1;
            records += entry_records;
            bytes += framed;
            if settings.batch.min_size > 0 && queue.open.len() >= settings.batch.min_size {
                closings.extend(self.close_batch(&mut queue, "it is large enough"));
            }
        }
        if settings.batch.min_size == 0 && !queue.open.is_empty() {
            closings.extend(self.close_batch(&mut queue, "a request has ended"));
        }
        queue.end_of_request();
        self.enter_memory(&mut queue, bytes as u64);
        if let Some(stub) = stub {
            queue.stubs.add(first, stub);
        }
        // One for each batch, as far as they may, and one that waits until the open one is due: others may be busy for long.
        let batches = queue.in_flight + queue.closed.len() + usize::from(!queue.open.is_empty());
        let wanted = batches.clamp(1, settings.num_consumers.max(1));
        let start = wanted.saturating_sub(queue.consumers);
        let wake = queue.waiting && !queue.closed.is_empty();
        queue.consumers += start;
        // Counted before anybody can settle it, so that what is pending never goes below zero.
        self.registry.admitted(self, records, bytes as u64, taken as u64);
        drop(queue);
        for closing in closings {
            self.log_closing(closing);
        }
        for _ in 0..start {
            self.registry.start(self.clone());
        }
        if wake {
            self.wake.notify_one();
        }
    }

    /// The next batch, in order, once it is due; `None` when there is nothing left to send, and with it the
    /// consumer is signed off and has to end. Not cancellation safe.
    pub async fn next(self: &Arc<Self>) -> Option<InFlight> {
        loop {
            match self.take() {
                Taken::Batch(in_flight) => return Some(in_flight),
                Taken::Nothing => return None,
                Taken::Due(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.wake.notified() => {}
                    }
                    self.queue().waiting = false;
                }
            }
        }
    }

    fn take(self: &Arc<Self>) -> Taken {
        let mut closing = None;
        let taken = self.take_from(self.queue(), &mut closing);
        if let Some(closing) = closing {
            self.log_closing(closing);
        }
        taken
    }

    /// As [`Stream::take`], from the queue as it is now; says which batch it has closed for that.
    fn take_from(self: &Arc<Self>, mut queue: LockedQueue<'_>, closing: &mut Option<BatchClosing>) -> Taken {
        let settings = self.registry.settings();
        let flush = settings.batch.flush_timeout;
        let hurries = self.registry.is_flushing() || self.is_given_up();
        let due = |opened: Instant, len: usize| {
            // Large enough only since a reload: otherwise it would have been closed as it grew.
            hurries || opened.elapsed() >= flush || len >= settings.batch.min_size
        };
        // Fewer since a reload: one that has just settled its batch goes first, so that order comes back.
        if queue.consumers > settings.num_consumers.max(1) {
            queue.consumers -= 1;
            return Taken::Nothing;
        }
        if let Some(since) = queue.take_behind() {
            queue.in_flight += 1;
            queue.in_flight_since.get_or_insert(since);
            return Taken::Batch(InFlight::on_disk(self.clone()));
        }
        if queue.closed.is_empty() {
            match queue.open.opened() {
                Some(opened) if due(opened, queue.open.len()) => {
                    let why = match hurries {
                        true if self.is_given_up() => "the stream is given up",
                        true => "the exporter empties its streams",
                        false => "it is due",
                    };
                    *closing = self.close_batch(&mut queue, why);
                }
                Some(_) if !queue.waiting => queue.waiting = true,
                _ => {
                    queue.consumers -= 1;
                    queue.last_used = Instant::now();
                    return Taken::Nothing;
                }
            }
        }
        if let Some(closed) = queue.closed.pop_front() {
            queue.in_flight += 1;
            queue.in_flight_since.get_or_insert(closed.opened);
            return Taken::Batch(InFlight::new(self.clone(), closed));
        }
        Taken::Due(queue.open.opened().expect("a consumer waits only for an open batch") + flush)
    }

    /// Closes the open batch, if anything is in it, and returns what is to be logged of that.
    fn close_batch(&self, queue: &mut Queue, why: &'static str) -> Option<BatchClosing> {
        queue.close(self.signal());
        let batch = &queue.closed.back()?.batch;
        let (bytes, records, waiting) = (batch.len() as u64, batch.records(), queue.closed.len());
        Some(BatchClosing { bytes, records, waiting, why })
    }

    /// Has its consumers end what it holds without another attempt. There is no way back.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.withdrawal.notify_waiters();
        self.look_again();
    }

    /// Whether [`Stream::give_up`] was called.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
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

    /// Takes what waits in memory for the next batches, in order, as long as all of it together has no more than `room` bytes. Nothing
    /// if a sender waits for any of the stream.
    pub(super) fn take_waiting(&self, mut room: usize) -> Vec<ClosedBatch> {
        let mut taken = Vec::new();
        let mut queue = self.queue();
        if !queue.stubs.is_empty() {
            return taken;
        }
        loop {
            if queue.closed.is_empty() {
                queue.close(self.signal());
            }
            match queue.closed.front().map(|closed| closed.batch.len()) {
                Some(bytes) if bytes <= room => room -= bytes,
                _ => return taken,
            }
            taken.extend(queue.closed.pop_front());
        }
    }

    /// Notes that what this process tells of itself goes this way: from now on nothing that is logged about the stream is told.
    pub(super) fn note_own_telemetry(&self) {
        self.has_own_telemetry.store(true, Ordering::Relaxed);
    }

    /// Whether what this process tells of itself goes this way.
    pub fn has_own_telemetry(&self) -> bool {
        self.has_own_telemetry.load(Ordering::Relaxed)
    }

    /// Has a consumer that waits for the open batch look again whether it is due.
    pub(super) fn look_again(&self) {
        if self.queue().waiting {
            self.wake.notify_one();
        }
    }

    /// Counts one more failure to deliver, or, as the upstream has taken something, none; returns whether there were any before.
    pub fn set_failing(&self, failing: bool) -> bool {
        let was_failing = (if failing { self.figures.fail() } else { self.figures.recover() }) > 0;
        if failing && !was_failing {
            self.registry.shared().newly_failing.note(self.address());
        }
        was_failing
    }

    /// Whether the upstream has taken nothing since an attempt failed.
    pub fn is_failing(&self) -> bool {
        self.figures.failures() > 0
    }

    /// Whether a sender waits until anything of it is delivered.
    pub fn is_waited_for(&self) -> bool {
        !self.queue().stubs.is_empty()
    }

    /// Whether the sender waits whose first entry here has this number.
    pub(super) fn is_waited_for_by(&self, first: u64) -> bool {
        self.queue().stubs.has(first)
    }

    /// What has not ended of the entries of a sender whose first entry here has this number, by their positions in its request.
    pub(super) fn unsettled_entries(&self, first: u64) -> Vec<usize> {
        self.queue.lock().stubs.unsettled_entries(first)
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
    pub fn set_activity(&self, activity: Activity) {
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
        self.figures.word().activity() == Activity::Held
    }

    /// Whether an attempt is on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.figures.word().said_activity() == Activity::Sending
    }

    /// What it has come to, its entries counted.
    pub(super) fn history(&self) -> History {
        let admitted = self.queue().next_sequence;
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
            waiting_batches: queue.closed.len() + usize::from(!queue.open.is_empty()),
            in_flight: queue.in_flight,
            failed_attempts: self.figures.failures(),
            activity: word.activity(),
            held_since: self.own_hold.since(),
            history,
            oldest,
            unanswered: self.figures.unanswered().map(|since| since.elapsed()),
        }
    }

    /// Marks a stream that has been idle since `before` as gone, so that the registry may forget it.
    pub(super) fn retire(&self, before: Instant) -> bool {
        let gone = self.queue().last_used < before && self.figures.retire();
        if gone {
            self.leave_limits();
        }
        gone
    }

    /// The live stream of the same name, for one that is gone.
    pub(super) fn successor(&self) -> Result<Arc<Self>, NoStream> {
        let successor =
            self.registry.stream(self.signal(), self.name.key.as_written(), self.route.as_ref())?;
        if self.has_own_telemetry() {
            successor.note_own_telemetry();
        }
        Ok(successor)
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
        self.queue().next_sequence == 0
    }

    /// Takes the stream off the limits of streams, if it counts.
    pub(super) fn leave_limits(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            self.registry.shared().leave(self.route.as_ref(), self.account.as_deref());
        }
    }

    /// Has the stream count again, whatever the limits are.
    pub(super) fn join_limits(&self) {
        if !self.counts.swap(true, Ordering::AcqRel) {
            self.registry.shared().join_anyway(self.route.as_ref(), self.account.as_deref());
        }
    }

    /// A consumer has ended with its batch, which is `closed` unless it is on disk.
    pub(super) fn settle(&self, closed: &ClosedBatch, on_disk: bool) {
        let mut queue = self.queue();
        queue.in_flight -= 1;
        if on_disk {
            queue.leave_behind();
        }
        if queue.in_flight == 0 {
            queue.in_flight_since = None;
        }
        queue.last_used = Instant::now();
        queue.abandon(closed, self);
        self.leave_memory(&mut queue, closed.batch.len() as u64);
        drop(queue);
        self.registry.settled(self, closed);
        self.requests.fetch_sub(closed.requests, Ordering::AcqRel);
        self.let_go(closed.batch.len() as u64);
    }
}

/// What there is for a consumer.
enum Taken {
    Batch(InFlight),
    /// The open batch is due then.
    Due(Instant),
    /// The consumer is signed off.
    Nothing,
}

impl Queue {
    /// When the oldest entry that is not settled was admitted.
    fn oldest(&self) -> Option<Instant> {
        let closed = self.closed.front().map(|closed| closed.opened);
        let behind = self.behind.as_ref().and_then(Behind::since);
        [self.in_flight_since, closed, self.open.opened(), behind].into_iter().flatten().min()
    }

    /// Ends what a consumer has left of its batch without a word: nobody may take it for delivered.
    fn abandon(&mut self, closed: &ClosedBatch, stream: &Stream) {
        if self.stubs.is_empty() && self.withdrawn.is_empty() {
            return;
        }
        let batch = &closed.batch;
        self.stubs.lose(batch, (batch.records(), Fate::Dropped), stream, &ABANDONED.into());
        self.end(batch.numbers());
    }

    /// Notes that entries have ended, for those who wait for them.
    pub(super) fn end(&mut self, numbers: &NumberSet) {
        self.stubs.settle(numbers);
        self.withdrawn = self.withdrawn.without(numbers);
        self.withdrawn_ends = self.withdrawn_ends.without(numbers);
    }

    fn close(&mut self, signal: Signal) {
        self.closed.extend(self.open.close(signal));
    }

    /// The batch that a request's last entry went into is the one that gives its place back.
    fn end_of_request(&mut self) {
        match self.closed.back_mut() {
            Some(last) if self.open.is_empty() => last.requests += 1,
            _ => self.open.end_of_request(),
        }
    }
}

/// What a stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// `queue_size`.
    InMemory,
    /// With a journal, what the queue has no memory for stays on disk.
    OnDisk {
        /// Framed bytes; in an empty stream there is room for any one request.
        most: u64,
        /// Whether `queue_size` counts all the same: what waits for its upstream must not pile up on disk either.
        queue: bool,
    },
}

impl Bound {
    /// Framed bytes.
    fn most(&self, settings: &QueueSettings) -> u64 {
        match *self {
            Self::InMemory => settings.queue_bytes,
            Self::OnDisk { most, queue: true } => most.min(settings.queue_bytes),
            Self::OnDisk { most, queue: false } => most,
        }
    }

    /// Whether `queue_size` counts.
    pub(super) fn is_queue(&self) -> bool {
        matches!(self, Self::InMemory | Self::OnDisk { queue: true, .. })
    }
}

/// Whether a stream has room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Reserved,
    Full,
    /// Its tenant may not hold so much.
    OverLimit(Full),
    /// The stream ended in this moment: look it up again.
    Gone,
}
