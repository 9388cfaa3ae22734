//! What is drawn of metrics that several sources send, and what a watch says that fires.

use serde_json::json;

use crate::setup::check;
use crate::support::Sluice;

/// Streams by one attribute, and by two of which each may be as long as a key.
const YAML: &str = "
exporters: { nop: }
tenants: { list: [{ id: acme }, { id: globex }] }
routes:
  - { match: { to: parts }, key: { first: s2.stream, second: s2.other }, exporters: [nop] }
  - { tenants: '*', key: s2.stream, exporters: [nop] }
tap: { open: true }
watches:
  - { name: errors, query: 'body:error', tenants: '*', above: 2 in 1h }
  - { name: all-errors, query: 'body:error', above: 100 in 1h }
";

#[tokio::test(flavor = "multi_thread")]
async fn each_source_of_a_metric_is_drawn_by_itself_and_a_watch_that_fires_is_told_everywhere() {
    let sluice = Sluice::start(YAML).await;
    tokio::spawn(sluice::run::judge_watches(sluice.router().clone()));
    check("series.mjs", sluice.admin, &json!({ "otlp": sluice.url() })).await;
}
