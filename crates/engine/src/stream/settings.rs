//! What the configuration says about queues, compiled.

use std::time::Duration;

/// `sending_queue` of one exporter; every stream of the exporter has a queue of this shape.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSettings {
    /// Whether a request is acknowledged once it is queued. If not, its sender waits until what it has for this exporter is
    /// settled, whatever `acknowledge` says: it relies on hearing of what fails.
    pub enabled: bool,
    /// Batches in flight per stream; 1 keeps order.
    pub num_consumers: usize,
    /// Bytes (protobuf with framing) that one stream may hold, those in flight included.
    pub queue_bytes: u64,
    /// Requests that one stream may hold, if `queue_size` was given as a count (as the Collector does).
    pub queue_requests: Option<u64>,
    /// What happens to entries for which there is no room.
    pub when_full: WhenFull,
    /// When an open batch is closed.
    pub batch: BatchSettings,
}

/// What happens to a request that touches a full stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The whole request is refused with 503.
    Refuse,
    /// The entries without room are cut out, counted, dead-lettered and named in partial success.
    Shed,
}

/// `sending_queue.batch`; all sizes are protobuf bytes with their framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// An open batch is sent at this age at the latest; zero sends as soon as the stream is free.
    pub flush_timeout: Duration,
    /// A batch of this size is sent at once; with zero, what one request brings to the stream is a batch by itself, up to
    /// `max_size`.
    pub min_size: usize,
    /// No batch is larger, unless a single record is.
    pub max_size: usize,
}
