//! A directory of dead letters page by page, for people who look at a running Sluice, and for whoever goes through all of it.
//!
//! A file system lists names in no order, so a page is found by going through all of them. What is kept meanwhile is as
//! many names as the page may have to look at, and only those letters are opened: without conditions those of the page, else also
//! the newest ones, to say how many meet the conditions.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{TEMPORARY, is_of_unfinished_part};
use super::filter::DeadLetterFilter;
use super::stored::{NO_FILE, StoredDeadLetter};
use crate::utc;

/// Bytes of the largest note that is read for a page, so that a page is bounded.
const LARGEST_NOTE: u64 = 64 << 10;

/// Letters that are opened to find a page of those that meet conditions, and the newest ones among which those are counted.
const MOST_OPENED: usize = 10_000;

/// The ending of notes.
const NOTE: &str = "json";

/// The endings of a letter's bytes.
const PAYLOADS: [&str; 2] = ["pb", "jsonl"];

/// The letters in a dead-letter directory.
#[derive(Debug, Default)]
pub struct FoundDeadLetters {
    /// Whole letters, in the order in which they were stored.
    pub letters: Vec<StoredDeadLetter>,
    /// Files that belong to no whole letter, with what is wrong.
    pub damaged: Vec<(PathBuf, String)>,
}

/// Some letters of a directory, newest first.
#[derive(Debug, Default)]
pub struct DeadLetterPage {
    /// Letters in the whole directory, whatever was asked for.
    pub total: u64,
    /// Letters on all pages: those that meet the conditions.
    pub matching: u64,
    /// Whether these are all; otherwise they are those among the newest 10,000 letters that may meet the conditions, and there may
    /// be more.
    pub matching_is_exact: bool,
    /// The letters of the page.
    pub letters: Vec<ListedDeadLetter>,
    /// Behind which the next page goes on, if there are older ones that may be asked for.
    pub next: Option<String>,
}

/// A letter of a page.
#[derive(Debug)]
pub struct ListedDeadLetter {
    /// The name of its `.json`; if that is missing, of its bytes.
    pub file: String,
    /// The letter, or what is wrong with it.
    pub letter: Result<StoredDeadLetter, String>,
}

/// The names of letters without an ending, in their order; with the ending of what has been seen of each.
type Names = BTreeMap<String, String>;

/// The newest of the letters that were seen.
#[derive(Debug, Default)]
struct NewestNames {
    names: Names,
    /// Whether older ones were left out.
    more: bool,
}

impl NewestNames {
    /// Looks at a letter; `most` names are kept.
    fn see(&mut self, stem: &str, ending: &str, most: usize) {
        see(&mut self.names, stem, ending);
        if self.names.len() > most {
            self.more = true;
            self.names.pop_first();
        }
    }
}

/// The letter that this name of a file is of; `None` if it is of none, or leads elsewhere than into the directory. Blocks.
pub(super) fn named(directory: &Path, file: &str) -> Option<ListedDeadLetter> {
    let (stem, ending) = file.rsplit_once('.')?;
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_plain && !stem.starts_with('.') && is_of_letter(ending)).then(|| listed(directory, stem, ending))?
}

/// The oldest letters behind `after` that are older than what is named `until`, whole or not, and may meet the conditions; `most` of
/// them at the most. With the name that the next ones are behind, if there was any letter. Blocks.
pub(super) fn oldest(
    directory: &Path,
    after: Option<&str>,
    until: &str,
    filter: &DeadLetterFilter,
    most: usize,
) -> io::Result<(Vec<ListedDeadLetter>, Option<String>)> {
    let mut oldest = Names::new();
    for_each_file(directory, |stem, ending| {
        // A file that is not named like a letter comes behind all letters.
        let is_too_new = stem >= until && stem.get(..20).is_some_and(utc::is_compact);
        if after.is_some_and(|after| stem <= after) || is_too_new || !filter.may_take(stem) {
            return;
        }
        see(&mut oldest, stem, ending);
        if oldest.len() > most {
            oldest.pop_last();
        }
    })?;
    let last = oldest.last_key_value().map(|(stem, _)| stem.clone());
    let letters = oldest.into_iter().filter_map(|(stem, ending)| listed(directory, &stem, &ending));
    Ok((letters.collect(), last))
}

