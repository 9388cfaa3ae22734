//! Protobuf to OTLP/JSON, by the schema tables and without building a message.
//!
//! The input has been validated. Only what the specification allows is written: `lowerCamelCase` names (rule 52),
//! 64-bit integers as strings (rule 53), enums as integers (rule 50), ids as lower-case hex (rule 49), bytes as
//! base64, NaN and the infinities as strings, and no defaults but where protobuf tells a default from nothing:
//! members of a `oneof` and `optional` fields. Unknown fields have no name and are left out.
//!
//! Protobuf lets the elements of a list stand apart from one another, and a field that can be set once occur more
//! often. No sender does this, so messages are written in one go, field by field ([`in_order`]), unless a look at
//! their keys says that parts must be gathered first ([`gathered`]).

mod scalar;
mod string;

use super::Signal;
use super::plain::{self, Plain};
use super::schema::{self, Field, KEY_VALUE, Kind, Label, Message};
use super::wire::{Fields, Value, varint};

/// Appends one compact `{"resourceLogs":[...]}` (or spans, or metrics) to `out`. Every chunk is a number of whole
/// framed entries.
pub fn write_request(signal: Signal, chunks: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let (entries, entry) = (&Message::request(signal).fields[0], Message::entry(signal));
    out.push(b'{');
    begin_list(entries, out);
    for chunk in chunks {
        for field in fields(chunk.as_ref()) {
            if let Some(bytes) = field.delimited().filter(|_| field.number == entries.number) {
                object(entry, bytes, out);
                out.push(b',');
            }
        }
    }
    end(b']', out);
    out.push(b'}');
}

/// Writes a message. Here and below, every member and every element is followed by a comma, and the last comma is
/// taken back by [`end`].
fn object(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    if is_in_order(message, bytes) {
        in_order(message, bytes, out);
    } else {
        gathered(message, &[bytes], out);
    }
}

/// Whether a message can be written field by field: every list in one run, and all else at most once.
fn is_in_order(message: &'static Message, bytes: &[u8]) -> bool {
    let mut seen = 0_u32;
    let mut list = 0;
    for field in fields(bytes) {
        let Some(known) = message.field(field.number) else { continue };
        if known.number == list {
            continue;
        }
        let bit = 1 << known.slot;
        if seen & bit != 0 {
            return false;
        }
        seen |= bit;
        list = if known.label == Label::Repeated { known.number } else { 0 };
    }
    true
}

fn in_order(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    let mut list = 0;
    out.push(b'{');
    for field in fields(bytes) {
        let Some(known) = message.field(field.number) else { continue };
        if known.label == Label::Repeated {
            if known.number != list {
                end_list(list, out);
                begin_list(known, out);
                list = known.number;
            }
            elements(known, field.value, out);
        } else {
            end_list(list, out);
            list = 0;
            member(known, field.value, out);
        }
    }
    end_list(list, out);
    end(b'}', out);
}

/// Writes a message whose bytes are all `parts` together, each field from wherever its values are. Parts are not
/// joined: a message that occurs twice is both its parts, in their order.
fn gathered(message: &'static Message, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'{');
    let all = || parts.iter().flat_map(|part| fields(part));
    for known in message.fields {
        let own = all().filter(|field| field.number == known.number);
        if known.label == Label::Repeated {
            begin_list(known, out);
            own.for_each(|field| elements(known, field.value, out));
            if out.ends_with(b"[") {
                out.truncate(out.len() - known.json.len() - 1);
            } else {
                end_list(known.number, out);
            }
            continue;
        }
        // What was set before another member of the same `oneof` is gone.
        let mut run: Vec<Value<'_>> = Vec::new();
        for field in all() {
            if field.number == known.number {
                run.push(field.value);
            } else if message.field(field.number).is_some_and(|other| other.slot == known.slot) {
                run.clear();
            }
        }
        match (known.message(), run.last()) {
            (_, None) => {}
            (None, Some(last)) => member(known, *last, out),
            (Some(_), Some(only)) if run.len() == 1 => member(known, *only, out),
            (Some(below), Some(_)) => {
                let parts: Vec<&[u8]> = run.iter().filter_map(Value::delimited).collect();
                out.extend_from_slice(known.json.as_bytes());
                gathered(below, &parts, out);
                out.push(b',');
            }
        }
    }
    end(b'}', out);
}

/// Writes a field that is not a list, unless it has its default.
fn member(field: &'static Field, value: Value<'_>, out: &mut Vec<u8>) {
    if field.label == Label::Plain && scalar::is_default(field.kind, value) {
        return;
    }
    out.extend_from_slice(field.json.as_bytes());
    element(field.kind, value, out);
}

/// Writes the elements of a list that one field holds: one, or any number if they are packed.
fn elements(field: &'static Field, value: Value<'_>, out: &mut Vec<u8>) {
    match (field.kind, value) {
        (Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_), _) => element(field.kind, value, out),
        (Kind::Fixed64 | Kind::Sfixed64 | Kind::Double, Value::Delimited(packed)) => {
            for value in packed.as_chunks().0 {
                element(field.kind, Value::Fixed64(*value), out);
            }
        }
        (_, Value::Delimited(mut packed)) => {
            while let Ok((value, rest)) = varint(packed) {
                element(field.kind, Value::Varint(value), out);
                packed = rest;
            }
        }
        _ => element(field.kind, value, out),
    }
}

fn element(kind: Kind, value: Value<'_>, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Message(KEY_VALUE), Value::Delimited(bytes)) => attribute(bytes, out),
        (Kind::Message(index), Value::Delimited(bytes)) => object(schema::message(index), bytes, out),
        _ => scalar::write(kind, value, out),
    }
    out.push(b',');
}

/// Writes a `KeyValue`.
fn attribute(bytes: &[u8], out: &mut Vec<u8>) {
    let Some((key, value)) = plain::attribute(bytes).filter(|(key, _)| !key.is_empty()) else {
        return object(schema::message(KEY_VALUE), bytes, out);
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
}

fn begin_list(field: &'static Field, out: &mut Vec<u8>) {
    out.extend_from_slice(field.json.as_bytes());
    out.push(b'[');
}

/// Ends the list that is being written; 0 if there is none.
fn end_list(list: u32, out: &mut Vec<u8>) {
    if list != 0 {
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

fn fields(bytes: &[u8]) -> impl Iterator<Item = super::wire::Field<'_>> {
    Fields::of(bytes).map_while(Result::ok)
}
