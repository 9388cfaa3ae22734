//! The files of a `file` exporter, as the real program makes them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use sluice::otlp::Signal;

use crate::support::payload::logs;
use crate::support::yaml::{QUICK, SINGLY, by_stream, exporters};
use crate::support::{SluiceProcess, eventually};

fn config(options: &str) -> String {
    let options = format!("path: ./data, {QUICK}, {SINGLY}, {options}");
    exporters(&[("file/local", options)]) + &by_stream("file/local")
}

/// The permissions in the data directory, in octal.
fn permissions<const N: usize>(sluice: &SluiceProcess, names: [&str; N]) -> [String; N] {
    names.map(|name| {
        let metadata = fs::metadata(sluice.directory().join("data").join(name)).unwrap();
        format!("{:04o}", metadata.permissions().mode() & 0o7777)
    })
}

async fn accept(sluice: &SluiceProcess, stream: &str) {
    sluice.accept(Signal::Logs, logs(&[(stream, &["x"])])).await;
}

#[tokio::test]
async fn a_mode_that_a_reload_brings_is_for_new_files() {
    let sluice = SluiceProcess::start(&config(""), &[]).await;
    accept(&sluice, "a").await;
    sluice.settled().await;
    assert_eq!(permissions(&sluice, ["", "a", "a/logs.jsonl"]), ["0700", "0700", "0600"]);

    sluice.write_config(&config("mode: 0640"));
    eventually("version 2", async || (sluice.api("/api/v1/config").await["version"] == 2).then_some(()))
        .await;
    for stream in ["a", "b"] {
        accept(&sluice, stream).await;
    }
    sluice.settled().await;
    let names = ["", "a", "a/logs.jsonl", "b", "b/logs.jsonl"];
    assert_eq!(permissions(&sluice, names), ["0700", "0700", "0600", "0750", "0640"]);
    let lines = fs::read_to_string(sluice.directory().join("data/a/logs.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2);
}

#[tokio::test]
async fn a_link_in_place_of_a_file_holds_its_stream_until_it_is_removed() {
    let sluice = SluiceProcess::start(&config(""), &[]).await;
    let [victim, link] = ["victim", "data/a/logs.jsonl"].map(|name| sluice.directory().join(name));
    fs::write(&victim, "theirs").unwrap();
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(&victim, &link).unwrap();
    accept(&sluice, "a").await;
    sluice.logged("logs.jsonl`: it is a symbolic link: remove it").await;
    // Others go on.
    accept(&sluice, "b").await;
    let other = sluice.directory().join("data/b/logs.jsonl");
    eventually("the other stream's line", async || other.exists().then_some(())).await;
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");

    fs::remove_file(&link).unwrap();
    sluice.settled().await;
    assert_eq!(fs::read_to_string(&link).unwrap().lines().count(), 1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
}

#[tokio::test]
async fn a_file_of_somebody_else_is_continued_whole_with_one_warning() {
    const WARNING: &str = "this file was not written by Sluice, and its last line has no line break";
    let sluice = SluiceProcess::start(&config(""), &[]).await;
    let file = sluice.directory().join("data/a/logs.jsonl");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "theirs\nhalf").unwrap();
    for _ in 0..3 {
        accept(&sluice, "a").await;
    }
    sluice.settled().await;
    let text = fs::read_to_string(&file).unwrap();
    let ours = text.strip_prefix("theirs\nhalf\n").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(ours.lines().count(), 3);
    assert!(
        ours.lines().all(|line| line.starts_with("{\"resourceLogs\":[") && line.ends_with('}')),
        "{ours}"
    );
    sluice.logged(WARNING).await;
    assert_eq!(sluice.log().iter().filter(|line| line.contains(WARNING)).count(), 1);
}
