//! The JSON of the API. Routing keys are shown here and never in metrics, whose labels have to stay few.

use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::query;
use crate::export::{Exporter, ExporterKind, Fate, rfc3339};
use crate::otlp::Signal;
use crate::route::RoutingKey;
use crate::run::{ReloadError, ReloadRecord, Router};
use crate::stream::{Activity, LastError, StreamState};

/// Streams listed if the query does not say how many.
const STREAMS: usize = 1000;

/// Destinations listed of an exporter, whose templates can make one for each routing key.
const DESTINATIONS: usize = 100;

/// `GET /api/v1/streams`: live streams, those with the oldest entries first, then what is known of those that are gone.
pub(super) fn streams(router: &Router, query: &str) -> Result<Value, String> {
    let (mut exporter, mut tenant, mut key, mut activity, mut limit) = (None, None, None, None, STREAMS);
    for (name, value) in query::parameters(query) {
        match name {
            "exporter" => exporter = Some(value),
            "tenant" => tenant = Some(value),
            "key" => key = Some(value),
            "state" => activity = Some(activity_named(&value)?),
            "limit" => limit = query::number("limit", &value)?,
            _ => {
                return Err(format!(
                    "unknown parameter `{name}`: there are exporter, tenant, key, state and limit"
                ));
            }
        }
    }
    let is_wanted = |routing_key: &RoutingKey| {
        tenant.as_ref().is_none_or(|wanted| routing_key.tenant() == Some(wanted.as_str()))
            && key.as_ref().is_none_or(|key| routing_key.text().contains(key.as_str()))
    };
    let mut streams = Vec::new();
    let exporters = router.exporters();
    for from in exporters.iter() {
        if exporter.as_ref().is_some_and(|wanted| **wanted != **from.name()) {
            continue;
        }
        from.registry().for_each(|stream| {
            let name = stream.name();
            if is_wanted(&name.key) && activity.is_none_or(|wanted| stream.state().activity == wanted) {
                streams.push((from, stream.clone(), stream.oldest()));
            }
        });
    }
    streams.sort_by_key(|(_, stream, oldest)| (oldest.is_none(), *oldest, stream.name().key.clone()));
    let mut total = streams.len();
    let mut shown: Vec<Value> = streams
        .iter()
        .take(limit)
        .map(|(exporter, stream, _)| {
            let name = stream.name();
            stream_json((exporter.name(), name.signal, &name.key), &stream.state())
        })
        .collect();
    router.shared().past.for_each(|from, signal, routing_key, history| {
        let wanted = exporter.as_ref().is_none_or(|wanted| **wanted == **from)
            && is_wanted(routing_key)
            && activity.is_none_or(|wanted| wanted == Activity::Idle);
        if wanted {
            total += 1;
            if shown.len() < limit {
                let state = StreamState { history: history.clone(), ..StreamState::default() };
                shown.push(stream_json((from, signal, routing_key), &state));
            }
        }
    });
    Ok(json!({ "total": total, "limit": router.shared().streams.limit(), "streams": shown }))
}

/// What a stream does, by its word in the API.
fn activity_named(name: &str) -> Result<Activity, String> {
    Activity::ALL.into_iter().find(|activity| activity.name() == name).ok_or_else(|| {
        let names = Activity::ALL.map(Activity::name).join(", ");
        format!("`state` is one of {names}, not `{name}`")
    })
}

/// A stream, by its exporter, signal and routing key.
pub(super) fn stream_json(id: (&str, Signal, &RoutingKey), state: &StreamState) -> Value {
    let (exporter, signal, key) = id;
    let history = &state.history;
    let parts: Map<_, _> = key.parts().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "exporter": exporter,
        "signal": signal.name(),
        "key": key.text(),
        "parts": parts,
        "tenant": key.tenant(),
        "state": state.activity.name(),
        "pending_bytes": state.pending_bytes,
        "waiting_batches": state.waiting_batches,
        "in_flight": state.in_flight,
        "oldest_pending_seconds": state.oldest.map(|age| age.as_secs_f64()),
        "admitted_entries": history.admitted_entries,
        "delivered_records": history.delivered_records,
        "rejected_records": history.rejected_records,
        "dead_lettered_records": history.dead_lettered_records,
        "dropped_records": history.dropped_records,
        "failed_attempts": state.failed_attempts,
        "last_success": history.last_success.map(rfc3339),
        "last_error": history.last_error.as_deref().map(error_json),
    })
}

fn error_json(error: &LastError) -> Value {
    json!({
        "code": error.code,
        "message": error.message,
        "target": error.target,
        "at": rfc3339(error.at),
        "of_stream": error.of_stream.as_ref().map(|stream| json!({
            "signal": stream.signal.name(), "key": stream.key.text(), "tenant": stream.key.tenant(),
        })),
    })
}

