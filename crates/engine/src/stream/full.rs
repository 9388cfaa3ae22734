//! What can have no room for a request.

use std::sync::Arc;

use crate::tenants::TenantLimit;

/// What has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// `limits.memory`.
    #[error("the memory limit is reached")]
    Memory,
    /// `queue_size` of one stream.
    #[error("the queue of a stream is full")]
    Stream,
    /// What one stream may have of `journal.max_size`: four times what is left of it.
    #[error("the stream's share of the journal is used up")]
    Share,
    /// `limits.streams` or `max_streams`.
    #[error("the limit of streams is reached")]
    Streams,
    /// `journal.max_size`.
    #[error("the journal is full")]
    Journal,
    /// The journal's disk does not take anything.
    #[error("the journal can't be written")]
    Disk,
    /// What one tenant may have.
    #[error("the tenant `{tenant}` has reached its `{}`", limit.name())]
    Tenant {
        /// Whose limit it is.
        tenant: Arc<str>,
        /// Which of them.
        limit: TenantLimit,
    },
}