/// Lists the letters in a directory. Blocks.
pub fn letters(directory: &Path) -> io::Result<FoundDeadLetters> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.path());
    }
    names.retain(|path| !is_of_unfinished_part(path));
    names.sort_unstable();
    let mut found = FoundDeadLetters::default();
    for path in names {
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => match StoredDeadLetter::read(&path) {
                Ok(letter) => found.letters.push(letter),
                Err(reason) => found.damaged.push((path, reason)),
            },
            Some("pb" | "jsonl") if path.with_extension("json").symlink_metadata().is_err() => {
                found.damaged.push((path, "its `.json` is missing".to_owned()));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Makes a page. Blocks.
pub(super) fn page(
    directory: &Path,
    before: Option<&str>,
    skip: usize,
    most: usize,
    filter: &DeadLetterFilter,
) -> io::Result<DeadLetterPage> {
    let before = before.map(stem);
    let is_behind = |stem: &str| before.is_none_or(|before| stem < before);
    let most_kept = if filter.is_empty() { most.saturating_add(skip) } else { MOST_OPENED };
    let mut page = DeadLetterPage::default();
    // Of the page, and of those that are counted.
    let (mut newest, mut counted) = (NewestNames::default(), NewestNames::default());
    for_each_file(directory, |stem, ending| {
        page.total += u64::from(ending == NOTE);
        if !filter.may_take(stem) {
            return;
        }
        if !filter.is_empty() {
            counted.see(stem, ending, MOST_OPENED);
        }
        if is_behind(stem) {
            newest.see(stem, ending, most_kept);
        }
    })?;
    page.matching_is_exact = !counted.more;
    let oldest_counted = counted.names.first_key_value().map(|(stem, _)| stem.clone());
    let oldest = newest.names.first_key_value().map(|(stem, _)| stem.clone());
    let (mut last, mut skipped) = (None, 0);
    counted.names.append(&mut newest.names);
    for (stem, ending) in counted.names.into_iter().rev() {
        let is_counted = oldest_counted.as_ref().is_some_and(|oldest| stem >= *oldest);
        let is_of_page = is_behind(&stem) && page.letters.len() < most;
        if !is_counted && !is_of_page {
            break;
        }
        // Without a condition a letter is left out as it is.
        if filter.is_empty() && skipped < skip {
            skipped += 1;
            continue;
        }
        let letter = listed(directory, &stem, &ending).filter(|listed| match &listed.letter {
            Ok(letter) => filter.takes(letter),
            Err(_) => filter.is_empty(),
        });
        page.matching += u64::from(is_counted && letter.is_some());
        if is_of_page {
            if letter.is_some() && skipped < skip {
                skipped += 1;
            } else {
                page.letters.extend(letter);
            }
            last = Some((stem, ending));
        }
    }
    if filter.is_empty() {
        page.matching = page.total;
    }
    let has_more = |last: &String| newest.more || oldest.as_ref().is_some_and(|oldest| oldest < last);
    page.next = last.filter(|(stem, _)| has_more(stem)).map(|(stem, ending)| format!("{stem}.{ending}"));
    Ok(page)
}

/// Gives the name of every file of a letter, without its ending and that, in no order.
fn for_each_file(directory: &Path, mut look: impl FnMut(&str, &str)) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let name = file?.file_name();
        // A letter's name is ASCII.
        if let Some((stem, ending)) = name.to_str().and_then(|name| name.rsplit_once('.'))
            && is_of_letter(ending)
        {
            look(stem, ending);
        }
    }
    Ok(())
}

fn is_of_letter(ending: &str) -> bool {
    ending == NOTE || PAYLOADS.contains(&ending)
}

fn see(names: &mut Names, stem: &str, ending: &str) {
    match names.get_mut(stem) {
        Some(seen) if *seen == NOTE => {}
        Some(seen) => ending.clone_into(seen),
        None => _ = names.insert(stem.to_owned(), ending.to_owned()),
    }
}

