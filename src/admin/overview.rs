//! `GET /api/v1/overview`: the state of the whole at a glance.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::attention::{JOURNAL_NEARLY_FULL, TableFindings, attention, first_problem};
use super::flow_picture::picture;
use super::history::MetricHistory;
use super::sample::{CounterSample, NotDelivered, ReceivedTotals, per_second};
use super::troubled::troubled_streams;
use crate::export::Exporter;
use crate::otlp::Signal;
use crate::rounded::{rounded, seconds};
use crate::run::{Phase, Router};
use crate::utc::rfc3339;

/// The overview as JSON. Scans every stream.
pub(super) fn shown(router: &Router, history: &MetricHistory, findings: &TableFindings) -> Value {
    let now = CounterSample::of(router);
    // A process that has just begun has no rates.
    let before = history.sample_before(now.at).unwrap_or_else(|| now.clone());
    let troubled = troubled_streams(router);
    let findings = findings.of(&router.tenants().table());
    let attention = attention(router, &troubled, &findings);
    let (report, shared) = (router.report(), router.shared());
    let is_table = router.tenants().table().is_configured();
    let dead_letters = router.intake().dead_letters.load();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": rfc3339(history.began),
        "now": rfc3339(SystemTime::now()),
        "phase": match router.phase() {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Stopping => "stopping",
        },
        "totals": totals(&now, shared.streams.live()),
        "rates": rates(&now, &before),
        "memory": { "used": shared.budget.used(), "limit": shared.budget.limit() },
        "journal": journal(router),
        "dead_letters": dead_letters.as_ref().map(|directory| json!({
            "files": directory.letters(),
            "bytes": directory.bytes(),
            "max_size": directory.max_size(),
            "full": directory.is_full(),
        })),
        "streams": stream_counts(router),
        "tenants": is_table.then(|| json!({
            "count": findings.tenants,
            "problems": router.tenants().table().problems().count(),
        })),
        "flow": picture(router, &now, &before),
        "attention": attention.listed,
        "attention_total": attention.total,
        "reload": {
            "version": report.version,
            "loaded_at": rfc3339(report.loaded_at),
            "last_error": report.last_error.as_ref().map(|(at, error)| json!({
                "at": rfc3339(*at), "error": first_problem(error),
            })),
        },
    })
}

/// A value for each signal.
fn by_signal(of: impl Fn(Signal) -> Value) -> Value {
    Signal::ALL.into_iter().map(|signal| (signal.name().to_owned(), of(signal))).collect::<Map<_, _>>().into()
}

fn totals(now: &CounterSample, streams: usize) -> Value {
    let NotDelivered { rejected, dead_lettered, dropped, refused, unrouted } = now.not_delivered;
    json!({
        "received": by_signal(|signal| {
            let ReceivedTotals { requests, records, bytes } = now.received[signal.index()];
            json!({ "requests": requests, "records": records, "bytes": bytes })
        }),
        "exported": by_signal(|signal| json!({ "records": now.exported[signal.index()] })),
        "not_delivered": {
            "rejected": rejected,
            "dead_lettered": dead_lettered,
            "dropped": dropped,
            "refused": refused,
            "unrouted": unrouted,
        },
        "pending": { "records": now.pending_records, "bytes": now.pending_bytes, "streams": streams },
    })
}

/// The rates a second of all counters.
fn rates(now: &CounterSample, before: &CounterSample) -> Value {
    let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
    let rate = |of: &dyn Fn(&CounterSample) -> u64| per_second(of(now), of(before), seconds);
    let lost = |of: fn(&NotDelivered) -> u64| rate(&|sample| of(&sample.not_delivered));
    json!({
        "seconds": rounded(seconds),
        "received": by_signal(|signal| {
            let received = |of: fn(&ReceivedTotals) -> u64| rate(&|sample| of(&sample.received[signal.index()]));
            json!({
                "requests": received(|received| received.requests),
                "records": received(|received| received.records),
                "bytes": received(|received| received.bytes),
            })
        }),
        "exported": by_signal(|signal| json!({ "records": rate(&|sample| sample.exported[signal.index()]) })),
        "not_delivered": {
            "rejected": lost(|lost| lost.rejected),
            "dead_lettered": lost(|lost| lost.dead_lettered),
            "dropped": lost(|lost| lost.dropped),
            "refused": lost(|lost| lost.refused),
            "unrouted": lost(|lost| lost.unrouted),
        },
    })
}

/// The size of the journal; `null` without one.
fn journal(router: &Router) -> Option<Value> {
    let state = router.intake().journal.as_ref()?.state();
    let oldest = router.exporters().iter().filter_map(|exporter| exporter.registry().oldest()).min();
    let word = if state.failing.is_some() {
        "failing"
    } else if state.bytes_on_disk as f64 > JOURNAL_NEARLY_FULL * state.max_size as f64 {
        "nearly_full"
    } else {
        "ok"
    };
    Some(json!({
        "bytes": state.bytes_on_disk,
        "limit": state.max_size,
        "oldest_seconds": oldest.map(|since| seconds(since.elapsed())),
        "state": word,
    }))
}

/// How many streams there are, and of those of all exporters how many fail and are held, as the list of exporters counts them.
fn stream_counts(router: &Router) -> Value {
    let (streams, exporters) = (&router.shared().streams, router.exporters());
    let sum = |of: fn(&Exporter) -> usize| -> usize { exporters.iter().map(|exporter| of(exporter)).sum() };
    json!({
        "live": streams.live(),
        "limit": streams.limit(),
        "failing": sum(|exporter| exporter.registry().failing_streams()),
        "held": sum(|exporter| exporter.registry().held_streams()),
    })
}
