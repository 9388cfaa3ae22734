//! Forgetting idle streams.

use std::sync::Arc;
use std::time::Duration;

use super::Router;

/// How often the registries are swept; an idle stream lives that much longer at most.
const INTERVAL: Duration = Duration::from_secs(15);

/// Sweeps for ever.
pub async fn sweep(router: Arc<Router>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for exporter in router.exporters().iter() {
            exporter.registry().sweep();
        }
    }
}
