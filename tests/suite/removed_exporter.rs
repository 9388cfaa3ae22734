//! The time that a removed exporter has.

use std::sync::Arc;
use std::time::Duration;

use sluice::export::Exporter;
use sluice::otlp::Signal;

use crate::support::payload::logs;
use crate::support::router::write_config;
use crate::support::{Sluice, eventually, sinks, yaml};

#[tokio::test]
async fn an_exporter_that_is_removed_again_has_the_whole_time_again() {
    let url = format!("http://{}", sinks::nobody().await);
    let config = |exporter: &str, timeout: &str| {
        let exporters = yaml::exporters(&[(exporter, yaml::to(&url, &[]))]);
        format!("{exporters}{}shutdown_timeout: {timeout}\n", yaml::by_stream(exporter))
    };
    let sluice = Sluice::start(&config("otlp_http/one", "1s")).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    let one: Arc<Exporter> = sluice.router().exporters()[0].clone();

    tokio::time::pause();
    // At one moment, so that the first removal does not notice that it is over.
    for (exporter, timeout) in [("other", "1s"), ("one", "1s"), ("other", "100s")] {
        write_config(sluice.directory(), &config(&format!("otlp_http/{exporter}"), timeout));
        sluice.router().reload().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(!one.is_given_up() && one.registry().pending_records() == 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(one.is_given_up());
    tokio::time::resume();
    eventually("it is gone", async || {
        sluice.router().exporters().iter().all(|exporter| !Arc::ptr_eq(exporter, &one)).then_some(())
    })
    .await;
}
