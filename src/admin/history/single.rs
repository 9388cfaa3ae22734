//! Histories of single streams and single tenants: of a bounded number of them, since there may be a million.
//!
//! A history is kept of the first [`MOST`] that come, so that where there are few each has one when somebody first looks. A stream or
//! tenant that begins to fail, or that somebody looks at, takes the place of the one that has neither failed nor was looked at
//! for longest; a failing one not of one that did within [`WANTED`]: while more fail than there are places, those that began first keep theirs.
//! What is not there any more, as a stream is after a minute without data, goes on where it was if it comes again within
//! [`FINE`] steps, and is forgotten after that.
//!
//! A history takes 3 KiB and its name, which is up to 128 bytes of a tenant, and up to 5 KiB of a stream whose key has eight parts: those of
//! [`MOST`] streams and as many tenants take 6 MiB where names are short, and never more than 12 MiB. At the end of each step every
//! one that has a history is found by its name, and no more than [`MOST`] are looked at to find those that have come, whatever their
//! number: some 15 ms of work in an unoptimised build. To find one by its name, a shard of the map of names is locked for microseconds; what it has
//! counted is then read without a lock. To find those that have come, a part of the streams, or of the tenants, is kept for as long from beginning and ending.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::rings::{FINE, HistoryRange, Ring};
use super::{HistoryStep, OF_DELIVERY, delivery_values};
use crate::admin::sample::DeliveryTotals;
use crate::utc::rfc3339;

/// Streams, and tenants, of which there is a history.
pub(super) const MOST: usize = 1_000;

/// For so long after its last failure, and after the last look, one that fails takes no place.
const WANTED: Duration = Duration::from_secs(600);

/// Histories of some of the streams, or of the tenants.
#[derive(Debug)]
pub(super) struct SingleHistories<Id> {
    all: HashMap<Id, SingleHistory>,
    /// Whether all that were there at the last look at the counters have a history: then what has none has come since.
    has_all: bool,
    /// When the last step ended.
    until: SystemTime,
}

/// The history of one.
#[derive(Debug)]
struct SingleHistory {
    /// Nothing is known of what was before.
    began: SystemTime,
    ring: Ring<{ OF_DELIVERY.len() }>,
    /// What was counted by the last look; `None` before the first.
    counted: Option<DeliveryTotals>,
    /// When an attempt last failed, or somebody last looked; `None` if neither ever was.
    wanted: Option<Instant>,
    /// Looks at the counters, the last ones, that have not found it.
    absent: usize,
}

/// Where streams, or tenants, are found.
pub(super) trait Subjects {
    /// What names one.
    type Id: Clone + Eq + Hash;

    /// What was counted of one; `None` if it is not there now.
    fn totals(&self, id: &Self::Id) -> Option<DeliveryTotals>;

    /// Whether the counts of one that is there were zero when it came.
    fn counts_from_zero(&self, id: &Self::Id) -> bool;

    /// At most so many of those that are there and not `known`. It looks at no more of the others than are known.
    fn others(&self, most: usize, known: impl Fn(&Self::Id) -> bool) -> Vec<Self::Id>;
}

impl<Id: Clone + Eq + Hash> SingleHistories<Id> {
    /// None yet; the first step ends after `began`.
    pub(super) fn new(began: SystemTime) -> Self {
        Self { all: HashMap::new(), has_all: false, until: began }
    }

    /// Adds what was counted by the end of a step to each history, begins those of what has come, and those of what is `failing`
    /// since the last look.
    pub(super) fn add(
        &mut self,
        step: &HistoryStep,
        subjects: &impl Subjects<Id = Id>,
        failing: impl Iterator<Item = Id>,
    ) {
        self.until = step.ended;
        for (id, history) in &mut self.all {
            history.add(subjects.totals(id), step);
        }
        self.all.retain(|_, history| history.absent < FINE || history.is_wanted());
        let newcomers = subjects.others(MOST - self.all.len(), |id| self.all.contains_key(id));
        for id in newcomers {
            let Some(totals) = subjects.totals(&id) else { continue };
            let mut history = SingleHistory::new(step.began, self.counted_before(&id, subjects));
            history.add(Some(totals), step);
            self.all.insert(id, history);
        }
        self.has_all = self.all.len() < MOST;
        self.keep_failing(step, subjects, failing);
    }

