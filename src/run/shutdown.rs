//! The way out: stop accepting, answer, flush, deliver, and say what is left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::Router;
use crate::export::{Exporter, Fate};
use crate::otlp::Signal;

/// Time for writing dead letters once the deadline has passed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The part of `shutdown_timeout` that requests in progress may take.
const RECEIVING: f64 = 0.8;

/// What could not be delivered by one exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The exporter.
    pub exporter: Arc<str>,
    /// Records that were pending at the deadline.
    pub records: u64,
    /// Of these, the ones that are in the dead-letter directory now.
    pub dead_lettered: u64,
}

/// Empties the queues, within `shutdown_timeout` after `shutdown_delay`. Returns what was left: nothing, if everything
/// was delivered. Without a dead-letter directory what is left is lost.
pub async fn shut_down(router: &Arc<Router>) -> Vec<Leftover> {
    let (delay, timeout) = router.report().shutdown;
    router.begin_stopping();
    if !delay.is_zero() {
        info!(?delay, "shutting down: not ready any more, still accepting");
        tokio::time::sleep(delay).await;
    }
    let deadline = Instant::now() + timeout;
    info!(?timeout, "shutting down: delivering what is queued");
    // Before the last requests are in: a sender that takes all the time must not keep what others sent from leaving.
    flush(router);
    // Not all the time, so that what came last can still leave.
    router.stop_receiving(timeout.mul_f64(RECEIVING)).await;
    // Again: a reload that was under way may have brought new ones.
    flush(router);
    let exporters = router.exporters();
    for exporter in exporters.iter() {
        exporter.drained(deadline.saturating_duration_since(Instant::now())).await;
    }
    let mut left = Vec::new();
    for exporter in exporters.iter() {
        left.extend(leave(router, exporter).await);
    }
    router.intake().burials.close();
    // Dead letters of what never was in a queue.
    let _ = tokio::time::timeout(LAST_WORDS, router.intake().burials.wait()).await;
    if left.is_empty() {
        info!("shut down: everything was delivered, nothing is left");
    }
    left
}

fn flush(router: &Router) {
    for exporter in router.exporters().iter() {
        exporter.registry().flush();
    }
}

async fn leave(router: &Router, exporter: &Exporter) -> Option<Leftover> {
    let records = exporter.registry().pending_records();
    if exporter.registry().pending_bytes() == 0 {
        return None;
    }
    let mut streams: Vec<String> = Vec::new();
    exporter.registry().for_each(|stream| {
        if stream.state().pending_bytes > 0 {
            streams.push(stream.name().routing_key().to_owned());
        }
    });
    let count =
        |fate| Signal::ALL.iter().map(|signal| exporter.counters().exported(*signal, fate)).sum::<u64>();
    let before = count(Fate::DeadLettered);
    if router.intake().dead_letters.load().is_some() {
        exporter.give_up();
        exporter.drained(LAST_WORDS).await;
    }
    let dead_lettered = count(Fate::DeadLettered) - before;
    error!(
        exporter = %exporter.name(), records, dead_lettered, streams = streams.len(),
        "not delivered in time; the first streams are {:?}", &streams[..streams.len().min(5)]
    );
    Some(Leftover { exporter: exporter.name().clone(), records, dead_lettered })
}
