//! The parts of a request by tenants, so that the outcome of each part is counted for its tenant as well.
//!
//! An entry is in the part of its tenant. One that has none, such as one that names a tenant that its sender may not send for,
//! is in that of its sender's tenant, where the receiver knows its senders; else it counts for no tenant.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::caller::Caller;
use super::owner::Owner;
use crate::outcome::Outcome;
use crate::tenants::{TenantAccount, Tenants};
use otlp::{self, Entry, Signal};

/// Up to this many parts are searched one by one.
const FEW: usize = 8;

/// The parts of a request, each of one tenant.
#[derive(Debug)]
pub(super) struct TenantParts {
    /// Records of all valid entries of the request, whoever they belong to.
    records: u64,
    parts: SmallVec<[TenantPart; 1]>,
    /// Where each part is, once there are more than a few.
    by_id: HashMap<Arc<str>, usize>,
    /// The part that was last added to: the next entry is in the same one, mostly.
    last: usize,
}

/// The part of a request that belongs to one tenant.
#[derive(Debug)]
struct TenantPart {
    account: Arc<TenantAccount>,
    /// Records of valid entries.
    records: u64,
    bytes: u64,
    /// Those of `records` that no stream takes.
    rejected: u64,
    /// Those of `records` that a configured policy drops or makes dead letters.
    dropped: u64,
    /// Records that are not valid, beside `records`.
    invalid: u64,
}

impl TenantParts {
    /// The parts of a request with so many records, to which its entries are added one by one.
    pub(super) fn new(records: u64) -> Self {
        Self { records, parts: SmallVec::new(), by_id: HashMap::new(), last: 0 }
    }

    /// The parts of a request that is not split: all of it is in the part of its sender's tenant.
    pub(super) fn unread(tenants: &Tenants, caller: &Caller, records: u64) -> Self {
        let mut parts = Self::new(records);
        if let Some(part) = parts.of_sender(tenants, caller) {
            parts.parts[part].records = records;
        }
        parts
    }

    /// Records of all valid entries of the request.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds an entry, and returns which part it is in.
    pub(super) fn add(
        &mut self,
        tenants: &Tenants,
        caller: &Caller,
        owner: &Owner<'_>,
        entry: &Entry<'_>,
    ) -> Option<usize> {
        let part = match owner.id() {
            Some(id) => self.of(tenants, id),
            None => self.of_sender(tenants, caller)?,
        };
        self.parts[part].records += entry.records;
        self.parts[part].bytes += otlp::frame_len(entry.bytes.len()) as u64;
        Some(part)
    }

    /// Adds entries of which nothing else is asked, since their request is refused.
    pub(super) fn add_all(
        &mut self,
        tenants: &Tenants,
        caller: &Caller,
        owners: &[Owner<'_>],
        entries: &[Entry<'_>],
    ) {
        for (owner, entry) in owners.iter().zip(entries) {
            self.add(tenants, caller, owner, entry);
        }
    }

    /// The part of the sender's tenant, where the receiver knows its senders.
    pub(super) fn of_sender(&mut self, tenants: &Tenants, caller: &Caller) -> Option<usize> {
        caller.identity().map(|identity| self.of(tenants, &identity.tenant.id))
    }

    /// The part of a tenant, which is made if there is none.
    fn of(&mut self, tenants: &Tenants, id: &str) -> usize {
        self.last = self.find(id).unwrap_or_else(|| {
            let (account, part) = (tenants.account(id), self.parts.len());
            if part == FEW {
                let ids = self.parts.iter().map(|part| part.account.id().clone());
                self.by_id = ids.zip(0..).collect();
            }
            if part >= FEW {
                self.by_id.insert(account.id().clone(), part);
            }
            self.parts.push(TenantPart {
                account,
                records: 0,
                bytes: 0,
                rejected: 0,
                dropped: 0,
                invalid: 0,
            });
            part
        });
        self.last
    }

    fn find(&self, id: &str) -> Option<usize> {
        let is_of = |part: &TenantPart| **part.account.id() == *id;
        if self.parts.get(self.last).is_some_and(is_of) {
            Some(self.last)
        } else if self.by_id.is_empty() {
            self.parts.iter().position(is_of)
        } else {
            self.by_id.get(id).copied()
        }
    }

    /// Notes that no stream takes records of a part.
    pub(super) fn reject(&mut self, part: Option<usize>, records: u64) {
        if let Some(part) = part {
            self.parts[part].rejected += records;
        }
    }

    /// Notes that a configured policy drops records of a part, or makes dead letters of them.
    pub(super) fn drop_records(&mut self, part: Option<usize>, records: u64) {
        if let Some(part) = part {
            self.parts[part].dropped += records;
        }
    }

    /// Notes records that are not valid.
    pub(super) fn cut_out(&mut self, part: Option<usize>, records: u64) {
        if let Some(part) = part {
            self.parts[part].invalid += records;
        }
    }

    /// Counts a request all of whose records have the same outcome.
    pub(super) fn count(&self, signal: Signal, outcome: Outcome) {
        for TenantPart { account, records, bytes, .. } in &self.parts {
            account.totals().count_bytes(signal, *bytes);
            account.totals().count_received(signal, outcome, *records);
            if outcome == Outcome::Refused {
                account.totals().count_refused_request();
            }
        }
    }

    /// Counts a request of which all is taken that was neither rejected nor dropped.
    pub(super) fn count_taken(&self, signal: Signal) {
        for TenantPart { account, records, bytes, rejected, dropped, invalid } in &self.parts {
            debug_assert!(
                rejected + dropped <= *records,
                "each record of a part is rejected or dropped once"
            );
            let totals = account.totals();
            totals.count_bytes(signal, *bytes);
            totals.count_received(signal, Outcome::Accepted, records - rejected - dropped);
            totals.count_received(signal, Outcome::Rejected, rejected + invalid);
            totals.count_received(signal, Outcome::Dropped, *dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_has_one_part_however_many_there_are_and_in_whatever_order_they_come() {
        let tenants = Tenants::default();
        let mut parts = TenantParts::new(0);
        for round in 0..3 {
            for number in 0..3 * FEW {
                let part = parts.of(&tenants, &format!("t{number}"));
                assert_eq!(part, number, "round {round}");
                parts.parts[part].records += 1;
            }
        }
        parts.reject(Some(0), 1);
        parts.drop_records(Some(0), 1);
        parts.cut_out(Some(0), 5);
        parts.reject(None, 1);
        parts.count_taken(Signal::Logs);
        parts.count(Signal::Traces, Outcome::Refused);
        let received = |id: &str, signal| {
            let account = tenants.account(id);
            Outcome::ALL.map(|outcome| account.totals().received(signal, outcome))
        };
        assert_eq!(received("t0", Signal::Logs), [1, 0, 6, 1]);
        assert_eq!(received("t17", Signal::Logs), [3, 0, 0, 0]);
        assert_eq!(received("t17", Signal::Traces), [0, 3, 0, 0]);
        assert_eq!(tenants.account("t17").totals().refused_requests(), 1);
    }
}
