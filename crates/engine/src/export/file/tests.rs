mod foreign;
mod modes;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tempfile::TempDir;

use super::*;
use crate::route::RoutingKey;
use crate::stream::StreamName;
use otlp::Signal;

fn stream(key: &str, signal: Signal) -> StreamName {
    StreamName { signal, key: RoutingKey::written(key) }
}

/// One `ResourceLogs` without fields.
fn batch() -> Batch {
    Batch::new(Signal::Logs, vec![Bytes::from_static(b"\x0a\x00")], 1)
}

fn transport(path: PathBuf, max_file_size: u64, max_backups: usize) -> FileTransport {
    FileTransport::new(&FileSettings { path, mode: 0o600, max_file_size, max_backups })
}

/// Names the directory to a process that [`process_of`] has started.
const DIRECTORY: &str = "SLUICE_TEST_FILES_IN";

/// The directory of a test that runs in a process of its own; `None` in the one that is to start it.
fn directory_of_this_process() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Runs a test of this module once more, alone, in a process that bash has prepared: limits and the umask are a process's.
fn process_of(test: &str, preparation: &str, directory: &Path) {
    let name = format!("export::file::tests::{test}");
    let output = Command::new("bash")
        .args(["-c", &format!("{preparation}; exec \"$@\""), "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{preparation}: {said} {output:?}");
}

async fn write(transport: &FileTransport, key: &'static str) -> Answer {
    transport.attempt(&transport.target(&stream(key, Signal::Logs)), &batch()).await
}

async fn must_write(transport: &FileTransport, key: &'static str) {
    let answer = write(transport, key).await;
    assert_eq!(
        answer.outcome,
        AttemptOutcome::Delivered { rejected: 0, warning: false },
        "{}",
        answer.detail
    );
}

/// The lines of a file, each of which must be an export request.
fn lines(path: PathBuf) -> usize {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    for line in text.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(json["resourceLogs"].is_array(), "{line}");
    }
    text.lines().count()
}

fn names(directory: PathBuf) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_stream_has_a_directory_and_a_signal_a_file() {
    let transport = transport("data".into(), 1, 1);
    let path = |key, signal| transport.target(&stream(key, signal)).to_string();
    assert_eq!(path("shop", Signal::Traces), "data/shop/traces.jsonl");
    assert_eq!(path("../shop", Signal::Logs), "data/%2E.%2Fshop/logs.jsonl");
}

#[tokio::test]
async fn every_batch_is_one_line_of_json() {
    let root = TempDir::new().unwrap();
    let transport = transport(root.path().join("new"), 1 << 20, 0);
    for _ in 0..3 {
        must_write(&transport, "k").await;
    }
    assert_eq!(lines(root.path().join("new/k/logs.jsonl")), 3);
}

#[tokio::test]
async fn a_line_is_the_request_that_was_sent() {
    let record = LogRecord {
        time_unix_nano: 1_767_323_045_000_000_000,
        body: Some(AnyValue { value: Some(StringValue("two\nlines \u{2028} \"quoted\"".to_owned())) }),
        trace_id: vec![0xab; 16],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record; 3], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let root = TempDir::new().unwrap();
    let transport = transport(root.path().into(), 1 << 20, 0);
    let batch =
        Batch::new(Signal::Logs, vec![request.encode_to_vec().into(), request.encode_to_vec().into()], 6);
    let target = transport.target(&stream("k", Signal::Logs));
    assert_eq!(transport.attempt(&target, &batch).await.code, "written");

    let text = fs::read_to_string(target.path()).unwrap();
    assert_eq!(text.lines().count(), 1);
    let mut read: ExportLogsServiceRequest = serde_json::from_str(&text).unwrap();
    assert_eq!(read.resource_logs.len(), 2);
    read.resource_logs.truncate(1);
    assert_eq!(read, request);
}

#[tokio::test]
async fn a_file_that_is_there_is_continued() {
    let root = TempDir::new().unwrap();
    for _ in 0..2 {
        must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    }
    assert_eq!(lines(root.path().join("k/logs.jsonl")), 2);
}

