//! What is kept of a tenant for as long as the process lives, whatever becomes of its row.

use std::sync::Arc;

use super::quota::Quota;

/// What is kept of a tenant for as long as the process lives, whatever becomes of its row. Receivers, streams and exporters share
/// it.
#[derive(Debug)]
pub struct Account {
    id: Arc<str>,
    quota: Quota,
}

impl Account {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, quota: Quota::new() }
    }

    /// Whose it is.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// How much of its limits it has used.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}
