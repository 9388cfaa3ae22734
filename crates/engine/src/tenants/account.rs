//! The account of a tenant, which stays while its row changes, goes and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::quota::Quota;
use super::table::TableRow;
use super::totals::TenantTotals;

/// The account of a tenant that has sent or has streams, whatever becomes of its row. Receivers, streams and exporters share it. It is
/// forgotten some time after nothing else is left of the tenant.
#[derive(Debug)]
pub struct TenantAccount {
    id: Arc<str>,
    row_changed: Notify,
    /// `hold` of its row, or of its last row when there is none; true if there has been no row in this process.
    hold: AtomicBool,
    /// Whether the table in use has a row of the tenant, be it a broken one.
    has_row: AtomicBool,
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
            hold: AtomicBool::new(true),
            has_row: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            is_left_over: AtomicBool::new(false),
            totals: TenantTotals::new(),
            quota: Quota::new(),
        }
    }

    /// A number that no other account has while this one lives, and is never 0.
    pub fn number(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// The id of the tenant.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Tells those who wait when its row has changed, has come or is gone, and when it is given up. The table in use has the change
    /// by then.
    pub fn row_changed(&self) -> &Notify {
        &self.row_changed
    }

    /// Notes the row of the tenant in the table in use, if there is one: it holds the tenant or not, which counts on when the row goes,
    /// and ends [`TenantAccount::give_up`].
    pub(super) fn note_row(&self, row: Option<TableRow<'_>>) {
        self.has_row.store(row.is_some(), Ordering::Release);
        if let Some(TableRow::Ready(tenant)) = row {
            self.hold.store(tenant.hold, Ordering::Release);
        }
        if row.is_some() {
            self.take_back();
        }
    }

    /// Whether the table in use has a row of the tenant, be it a broken one.
    pub fn has_row(&self) -> bool {
        self.has_row.load(Ordering::Acquire)
    }

    /// Whether its row holds what is queued, or did so when there was one; also if there has been none in this process, since the
    /// one before may have.
    pub fn is_held(&self) -> bool {
        self.hold.load(Ordering::Acquire)
    }

    /// Has all pending entries become dead letters as long as there is no row: a request that was admitted when there was a row may put
    /// more into a queue later. Entries that are being sent may still be delivered.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.row_changed.notify_waiters();
    }

    /// Ends [`TenantAccount::give_up`], since there is a row.
    pub fn take_back(&self) {
        self.given_up.store(false, Ordering::Release);
    }

    /// Whether what is pending without a row becomes dead letters.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Notes whether nothing else is left of the tenant, and returns whether that is so for the second time in a row.
    pub(super) fn note_left_over(&self, is_left_over: bool) -> bool {
        self.is_left_over.swap(is_left_over, Ordering::Relaxed) && is_left_over
    }

    /// Frees what is only kept of tenants that have sent within the last minute, or whose burst has not come back yet.
    pub(super) fn release_idle(&self) {
        self.totals.release_idle();
        self.quota.release_idle();
    }

    /// The totals of its records.
    pub fn totals(&self) -> &TenantTotals {
        &self.totals
    }

    /// How much of its limits it has used.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_takes_little_memory() {
        // With the counts of its `Arc` it is as large as one of the sizes that allocators hand out.
        assert!(size_of::<TenantAccount>() <= 240, "{}", size_of::<TenantAccount>());
    }
}
