//! The live streams of one exporter.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::attempts::Attempts;
use super::decision::{self, DecisionDetails};
use super::due_times::DueTimes;
use super::figures::{FigureTable, ScannedStream};
use super::history::{History, Past};
use super::journal_place::JournalPlace;
use super::newly_failing::NewlyFailing;
use super::queue::Amount;
use super::reading_room::ReadingRoom;
use super::refused::Full;
use super::{Budget, QueueSettings, Shed, Stream, StreamAddress, StreamName};
use crate::journal::{Journal, RecoveredStream};
use crate::route::RoutingKey;
use crate::telemetry::OwnTelemetry;
use crate::tenants::{TenantAccount, TenantLimit, Tenants};
use otlp::{Redaction, Signal};

/// A stream without entries is forgotten after this time.
pub const IDLE: Duration = Duration::from_secs(60);

/// What a registry needs of the exporter that sends for it.
pub trait Outlet: Send + Sync + std::fmt::Debug {
    /// Whether the exporter could send for a stream of this name: a template may not be able to take its values.
    fn check(&self, name: &StreamName) -> Result<(), String>;

    /// Starts one more consumer, which takes batches by [`Stream::take`] until there are none.
    fn start(&self, stream: Arc<Stream>);

    /// Counts records of a stream of this name that were withdrawn before anybody attempted to send them.
    fn count_withdrawn(&self, name: &StreamName, records: u64);

    /// Counts records of a stream of this name that its journal has lost.
    fn count_lost(&self, name: &StreamName, records: u64);
}

/// What all streams of all exporters share.
#[derive(Debug)]
pub struct Shared {
    /// `limits.memory`.
    pub budget: Arc<Budget>,
    /// `limits.streams`.
    pub streams: Arc<StreamCount>,
    /// Where entries are kept beside the memory, if anywhere.
    pub journal: Option<Journal>,
    /// The table of tenants.
    pub tenants: Arc<Tenants>,
    /// What is told of requests and attempts.
    pub telemetry: Arc<OwnTelemetry>,
    /// What streams have come to that are gone.
    pub past: Past,
    /// What of records is not shown, neither where they are shown nor where an upstream says them back.
    pub redaction: Arc<ArcSwap<Redaction>>,
    /// The last attempts of streams, exporters and tenants that fail, or that somebody has looked at.
    pub(super) attempts: Attempts,
    /// Streams that have begun to fail.
    pub newly_failing: NewlyFailing,
    /// Since when streams live, by both clocks.
    pub began: (Instant, SystemTime),
    /// For backlogs, so that they are not the end of everybody's memory.
    pub(super) reading: ReadingRoom,
}

/// The part of the memory that backlogs may take when they are read.
const READING: u64 = 4;

/// The part of the memory that may be taken before entries stay on disk alone.
const SPILL: u64 = 2;

impl Shared {
    /// Memory, streams, and a journal if there is one; without tenants.
    pub fn new(budget: Arc<Budget>, streams: Arc<StreamCount>, journal: Option<Journal>) -> Self {
        Self::with_tenants(budget, streams, journal, Arc::default())
    }

    /// The same with a table of tenants.
    pub fn with_tenants(
        budget: Arc<Budget>,
        streams: Arc<StreamCount>,
        journal: Option<Journal>,
        tenants: Arc<Tenants>,
    ) -> Self {
        let reading = ReadingRoom::new(budget.limit() / READING);
        let (past, attempts, newly_failing) = (Past::default(), Attempts::default(), NewlyFailing::default());
        let began = (Instant::now(), SystemTime::now());
        let (telemetry, redaction) = (Arc::default(), Arc::default());
        Self {
            budget,
            streams,
            journal,
            tenants,
            telemetry,
            past,
            redaction,
            attempts,
            newly_failing,
            began,
            reading,
        }
    }

    /// Forgets attempts that nobody wants to know of any more.
    pub fn sweep(&self) {
        self.attempts.sweep();
    }

    /// Changes `limits.memory`, and with it what backlogs may take when they are read.
    pub fn set_memory(&self, limit: u64) {
        self.budget.set_limit(limit);
        self.reading.set_bytes(limit / READING);
    }

    /// The account of the tenant whose data a stream of this name holds, if that is one's.
    fn account_of(&self, name: &StreamName) -> Option<Arc<TenantAccount>> {
        name.key.tenant().map(|tenant| self.tenants.account(tenant))
    }

