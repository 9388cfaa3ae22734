//! One record's way, through the library and through the binary.

use sluice::otlp::Signal;

use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::{Sluice, SluiceProcess, yaml};

#[tokio::test]
async fn a_record_passes_through_the_library() {
    let up = sinks::recording().await;
    let sluice = Sluice::start(&yaml::up(&up.url(), &[])).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["hello"])])).await;
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["hello"]);
    let metrics = sluice.settled().await;
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), 1.0);
}

#[tokio::test]
async fn a_record_passes_through_the_binary() {
    let up = sinks::recording().await;
    let mut sluice = SluiceProcess::start(&yaml::up(&up.url(), &[]), &[]).await;
    sluice.accept(Signal::Logs, logs(&[("a", &["hello"])])).await;
    up.records(1).await;
    assert_eq!(up.texts(Signal::Logs), ["hello"]);
    sluice.settled().await;
    sluice.signal("TERM").await;
    assert!(sluice.ended().await.success(), "{:?}", sluice.log());
}
