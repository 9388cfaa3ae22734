//! The figures and records on a page are those that pass, which real SDKs send.

use serde_json::json;
use tokio::process::{Child, Command};

use crate::scenes::Scene;
use crate::setup::check;
use crate::support::{Sluice, eventually, sdks};

/// Programs with the SDKs for Python and Node.js that send records of every signal, without an end, each for a tenant of its own.
struct SdkLoad([Child; 2]);

impl SdkLoad {
    /// Starts them, and waits until both have sent records of every signal.
    async fn start(sluice: &Sluice) -> Self {
        let begin = |mut command: Command, tenant: &str, stream: &str| {
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", sluice.otlp))
                .env("OTEL_RESOURCE_ATTRIBUTES", format!("tenant.id={tenant},s2.stream={stream}"))
                .envs(
                    ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"]
                        .map(|name| (name, "100")),
                )
                .kill_on_drop(true)
                .spawn()
                .expect("what runs it was set up")
        };
        let load = Self([
            begin(sdks::python("load.py"), "acme", "of-python"),
            begin(sdks::node("load.js"), "initech", "of-node"),
        ]);
        for stream in ["of-python", "of-node"] {
            eventually(&format!("records of every signal arrive in {stream}"), async || {
                let page = sluice.api(&format!("/api/v1/streams?key={stream}")).await;
                let streams = page["streams"].as_array().unwrap();
                let arrived = streams.iter().filter(|stream| stream["delivered_records"].as_u64() > Some(0));
                (arrived.count() == 3).then_some(())
            })
            .await;
        }
        load
    }

    /// Ends them: both have gone on for as long as they were wanted.
    fn end(mut self) {
        for child in &mut self.0 {
            assert_eq!(child.try_wait().unwrap(), None, "the SDK still sends");
        }
    }
}

/// Runs a script while records pass.
async fn check_while_records_pass(script: &str) {
    let scene = Scene::start().await;
    let load = SdkLoad::start(&scene.sluice).await;
    check(script, scene.sluice.admin, &json!({})).await;
    load.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_equals_the_apis_while_records_pass() {
    check_while_records_pass("figures.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_shown_as_they_pass_and_found_afterwards() {
    check_while_records_pass("tap.mjs").await;
}
