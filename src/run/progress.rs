//! A line now and then about what flows, while something flows.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Router;
use crate::export::Fate;
use crate::otlp::Signal;
use crate::receive::{Outcome, RequestOutcome};

/// Sums over all signals and exporters.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    received: u64,
    bytes: u64,
    refused: u64,
    /// Requests of which that is so, also those whose records nobody knows.
    refused_requests: u64,
    /// Never taken: the sender was told.
    rejected: u64,
    delivered: u64,
    /// Ended without being delivered. What is shed is counted where an exporter shed it, and not as received, too.
    lost: u64,
    pending: u64,
}

impl Totals {
    fn of(router: &Router) -> Self {
        let mut totals = Self::default();
        let counters = &router.intake().counters;
        let counted = router.counted_exporters();
        for signal in Signal::ALL {
            totals.received += counters.records(signal, Outcome::Accepted);
            totals.bytes += counters.bytes(signal);
            totals.refused += counters.records(signal, Outcome::Refused);
            totals.refused_requests += counters.requests(signal, RequestOutcome::Refused);
            totals.rejected += counters.records(signal, Outcome::Rejected);
            totals.lost += counters.without_exporter(signal);
            let ended = |fate| counted.ended(signal, fate);
            totals.delivered += ended(Fate::Delivered);
            totals.lost += ended(Fate::Rejected) + ended(Fate::DeadLettered) + ended(Fate::Dropped);
        }
        totals.pending = counted.exporters.iter().map(|exporter| exporter.registry().pending_records()).sum();
        totals
    }
}

/// Logs a line for every `pause` in which a count has changed, for ever.
pub async fn show_progress(router: Arc<Router>, pause: Duration) {
    // Not what there is by now: requests may have come before this task ran.
    let mut before = Totals::default();
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Totals::of(&router);
        if now != before {
            info!(
                records_in = now.received - before.received,
                records_out = now.delivered - before.delivered,
                pending = now.pending,
                refused = now.refused - before.refused,
                refused_requests = now.refused_requests - before.refused_requests,
                rejected = now.rejected - before.rejected,
                not_delivered = now.lost - before.lost,
                streams = router.shared().streams.live(),
                "{:.1} MB/s in",
                (now.bytes - before.bytes) as f64 / 1e6 / pause.as_secs_f64()
            );
        }
        before = now;
    }
}
