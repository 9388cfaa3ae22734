//! Whether bytes are OTLP by the strictest reading of any known server, told without building a message.
//!
//! Servers differ in what they accept, and a batch mixes the bytes of many senders, so what one server would
//! refuse must not get in. Beyond what every protobuf decoder checks, this rejects groups, ids of other
//! lengths than the specification's, and a second `resource` in an entry. Unknown fields are fine, as long as they are
//! well-formed; of an entry's field 1000, which a Collector reads as scopes, what is in it must be valid as well.
//!
//! The walk goes through every field once, decides by one look-up in the schema's dense tables, allocates
//! nothing, and counts the records on the way.

use super::fault::{Reason, Violation};
use super::plain::{self, Plain};
use super::schema::{self, Field, FieldKind, Message, Op};
use super::wire::{Fields, Value};
use super::{Signal, piece, wire};

/// How many messages may stand inside one another below the request: as many as prost allows.
const MAX_DEPTH: u32 = 100;

/// Checks a whole request and counts its records.
pub fn validate(signal: Signal, request: &[u8]) -> Result<u64, Violation> {
    let mut walk = Walk::new(request);
    for field in Fields::of(request) {
        let (number, value, at) = match field {
            Ok(field) => (field.number, field.value, field.raw),
            Err((reason, at)) => return Err(walk.fault_at(at, reason)),
        };
        match (number, value) {
            (1, Value::Delimited(entry)) => {
                let message = Message::entry(signal);
                walk.resource = None;
                walk.message(message, entry, Level::ENTRY)?;
                if let Some(records) = walk.former.take()
                    && piece::is_former(message, entry)
                {
                    walk.records += records;
                }
            }
            (1, _) => return Err(walk.fault_at(at, Reason::WireType)),
            _ => {}
        }
    }
    Ok(walk.records)
}

/// How deep a message stands: how many more may be nested in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level(u32);

impl Level {
    /// A request.
    pub(super) const REQUEST: Self = Self(MAX_DEPTH);

    /// An entry.
    pub(super) const ENTRY: Self = Self(MAX_DEPTH - 1);

    /// The level of a message in this one, unless that is too deep.
    #[inline]
    pub(super) fn below(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

/// A check in progress, and the records and the fault that it has seen.
pub(super) struct Walk<'a> {
    /// The offsets of faults are relative to the beginning of these bytes.
    origin: &'a [u8],
    /// The records so far.
    pub(super) records: u64,
    /// The resource of the entry being checked.
    pub(super) resource: Option<&'a [u8]>,
    /// The records in what the entry being checked holds under field 1000, if it has that. They are its records if it has
    /// no field 2, and not counted above.
    pub(super) former: Option<u64>,
    fault: Option<Violation>,
}

/// The walk found a fault, which [`Walk`] keeps: an error without a payload goes up through a hundred levels in
/// one register.
struct ValidationStop;

type ValidationResult<T> = Result<T, ValidationStop>;

impl<'a> Walk<'a> {
    /// A walk over parts of `origin`, which faults are located in.
    pub(super) fn new(origin: &'a [u8]) -> Self {
        Self { origin, records: 0, resource: None, former: None, fault: None }
    }

    /// Checks the fields of a message that stands at `level`.
    pub(super) fn message(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        level: Level,
    ) -> Result<(), Violation> {
        self.fields(message, bytes, level).map_err(|ValidationStop| {
            self.fault.take().expect("a walk stops only after it has noted the fault")
        })
    }

    fn fields(
        &mut self,
        message: &'static Message,
        mut rest: &'a [u8],
        level: Level,
    ) -> ValidationResult<()> {
        while let Some((&first, mut tail)) = rest.split_first() {
            let start = rest;
            let mut key = first;
            if first >= 0x80 {
                let Some(dense) = long_key(start) else {
                    rest = self.other(message, start, level)?;
                    continue;
                };
                (key, tail) = dense;
            }
            let action = message.action(key);
            rest = match action.op {
                Op::KeyValue => {
                    let (bytes, after) = self.delimited(start, tail)?;
                    if !(level.0 >= 2 && is_plain_ascii(bytes)) {
                        self.nested(start, action.argument, bytes, level)?;
                    }
                    after
                }
                Op::String => {
                    let (text, after) = self.delimited(start, tail)?;
                    if !is_ascii(text) {
                        self.utf8(text)?;
                    }
                    after
                }
                Op::Message => {
                    let (bytes, after) = self.delimited(start, tail)?;
                    self.nested(start, action.argument, bytes, level)?;
                    after
                }
                Op::Fixed64 => self.skip(start, tail, 8)?,
                Op::Varint => self.varint(start, tail)?,
                Op::Id => {
                    let (id, after) = self.delimited(start, tail)?;
                    if id.len() != action.argument as usize && !id.is_empty() {
                        return self.stop(start, Reason::IdLength);
                    }
                    after
                }
                Op::Fixed32 => self.skip(start, tail, 4)?,
                Op::Record => {
                    let (bytes, after) = self.delimited(start, tail)?;
                    self.records += 1;
                    self.nested(start, action.argument, bytes, level)?;
                    after
                }
                Op::Bytes => self.delimited(start, tail)?.1,
                Op::PackedFixed64 => {
                    let (values, after) = self.delimited(start, tail)?;
                    if !values.len().is_multiple_of(8) {
                        return self.stop(start, Reason::Packed);
                    }
                    after
                }
                Op::PackedVarints => {
                    let (mut values, after) = self.delimited(start, tail)?;
                    while !values.is_empty() {
                        values = self.varint(values, values)?;
                    }
                    after
                }
                Op::Resource => {
                    let (bytes, after) = self.delimited(start, tail)?;
                    if self.resource.replace(bytes).is_some() {
                        return self.stop(start, Reason::DuplicateResource);
                    }
                    self.nested(start, action.argument, bytes, level)?;
                    after
                }
                Op::Other => self.other(message, start, level)?,
            };
        }
        Ok(())
    }

