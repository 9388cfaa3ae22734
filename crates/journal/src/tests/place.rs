//! The journal's directory, or a file that is open in it, is taken away or replaced while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::directory::JournalDirectory;

struct Kept {
    _root: tempfile::TempDir,
    here: PathBuf,
    away: PathBuf,
    journal: Journal,
    stream: StreamId,
}

/// A journal on the real file system, driven by hand, with 50 entries in some segments.
fn kept() -> Kept {
    let root = tempfile::tempdir().unwrap();
    let (here, away) = (root.path().join("journal"), root.path().join("away"));
    let settings = JournalSettings { directory: here.clone(), ..settings(64) };
    let (journal, _) = Journal::open_by_hand(settings, Arc::new(JournalDirectory::new(&here))).unwrap();
    let stream = journal.stream(&key("a"));
    fill(&journal, stream, "a", 0..50, 3000);
    journal.tend_once();
    assert!(!journal.is_failing());
    Kept { _root: root, here, away, journal, stream }
}

/// What is said once it has been noticed.
fn noticed(journal: &Journal) -> String {
    journal.objects().store.health.check_place();
    assert!(journal.room_for(1).is_none());
    journal.state().failing.expect("it is noticed").why.to_string()
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Nothing is taken, freed, or put aside; then all of it is back, and goes on.
fn refuses_until(kept: &Kept, come_back: impl FnOnce()) {
    let Kept { journal, stream, .. } = kept;
    let refused = append_one(journal, *stream, nth("a", 50, 3000));
    assert!(matches!(refused, Err(NotWritten::Disk(_))), "{refused:?}");
    journal.settle(*stream, 0..=9);
    (0..6).for_each(|_| journal.tend_once());
    assert!(journal.is_failing(), "it is not taken for better by being tried again");
    come_back();
    journal.tend_once();
    assert!(!journal.is_failing(), "{:?}", journal.state().failing);
    fill(journal, *stream, "a", 50..80, 3000);
    assert_eq!(read_all(journal, *stream), filled("a", 10..80, 3000));
    assert_eq!(journal.state().quarantined, 0);
}

#[test]
fn a_directory_that_is_moved_away_counts_as_failing_until_it_is_back() {
    let kept = kept();
    fs::rename(&kept.here, &kept.away).unwrap();
    let said = noticed(&kept.journal);
    assert_eq!(said, "the journal's directory is gone: put it back, or restart Sluice to begin a new one");
    assert!(kept.journal.read(kept.stream, 0..10, 5000).is_err(), "whoever wants to read waits");
    refuses_until(&kept, || fs::rename(&kept.away, &kept.here).unwrap());
    assert!(!kept.away.exists());
}

#[test]
fn a_directory_that_another_has_replaced_is_noticed_and_the_other_is_left_as_it_is() {
    for copied in [false, true] {
        let kept = kept();
        fs::rename(&kept.here, &kept.away).unwrap();
        fs::create_dir(&kept.here).unwrap();
        for (name, mut bytes) in files(&kept.away) {
            // An old one of the same journal, with segments of the same names; or somebody else's files.
            if copied {
                bytes.iter_mut().skip(5000).step_by(7).for_each(|byte| *byte ^= 1);
            } else {
                bytes = b"not a journal".to_vec();
            }
            fs::write(kept.here.join(name), bytes).unwrap();
        }
        let others = files(&kept.here);
        // Before it is noticed, nothing of the other one is taken for damage.
        assert!(kept.journal.read(kept.stream, 0..50, 50_000).is_err());
        let said = noticed(&kept.journal);
        assert!(said.starts_with("the journal's directory is not the one that was opened: put "), "{said}");
        refuses_until(&kept, || {
            assert!(files(&kept.here) == others, "nobody has touched the other one");
            fs::remove_dir_all(&kept.here).unwrap();
            fs::rename(&kept.away, &kept.here).unwrap();
        });
    }
}

#[test]
fn a_directory_that_is_removed_is_noticed_and_not_made_again() {
    let kept = kept();
    fs::remove_dir_all(&kept.here).unwrap();
    assert!(noticed(&kept.journal).starts_with("the journal's directory is gone"));
    let refused = append_one(&kept.journal, kept.stream, nth("a", 50, 3000));
    assert!(matches!(refused, Err(NotWritten::Disk(_))), "{refused:?}");
    (0..3).for_each(|_| kept.journal.tend_once());
    kept.journal.close();
    assert!(!kept.here.exists());
}

#[test]
fn a_file_that_is_open_and_is_taken_away_is_noticed() {
    for file in ["lock", "positions-a", "positions-b", "segment"] {
        let kept = kept();
        let name = match file {
            "segment" => {
                let segments = files(&kept.here).into_iter().map(|(name, _)| name);
                segments.filter(|name| name.starts_with("segment-")).max().unwrap()
            }
            file => file.to_owned(),
        };
        let (here, away) = (kept.here.join(&name), &kept.away);
        fs::rename(&here, away).unwrap();
        let said = noticed(&kept.journal);
        assert!(said.starts_with(&format!("`{name}` is gone from the journal's directory: ")), "{said}");
        fs::write(&here, "another").unwrap();
        let said = noticed(&kept.journal);
        let expected = format!("`{name}` in the journal's directory is not the file that was opened: ");
        assert!(said.starts_with(&expected), "{said}");
        refuses_until(&kept, || fs::rename(away, &here).unwrap());
    }
}

#[test]
fn a_segment_that_nobody_needs_any_more_is_not_missed() {
    let kept = kept();
    for n in 50..400 {
        append_one(&kept.journal, kept.stream, nth("a", n, 3000)).unwrap();
        kept.journal.settle(kept.stream, 0..=n);
        kept.journal.tend_once();
        assert!(!kept.journal.is_failing(), "{:?}", kept.journal.state().failing);
    }
}

#[test]
fn the_journals_own_threads_notice() {
    let root = tempfile::tempdir().unwrap();
    let (here, away) = (root.path().join("journal"), root.path().join("away"));
    let settings = JournalSettings { directory: here.clone(), ..settings(64) };
    let (journal, _) = Journal::open(settings).unwrap();
    for _ in 0..2 {
        fs::rename(&here, &away).unwrap();
        super::hanging::until("it is gone", || journal.is_failing());
        fs::rename(&away, &here).unwrap();
        super::hanging::until("it is back", || !journal.is_failing());
    }
}