/// `GET /api/v1/exporters`.
pub(super) fn exporters(router: &Router) -> Value {
    let current = router.intake().snapshot.load();
    let shown: Vec<Value> =
        router.exporters().iter().map(|exporter| exporter_json(exporter, !current.uses(exporter))).collect();
    json!({ "exporters": shown })
}

fn exporter_json(exporter: &Exporter, draining: bool) -> Value {
    let (registry, counters) = (exporter.registry(), exporter.counters());
    let records: Map<_, _> = Signal::ALL
        .into_iter()
        .map(|signal| {
            let mut counts = Map::new();
            counts.insert("routed".to_owned(), json!(registry.routed_records(signal)));
            for fate in Fate::ALL {
                counts.insert(fate.name().to_owned(), json!(counters.exported(signal, fate)));
            }
            (signal.name().to_owned(), Value::Object(counts))
        })
        .collect();
    let attempts: Map<_, _> =
        counters.attempts().into_iter().map(|(code, count)| (code.into_owned(), json!(count))).collect();
    let (mut failing, mut held) = (0, 0);
    registry.for_each(|stream| {
        failing += usize::from(stream.is_failing());
        held += usize::from(stream.is_held());
    });
    let hold = exporter.holds().of_exporter();
    json!({
        "name": **exporter.name(),
        "type": match exporter.active().settings.kind {
            ExporterKind::OtlpHttp(_) => "otlp_http",
            ExporterKind::OtlpGrpc(_) => "otlp_grpc",
            ExporterKind::File(_) => "file",
            ExporterKind::Debug(_) => "debug",
            ExporterKind::Nop => "nop",
        },
        "draining": draining,
        "streams": registry.len(),
        "failing_streams": failing,
        "held_streams": held,
        "held_tenants": exporter.holds().held_tenants(),
        "held": hold.map(|hold| json!({
            "until": rfc3339(SystemTime::now() + hold.until.saturating_duration_since(Instant::now())),
            "for": error_json(&hold.answer),
        })),
        "pending_records": registry.pending_records(),
        "pending_bytes": registry.pending_bytes(),
        "oldest_pending_seconds": registry.oldest().map(|since| since.elapsed().as_secs_f64()),
        "records": records,
        "attempts": attempts,
        "destinations": destinations(exporter),
    })
}

/// The destinations in use, those that are away first.
fn destinations(exporter: &Exporter) -> Value {
    let mut circuits = exporter.active().transport.circuits();
    circuits
        .sort_by_key(|(origin, circuit)| (circuit.open_since.is_none(), circuit.open_since, origin.clone()));
    let total = circuits.len();
    let shown: Vec<Value> = circuits
        .iter()
        .take(DESTINATIONS)
        .map(|(origin, circuit)| {
            json!({
                "origin": origin,
                "circuit": circuit.name(),
                "open_seconds": circuit.open_since.map(|since| since.elapsed().as_secs_f64()),
                "next_probe_seconds": circuit.until_probe().map(|wait| wait.as_secs_f64()),
            })
        })
        .collect();
    json!({ "total": total, "shown": shown })
}

/// `GET /api/v1/config`.
pub(super) fn config(router: &Router) -> Value {
    let report = router.report();
    json!({
        "source": report.source,
        "version": report.version,
        "loaded_at": rfc3339(report.loaded_at),
        "last_error": report.last_error.as_ref().map(|(at, error)| json!({
            "at": rfc3339(*at), "error": error.to_string(), "problems": problems(error), "text": text(error),
        })),
        "warnings": report.warnings,
        "problems": report.warnings,
        "text": &*report.text,
        "config": report.redacted,
        "presets": report.presets,
        "reloads": router.reloads().history().iter().map(reload_json).collect::<Vec<_>>(),
    })
}

fn reload_json(record: &ReloadRecord) -> Value {
    let ReloadRecord { at, outcome } = record;
    json!({
        "at": rfc3339(*at),
        "outcome": if outcome.is_ok() { "succeeded" } else { "failed" },
        "version": outcome.as_ref().ok(),
        "error": outcome.as_ref().err(),
    })
}

/// The configuration that could not be used, line by line, if that is what an error is about.
pub(super) fn text(error: &ReloadError) -> Option<&str> {
    match error {
        ReloadError::Problems(problems) => Some(&problems.text),
        _ => None,
    }
}

/// The problems of a configuration one by one, where there are any.
pub(super) fn problems(error: &ReloadError) -> Value {
    match error {
        ReloadError::Problems(problems) => json!(problems.list),
        _ => json!([]),
    }
}
