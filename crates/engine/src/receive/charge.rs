//! The bytes that tenants send, against their rates.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::tenants::{Rate, RateExceeded, Tenant, TenantAccount, Tenants};

/// The bytes that each tenant with a rate has in a request.
///
/// All of them have to have something left of their bursts, or none is charged: then the request is refused whole.
#[derive(Debug, Default)]
pub(super) struct Charges(SmallVec<[Charge; 1]>);

/// Bytes of one tenant, which may have several charges in a request.
#[derive(Debug)]
struct Charge {
    account: Arc<TenantAccount>,
    rate: Rate,
    bytes: u64,
}

impl Charges {
    /// Adds bytes that are a tenant's.
    pub(super) fn add(&mut self, tenants: &Tenants, tenant: &Tenant, bytes: u64) {
        let Some(rate) = tenant.limits.rate() else { return };
        match self.0.last_mut().filter(|last| **last.account.id() == *tenant.id) {
            Some(last) => last.bytes += bytes,
            None => self.0.push(Charge { account: tenants.account(&tenant.id), rate, bytes }),
        }
    }

    /// The tenant that has to wait longest, if any has to.
    pub(super) fn exceeded(&self) -> Option<RateExceeded> {
        let waits = self.0.iter().filter_map(|Charge { account, rate, .. }| exceeded(account, *rate));
        waits.max_by_key(|exceeded| exceeded.retry_after)
    }

    /// Charges the tenants, once the request is queued, and on disk where there is a journal. A second call charges nothing.
    pub(super) fn make(&mut self) {
        for Charge { account, rate, bytes } in self.0.drain(..) {
            account.quota().charge(rate, bytes);
        }
    }
}

/// Whether a tenant has sent more than its rate, and how long it has to wait then.
pub(super) fn exceeded(account: &TenantAccount, rate: Rate) -> Option<RateExceeded> {
    let retry_after = account.quota().wait_for(rate)?;
    Some(RateExceeded { tenant: account.id().clone(), retry_after })
}
