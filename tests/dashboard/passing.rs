//! The figures and records on a page are those that pass.

use std::time::Duration;

use serde_json::json;
use sluice::otlp::Signal;

use crate::scenes::Scene;
use crate::setup::check;
use crate::support::Sluice;
use crate::support::payload::{entry_of, request, resource};

/// Sends records of every signal, without an end.
async fn keep_sending(sluice: &Sluice) {
    loop {
        for signal in Signal::ALL {
            let resource = resource(&[("tenant.id", "acme"), ("s2.stream", "alpha")]);
            sluice.accept(signal, request(&[entry_of(signal, resource, &["one", "two"])])).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a script while records pass.
async fn check_while_records_pass(script: &str) {
    let (scene, facts) = (Scene::start().await, json!({}));
    tokio::select! {
        () = check(script, scene.sluice.admin, &facts) => {}
        () = keep_sending(&scene.sluice) => unreachable!("it has no end"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_equals_the_apis_while_records_pass() {
    check_while_records_pass("figures.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_shown_as_they_pass_and_found_afterwards() {
    check_while_records_pass("tap.mjs").await;
}