    /// Counts one more stream against all limits of streams that it falls under, or against none.
    fn join(
        &self,
        route: Option<&Arc<StreamCount>>,
        account: Option<&TenantAccount>,
    ) -> Result<(), NoStream> {
        if !self.streams.join() {
            return Err(NoStream::TooMany);
        }
        if route.is_some_and(|route| !route.join()) {
            self.streams.leave();
            return Err(NoStream::TooMany);
        }
        let most = |account: &TenantAccount| self.tenants.limits(account.id()).streams;
        match account {
            Some(account) if !account.quota().join_stream(most(account)) => {
                self.leave(route, None);
                Err(NoStream::TenantHasTooMany(account.id().clone()))
            }
            _ => Ok(()),
        }
    }

    /// Counts one more stream, whatever the limits are.
    pub(super) fn join_anyway(&self, route: Option<&Arc<StreamCount>>, account: Option<&TenantAccount>) {
        self.streams.join_anyway();
        route.inspect(|route| route.join_anyway());
        account.inspect(|account| account.quota().join_stream_anyway());
    }

    /// Takes a stream off the limits again.
    pub(super) fn leave(&self, route: Option<&Arc<StreamCount>>, account: Option<&TenantAccount>) {
        self.streams.leave();
        route.inspect(|route| route.leave());
        account.inspect(|account| account.quota().leave_stream());
    }

    /// Whether so much memory is taken that entries which are on disk should stay there.
    pub(super) fn is_short(&self) -> bool {
        self.budget.used() > self.budget.limit() / SPILL
    }
}

/// How many streams there are, and how many there may be.
#[derive(Debug)]
pub struct StreamCount {
    live: AtomicUsize,
    limit: AtomicUsize,
}

/// The streams of one exporter. It outlives reloads: an exporter is the same one as long
/// as the configuration has its name.
#[derive(Debug)]
pub struct Registry {
    exporter: Arc<str>,
    settings: ArcSwap<QueueSettings>,
    /// By signal and routing key, as it is [written](RoutingKey::written).
    streams: [DashMap<Arc<str>, Arc<Stream>>; 3],
    figures: Arc<FigureTable>,
    /// Streams with a batch that is being filled.
    due: DueTimes<Arc<Stream>>,
    shared: Arc<Shared>,
    outlet: std::sync::OnceLock<Box<dyn Outlet>>,
    flushing: AtomicBool,
    routed_records: [AtomicU64; 3],
    recovered_records: AtomicU64,
    pending_records: AtomicU64,
    pending_bytes: AtomicU64,
    /// A place to read a batch of a backlog into that no other exporter can take.
    reading: Arc<Semaphore>,
}

/// Why there is no stream of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum NoStream {
    /// `limits.streams` or the route's `max_streams` is reached.
    TooMany,
    /// This tenant's own `limits.streams` is reached.
    TenantHasTooMany(Arc<str>),
    /// The exporter's templates can't take the stream's values, and why.
    Unfit(String),
}

/// Records that were shed and whose end is not yet counted. Until this is dropped they are pending.
#[derive(Debug)]
pub struct Ending {
    registry: Arc<Registry>,
    account: Option<Arc<TenantAccount>>,
    records: u64,
    bytes: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.registry.count_ended(self.account.as_deref(), self.records, self.bytes);
    }
}

impl NoStream {
    /// What is full.
    pub(super) fn full(self) -> Full {
        match self {
            Self::TooMany | Self::Unfit(_) => Full::Streams,
            Self::TenantHasTooMany(tenant) => Full::Tenant { tenant, limit: TenantLimit::Streams },
        }
    }
}

/// Logs that a stream was forgotten.
fn log_end(stream: &Stream) {
    stream.log_decision("stream closed: it holds nothing", DecisionDetails::default());
}

/// Later than any stream can have been used.
fn whenever() -> Instant {
    Instant::now() + IDLE
}

