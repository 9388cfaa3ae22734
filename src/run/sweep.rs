//! Periodic work: forgets idle streams and the accounts of tenants without data, and counts dead letters that were removed by others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Router;
use crate::notice;

/// How often; an idle stream lives at most so much longer.
const INTERVAL: Duration = Duration::from_secs(15);

/// Sweeps for ever. A slow disk delays the count of dead letters alone.
pub async fn sweep(router: Arc<Router>) {
    tokio::join!(forget_what_is_idle(&router), count_dead_letters(&router));
}

async fn forget_what_is_idle(router: &Router) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for exporter in router.exporters().iter() {
            exporter.sweep();
        }
        router.shared().sweep();
        // After the streams, which use the accounts of their tenants.
        router.tenants().release_idle();
    }
}

/// Counts the dead letters, so that `sluice_dead_letter_bytes` falls after a replay by the command.
async fn count_dead_letters(router: &Router) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(dead_letters) = router.intake().dead_letters.load_full() else { continue };
        if let Err(error) = dead_letters.recount().await
            && let Some(suppressed) = notice::due("dead_letter", "count")
        {
            warn!(suppressed, %error, "can't count the dead letters");
        }
    }
}
