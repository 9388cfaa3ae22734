//! A dead letter on disk: reading it, removing it, and dividing it into others that take its place, by their names as well, so that
//! all letters keep their order. As long as the letter is there itself, its parts don't count: a division that is broken off is begun
//! anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::files::{
    KeyPart, LetterFiles, Note, VERSION, ending, part_path, payload_path, private_file, temporary,
};
use super::letter::DeadLetterOrigin;
use crate::encoding::Encoding;
use crate::route::{RoutingKey, Values};
use otlp::Signal;

/// The error of a link, a directory, a pipe or a device in the place of a file.
pub(super) const NO_FILE: &str = "not a file";

/// A part of a letter that is to become a letter itself.
#[derive(Clone, Debug)]
pub struct DeadLetterPart {
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

/// A letter on disk. Its bytes are read when they are asked for.
#[derive(Clone, Debug)]
pub struct StoredDeadLetter {
    path: PathBuf,
    signal: Signal,
    key: Option<RoutingKey>,
    note: Note,
}

impl StoredDeadLetter {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        let read = open_file(path).and_then(|mut file| file.read_to_end(&mut text));
        read.map_err(|error| error.to_string())?;
        let note: Note =
            serde_json::from_slice(&text).map_err(|error| format!("not a dead letter: {error}"))?;
        if note.version > VERSION {
            return Err(format!("version {} is newer than this sluice knows", note.version));
        }
        let signal =
            Signal::from_name(&note.signal).ok_or_else(|| format!("unknown signal `{}`", note.signal))?;
        let end = ending(note.encoding);
        let payload = fs::symlink_metadata(payload_path(path, note.encoding));
        let payload = payload.map_err(|error| format!("its `.{end}`: {error}"))?;
        if !payload.is_file() {
            return Err(format!("its `.{end}` is {NO_FILE}"));
        }
        let held = payload.len();
        if held != note.bytes {
            return Err(format!("its `.{end}` has {held} bytes instead of {}", note.bytes));
        }
        let parts = note.parts.iter().map(|part| (part.name.as_str(), part.value.as_str()));
        let key = note.key.as_deref().map(|text| RoutingKey::of(note.tenant.as_deref(), text, parts));
        Ok(Self { path: path.to_owned(), signal, key, note })
    }

    /// The `.json` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The exporter it was recorded for.
    pub fn exporter(&self) -> Option<&str> {
        self.note.exporter.as_deref()
    }

    /// Where it came from, if it never had an exporter and is not from before that was kept.
    pub fn origin(&self) -> Option<&DeadLetterOrigin> {
        self.note.origin.as_ref()
    }

    /// The tenant whose it is, if it is anybody's.
    pub fn tenant(&self) -> Option<&str> {
        let of_origin = || self.origin()?.tenant.as_deref();
        self.note.tenant.as_deref().or_else(of_origin)
    }

    /// How its bytes are to be read.
    pub fn encoding(&self) -> Encoding {
        self.note.encoding
    }

    /// Why it is here.
    pub fn reason(&self) -> &str {
        &self.note.reason
    }

    /// When it was given up: RFC 3339, UTC.
    pub fn time(&self) -> &str {
        &self.note.time
    }

    /// Spans, data points or log records in it.
    pub fn records(&self) -> u64 {
        self.note.records
    }

    /// Bytes of the encoded request.
    pub fn len(&self) -> u64 {
        self.note.bytes
    }

    /// Whether the request is empty, which is a valid one.
    pub fn is_empty(&self) -> bool {
        self.note.bytes == 0
    }

    /// The encoded request. Blocks.
    pub fn load(&self) -> io::Result<Bytes> {
        self.load_most(usize::MAX)
    }

    /// The first bytes of the encoded request. Blocks.
    pub(super) fn load_most(&self, most: usize) -> io::Result<Bytes> {
        let file = open_file(&payload_path(&self.path, self.note.encoding))?;
        let most = (most as u64).min(self.note.bytes);
        let mut bytes = Vec::with_capacity(most as usize);
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Removes both files, the note first, so that what is left after a crash is not a letter. Blocks.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        fs::remove_file(payload_path(&self.path, self.note.encoding))
    }

    /// Puts letters in the place of this one, in their order, and returns them. If that fails, this one is left as it is.
    /// Blocks.
    pub fn divide(&self, parts: &[DeadLetterPart]) -> io::Result<Vec<Self>> {
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

    fn write_part(&self, index: usize, part: &DeadLetterPart) -> io::Result<()> {
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
        let files = LetterFiles { note: &path, encoding: Encoding::Proto, synced: true };
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

/// Opens what is a regular file itself: what leads elsewhere, and what could be waited for without end, is none.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // The errors of the system for a link, and for a socket.
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| [Errno::LOOP, Errno::NXIO].contains(&Errno::from_raw_os_error(code))) =>
        {
            return Err(io::Error::other(NO_FILE));
        }
        file => file?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NO_FILE)) }
}

impl Values for StoredDeadLetter {
    fn key(&self) -> Option<&RoutingKey> {
        self.key.as_ref()
    }

    fn signal(&self) -> Signal {
        self.signal
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tempfile::TempDir;

    use super::super::{DeadLetter, DeadLetterSettings, DeadLetters, letters};
    use super::*;
    use otlp::Signal;

    /// Letters without an exporter, of these bytes.
    async fn stored(root: &TempDir, all: &[&'static str]) -> Vec<StoredDeadLetter> {
        let settings = DeadLetterSettings { directory: root.path().into(), max_size: 1 << 20, synced: false };
        let dead = DeadLetters::open(&settings).unwrap();
        for bytes in all {
            let letter = DeadLetter {
                exporter: None,
                signal: Signal::Logs,
                encoding: Encoding::Proto,
                key: None,
                origin: Some(DeadLetterOrigin { receiver: "otlp".to_owned(), ..DeadLetterOrigin::default() }),
                reason: "no route".to_owned(),
                records: 2,
                bytes: vec![Bytes::from_static(bytes.as_bytes())],
                time: SystemTime::now(),
            };
            dead.store(letter).await.unwrap();
        }
        letters(root.path()).unwrap().letters
    }

    fn part(exporter: Option<&str>, bytes: &str) -> DeadLetterPart {
        DeadLetterPart {
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
