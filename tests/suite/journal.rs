//! With a journal, what was acknowledged outlives the process, and what can't be kept is refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluice::otlp::Signal;

use crate::support::gate::Gate;
use crate::support::http::Answer;
use crate::support::payload::{filler, logs};
use crate::support::sinks::{self, Received as _};
use crate::support::site::HeldAddress;
use crate::support::yaml::{self, QUICK, SINGLY};
use crate::support::{Front, Site, SluiceProcess, eventually};

const UP: &str = "otlp_http/up";

const JOURNAL: &str = "journal: { directory: '@DIR@/journal' }\nshutdown_timeout: 1s\n";

/// One exporter, and a journal.
fn config(up: &str) -> String {
    yaml::up(up, &[SINGLY, QUICK]) + JOURNAL
}

async fn accept(front: &Front, stream: &str, texts: &[&str]) {
    front.accept(Signal::Logs, logs(&[(stream, texts)])).await;
}

async fn terminate(mut process: SluiceProcess) {
    process.signal("TERM").await;
    assert_eq!(process.ended().await.code(), Some(0), "{:#?}", process.log());
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused() {
    let (first, second) = (Site::new(), Site::new());
    let up = sinks::recording().await;
    let running = first.start(&config(&up.url())).await;
    let yaml = config(&up.url()).replace("@DIR@", first.directory().to_str().expect("UTF-8"));
    let mut other = second.launch(&yaml, &[]);
    assert_eq!(other.ended().await.code(), Some(1));
    let line = other.logged("is in use by another process").await;
    let directory = first.directory().join("journal");
    assert!(line.contains(directory.to_str().expect("UTF-8")), "{line}");
    assert!(line.contains("give each one a directory of its own"), "{line}");

    accept(&running, "a", &["x"]).await;
    up.records(1).await;
    terminate(running).await;
    // It is free now.
    terminate(second.start(&yaml).await).await;
}

#[tokio::test]
async fn what_sigterm_leaves_is_delivered_in_order_by_the_next_process_and_counted_as_recovered() {
    let (site, held) = (Site::new(), HeldAddress::any());
    let url = format!("http://{}", held.address());
    let first = site.start(&config(&url)).await;
    for nth in 0..20 {
        accept(&first, "a", &[&format!("a{nth}")]).await;
        accept(&first, "b", &[&format!("b{nth}"), "more"]).await;
    }
    let metrics = first.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_pending_records", &[]), 60.0);
    first.signal("TERM").await;
    let line = first.logged("what is not delivered stays in the journal").await;
    assert!(line.contains("records=60"), "{line}");
    terminate(first).await;

    let second = site.start(&config(&url)).await;
    let metrics = second.assert_conserved().await;
    let recovered = |metrics: &crate::support::Metrics| metrics.sum("sluice_recovered_records_total", &[]);
    assert_eq!((recovered(&metrics), metrics.sum("sluice_pending_records", &[])), (60.0, 60.0));
    accept(&second, "a", &["last"]).await;
    let up = sinks::recording_at(held.address()).await;
    let metrics = second.settled().await;
    assert_eq!((metrics.exported(UP, "delivered"), recovered(&metrics)), (61.0, 60.0));
    let of = |stream: &str| -> Vec<String> {
        up.texts(Signal::Logs).into_iter().filter(|text| text.starts_with(stream)).collect()
    };
    assert_eq!(of("a"), (0..20).map(|nth| format!("a{nth}")).collect::<Vec<_>>());
    assert_eq!(of("b"), (0..20).map(|nth| format!("b{nth}")).collect::<Vec<_>>());
    assert_eq!(up.texts(Signal::Logs).len(), 61, "each once");
    terminate(second).await;

    // Nothing is left to come again.
    let third = site.start(&config(&url)).await;
    assert_eq!(recovered(&third.metrics().await), 0.0);
}

#[tokio::test]
async fn entries_of_an_exporter_that_is_not_configured_any_more_are_kept_told_and_delivered_when_it_is_again()
{
    let (site, held) = (Site::new(), HeldAddress::any());
    let ours = config(&format!("http://{}", held.address()));
    let others = ours.replace(UP, "otlp_http/other");
    let mut first = site.start(&ours).await;
    for text in ["0", "1", "2"] {
        accept(&first, "a", &[text]).await;
    }
    first.kill().await;

    let second = site.start(&others).await;
    let line = second.logged("an exporter that the configuration doesn't have").await;
    assert!(line.contains(UP) && line.contains("records=3"), "{line}");
    let up = sinks::recording_at(held.address()).await;
    accept(&second, "a", &["other"]).await;
    up.records(1).await;
    terminate(second).await;
    assert_eq!(up.texts(Signal::Logs), ["other"]);

    let third = site.start(&ours).await;
    up.records(4).await;
    let metrics = third.settled().await;
    assert_eq!(metrics.sum("sluice_recovered_records_total", &[("exporter", UP)]), 3.0);
    assert_eq!(up.texts(Signal::Logs), ["other", "0", "1", "2"]);
    terminate(third).await;
}

#[tokio::test]
async fn acknowledge_delivered_answers_after_the_upstream_and_a_503_leaves_nothing_in_the_journal() {
    let (site, gate) = (Site::new(), Gate::start().await);
    let yaml = config(&gate.url()) + "acknowledge: delivered\nacknowledge_timeout: 500ms\n";
    let first = site.start(&yaml).await;
    let front = site.front();
    let post = |text: &'static str| {
        let front = front.clone();
        tokio::spawn(async move { front.post(Signal::Logs, logs(&[("a", &[text])])).await })
    };
    let waiting = post("taken");
    gate.arrived(1).await;
    assert!(!waiting.is_finished(), "it is in the journal, and not delivered");
    gate.answer(200);
    assert_eq!(waiting.await.unwrap().status, 200);

    // In an attempt when its time is over: it may still be taken, and is refused.
    let under_way = post("under way").await.unwrap();
    // Behind it, and in no attempt: it is taken back, from the journal, too.
    let behind = post("behind").await.unwrap();
    assert_eq!((under_way.status, behind.status), (503, 503));
    assert!(behind.headers.contains_key("retry-after"));
    gate.answer(200);
    first.settled().await;
    terminate(first).await;

    let second = site.start(&yaml).await;
    let metrics = second.settled().await;
    assert_eq!(metrics.sum("sluice_recovered_records_total", &[]), 0.0);
    assert!(!gate.texts().concat().contains(&"behind".to_owned()), "{:?}", gate.texts());
    terminate(second).await;
}

