//! The outcomes of a request's records.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::parts::TenantParts;
use super::remarks::{RemarkCause, Remarks};
use crate::stream::{Loss, Shed};

/// The outcomes of a request's entries.
#[derive(Debug, Default)]
pub(super) struct RequestTally {
    /// The entries that were placed, in their order.
    pub(super) placed: SmallVec<[PlacedEntry; 8]>,
    /// Records that `unrouted: drop` dropped, of which the sender is told nothing.
    pub(super) unrouted: u64,
    /// Records that no route takes and `unrouted: dead_letter` makes dead letters.
    pub(super) unrouted_letters: u64,
    /// Records whose tenant is not in the table and `unknown: dead_letter` makes dead letters.
    pub(super) unknown_letters: u64,
    /// Records that all of their streams shed.
    pub(super) shed: u64,
    /// Records that no stream delivered, although at least one did not shed them.
    undelivered: u64,
}

/// An entry that was placed in at least one stream.
#[derive(Debug)]
pub(super) struct PlacedEntry {
    /// Its position among the request's valid entries, after partitioning.
    pub(super) position: usize,
    /// Its position among the entries of the request as it came. Several may have been one entry there.
    pub(super) index: usize,
    pub(super) records: u64,
    /// The number of streams that it was placed in.
    pub(super) streams: usize,
    /// The position of the tenant's part that it is in.
    pub(super) part: Option<usize>,
}

/// The records of one entry that were shed or not delivered, by exporter and routing key of the stream.
#[derive(Default)]
struct UntakenEntry<'a> {
    by_stream: HashMap<(&'a str, &'a str), u64>,
    shed: Option<&'a Shed>,
    loss: Option<&'a Loss>,
}

impl RequestTally {
    /// Records without an exporter that a configured policy dropped or made dead letters.
    pub(super) fn without_exporter(&self) -> u64 {
        self.unrouted + self.unrouted_letters + self.unknown_letters
    }

    /// Records that were placed.
    pub(super) fn placed(&self) -> u64 {
        self.placed.iter().map(|placed| placed.records).sum()
    }

    /// Records that at least one exporter has taken.
    pub(super) fn accepted(&self) -> u64 {
        self.placed() - self.shed - self.undelivered
    }

    /// The tenant's part that a placed entry is in.
    pub(super) fn part_of(&self, index: usize) -> Option<usize> {
        let at = self.placed.binary_search_by_key(&index, |placed| placed.index).ok()?;
        self.placed[at].part
    }

    /// Adds what was shed and what was not delivered. A record that one of its streams has taken was accepted; which
    /// records an upstream has rejected is not known, so that of an entry as many are lost as by the stream that lost the
    /// fewest.
    pub(super) fn lose(
        &mut self,
        sheds: &[Shed],
        losses: &[Loss],
        parts: &mut TenantParts,
        remarks: &mut Remarks,
    ) {
        if sheds.is_empty() && losses.is_empty() {
            return;
        }
        // An entry that was split for size has an outcome for each piece.
        let mut by_entry: HashMap<usize, UntakenEntry<'_>> = HashMap::new();
        for shed in sheds {
            let untaken = by_entry.entry(shed.index).or_default();
            untaken.add(shed.registry.exporter(), shed.name.key.as_written(), shed.records);
            untaken.shed.get_or_insert(shed);
        }
        for loss in losses {
            let untaken = by_entry.entry(loss.index).or_default();
            untaken.add(&loss.exporter, loss.name.key.as_written(), loss.records);
            // A warning alone says less than a loss.
            if untaken.loss.is_none_or(|known| known.records == 0) {
                untaken.loss = Some(loss);
            }
        }
        for PlacedEntry { position, index, records, streams, part } in &self.placed {
            let Some(untaken) = by_entry.get(position) else { continue };
            let least = untaken.by_stream.values().min().copied().unwrap_or_default();
            let lost = if untaken.by_stream.len() >= *streams { least.min(*records) } else { 0 };
            let (mut shed_lost, mut undelivered) = (0, lost);
            if untaken.loss.is_none() {
                (shed_lost, undelivered) = (lost, 0);
            }
            self.shed += shed_lost;
            self.undelivered += undelivered;
            parts.drop_records(*part, shed_lost);
            parts.reject(*part, undelivered);
            if let Some(Shed { registry, full, .. }) = untaken.shed {
                let remark = format_args!("entry {index} was shed by `{}`: {full}", registry.exporter());
                remarks.add(RemarkCause::Shed, shed_lost, remark);
            }
            if let Some(Loss { exporter, records, reason, .. }) = untaken.loss {
                let said = if *records > 0 { "was not delivered by" } else { "was delivered, says" };
                let remark = format_args!("entry {index} {said} `{exporter}`: {reason}");
                remarks.add(RemarkCause::Undelivered, undelivered, remark);
            }
        }
    }
}

impl<'a> UntakenEntry<'a> {
    fn add(&mut self, exporter: &'a str, key: &'a str, records: u64) {
        *self.by_stream.entry((exporter, key)).or_default() += records;
    }
}
