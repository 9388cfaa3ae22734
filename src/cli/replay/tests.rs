use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::dead_letters::{DeadLetter, DeadLetterSettings, DeadLetters};
use crate::encoding::Encoding;

/// An upstream that answers with the status in the body, whose first word it is.
async fn upstream() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&bodies);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            let status = body.split(' ').next().unwrap().to_owned();
            log.lock().push(body);
            let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, bodies)
}

fn compiled(address: SocketAddr) -> Compiled {
    let text = r"
receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:4318 } } } }
exporters:
  otlp_http/up:
    endpoint: 'http://ADDRESS/{{ key.name }}/{{ key.zone }}'
    compression: none
routes: [{ name: all, key: { name: service.name, zone: zone }, exporters: [otlp_http/up] }]
"
    .replace("ADDRESS", &address.to_string());
    let root = TempDir::new().unwrap();
    let path = root.path().join("sluice.yaml");
    std::fs::write(&path, text).unwrap();
    let mut compiled =
        config::load(&ConfigSource::File(path), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    for (_, settings) in &mut compiled.exporters {
        settings.retry.initial_interval = Duration::from_millis(1);
        settings.retry.max_interval = Duration::from_millis(1);
    }
    compiled
}

async fn store(root: &TempDir, list: &[(Option<&str>, &str, &'static str)]) {
    store_for(root, "400: bad", list).await;
}

async fn store_for(root: &TempDir, reason: &str, list: &[(Option<&str>, &str, &'static str)]) {
    let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 20, synced: false };
    let dead = DeadLetters::open(&settings).unwrap();
    for (exporter, key, body) in list {
        let letter = DeadLetter {
            exporter: exporter.map(str::to_owned),
            signal: Signal::Logs,
            encoding: Encoding::Proto,
            key: Some(RoutingKey::of(None, "", [("name", *key), ("zone", "eu")].into_iter())),
            origin: None,
            reason: reason.to_owned(),
            records: 2,
            bytes: vec![Bytes::from_static(body.as_bytes())],
            time: SystemTime::now(),
        };
        dead.store(letter).await.unwrap();
    }
}

async fn replay_all(root: &Path, address: SocketAddr, dry_run: bool) -> (bool, String) {
    let mut out = Vec::new();
    let found = letters(root).unwrap();
    let replay =
        Replay { dry_run, ..Replay::new("here.yaml".to_owned(), compiled(address), Table::default()) };
    let all_went = replay.letters(&found, &mut out).await.unwrap();
    (all_went, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_letter_of_a_tenant_that_was_removed_is_left_unless_it_is_asked_for() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store_for(&root, TENANT_REMOVED, &[(UP, "a", "200 1")]).await;
    store(&root, &[(UP, "b", "200 2")]).await;
    let (all_went, out) = replay_all(root.path(), address, false).await;
    assert!(!all_went && out.contains("left: its tenant was removed"), "{out}");
    assert!(out.contains("`--removed-tenants`"), "{out}");
    assert_eq!(*bodies.lock(), ["200 2"]);
    let mut out = Vec::new();
    let new = Replay::new("here.yaml".to_owned(), compiled(address), Table::default());
    let replay = Replay { removed_tenants: true, ..new };
    assert!(replay.letters(&letters(root.path()).unwrap(), &mut out).await.unwrap());
    assert_eq!(*bodies.lock(), ["200 2", "200 1"]);
}

const UP: Option<&str> = Some("otlp_http/up");

#[tokio::test]
async fn letters_go_in_order_and_are_removed() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store(&root, &[(UP, "a", "200 1"), (UP, "b", "200 2"), (UP, "a", "200 3")]).await;
    let (all_went, out) = replay_all(root.path(), address, false).await;
    assert!(all_went, "{out}");
    assert_eq!(*bodies.lock(), ["200 1", "200 2", "200 3"]);
    assert_eq!(out, "3 letters (6 records) delivered, 0 left\n");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stream_stops_at_the_letter_that_fails_and_others_go_on() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store(&root, &[(UP, "a", "400 1"), (UP, "a", "200 2"), (UP, "b", "200 3")]).await;
    let (all_went, out) = replay_all(root.path(), address, false).await;
    assert!(!all_went);
    assert_eq!(*bodies.lock(), ["400 1", "200 3"]);
    assert_eq!(letters(root.path()).unwrap().letters.len(), 2);
    assert!(out.contains("left: 400: 400 Bad Request"), "{out}");
    assert!(out.contains("left: behind a letter of its stream"), "{out}");
    assert!(out.ends_with("1 letter (2 records) delivered, 2 left\n"), "{out}");
}

#[tokio::test]
async fn a_letter_without_an_exporter_or_for_an_unknown_one_is_left() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store(&root, &[(None, "a", "200 1"), (Some("otlp_http/gone"), "a", "200 2"), (UP, "a", "200 3")]).await;
    let (all_went, out) = replay_all(root.path(), address, false).await;
    assert!(!all_went);
    assert_eq!(*bodies.lock(), ["200 3"]);
    let advice = "left: it was cut out when it was received, before it had an exporter (400: bad): sent again as it is, it would \
                  be cut out again. Correct it, or the program that sends it, and post it to `/v1/logs` of a receiver";
    assert!(out.contains(advice), "{out}");
    assert!(out.contains("left: the configuration has no exporter `otlp_http/gone`"), "{out}");
    assert!(
        out.ends_with(
            "here.yaml has no exporter `otlp_http/gone`: name the file that has it by `--config FILE`\n"
        ),
        "{out}"
    );
}

#[tokio::test]
async fn a_busy_upstream_is_asked_again_and_then_left_in_peace() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store(&root, &[(UP, "a", "503 1"), (UP, "b", "503 2"), (UP, "c", "200 3"), (UP, "d", "503 4")]).await;
    let (all_went, _) = replay_all(root.path(), address, false).await;
    assert!(!all_went);
    let asked = |letter: &str| bodies.lock().iter().filter(|body| body.ends_with(letter)).count();
    // The second stream gets one attempt; an upstream that has answered well is trusted again.
    assert_eq!([asked("1"), asked("2"), asked("3"), asked("4")], [ATTEMPTS, 1, 1, ATTEMPTS]);
}

#[tokio::test]
async fn a_dry_run_sends_and_removes_nothing() {
    let (address, bodies) = upstream().await;
    let root = TempDir::new().unwrap();
    store(&root, &[(UP, "a", "200 1"), (None, "b", "200 2")]).await;
    let (all_went, out) = replay_all(root.path(), address, true).await;
    assert!(!all_went && bodies.lock().is_empty());
    assert!(
        out.contains(&format!("2 records to `otlp_http/up` at http://{address}/a/eu/v1/logs (400: bad)")),
        "{out}"
    );
    assert!(out.ends_with("1 letter (2 records) can be sent, 1 can't\n"), "{out}");
    assert_eq!(letters(root.path()).unwrap().letters.len(), 2);
}

#[tokio::test]
async fn damaged_files_are_named_and_left() {
    let (address, _) = upstream().await;
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("x.logs.pb"), "x").unwrap();
    let (all_went, out) = replay_all(root.path(), address, false).await;
    assert!(!all_went);
    assert!(out.contains("x.logs.pb: skipped: its `.json` is missing"), "{out}");
    assert!(root.path().join("x.logs.pb").exists());
}