/// A request of a quarter of a mebibyte.
async fn post_large(front: &Front, nth: usize) -> Answer {
    front.post(Signal::Logs, logs(&[("a", &[&filler(&format!("{nth:04}"), 256 << 10)])])).await
}

/// Sends requests until one is refused; those that were accepted. The refused one has to say when to come again.
async fn fill(front: &Front, from: usize) -> Vec<usize> {
    let mut accepted = Vec::new();
    for nth in from..from + 500 {
        let answer = post_large(front, nth).await;
        if answer.status == 200 {
            accepted.push(nth);
            continue;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        return accepted;
    }
    panic!("nothing was refused");
}

/// The numbers that the texts begin with.
fn numbers(up: &rig::sink::Sink) -> Vec<usize> {
    let texts = up.texts(Signal::Logs);
    texts.iter().map(|text| text[..4].parse().expect("a text begins with its number")).collect()
}

#[tokio::test]
async fn a_full_journal_refuses_keeps_what_it_accepted_and_takes_again_when_there_is_room() {
    let (site, held) = (Site::new(), HeldAddress::any());
    let yaml = yaml::up(&format!("http://{}", held.address()), &[SINGLY, QUICK])
        + "journal: { directory: '@DIR@/journal', max_size: 16MiB, segment_size: 1MiB }\nshutdown_timeout: 1s\n";
    let mut first = site.start(&yaml).await;
    let mut accepted = fill(&first, 0).await;
    assert!(!accepted.is_empty());
    assert!(bytes_in(&site.directory().join("journal")) <= 16 << 20, "it takes no more than it may");
    // Full as it is, it is opened again.
    first.kill().await;
    let second = site.start(&yaml).await;
    let metrics = second.assert_conserved().await;
    assert_eq!(metrics.sum("sluice_pending_records", &[]), accepted.len() as f64);

    let up = sinks::recording_at(held.address()).await;
    second.settled().await;
    let next = accepted.last().unwrap() + 2;
    let answer = eventually("it takes again", async || {
        Some(post_large(&second, next).await).filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(answer.partial(Signal::Logs), None);
    second.settled().await;
    accepted.push(next);
    assert_eq!(numbers(&up), accepted, "all that was accepted, in order, and nothing that was refused");
    terminate(second).await;
}

fn bytes_in(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("it is there");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len())).sum()
}

/// A file system of 24 MiB in memory, as long as this is there.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where it is not possible: it takes the rights to mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("the directory is the test's");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "sluice-test"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            problem => {
                eprintln!("skipped: a small file system can't be mounted ({problem:?})");
                None
            }
        }
    }

    /// Takes all the room that is left; gives it back when the file is removed.
    fn stuff(&self) -> PathBuf {
        let file = self.0.join("stuffing");
        // It ends where there is no more room.
        let written = std::fs::write(&file, vec![1; 32 << 20]);
        assert!(written.is_err(), "there is no room for 32 MiB");
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has files there may end later.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_used_again_by_itself_when_there_is_room() {
    let (site, held) = (Site::new(), HeldAddress::any());
    let Some(disk) = SmallDisk::mount(&site.directory().join("disk")) else { return };
    let yaml = yaml::up(&format!("http://{}", held.address()), &[SINGLY, QUICK])
        + "journal: { directory: '@DIR@/disk/journal', segment_size: 1MiB }\nshutdown_timeout: 1s\n";
    let process = site.start(&yaml).await;
    let mut accepted = vec![0];
    assert_eq!(post_large(&process, 0).await.status, 200);

    let stuffing = disk.stuff();
    accepted.extend(fill(&process, 1).await);
    assert_eq!(process.get("/healthz").await.status, 200);
    let next = accepted.last().unwrap() + 2;
    assert_eq!(post_large(&process, next).await.status, 503);
    std::fs::remove_file(stuffing).expect("it is there");
    eventually("it takes again", async || (post_large(&process, next).await.status == 200).then_some(()))
        .await;
    accepted.push(next);
    // Without stuffing: the journal may grow to more than the disk.
    accepted.extend(fill(&process, next + 1).await);

    let up = sinks::recording_at(held.address()).await;
    tokio::time::timeout(Duration::from_secs(60), process.settled()).await.expect("it is delivered");
    assert_eq!(numbers(&up), accepted, "all that was accepted, in order, and nothing that was refused");
    let last = accepted.last().unwrap() + 2;
    eventually("it takes again", async || (post_large(&process, last).await.status == 200).then_some(()))
        .await;
    process.settled().await;
    let mut log = process.log().into_iter();
    assert!(!log.any(|line| line.contains("panicked")), "{:#?}", process.log());
    terminate(process).await;
}
