//! Tables where there is little room.

use serde_json::json;
use sluice::otlp::Signal;

use crate::scenes::Scene;
use crate::setup::check;
use crate::support::payload::{entry_of, request, resource};

#[tokio::test(flavor = "multi_thread")]
async fn names_states_and_signals_are_seen_whole_on_a_phone_and_a_tablet() {
    let scene = Scene::start().await;
    let long = "checkout-service.eu-west-1.production".to_owned();
    for signal in Signal::ALL {
        let resource = resource(&[("to", "refusing"), ("tenant.id", "acme"), ("s2.stream", &long)]);
        scene.sluice.accept(signal, request(&[entry_of(signal, resource, &["one"])])).await;
    }
    check("narrow.mjs", scene.sluice.admin, &json!({ "long": long })).await;
}