impl ListedDeadLetter {
    /// Removes what there is of it in the directory, its note first. Returns whether anything was there. Blocks.
    pub(super) fn remove(&self, directory: &Path) -> io::Result<bool> {
        let (stem, mut any) = (stem(&self.file), false);
        for ending in [NOTE].into_iter().chain(PAYLOADS) {
            match fs::remove_file(directory.join(format!("{stem}.{ending}"))) {
                Ok(()) => any = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }
}

/// A letter as it is now; nothing if it has gone, or is still being written, as it is or as a part of another.
fn listed(directory: &Path, stem: &str, ending: &str) -> Option<ListedDeadLetter> {
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
            _ if !metadata.is_file() => Err(NO_FILE.to_owned()),
            0..=LARGEST_NOTE => StoredDeadLetter::read(&note),
            size => Err(format!("a note of {size} bytes is too large to be shown")),
        };
        let has_gone = letter.is_err() && note.symlink_metadata().is_err();
        return (!has_gone).then(|| ListedDeadLetter { file: format!("{stem}.{NOTE}"), letter });
    }
    let orphaned = !being_written && ending != NOTE && path(ending).symlink_metadata().is_ok();
    orphaned.then(|| ListedDeadLetter {
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
    use tempfile::TempDir;

    use super::super::directory::tests::store_letter;
    use super::super::files::payload_path;
    use super::super::{DeadLetterSettings, DeadLetters};
    use super::*;
    use crate::encoding::Encoding;

    fn open(root: &TempDir) -> DeadLetters {
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 30, synced: false };
        DeadLetters::open(&settings).unwrap()
    }

    fn all() -> DeadLetterFilter {
        DeadLetterFilter::default()
    }

    /// The reasons of a page's letters, or what is wrong with them.
    fn told(page: &DeadLetterPage) -> Vec<&str> {
        let told = |listed: &'_ ListedDeadLetter| match &listed.letter {
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
            store_letter(&dead, reason).await;
        }
        let first = dead.page(None, 0, 2, all()).await.unwrap();
        assert_eq!((told(&first), first.total, first.next.is_some()), (vec!["5", "4"], 5, true));
        store_letter(&dead, "6").await;
        first.letters[1].letter.as_ref().unwrap().remove().unwrap();
        let second = dead.page(Some(first.letters[1].file.clone()), 0, 2, all()).await.unwrap();
        assert_eq!((told(&second), second.total, second.next.is_some()), (vec!["3", "2"], 5, true));
        let third = dead.page(Some(second.letters[1].file.clone()), 0, 2, all()).await.unwrap();
        assert_eq!((told(&third), third.next.is_some()), (vec!["1"], false));
        let none = dead.page(Some(third.letters[0].file.clone()), 0, 2, all()).await.unwrap();
        assert_eq!((told(&none), none.next.is_some()), (vec![], false));
    }

