use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use otlp::Signal;
use tempfile::TempDir;

use super::super::files::payload_path;
use super::super::{DeadLetterOrigin, letters};
use super::*;
use crate::encoding::Encoding;
use crate::route::{RoutingKey, Values as _};

fn settings(root: &TempDir, max_size: u64) -> DeadLetterSettings {
    DeadLetterSettings { directory: root.path().join("letters"), max_size, synced: false }
}

fn letter(text: &'static str) -> DeadLetter {
    DeadLetter {
        exporter: Some("otlp_http/s2".to_owned()),
        signal: Signal::Logs,
        encoding: Encoding::Proto,
        key: Some(RoutingKey::of(Some("acme"), "", [("shop", "a/ü"), ("service", "cart")].into_iter())),
        origin: None,
        reason: "400: \"no\"".to_owned(),
        records: 3,
        bytes: vec![Bytes::from_static(text.as_bytes()), Bytes::from_static(b"!")],
        time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
    }
}

/// Stores a letter of one byte that never had an exporter.
pub(in crate::dead_letters) async fn store_letter(dead: &DeadLetters, reason: &str) {
    let letter = DeadLetter {
        exporter: None,
        signal: Signal::Logs,
        encoding: Encoding::Proto,
        key: None,
        origin: None,
        reason: reason.to_owned(),
        records: 1,
        bytes: vec![Bytes::from_static(b"x")],
        time: SystemTime::now(),
    };
    dead.store(letter).await.unwrap();
}

#[tokio::test]
async fn a_letter_comes_back_as_it_was() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    dead.store(letter("hello")).await.unwrap();
    let origin = DeadLetterOrigin {
        receiver: "otlp/out".to_owned(),
        peer: Some("192.0.2.1:5000".to_owned()),
        user_agent: Some("agent/1".to_owned()),
        sender: Some("proxy".to_owned()),
        tenant: Some("acme".to_owned()),
    };
    let unrouted = DeadLetter {
        exporter: None,
        key: None,
        origin: Some(origin.clone()),
        signal: Signal::Traces,
        ..letter("x")
    };
    dead.store(unrouted).await.unwrap();

    let found = letters(&settings.directory).unwrap();
    assert_eq!((found.letters.len(), found.damaged.len()), (2, 0));
    let first = &found.letters[0];
    let note = fs::read_to_string(first.path().with_extension("json")).unwrap();
    assert!(note.ends_with("}\n"), "a text file ends with a line break: {note}");
    assert_eq!(first.exporter(), Some("otlp_http/s2"));
    assert_eq!((first.key(), first.signal()), (letter("").key.as_ref(), Signal::Logs));
    assert!(note.contains("\"key\": \"a%2F%C3%BC/cart\""), "{note}");
    assert_eq!((first.reason(), first.time()), ("400: \"no\"", "2026-01-02T03:04:05.678Z"));
    assert_eq!((first.records(), first.len()), (3, 6));
    assert_eq!(first.load().unwrap(), "hello!");
    let second = &found.letters[1];
    assert_eq!((second.exporter(), second.key(), second.signal()), (None, None, Signal::Traces));
    assert_eq!((first.origin(), second.origin()), (None, Some(&origin)));
    let told = "received by `otlp/out` from 192.0.2.1:5000, user agent `agent/1`, sent by the tenant `proxy`, for the tenant `acme`";
    assert_eq!(origin.to_string(), told);
    assert_eq!((first.tenant(), second.tenant()), (Some("acme"), Some("acme")));

    first.remove().unwrap();
    assert_eq!(letters(&settings.directory).unwrap().letters.len(), 1);
}

#[test]
fn a_directory_that_is_made_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = TempDir::new().unwrap();
    let mode = |settings: &DeadLetterSettings| {
        DeadLetters::open(settings).unwrap();
        fs::metadata(&settings.directory).unwrap().permissions().mode() & 0o777
    };
    let mut settings = settings(&root, 1);
    assert_eq!(mode(&settings), 0o700);
    settings.directory = root.path().join("made before");
    fs::create_dir(&settings.directory).unwrap();
    fs::set_permissions(&settings.directory, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(mode(&settings), 0o750, "people may want it otherwise");
}

#[tokio::test]
async fn the_files_of_a_letter_are_for_their_user_alone_in_whatever_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = TempDir::new().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let settings = DeadLetterSettings { directory: root.path().into(), ..settings(&root, 1 << 20) };
    DeadLetters::open(&settings).unwrap().store(letter("hello")).await.unwrap();
    let files: Vec<_> = fs::read_dir(root.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn what_was_json_is_kept_as_lines_of_json() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    dead.store(DeadLetter { encoding: Encoding::Json, exporter: None, ..letter("{}\n") }).await.unwrap();
    dead.store(letter("protobuf")).await.unwrap();
    let found = letters(&settings.directory).unwrap();
    assert_eq!((found.letters.len(), found.damaged.len()), (2, 0));
    let lines = found.letters[0].path().with_extension("jsonl");
    assert_eq!(fs::read(&lines).unwrap(), b"{}\n!");
    assert_eq!(found.letters[0].load().unwrap(), "{}\n!");
    found.letters[0].remove().unwrap();
    assert!(!lines.exists());
    // Lines without a note are as damaged as any bytes without one.
    fs::write(&lines, "{}").unwrap();
    assert_eq!(letters(&settings.directory).unwrap().damaged, [(lines, "its `.json` is missing".to_owned())]);
}

