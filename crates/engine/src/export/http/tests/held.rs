//! A wrong token for an hour, from the queue to the socket. The connections are real; the clock stands still but for
//! the steps that the test takes, since it never waits for a timer itself.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::Value;

use super::upstream::{Received, Then, Upstream};
use super::{exporter, header, http_settings};
use crate::dead_letters::{DeadLetterSettings, DeadLetters, letters};
use crate::export::{Active, Exporter, Fate};
use crate::net::Network;
use crate::stream::{Admission, Budget, EngineState, Placement, Reservation, StreamCount};
use otlp::{Signal, put_frame};

const STREAMS: usize = 20;

/// Longer than the longest wait, jitter included: after it every stream has tried once more.
const STEP: Duration = Duration::from_secs(46);

/// An hour of steps.
const STEPS: usize = 3600 / 46 + 1;

/// A log that can be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Logs what this thread does, until the guard is dropped.
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines with this text.
    fn lines(&self, text: &str) -> Vec<Value> {
        let log = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"].as_str().unwrap().contains(text)).collect()
    }
}

fn key(stream: usize) -> String {
    format!("s{stream}")
}

/// What is sent to a stream in a step, under its frame.
fn framed(step: usize) -> Vec<u8> {
    let entry = format!("entry {step}").into_bytes();
    let mut framed = Vec::new();
    put_frame(&mut framed, entry.len());
    framed.extend_from_slice(&entry);
    framed
}

/// Admits an entry with one record for every stream.
fn admit(exporter: &Exporter, step: usize) {
    let entry = format!("entry {step}").into_bytes();
    for stream in 0..STREAMS {
        let reservation = Reservation::empty(exporter.registry().shared().budget.clone());
        let mut admission = Admission::new(Signal::Logs, reservation, 0);
        let at = Placement { registry: exporter.registry(), key: &key(stream), route: None };
        admission.place(0, &entry.as_slice().into(), 1, &at).unwrap();
        admission.commit().unwrap();
    }
}

/// Gives way to the runtime until `done`. It has something to do all the time, so the clock stands still.
async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..10_000_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never happened: {what}");
}

/// The bodies of each stream, in order.
fn bodies(requests: &[Received]) -> HashMap<String, Vec<Vec<u8>>> {
    let mut bodies: HashMap<_, Vec<_>> = HashMap::new();
    for request in requests {
        let path = request.line.split(' ').nth(1).unwrap();
        bodies.entry(path.trim_start_matches('/').to_owned()).or_default().push(request.body.clone());
    }
    bodies
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_401_holds_the_streams_and_then_all_is_delivered_in_order() {
    let log = Log::default();
    let _logging = log.start();
    let works = Arc::new(AtomicBool::new(false));
    let upstream = {
        let works = works.clone();
        Upstream::new(move |_| {
            let status = if works.load(Ordering::Relaxed) { "200 OK" } else { "401 Unauthorized" };
            Then::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
        })
        .await
    };
    let mut http = http_settings(&format!("http://{}/{{{{ key }}}}", upstream.address));
    http.upstream.headers = vec![header("authorization", "Bearer hunter2")];
    let mut settings = exporter(http);
    // What is only unavailable would have been given up by then.
    settings.retry.max_elapsed_time = Duration::from_secs(300);
    let directory = tempfile::tempdir().unwrap();
    let dead_letters = DeadLetters::open(&DeadLetterSettings {
        directory: directory.path().into(),
        max_size: 1 << 20,
        synced: false,
    });
    let exporter = crate::export::start(
        "otlp_http/held".into(),
        Active::new("otlp_http/held", settings, &Network::Machine, None).unwrap(),
        Arc::new(EngineState::new(Arc::new(Budget::new(1 << 24)), Arc::new(StreamCount::new(STREAMS)), None)),
        Arc::new(ArcSwapOption::from_pointee(dead_letters.unwrap())),
    );
    let attempts = || exporter.counters().attempts().into_values().sum::<u64>() as usize;

    for step in 0..STEPS {
        admit(&exporter, step);
        until("every stream tries once in a step", || attempts() == STREAMS * (step + 1)).await;
        tokio::time::advance(STEP).await;
    }

    until("the last try before the token works", || attempts() == STREAMS * (STEPS + 1)).await;
    assert_eq!(exporter.registry().pending_records() as usize, STREAMS * STEPS, "all of it is still there");
    let refused = upstream.received();
    for (stream, tries) in bodies(&refused) {
        assert_eq!(tries, vec![framed(0); STEPS + 1], "{stream}: nothing overtakes what is held");
    }
    let said = log.lines("the stream is held");
    assert_eq!(said.len(), STREAMS * (STEPS + 1), "each stream is named once a step");
    for line in &said {
        assert_eq!((&line["level"], &line["exporter"]), (&"ERROR".into(), &"otlp_http/held".into()));
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("check its credentials: 401"), "{message}");
    }

    works.store(true, Ordering::Relaxed);
    tokio::time::advance(STEP).await;
    until("all is delivered", || exporter.registry().pending_records() == 0).await;
    let expected: Vec<u8> = (0..STEPS).flat_map(framed).collect();
    let delivered = bodies(&upstream.received()[refused.len()..]);
    assert_eq!(delivered.len(), STREAMS);
    for (stream, bodies) in delivered {
        assert_eq!(bodies.concat(), expected, "{stream}: each entry once, in order");
    }
    let ended = |fate| exporter.counters().exported(Signal::Logs, fate) as usize;
    assert_eq!(
        Fate::ALL.map(|fate| (fate, ended(fate))).iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
        [&(Fate::Delivered, STREAMS * STEPS)]
    );
    assert!(letters(directory.path()).unwrap().letters.is_empty());
    assert_eq!(log.lines("stream delivers again").len(), STREAMS);
    assert!(!String::from_utf8_lossy(&log.0.lock()).contains("hunter2"));
}
