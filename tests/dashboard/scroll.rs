//! A table of a hundred thousand rows is scrolled as one of ten.

use serde_json::json;
use sluice::otlp::Signal;

use crate::setup::check;
use crate::support::payload::{entry, request};
use crate::support::{Sluice, sinks, yaml};

/// Streams in the table.
const STREAMS: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_streams_scroll_with_a_frame_in_32_ms() {
    let up = sinks::counting().await;
    // Nothing is sent, so that no stream is idle for a minute and leaves the table while it is looked at.
    let exporter = yaml::up(&up.url(), &["sending_queue: { batch: { flush_timeout: 1h } }"]);
    let sluice = Sluice::start(&(format!("limits: {{ streams: {STREAMS} }}\n") + &exporter)).await;
    let all: Vec<usize> = (0..STREAMS).collect();
    for part in all.chunks(2000) {
        let entries: Vec<_> = part
            .iter()
            .map(|number| entry(Signal::Logs, &format!("stream-{number:06}"), &["text"]))
            .collect();
        sluice.accept(Signal::Logs, request(&entries)).await;
    }
    check("scroll.mjs", sluice.admin, &json!({ "streams": STREAMS })).await;
}
