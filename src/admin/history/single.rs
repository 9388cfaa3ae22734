//! Histories of single streams and single tenants: of a bounded number of them, since there may be a million.
//!
//! The first [`MOST`] streams, and the first [`MOST`] tenants, get a history, so that where there are few, each has one when it is first
//! asked for. A stream or tenant that begins to fail, or that a request asks for, replaces the one whose last failure or request is the
//! oldest; but a failing one does not replace one that has failed or was asked for within [`WANTED`]: while more fail than there are places,
//! those that began first keep theirs. A stream that is forgotten, as it is after a minute without data, has its history continued if it
//! comes again within [`FINE`] steps; after that the history is forgotten.
//!
//! A history takes 3 KiB and its name, which is up to 128 bytes of a tenant, and up to 5 KiB of a stream whose key has eight parts: those of
//! [`MOST`] streams and as many tenants take 6 MiB where names are short, and never more than 12 MiB. At the end of each step each stream
//! and tenant with a history is found by its name, and at most [`MOST`] others are read to find new ones, however many there are: some
//! 15 ms of work in an unoptimised build. A search by name locks a shard of the map of names for microseconds; the counts are then read
//! without a lock. The search for new ones locks such a shard as long, in which no stream or tenant can begin or end meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::rings::{FINE, HistoryRange, Ring};
use super::{HistoryStep, OF_DELIVERY, delivery_values};
use crate::admin::sample::DeliveryTotals;
use crate::utc::rfc3339;

/// The most streams, and the most tenants, that have a history.
pub(super) const MOST: usize = 1_000;

/// A history is not replaced by that of a failing stream or tenant for so long after its own last failure or the last request for it.
const WANTED: Duration = Duration::from_secs(600);

/// Histories of some of the streams, or of some of the tenants.
#[derive(Debug)]
pub(super) struct SingleHistories<Id> {
    all: HashMap<Id, SingleHistory>,
    /// Whether all subjects that existed at the last sample have a history: then one without a history has come since.
    has_all: bool,
    /// When the last step ended.
    until: SystemTime,
}

/// The history of one stream or tenant.
#[derive(Debug)]
struct SingleHistory {
    /// When the history began; nothing is known of the time before.
    began: SystemTime,
    ring: Ring<{ OF_DELIVERY.len() }>,
    /// The counts at the last sample; `None` before the first.
    counted: Option<DeliveryTotals>,
    /// When an attempt last failed, or the history was last requested; `None` if neither has happened.
    wanted: Option<Instant>,
    /// The number of samples since the last one that found the subject.
    absent: usize,
}

/// The place where streams, or tenants, are found and their counts are read.
pub(super) trait Subjects {
    /// The name of a stream or tenant.
    type Id: Clone + Eq + Hash;

    /// The counts of one; `None` if it does not exist now.
    fn totals(&self, id: &Self::Id) -> Option<DeliveryTotals>;

    /// Whether the counts of one that exists were zero when it came.
    fn counts_from_zero(&self, id: &Self::Id) -> bool;

    /// At most `most` of those that exist and are not `known`. Reads no more of the known ones than there are.
    fn others(&self, most: usize, known: impl Fn(&Self::Id) -> bool) -> Vec<Self::Id>;
}

impl<Id: Clone + Eq + Hash> SingleHistories<Id> {
    /// No histories yet; the first step ends after `began`.
    pub(super) fn new(began: SystemTime) -> Self {
        Self { all: HashMap::new(), has_all: false, until: began }
    }

    /// Adds the counts at the end of a step to each history, and begins the histories of new subjects and of those that are `failing`
    /// since the last sample.
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

    /// The counts at the last sample of a subject without a history, if they are known: zero, if it has come since.
    fn counted_before(&self, id: &Id, subjects: &impl Subjects<Id = Id>) -> Option<DeliveryTotals> {
        (self.has_all && subjects.counts_from_zero(id)).then(DeliveryTotals::default)
    }

    fn keep_failing(
        &mut self,
        step: &HistoryStep,
        subjects: &impl Subjects<Id = Id>,
        failing: impl Iterator<Item = Id>,
    ) {
        // Requests and failures are noted before another subject takes a place.
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

    /// The histories whose places a failing subject may take, the one that was wanted longest ago first.
    fn unwanted(&self) -> Vec<Id> {
        let mut unwanted: Vec<_> = self.all.iter().filter(|(_, history)| !history.is_wanted()).collect();
        unwanted.sort_unstable_by_key(|(_, history)| history.precedence());
        unwanted.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// The history of a subject that a request asks for, which begins now if there is none yet. `gone` has the counts of a subject that
    /// does not exist now.
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
    /// The history of a subject whose counts at the last sample were `before`.
    fn new(began: SystemTime, before: Option<DeliveryTotals>) -> Self {
        Self { began, ring: Ring::new(FINE), counted: before, wanted: None, absent: 0 }
    }

    /// Adds the counts at the end of a step; `None` if the subject did not exist then, and so has counted nothing since.
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

    /// The order in which histories give up their places: those that were never wanted first, then those wanted longest ago.
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
