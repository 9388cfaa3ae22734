//! The harness that all scenarios share: Sluice itself ([`Sluice`] in this process, [`SluiceProcess`] as the real
//! binary, and at a [`Site`] one after the other), what to ask it ([`Front`]), what to send ([`payload`]), and waiting
//! without sleeping ([`eventually`]). The upstream is `rig::sink::Sink`, the sender of many requests
//! `rig::send::Load`.
#![allow(dead_code, unused_imports, reason = "not every scenario needs every part")]
#![allow(unreachable_pub, reason = "modules of a test binary are reached by no other crate")]

pub mod clock;
pub mod editor_schema;
pub mod eventful;
pub mod events;
pub mod fixtures;
pub mod front;
pub mod gate;
pub mod grpc;
pub mod grpc_upstream;
pub mod http;
pub mod http2;
pub mod install;
pub mod letters;
pub mod metrics;
pub mod own_telemetry;
pub mod payload;
pub mod process;
pub mod router;
pub mod scripted;
pub mod sdks;
pub mod sinks;
pub mod site;
pub mod stand_ins;
pub mod telemetry;
pub mod tls;
pub mod token_server;
pub mod wire;
pub mod yaml;

pub use front::Front;
pub use metrics::Metrics;
pub use process::SluiceProcess;
pub use router::Sluice;
pub use site::Site;

use std::time::Duration;

use tokio::time::Instant;

/// The deadline of everything that is waited for: far longer than it takes on a busy machine, since it only decides
/// when a test that fails gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `reached` gives a value; panics after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut reached: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = reached().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
