//! The JSON of `GET /api/v1/config`.

use serde_json::{Value, json};

use crate::export::rfc3339;
use crate::run::{ReloadError, Router};

/// `GET /api/v1/config`.
pub(super) fn config(router: &Router) -> Value {
    let report = router.report();
    json!({
        "source": report.source,
        "version": report.version,
        "loaded_at": rfc3339(report.loaded_at),
        "last_error": report.last_error.as_ref().map(|(at, error)| json!({
            "at": rfc3339(*at), "error": error.to_string(), "problems": problems(error),
        })),
        "warnings": report.warnings,
        "config": report.redacted,
        "presets": report.presets,
    })
}

/// The problems of a configuration one by one, where there are any.
pub(super) fn problems(error: &ReloadError) -> Value {
    match error {
        ReloadError::Problems(problems) => json!(problems.list),
        _ => json!([]),
    }
}
