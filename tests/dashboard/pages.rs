//! Every page, as different people see it.

use serde_json::json;

use crate::scenes::{Scene, WRITER};
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
    check("keyboard.mjs", scene.sluice.admin, &json!({ "token": WRITER })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_orders_are_in_the_address_and_come_from_it() {
    let scene = Scene::start().await;
    check("addresses.mjs", scene.sluice.admin, &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sluice_to_which_nothing_was_sent_says_what_to_do_next() {
    let (up, endpoint) = (sinks::counting().await, sinks::nobody().await);
    let token = "the-token-of-acme-0123456789";
    // Whoever pastes the command has to have a token, and a record has to have what the route looks at.
    let rest = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{endpoint}', auth: {{ authenticator: tenants }} }} }} }} }}\n\
         tenants: {{ list: [{{ id: acme, senders: [{{ name: web, token: {token} }}] }}] }}\n\
         routes: [{{ match: {{ shop: 'eu-*' }}, exporters: [otlp_http/up] }}]\n"
    );
    let exporters = yaml::exporters(&[("otlp_http/up", yaml::to(&up.url(), &[]))]);
    let sluice = Sluice::start(&(exporters + &rest)).await;
    check("first_steps.mjs", sluice.admin, &json!({ "endpoint": endpoint.to_string(), "token": token }))
        .await;
}
