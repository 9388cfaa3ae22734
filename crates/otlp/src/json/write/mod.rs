//! Protobuf to OTLP/JSON, by the schema tables and without building a message.
//!
//! The input has been validated. Only what the specification allows is written: `lowerCamelCase` names (rule 52),
//! 64-bit integers as strings (rule 53), enums as integers (rule 50), ids as lower-case hex (rule 49), bytes as
//! base64, NaN and the infinities as strings, and no defaults but where protobuf tells a default from nothing:
//! members of a `oneof` and `optional` fields. Unknown fields have no name and are left out.
//!
//! Protobuf lets the elements of a list stand apart from one another, and a field that can be set once occur more
//! often. No sender does this, so an entry is written in one go, field by field ([`in_order`]); when it turns out
//! that it can't be, it is written again, each field gathered from wherever its values are ([`gathered`]).

mod scalar;
mod string;

use crate::Signal;
use crate::plain::{self, Plain};
use crate::schema::{self, Field, FieldKind, KEY_VALUE, Label, Message};
use crate::wire::{Sound, Value, varint};

/// Appends one compact `{"resourceLogs":[...]}` (or spans, or metrics) to `out`. Every chunk is a number of whole
/// framed entries.
pub fn write_request(signal: Signal, chunks: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let (entries, entry) = (&Message::request(signal).fields[0], Message::entry(signal));
    out.push(b'{');
    begin_list(entries, out);
    for chunk in chunks {
        for (number, value) in Sound::of(chunk.as_ref()) {
            if let Some(bytes) = value.delimited().filter(|_| number == entries.number) {
                let start = out.len();
                if let Err(OutOfOrder) = in_order(entry, bytes, out) {
                    out.truncate(start);
                    gathered(entry, &[bytes], out);
                }
                out.push(b',');
            }
        }
    }
    end(b']', out);
    out.push(b'}');
}

/// A list is not in one run, or something that can be set once occurs more often.
struct OutOfOrder;

/// [`in_order`] or [`gathered`]: how the messages in a message are written.
trait Object: Fn(&'static Message, &[u8], &mut Vec<u8>) -> Result<(), OutOfOrder> + Copy {}

impl<F: Fn(&'static Message, &[u8], &mut Vec<u8>) -> Result<(), OutOfOrder> + Copy> Object for F {}

/// Writes a message field by field. Here and below, every member and every element is followed by a comma, and the
/// last comma is taken back by [`end`].
fn in_order(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), OutOfOrder> {
    let mut seen = 0_u32;
    let mut list = None;
    out.push(b'{');
    for (number, value) in Sound::of(bytes) {
        let Some(known) = message.field(number) else { continue };
        if list.is_none_or(|list: &Field| list.number != known.number) {
            end_list(list, out);
            let slot = 1 << known.slot;
            if seen & slot != 0 {
                return Err(OutOfOrder);
            }
            seen |= slot;
            if known.label != Label::Repeated {
                list = None;
                member(known, value, out, in_order)?;
                continue;
            }
            begin_list(known, out);
            list = Some(known);
        }
        values(known.kind, value, out, in_order)?;
    }
    end_list(list, out);
    end(b'}', out);
    Ok(())
}

/// Writes a message whose bytes are all `parts` together, each field from wherever its values are. Parts are not
/// joined: a message that occurs twice is both its parts, in their order.
fn gathered(message: &'static Message, parts: &[&[u8]], out: &mut Vec<u8>) {
    let object = |message: &'static Message, bytes: &[u8], out: &mut Vec<u8>| {
        gathered(message, &[bytes], out);
        Ok(())
    };
    out.push(b'{');
    for known in message.fields {
        if known.label == Label::Repeated {
            begin_list(known, out);
            for (_, value) in fields(parts).filter(|(number, _)| *number == known.number) {
                let _: Result<(), OutOfOrder> = values(known.kind, value, out, object);
            }
            end_list(Some(known), out);
            continue;
        }
        let run = last_run(message, known, parts);
        match (known.message(), &*run) {
            (Some(below), [_, _, ..]) => {
                let parts: Vec<&[u8]> = run.iter().filter_map(Value::delimited).collect();
                out.extend_from_slice(known.json.as_bytes());
                gathered(below, &parts, out);
                out.push(b',');
            }
            (_, [.., last]) => {
                let _: Result<(), OutOfOrder> = member(known, *last, out, object);
            }
            (_, []) => {}
        }
    }
    end(b'}', out);
}

/// The values of a field since another member of its `oneof` was set, which unsets those before.
fn last_run<'a>(message: &'static Message, known: &'static Field, parts: &[&'a [u8]]) -> Vec<Value<'a>> {
    let mut run = Vec::new();
    for (number, value) in fields(parts) {
        if number == known.number {
            run.push(value);
        } else if message.field(number).is_some_and(|other| other.slot == known.slot) {
            run.clear();
        }
    }
    run
}

