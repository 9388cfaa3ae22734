//! Every page, as different people see it.

use serde_json::json;

use crate::scenes::Scene;
use crate::setup::check;
use crate::support::{Sluice, sinks, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_itself_in_both_colours_and_on_a_phone_without_an_error() {
    let scene = Scene::start().await;
    check("pages.mjs", scene.sluice.admin, &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_reached_and_done_by_the_keyboard_alone() {
    let scene = Scene::start().await;
    check("keyboard.mjs", scene.sluice.admin, &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_orders_are_in_the_address_and_come_from_it() {
    let scene = Scene::start().await;
    check("addresses.mjs", scene.sluice.admin, &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sluice_to_which_nothing_was_sent_says_what_to_do_next() {
    let (up, endpoint) = (sinks::counting().await, sinks::nobody().await);
    let receivers =
        format!("receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{endpoint}' }} }} }} }}\n");
    let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))]);
    let sluice = Sluice::start(&(receivers + &exporters + "routes: [{ exporters: [otlp_http/up] }]\n")).await;
    check("first_steps.mjs", sluice.admin, &json!({ "endpoint": endpoint.to_string() })).await;
}
