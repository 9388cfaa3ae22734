//! Panics in processes of their own, in every kind of place.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::*;
use crate::export::{Active, exporter_settings, http_settings};
use crate::journal::simulation::SimulatedDisk;
use crate::journal::stalling::StallingDisk;
use crate::journal::{Journal, JournalEntry, JournalSettings, StreamEntries, StreamKey};
use crate::net::{Network, SimulatedListener, SimulatedNetwork, Soon, Transmission};
use crate::stream::{Admission, Budget, EngineState, Placement, Reservation, StreamCount};
use otlp::Signal;

/// Set in a process that is to panic, to where it should.
const PLACE: &str = "SLUICE_TEST_PANICS_IN";

/// Longer than anything takes that is not stuck.
const LONG: Duration = Duration::from_secs(120);

/// Runs `test` alone in a process of its own, in which [`PLACE`] is `place`.
fn process_that_panics_in(place: &str, test: &str) -> Output {
    Command::new(std::env::current_exe().expect("tests are a program"))
        .args(["--exact", &format!("panics::tests::{test}"), "--nocapture"])
        .env(PLACE, place)
        .output()
        .expect("it can be started")
}

/// What this process is to panic in, if it is one of those.
fn place() -> Option<&'static str> {
    let place: &'static str = std::env::var(PLACE).ok()?.leak();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    end_the_process();
    Some(place)
}

/// What is in the log of a process that has ended as a panic should end it.
#[track_caller]
fn log_of_a_loud_end(output: &Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(EXIT_CODE), "{log}");
    assert!(
        log.contains("ERROR") && log.contains("ending with exit code 70, because of a bug in Sluice"),
        "{log}"
    );
    log
}

/// Panics when it is dropped.
struct EndsInPanic(&'static str);

impl Drop for EndsInPanic {
    fn drop(&mut self) {
        panic!("found by {}", self.0);
    }
}

fn panic_in(place: &'static str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bug = move || panic!("found by {place}");
        let ended = match place {
            "a task" => tokio::spawn(async move { bug() }).await,
            "a blocking task" => tokio::task::spawn_blocking(bug).await,
            "a thread" => {
                _ = std::thread::spawn(bug).join();
                unreachable!("the process has ended")
            }
            "a connection" => tokio::spawn(Contained::new(async move { bug() })).await,
            "blocking work of a connection" => {
                tokio::spawn(Contained::new(async move { blocking_as_here(bug).await })).await
            }
            "blocking work of a task" => tokio::spawn(blocking_as_here(bug)).await,
            "the end of a connection" => {
                let ending = EndsInPanic(place);
                let panicked = tokio::spawn(Contained::new(async move {
                    let _ending = ending;
                    std::future::pending::<()>().await;
                }));
                tokio::task::yield_now().await;
                panicked.abort();
                panicked.await
            }
            other => unreachable!("{other}"),
        };
        ended.unwrap_err();
        assert_eq!(contained_panics(), 1);
        // What the thread does next is not contained any more.
        assert!(!CONTAINED.get());
    });
}

#[test]
fn a_panic_ends_the_process_unless_it_is_in_a_connection() {
    if let Some(place) = place() {
        return panic_in(place);
    }
    let test = "a_panic_ends_the_process_unless_it_is_in_a_connection";
    for place in ["a task", "a blocking task", "a thread", "blocking work of a task"] {
        let log = log_of_a_loud_end(&process_that_panics_in(place, test));
        assert!(log.contains(&format!("found by {place}")), "{log}");
    }
    for place in ["a connection", "blocking work of a connection", "the end of a connection"] {
        let Output { status, stderr, .. } = process_that_panics_in(place, test);
        let log = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(0), "{place}: {log}");
        assert!(
            log.contains("a connection was closed by a bug") && log.contains(&format!("found by {place}")),
            "{log}"
        );
    }
}

/// Waits for a journal one of whose threads panics: as a sender does for its answer, and then as whoever has delivered
/// what was in it. Comes to an end if nothing ends the process.
fn wait_for_a_journal_whose_thread_panics(thread: &'static str) {
    let disk = StallingDisk::new(SimulatedDisk::new(1).process());
    disk.panic_in(thread);
    let settings =
        JournalSettings { max_size: 16 << 20, segment_size: 1 << 20, ..JournalSettings::new("simulated") };
    let (journal, _) = Journal::open_on_disk(settings, disk.disk(), JournalSettings::PATIENCE).unwrap();
    let stream = journal.stream(&StreamKey::from(b"a".as_slice()));
    let entry = JournalEntry { bytes: b"entry".as_slice().into(), records: 1 };
    let (answer, answered) = mpsc::channel();
    let group = StreamEntries { stream, entries: [entry].into_iter().collect() };
    journal.append(vec![group], Box::new(move |done| drop(answer.send(done))));
    answered.recv_timeout(LONG).expect("the request is answered").unwrap();
    journal.settle(stream, 0..=0);
    let (_never, pause) = mpsc::channel::<()>();
    _ = pause.recv_timeout(LONG);
}

#[test]
fn a_panic_in_a_thread_of_the_journal_ends_the_process() {
    if let Some(place) = place() {
        return wait_for_a_journal_whose_thread_panics(place);
    }
    for thread in ["journal-commit", "journal-maintain"] {
        let test = "a_panic_in_a_thread_of_the_journal_ends_the_process";
        let log = log_of_a_loud_end(&process_that_panics_in(thread, test));
        assert!(log.contains(&format!("found by the thread `{thread}`")), "{log}");
        assert!(log.contains(&format!("thread=\"{thread}\"")), "{log}");
    }
}

/// A network that panics when a connection is to be opened, which the task does that sends for a stream.
#[derive(Debug)]
struct PanickingNetwork;

impl SimulatedNetwork for PanickingNetwork {
    fn bind(&self, _: SocketAddr) -> std::io::Result<Box<dyn SimulatedListener>> {
        unreachable!("nobody listens here")
    }

    fn connect(&self, host: &str, _: u16) -> Soon<'static, std::io::Result<Box<dyn Transmission>>> {
        panic!("found by whoever sends to {host}")
    }
}

/// Waits until a stream whose task panics has sent what it holds. Comes to an end if nothing ends the process.
fn wait_for_a_stream_whose_task_panics() {
    let (name, settings): (Arc<str>, _) =
        ("otlp_http/up".into(), exporter_settings(http_settings("http://up.example")));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let network = Network::Simulated(Arc::new(PanickingNetwork));
        let active = Active::new(&name, settings, &network, None).unwrap();
        let budget = Arc::new(Budget::new(1 << 20));
        let shared = Arc::new(EngineState::new(budget.clone(), Arc::new(StreamCount::new(1)), None));
        let exporter = crate::export::start(name, active, shared, Arc::default());
        let mut admission = Admission::new(Signal::Logs, Reservation::empty(budget), 0);
        let at = Placement { registry: exporter.registry(), key: "a", route: None };
        admission.place(0, &b"entry".as_slice().into(), 1, &at).unwrap();
        admission.commit().unwrap();
        exporter.drained(tokio::time::Instant::now() + LONG).await;
    });
}

#[test]
fn a_panic_in_the_task_of_a_stream_ends_the_process() {
    if place().is_some() {
        return wait_for_a_stream_whose_task_panics();
    }
    let test = "a_panic_in_the_task_of_a_stream_ends_the_process";
    let log = log_of_a_loud_end(&process_that_panics_in("the task of a stream", test));
    assert!(log.contains("found by whoever sends to up.example"), "{log}");
}