impl StreamCount {
    /// At most `limit` streams.
    pub fn new(limit: usize) -> Self {
        Self { live: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Streams there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Streams there may be.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; streams beyond it end when they are idle.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn join(&self) -> bool {
        let grown = |live: usize| (live < self.limit()).then_some(live + 1);
        self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).is_ok()
    }

    fn join_anyway(&self) {
        self.live.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Registry {
    /// A registry without streams; nothing is sent before [`Registry::attach`].
    pub fn new(exporter: Arc<str>, settings: QueueSettings, shared: Arc<Shared>) -> Self {
        Self {
            exporter,
            settings: ArcSwap::from_pointee(settings),
            streams: std::array::from_fn(|_| DashMap::new()),
            figures: Arc::new(FigureTable::new(shared.began.0)),
            due: DueTimes::default(),
            shared,
            outlet: std::sync::OnceLock::new(),
            flushing: AtomicBool::new(false),
            routed_records: [const { AtomicU64::new(0) }; 3],
            recovered_records: AtomicU64::new(0),
            pending_records: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            reading: Arc::new(Semaphore::new(1)),
        }
    }

    /// Connects the exporter. Only the first call counts: a registry has one exporter for life.
    pub fn attach(&self, outlet: Box<dyn Outlet>) {
        let _ = self.outlet.set(outlet);
    }

    /// The exporter's name.
    pub fn exporter(&self) -> &Arc<str> {
        &self.exporter
    }

    /// What is shared with the other registries.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The queue settings of now.
    pub fn settings(&self) -> Guard<Arc<QueueSettings>> {
        self.settings.load()
    }

    /// Changes the settings; streams use them from their next batch, which may be due by them already.
    pub fn set_settings(&self, settings: QueueSettings) {
        let before = self.settings.swap(Arc::new(settings));
        let now = self.settings();
        if (before.batch, before.num_consumers) != (now.batch, now.num_consumers) {
            self.due.reconsider();
            self.for_each(Stream::wake);
        }
    }

    /// The stream of this routing key, which is made if there is none. A known stream costs no allocation.
    pub fn stream(
        self: &Arc<Self>,
        signal: Signal,
        key: &str,
        route: Option<&Arc<StreamCount>>,
    ) -> Result<Arc<Stream>, NoStream> {
        if let Some(stream) = self.streams[signal.index()].get(key) {
            return Ok(stream.clone());
        }
        let name = StreamName { signal, key: RoutingKey::written(key) };
        self.outlet.get().map_or(Ok(()), |outlet| outlet.check(&name)).map_err(NoStream::Unfit)?;
        self.make(name, route)
    }

    fn make(
        self: &Arc<Self>,
        name: StreamName,
        route: Option<&Arc<StreamCount>>,
    ) -> Result<Arc<Stream>, NoStream> {
        match self.streams[name.signal.index()].entry(name.key.as_written().clone()) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(vacant) => {
                let account = self.shared.account_of(&name);
                self.shared.join(route, account.as_deref())?;
                let journal = self.shared.journal.as_ref();
                let address = StreamAddress { exporter: self.exporter.clone(), name: name.clone() };
                let place = journal.map(|journal| JournalPlace::new(journal, &address));
                let history = self.shared.past.take(&address).unwrap_or_default();
                let stream = Stream::new(name, self.clone(), route.cloned(), account, place, history);
                let stream = Arc::new(stream);
                // Others wait for the map until this is done.
                drop(vacant.insert(stream.clone()));
                stream.log_decision("stream opened", DecisionDetails::default());
                Ok(stream)
            }
        }
    }

    /// Makes the streams that the journal had, before anything else is admitted. They count against the limits of streams, but are
    /// not refused for that, nor for templates that have no place for them: those wait for a reload.
    pub fn recover(self: &Arc<Self>, mut found: Vec<(StreamName, RecoveredStream)>) {
        // In the order in which they came to be.
        found.sort_unstable_by_key(|(_, stream)| stream.id);
        for (name, found) in found {
            let account = self.shared.account_of(&name);
            self.shared.join_anyway(None, account.as_deref());
            let place = self.shared.journal.as_ref().map(|journal| JournalPlace::again(journal, &found));
            let stream = Arc::new(Stream::new(name, self.clone(), None, account, place, History::default()));
            let details = DecisionDetails { records: Some(found.records), ..DecisionDetails::default() };
            stream.log_decision("stream opened with what the journal has of it", details);
            let (streams, key) =
                (&self.streams[stream.signal().index()], stream.name().key.as_written().clone());
            // Before anybody can find it: what is admitted comes behind.
            stream.recover(&found);
            let before = streams.insert(key, stream);
            debug_assert!(
                before.is_none(),
                "a key has one number in the journal, and is recovered before it is used"
            );
        }
    }

    /// Forgets the streams that have been idle for [`IDLE`].
    pub fn sweep(&self) {
        if let Some(before) = Instant::now().checked_sub(IDLE) {
            self.forget(before);
        }
    }

    /// Forgets every stream that holds nothing now.
    pub fn forget_idle(&self) {
        self.forget(whenever());
    }

    /// Forgets a stream that was made for a request which was then refused, unless another has used it meanwhile: it would
    /// keep its place under the limits for nothing.
    pub(super) fn abandon(&self, stream: &Stream) {
        let streams = &self.streams[stream.signal().index()];
        let gone = streams.remove_if(stream.name().key.as_written(), |_, known| {
            std::ptr::eq(&raw const **known, stream) && known.is_unused() && self.retire(known, whenever())
        });
        if let Some((_, gone)) = gone {
            log_end(&gone);
        }
    }

    fn forget(&self, before: Instant) {
        for streams in &self.streams {
            // To be logged once nobody waits for the map.
            let mut logged = Vec::new();
            streams.retain(|_, stream| {
                let gone = self.retire(stream, before);
                if gone && decision::are_logged() {
                    logged.push(stream.clone());
                }
                !gone
            });
            streams.shrink_to_fit();
            for stream in &logged {
                log_end(stream);
            }
        }
    }

    /// Lets go of a stream that has been idle since `before`, but for its history.
    fn retire(&self, stream: &Stream, before: Instant) -> bool {
        let gone = stream.retire(before);
        let history = stream.history();
        // Of one that was made for a request which was then refused there is nothing to tell.
        if gone && history != History::default() {
            self.shared.past.keep(stream.address(), history);
        }
        gone
    }

    /// Takes its streams off the limits: they wait on disk for an exporter that is not there.
    pub fn leave_limits(&self) {
        self.for_each(|stream| stream.leave_limits());
    }

    /// Has its streams count again.
    pub fn join_limits(&self) {
        self.for_each(|stream| stream.join_limits());
    }

    /// From now on batches are sent as soon as their stream is free, whatever their size and age.
    pub fn flush(&self) {
        self.flushing.store(true, Ordering::Release);
        self.for_each(Stream::wake);
    }

    /// From now on batches wait again until they are full or old enough.
    pub fn end_flush(&self) {
        self.flushing.store(false, Ordering::Release);
    }

    pub(super) fn is_flushing(&self) -> bool {
        self.flushing.load(Ordering::Acquire)
    }

    /// Looks at what is known at a glance of every live stream, in no order: a million take some milliseconds, in which no
    /// request waits. Streams that begin or end meanwhile are found or not.
    pub fn scan(&self, mut look: impl FnMut(ScannedStream<'_>)) {
        self.figures.scan(|stream| {
            look(stream);
            ControlFlow::Continue(())
        });
    }

    /// The same, until `look` has found enough.
    pub fn scan_until(&self, look: impl FnMut(ScannedStream<'_>) -> ControlFlow<()>) {
        self.figures.scan(look);
    }

    /// The live stream of this name, if there is one.
    pub fn find(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.streams[name.signal.index()].get(name.key.as_written()).map(|stream| stream.clone())
    }

    /// Live streams of which the upstream has taken nothing since an attempt failed.
    pub fn failing_streams(&self) -> usize {
        self.figures.failing()
    }

    /// Live streams with an attempt under way that has not been answered for long.
    pub fn unanswered_streams(&self) -> usize {
        self.figures.unanswered()
    }

    /// Live streams that have something to send and are held.
    pub fn held_streams(&self) -> usize {
        self.figures.held()
    }

    pub(super) fn figures(&self) -> &Arc<FigureTable> {
        &self.figures
    }

    /// Looks at every live stream, and takes its time: what all of them together come to is counted, and found by
    /// [`Registry::scan`].
    pub fn for_each(&self, mut look: impl FnMut(&Arc<Stream>)) {
        for stream in self.streams.iter().flatten() {
            look(&stream);
        }
    }

    /// Live streams.
    pub fn len(&self) -> usize {
        self.streams.iter().map(DashMap::len).sum()
    }

    /// Whether there are no live streams.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records that routes have sent here, admitted or shed.
    pub fn routed_records(&self, signal: Signal) -> u64 {
        self.routed_records[signal.index()].load(Ordering::Relaxed)
    }

    /// Counts records that a route sent here and for which there was no room: as pending, until what is returned is dropped
    /// because they have ended.
    pub fn count_shed(self: &Arc<Self>, shed: &Shed) -> Ending {
        let (name, records, bytes) = (&shed.name, shed.records, shed.bytes.len() as u64);
        let account = name.key.tenant().map(|tenant| self.shared.tenants.account(tenant));
        self.count_routed(account.as_deref(), name.signal, records, bytes);
        Ending { registry: self.clone(), account, records, bytes }
    }

    /// Records that have not ended.
    pub fn pending_records(&self) -> u64 {
        self.pending_records.load(Ordering::Acquire)
    }

    /// Framed bytes that have not ended.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Acquire)
    }

    /// When the oldest entry that is not settled was admitted.
    pub fn oldest(&self) -> Option<Instant> {
        if self.pending_bytes() == 0 {
            return None;
        }
        let mut oldest: Option<u64> = None;
        self.scan(|stream| oldest = [oldest, stream.oldest_micros()].into_iter().flatten().min());
        oldest.map(|micros| self.figures.moment(micros))
    }

    pub(super) fn reading(&self) -> &Arc<Semaphore> {
        &self.reading
    }

    pub(super) fn start(&self, stream: Arc<Stream>) {
        self.outlet.get().expect("entries are admitted only once an exporter is attached").start(stream);
    }

    /// Has a stream look again at its batch that is being filled, whose first entry was admitted then, when that is due.
    pub(super) fn look_again_at(self: &Arc<Self>, opened: Instant, stream: Arc<Stream>) {
        if self.due.add(opened, stream) {
            let registry = self.clone();
            tokio::spawn(async move {
                let age = || registry.settings().batch.flush_timeout;
                registry.due.watch(age, |stream| stream.wake_as_scheduled()).await;
            });
        }
    }

    /// Entries in memory, for which so many bytes were `reserved` on the budget; what was allocated for them are `memory` bytes.
    pub(super) fn admitted(
        &self,
        stream: &Stream,
        Amount { bytes, records }: Amount,
        reserved: u64,
        memory: u64,
    ) {
        self.count_routed(stream.account().map(Arc::as_ref), stream.signal(), records, bytes);
        if memory >= reserved {
            self.shared.budget.charge(memory - reserved);
        } else {
            self.shared.budget.release(reserved - memory);
        }
    }

    fn count_routed(&self, account: Option<&TenantAccount>, signal: Signal, records: u64, bytes: u64) {
        if let Some(account) = account {
            account.totals().count_routed(signal, records, bytes);
        }
        self.routed_records[signal.index()].fetch_add(records, Ordering::Relaxed);
        self.pending_records.fetch_add(records, Ordering::AcqRel);
        self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn count_ended(&self, account: Option<&TenantAccount>, records: u64, bytes: u64) {
        self.pending_records.fetch_sub(records, Ordering::AcqRel);
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(account) = account {
            account.totals().count_no_more_pending(records, bytes);
        }
    }

    pub(super) fn count_withdrawn(&self, name: &StreamName, records: u64) {
        if let Some(outlet) = self.outlet.get() {
            outlet.count_withdrawn(name, records);
        }
    }

    pub(super) fn count_lost(&self, name: &StreamName, records: u64) {
        if let Some(outlet) = self.outlet.get() {
            outlet.count_lost(name, records);
        }
    }

    /// Records of before this process, which the journal had.
    pub fn recovered_records(&self) -> u64 {
        self.recovered_records.load(Ordering::Relaxed)
    }

    pub(super) fn recovered(&self, stream: &Stream, Amount { bytes, records }: Amount) {
        if let Some(account) = stream.account() {
            account.totals().count_recovered(stream.signal(), records, bytes);
        }
        self.recovered_records.fetch_add(records, Ordering::Relaxed);
        self.pending_records.fetch_add(records, Ordering::AcqRel);
        self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Entries that stay on disk, for which so many bytes were `reserved` on the budget.
    pub(super) fn admitted_on_disk(&self, stream: &Stream, Amount { bytes, records }: Amount, reserved: u64) {
        self.count_routed(stream.account().map(Arc::as_ref), stream.signal(), records, bytes);
        self.shared.budget.release(reserved);
    }

    pub(super) fn ended(&self, stream: &Stream, Amount { bytes, records }: Amount) {
        self.count_ended(stream.account().map(Arc::as_ref), records, bytes);
    }
}