    #[tokio::test]
    async fn what_is_no_whole_letter_is_shown_with_what_is_wrong() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        store_letter(&dead, "fine").await;
        store_letter(&dead, "without bytes").await;
        let newest = dead.page(None, 0, 1, all()).await.unwrap();
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
        let page = dead.page(None, 0, 10, all()).await.unwrap();
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
        assert_eq!(dead.page(None, 0, 10, all()).await.unwrap().letters.len(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_is_an_error() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        drop(root);
        assert_eq!(dead.page(None, 0, 1, all()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn pages_of_a_condition_pass_over_the_others_and_say_where_to_go_on() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        for reason in ["odd 1", "even 2", "odd 3", "even 4", "odd 5"] {
            store_letter(&dead, reason).await;
        }
        fs::write(root.path().join("a.logs.json"), "{}").unwrap();
        let odd = || {
            let mut filter = DeadLetterFilter::default();
            filter.set("reason", "odd").unwrap();
            filter
        };
        let first = dead.page(None, 0, 2, odd()).await.unwrap();
        assert_eq!((told(&first), first.total), (vec!["odd 5", "odd 3"], 6));
        assert_eq!((first.matching, first.matching_is_exact), (3, true));
        let second = dead.page(first.next, 0, 2, odd()).await.unwrap();
        assert_eq!((told(&second), second.next.as_deref()), (vec!["odd 1"], None));
        assert_eq!((second.total, second.matching, second.matching_is_exact), (6, 3, true));
        let every = dead.page(None, 0, 2, all()).await.unwrap();
        assert_eq!((every.total, every.matching, every.matching_is_exact), (6, 6, true));
        let mut nobodys = DeadLetterFilter::default();
        nobodys.set("tenant", "nobody").unwrap();
        let none = dead.page(None, 0, 2, nobodys).await.unwrap();
        assert_eq!((told(&none), none.next.as_deref()), (vec![], None));
        assert_eq!((none.total, none.matching, none.matching_is_exact), (6, 0, true));
    }

    #[tokio::test]
    async fn a_page_leaves_out_as_many_letters_of_those_that_it_could_show_as_it_is_told() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        for reason in ["odd 1", "even 2", "odd 3", "even 4", "odd 5"] {
            store_letter(&dead, reason).await;
        }
        let mut odd = DeadLetterFilter::default();
        odd.set("reason", "odd").unwrap();
        let first = dead.page(None, 0, 1, all()).await.unwrap();
        for (before, skip, filter, expected, more) in [
            (None, 3, all(), vec!["even 2", "odd 1"], false),
            (None, 1, all(), vec!["even 4", "odd 3"], true),
            (first.next.clone(), 1, all(), vec!["odd 3", "even 2"], true),
            (None, 5, all(), vec![], false),
            (None, usize::MAX, all(), vec![], false),
            (None, 1, odd.clone(), vec!["odd 3", "odd 1"], false),
            (first.next.clone(), 1, odd.clone(), vec!["odd 1"], false),
            (None, 3, odd, vec![], false),
        ] {
            let page = dead.page(before, skip, 2, filter).await.unwrap();
            assert_eq!((told(&page), page.next.is_some()), (expected, more), "{skip}");
            assert_eq!(page.total, 5);
        }
    }

    #[tokio::test]
    async fn those_that_meet_a_condition_are_counted_among_the_newest_that_may_be_opened() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        for reason in ["odd 1", "even 2", "odd 3"] {
            store_letter(&dead, reason).await;
        }
        // Letters that are newer than all that are stored, and meet no condition, since they can't be read.
        for number in 0..MOST_OPENED - 1 {
            fs::write(root.path().join(format!("99990101T000000.000Z-{number:08}.logs.json")), "{}").unwrap();
        }
        let mut odd = DeadLetterFilter::default();
        odd.set("reason", "odd").unwrap();
        let first = dead.page(None, 0, 1, odd.clone()).await.unwrap();
        assert_eq!((told(&first), first.matching, first.matching_is_exact), (vec!["odd 3"], 1, false));
        let second = dead.page(first.next, 0, 5, odd).await.unwrap();
        assert_eq!((told(&second), second.next.as_deref()), (vec!["odd 1"], None));
        assert_eq!((second.matching, second.matching_is_exact), (1, false), "the same as on the first page");
    }

    #[tokio::test]
    async fn the_oldest_come_in_order_and_end_where_they_are_to() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        for reason in ["1", "2", "3"] {
            store_letter(&dead, reason).await;
        }
        let until = dead.end();
        store_letter(&dead, "4").await;
        let reasons = |all: &[ListedDeadLetter]| -> Vec<String> {
            all.iter().map(|listed| listed.letter.as_ref().unwrap().reason().to_owned()).collect()
        };
        let (first, last) = oldest(root.path(), None, &until, &all(), 2).unwrap();
        assert_eq!(reasons(&first), ["1", "2"]);
        let (second, last) = oldest(root.path(), last.as_deref(), &until, &all(), 2).unwrap();
        assert_eq!(reasons(&second), ["3"]);
        let (third, last) = oldest(root.path(), last.as_deref(), &until, &all(), 2).unwrap();
        assert!(third.is_empty() && last.is_none());
    }

    #[tokio::test]
    async fn a_name_is_that_of_a_letter_in_the_directory_or_of_none() {
        let root = TempDir::new().unwrap();
        let dead = open(&root);
        store_letter(&dead, "fine").await;
        let page = dead.page(None, 0, 1, all()).await.unwrap();
        let file = &page.letters[0].file;
        assert!(dead.letter(file.clone()).await.unwrap().unwrap().letter.is_ok());
        let outside = root.path().with_extension("outside.json");
        fs::copy(root.path().join(file), &outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.path().join("link.logs.json")).unwrap();
        let up = format!("../{}", outside.file_name().unwrap().to_str().unwrap());
        for name in [
            &up,
            "",
            ".",
            "..json",
            "/etc/passwd",
            "a/b.json",
            "a\0.json",
            "no.such.json",
            &file[..file.len() - 1],
        ] {
            assert!(dead.letter(name.to_owned()).await.unwrap().is_none(), "{name}");
        }
        let link = dead.letter("link.logs.json".to_owned()).await.unwrap().unwrap();
        assert_eq!(link.letter.unwrap_err(), "not a file");
        fs::remove_file(outside).unwrap();
    }
}
