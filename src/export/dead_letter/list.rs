//! A directory of dead letters page by page, for people who look at a running Sluice.
//!
//! A file system lists names in no order, so a page is found by going through all of them. What is kept meanwhile is as
//! many names as the page has letters, and only those letters are opened.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::divide::is_of_unfinished_part;
use super::{DeadLetters, StoredLetter, TEMPORARY};

/// Bytes of the largest note that is read for a page, so that a page is bounded.
const LARGEST_NOTE: u64 = 64 << 10;

/// The ending of notes.
const NOTE: &str = "json";

/// Some letters of a directory, newest first.
#[derive(Debug, Default)]
pub struct LetterPage {
    /// Letters in the whole directory.
    pub total: u64,
    /// Those of the page.
    pub letters: Vec<ListedLetter>,
    /// Whether there are older ones.
    pub more: bool,
}

/// A letter of a page.
#[derive(Debug)]
pub struct ListedLetter {
    /// The name of its `.json`; if that is missing, of its bytes.
    pub file: String,
    /// The letter, or what is wrong with it.
    pub letter: Result<StoredLetter, String>,
}

impl DeadLetters {
    /// The newest letters but for those that are as new as `before`, the name of a file, or newer; `most` of them at the most.
    /// Names count, which rise with every letter. One page at a time is made; others wait.
    pub async fn page(&self, before: Option<String>, most: usize) -> io::Result<LetterPage> {
        let permit = Arc::clone(&self.listing).acquire_owned().await.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let listed = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            page(&shared.directory, before.as_deref(), most)
        });
        listed.await.map_err(io::Error::other)?
    }
}