#[tokio::test]
async fn a_file_that_would_grow_too_large_is_renamed_first() {
    let root = TempDir::new().unwrap();
    must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    let line = fs::metadata(root.path().join("k/logs.jsonl")).unwrap().len();
    let transport = transport(root.path().into(), line * 2, 0);
    for _ in 0..6 {
        must_write(&transport, "k").await;
    }
    let names = names(root.path().join("k"));
    assert_eq!(names.len(), 4, "{names:?}");
    let (current, backups) = names.split_last().unwrap();
    assert_eq!((current.as_str(), lines(root.path().join("k").join(current))), ("logs.jsonl", 1));
    for backup in backups {
        assert!(backup.starts_with("logs-2") && backup.ends_with("Z.jsonl"), "{backup}");
        assert_eq!(lines(root.path().join("k").join(backup)), 2);
    }
}

#[tokio::test]
async fn a_line_larger_than_a_file_may_be_has_a_file_of_its_own() {
    let root = TempDir::new().unwrap();
    let transport = transport(root.path().into(), 1, 0);
    for _ in 0..3 {
        must_write(&transport, "k").await;
    }
    assert_eq!(names(root.path().join("k")).len(), 3);
}

#[tokio::test]
async fn only_the_newest_backups_of_the_signal_are_kept() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("k");
    fs::create_dir(&directory).unwrap();
    let others = [
        "traces-20200101T000000.000Z.jsonl",
        "notes.txt",
        "logs-important.jsonl",
        "logs-20200101.jsonl",
        "logs-20200101T000000.000Z.json",
        "logs-20200101T000000.000Z.old.jsonl",
        "logs-errors-20200101T000000.000Z.jsonl",
    ];
    for name in others.into_iter().chain(["logs-20200101T000000.000Z.jsonl"]) {
        fs::write(directory.join(name), "\n").unwrap();
    }
    // Sluice makes neither.
    fs::create_dir(directory.join("logs-20200101T000000.001Z.jsonl")).unwrap();
    std::os::unix::fs::symlink("notes.txt", directory.join("logs-20200101T000000.002Z.jsonl")).unwrap();
    let transport = transport(root.path().into(), 1, 2);
    for _ in 0..5 {
        must_write(&transport, "k").await;
    }
    let names = names(directory);
    assert!(!names.contains(&"logs-20200101T000000.000Z.jsonl".to_owned()));
    for other in
        others.into_iter().chain(["logs-20200101T000000.001Z.jsonl", "logs-20200101T000000.002Z.jsonl"])
    {
        assert!(names.iter().any(|name| name == other), "{other} is not there any more: {names:?}");
    }
    assert_eq!(names.len(), others.len() + 2 + 1 + 2, "beside them the file and two backups: {names:?}");
}

/// The first half of a line of logs.
const HALF: &[u8] = b"{\"resourceLogs\":[{";

