//! Dead letters that are long on their way to the disk: what is counted meanwhile.
//!
//! The disk is slow because the runtime's only thread for files is busy.

use std::sync::mpsc;

use sluice::otlp::Signal;
use tokio::runtime::{Builder, Runtime};

use crate::support::Sluice;
use crate::support::payload::logs;
use crate::support::sinks;
use crate::support::yaml::{self, LETTERS};

/// What one exporter with room for one stream is told beside its URL.
const SHEDDING: &str = "sending_queue: { when_full: shed, batch: { min_size: 1, flush_timeout: 0s } }";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("there are threads")
}

/// Nothing is read or written before this is dropped.
struct SlowDisk(#[expect(dead_code, reason = "whoever holds it keeps the thread waiting")] mpsc::Sender<()>);

impl SlowDisk {
    fn begin() -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || receiver.recv());
        Self(sender)
    }
}

#[test]
fn what_was_shed_is_pending_until_its_letter_is_written() {
    runtime().block_on(async {
        let up = sinks::recording().await;
        let config = yaml::up(&up.url(), &[SHEDDING]) + LETTERS + "limits: { streams: 1 }\n";
        let sluice = Sluice::start(&config).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        sluice.settled().await;
        let slow = SlowDisk::begin();
        sluice.post(Signal::Logs, logs(&[("b", &["y", "z"])])).await;
        let metrics = sluice.assert_conserved().await;
        assert_eq!(metrics.sum("sluice_pending_records", &[]), 2.0);
        drop(slow);
        assert_eq!(sluice.settled().await.exported("otlp_http/up", "dead_lettered"), 2.0);
    });
}
