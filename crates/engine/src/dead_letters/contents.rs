//! The contents of a dead letter, for people: its entries as OTLP/JSON, and the parts that can't be read.

use std::io;

use serde_json::Value;

use super::stored::StoredDeadLetter;
use crate::encoding::Encoding;
use crate::route::Values as _;
use otlp::{self, REDACTED, Redaction, Signal};

/// Bytes of JSON that are shown of a letter.
const MOST_SHOWN: usize = 1 << 20;

/// Bytes that are read of a letter.
const MOST_READ: usize = 8 << 20;

/// Bytes of an entry that are shown in one piece. A larger one is shown in several, each with its resource and scope.
const PIECE: usize = 64 << 10;

/// The most parts that can't be read and are named.
const MOST_FAULTS: usize = 100;

/// The contents of a letter.
#[derive(Debug, Default)]
pub struct DeadLetterContents {
    /// Its entries, as in OTLP/JSON: a `ResourceSpans`, `ResourceMetrics` or `ResourceLogs` each. In a letter of JSON, a line that is no
    /// JSON is a text.
    pub entries: Vec<Value>,
    /// The positions of those that are the reason why the letter is here, as far as that is known.
    pub offending: Vec<usize>,
    /// The parts that are no valid OTLP.
    pub faults: Vec<DeadLetterFault>,
    /// Whether there is more than that.
    pub truncated: bool,
}

/// A part of a letter that is no valid OTLP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterFault {
    /// The path of the field that is at fault.
    pub path: String,
    /// The fault of that field.
    pub reason: String,
}

impl DeadLetterContents {
    /// Looks inside a letter, for all that is not hidden. What is shown takes at most [`MOST_SHOWN`] bytes of JSON. Blocks.
    pub(super) fn of(letter: &StoredDeadLetter, redaction: &Redaction) -> io::Result<Self> {
        let bytes = letter.load_most(MOST_READ)?;
        let mut contents = Self { truncated: (bytes.len() as u64) < letter.len(), ..Self::default() };
        match letter.encoding() {
            Encoding::Proto => contents.put_protobuf(letter.signal(), &bytes, redaction),
            Encoding::Json => contents.put_json(letter.signal(), &bytes, redaction),
        }
        // Entries that no route takes are valid: nothing in them is at fault.
        let is_refused = letter.exporter().is_some() || letter.encoding() == Encoding::Json;
        if is_refused && letter.records() == 1 && contents.entries.len() == 1 && !contents.truncated {
            contents.offending = vec![0];
        }
        Ok(contents)
    }

    fn put_protobuf(&mut self, signal: Signal, bytes: &[u8], redaction: &Redaction) {
        let (mut left, mut read) = (MOST_SHOWN, 0);
        for (raw, _) in otlp::frames(bytes) {
            read += raw.len();
            let split = match otlp::split(signal, raw) {
                Ok(split) => split,
                Err(malformed) => {
                    self.put_fault(malformed.path, malformed.reason.to_string());
                    continue;
                }
            };
            for entry in &split.entries {
                otlp::split_to_size(signal, &entry.bytes, PIECE, &mut |piece, _| {
                    let clean = || redaction.apply(signal, piece);
                    let shown = if left > 0 { entry_json(signal, &clean(), left) } else { None };
                    if let Some((entry, length)) = shown {
                        left -= length;
                        self.entries.push(entry);
                    } else {
                        left = 0;
                        self.truncated = true;
                    }
                });
            }
            for cut in split.cuts {
                self.put_fault(cut.path, cut.reason.to_string());
            }
            if left == 0 {
                self.truncated |= read < bytes.len();
                break;
            }
        }
        // The last entry may not have been read as a whole.
        if read < bytes.len() && !self.truncated {
            self.put_fault(String::new(), "it is no request in protobuf behind what is shown".to_owned());
        }
    }

    /// A request on each line.
    fn put_json(&mut self, signal: Signal, bytes: &[u8], redaction: &Redaction) {
        let mut left = MOST_SHOWN;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if line.len() > left {
                self.truncated = true;
                break;
            }
            left -= line.len();
            let mut request = serde_json::from_slice::<Value>(line);
            if let Ok(request) = &mut request {
                redaction.hide_in_json(request);
            }
            match request {
                Ok(Value::Object(mut request)) => match request.remove(signal.json_entry_field()) {
                    Some(Value::Array(entries)) => self.entries.extend(entries),
                    Some(other) => self.entries.push(other),
                    None => self.entries.push(Value::Object(request)),
                },
                Ok(other) => self.entries.push(other),
                Err(error) => {
                    self.put_fault(String::new(), format!("it is no JSON (column {})", error.column()));
                    // Without what it is in JSON, nobody can tell which text belongs to which key.
                    let shown =
                        if redaction.is_empty() { String::from_utf8_lossy(line) } else { REDACTED.into() };
                    self.entries.push(shown.into());
                }
            }
        }
    }

    fn put_fault(&mut self, path: String, reason: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(DeadLetterFault { path, reason });
        } else {
            self.truncated = true;
        }
    }
}

/// A valid entry as JSON, with the bytes that it takes as text; `None` if these are more than `most`.
fn entry_json(signal: Signal, entry: &[u8], most: usize) -> Option<(Value, usize)> {
    let mut framed = Vec::with_capacity(otlp::frame_len(entry.len()));
    otlp::put_frame(&mut framed, entry.len());
    framed.extend_from_slice(entry);
    let mut text = Vec::new();
    otlp::write_request(signal, &[framed], &mut text);
    if text.len() > most {
        return None;
    }
    let mut request: Value = serde_json::from_slice(&text).ok()?;
    let entry = request.get_mut(signal.json_entry_field())?.get_mut(0)?.take();
    Some((entry, text.len()))
}
