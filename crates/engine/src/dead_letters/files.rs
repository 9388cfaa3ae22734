//! The two files of a dead letter: what its note says, how they are named and written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::letter::{DeadLetter, DeadLetterOrigin};
use crate::encoding::Encoding;
use crate::route::RoutingKey;
use crate::utc;

/// The version of the `.json` file's shape.
pub(super) const VERSION: u32 = 1;

/// The ending of files that are still being written.
pub(super) const TEMPORARY: &str = "tmp";

/// The `.json` of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) version: u32,
    pub(super) exporter: Option<String>,
    pub(super) signal: String,
    /// How the bytes are to be read; letters from before there was a choice are protobuf.
    #[serde(default)]
    pub(super) encoding: Encoding,
    /// The routing key for people, and what it is made of, so that a replay finds the same URL.
    pub(super) key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<KeyPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<DeadLetterOrigin>,
    pub(super) reason: String,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// RFC 3339, UTC.
    pub(super) time: String,
}

/// A named part of a routing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyPart {
    pub(super) name: String,
    pub(super) value: String,
}

/// The two files of a letter that is being written.
pub(super) struct LetterFiles<'f> {
    /// The path of its note.
    pub(super) note: &'f Path,
    pub(super) encoding: Encoding,
    pub(super) synced: bool,
}

impl LetterFiles<'_> {
    /// Writes the bytes, and then the note into its temporary file, and gives both their names.
    pub(super) fn write<'a>(
        &self,
        temporary_note: File,
        bytes: impl Iterator<Item = &'a [u8]>,
        note: &[u8],
    ) -> io::Result<()> {
        let payload = payload_path(self.note, self.encoding);
        let file = private_file().create(true).truncate(true).open(temporary(&payload))?;
        self.write_one(&payload, file, bytes)?;
        self.write_one(self.note, temporary_note, std::iter::once(note))
    }

    fn write_one<'a>(
        &self,
        path: &Path,
        mut file: File,
        mut pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        pieces
            .try_for_each(|piece| file.write_all(piece))
            .and_then(|()| if self.synced { file.sync_data() } else { Ok(()) })
            .and_then(|()| fs::rename(temporary(path), path))
    }

    /// Removes what was written, the note first: without it there is no letter. What can't be removed now is seen as bytes
    /// without a note.
    pub(super) fn remove(&self) {
        let payload = payload_path(self.note, self.encoding);
        for path in [self.note, &temporary(self.note), &payload, &temporary(&payload)] {
            let _ = fs::remove_file(path);
        }
    }
}

/// The path of a file while it is being written.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

/// Options for a file that is for this user alone, also in a directory that people have made for others.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

impl Note {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            version: VERSION,
            exporter: letter.exporter.clone(),
            signal: letter.signal.name().to_owned(),
            encoding: letter.encoding,
            key: letter.key.as_ref().map(ToString::to_string),
            parts: letter.key.iter().flat_map(RoutingKey::parts).map(KeyPart::of).collect(),
            tenant: letter.key.as_ref().and_then(RoutingKey::tenant).map(ToOwned::to_owned),
            origin: letter.origin.clone(),
            reason: letter.reason.clone(),
            records: letter.records,
            bytes: letter.bytes.iter().map(|piece| piece.len() as u64).sum(),
            time: utc::rfc3339(letter.time),
        }
    }

    /// The note's text in its file, which people can read as well.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a note has only strings for keys");
        text.push(b'\n');
        text
    }
}

impl KeyPart {
    pub(super) fn of((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }
}

/// The ending of a letter's bytes.
pub(super) const fn ending(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Proto => "pb",
        Encoding::Json => "jsonl",
    }
}

/// The path of a letter's bytes, from that of its note.
pub(super) fn payload_path(note: &Path, encoding: Encoding) -> PathBuf {
    note.with_extension(ending(encoding))
}

/// The path of the note of a letter's part, which sorts where that of the letter does: before the next letter's.
pub(super) fn part_path(note: &Path, index: usize) -> PathBuf {
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
