//! The JSON of `GET /api/v1/config`.

use serde_json::{Value, json};

use crate::run::{ReloadError, ReloadRecord, Router};
use crate::utc::rfc3339;

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
    let ReloadRecord { at, by, outcome } = record;
    json!({
        "at": rfc3339(*at),
        "by": by,
        "outcome": if outcome.is_ok() { "succeeded" } else { "failed" },
        "version": outcome.as_ref().ok(),
        "error": outcome.as_ref().err(),
    })
}

/// The text of the configuration that could not be used, secrets replaced, if the error is about one.
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
