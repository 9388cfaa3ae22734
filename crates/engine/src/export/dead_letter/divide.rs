//! A letter that is divided: others take its place, by their names as well, so that all letters keep their order.
//!
//! As long as the letter is there itself, its parts don't count: a division that is broken off is begun anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Files, KeyPart, Note, StoredLetter, payload_path, private_file, temporary};
use crate::export::Encoding;
use crate::route::RoutingKey;

/// A part of a letter that is to become a letter itself.
#[derive(Clone, Debug)]
pub struct LetterPart {
    /// The exporter it is for, if any.
    pub exporter: Option<String>,
    /// The routing key, if there is one.
    pub key: Option<RoutingKey>,
    /// Why it is here, for people.
    pub reason: String,
    /// Spans, data points or log records in it.
    pub records: u64,
    /// The encoded request, in protobuf.
    pub bytes: Vec<u8>,
}

impl StoredLetter {
    /// Puts letters in the place of this one, in their order, and returns them. If that fails, this one is left as it is.
    /// Blocks.
    pub fn divide(&self, parts: &[LetterPart]) -> io::Result<Vec<Self>> {
        self.remove_parts();
        let written = parts.iter().enumerate().try_for_each(|(index, part)| self.write_part(index, part));
        let directory = self.path.parent().unwrap_or(Path::new("."));
        if let Err(error) = written.and_then(|()| File::open(directory)?.sync_all()) {
            self.remove_parts();
            return Err(error);
        }
        self.remove()?;
        (0..parts.len())
            .map(|index| Self::read(&part_path(&self.path, index)).map_err(io::Error::other))
            .collect()
    }

    fn write_part(&self, index: usize, part: &LetterPart) -> io::Result<()> {
        let key = part.key.as_ref();
        let note = Note {
            exporter: part.exporter.clone(),
            encoding: Encoding::Proto,
            key: key.map(ToString::to_string),
            parts: key.into_iter().flat_map(RoutingKey::parts).map(KeyPart::of).collect(),
            tenant: key.and_then(RoutingKey::tenant).map(ToOwned::to_owned),
            reason: part.reason.clone(),
            records: part.records,
            bytes: part.bytes.len() as u64,
            ..self.note.clone()
        };
        let path = part_path(&self.path, index);
        let files = Files { note: &path, encoding: Encoding::Proto, synced: true };
        let claim = private_file().create(true).truncate(true).open(temporary(&path))?;
        files.write(claim, std::iter::once(&*part.bytes), &note.text()).inspect_err(|_| files.remove())
    }

    /// Removes what is there of parts. They are written one after the other, so that there is none behind a missing one.
    fn remove_parts(&self) {
        for path in (0..).map(|index| part_path(&self.path, index)) {
            let removed = [path.clone(), payload_path(&path, Encoding::Proto)].map(fs::remove_file);
            if removed.iter().all(Result::is_err) {
                break;
            }
        }
    }
}

/// The path of the note of a letter's part, which sorts where that of the letter does: before the next letter's.
fn part_path(note: &Path, index: usize) -> PathBuf {
    let name = note.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // The time has a dot as well.
    let (stem, signal) = name.trim_end_matches(".json").rsplit_once('.').unwrap_or_default();
    note.with_file_name(format!("{stem}-{index:06}.{signal}.json"))
}

/// Whether a file is of a part of a letter that is still there itself.
pub(super) fn is_of_unfinished_part(path: &Path) -> bool {
    let whole = || {
        let (rest, _) = path.file_name()?.to_str()?.rsplit_once('.')?;
        let (stem, signal) = rest.rsplit_once('.')?;
        let (whole, _) = stem.rsplit_once('-')?;
        // A letter that is no part is named by its time and a number.
        whole.contains('-').then(|| path.with_file_name(format!("{whole}.{signal}.json")))
    };
    whole().is_some_and(|whole| whole.exists())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::super::{DeadLetterSettings, DeadLetters, Letter, LetterOrigin, letters};
    use super::*;
    use crate::route::Values as _;
    use otlp::Signal;

    /// Letters without an exporter, of these bytes.
    async fn stored(root: &TempDir, all: &[&'static str]) -> Vec<StoredLetter> {
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 20, synced: false };
        let dead = DeadLetters::open(&settings).unwrap();
        for bytes in all {
            let letter = Letter {
                exporter: None,
                signal: Signal::Logs,
                encoding: Encoding::Proto,
                key: None,
                origin: Some(LetterOrigin { receiver: "otlp".to_owned(), ..LetterOrigin::default() }),
                reason: "no route".to_owned(),
                records: 2,
                bytes: vec![Bytes::from_static(bytes.as_bytes())],
                time: SystemTime::now(),
            };
            dead.store(letter).await.unwrap();
        }
        letters(root.path()).unwrap().letters
    }

    fn part(exporter: Option<&str>, bytes: &str) -> LetterPart {
        LetterPart {
            exporter: exporter.map(ToOwned::to_owned),
            key: exporter.map(|_| RoutingKey::of(Some("acme"), "", [("shop", "a/b")].into_iter())),
            reason: "routed".to_owned(),
            records: 1,
            bytes: bytes.into(),
        }
    }

    fn texts(root: &TempDir) -> Vec<Bytes> {
        let found = letters(root.path()).unwrap();
        assert_eq!(found.damaged, []);
        found.letters.iter().map(|letter| letter.load().unwrap()).collect()
    }

    #[tokio::test]
    async fn the_parts_stand_where_the_letter_was_and_can_be_divided_themselves() {
        let root = TempDir::new().unwrap();
        let all = stored(&root, &["first", "second", "third"]).await;
        let parts = all[1].divide(&[part(Some("file/x"), "s1"), part(None, "s2"), part(None, "s3")]).unwrap();
        assert_eq!(texts(&root), ["first", "s1", "s2", "s3", "third"]);
        parts[1].divide(&[part(None, "s2a"), part(None, "s2b")]).unwrap();
        assert_eq!(texts(&root), ["first", "s1", "s2a", "s2b", "s3", "third"]);
        let routed = &parts[0];
        assert_eq!((routed.exporter(), routed.reason(), routed.records()), (Some("file/x"), "routed", 1));
        assert_eq!(routed.key(), part(Some("file/x"), "").key.as_ref());
        assert_eq!((routed.time(), routed.origin()), (all[1].time(), all[1].origin()));
    }

    #[tokio::test]
    async fn what_a_division_that_was_broken_off_has_left_is_no_letter_and_goes_with_the_next() {
        let root = TempDir::new().unwrap();
        let all = stored(&root, &["first", "second"]).await;
        for (index, bytes) in ["one", "two", "three"].iter().enumerate() {
            all[0].write_part(index, &part(None, bytes)).unwrap();
        }
        fs::remove_file(part_path(all[0].path(), 2)).unwrap();
        assert_eq!(texts(&root), ["first", "second"]);
        all[0].divide(&[part(None, "whole")]).unwrap();
        assert_eq!(texts(&root), ["whole", "second"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4, "nothing else is left");
    }

    #[tokio::test]
    async fn a_letter_whose_parts_can_not_be_written_is_left_as_it_is() {
        let root = TempDir::new().unwrap();
        let all = stored(&root, &["first"]).await;
        fs::create_dir(temporary(&part_path(all[0].path(), 1))).unwrap();
        all[0].divide(&[part(None, "one"), part(None, "two")]).unwrap_err();
        assert_eq!(texts(&root), ["first"]);
    }
}
