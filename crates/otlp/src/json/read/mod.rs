//! OTLP/JSON to protobuf, by the schema tables and without building a message.
//!
//! It takes what the specification and the Collector take: `lowerCamelCase` names and those of `proto/`, integers as
//! numbers or strings and in any notation that is whole, NaN and the infinities as strings, enums by number or
//! name, ids in hexadecimal of either case or in base64 (without padding only if none of their entry is hexadecimal, since
//! their length alone could be a mistake), bytes in every dialect of base64. `null` is as good as
//! absent; in a list it keeps its place, as an empty message, an empty string, 0 or, for a double, NaN (which is what
//! JavaScript writes it for). Names that the schema doesn't have are passed over with their values; where a part has one
//! and no records, that is told ([`Ignored`]). Names that a field had once (`instrumentationLibrarySpans`) are taken where
//! the field itself is absent or empty.
//!
//! What it writes is OTLP by the strictest reading: fields in the document's order, no defaults, varints as short as
//! they can be.
//!
//! **What is wrong.** A document that is not JSON is refused whole ([`Malformed`]). A part that is wrong in a
//! well-formed document (an id of another length, a number out of range, text that is not UTF-8) is cut out as the
//! validator cuts it out of protobuf: the record, else the metric, the scope, the entry. Both name a path and a byte.
//!
//! **Lengths** stand before what they count, and are not known until it is written. Each message type remembers how
//! many bytes its last length took, and leaves as many free; where that was wrong, the message is moved by the
//! difference. Neighbours are alike, so that this is rare. At worst a byte is moved once for each message around it,
//! of which there are at most a hundred.
//!
//! **Order** of members is remembered likewise: the name that followed last time is tried first.

mod bytes;
mod cut;
mod former;
mod number;
mod scalar;
mod skip;
mod text;
mod walk;

use super::super::schema::Message;
use super::super::{Cut, Ignored, Malformed, Reason, Signal, Split};
pub(crate) use bytes::base64;
use walk::DocumentReader;

/// A request that came as JSON.
#[derive(Debug)]
pub struct Transcoded {
    /// The valid parts, as a request in protobuf.
    pub bytes: Vec<u8>,
    /// The parts that were left out.
    pub omitted: Omitted,
}

/// The parts of a request that came as JSON which are not in the protobuf that it became.
#[derive(Debug, Default)]
pub struct Omitted {
    /// The parts that were not valid. Their `bytes` are JSON, a request on each line, in which the members before the
    /// part are as in the document; none if there was no room for them.
    pub cuts: Vec<Cut>,
    /// The positions of the entries of which nothing is left.
    entries: Vec<u32>,
    /// The unknown names that were passed over in parts that have no records.
    ignored: Ignored,
}

impl Omitted {
    /// Adds the parts that were left out to the `split` of the protobuf, and gives its entries the positions that they have in the
    /// document.
    pub fn restore(self, split: &mut Split<'_>) {
        let mut gone = self.entries.iter().map(|index| *index as usize).peekable();
        let mut before = 0;
        for entry in &mut split.entries {
            while gone.next_if(|index| *index <= entry.index + before).is_some() {
                before += 1;
            }
            entry.index += before;
        }
        split.cuts.extend(self.cuts);
        debug_assert_eq!(split.ignored.count(), 0, "what was transcoded has no unknown fields");
        split.ignored = self.ignored;
    }
}

/// Why a document was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum JsonReadError {
    /// The document is not JSON, or not a request.
    Malformed(Malformed),
    /// There was no memory for the request in protobuf.
    NoRoom,
}

/// Transcodes a request.
///
/// `room` is asked before memory is taken, for so many bytes more; if it returns false, this ends with
/// [`JsonReadError::NoRoom`]. It is asked for the `capacity` of the bytes, and for the bytes of the cuts.
pub fn read_request(
    signal: Signal,
    json: &[u8],
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Transcoded, JsonReadError> {
    let request = Message::request(signal);
    // As for protobuf; offsets of entries are 32 bits wide.
    if u32::try_from(json.len()).is_err() {
        let path = request.name.to_owned();
        return Err(JsonReadError::Malformed(Malformed { path, offset: 0, reason: Reason::TooLong }));
    }
    DocumentReader::new(request, json, room).document()
}

/// Memory for counting: that many bits are that many brackets inside one another in what is passed over.
const FOR_COUNTING: usize = 16 * 1024;

/// How many records a request in JSON has, right or wrong; 0 if it is not JSON on the way to them, or too deeply nested.
/// Takes next to no memory, so that what there was no room for can be counted.
pub fn count_json(signal: Signal, json: &[u8]) -> u64 {
    let mut left = FOR_COUNTING;
    let mut room = |bytes: usize| match left.checked_sub(bytes) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    DocumentReader::new(Message::request(signal), json, &mut room).count_document()
}

#[cfg(test)]
mod tests;
