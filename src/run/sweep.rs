//! What is looked at now and then: streams that are idle, tenants of which nothing is left, and dead letters that somebody has taken
//! away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Router;
use crate::notice;

/// How often; an idle stream lives that much longer at most.
const INTERVAL: Duration = Duration::from_secs(15);

/// Sweeps for ever. A slow disk delays only what is about the disk.
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
        // Streams use the accounts of their tenants.
        router.tenants().release_idle();
    }
}

/// So that `sluice_dead_letter_bytes` falls after a replay.
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