#[tokio::test]
async fn what_a_note_says_does_nothing_to_a_terminal() {
    let (address, _) = upstream().await;
    let root = TempDir::new().unwrap();
    store_for(&root, "400: \u{1b}[2J\nbad", &[(Some("up\u{1b}]0;x\u{7}"), "a", "200 1"), (UP, "b", "400 2")])
        .await;
    for dry_run in [true, false] {
        let (_, out) = replay_all(root.path(), address, dry_run).await;
        assert!(out.contains("no exporter `up\\u{1b}]0;x\\u{7}`"), "{out}");
        assert!(!out.contains(|char: char| char.is_control() && char != '\n'), "{out:?}");
        assert_eq!(out.lines().count(), 4, "{out}");
    }
}

#[test]
fn an_empty_directory_is_fine_and_a_missing_one_is_not() {
    let root = TempDir::new().unwrap();
    let args = |directory| ReplayArgs {
        directory,
        filter: DeadLetterFilterArgs::default(),
        config: ConfigArgs::default(),
        removed_tenants: false,
        dry_run: false,
        without_secrets: false,
    };
    let mut out = Vec::new();
    let code = replay(&args(root.path().into()), &ConfigSource::Embedded, |_| None, &mut out).unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    let error =
        replay(&args(root.path().join("gone")), &ConfigSource::Embedded, |_| None, &mut out).unwrap_err();
    assert!(error.to_string().contains("gone`: No such file"), "{error}");
}
