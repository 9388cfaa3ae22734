//! Queues that are full, or nearly so: data that they have no room for is refused or shed.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::words::{counted, size};
use super::{Attention, AttentionSubject, LISTED, NEARLY_FULL, Urgency};
use crate::export::Exporter;
use crate::run::Router;
use crate::stream::WhenFull;

/// The streams of one tenant, or of nobody, whose queues are full at one exporter.
#[derive(Debug, Default)]
struct FullQueues {
    streams: u64,
    /// Bytes in the fullest queue.
    most: u64,
    /// Bytes in all of these queues.
    pending_bytes: u64,
}

/// The findings, at most as many as may be listed, and the number of further ones. With a journal, queues continue on disk, and the
/// journal is what gets full.
pub(super) fn found(router: &Router) -> (Vec<Attention>, usize) {
    let (mut all, mut left_out) = (Vec::new(), 0);
    if router.intake().journal.is_none() {
        for exporter in router.exporters().iter() {
            let (of_exporter, others) = of_exporter(exporter);
            all.extend(of_exporter);
            left_out += others;
        }
    }
    (all, left_out)
}

/// Finds the full queues of an exporter. Scans its streams only if so much is pending that a queue may be full.
fn of_exporter(exporter: &Exporter) -> (Vec<Attention>, usize) {
    let registry = exporter.registry();
    let settings = registry.settings();
    let nearly_full = (NEARLY_FULL * settings.queue_bytes as f64) as u64;
    if registry.pending_bytes() < nearly_full {
        return (Vec::new(), 0);
    }
    let mut by_tenant: HashMap<Option<Box<str>>, FullQueues> = HashMap::new();
    registry.scan(|stream| {
        let pending = stream.pending_bytes();
        if pending >= nearly_full {
            let full = by_tenant.entry(stream.name.key.tenant().map(Into::into)).or_default();
            full.streams += 1;
            full.most = full.most.max(pending);
            full.pending_bytes += pending;
        }
    });
    let what_becomes_of_more = match settings.when_full {
        WhenFull::Refuse => "senders are refused with 503, or soon will be",
        WhenFull::Shed => "what there is no room for is left out, or soon will be",
    };
    let about = |(tenant, full): (Option<Box<str>>, FullQueues)| {
        let name = exporter.name();
        let (subject, whose) = match tenant {
            Some(tenant) => (AttentionSubject::Tenant(tenant.to_string()), format!("{tenant}: ")),
            None => (AttentionSubject::Exporter(name.to_string()), String::new()),
        };
        let text = format!(
            "{whose}the queue of {} at `{name}` is full ({} of {}): {what_becomes_of_more}. See why the upstream does not keep up, or raise \
             `sending_queue.queue_size`.",
            counted(full.streams, "stream", "streams"),
            size(full.most),
            size(settings.queue_bytes),
        );
        Attention::new(Urgency::Error, "queue_full", subject, text).with_pending(full.pending_bytes)
    };
    let mut full: Vec<_> = by_tenant.into_iter().collect();
    full.sort_unstable_by_key(|(_, full)| Reverse(full.pending_bytes));
    let left_out = full.len().saturating_sub(LISTED);
    (full.into_iter().take(LISTED).map(about).collect(), left_out)
}
