//! A configured upstream while it runs: its streams, its settings of now, its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, error, warn};

use super::last_errors::LastErrors;
use super::tenant_row::{CredentialChoices, WithRow};
use super::{
    ExporterCounters, ExporterSettings, Fate, Holds, StreamHold, Target, TargetError, Transport,
    TransportError, UndeliveredCause,
};
use crate::dead_letters::{DeadLetter, DeadLetterPlace, DeadLetters, StoreError};
use crate::encoding::Encoding;
use crate::journal::RecoveredStream;
use crate::net::Network;
use crate::notice;
use crate::stream::{EngineState, Registry, Stream, StreamName};
use crate::tenants::{TableRow, Tenants};

/// Consumers of an exporter that begin at once. Where there are more, the exporter has more to send than it can at a time.
const FEW_CONSUMERS: usize = 1024;

/// How often a draining exporter is asked whether it is empty.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Where dead letters go, if anywhere; shared by all exporters and changed by reloads.
pub type DeadLetterBox = Arc<ArcSwapOption<DeadLetters>>;

/// One exporter. It is the same one across reloads for as long as the configuration has its name.
#[derive(Debug)]
pub struct Exporter {
    registry: Arc<Registry>,
    active: ArcSwap<Active>,
    credentials: CredentialChoices,
    holds: Holds,
    counters: ExporterCounters,
    last_errors: LastErrors,
    dead_letters: DeadLetterBox,
    /// Wakes streams that wait: the settings have changed, or the exporter is given up, suspended, paused or taken back.
    changed: Notify,
    /// How often it has.
    changes: AtomicU64,
    given_up: AtomicBool,
    suspended: AtomicBool,
    paused: AtomicBool,
    /// Consumers that have begun.
    consumers: AtomicUsize,
    /// Attempts on their way.
    attempts: AtomicUsize,
}

/// The settings of now, and what sends by them.
#[derive(Debug)]
pub struct Active {
    /// As compiled from the configuration.
    pub settings: ExporterSettings,
    /// What sends by `settings`.
    pub transport: Transport,
}

impl Active {
    /// Prepares what sends by `settings`, for the exporter of this name, which goes on from `former` if it had others.
    pub fn new(
        name: &str,
        settings: ExporterSettings,
        network: &Network,
        former: Option<&Self>,
    ) -> Result<Self, TransportError> {
        let transport = Transport::new(name, &settings, network, former.map(|former| &former.transport))?;
        Ok(Self { settings, transport })
    }
}

impl Exporter {
    /// An exporter that sends nothing yet: see [`start`](super::start).
    pub(super) fn new(
        name: Arc<str>,
        active: Active,
        shared: Arc<EngineState>,
        dead_letters: DeadLetterBox,
    ) -> Self {
        let registry = Arc::new(Registry::new(name, active.settings.queue.clone(), shared));
        Self {
            registry,
            active: ArcSwap::from_pointee(active),
            credentials: CredentialChoices::default(),
            holds: Holds::default(),
            counters: ExporterCounters::default(),
            last_errors: LastErrors::default(),
            dead_letters,
            changed: Notify::new(),
            changes: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            consumers: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
        }
    }

    /// Takes over what the journal had for it, whatever `limits.streams` says; it is sent before what was admitted since.
    pub fn recover(&self, found: Vec<(StreamName, RecoveredStream)>) {
        self.registry.recover(found);
    }

    /// The name in the configuration, such as `otlp_http/s2`.
    pub fn name(&self) -> &Arc<str> {
        self.registry.exporter()
    }

    /// Its streams.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its counters.
    pub fn counters(&self) -> &ExporterCounters {
        &self.counters
    }

    /// The settings of now.
    pub fn active(&self) -> Guard<Arc<Active>> {
        self.active.load()
    }

    /// The table of tenants.
    pub(super) fn tenants(&self) -> &Arc<Tenants> {
        &self.registry.shared().tenants
    }

    /// Which of several credentials of a tenant is in use.
    pub(super) fn credentials(&self) -> &CredentialChoices {
        &self.credentials
    }

    /// What is held for the answer to another stream, and what operators hold.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// What a stream of this name is held for, beside an answer of its own destination that is about it alone.
    pub fn hold_of(&self, name: &StreamName) -> Option<StreamHold> {
        self.holds.over(name).or_else(|| self.is_held_by_row(name).then_some(StreamHold::ByRow))
    }

