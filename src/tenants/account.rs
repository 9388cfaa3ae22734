//! What belongs to a tenant and not to its row, which may change, go and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::quota::Quota;
use super::totals::TenantTotals;

/// What is kept of a tenant that has sent or has streams, whatever becomes of its row. Receivers, streams and exporters share it. It
/// is forgotten some time after nothing else is left of the tenant.
#[derive(Debug)]
pub struct TenantAccount {
    id: Arc<str>,
    row_changed: Notify,
    given_up: AtomicBool,
    /// Whether nothing else was left of the tenant when that was last looked at.
    is_left_over: AtomicBool,
    totals: TenantTotals,
    quota: Quota,
}

impl TenantAccount {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            row_changed: Notify::new(),
            given_up: AtomicBool::new(false),
            is_left_over: AtomicBool::new(false),
            totals: TenantTotals::new(),
            quota: Quota::new(),
        }
    }

    /// Whose it is.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Tells those who wait when its row has changed, has come or is gone. The table in use has the change by then.
    pub fn row_changed(&self) -> &Notify {
        &self.row_changed
    }

    /// Has what is pending become dead letters: as soon as the row changes, and what is being attempted after that.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Ends [`TenantAccount::give_up`].
    pub fn take_back(&self) {
        self.given_up.store(false, Ordering::Release);
    }

    /// Whether [`TenantAccount::give_up`] was called, and not ended.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Notes whether nothing else is left of the tenant, and tells whether that is so for the second time in a row.
    pub(super) fn is_left_over_again(&self, is_left_over: bool) -> bool {
        self.is_left_over.swap(is_left_over, Ordering::Relaxed) && is_left_over
    }

    /// What became of its records.
    pub fn totals(&self) -> &TenantTotals {
        &self.totals
    }

    /// How much of its limits it has used.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}
