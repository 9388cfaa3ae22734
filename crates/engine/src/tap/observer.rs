//! The observer of admitted entries, for taps, watches and recent records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::allowance::TapAllowance;
use super::feed::{NoTap, TapFeed};
use super::recent::RecentRecords;
use crate::query::{Query, QueryError, QuerySet, QuerySight, RecordOrigin};
use crate::stream::{AdmissionObserver, AdmittedEntry, Budget, Reservation};
use crate::watches::RecordWatch;
use otlp::{Redaction, Signal};

/// The most taps at a time.
const MOST_TAPS: usize = 16;

/// `tap` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct TapSettings {
    /// The redaction of records that are shown.
    pub redaction: Redaction,
    /// Bytes of memory for recent records; 0 keeps none.
    pub recent: u64,
}

/// Looks at entries as they are admitted, for taps, watches and recent records.
#[derive(Debug)]
pub struct RecordObserver {
    /// For each signal, how often the bytes of an entry may be gone through. While nobody looks, a request only reads one of these
    /// numbers.
    most_passes: [AtomicUsize; Signal::ALL.len()],
    plan: ArcSwap<ObservationPlan>,
    /// Held while the plan changes.
    parties: Mutex<ObservingParties>,
    redaction: Arc<ArcSwap<Redaction>>,
    allowance: TapAllowance,
    recent: RecentRecords,
    budget: Arc<Budget>,
}

/// The watches and taps for which entries are looked at.
#[derive(Debug, Default)]
struct ObservingParties {
    watches: Vec<Arc<RecordWatch>>,
    taps: Vec<Arc<TapFeed>>,
}

/// The queries that are asked of an entry, compiled.
#[derive(Debug, Default)]
struct ObservationPlan {
    watches: Vec<Arc<RecordWatch>>,
    of_watches: QuerySet,
    taps: Vec<Arc<TapFeed>>,
    of_taps: QuerySet,
}

impl RecordObserver {
    /// An observer without taps and watches. Records that it keeps are reserved on `budget`. It puts the configured redaction into
    /// `redaction`, for all who show records.
    pub fn new(budget: Arc<Budget>, redaction: Arc<ArcSwap<Redaction>>) -> Self {
        Self {
            most_passes: [const { AtomicUsize::new(0) }; Signal::ALL.len()],
            plan: ArcSwap::default(),
            parties: Mutex::default(),
            redaction,
            allowance: TapAllowance::default(),
            recent: RecentRecords::new(budget.clone()),
            budget,
        }
    }

    /// Whether it has to be told of what is admitted of a signal.
    pub fn is_needed(&self, signal: Signal) -> bool {
        self.most_passes(signal) > 0
    }

    /// How often the bytes of what is admitted of a signal may be gone through, at the pace at which a request is: what is too much
    /// for a worker of the runtime has to be admitted by another thread.
    pub fn most_passes(&self, signal: Signal) -> usize {
        self.most_passes[signal.index()].load(Ordering::Relaxed)
    }

    /// Takes over the settings and watches of a configuration.
    pub fn configure(&self, settings: TapSettings, watches: Vec<Arc<RecordWatch>>) {
        self.redaction.store(settings.redaction.into());
        self.recent.set_limit(settings.recent);
        let mut parties = self.parties.lock();
        parties.watches = watches;
        self.use_parties(&parties);
    }

    /// Ends all taps, when the rights to open one may have changed.
    pub fn end_taps(&self) {
        let mut parties = self.parties.lock();
        parties.taps.drain(..).for_each(|tap| tap.end());
        self.use_parties(&parties);
    }

    /// The redaction of records that are shown.
    pub fn redaction(&self) -> Arc<Redaction> {
        self.redaction.load_full()
    }

    /// The newest records.
    pub fn recent(&self) -> &RecentRecords {
        &self.recent
    }

    /// The watches in use, in the order of the configuration.
    pub fn watches(&self) -> Vec<Arc<RecordWatch>> {
        self.parties.lock().watches.clone()
    }

    /// Reads a query of somebody who is shown the records that match: it may not name a hidden attribute.
    ///
    /// # Errors
    ///
    /// Where it is wrong, and what to write.
    pub fn read_query(&self, text: &str) -> Result<Query, QueryError> {
        let redaction = self.redaction.load();
        Query::parse_without(text, &|name| redaction.hides(name))
    }

    /// Memory for one more tap.
    pub(super) fn reserve_tap(&self) -> Result<Reservation, NoTap> {
        let mut memory = Reservation::empty(self.budget.clone());
        if memory.grow(TapFeed::MEMORY) { Ok(memory) } else { Err(NoTap::Memory) }
    }

    /// Offers records to one more tap from now on, unless as many are open as may be.
    pub(super) fn add_tap(&self, tap: Arc<TapFeed>) -> Result<(), NoTap> {
        let mut parties = self.parties.lock();
        if parties.taps.len() >= MOST_TAPS {
            return Err(NoTap::TooMany { most: MOST_TAPS });
        }
        parties.taps.push(tap);
        self.use_parties(&parties);
        Ok(())
    }

    /// Leaves taps no time.
    #[cfg(test)]
    pub(super) fn spend_allowance(&self) {
        self.allowance.spend();
    }

    /// Offers no more records to a tap.
    pub(super) fn close(&self, tap: &Arc<TapFeed>) {
        let mut parties = self.parties.lock();
        parties.taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.use_parties(&parties);
    }

    fn use_parties(&self, parties: &ObservingParties) {
        let ObservingParties { watches, taps } = parties;
        let plan = ObservationPlan {
            of_watches: QuerySet::new(watches.iter().map(|watch| watch.query())),
            of_taps: QuerySet::new(taps.iter().map(|tap| tap.query())),
            watches: watches.clone(),
            taps: taps.clone(),
        };
        let most_passes = Signal::ALL.map(|signal| {
            let keeps = usize::from(signal == Signal::Logs && self.recent.is_on());
            plan.of_watches.most_passes(signal, false) + plan.of_taps.most_passes(signal, true) + keeps
        });
        self.plan.store(Arc::new(plan));
        for (passes, most) in self.most_passes.iter().zip(most_passes) {
            passes.store(most, Ordering::Relaxed);
        }
    }
}

impl AdmissionObserver for RecordObserver {
    fn admitted(&self, signal: Signal, entry: &AdmittedEntry<'_>) {
        if signal == Signal::Logs && self.recent.is_on() {
            self.recent.keep(entry);
        }
        let plan = self.plan.load();
        let AdmittedEntry { tenant, streams, at: admitted, .. } = *entry;
        let origin = RecordOrigin { signal, tenant, streams, admitted };
        if !plan.watches.is_empty() {
            plan.of_watches.evaluate(&origin, entry.bytes, &QuerySight::EVERYTHING, &mut |watch, _| {
                plan.watches[watch].count(entry.tenant);
            });
        }
        if plan.taps.is_empty() {
            return;
        }
        let (turn, redaction) = (self.allowance.turn(), self.redaction.load());
        let sight = QuerySight { redaction: Some(&redaction), has_time: &|| turn.has_time() };
        let looked_at = plan.of_taps.evaluate(&origin, entry.bytes, &sight, &mut |tap, record| {
            plan.taps[tap].offer(record, &origin);
        });
        let left_out = entry.records.saturating_sub(looked_at.records);
        looked_at.queries.iter().for_each(|tap| plan.taps[*tap].leave_out(left_out));
    }
}
