//! Dead letters that are long on their way to the disk: what is counted meanwhile, and what the shutdown makes of them.
//!
//! The disk is slow because the runtime's only thread for files is busy. On a clock that stands still unless it is moved by
//! hand, nothing depends on how fast anything is.

use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use sluice::otlp::Signal;
use sluice::run::Leftovers;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance};

use crate::support::payload::logs;
use crate::support::sinks::{self, Received as _};
use crate::support::yaml::{self, LETTERS, QUICK, SINGLY};
use crate::support::{Sluice, eventually};

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

/// Moves the clock until something has happened; returns what, and how long it took.
async fn step_until<T: Send + 'static>(done: impl Future<Output = T> + Send + 'static) -> (T, Duration) {
    let start = Instant::now();
    let task = tokio::spawn(done);
    for _ in 0..10_000 {
        if task.is_finished() {
            return (task.await.expect("it doesn't panic"), start.elapsed());
        }
        advance(Duration::from_millis(50)).await;
    }
    panic!("it never happened");
}

async fn shut_down(sluice: &Sluice) -> (Leftovers, Duration) {
    let router = sluice.router().clone();
    step_until(async move { sluice::run::shut_down(&router).await }).await
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
        assert_eq!(sluice.api("/api/v1/streams").await["total"], 1);
        assert_eq!(sluice.api("/api/v1/exporters").await["exporters"][0]["pending_records"], 2);
        drop(slow);
        assert_eq!(sluice.settled().await.exported("otlp_http/up", "dead_lettered"), 2.0);
    });
}

#[test]
fn what_was_shed_and_could_not_be_written_is_left_over() {
    runtime().block_on(async {
        let up = sinks::recording().await;
        let config =
            yaml::up(&up.url(), &[SHEDDING]) + LETTERS + "limits: { streams: 1 }\nshutdown_timeout: 1s\n";
        let sluice = Sluice::start(&config).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        up.records(1).await;
        let _slow = SlowDisk::begin();
        sluice.post(Signal::Logs, logs(&[("b", &["y", "z"])])).await;
        tokio::time::pause();
        let (left, _) = shut_down(&sluice).await;
        assert_eq!(left.exporters.len(), 1);
        assert_eq!((left.exporters[0].records, left.exporters[0].dead_lettered), (2, 0));
        assert_eq!(left.exporters[0].loss, Some(sluice::run::LossCause::TooLate));
    });
}

#[test]
fn letters_of_what_was_cut_out_that_could_not_be_written_are_told() {
    runtime().block_on(async {
        let up = sinks::recording().await;
        let sluice = Sluice::start(&(yaml::up(&up.url(), &[SINGLY]) + LETTERS)).await;
        let _slow = SlowDisk::begin();
        let bad_entry = crate::support::payload::field(1, crate::support::payload::field(1, b"\xff"));
        let body = [logs(&[("a", &["good"])]), bad_entry].concat();
        assert_eq!(sluice.post(Signal::Logs, body).await.status, 200);
        up.records(1).await;
        tokio::time::pause();
        let (left, _) = shut_down(&sluice).await;
        assert_eq!((left.exporters.len(), left.unwritten_cuts, left.is_empty()), (0, 1, false));
    });
}

#[test]
fn exporters_that_are_given_up_have_one_time_together_and_no_letter_is_begun_after_it() {
    runtime().block_on(async {
        let nobody = format!("http://{}", sinks::nobody().await);
        let names: Vec<String> = (0..20).map(|index| format!("otlp_http/{index}")).collect();
        let exporters: Vec<(&str, String)> =
            names.iter().map(|name| (name.as_str(), yaml::to(&nobody, &[SINGLY, QUICK]))).collect();
        let config = yaml::exporters(&exporters)
            + &yaml::by_stream(&names.join(", "))
            + LETTERS
            + "shutdown_timeout: 1s\n";
        let sluice = Sluice::start(&config).await;
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        let slow = SlowDisk::begin();
        tokio::time::pause();
        let (left, took) = shut_down(&sluice).await;
        assert_eq!(left.exporters.len(), 20);
        assert!(left.exporters.iter().all(|left| (left.records, left.dead_lettered) == (1, 0)));
        assert!(
            took < Duration::from_secs(8),
            "1 s to deliver, 5 s for letters, 1 s to finish them: {took:?}"
        );
        tokio::time::resume();
        drop(slow);
        let pending = || -> u64 {
            sluice.router().exporters().iter().map(|exporter| exporter.registry().pending_records()).sum()
        };
        eventually("the letters that were begun are written", async || (pending() == 16).then_some(())).await;
    });
}
