//! Going through letters to replay or to delete them.

use std::io;

use super::directory::DeadLetters;
use super::filter::DeadLetterFilter;
use super::list::{ListedDeadLetter, named, oldest};
use super::lock::DeadLettersLock;

/// Letters that are looked at in one go.
const STEP: usize = 1000;

/// The letters that a walk goes through.
#[derive(Clone, Debug)]
pub enum DeadLetterSelection {
    /// The letters of these names.
    Files(Vec<String>),
    /// The letters that meet the conditions; without a condition also files that are no whole letter.
    Matching(DeadLetterFilter),
}

/// A walk through the letters that are meant, from the oldest on. Letters that are stored after its beginning are not in it, so that
/// it ends. Nobody else replays or deletes letters of the directory until it is dropped.
#[derive(Debug)]
pub struct DeadLetterWalk {
    letters: DeadLetters,
    rest: WalkRest,
    _lock: DeadLettersLock,
}

/// The part of a walk that is left.
#[derive(Debug)]
enum WalkRest {
    /// The letters of these names, the next one last.
    Named(Vec<String>),
    Matching {
        filter: DeadLetterFilter,
        after: Option<String>,
        until: String,
    },
    Nothing,
}

/// Some letters of a walk.
#[derive(Debug, Default)]
pub struct WalkedDeadLetters {
    /// From the oldest on.
    pub letters: Vec<ListedDeadLetter>,
    /// Names that were asked for, and are of no letter.
    pub missing: Vec<String>,
}

impl DeadLetterWalk {
    /// Begins to go through the letters of a directory; `None` if somebody else does, here or in another process.
    pub async fn begin(letters: &DeadLetters, selection: DeadLetterSelection) -> io::Result<Option<Self>> {
        let Some(lock) = letters.look(DeadLettersLock::take).await? else { return Ok(None) };
        let rest = match selection {
            DeadLetterSelection::Files(mut names) => {
                names.sort_unstable_by(|one, other| other.cmp(one));
                names.dedup();
                WalkRest::Named(names)
            }
            DeadLetterSelection::Matching(filter) => {
                WalkRest::Matching { filter, after: None, until: letters.end() }
            }
        };
        Ok(Some(Self { letters: letters.clone(), rest, _lock: lock }))
    }

    /// The directory that it goes through.
    pub fn letters(&self) -> &DeadLetters {
        &self.letters
    }

    /// The next letters; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<WalkedDeadLetters>> {
        match std::mem::replace(&mut self.rest, WalkRest::Nothing) {
            WalkRest::Nothing => Ok(None),
            WalkRest::Named(mut names) => {
                let next = names.split_off(names.len().saturating_sub(STEP));
                if next.is_empty() {
                    return Ok(None);
                }
                self.rest = WalkRest::Named(names);
                let walked = self.letters.look(move |directory| {
                    let mut walked = WalkedDeadLetters::default();
                    for name in next.into_iter().rev() {
                        match named(directory, &name) {
                            Some(letter) => walked.letters.push(letter),
                            None => walked.missing.push(name),
                        }
                    }
                    Ok(walked)
                });
                walked.await.map(Some)
            }
            WalkRest::Matching { filter, after, until } => {
                let (of_step, wanted) = (until.clone(), filter.clone());
                let (mut letters, last) = self
                    .letters
                    .look(move |directory| oldest(directory, after.as_deref(), &of_step, &wanted, STEP))
                    .await?;
                let Some(last) = last else { return Ok(None) };
                letters.retain(|listed| match &listed.letter {
                    Ok(letter) => filter.takes(letter),
                    Err(_) => filter.is_empty(),
                });
                self.rest = WalkRest::Matching { filter, after: Some(last), until };
                Ok(Some(WalkedDeadLetters { letters, missing: Vec::new() }))
            }
        }
    }

    /// Removes the files of letters of this walk. Returns of each whether they were still there, or what the disk says.
    pub async fn remove(
        &self,
        letters: Vec<ListedDeadLetter>,
    ) -> io::Result<Vec<(ListedDeadLetter, io::Result<bool>)>> {
        let removed = self.letters.look(move |directory| {
            let removed = letters.into_iter().map(|letter| {
                let removed = letter.remove(directory);
                (letter, removed)
            });
            Ok(removed.collect())
        });
        removed.await
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::DeadLetterSettings;
    use super::super::directory::tests::store_letter;
    use super::*;

    async fn directory_of(root: &TempDir, letters: usize) -> DeadLetters {
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 30, synced: false };
        let dead = DeadLetters::open(&settings).unwrap();
        for number in 0..letters {
            store_letter(&dead, &number.to_string()).await;
        }
        dead
    }

    fn all() -> DeadLetterSelection {
        DeadLetterSelection::Matching(DeadLetterFilter::default())
    }

    #[tokio::test]
    async fn a_walk_meets_every_letter_once_in_order_and_none_that_comes_meanwhile() {
        let root = TempDir::new().unwrap();
        let count = STEP + 10;
        let dead = directory_of(&root, count).await;
        let mut walk = DeadLetterWalk::begin(&dead, all()).await.unwrap().unwrap();
        let mut met = Vec::new();
        while let Some(walked) = walk.next().await.unwrap() {
            store_letter(&dead, &(count + 1).to_string()).await;
            for listed in walked.letters {
                met.push(listed.letter.as_ref().unwrap().reason().parse::<usize>().unwrap());
                let removed = walk.remove(vec![listed]).await.unwrap();
                assert!(removed.into_iter().all(|(_, removed)| removed.unwrap()));
            }
        }
        assert_eq!(met, (0..count).collect::<Vec<_>>());
        let left = dead.page(None, 0, 100, DeadLetterFilter::default()).await.unwrap();
        assert!(
            left.letters
                .iter()
                .all(|listed| listed.letter.as_ref().unwrap().reason() == (count + 1).to_string())
        );
    }

    #[tokio::test]
    async fn names_are_met_from_the_oldest_on_and_those_of_no_letter_are_told() {
        let root = TempDir::new().unwrap();
        let dead = directory_of(&root, 3).await;
        let page = dead.page(None, 0, 10, DeadLetterFilter::default()).await.unwrap();
        let mut names: Vec<String> = page.letters.into_iter().map(|listed| listed.file).collect();
        names.extend([names[0].clone(), "../x.json".to_owned()]);
        let mut walk =
            DeadLetterWalk::begin(&dead, DeadLetterSelection::Files(names)).await.unwrap().unwrap();
        let walked = walk.next().await.unwrap().unwrap();
        let reasons = walked.letters.iter().map(|listed| listed.letter.as_ref().unwrap().reason().to_owned());
        assert_eq!(reasons.collect::<Vec<_>>(), ["0", "1", "2"]);
        assert_eq!(walked.missing, ["../x.json"]);
        assert!(walk.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn one_walk_at_a_time_is_begun() {
        let root = TempDir::new().unwrap();
        let dead = directory_of(&root, 1).await;
        let walk = DeadLetterWalk::begin(&dead, all()).await.unwrap();
        assert!(walk.is_some() && DeadLetterWalk::begin(&dead, all()).await.unwrap().is_none());
        drop(walk);
        assert!(DeadLetterWalk::begin(&dead, all()).await.unwrap().is_some());
    }
}
