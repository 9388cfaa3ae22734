//! Journals that older versions wrote. `UPDATE_FIXTURES=1` writes the one of the present version; it is done once, when
//! the version is new.

use std::path::{Path, PathBuf};

use super::*;
use crate::disk::BLOCK;
use crate::format::VERSION;
use crate::inspect;

fn directory(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/fixtures/journal/v{version}"))
}

/// The keys of the fixtures, which are addresses of streams as Sluice writes them.
fn key(name: &str) -> StreamKey {
    let mut bytes = vec![2];
    for text in ["otlp_http/up", name] {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    StreamKey::from(&*bytes)
}

/// A journal with everything in it: settled and carried entries, segments with and without index, two streams.
fn write_fixture() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let [slow, fast] = ["\0name\0slow\0region\0eu", "fast"].map(|name| journal.stream(&key(name)));
    for n in 0..220 {
        if n % 20 == 0 {
            append_one(&journal, slow, nth("slow", n / 20, 300)).unwrap();
        }
        append_one(&journal, fast, nth("fast", n, 700)).unwrap();
        if n == 200 {
            journal.settle(fast, 0..=199);
            journal.settle(slow, 0..=0);
            (0..3).for_each(|_| journal.tend_once());
        }
    }
    let entries = (0..3).map(|n| entry(nth("slow", 11 + n, 40), 2 + n)).collect();
    append(&journal, vec![StreamEntries { stream: slow, entries }]).unwrap();
    disk.kill();
    drop(journal);
    let directory = directory(VERSION);
    std::fs::create_dir_all(&directory).unwrap();
    for (name, _) in disk.files().into_iter().filter(|(name, _)| !name.starts_with("spare-")) {
        let mut bytes = disk.content(&name);
        if name.starts_with("positions-") {
            // The empty blocks behind what is written say nothing.
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            bytes.truncate(used.next_multiple_of(BLOCK));
        }
        std::fs::write(directory.join(name), bytes).unwrap();
    }
}

/// A copy of a fixture in a directory of its own.
fn fixture(version: u32) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory(version)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[test]
fn a_journal_of_version_3_is_read() {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        write_fixture();
    }
    let directory = fixture(3);
    let inspection = inspect(directory.path(), true).unwrap();
    assert_eq!(inspection.damage, []);
    assert!(inspection.segments.iter().any(|segment| segment.carried));
    assert!(inspection.segments.iter().any(|segment| segment.sealed));
    assert!(inspection.segments.iter().any(|segment| !segment.sealed));

    let settings = JournalSettings { directory: directory.path().to_owned(), ..settings(64) };
    let (journal, recovery) = Journal::open(settings).unwrap();
    assert_eq!(recovery.damage, []);
    let [slow, fast] = &recovery.streams[..] else { panic!("{:?}", recovery.streams) };
    assert_eq!((&slow.key, &fast.key), (&key("\0name\0slow\0region\0eu"), &key("fast")));
    assert_eq!((slow.first, slow.last, slow.entries, slow.records), (1, 13, 13, 10 + 2 + 3 + 4));
    assert_eq!((fast.first, fast.last, fast.entries, fast.records), (200, 219, 20, 20));
    assert_eq!(read_from(&journal, fast.id, fast.first, 5000), filled("fast", 200..220, 700));
    let expected = [filled("slow", 1..11, 300), filled("slow", 11..14, 40)].concat();
    assert_eq!(read_from(&journal, slow.id, slow.first, 5000), expected);
}
