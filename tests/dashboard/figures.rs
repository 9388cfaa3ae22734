//! The figures on a page are those of the API.

use std::time::Duration;

use serde_json::json;
use sluice::otlp::Signal;

use crate::scenes::Scene;
use crate::setup::check;
use crate::support::payload::{entry_of, request, resource};

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_equals_the_apis_while_records_pass() {
    let scene = Scene::start().await;
    let sending = async {
        let resource = || resource(&[("tenant.id", "acme"), ("s2.stream", "alpha")]);
        let body = request(&[entry_of(Signal::Logs, resource(), &["one", "two"])]);
        loop {
            scene.sluice.accept(Signal::Logs, body.clone()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = check("figures.mjs", scene.sluice.admin, &json!({})) => {}
        () = sending => unreachable!("it goes on until the browser has seen enough"),
    }
}
