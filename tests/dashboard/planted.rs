//! What senders and upstreams say is shown as text, whatever it is, and secrets are not shown at all.

use serde_json::json;
use sluice::otlp::Signal;

use crate::scenes::{Scene, WRITER};
use crate::setup::check;
use crate::support::payload::{entry_of, request, resource};

/// What would run if it were taken for markup.
const SCRIPT: &str = "<script>window.planted=1</script><img src=x onerror=window.planted=1>";

/// What must not be seen anywhere.
const SECRETS: [&str; 3] = ["s3cr3t-header", "s3cr3t-value", "the-token-of-acme-0123456789"];

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_every_attribute_is_text_and_a_secret_is_nowhere() {
    let more = format!(
        "  - {{ name: '{SCRIPT}', match: {{ to: none }}, exporters: [otlp_http/well] }}\n\
         unrouted: reject # {SCRIPT}\n"
    );
    let scene = Scene::start_with(&more).await;
    for signal in Signal::ALL {
        for to in ["well", "refusing", "picky"] {
            let attributes = [
                ("to", to),
                ("tenant.id", "acme"),
                ("s2.stream", SCRIPT),
                ("service.name", SCRIPT),
                (SCRIPT, SCRIPT),
            ];
            let entry = entry_of(signal, resource(&attributes), &[SCRIPT]);
            scene.sluice.accept(signal, request(&[entry])).await;
        }
    }
    let secrets = [&SECRETS[..], &[WRITER]].concat();
    check("planted.mjs", scene.sluice.admin, &json!({ "script": SCRIPT, "secrets": secrets })).await;
}
