//! What the streams of one exporter share.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::due_times::DueTimes;
use super::engine_state::EngineState;
use super::figures::{FigureTable, ScannedStream};
use super::queue::Volume;
use super::{QueueSettings, StreamName};
use crate::tenants::TenantAccount;
use otlp::Signal;

/// What streams, which are of type `S`, need of the exporter that sends for them.
pub trait Outlet<S>: Send + Sync + std::fmt::Debug {
    /// Whether the exporter could send for a stream of this name: a template may not be able to take its values.
    fn check(&self, name: &StreamName) -> Result<(), String>;

    /// Starts one more consumer, which takes batches by [`InFlight::take`](super::InFlight::take) until there are none.
    fn start(&self, stream: Arc<S>);

    /// Counts records of a stream of this name that were withdrawn before anybody attempted to send them.
    fn count_withdrawn(&self, name: &StreamName, records: u64);

    /// Counts records of a stream of this name that its journal has lost.
    fn count_lost(&self, name: &StreamName, records: u64);
}

/// What the streams of one exporter share, which are of type `S`: its name, the settings of their queues, what they hold together.
#[derive(Debug)]
pub struct StreamContext<S> {
    exporter: Arc<str>,
    settings: ArcSwap<QueueSettings>,
    shared: Arc<EngineState>,
    outlet: OnceLock<Box<dyn Outlet<S>>>,
    figures: Arc<FigureTable>,
    /// Streams with a batch that is being filled.
    due: DueTimes<Arc<S>>,
    /// A place to read a batch of a backlog into that no other exporter can take.
    reading: Arc<Semaphore>,
    flushing: AtomicBool,
    routed_records: [AtomicU64; 3],
    recovered_records: AtomicU64,
    pending_records: AtomicU64,
    pending_bytes: AtomicU64,
}

impl<S> StreamContext<S> {
    pub(super) fn new(exporter: Arc<str>, settings: QueueSettings, shared: Arc<EngineState>) -> Self {
        Self {
            exporter,
            settings: ArcSwap::from_pointee(settings),
            figures: Arc::new(FigureTable::new(shared.began.0)),
            shared,
            outlet: OnceLock::new(),
            due: DueTimes::default(),
            reading: Arc::new(Semaphore::new(1)),
            flushing: AtomicBool::new(false),
            routed_records: [const { AtomicU64::new(0) }; 3],
            recovered_records: AtomicU64::new(0),
            pending_records: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
        }
    }

    /// Connects the exporter; nothing is sent before. Only the first call counts.
    pub fn attach(&self, outlet: Box<dyn Outlet<S>>) {
        let _ = self.outlet.set(outlet);
    }

    /// The exporter's name.
    pub fn exporter(&self) -> &Arc<str> {
        &self.exporter
    }

    /// What is shared with the streams of other exporters.
    pub fn shared(&self) -> &EngineState {
        &self.shared
    }

    /// The queue settings of now.
    pub fn settings(&self) -> Guard<Arc<QueueSettings>> {
        self.settings.load()
    }

    /// Replaces the settings. Returns whether a batch may be due by them that was not before.
    pub(super) fn replace_settings(&self, settings: QueueSettings) -> bool {
        let (batch, consumers) = (settings.batch, settings.num_consumers);
        let before = self.settings.swap(Arc::new(settings));
        let may_be_due = (before.batch, before.num_consumers) != (batch, consumers);
        if may_be_due {
            self.due.reconsider();
        }
        may_be_due
    }

    /// Says whether batches are sent as soon as their stream is free, whatever their size and age.
    pub(super) fn set_flushing(&self, flushing: bool) {
        self.flushing.store(flushing, Ordering::Release);
    }

    pub(super) fn is_flushing(&self) -> bool {
        self.flushing.load(Ordering::Acquire)
    }

    pub(super) fn reading(&self) -> &Arc<Semaphore> {
        &self.reading
    }

    pub(super) fn figures(&self) -> &Arc<FigureTable> {
        &self.figures
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

    /// When the oldest entry that is not settled was admitted.
    pub fn oldest(&self) -> Option<Instant> {
        if self.pending_bytes() == 0 {
            return None;
        }
        let mut oldest: Option<u64> = None;
        self.scan(|stream| oldest = [oldest, stream.oldest_micros()].into_iter().flatten().min());
        oldest.map(|micros| self.figures.moment(micros))
    }

    /// Records that routes have sent here, admitted or shed.
    pub fn routed_records(&self, signal: Signal) -> u64 {
        self.routed_records[signal.index()].load(Ordering::Relaxed)
    }

    /// Records of before this process, which the journal had.
    pub fn recovered_records(&self) -> u64 {
        self.recovered_records.load(Ordering::Relaxed)
    }

    /// Records that have not ended.
    pub fn pending_records(&self) -> u64 {
        self.pending_records.load(Ordering::Acquire)
    }

    /// Framed bytes that have not ended.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Acquire)
    }

    /// Whether the exporter could send for a stream of this name, or why not.
    pub(super) fn check(&self, name: &StreamName) -> Result<(), String> {
        self.outlet.get().map_or(Ok(()), |outlet| outlet.check(name))
    }

    /// Starts one more consumer of a stream.
    pub(super) fn start(&self, stream: Arc<S>) {
        self.outlet.get().expect("entries are admitted only once an exporter is attached").start(stream);
    }

    /// Has a stream `wake` when its batch that is being filled is due, whose first entry was admitted then.
    pub(super) fn wake_when_due(self: &Arc<Self>, opened: Instant, stream: Arc<S>, wake: fn(&Arc<S>))
    where
        S: Send + Sync + 'static,
    {
        if self.due.add(opened, stream) {
            let context = self.clone();
            tokio::spawn(async move {
                let age = || context.settings().batch.flush_timeout;
                context.due.watch(age, |stream| wake(&stream)).await;
            });
        }
    }

    /// Counts what was routed to a stream with this account, if it has one, as pending.
    pub(super) fn count_routed(&self, account: Option<&TenantAccount>, signal: Signal, routed: Volume) {
        if let Some(account) = account {
            account.totals().count_routed(signal, routed.records, routed.bytes);
        }
        self.routed_records[signal.index()].fetch_add(routed.records, Ordering::Relaxed);
        self.count_pending(routed);
    }

    /// The same of what the journal had.
    pub(super) fn count_recovered(&self, account: Option<&TenantAccount>, signal: Signal, found: Volume) {
        if let Some(account) = account {
            account.totals().count_recovered(signal, found.records, found.bytes);
        }
        self.recovered_records.fetch_add(found.records, Ordering::Relaxed);
        self.count_pending(found);
    }

    fn count_pending(&self, Volume { bytes, records }: Volume) {
        self.pending_records.fetch_add(records, Ordering::AcqRel);
        self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts what was pending and has ended.
    pub(super) fn count_ended(&self, account: Option<&TenantAccount>, Volume { bytes, records }: Volume) {
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
}