    /// What one that is there and has no history had counted by the last look at the counters, if that is known: nothing, if it has come
    /// since.
    fn counted_before(&self, id: &Id, subjects: &impl Subjects<Id = Id>) -> Option<DeliveryTotals> {
        (self.has_all && subjects.counts_from_zero(id)).then(DeliveryTotals::default)
    }

    fn keep_failing(
        &mut self,
        step: &HistoryStep,
        subjects: &impl Subjects<Id = Id>,
        failing: impl Iterator<Item = Id>,
    ) {
        // Those that have a history are wanted before any other takes a place.
        let mut others = Vec::new();
        for id in failing {
            match self.all.get_mut(&id) {
                Some(history) => history.wanted = Some(Instant::now()),
                None => others.push(id),
            }
        }
        let mut places: Option<std::vec::IntoIter<Id>> = None;
        for id in others {
            let Some(totals) = subjects.totals(&id) else { continue };
            if self.all.len() >= MOST {
                let Some(unwanted) = places.get_or_insert_with(|| self.unwanted().into_iter()).next() else {
                    return;
                };
                self.all.remove(&unwanted);
                self.has_all = false;
            }
            let mut history = SingleHistory::new(step.began, None);
            history.add(Some(totals), step);
            history.wanted = Some(Instant::now());
            self.all.insert(id, history);
        }
    }

    /// Those that one which fails may take the place of, first the one that was wanted longest ago.
    fn unwanted(&self) -> Vec<Id> {
        let mut unwanted: Vec<_> = self.all.iter().filter(|(_, history)| !history.is_wanted()).collect();
        unwanted.sort_unstable_by_key(|(_, history)| history.precedence());
        unwanted.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// The history of one that somebody looks at, which begins if there is none yet. `gone` is what was counted of it, if it is not
    /// there now.
    pub(super) fn look_at(
        &mut self,
        id: &Id,
        subjects: &impl Subjects<Id = Id>,
        gone: Option<DeliveryTotals>,
    ) -> Value {
        let before = gone.or_else(|| self.counted_before(id, subjects));
        if self.all.len() >= MOST
            && !self.all.contains_key(id)
            && let Some(unwanted) =
                self.all.iter().min_by_key(|(_, history)| history.precedence()).map(|(id, _)| id.clone())
        {
            self.all.remove(&unwanted);
            self.has_all = false;
        }
        let began = if gone.is_some() { SystemTime::now() } else { self.until };
        let history = self.all.entry(id.clone()).or_insert_with(|| SingleHistory::new(began, before));
        history.wanted = Some(Instant::now());
        history.shown(self.until)
    }
}

impl SingleHistory {
    /// Of what is known to have counted so much `before`.
    fn new(began: SystemTime, before: Option<DeliveryTotals>) -> Self {
        Self { began, ring: Ring::new(FINE), counted: before, wanted: None, absent: 0 }
    }

    /// Adds what was counted by the end of a step; `None` if it was not there, and so has counted nothing since it was.
    fn add(&mut self, found: Option<DeliveryTotals>, step: &HistoryStep) {
        self.absent = if found.is_some() { 0 } else { self.absent + 1 };
        let gone = self.counted.map(DeliveryTotals::of_gone);
        let Some(now) = found.or(gone) else { return };
        for _ in 0..step.missed.min(FINE as u64) {
            self.ring.push([f32::NAN; OF_DELIVERY.len()]);
        }
        let Some(before) = self.counted.replace(now) else {
            self.began = step.ended;
            return self.ring.push([f32::NAN; OF_DELIVERY.len()]);
        };
        let before = now.counted_from(before);
        if now.failed_attempts > before.failed_attempts {
            self.wanted = Some(Instant::now());
        }
        self.ring.push(delivery_values(now, before, step.seconds));
    }

    fn is_wanted(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.elapsed() < WANTED)
    }

    /// What is first in this order gives up its place first: what was never wanted, then what was wanted longest ago.
    fn precedence(&self) -> (Option<Instant>, SystemTime) {
        (self.wanted, self.began)
    }

    fn shown(&self, until: SystemTime) -> Value {
        let range = HistoryRange::Minutes;
        json!({
            "range": range.name(),
            "step_seconds": range.step().as_secs(),
            "from": rfc3339(until - range.length()),
            "began": rfc3339(self.began),
            "series": self.ring.shown(&OF_DELIVERY),
        })
    }
}

#[cfg(test)]
mod tests;