#[tokio::test]
async fn letters_are_listed_in_the_order_in_which_they_were_stored() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let mut expected = Vec::new();
    // The clock stands still, goes back, and starts again with the process.
    for _ in 0..2 {
        let dead = DeadLetters::open(&settings).unwrap();
        for step in [0, 0, 5, 3, 0, 9] {
            let number = expected.len();
            expected.push(format!("{number}"));
            let time = UNIX_EPOCH + Duration::from_millis(1_767_323_045_000 + step + number as u64 / 6 * 100);
            let records = number as u64;
            dead.store(DeadLetter { records, time, ..letter("x") }).await.unwrap();
        }
    }
    let found = letters(&settings.directory).unwrap();
    let order: Vec<_> = found.letters.iter().map(|letter| letter.records().to_string()).collect();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn letters_are_listed_by_the_places_that_were_taken_for_them_however_late_they_are_stored() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    let places = [(); 3].map(|()| dead.take_place());
    dead.store(letter("4")).await.unwrap();
    for (place, text) in places.into_iter().zip(["1", "2", "3"]).rev() {
        dead.store_at(place, letter(text)).await.unwrap();
    }
    let found = letters(&settings.directory).unwrap();
    let order: Vec<_> = found.letters.iter().map(|letter| letter.load().unwrap()).collect();
    assert_eq!(order, ["1!", "2!", "3!", "4!"]);
}

#[tokio::test]
async fn what_was_removed_is_not_counted_any_more() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    for text in ["replayed", "kept"] {
        dead.store(letter(text)).await.unwrap();
    }
    let both = dead.bytes();
    let kept = letters(&settings.directory).unwrap().letters.remove(1);
    letters(&settings.directory).unwrap().letters[0].remove().unwrap();
    dead.recount().await.unwrap();
    let one = dead.bytes();
    assert!(0 < one && one < both && dead.letters() == 1, "{one} of {both}");
    kept.remove().unwrap();
    dead.recount().await.unwrap();
    assert_eq!(dead.bytes(), 0);
}

#[tokio::test]
async fn letters_are_counted_right_while_others_are_being_stored() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    let mut storing = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let shared = dead.clone();
        storing.spawn(async move { shared.store(letter("x")).await.unwrap() });
        dead.recount().await.unwrap();
    }
    storing.join_all().await;
    assert_eq!(dead.bytes(), DirectorySize::of(&settings.directory).unwrap().bytes);
}

#[tokio::test]
async fn a_process_that_starts_again_in_the_same_instant_overwrites_nothing() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    for _ in 0..3 {
        DeadLetters::open(&settings).unwrap().store(letter("x")).await.unwrap();
    }
    assert_eq!(letters(&settings.directory).unwrap().letters.len(), 3);
}