/// Makes a page. Blocks.
fn page(directory: &Path, before: Option<&str>, most: usize) -> io::Result<LetterPage> {
    let before = before.map(stem);
    let mut page = LetterPage::default();
    // By their names without an ending, the newest first; with the ending of what has been seen of each.
    let mut newest: BTreeMap<Reverse<String>, String> = BTreeMap::new();
    for file in fs::read_dir(directory)? {
        let name = file?.file_name();
        // A letter's name is ASCII.
        let Some((stem, ending)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        if !matches!(ending, NOTE | "pb" | "jsonl") {
            continue;
        }
        page.total += u64::from(ending == NOTE);
        if before.is_some_and(|before| stem >= before) {
            continue;
        }
        let seen = newest.entry(Reverse(stem.to_owned())).or_default();
        if *seen != NOTE {
            ending.clone_into(seen);
        }
        if newest.len() > most {
            page.more = true;
            newest.pop_last();
        }
    }
    let letters = newest.into_iter().filter_map(|(Reverse(stem), ending)| listed(directory, &stem, &ending));
    page.letters = letters.collect();
    Ok(page)
}

/// A letter as it is now; nothing if it has gone, or is still being written, as it is or as a part of another.
fn listed(directory: &Path, stem: &str, ending: &str) -> Option<ListedLetter> {
    let path = |ending: &str| -> PathBuf { directory.join(format!("{stem}.{ending}")) };
    let (note, unfinished) = (path(NOTE), path(&format!("{NOTE}.{TEMPORARY}")));
    if is_of_unfinished_part(&note) {
        return None;
    }
    // In this order: a note that is neither here nor, later, there under its own name, is not on its way either.
    let being_written = unfinished.exists();
    if let Ok(metadata) = note.symlink_metadata() {
        let letter = match metadata.len() {
            // Nothing else is opened: to read a pipe could take for ever.
            _ if !metadata.is_file() => Err("not a file".to_owned()),
            0..=LARGEST_NOTE => StoredLetter::read(&note),
            size => Err(format!("a note of {size} bytes is too large to be shown")),
        };
        let has_gone = letter.is_err() && !note.exists();
        return (!has_gone).then(|| ListedLetter { file: format!("{stem}.{NOTE}"), letter });
    }
    let orphaned = !being_written && ending != NOTE && path(ending).exists();
    orphaned.then(|| ListedLetter {
        file: format!("{stem}.{ending}"),
        letter: Err("its `.json` is missing".to_owned()),
    })
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    Path::new(name).file_stem().and_then(OsStr::to_str).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::super::{DeadLetterSettings, Letter, payload_path};
    use super::*;
    use crate::export::Encoding;
    use crate::otlp::Signal;

    async fn store(dead: &DeadLetters, reason: &str) {
        let letter = Letter {
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

    fn open(root: &TempDir) -> DeadLetters {
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 30, synced: false };
        DeadLetters::open(&settings).unwrap()
    }

    /// The reasons of a page's letters, or what is wrong with them.
    fn told(page: &LetterPage) -> Vec<&str> {
        let told = |listed: &'_ ListedLetter| match &listed.letter {
            Ok(letter) => letter.reason().to_owned(),
            Err(problem) => format!("{}: {problem}", listed.file),
        };
        page.letters.iter().map(told).map(|text| &*text.leak()).collect()
    }

    #[tokio::test]
    async fn pages_follow_each_other_while_letters_come_and_go() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        for reason in ["1", "2", "3", "4", "5"] {
            store(&dead, reason).await;
        }
        let first = dead.page(None, 2).await.unwrap();
        assert_eq!((told(&first), first.total, first.more), (vec!["5", "4"], 5, true));
        store(&dead, "6").await;
        first.letters[1].letter.as_ref().unwrap().remove().unwrap();
        let second = dead.page(Some(first.letters[1].file.clone()), 2).await.unwrap();
        assert_eq!((told(&second), second.total, second.more), (vec!["3", "2"], 5, true));
        let third = dead.page(Some(second.letters[1].file.clone()), 2).await.unwrap();
        assert_eq!((told(&third), third.more), (vec!["1"], false));
        let none = dead.page(Some(third.letters[0].file.clone()), 2).await.unwrap();
        assert_eq!((told(&none), none.more), (vec![], false));
    }

    #[tokio::test]
    async fn what_is_no_whole_letter_is_shown_with_what_is_wrong() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        store(&dead, "fine").await;
        store(&dead, "without bytes").await;
        let newest = dead.page(None, 1).await.unwrap();
        let note = newest.letters[0].letter.as_ref().unwrap().path().to_owned();
        fs::remove_file(payload_path(&note, Encoding::Proto)).unwrap();
        let large = " ".repeat(LARGEST_NOTE as usize + 1);
        for (name, content) in [
            ("a.logs.json", "{}"),
            ("b.logs.pb", "x"),
            ("c.logs.json", &large),
            ("ignored.txt", ""),
            ("ignored.json.tmp", ""),
        ] {
            fs::write(root.path().join(name), content).unwrap();
        }
        fs::create_dir(root.path().join("d.json")).unwrap();
        let page = dead.page(None, 10).await.unwrap();
        let told = told(&page);
        assert_eq!(told[0], "d.json: not a file");
        assert_eq!(told[1], "c.logs.json: a note of 65537 bytes is too large to be shown");
        assert_eq!(told[2], "b.logs.pb: its `.json` is missing");
        assert!(told[3].starts_with("a.logs.json: not a dead letter: missing field"), "{}", told[3]);
        assert!(told[4].contains("its `.pb`: No such file"), "{}", told[4]);
        assert_eq!((told[5], told.len()), ("fine", 6));
    }

    #[tokio::test]
    async fn a_letter_that_is_being_written_is_not_shown_yet() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        fs::write(root.path().join("x.logs.json.tmp"), "").unwrap();
        fs::write(root.path().join("x.logs.pb"), "half").unwrap();
        assert_eq!(dead.page(None, 10).await.unwrap().letters.len(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_is_an_error() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        drop(root);
        assert_eq!(dead.page(None, 1).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
