//! Dead letters: found by filters, looked into, replayed and deleted, with what came of it told whole.

use rig::sink::Fault;
use serde_json::json;
use sluice::otlp::Signal;

use crate::scenes::{Scene, WRITER};
use crate::setup::check;

/// Letters beside the one of the scene: signal, tenant, stream and texts, each of which is a letter.
const LETTERS: [(Signal, &str, &str, &[&str]); 5] = [
    (Signal::Traces, "acme", "epsilon", &["span one", "span two", "span three", "span four"]),
    (Signal::Metrics, "acme", "epsilon", &["point one", "point two"]),
    (Signal::Logs, "acme", "epsilon", &["line one", "line two", "line three"]),
    (Signal::Logs, "globex", "zeta", &["never taken, one", "never taken, two", "taken"]),
    (Signal::Logs, "initech", "eta", &["other one", "other two"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_found_replayed_and_deleted_and_what_came_of_it_is_told_whole() {
    let scene = Scene::start().await;
    let mut total = 1;
    for (signal, tenant, stream, texts) in LETTERS {
        for text in texts {
            scene.send_refused(signal, tenant, stream, text).await;
            total += 1;
        }
    }
    scene.picky.set_fault(Fault::status(400).message("no such project").on_text("never taken"));
    check("letters.mjs", scene.sluice.admin, &json!({ "token": WRITER, "total": total })).await;
}
