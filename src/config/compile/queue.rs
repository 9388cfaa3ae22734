//! `sending_queue` and `retry_on_failure`.

use std::time::Duration;

use super::Context;
use crate::backoff::RetrySettings;
use crate::config::model::{self, QueueSize, RetryOnFailure, SendingQueue, Sizer};
use crate::config::node::Node;
use crate::stream::{BatchSettings, QueueSettings, WhenFull};

/// The most bytes of a stream's queue where only requests are counted.
const DEFAULT_BYTES: u64 = 16 << 20;

/// Compiles the `sending_queue` at `node`.
pub(super) fn compile(queue: &SendingQueue, node: &Node, context: &mut Context<'_>) -> QueueSettings {
    if queue.num_consumers > 1 {
        context
            .report
            .warn(
                node.near(&["num_consumers"]).span,
                "with more than one consumer the order within a stream is lost",
            )
            .help("write `num_consumers: 1`; other streams are sent at the same time anyway");
    }
    let (queue_bytes, queue_requests) = capacity(queue, node, context);
    let batch = batch(queue, queue_bytes, node, context);
    if !queue.enabled {
        context
            .report
            .warn(
                node.near(&["enabled"]).span,
                "without a queue, senders wait until the upstream has taken what goes to this exporter, as with \
                 `acknowledge: delivered`",
            )
            .help("leave `enabled` out if they should be answered as soon as their data is queued");
    }
    QueueSettings {
        enabled: queue.enabled && !queue.wait_for_result,
        num_consumers: queue.num_consumers,
        queue_bytes,
        queue_requests,
        when_full: match queue.when_full {
            model::WhenFullWord::Refuse => WhenFull::Refuse,
            model::WhenFullWord::Shed => WhenFull::Shed,
        },
        batch,
    }
}

/// The limits of a queue: bytes, and requests if those are counted.
fn capacity(queue: &SendingQueue, node: &Node, context: &mut Context<'_>) -> (u64, Option<u64>) {
    let size = node.near(&["queue_size"]);
    let (bytes, requests) = match (queue.queue_size, queue.sizer) {
        (QueueSize::Bytes(bytes), Some(Sizer::Requests | Sizer::Items)) => {
            if node.get("queue_size").is_some() {
                context
                    .report
                    .error(size.span, "a `queue_size` with a unit counts bytes, but `sizer` says otherwise")
                    .help("write `sizer: bytes`, or a number without a unit");
            }
            (bytes, None)
        }
        (QueueSize::Bytes(bytes), _) | (QueueSize::Bare(bytes), Some(Sizer::Bytes)) => (bytes, None),
        (QueueSize::Bare(_), Some(Sizer::Items)) => {
            context
                .report
                .warn(node.near(&["sizer"]).span, "items can't be counted; a stream may hold 16MiB")
                .help("write `sizer: bytes` and a `queue_size` such as `16MiB`");
            return (DEFAULT_BYTES, None);
        }
        (QueueSize::Bare(requests), Some(Sizer::Requests) | None) => (DEFAULT_BYTES, Some(requests)),
    };
    if bytes == 0 || requests == Some(0) {
        context.report.error(size.span, "`queue_size` must be above zero");
    }
    (bytes, requests)
}

fn batch(queue: &SendingQueue, queue_bytes: u64, node: &Node, context: &mut Context<'_>) -> BatchSettings {
    let is_excused = context.is_excused(node, "queue_size");
    let node = node.near(&["batch"]);
    let is_excused = is_excused || ["min_size", "max_size"].iter().any(|key| context.is_excused(node, key));
    let defaults = model::SendingQueue::default().batch;
    let mut batch = &queue.batch;
    if matches!(batch.sizer, Some(Sizer::Requests | Sizer::Items)) {
        context
            .report
            .warn(node.near(&["sizer"]).span, "batches are sized in bytes; the default sizes hold")
            .help("write `sizer: bytes`, with `min_size: 256KiB` and `max_size: 512KiB`");
        batch = &defaults;
    }
    // As in the Collector, no maximum; what a stream may hold then is one.
    let max_size = if batch.max_size.0 == 0 { queue_bytes } else { batch.max_size.0 };
    if batch.min_size.0 > max_size {
        let span = node.near(&["min_size"]).span;
        let message =
            format!("`min_size` ({}) is above `max_size` ({})", batch.min_size, model::ByteSize(max_size));
        if !is_excused {
            context.report.error(span, message).help("make it at most as large");
        }
    } else if batch.min_size.0 > queue_bytes && !is_excused {
        context
            .report
            .warn(node.span, "a stream may hold less than `min_size`, so batches wait for `flush_timeout`")
            .help("write a larger `queue_size`");
    }
    // Without a queue a sender waits for what it has sent, which is taken or refused together: no request waits for another,
    // and none is divided into batches before it has `max_size`.
    let (flush_timeout, min_size) =
        if queue.enabled { (queue.batch.flush_timeout.0, batch.min_size.0) } else { (Duration::ZERO, 0) };
    BatchSettings { flush_timeout, min_size: min_size as usize, max_size: max_size as usize }
}

/// Compiles the `retry_on_failure` at `node`.
pub(super) fn retry(retry: &RetryOnFailure, node: &Node, context: &mut Context<'_>) -> RetrySettings {
    let initial_interval = context.above_zero(retry.initial_interval, node, "initial_interval");
    if retry.max_interval < retry.initial_interval
        && !["initial_interval", "max_interval"].iter().any(|key| context.is_excused(node, key))
    {
        let message = format!(
            "`max_interval` ({}) is shorter than `initial_interval` ({})",
            retry.max_interval, retry.initial_interval
        );
        context.report.error(node.near(&["max_interval"]).span, message).help("make it at least as long");
    }
    for (index, status) in retry.statuses.iter().enumerate() {
        if !(300..600).contains(status) {
            let list = node.near(&["statuses"]);
            let span = list.item(index).unwrap_or(list).span;
            context
                .report
                .error(span, format!("`{status}` is not a status that a request fails with"))
                .help("write statuses from 300 to 599; what is not listed is not tried again");
        }
    }
    RetrySettings {
        enabled: retry.enabled,
        initial_interval,
        max_interval: retry.max_interval.0,
        multiplier: retry.multiplier,
        randomization_factor: retry.randomization_factor,
        max_elapsed_time: retry.max_elapsed_time.0,
    }
}
