//! What is done on a page is done: asked back first, with the token that it takes.

use serde_json::json;

use crate::scenes::{Scene, WRITER};
use crate::setup::check;

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_asked_back_takes_the_write_token_and_changes_what_it_says() {
    let scene = Scene::start().await;
    check("actions.mjs", scene.sluice.admin, &json!({ "token": WRITER })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_tried_before_it_is_used_and_tells_where_a_payload_would_go() {
    let scene = Scene::start().await;
    let facts = json!({ "token": WRITER, "file": scene.sluice.config(), "rows": scene.sluice.directory().join("rows.yaml") });
    check("configuration.mjs", scene.sluice.admin, &facts).await;
}
