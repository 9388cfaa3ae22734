//! What is done with entries as they are admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::allowance::TapAllowance;
use super::reader::{NoTap, Tap, TapReader};
use super::recent::RecentRecords;
use crate::otlp::{Redaction, Signal};
use crate::query::{Query, QueryError, QuerySet, RecordOrigin};
use crate::stream::{AdmissionObserver, AdmittedEntry, Budget, Reservation};
use crate::watches::RecordWatch;

/// The most taps at a time.
const MOST_TAPS: usize = 16;

/// `tap` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct TapSettings {
    /// What is not shown.
    pub redaction: Redaction,
    /// Bytes of memory for recent records; 0 keeps none.
    pub recent: u64,
}

/// Looks at entries as they are admitted, for taps, watches and recent records.
#[derive(Debug)]
pub struct RecordObserver {
    /// For which signals there is anything to be done: all that a request costs while nobody looks is to read one of these.
    is_needed: [AtomicBool; Signal::ALL.len()],
    plan: ArcSwap<ObservationPlan>,
    /// Held while the plan changes.
    parties: Mutex<ObservingParties>,
    redaction: ArcSwap<Redaction>,
    allowance: TapAllowance,
    recent: RecentRecords,
    budget: Arc<Budget>,
}

/// Those for whom entries are looked at.
#[derive(Debug, Default)]
struct ObservingParties {
    watches: Vec<Arc<RecordWatch>>,
    taps: Vec<Arc<Tap>>,
}

/// What is asked of an entry: the queries of the watches, and then those of the taps.
#[derive(Debug, Default)]
struct ObservationPlan {
    queries: QuerySet,
    watches: Vec<Arc<RecordWatch>>,
    taps: Vec<Arc<Tap>>,
}

impl RecordObserver {
    /// One for which nobody looks; what is kept is reserved on `budget`.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            is_needed: [const { AtomicBool::new(false) }; Signal::ALL.len()],
            plan: ArcSwap::default(),
            parties: Mutex::default(),
            redaction: ArcSwap::default(),
            allowance: TapAllowance::default(),
            recent: RecentRecords::new(budget.clone()),
            budget,
        }
    }

    /// Whether it has to be told of what is admitted of a signal.
    pub fn is_needed(&self, signal: Signal) -> bool {
        self.is_needed[signal.index()].load(Ordering::Relaxed)
    }

    /// Takes what a configuration says.
    pub fn configure(&self, settings: TapSettings, watches: Vec<Arc<RecordWatch>>) {
        self.redaction.store(settings.redaction.into());
        self.recent.set_limit(settings.recent);
        let mut parties = self.parties.lock();
        parties.watches = watches;
        self.use_parties(&parties);
    }

    /// Ends all taps: who may look is decided anew.
    pub fn end_taps(&self) {
        let mut parties = self.parties.lock();
        parties.taps.drain(..).for_each(|tap| tap.end());
        self.use_parties(&parties);
    }

    /// What is not shown.
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

    /// A query that is to be shown something: it may not name what is hidden.
    ///
    /// # Errors
    ///
    /// Where it is wrong, and what to write.
    pub fn read_query(&self, text: &str) -> Result<Query, QueryError> {
        let query = Query::parse(text)?;
        let redaction = self.redaction.load();
        if let Some(hidden) = query.attributes().into_iter().find(|name| redaction.hides(name)) {
            let before = text.find(hidden).map_or(0, |at| text[..at].chars().count());
            let message = "this attribute is hidden by `tap.redact`: look for something else".to_owned();
            return Err(QueryError { column: before + 1, message });
        }
        Ok(query)
    }

    /// Opens a tap that is shown at most `limit` records in a second.
    ///
    /// # Errors
    ///
    /// Why there can be none now.
    pub fn tap(self: &Arc<Self>, query: &Query, limit: u32) -> Result<TapReader, NoTap> {
        let mut memory = Reservation::empty(self.budget.clone());
        if !memory.grow(Tap::MEMORY) {
            return Err(NoTap::Memory);
        }
        let mut parties = self.parties.lock();
        if parties.taps.len() >= MOST_TAPS {
            return Err(NoTap::TooMany { most: MOST_TAPS });
        }
        let (tap, reader) = Tap::open(query, limit, memory, self.clone());
        parties.taps.push(tap);
        self.use_parties(&parties);
        Ok(reader)
    }

    /// Forgets a tap.
    pub(super) fn close(&self, tap: &Arc<Tap>) {
        let mut parties = self.parties.lock();
        parties.taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.use_parties(&parties);
    }

    fn use_parties(&self, parties: &ObservingParties) {
        let ObservingParties { watches, taps } = parties;
        let queries = watches.iter().map(|watch| watch.query()).chain(taps.iter().map(|tap| tap.query()));
        let (queries, watches, taps) = (QuerySet::new(queries), watches.clone(), taps.clone());
        let is_needed = Signal::ALL
            .map(|signal| queries.can_match(signal) || (signal == Signal::Logs && self.recent.is_on()));
        self.plan.store(Arc::new(ObservationPlan { queries, watches, taps }));
        for (flag, is_needed) in self.is_needed.iter().zip(is_needed) {
            flag.store(is_needed, Ordering::Relaxed);
        }
    }
}

impl AdmissionObserver for RecordObserver {
    fn admitted(&self, signal: Signal, entry: &AdmittedEntry<'_>) {
        if signal == Signal::Logs && self.recent.is_on() {
            self.recent.keep(entry);
        }
        let plan = self.plan.load();
        let watches = plan.watches.len();
        let for_taps = !plan.taps.is_empty() && self.allowance.has_time();
        if !for_taps {
            plan.taps.iter().for_each(|tap| tap.leave_out(entry.records));
        }
        let among = 0..if for_taps { plan.queries.len() } else { watches };
        if among.is_empty() {
            return;
        }
        let begun = for_taps.then(Instant::now);
        let origin = RecordOrigin { signal, tenant: entry.tenant, streams: entry.streams };
        plan.queries.evaluate(
            among,
            &origin,
            entry.bytes,
            &mut |query, record| match plan.watches.get(query) {
                Some(watch) => watch.count(entry.tenant),
                None => plan.taps[query - watches].offer(record, &origin),
            },
        );
        if let Some(begun) = begun {
            self.allowance.spend(begun.elapsed());
        }
    }
}
