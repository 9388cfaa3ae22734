//! What a stream may hold, and all streams of a tenant together: see [`Quota`](crate::tenants::Quota).
//!
//! Without a journal, what a stream holds is its tenant's share of the memory. With one it is all on disk, and counts as the
//! share of the journal; of the memory then counts what is in the queue beside, and what there is no share of stays on disk
//! alone.

use std::collections::HashMap;

use super::QueueSettings;
use super::full::Full;
use crate::tenants::{QuotaShare, TenantLimit, TenantLimits};

/// What a stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamLimit {
    /// `queue_size`.
    InMemory,
    /// With a journal, what the queue has no memory for stays on disk.
    OnDisk {
        /// Framed bytes; in an empty stream there is room for any one request.
        most: u64,
        /// Whether `queue_size` counts all the same: what waits for its upstream must not pile up on disk either.
        queue: bool,
    },
}

impl StreamLimit {
    /// Framed bytes.
    pub(super) fn most(&self, settings: &QueueSettings) -> u64 {
        match *self {
            Self::InMemory => settings.queue_bytes,
            Self::OnDisk { most, queue: true } => most.min(settings.queue_bytes),
            Self::OnDisk { most, queue: false } => most,
        }
    }

    /// Framed bytes that all streams of a tenant may hold, and the limit that says so.
    pub(super) fn of_tenant(&self, limits: &TenantLimits) -> Option<(u64, TenantLimit)> {
        let memory = limits.memory.map(|most| (most.get(), TenantLimit::Memory));
        let journal = limits.journal.map(|most| (most.get(), TenantLimit::Journal));
        match *self {
            Self::InMemory => memory,
            Self::OnDisk { queue: false, .. } => journal,
            Self::OnDisk { queue: true, .. } => {
                [memory, journal].into_iter().flatten().min_by_key(|(most, _)| *most)
            }
        }
    }

    /// Whether `queue_size` counts.
    pub(super) fn is_queue(&self) -> bool {
        matches!(self, Self::InMemory | Self::OnDisk { queue: true, .. })
    }
}

/// What a request has reserved of its tenants' shares, by the address of the share.
#[derive(Debug, Default)]
pub(super) struct ReservedShares(HashMap<usize, u64>);

impl ReservedShares {
    pub(super) fn of(&mut self, share: &QuotaShare) -> &mut u64 {
        self.0.entry(std::ptr::from_ref(share).addr()).or_default()
    }
}

/// Why nothing is reserved in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotReserved {
    /// There is no room.
    Full,
    /// Its tenant may not hold so much.
    OverLimit(Full),
    /// The stream ended in this moment: it has a [successor](super::Registry::successor).
    Gone,
}
