//! What is kept of a tenant for as long as the process lives, whatever becomes of its row.

use std::sync::Arc;

use super::totals::TenantTotals;

/// What is kept of a tenant for as long as the process lives, whatever becomes of its row. Receivers, streams and exporters share
/// it.
#[derive(Debug)]
pub struct Account {
    id: Arc<str>,
    totals: TenantTotals,
}

impl Account {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, totals: TenantTotals::new() }
    }

    /// Whose it is.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What became of its records.
    pub fn totals(&self) -> &TenantTotals {
        &self.totals
    }
}
