//! The same on the real file system, with the threads.

use std::io;
use std::sync::mpsc;

use super::*;
use crate::directory::JournalDirectory;
use crate::{Disk as _, inspect};

fn real(directory: &std::path::Path, sync: SyncPolicy) -> JournalSettings {
    JournalSettings { directory: directory.join("journal"), sync, ..settings(256) }
}

/// Appends entries from several threads, each to a stream of its own, and settles all but the last ten of each.
fn load(journal: &Journal) {
    std::thread::scope(|scope| {
        for sender in 0..4 {
            scope.spawn(move || {
                let name = format!("s{sender}");
                let stream = journal.stream(&key(&name));
                for n in 0..200 {
                    let (answer, answered) = mpsc::channel();
                    let group = StreamEntries {
                        stream,
                        entries: [entry(nth(&name, n, 2000), 1)].into_iter().collect(),
                    };
                    journal.append(vec![group], Box::new(move |done| answer.send(done).unwrap()));
                    assert_eq!(answered.recv().unwrap().unwrap().first[..], [n]);
                    if n >= 10 {
                        journal.settle(stream, n - 10..=n - 10);
                    }
                }
            });
        }
    });
}

#[test]
fn a_directory_that_is_made_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let above = directory.path().join("above");
    let settings = real(&above, SyncPolicy::Always);
    let made = settings.directory.clone();
    Journal::open(settings).unwrap().0.close();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), 0o700);
    let plain = directory.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    assert_eq!(mode(&above), mode(&plain), "others may have something there");
}

#[test]
fn files_are_for_their_user_alone_in_whatever_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let settings = real(directory.path(), SyncPolicy::Always);
    let made = settings.directory.clone();
    std::fs::create_dir(&made).unwrap();
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (journal, _) = Journal::open(settings).unwrap();
    load(&journal);
    journal.close();
    let files: Vec<_> = std::fs::read_dir(&made).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() > 2, "the lock, segments, positions: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn many_senders_at_once_and_a_restart() {
    for sync in
        [SyncPolicy::Always, SyncPolicy::Every(std::time::Duration::from_millis(5)), SyncPolicy::Never]
    {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(real(directory.path(), sync)).unwrap();
        load(&journal);
        assert_eq!(journal.state().written.entries, 800);
        assert!(Journal::open(real(directory.path(), sync)).is_err(), "the directory is taken");
        let beside = inspect(&directory.path().join("journal"), true).unwrap();
        assert_eq!(beside.streams.len(), 4);
        assert!(!beside.segments.is_empty());
        journal.close();
        let closed = inspect(&directory.path().join("journal"), true).unwrap();
        assert_eq!(closed.damage, []);
        assert!(closed.streams.iter().all(|stream| (stream.first, stream.entries) == (190, 10)));

        let (journal, recovery) = Journal::open(real(directory.path(), sync)).unwrap();
        assert_eq!((recovery.damage, recovery.streams.len()), (vec![], 4));
        for sender in 0..4 {
            let name = format!("s{sender}");
            let stream = journal.stream(&key(&name));
            assert_eq!(read_from(&journal, stream, 190, 5000), filled(&name, 190..200, 2000));
        }
    }
}

#[test]
fn a_process_that_is_gone_without_a_word_leaves_everything() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(crate::directory::JournalDirectory::new(&directory.path().join("journal")));
    let settings = real(directory.path(), SyncPolicy::Always);
    let (journal, _) = Journal::open_by_hand(settings.clone(), disk()).unwrap();
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..50, 3000);
    // A copy of the files as they are is what a killed process leaves.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("journal")).unwrap();
    for file in std::fs::read_dir(directory.path().join("journal")).unwrap().flatten() {
        std::fs::copy(file.path(), copy.path().join("journal").join(file.file_name())).unwrap();
    }
    let (journal, recovery) = Journal::open(real(copy.path(), SyncPolicy::Always)).unwrap();
    assert_eq!(recovery.damage, []);
    let a = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, a), filled("a", 0..50, 3000));
}

#[test]
fn a_directory_that_has_gone_is_not_made_again() {
    let root = tempfile::tempdir().unwrap();
    let (here, away) = (root.path().join("journal"), root.path().join("away"));
    let directory = JournalDirectory::new(&here);
    let _lock = directory.lock().unwrap();
    directory.create("quarantine/a", 4096).unwrap();
    directory.create("quarantine/b", 4096).unwrap();
    std::fs::rename(&here, &away).unwrap();
    for name in ["a", "quarantine/c"] {
        assert_eq!(
            directory.create(name, 4096).err().map(|error| error.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }
    assert!(!here.exists(), "nobody goes on in another of its name");
}