#[tokio::test]
async fn the_directory_is_bounded_and_its_size_known_after_a_restart() {
    let root = TempDir::new().unwrap();
    let large = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&large).unwrap();
    dead.store(letter("hello")).await.unwrap();
    let size = dead.bytes();
    assert_eq!(DirectorySize::of(&large.directory).unwrap(), DirectorySize { bytes: size, letters: 1 });

    let small = settings(&root, size * 2 + 1);
    let dead = DeadLetters::open(&small).unwrap();
    assert_eq!((dead.bytes(), dead.letters()), (size, 1));
    dead.store(letter("hello")).await.unwrap();
    assert!(matches!(dead.store(letter("hello")).await, Err(StoreError::Full)));
    assert_eq!((dead.bytes(), dead.letters()), (size * 2, 2));
    assert_eq!(letters(&small.directory).unwrap().letters.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn room_that_a_replay_has_made_is_noticed() {
    let root = TempDir::new().unwrap();
    let probe = DeadLetters::open(&settings(&root, 1 << 20)).unwrap();
    probe.store(letter("hello")).await.unwrap();
    let settings = settings(&root, probe.bytes());
    let dead = DeadLetters::open(&settings).unwrap();
    letters(&settings.directory).unwrap().letters[0].remove().unwrap();
    assert!(matches!(dead.store(letter("hello")).await, Err(StoreError::Full)));
    tokio::time::advance(RECOUNT).await;
    dead.store(letter("hello")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_never_exceed_the_bound() {
    let root = TempDir::new().unwrap();
    let probe = DeadLetters::open(&settings(&root, 1 << 20)).unwrap();
    probe.store(letter("hello")).await.unwrap();
    let settings = settings(&root, probe.bytes() * 10);
    let dead = DeadLetters::open(&settings).unwrap();
    let writers: Vec<_> = (0..40)
        .map(|_| {
            let dead = dead.clone();
            tokio::spawn(async move { dead.store(letter("hello")).await.is_ok() })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        stored += usize::from(writer.await.unwrap());
    }
    assert_eq!(stored, 9);
    assert_eq!(letters(&settings.directory).unwrap().letters.len(), 10);
    assert!(DirectorySize::of(&settings.directory).unwrap().bytes <= settings.max_size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_directory_that_is_counted_again_while_letters_are_stored_is_counted_right() {
    let root = TempDir::new().unwrap();
    let probe = DeadLetters::open(&settings(&root, 1 << 20)).unwrap();
    probe.store(letter("hello")).await.unwrap();
    let settings = settings(&root, probe.bytes() * 100);
    let dead = DeadLetters::open(&settings).unwrap();
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..400 {
        let dead = dead.clone();
        storing.spawn(async move {
            if number % 4 == 0 {
                // Larger than what is left: it has the directory counted.
                *dead.shared.counted.lock() -= RECOUNT;
                let bytes = vec![Bytes::from(vec![0; 99 * dead.bytes() as usize / 100])];
                let _ = dead.store(DeadLetter { bytes, ..letter("") }).await;
            } else {
                let _ = dead.store(letter("hello")).await;
            }
        });
    }
    storing.join_all().await;
    let DirectorySize { bytes, letters } = DirectorySize::of(&settings.directory).unwrap();
    assert_eq!((dead.bytes(), dead.letters()), (bytes, letters));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_the_names_or_the_unfinished_files_of_another() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let mut storing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        // As a reload does that comes back to a directory into which letters are still being written.
        let dead = DeadLetters::open(&settings).unwrap();
        for _ in 0..10 {
            let dead = dead.clone();
            storing.spawn(async move { dead.store(letter("hello")).await.unwrap() });
        }
    }
    storing.join_all().await;
    let found = letters(&settings.directory).unwrap();
    assert_eq!((found.letters.len(), found.damaged.len()), (200, 0));
}

#[tokio::test]
async fn a_bound_that_changes_holds_for_the_letters_that_come() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    dead.store(letter("hello")).await.unwrap();
    dead.set_max_size(dead.bytes());
    assert!(matches!(dead.store(letter("hello")).await, Err(StoreError::Full)));
    dead.set_max_size(dead.bytes() * 2);
    dead.store(letter("hello")).await.unwrap();
}

#[tokio::test]
async fn a_killed_process_leaves_no_half_letter() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    dead.store(letter("hello")).await.unwrap();
    // Killed while writing, and killed between the two files.
    fs::write(settings.directory.join("20300101T000000.000Z-00000000.logs.json.tmp"), "{").unwrap();
    fs::write(settings.directory.join("20300101T000000.000Z-00000000.logs.pb"), "x").unwrap();
    DeadLetters::clear_unfinished(&settings.directory).unwrap();
    let dead = DeadLetters::open(&settings).unwrap();
    assert_eq!(fs::read_dir(&settings.directory).unwrap().count(), 3, "the temporary file is gone");
    assert_eq!(dead.bytes(), DirectorySize::of(&settings.directory).unwrap().bytes);
    let found = letters(&settings.directory).unwrap();
    assert_eq!(found.letters.len(), 1);
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(found.damaged[0].1, "its `.json` is missing");
}

#[tokio::test]
async fn damaged_letters_are_told_apart() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    for _ in 0..4 {
        dead.store(letter("hello")).await.unwrap();
    }
    let found = letters(&settings.directory).unwrap().letters;
    fs::write(payload_path(found[0].path(), Encoding::Proto), "hell").unwrap();
    fs::remove_file(payload_path(found[1].path(), Encoding::Proto)).unwrap();
    let note = fs::read_to_string(found[2].path()).unwrap();
    fs::write(found[2].path(), note.replace("\"version\": 1", "\"version\": 2")).unwrap();
    fs::write(found[3].path(), "{}").unwrap();
    let found = letters(&settings.directory).unwrap();
    assert!(found.letters.is_empty());
    let reasons: Vec<_> = found.damaged.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons[0], "its `.pb` has 4 bytes instead of 6");
    assert!(reasons[1].starts_with("its `.pb`: No such file"), "{reasons:?}");
    assert_eq!(reasons[2], "version 2 is newer than this sluice knows");
    assert!(reasons[3].starts_with("not a dead letter: missing field"), "{reasons:?}");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_an_error_and_costs_no_room() {
    let root = TempDir::new().unwrap();
    let settings = settings(&root, 1 << 20);
    let dead = DeadLetters::open(&settings).unwrap();
    fs::remove_dir(&settings.directory).unwrap();
    assert!(matches!(dead.store(letter("hello")).await, Err(StoreError::Io(_))));
    assert_eq!(dead.bytes(), 0);
}
