//! `GET /api/v1/journal`: what the journal says about itself.

use serde_json::{Value, json};

use crate::journal::{JournalSettings, JournalState, SyncPolicy};
use crate::rounded::seconds;
use crate::run::{RecoveryReport, Router, Unclaimed};
use crate::utc::rfc3339;

/// The most cases of damage, and the most exporters, that are listed; the log has a line for each.
const LISTED: usize = 100;

/// The state of the journal, or that there is no journal.
pub(super) fn shown(router: &Router) -> Value {
    match (&router.intake().journal, router.recovered()) {
        (Some(journal), Some((settings, recovered))) => {
            state(settings, &journal.state(), recovered, &router.unclaimed())
        }
        _ => json!({ "directory": null }),
    }
}

fn state(
    settings: &JournalSettings,
    state: &JournalState,
    recovered: &RecoveryReport,
    unclaimed: &[Unclaimed],
) -> Value {
    let damage = &recovered.damage;
    let damage_shown: Vec<String> = damage.iter().take(LISTED).map(ToString::to_string).collect();
    let unclaimed_shown: Vec<Value> = unclaimed
        .iter()
        .take(LISTED)
        .map(|left| {
            json!({
                "exporter": *left.exporter,
                "streams": left.streams,
                "records": left.records,
                "bytes": left.bytes,
            })
        })
        .collect();
    json!({
        "directory": settings.directory.display().to_string(),
        "sync": match settings.sync {
            SyncPolicy::Always => "always".to_owned(),
            SyncPolicy::Every(every) => format!("{every:?}"),
            SyncPolicy::Never => "never".to_owned(),
        },
        "bytes": state.bytes_on_disk,
        "max_size": state.max_size,
        "live_bytes": state.live_bytes,
        "segments": state.segments,
        "spare_segments": state.spare_segments,
        "streams": state.streams,
        "waiting_requests": state.waiting,
        "written": {
            "requests": state.written.requests,
            "entries": state.written.entries,
            "bytes": state.written.bytes,
        },
        "settled_entries": state.settled_entries,
        "carried_bytes": state.carried_bytes,
        "commits": state.commits,
        "last_commit_seconds": seconds(state.last_commit),
        "syncs": state.syncs,
        "last_sync_seconds": seconds(state.last_sync),
        "failing": state.failing.as_ref().map(|failing| json!({
            "since": rfc3339(failing.since), "why": *failing.why,
        })),
        "quarantined": { "places": state.quarantined, "bytes": state.quarantined_bytes },
        "recovery": {
            "segments": recovered.segments,
            "seconds": seconds(recovered.took),
            "damage": { "total": damage.len(), "shown": damage_shown },
        },
        "unclaimed": { "total": unclaimed.len(), "shown": unclaimed_shown },
    })
}
