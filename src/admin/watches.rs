//! `GET /api/v1/watches`: the watches, their counts, and which of them fire.

use serde_json::{Value, json};

use crate::rounded::seconds;
use crate::run::Router;
use crate::utc::rfc3339;
use crate::watches::{FiringSeries, RecordWatch, Threshold};

/// The most series of a watch that are shown; there is one for each tenant.
const MOST_SERIES: usize = 100;

/// All watches, in the order of the configuration.
pub(super) fn shown(router: &Router) -> Value {
    let alertmanager = router.alertmanager().map(|alertmanager| {
        let (told_at, error) = alertmanager.last_told();
        json!({ "url": alertmanager.url(), "last_sent": told_at.map(rfc3339), "last_error": error })
    });
    let watches: Vec<Value> = router.intake().observer.watches().iter().map(|watch| one(watch)).collect();
    json!({ "watches": watches, "alertmanager": alertmanager })
}

fn one(watch: &RecordWatch) -> Value {
    let (settings, state) = (watch.settings(), watch.state());
    let globs = settings.tenants.as_ref();
    let tenants = globs.map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (above, below) = match settings.threshold {
        Threshold::Above { records, .. } => (Some(records), None),
        Threshold::Below { records, .. } => (None, Some(records)),
    };
    let word = if !state.firing.is_empty() {
        "firing"
    } else if state.is_waiting {
        "waiting"
    } else {
        "ok"
    };
    let series = |FiringSeries { tenant, since, counted }: &FiringSeries| json!({ "tenant": tenant.as_deref(), "since": rfc3339(*since), "records": counted });
    json!({
        "name": settings.name,
        "query": settings.shown_query,
        "tenants": tenants,
        "above": above,
        "below": below,
        "within_seconds": seconds(settings.threshold.within()),
        "state": word,
        "records_total": state.total,
        "records": state.counted,
        "firing_total": state.firing.len(),
        "firing": state.firing.iter().take(MOST_SERIES).map(series).collect::<Vec<_>>(),
    })
}
