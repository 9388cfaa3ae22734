//! Unknown names and fields that were passed over in parts of a request that have no records.
//!
//! Unknown names and fields are ignored (rule 51). But where a part has one and no records, its records were most likely
//! meant to be there, under a misspelt name or in another format; if nobody were told, they would be lost unnoticed.

use super::schema::{Field, Message};
use super::wire::Fields;
use super::{Signal, locate, piece};

/// How many parts are told of one by one.
const NAMED: usize = 3;

/// The parts of a request that have no records, but something that OTLP doesn't have in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// A sentence about each of the first of them, for people.
    sentences: Vec<String>,
    count: usize,
}

impl Ignored {
    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A sentence about each of the first of them, for people.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// Adds a part. `path` is that of what was passed over in it, and `expected` what could have had records.
    pub(super) fn add_unknown(&mut self, path: impl FnOnce() -> String, expected: &[String]) {
        self.add(|| {
            let path = path();
            format!("`{path}` is not known to OTLP and was ignored: {} expected there", one_of(expected))
        });
    }

    /// Adds something that was passed over since something else stands for it.
    pub(super) fn add(&mut self, sentence: impl FnOnce() -> String) {
        self.count += 1;
        if self.sentences.len() < NAMED {
            self.sentences.push(sentence());
        }
    }

    /// Takes back what was added after there were so many.
    pub(super) fn truncate(&mut self, count: usize) {
        debug_assert!(count <= self.count, "there were never more before");
        self.count = count;
        self.sentences.truncate(count);
    }

    /// Adds an entry in protobuf that has other scopes under their number of once than under that of today.
    pub(super) fn add_former(&mut self, signal: Signal, index: usize) {
        let former = Message::entry(signal).former.map_or(0, |former| former.number);
        let (entry, scopes) = (signal.entry_field(), &expected(Message::entry(signal))[0]);
        self.add(|| {
            format!(
                "`{entry}[{index}]`: field {former} was ignored, since it differs from the {scopes} beside it"
            )
        });
    }

    /// Adds a request in protobuf of which the entries have no records, if its own fields say more.
    pub(super) fn look_into_request(&mut self, signal: Signal, request: &[u8]) {
        let message = Message::request(signal);
        if let Some(offset) = unknown_field(message, request) {
            self.add_unknown(|| locate::path(signal, request, offset), &expected(message));
        }
    }

    /// Adds a valid entry in protobuf without records, if something in it is unknown. `offset` is where it begins in the
    /// request.
    pub(super) fn look_into_entry(&mut self, signal: Signal, request: &[u8], entry: &[u8], offset: usize) {
        if let Some((message, inner)) = innermost(Message::entry(signal), entry) {
            self.add_unknown(|| locate::path(signal, request, offset + inner), &expected(message));
        }
    }
}

/// The innermost message on the way to records that has an unknown field, and where that begins.
fn innermost(message: &'static Message, bytes: &[u8]) -> Option<(&'static Message, usize)> {
    let former = piece::is_former(message, bytes);
    let below = Fields::of(bytes).map_while(Result::ok).find_map(|field| {
        let child = piece::Child::of(message, &field, former)?;
        let (message, offset) = innermost(child.message(), child.bytes)?;
        Some((message, offset + child.bytes.as_ptr().addr() - bytes.as_ptr().addr()))
    });
    below.or_else(|| Some((message, unknown_field(message, bytes)?)))
}

/// Where the first field begins that the message doesn't have, and that holds anything.
fn unknown_field(message: &Message, bytes: &[u8]) -> Option<usize> {
    let mut fields = Fields::of(bytes).map_while(Result::ok);
    let unknown = fields.find(|field| {
        let is_known = message.field(field.number).or(message.formerly(field.number)).is_some();
        !is_known && field.delimited().is_none_or(|bytes| !bytes.is_empty())
    })?;
    Some(unknown.raw.as_ptr().addr() - bytes.as_ptr().addr())
}

/// The fields of a message under which records are looked for, as protobuf knows them.
fn expected(message: &Message) -> Vec<String> {
    leading(message).map(|field| format!("`{}` (field {})", field.name, field.number)).collect()
}

/// The same, as JSON knows them.
pub(super) fn expected_in_json(message: &Message) -> Vec<String> {
    leading(message).map(|field| format!("`{}`", field.json_name())).collect()
}

fn leading(message: &Message) -> impl Iterator<Item = &'static Field> {
    message.fields.iter().filter(|field| field.leads)
}

fn one_of(expected: &[String]) -> String {
    match expected {
        [only] => format!("{only} is"),
        several => format!("one of {} is", several.join(", ")),
    }
}
