//! What all streams of a tenant hold together, see [`Quota`](crate::tenants::Quota).
//!
//! Without a journal, what a stream holds is its tenant's share of the memory. With one it is all on disk, and counts as the
//! share of the journal; of the memory then counts what is in the queue beside, and what there is no share of stays on disk
//! alone.

use std::collections::HashMap;

use super::queue::{Bound, Queue, Stream};
use super::refused::Full;
use crate::tenants::{QuotaShare, TenantLimit, TenantLimits};

/// What a request has reserved of its tenants' shares, by the address of the share.
#[derive(Debug, Default)]
pub(super) struct OwnShares(HashMap<usize, u64>);

impl OwnShares {
    fn of(&mut self, share: &QuotaShare) -> &mut u64 {
        self.0.entry(std::ptr::from_ref(share).addr()).or_default()
    }
}

impl Bound {
    /// Framed bytes that all streams of a tenant may hold, and the limit that says so.
    fn of_tenant(&self, limits: &TenantLimits) -> Option<(u64, TenantLimit)> {
        let memory = limits.memory.map(|most| (most.get(), TenantLimit::Memory));
        let journal = limits.journal.map(|most| (most.get(), TenantLimit::Journal));
        match *self {
            Self::InMemory => memory,
            Self::OnDisk { queue: false, .. } => journal,
            Self::OnDisk { queue: true, .. } => {
                [memory, journal].into_iter().flatten().min_by_key(|(most, _)| *most)
            }
        }
    }
}

impl Stream {
    /// The share that counts what the stream holds, if it is a tenant's.
    fn share(&self) -> Option<&QuotaShare> {
        let quota = self.account()?.quota();
        Some(if self.durable.is_some() { quota.journal() } else { quota.memory() })
    }

    /// Reserves `bytes` of what the stream's tenant may hold, or says why not. `empty`: the stream held nothing before.
    pub(super) fn reserve_share(
        &self,
        bytes: u64,
        bound: &Bound,
        shares: &mut OwnShares,
        empty: bool,
    ) -> Result<(), Full> {
        let (Some(account), Some(share)) = (self.account(), self.share()) else { return Ok(()) };
        let limits = self.registry().shared().tenants.limits(account.id());
        let Some((most, limit)) = bound.of_tenant(&limits) else {
            share.take(bytes);
            return Ok(());
        };
        let own = shares.of(share);
        if !share.take_within(bytes, most, *own, empty) {
            account.quota().note_refusal();
            return Err(Full::Tenant { tenant: account.id().clone(), limit });
        }
        *own += bytes;
        Ok(())
    }

    /// Takes `bytes` of what the tenant may hold that nobody has to be asked for.
    pub(super) fn hold_share(&self, bytes: u64) {
        self.share().inspect(|share| share.take(bytes));
    }

    /// Gives `bytes` back of what the tenant may hold.
    pub(super) fn let_go_share(&self, bytes: u64) {
        self.share().inspect(|share| share.give_back(bytes));
    }

    /// Whether its tenant may hold so much more in memory, beside what is on disk.
    pub(super) fn tenant_has_memory_for(&self, bytes: u64) -> bool {
        let Some(account) = self.account() else { return true };
        let limits = self.registry().shared().tenants.limits(account.id());
        let held = account.quota().memory().held();
        limits.memory.is_none_or(|most| held.saturating_add(bytes) <= most.get())
    }

    /// Notes that framed bytes of entries are in memory from now on.
    pub(super) fn enter_memory(&self, queue: &mut Queue, bytes: u64) {
        queue.in_memory += bytes;
        self.copies().inspect(|share| share.take(bytes));
    }

    /// Notes that framed bytes of entries are not in memory any more.
    pub(super) fn leave_memory(&self, queue: &mut Queue, bytes: u64) {
        let bytes = bytes.min(queue.in_memory);
        queue.in_memory -= bytes;
        self.copies().inspect(|share| share.give_back(bytes));
    }

    /// The share that counts what is in memory of what is on disk as well.
    fn copies(&self) -> Option<&QuotaShare> {
        self.durable.as_ref()?;
        Some(self.account()?.quota().memory())
    }
}
