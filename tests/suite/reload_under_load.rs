//! Reloading while thousands of requests a second come in.

use std::fmt::Write as _;
use std::time::Duration;

use rig::send::{Load, SendSettings};
use sluice::otlp::Signal;

use crate::support::http;
use crate::support::sinks;
use crate::support::{PATIENCE, SluiceProcess, eventually};

const RELOADS: usize = 100;

/// Every version has other routes, headers, values that these read, and batch sizes; all send the same streams to the
/// same exporter.
fn version(url: &str, number: usize) -> String {
    let (min, max) = ([1, 4, 64, 256][number % 4], [256, 300, 512][number % 3]);
    let flush = [1, 5, 20][number % 3];
    let read = ["", "{{ key }}", "{{ key | upper }}"][number % 3];
    let mut yaml = format!(
        "exporters:\n  otlp_http/up:\n    endpoint: {url}\n    compression: none\n    \
         headers: {{ x-version: \"{number} {read}\" }}\n    \
         sending_queue: {{ batch: {{ min_size: {min}KiB, max_size: {max}KiB, flush_timeout: {flush}ms }} }}\nroutes:\n"
    );
    for route in 0..number % 5 {
        let _ = writeln!(
            yaml,
            "  - {{ name: other-{route}, match: {{ service.name: 'nobody-{number}-{route}' }}, exporters: [otlp_http/up] }}"
        );
    }
    if number % 2 == 1 {
        yaml.push_str("  - { name: some, match: { s2.stream: 'stream-[0-4]*' }, key: s2.stream, exporters: [otlp_http/up] }\n");
    }
    yaml.push_str(
        "  - { name: all, match: { s2.stream: '*' }, key: s2.stream, exporters: [otlp_http/up] }\n",
    );
    yaml
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_reorder_duplicate_and_refuse_nothing() {
    let up = sinks::counting().await;
    let sluice = SluiceProcess::start(&version(&up.url(), 0), &[]).await;
    let load = Load::start(SendSettings {
        streams: 16,
        entries: 1,
        records: 1,
        connections: 16,
        timeout: Duration::from_secs(10),
        ..SendSettings::new(sluice.url())
    })
    .expect("the settings are right");
    for number in 1..=RELOADS {
        // Some requests meet every version.
        let before = load.progress().requests;
        eventually("requests go on", async || (load.progress().requests >= before + 100).then_some(())).await;
        sluice.write_config(&version(&up.url(), number));
        let answer = http::send(sluice.admin, "POST", "/api/v1/reload", &[], bytes::Bytes::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    load.stop();
    let report = load.finish().await;
    // How many a second depends on the machine and the build (`cargo test --release`), so it is shown and not asserted.
    println!("{RELOADS} reloads under load\n{report}");
    assert!(report.all_taken() && report.retries.is_empty(), "{report}");

    up.wait_for_records(report.records, PATIENCE).await.expect("everything arrives");
    let metrics = sluice.settled().await;
    let counts = up.counts();
    assert_eq!(counts.records, report.records, "nothing is lost, nothing comes twice");
    assert_eq!(
        (counts.missing, counts.reordered, counts.duplicates, counts.refused),
        (0, 0, 0, 0),
        "{counts:?}"
    );
    for acknowledged in &report.sequences {
        let stream = up.stream(Signal::Logs, &acknowledged.stream);
        assert_eq!(stream.senders[&acknowledged.sender], acknowledged.records, "{acknowledged:?}");
    }
    assert_eq!(metrics.exported("otlp_http/up", "delivered"), report.records as f64);
    let reloads = metrics.sum("sluice_config_reloads_total", &[("outcome", "succeeded")]);
    assert!(reloads >= RELOADS as f64, "{reloads}");
    assert_eq!(metrics.sum("sluice_config_reloads_total", &[("outcome", "failed")]), 0.0);
}
