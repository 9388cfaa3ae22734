//! What tenants send, against their rates.

use std::sync::Arc;

use smallvec::SmallVec;

use super::intake::Intake;
use super::{Caller, Transport};
use crate::tenants::{Rate, RateExceeded, Tenant, TenantAccount, Tenants};
use otlp::Signal;

/// What each tenant with a rate has in a request.
///
/// All of them have to have something left of their bursts, or none is charged: then the request is refused whole.
#[derive(Debug, Default)]
pub(super) struct Charges(SmallVec<[Charge; 1]>);

/// Bytes of one tenant. It may have several in a request.
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

    /// Charges them, once: the request is queued, and is on disk where there is a journal.
    pub(super) fn make(&mut self) {
        for Charge { account, rate, bytes } in self.0.drain(..) {
            account.quota().charge(rate, bytes);
        }
    }
}

impl Intake {
    /// Refuses a request before its body is read, if all that it can hold is one tenant's, and that one has sent more than its
    /// rate.
    pub(super) fn refuse_unread(
        &self,
        signal: Signal,
        transport: Transport,
        caller: &Caller,
    ) -> Option<RateExceeded> {
        let identity = caller.identity()?;
        let tenant = &identity.tenant;
        if identity.sender().may_send_for.is_some() {
            return None;
        }
        let rate = tenant.limits.rate()?;
        let account = self.tenants.account(&tenant.id);
        let exceeded = exceeded(&account, rate)?;
        account.totals().count_refused_request();
        Self::count_over_rate(self.counters.of(transport), signal, caller, None, &exceeded);
        Some(exceeded)
    }
}

fn exceeded(account: &TenantAccount, rate: Rate) -> Option<RateExceeded> {
    let retry_after = account.quota().wait_for(rate)?;
    Some(RateExceeded { tenant: account.id().clone(), retry_after })
}
