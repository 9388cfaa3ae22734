//! A stream as the API shows it.

use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::export::{HoldScope, OperatorHold, ShownHold, StreamHold};
use crate::rounded::seconds;
use crate::stream::{LastError, StreamActivity, StreamName, StreamState};
use crate::utc::rfc3339;

/// A stream with all that is shown of it.
pub(super) struct ShownStream<'s> {
    pub(super) exporter: &'s str,
    pub(super) name: &'s StreamName,
    pub(super) state: &'s StreamState,
    /// The hold that it is under, if that is not for an answer to the stream itself.
    pub(super) hold: Option<StreamHold>,
}

/// A stream, by its exporter, signal and routing key.
pub(super) fn json(stream: &ShownStream<'_>) -> Value {
    let ShownStream { exporter, name, state, hold } = stream;
    let (key, history) = (&name.key, &state.history);
    let parts: Map<_, _> = key.parts().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "exporter": exporter,
        "signal": name.signal.name(),
        "key": key.text(),
        "parts": parts,
        "tenant": key.tenant(),
        "state": state.activity.name(),
        "hold": hold.as_ref().map(hold_json).or_else(|| own_hold(state)),
        "pending_bytes": state.pending_bytes,
        "waiting_batches": state.waiting_batches,
        "in_flight": state.in_flight,
        "oldest_pending_seconds": state.oldest.map(seconds),
        "unanswered_seconds": state.unanswered.map(seconds),
        "admitted_entries": history.admitted_entries,
        "delivered_records": history.delivered_records,
        "rejected_records": history.rejected_records,
        "dead_lettered_records": history.dead_lettered_records,
        "dropped_records": history.dropped_records,
        "failed_attempts": state.failed_attempts,
        "last_success": history.last_success.map(rfc3339),
        "last_error": history.last_error.as_deref().map(error),
    })
}

/// A failed attempt.
pub(super) fn error(error: &LastError) -> Value {
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

/// A hold that somebody has put on a stream or an exporter.
pub(super) fn operator_hold(hold: &OperatorHold) -> Value {
    json!({ "since": rfc3339(hold.since), "until": hold.until.map(rfc3339), "by": hold.by.as_deref() })
}

/// When a hold ends, as a wall-clock time.
pub(super) fn until(hold: &ShownHold) -> String {
    rfc3339(SystemTime::now() + hold.until.saturating_duration_since(Instant::now()))
}

fn hold_json(hold: &StreamHold) -> Value {
    let of_others = |scope: &str, hold: &ShownHold| {
        json!({
            "reason": format!("held for an answer to a stream of its {scope}"), "scope": scope,
            "since": rfc3339(hold.since), "until": until(hold),
        })
    };
    match hold {
        StreamHold::ByOperator { scope, hold } => json!({
            "reason": "held by an operator",
            "scope": if *scope == HoldScope::Exporter { "exporter" } else { "stream" },
            "since": rfc3339(hold.since),
            "until": hold.until.map(rfc3339),
            "by": hold.by.as_deref(),
        }),
        StreamHold::ByRow => json!({
            "reason": "held by the row of its tenant", "scope": "tenant", "since": null, "until": null,
        }),
        StreamHold::OfTenant(hold) => of_others("tenant", hold),
        StreamHold::OfExporter(hold) => of_others("exporter", hold),
    }
}

/// The hold of a stream for an answer to itself.
fn own_hold(state: &StreamState) -> Option<Value> {
    (state.activity == StreamActivity::Held).then(|| {
        json!({
            "reason": "held for what `last_error` says", "scope": "stream",
            "since": state.held_since.map(rfc3339), "until": null,
        })
    })
}
