//! `sending_queue` and `retry_on_failure`.

use serde::Deserialize;

use super::units::{ByteSize, Duration, QueueSize};
use crate::export::Statuses;

/// The queue of each stream of an exporter.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SendingQueue {
    /// `false` sends what a request brings to a stream as a batch of its own, as soon as the stream is free, and has senders wait until
    /// the upstream has taken what goes to this exporter, as with `acknowledge: delivered`.
    pub(in crate::config) enabled: bool,
    /// `true` has senders wait until the upstream has taken what goes to this exporter, as with `acknowledge: delivered`.
    pub(in crate::config) wait_for_result: bool,
    /// Batches in flight per stream; 1 keeps order.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) num_consumers: usize,
    /// What one stream may hold. A size with a unit counts bytes. A bare number counts requests, as in the Collector,
    /// unless `sizer` is `bytes`; 16 MiB then hold as well. With `journal` it bounds what is kept in memory alone.
    pub(in crate::config) queue_size: QueueSize,
    /// What a bare `queue_size` counts.
    pub(in crate::config) sizer: Option<Sizer>,
    /// Requests at a time per destination (scheme, host and port).
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(in crate::config) max_in_flight: usize,
    /// What happens to a request that touches a full stream.
    pub(in crate::config) when_full: WhenFullWord,
    /// When a batch is sent.
    pub(in crate::config) batch: BatchSection,
}

impl Default for SendingQueue {
    fn default() -> Self {
        Self {
            enabled: true,
            wait_for_result: false,
            num_consumers: 1,
            queue_size: QueueSize::Bytes(16 << 20),
            sizer: None,
            max_in_flight: 256,
            when_full: WhenFullWord::default(),
            batch: BatchSection::default(),
        }
    }
}

/// What a size counts.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Sizer {
    /// Requests.
    Requests,
    /// Spans, data points and log records.
    Items,
    /// Bytes of protobuf.
    Bytes,
}

/// What happens to a request that touches a full stream.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, schemars(rename = "WhenFull"))]
pub(in crate::config) enum WhenFullWord {
    /// The whole request is refused with 503; the sender tries again.
    #[default]
    Refuse,
    /// Only what has no room is cut out: counted, dead-lettered, and named to the sender by partial success.
    Shed,
}

/// When a batch is sent. Sizes are bytes of protobuf, before JSON and compression.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(test, schemars(rename = "Batch"))]
pub(in crate::config) struct BatchSection {
    /// A batch is sent at this age at the latest.
    pub(in crate::config) flush_timeout: Duration,
    /// A batch of this size is sent at once. 0 waits for nothing: what a request brings to a stream is sent as it is.
    pub(in crate::config) min_size: ByteSize,
    /// No batch is larger, unless a single record is. 0 sets no limit but `queue_size`.
    pub(in crate::config) max_size: ByteSize,
    /// What the sizes count; only bytes can be counted.
    pub(in crate::config) sizer: Option<Sizer>,
}

impl Default for BatchSection {
    fn default() -> Self {
        Self {
            flush_timeout: Duration::from_millis(50),
            min_size: ByteSize(256 << 10),
            max_size: ByteSize(512 << 10),
            sizer: None,
        }
    }
}

/// How an attempt that failed is repeated.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RetryOnFailure {
    /// `false` ends a batch after its first failure: senders that wait for it are told to send it again, the rest is
    /// dead-lettered.
    pub(in crate::config) enabled: bool,
    /// The wait after the first failure.
    pub(in crate::config) initial_interval: Duration,
    /// The longest wait.
    pub(in crate::config) max_interval: Duration,
    /// By how much each wait is longer than the one before.
    #[cfg_attr(test, schemars(range(min = 1, max = 100)))]
    pub(in crate::config) multiplier: f64,
    /// Each wait is drawn from the interval, shortened and lengthened by at most this part of it.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub(in crate::config) randomization_factor: f64,
    /// So long after its first failed attempt a batch is dead-lettered, or earlier if the next attempt would come later;
    /// `0` never gives up. Only the batch at the head of a stream is attempted, so one is given up in each such time, and
    /// what waits behind it is not bounded. The time starts anew with the process.
    pub(in crate::config) max_elapsed_time: Duration,
    /// HTTP statuses that are tried again, unless `statuses` of the exporter says something else of them. 520 to 530, which
    /// only proxies say, are as well, and no answer at all always is.
    pub(in crate::config) statuses: Vec<u16>,
}

impl Default for RetryOnFailure {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(30),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_elapsed_time: Duration::from_secs(0),
            statuses: Statuses::RETRIED.to_vec(),
        }
    }
}