    #[inline]
    fn nested(&mut self, start: &'a [u8], index: u8, bytes: &'a [u8], level: Level) -> ValidationResult<()> {
        match level.below() {
            Some(below) => self.fields(schema::message(index), bytes, below),
            None => self.stop(start, Reason::Depth),
        }
    }

    /// A field that the message doesn't have, or has with another wire type.
    #[cold]
    fn other(
        &mut self,
        message: &'static Message,
        start: &'a [u8],
        level: Level,
    ) -> ValidationResult<&'a [u8]> {
        let number = match wire::key(start) {
            Ok((_, 3 | 4, _)) => return self.stop(start, Reason::Group),
            Ok((_, 6 | 7, _)) => return self.stop(start, Reason::UnknownWireType),
            Ok((number, ..)) => number,
            Err(reason) => return self.stop(start, reason),
        };
        if message.field(number).is_some() {
            return self.stop(start, Reason::WireType);
        }
        if let Some(field) = message.formerly(number) {
            return self.former(field, start, level);
        }
        if level.below().is_none() {
            // prost counts skipping as a level.
            return self.stop(start, Reason::Depth);
        }
        match Fields::of(start).next() {
            Some(Ok(field)) => Ok(&start[field.raw.len()..]),
            Some(Err((reason, _))) => self.stop(start, reason),
            None => self.stop(start, Reason::Truncated),
        }
    }

    /// A field under the number that it had once: nothing to most servers, but a Collector reads it.
    fn former(&mut self, field: &'static Field, start: &'a [u8], level: Level) -> ValidationResult<&'a [u8]> {
        let (FieldKind::Message(index), Ok((_, 2, tail))) = (field.kind, wire::key(start)) else {
            return self.stop(start, Reason::WireType);
        };
        let (bytes, after) = self.delimited(start, tail)?;
        let counted = self.records;
        self.nested(start, index, bytes, level)?;
        *self.former.get_or_insert(0) += self.records - counted;
        self.records = counted;
        Ok(after)
    }

    /// Takes a length and as many bytes.
    #[inline]
    fn delimited(&mut self, start: &'a [u8], tail: &'a [u8]) -> ValidationResult<(&'a [u8], &'a [u8])> {
        if let Some((&len, tail)) = tail.split_first()
            && len < 0x80
            && let Some(split) = tail.split_at_checked(len as usize)
        {
            return Ok(split);
        }
        match wire::varint(tail) {
            Ok((len, tail)) => match usize::try_from(len).ok().and_then(|len| tail.split_at_checked(len)) {
                Some(split) => Ok(split),
                None => self.stop(start, Reason::Truncated),
            },
            Err(reason) => self.stop(start, reason),
        }
    }

    #[inline]
    fn varint(&mut self, start: &'a [u8], tail: &'a [u8]) -> ValidationResult<&'a [u8]> {
        match wire::varint(tail) {
            Ok((_, rest)) => Ok(rest),
            Err(reason) => self.stop(start, reason),
        }
    }

    #[inline]
    fn skip(&mut self, start: &'a [u8], tail: &'a [u8], len: usize) -> ValidationResult<&'a [u8]> {
        match tail.get(len..) {
            Some(rest) => Ok(rest),
            None => self.stop(start, Reason::Truncated),
        }
    }

    #[inline(never)]
    fn utf8(&mut self, text: &'a [u8]) -> ValidationResult<()> {
        match simdutf8::compat::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(error) => self.stop(&text[error.valid_up_to()..], Reason::Utf8),
        }
    }

    /// Notes a fault at the place where `at` begins.
    #[cold]
    fn stop<T>(&mut self, at: &'a [u8], reason: Reason) -> ValidationResult<T> {
        self.fault = Some(self.fault_at(at, reason));
        Err(ValidationStop)
    }

    fn fault_at(&self, at: &[u8], reason: Reason) -> Violation {
        Violation { reason, offset: at.as_ptr().addr() - self.origin.as_ptr().addr() }
    }
}

/// A key of two bytes or more as the tables have it, if they do, and what follows it.
#[inline]
fn long_key(start: &[u8]) -> Option<(u8, &[u8])> {
    // Fields 16 to 31 in two bytes: `Span.flags` is in every span.
    if let [first, 1, tail @ ..] = start {
        return Some((*first, tail));
    }
    match wire::key(start) {
        Ok((number, wire, tail)) if number < 32 => Some(((number << 3) as u8 | wire, tail)),
        _ => None,
    }
}

/// Whether it is an attribute of the plain shape and all ASCII, keys and lengths included: one test over all bytes
/// does for both strings, and what is not ASCII is left to the tables.
#[inline]
fn is_plain_ascii(bytes: &[u8]) -> bool {
    match plain::attribute(bytes) {
        Some((_, Plain::Text(_))) => is_ascii(bytes),
        Some((key, Plain::Int(_))) => is_ascii(key),
        None => false,
    }
}

/// Whether there are only ASCII bytes, in words rather than bytes: most strings are short and all ASCII.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let (words, _) = text.as_chunks::<8>();
    let all = words.iter().fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word));
    all & HIGH == 0
}

#[cfg(test)]
mod tests;
