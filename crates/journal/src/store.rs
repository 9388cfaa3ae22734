//! The store: the state that the objects of a journal share.

use std::sync::Arc;

use super::buffer::ReadBuffers;
use super::catalog::SharedCatalog;
use super::closing::Closing;
use super::disk::Disk;
use super::health::DiskHealth;
use super::pending::PendingChanges;

/// The files, what is known to be in them, whether either can be trusted, and what the threads of the journal share beside.
/// Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalog: SharedCatalog,
    pub(super) health: Arc<DiskHealth>,
    pub(super) pending: Arc<PendingChanges>,
    pub(super) closing: Arc<Closing>,
    pub(super) buffers: Arc<ReadBuffers>,
}
