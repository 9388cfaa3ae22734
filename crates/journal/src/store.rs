//! What the objects of a journal work on.

use std::sync::Arc;

use super::catalog::SharedCatalog;
use super::disk::Disk;
use super::health::Health;

/// The files, what is known to be in them, and whether either can be trusted. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalog: SharedCatalog,
    pub(super) health: Arc<Health>,
}
