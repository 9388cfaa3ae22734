//! What somebody else has put where an exporter writes.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

/// The line of a batch, with its line break.
const LINE: &str = "{\"resourceLogs\":[{}]}\n";

/// Puts a file of somebody else where the logs of `k` go.
fn foreign(content: &[u8]) -> (TempDir, PathBuf) {
    let root = TempDir::new().unwrap();
    let path = root.path().join("k/logs.jsonl");
    fs::create_dir(root.path().join("k")).unwrap();
    fs::write(&path, content).unwrap();
    (root, path)
}

#[tokio::test]
async fn nothing_is_cut_off_a_file_that_sluice_did_not_write() {
    let large = [b"x".repeat(200_000), b"\nhalf".to_vec()].concat();
    let unterminated: [&[u8]; 9] = [
        b"nothing but half a line",
        b"one line\nhalf a line",
        b"[2026-01-02] \xff\xfe",
        // Another signal's, and what looks like Sluice's from afar.
        b"{\"resourceSpans\":[{}]}\n{\"resourceSp",
        b"{\"resourceLogs\": [{\"scop",
        b" {\"resourceLogs\":[",
        b"\n{\"resourceLogs\":[",
        b"{\"time\":1}\n{\"time\":",
        &large,
    ];
    for content in unterminated {
        let (root, path) = foreign(content);
        for transport in [1, 2].map(|_| transport(root.path().into(), 1 << 30, 0)) {
            must_write(&transport, "k").await;
            must_write(&transport, "k").await;
        }
        let expected = [content, b"\n", LINE.repeat(4).as_bytes()].concat();
        assert!(fs::read(&path).unwrap() == expected, "{}", String::from_utf8_lossy(&content[..20]));
    }
}

#[tokio::test]
async fn what_somebody_else_put_behind_sluices_lines_is_kept_and_half_a_line_of_sluices_is_not() {
    let behind =
        ["IMPORTANT NOTE", "{\"precious\":1", " ", "{\"resourceSpans\":[{", "{\"resourceLog5", "\u{feff}{"];
    for behind in behind {
        let (root, path) = foreign(format!("{LINE}{behind}").as_bytes());
        must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LINE}{behind}\n{LINE}"));
    }
    for half in ["{", "{\"resourceLo", "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":"] {
        let (root, path) = foreign(format!("{LINE}{half}").as_bytes());
        must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE.repeat(2), "{half}");
    }
}

#[tokio::test]
async fn a_foreign_file_of_whole_lines_or_none_is_continued_as_it_is() {
    for content in ["", "\n", "one line\n", "{\"resourceSpans\":[{}]}\n", "{\"time\":1}\n\n"] {
        let (root, path) = foreign(content.as_bytes());
        must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{content}{LINE}"));
    }
}

#[tokio::test]
async fn what_somebody_appends_to_an_open_foreign_file_is_left_as_well() {
    let (root, path) = foreign(b"theirs\n");
    let transport = transport(root.path().into(), 1 << 30, 0);
    must_write(&transport, "k").await;
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"half").unwrap();
    must_write(&transport, "k").await;
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("theirs\n{LINE}half\n{LINE}"));
}

#[tokio::test]
async fn a_last_line_that_lacks_nothing_but_its_line_break_is_kept() {
    let deep = format!("{{\"resourceLogs\":[{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    for line in ["{\"resourceLogs\":[{}]}", "{\"resourceLogs\":[]}", &deep] {
        for before in ["", LINE] {
            let (root, path) = foreign(format!("{before}{line}").as_bytes());
            must_write(&transport(root.path().into(), 1 << 30, 0), "k").await;
            assert!(fs::read_to_string(&path).unwrap() == format!("{before}{line}\n{LINE}"), "{before:?}");
        }
    }
}

#[tokio::test]
async fn a_line_break_that_is_added_counts_towards_the_size_of_a_file() {
    let (root, path) = foreign(b"half");
    must_write(&transport(root.path().into(), 4 + LINE.len() as u64, 0), "k").await;
    assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
    let backup = names(root.path().join("k")).remove(0);
    assert_eq!(fs::read_to_string(root.path().join("k").join(backup)).unwrap(), "half");
}

/// Writing is refused, with a reason, until `path` is removed; the exporter is one that had a file open, and one that had not.
async fn is_refused_until_it_is_removed(put: impl Fn(&Path), remove: impl Fn(&Path), reason: &str) {
    for is_open in [false, true] {
        let root = TempDir::new().unwrap();
        let path = root.path().join("k/logs.jsonl");
        let transport = transport(root.path().into(), 1 << 20, 0);
        if is_open {
            must_write(&transport, "k").await;
            fs::remove_file(&path).unwrap();
        } else {
            fs::create_dir(root.path().join("k")).unwrap();
        }
        put(&path);
        for _ in 0..2 {
            let answer = write(&transport, "k").await;
            assert_eq!((answer.code.as_ref(), answer.outcome), ("io", AttemptOutcome::Retry { after: None }));
            assert!(
                answer.detail.contains("k/logs.jsonl`: ") && answer.detail.contains(reason),
                "{}",
                answer.detail
            );
        }
        remove(&path);
        must_write(&transport, "k").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
    }
}

fn remove_file(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_symbolic_link_in_place_of_the_file_is_refused() {
    let other = TempDir::new().unwrap();
    let file = other.path().join("file");
    fs::write(&file, "theirs").unwrap();
    let dangling = other.path().join("nothing");
    for target in [&file, &dangling, &other.path().to_path_buf()] {
        let link = |path: &Path| symlink(target, path).unwrap();
        is_refused_until_it_is_removed(link, remove_file, "it is a symbolic link: remove it").await;
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    assert_eq!(names(other.path().into()), ["file"]);
}

#[tokio::test]
async fn a_link_to_the_file_that_an_exporter_has_open_is_refused_too() {
    let root = TempDir::new().unwrap();
    let [path, moved] = ["k/logs.jsonl", "moved"].map(|name| root.path().join(name));
    let transport = transport(root.path().into(), 1 << 20, 0);
    must_write(&transport, "k").await;
    fs::rename(&path, &moved).unwrap();
    symlink(&moved, &path).unwrap();
    assert_eq!(write(&transport, "k").await.code, "io");
    assert_eq!(lines(moved), 1);
}

#[tokio::test]
async fn links_of_directories_are_followed() {
    let root = TempDir::new().unwrap();
    let [elsewhere, data] = ["elsewhere", "data"].map(|name| root.path().join(name));
    fs::create_dir_all(elsewhere.join("stream")).unwrap();
    symlink(&elsewhere, &data).unwrap();
    symlink("stream", elsewhere.join("k")).unwrap();
    must_write(&transport(data, 1 << 20, 0), "k").await;
    assert_eq!(lines(elsewhere.join("stream/logs.jsonl")), 1);
}

#[tokio::test]
async fn what_is_no_file_is_refused_and_not_waited_for() {
    let pipe = |path: &Path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    is_refused_until_it_is_removed(pipe, remove_file, "it is a pipe, a socket or a device").await;
    let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    is_refused_until_it_is_removed(socket, remove_file, "it is a pipe, a socket or a device").await;
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let remove = |path: &Path| fs::remove_dir(path).unwrap();
    is_refused_until_it_is_removed(directory, remove, "it is a directory: move it away").await;
}