    /// Whether the row of the tenant holds it whose stream of this name is.
    pub(super) fn is_held_by_row(&self, name: &StreamName) -> bool {
        let table = self.tenants().table();
        let row = name.key.tenant().and_then(|tenant| table.tenant(tenant));
        matches!(row, Some(TableRow::Ready(row)) if row.hold)
    }

    /// How attempts went wrong lately.
    pub fn last_errors(&self) -> &LastErrors {
        &self.last_errors
    }

    /// A stream with the row that its tenant has now.
    pub(super) fn with_row<'s>(&self, name: &'s StreamName) -> WithRow<'s, StreamName> {
        let mut with_row = WithRow::of(&self.tenants().table(), name);
        with_row.choice = self.credentials.of(with_row.row.as_ref());
        with_row
    }

    /// Forgets streams that have been idle for a while, holds that are over, and what it knew of rows of the table of tenants that
    /// are no more.
    pub fn sweep(&self) {
        self.registry.sweep();
        self.holds.sweep();
        self.credentials.forget_former(&self.tenants().table());
    }

    /// Where a stream of this name is sent now.
    pub fn target(&self, name: &StreamName) -> Result<Target, TargetError> {
        self.active().transport.target(&self.with_row(name))
    }

    /// Takes over new settings: streams use them from their next attempt, also those that wait for a retry or are held.
    pub fn reconfigure(&self, active: Active) {
        self.registry.set_settings(active.settings.queue.clone());
        self.active.store(Arc::new(active));
        // Behind that: what is let through from here on goes by the new settings.
        self.holds.lift_all();
        self.tell_changed();
    }

    /// Goes on as before it was removed, if it was: a reload has it back. What is pending even after it was given up is
    /// sent again.
    pub fn take_back(&self) {
        self.given_up.store(false, Ordering::Release);
        self.registry.end_flush();
        if self.paused.swap(false, Ordering::AcqRel) {
            self.registry.join_limits();
            self.tell_changed();
        }
    }

    /// Begins no more attempts until it is taken back: what is pending stays in the journal, and its streams don't count against
    /// any limit meanwhile.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Release);
        self.registry.leave_limits();
        self.tell_changed();
    }

    /// Whether [`Exporter::pause`] was called, and it was not taken back.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Ends waiting and sending: what is pending becomes dead letters, unless the exporter is taken back.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.registry.flush();
        self.tell_changed();
    }

    /// Begins no more attempts: what is pending stays in the journal, for the next process that [recovers](Exporter::recover)
    /// it. There is no way back.
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
        self.registry.flush();
        self.tell_changed();
    }

    /// Whether [`Exporter::suspend`] was called.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    pub(super) fn consumer_begins(&self) {
        self.consumers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn consumer_ends(&self) {
        let before = self.consumers.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only what has begun ends");
    }

    /// Whether so many consumers have begun that others wait for their turn.
    pub(super) fn has_many_consumers(&self) -> bool {
        self.consumers.load(Ordering::Relaxed) >= FEW_CONSUMERS
    }

    /// Counts an attempt for as long as what is returned lives.
    pub(super) fn attempting(&self) -> Attempting<'_> {
        self.attempts.fetch_add(1, Ordering::AcqRel);
        Attempting(&self.attempts)
    }

    /// Waits until no attempt is on its way, until `deadline` at most: what an upstream has taken is not sent again.
    pub async fn quiet(&self, deadline: Instant) -> bool {
        let ask = async {
            while self.attempts.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::time::timeout_at(deadline, ask).await.is_ok()
    }

    /// Waits until nothing is pending, until `deadline` at most; returns whether that is so.
    pub async fn drained(&self, deadline: Instant) -> bool {
        // Batches settle by the thousand; asking now and then is cheaper than each of them telling.
        let ask = async {
            while self.registry.pending_bytes() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::time::timeout_at(deadline, ask).await.is_ok()
    }

    /// Whether it has neither streams nor anything else that is pending.
    pub fn is_empty(&self) -> bool {
        self.registry.is_empty() && self.registry.pending_bytes() == 0
    }

    /// Whether [`Exporter::give_up`] was called, and it was not taken back.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether what this stream holds is to be ended without another attempt.
    pub(super) fn gives_up(&self, stream: &Stream) -> bool {
        self.is_given_up() || stream.is_given_up()
    }

    /// Wakes those who wait when it has changed.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// How often it has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn tell_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Ends records for good that were not delivered: into the dead-letter directory where there is one, counted
    /// and logged in any case, with the `target` that has refused them. Returns how they have ended.
    pub async fn dead_letter(
        &self,
        name: &StreamName,
        bytes: Vec<Bytes>,
        records: u64,
        reason: &str,
        cause: UndeliveredCause,
        target: Option<&Target>,
    ) -> Fate {
        let signal = name.signal;
        let letter = DeadLetter {
            exporter: Some(self.name().to_string()),
            signal,
            encoding: Encoding::Proto,
            key: Some(name.key.clone()),
            origin: None,
            reason: reason.to_owned(),
            records,
            bytes,
            time: SystemTime::now(),
        };
        // The turn is kept until the letter is counted.
        let (fate, _turn) = match self.dead_letters.load_full() {
            None => (Fate::Rejected, None),
            Some(directory) => {
                let turn = directory.turn(letter.exporter.as_deref()).await;
                (fate_of(directory.store_in(&turn, letter).await), Some(turn))
            }
        };
        if fate == Fate::DeadLettered {
            self.counters.count_letter();
        }
        // `shed` is a written policy: what it cuts out is dropped, not refused by anybody.
        let fate =
            if fate == Fate::Rejected && cause == UndeliveredCause::Shed { Fate::Dropped } else { fate };
        self.ended(name, fate, records, reason, cause, target);
        fate
    }

    /// Ends records as withdrawn: nobody waits for them any more, and whoever sent them is to send them again.
    pub(super) fn withdraw(&self, name: &StreamName, records: u64) {
        let reason = "withdrawn: not delivered in time, retries used up, or the sender has gone; the sender has to send them again";
        self.drop_records(name, records, reason, UndeliveredCause::Withdrawn, None);
    }

    /// Ends records as dropped, without a dead letter, with the `target` that has refused them.
    pub fn drop_records(
        &self,
        name: &StreamName,
        records: u64,
        reason: &str,
        cause: UndeliveredCause,
        target: Option<&Target>,
    ) {
        self.ended(name, Fate::Dropped, records, reason, cause, target);
    }

    /// Counts and logs records that were not delivered.
    fn ended(
        &self,
        name: &StreamName,
        fate: Fate,
        records: u64,
        reason: &str,
        cause: UndeliveredCause,
        target: Option<&Target>,
    ) {
        let signal = name.signal;
        if cause == UndeliveredCause::Withdrawn {
            self.counters.count_withdrawn(signal, records);
            self.count_of_tenant(name, fate, records);
        } else {
            self.count(name, fate, records);
        }
        let outcome = cause.outcome(fate);
        debug!(
            exporter = %self.name(), %signal, key = &*name.key.text(), tenant = name.key.tenant(), records, outcome,
            "records ended undelivered: {reason}"
        );
        if let Some(suppressed) = notice::due_for_one_of_many(&(self.name(), signal, &name.key), cause.name())
        {
            let target = target.map(display);
            warn!(
                exporter = %self.name(), %signal, key = &*name.key.text(), tenant = name.key.tenant(), target, records,
                outcome, suppressed,
                "records not delivered: {reason}"
            );
        }
    }

    /// Counts records of a stream of this name that have ended.
    pub(super) fn count(&self, name: &StreamName, fate: Fate, records: u64) {
        self.counters.count(name.signal, fate, records);
        self.count_of_tenant(name, fate, records);
    }

    fn count_of_tenant(&self, name: &StreamName, fate: Fate, records: u64) {
        if let Some(tenant) = name.key.tenant() {
            self.tenants().account(tenant).totals().count_ended(name.signal, fate, records);
        }
    }
}

/// An attempt on its way.
#[derive(Debug)]
pub(super) struct Attempting<'e>(&'e AtomicUsize);

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Stores a dead letter at a place that was taken for it, and says what became of its records.
pub async fn store_dead_letter_at(
    directory: &DeadLetters,
    place: DeadLetterPlace,
    letter: DeadLetter,
) -> Fate {
    fate_of(directory.store_at(place, letter).await)
}

fn fate_of(stored: Result<(), StoreError>) -> Fate {
    match stored {
        Ok(()) => Fate::DeadLettered,
        Err(problem) => {
            if let Some(suppressed) = notice::due("dead_letter", "store") {
                error!(suppressed, "dead letter dropped: {problem}");
            }
            Fate::Dropped
        }
    }
}
