//! `GET /api/v1/watches`: the watches, their counts, and which of them fire.

use serde_json::{Value, json};

use crate::rounded::seconds;
use crate::run::Router;
use crate::utc::rfc3339;
use crate::watches::{FiringSeries, RecordWatch};

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

/// What fires for this tenant by itself.
pub(super) fn firing_of(router: &Router, tenant: &str) -> Vec<Value> {
    let watches = router.intake().observer.watches();
    let firing = watches.iter().filter_map(|watch| {
        let FiringSeries { since, counted, .. } = watch.firing_of(tenant)?;
        let threshold = watch.settings().threshold;
        let (above, below) = threshold.bounds();
        Some(json!({
            "watch": watch.settings().name,
            "since": rfc3339(since),
            "records": counted,
            "above": above,
            "below": below,
            "within_seconds": seconds(threshold.within()),
        }))
    });
    firing.collect()
}

fn one(watch: &RecordWatch) -> Value {
    let (settings, state) = (watch.settings(), watch.state());
    let globs = settings.tenants.as_ref();
    let tenants = globs.map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (above, below) = settings.threshold.bounds();
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
        "nearest_tenant": state.nearest.map(|(id, records)| json!({ "id": *id, "records": records })),
        "firing_total": state.firing.len(),
        "firing": state.firing.iter().take(MOST_SERIES).map(series).collect::<Vec<_>>(),
    })
}