/// Writes a field that is not a list, unless it has its default.
#[inline]
fn member(
    field: &'static Field,
    value: Value<'_>,
    out: &mut Vec<u8>,
    object: impl Object,
) -> Result<(), OutOfOrder> {
    if field.label == Label::Plain && scalar::is_default(field.kind, value) {
        return Ok(());
    }
    out.extend_from_slice(field.json.as_bytes());
    values(field.kind, value, out, object)
}

/// Writes the value of a field; of a list whose numbers are packed, that is any number of values.
#[inline]
fn values(
    kind: FieldKind,
    value: Value<'_>,
    out: &mut Vec<u8>,
    object: impl Object,
) -> Result<(), OutOfOrder> {
    match (kind, value) {
        (_, Value::Number(value)) => scalar::number(kind, value, out),
        (FieldKind::Message(KEY_VALUE), Value::Delimited(bytes)) => {
            if !plain_attribute(bytes, out) {
                object(schema::message(KEY_VALUE), bytes, out)?;
            }
        }
        (FieldKind::Message(index), Value::Delimited(bytes)) => object(schema::message(index), bytes, out)?,
        (FieldKind::String, Value::Delimited(text)) => string::write(text, out),
        (FieldKind::Id(_), Value::Delimited(id)) => scalar::hex(id, out),
        (FieldKind::Bytes, Value::Delimited(bytes)) => scalar::base64(bytes, out),
        (_, Value::Delimited(packed)) => {
            numbers(kind, packed, out);
            return Ok(());
        }
    }
    out.push(b',');
    Ok(())
}

/// Writes packed numbers.
fn numbers(kind: FieldKind, mut packed: &[u8], out: &mut Vec<u8>) {
    let mut number = |value| {
        scalar::number(kind, value, out);
        out.push(b',');
    };
    if let FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double = kind {
        packed.as_chunks().0.iter().for_each(|value| number(u64::from_le_bytes(*value)));
        return;
    }
    while let Ok((value, rest)) = varint(packed) {
        number(value);
        packed = rest;
    }
}

/// Writes an attribute, if it is of the shape that nearly all are of.
#[inline]
fn plain_attribute(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((key, value)) = plain::attribute(bytes).filter(|(key, _)| !key.is_empty()) else {
        return false;
    };
    out.extend_from_slice(b"{\"key\":\"");
    string::content(key, out);
    match value {
        Plain::Text(text) => {
            out.extend_from_slice(b"\",\"value\":{\"stringValue\":\"");
            string::content(text, out);
            out.extend_from_slice(b"\"}}");
        }
        Plain::Int(int) => {
            out.extend_from_slice(b"\",\"value\":{\"intValue\":");
            scalar::quoted(int, out);
            out.extend_from_slice(b"}}");
        }
    }
    true
}

fn begin_list(field: &'static Field, out: &mut Vec<u8>) {
    out.extend_from_slice(field.json.as_bytes());
    out.push(b'[');
}

/// Ends the list that is being written, if there is one. It is taken back if it is empty: its field can be packed
/// and hold nothing.
#[inline]
fn end_list(list: Option<&'static Field>, out: &mut Vec<u8>) {
    let Some(field) = list else { return };
    if out.last() == Some(&b'[') {
        out.truncate(out.len() - field.json.len() - 1);
    } else {
        end(b']', out);
        out.push(b',');
    }
}

/// Closes an object or a list, without a comma before the bracket.
fn end(bracket: u8, out: &mut Vec<u8>) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

fn fields<'a>(parts: &[&'a [u8]]) -> impl Iterator<Item = (u32, Value<'a>)> {
    parts.iter().flat_map(|part| Sound::of(part))
}

#[cfg(test)]
mod tests;
