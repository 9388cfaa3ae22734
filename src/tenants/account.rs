//! What is kept of a tenant for as long as the process lives, whatever becomes of its row.

use std::sync::Arc;

/// What is kept of a tenant for as long as the process lives, whatever becomes of its row. Receivers, streams and exporters share
/// it.
#[derive(Debug)]
pub struct Account {
    id: Arc<str>,
}

impl Account {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id }
    }

    /// Whose it is.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }
}
