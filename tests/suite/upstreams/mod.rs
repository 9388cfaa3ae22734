//! The presets of upstreams, against stand-ins that are as strict as the real ones: what is filled in is enough to be taken,
//! and what an upstream answers has the consequence that fits it.

mod better_stack;
mod highlight;
mod s2;

use sluice::otlp::Signal;

use crate::support::payload::{entry_of, request, resource};
use crate::support::{Front, Sluice};

/// Retries that a test can wait for, also after a status that holds.
const QUICK: &str = "retry_on_failure: { initial_interval: 5ms, max_interval: 20ms }";

/// Sends a record for each text, whose resource has these attributes, and which have to be taken.
async fn send(front: &Front, signal: Signal, attributes: &[(&str, &str)], texts: &[&str]) {
    front.accept(signal, request(&[entry_of(signal, resource(attributes), texts)])).await;
}

/// Of each `len` texts that begin with `name`.
fn texts(name: &str, len: usize) -> Vec<String> {
    (0..len).map(|number| format!("{name} {number}")).collect()
}

#[tokio::test]
async fn the_api_shows_what_presets_have_filled_in_and_no_token() {
    let yaml = "exporters:\n\
                \x20 otlp_http/honeycomb: { preset: honeycomb, token: s3cret, timeout: 5s }\n\
                \x20 otlp_grpc/new_relic: { preset: new_relic, token: s3cret }\n\
                routes: [{ key: service.name, exporters: [otlp_http/honeycomb, otlp_grpc/new_relic] }]\n";
    let sluice = Sluice::start(yaml).await;
    let page = sluice.api("/api/v1/config").await;
    let option = |key: &str, value: &str| serde_json::json!({ "key": key, "value": value });
    let expected = serde_json::json!([
        { "exporter": "otlp_http/honeycomb", "preset": "honeycomb", "filled_in": [
            option("endpoint", "https://api.honeycomb.io"),
            option("headers.x-honeycomb-team", "[redacted]"),
            option("headers.x-honeycomb-dataset", "{{ key }}"),
        ] },
        { "exporter": "otlp_grpc/new_relic", "preset": "new_relic", "filled_in": [
            option("endpoint", "https://otlp.nr-data.net:4317"),
            option("headers.api-key", "[redacted]"),
        ] },
    ]);
    assert_eq!(page["presets"], expected);
    assert_eq!(page["config"]["exporters"]["otlp_http/honeycomb"]["preset"], "honeycomb", "{page}");
    assert!(!page.to_string().contains("s3cret"), "{page}");
}