#[tokio::test]
async fn a_torn_line_is_cut_off_before_the_next_is_written() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("k/logs.jsonl");
    must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
    for torn in [1, 5, 64 * 1024 - 1, 64 * 1024, 200_000] {
        let mut text = fs::read(&path).unwrap();
        text.extend(HALF.iter().copied().chain(std::iter::repeat(b'[')).take(torn));
        fs::write(&path, text).unwrap();
        must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
    }
    assert_eq!(lines(path.clone()), 6);
    // A line may be torn anywhere, also where it is all there is in the file.
    let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    for end in 0..line.len() {
        fs::write(&path, &line[..end]).unwrap();
        must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{line}\n"), "{end}");
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_or_removed_is_made_again() {
    let root = TempDir::new().unwrap();
    let transport = transport(root.path().into(), 1 << 20, 0);
    must_write(&transport, "k").await;
    fs::rename(root.path().join("k/logs.jsonl"), root.path().join("moved")).unwrap();
    must_write(&transport, "k").await;
    fs::remove_dir_all(root.path().join("k")).unwrap();
    must_write(&transport, "k").await;
    assert_eq!(lines(root.path().join("k/logs.jsonl")), 1);
    assert_eq!(lines(root.path().join("moved")), 1);
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again_until_it_can() {
    let root = TempDir::new().unwrap();
    // A file stands where the directory should be.
    let blocked = root.path().join("data");
    fs::write(&blocked, "").unwrap();
    let transport = transport(blocked.clone(), 1 << 20, 0);
    let answer = write(&transport, "k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
    assert!(answer.detail.contains("data/k/logs.jsonl"), "{}", answer.detail);
    fs::remove_file(&blocked).unwrap();
    must_write(&transport, "k").await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_leaves_no_half_line() {
    // To the one who writes, a limit for the size of files is a disk without room.
    if let Some(root) = directory_of_this_process() {
        let transport = transport(root.clone(), 1 << 20, 0);
        let mut whole = 0;
        let answer = loop {
            let answer = write(&transport, "k").await;
            if answer.code != "written" {
                break answer;
            }
            whole += 1;
        };
        assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
        assert!(answer.detail.contains("File too large"), "{}", answer.detail);
        let len = fs::metadata(root.join("k/logs.jsonl")).unwrap().len();
        assert_ne!(len, 1024, "part of the last line had room");
        assert_eq!(lines(root.join("k/logs.jsonl")), whole);
        let answer = write(&transport, "foreign").await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
        return;
    }
    let root = TempDir::new().unwrap();
    let foreign = root.path().join("foreign/logs.jsonl");
    fs::create_dir(root.path().join("foreign")).unwrap();
    fs::write(&foreign, [b'x'; 1020]).unwrap();
    let test = "a_full_disk_is_an_error_that_leaves_no_half_line";
    process_of(test, "trap '' XFSZ; ulimit -f 1", root.path());
    assert_eq!(fs::read(&foreign).unwrap(), [b'x'; 1020]);

    // Once there is room it goes on.
    let whole = lines(root.path().join("k/logs.jsonl"));
    must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    assert_eq!(lines(root.path().join("k/logs.jsonl")), whole + 1);
}

#[tokio::test]
async fn open_files_are_bounded() {
    let root = TempDir::new().unwrap();
    let transport = transport(root.path().into(), 1 << 20, 0);
    let mut keys = Vec::new();
    for number in 0..MAX_OPEN + 50 {
        keys.push(&*Box::leak(format!("k{number}").into_boxed_str()));
    }
    for key in keys.iter().chain(&keys) {
        must_write(&transport, key).await;
        // One that is used again and again stays.
        must_write(&transport, "often").await;
    }
    assert_eq!(transport.shared.open.lock().files.len(), MAX_OPEN);
    assert!(transport.shared.open.lock().files.keys().any(|path| path.ends_with("often/logs.jsonl")));
    for key in keys {
        assert_eq!(lines(root.path().join(key).join("logs.jsonl")), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_of_a_stream_do_not_mix() {
    let root = TempDir::new().unwrap();
    must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    let line = fs::metadata(root.path().join("k/logs.jsonl")).unwrap().len();
    let transport = Arc::new(transport(root.path().into(), line * 10, 0));
    let writers: Vec<_> = (0..50)
        .map(|_| {
            let transport = Arc::clone(&transport);
            tokio::spawn(async move { must_write(&transport, "k").await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let directory = root.path().join("k");
    let total: usize = names(directory.clone()).into_iter().map(|name| lines(directory.join(name))).sum();
    assert_eq!(total, 51);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_another_is_writing_is_waited_for_and_not_cut() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("k/logs.jsonl");
    must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    let line = fs::read(&path).unwrap();
    let (first, second) = line.split_at(line.len() / 2);
    // Both one that has the file open and one that opens it now.
    let open = transport(root.path().into(), 1 << 20, 0);
    must_write(&open, "k").await;
    for transport in [open, transport(root.path().into(), 1 << 20, 0)] {
        let mut other = fs::OpenOptions::new().append(true).open(&path).unwrap();
        other.lock().unwrap();
        other.write_all(first).unwrap();
        let answer = write(&transport, "k").await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
        assert!(answer.detail.contains("has locked the file"), "{}", answer.detail);
        other.write_all(second).unwrap();
        drop(other);
        must_write(&transport, "k").await;
    }
    assert_eq!(lines(path), 6);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_cut_off_also_by_one_that_has_the_file_open() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("k/logs.jsonl");
    let transport = transport(root.path().into(), 1 << 20, 0);
    must_write(&transport, "k").await;
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(HALF).unwrap();
    must_write(&transport, "k").await;
    assert_eq!(lines(path), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_exporters_write_to_one_path_without_losing_a_line() {
    let root = TempDir::new().unwrap();
    must_write(&transport(root.path().into(), 1 << 20, 0), "k").await;
    let line = fs::metadata(root.path().join("k/logs.jsonl")).unwrap().len();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let transport = transport(root.path().into(), line * 3, 0);
            tokio::spawn(async move {
                for _ in 0..25 {
                    must_write(&transport, "k").await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let directory = root.path().join("k");
    let total: usize = names(directory.clone()).into_iter().map(|name| lines(directory.join(name))).sum();
    assert_eq!(total, 101);
}
