//! Every page, as different people see it.

use serde_json::json;

use crate::scenes::Scene;
use crate::setup::check;

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
