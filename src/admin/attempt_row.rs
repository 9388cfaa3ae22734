//! An attempt to deliver, as the API shows it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::rounded::millis;
use crate::stream::StreamAttempt;
use crate::utc::rfc3339;

/// An attempt, in a place that names its stream.
pub(super) fn json(attempt: &StreamAttempt) -> Value {
    json!({
        "at": rfc3339(attempt.at),
        "code": attempt.code,
        "target": attempt.target,
        "millis": millis(attempt.took),
        "bytes": attempt.bytes,
        "records": attempt.records,
        "part": attempt.is_part,
        "message": attempt.message,
    })
}

/// Attempts, each with the name of its stream.
pub(super) fn of_streams(attempts: &[Arc<StreamAttempt>]) -> Value {
    let shown = |attempt: &Arc<StreamAttempt>| {
        let (exporter, name) = (&attempt.stream.exporter, &attempt.stream.name);
        let mut shown = json(attempt);
        shown["stream"] = json!({
            "exporter": **exporter,
            "signal": name.signal.name(),
            "tenant": name.key.tenant(),
            "key": name.key.text(),
        });
        shown
    };
    attempts.iter().map(shown).collect()
}
