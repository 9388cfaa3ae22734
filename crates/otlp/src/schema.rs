//! The OTLP schema as static tables, compiled from `proto/` by `build.rs`.
//!
//! A [`Message`] answers the two questions that the walks ask at every field: what is to be done with the bytes
//! behind this key ([`Message::action`], one look-up in a dense table), and what the field is called and
//! means ([`Message::field`]).

use super::Signal;

#[allow(clippy::unreadable_literal, reason = "generated")]
mod tables {
    use super::{Field, FieldKind, Former, Label, Message};
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

pub(super) use tables::{ANY_VALUE, EVENT, INSTRUMENTATION_SCOPE, KEY_VALUE, MESSAGES, RESOURCE, SPAN};

/// Keys (`number << 3 | wire type`) below this have a row in the dense tables: fields 1 to 31.
const DENSE: usize = 256;

/// One message of the schema.
pub(super) struct Message {
    /// Without package and enclosing message: `LogRecord`.
    pub(super) name: &'static str,
    /// The position in [`MESSAGES`].
    pub(super) index: u8,
    /// Whether records are found in it, however deep.
    pub(super) holds_records: bool,
    /// The number of its field `attributes`, or 0 if it has none.
    pub(super) attributes: u32,
    /// The field that once had another number or other names, if there is one.
    pub(super) former: Option<Former>,
    /// In the order of `proto/`.
    pub(super) fields: &'static [Field],
    actions: [Action; DENSE],
    rows: [u8; DENSE / 8],
}

/// How a field was written once. A Collector still reads what is written so, where the field itself is absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    /// The field number of today.
    pub(super) field: u32,
    /// The number that it had, or 0 if it had the same. Of an entry, 1000.
    pub(super) number: u32,
    /// The names that it had in JSON.
    pub(super) names: &'static [&'static str],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// The field number.
    pub(super) number: u32,
    /// As in `proto/`: `trace_id`.
    pub(super) name: &'static str,
    /// As a JSON key, with quotes and colon: `"traceId":`.
    pub(super) json: &'static str,
    /// The type.
    pub(super) kind: FieldKind,
    /// How often it can occur, and what its absence means.
    pub(super) label: Label,
    /// What it shares with the other members of its `oneof`, and nothing else.
    pub(super) slot: u8,
    /// Whether it is a message that is a record, or holds records.
    pub(super) leads: bool,
    /// Whether it is a record: a span, a log record or a data point.
    pub(super) record: bool,
    /// The values of an enum by their names; empty for other types.
    pub(super) values: &'static [(&'static str, i32)],
}

/// How often a field can occur, and what its absence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Once; a scalar that is not set has its default.
    Plain,
    /// Once; not being set differs from the default.
    Optional,
    /// As [`Label::Optional`], and setting it unsets the other members of its `oneof`.
    Member,
    /// Any number of times.
    Repeated,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Enum,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    String,
    Bytes,
    /// Bytes that are a trace or span id: none, or exactly this many.
    Id(u8),
    /// The position of the message in [`MESSAGES`].
    Message(u8),
}

/// What a validator does with the bytes behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Not a field of this message, or not an allowed encoding of it: see to it by the full key.
    Other,
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    String,
    /// Empty, or [`Action::argument`] bytes.
    Id,
    PackedVarints,
    PackedFixed64,
    /// The message at [`Action::argument`].
    Message,
    /// A message that is a record, at [`Action::argument`].
    Record,
    /// A `KeyValue`.
    KeyValue,
    /// The resource of an entry.
    Resource,
}

/// An [`Op`] with its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) op: Op,
    pub(super) argument: u8,
}

const NO_ROW: u8 = u8::MAX;

impl Message {
    /// The message with its dense tables.
    const fn new(name: &'static str, index: u8, former: Option<Former>, fields: &'static [Field]) -> Self {
        let mut actions = [Action { op: Op::Other, argument: 0 }; DENSE];
        let mut rows = [NO_ROW; DENSE / 8];
        let mut row = 0;
        let mut holds_records = false;
        let mut attributes = 0;
        while row < fields.len() {
            let field = &fields[row];
            let (wire, action) = field.plain();
            let key = (field.number as usize) << 3;
            actions[key | wire as usize] = action;
            if matches!(field.label, Label::Repeated) && wire != 2 {
                actions[key | 2] = field.packed();
            }
            rows[field.number as usize] = row as u8;
            holds_records |= field.leads;
            if matches!(field.kind, FieldKind::Message(KEY_VALUE)) && is_attributes(field.name) {
                attributes = field.number;
            }
            row += 1;
        }
        Self { name, index, holds_records, attributes, former, fields, actions, rows }
    }

    /// What to do with the bytes behind a one-byte key, or behind any key below 256.
    #[inline]
    pub(super) fn action(&self, key: u8) -> Action {
        self.actions[key as usize]
    }

    /// The field with this number, if the schema has it.
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        self.row(number).map(|row| &self.fields[row])
    }

    /// The position in [`Message::fields`] of the field with this number.
    #[inline]
    pub(super) fn row(&self, number: u32) -> Option<usize> {
        let row = *self.rows.get(number as usize)?;
        (row != NO_ROW).then_some(row as usize)
    }

    /// The field of today, if this is the number that one of the message's fields had once.
    pub(super) fn formerly(&self, number: u32) -> Option<&'static Field> {
        let former = self.former.filter(|former| former.number == number && number != 0)?;
        self.field(former.field)
    }

    /// The request message of a signal.
    pub(super) fn request(signal: Signal) -> &'static Self {
        let index = match signal {
            Signal::Traces => tables::EXPORT_TRACE_SERVICE_REQUEST,
            Signal::Metrics => tables::EXPORT_METRICS_SERVICE_REQUEST,
            Signal::Logs => tables::EXPORT_LOGS_SERVICE_REQUEST,
        };
        message(index)
    }

    /// The entry message of a signal: `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
    pub(super) fn entry(signal: Signal) -> &'static Self {
        let index = match signal {
            Signal::Traces => tables::RESOURCE_SPANS,
            Signal::Metrics => tables::RESOURCE_METRICS,
            Signal::Logs => tables::RESOURCE_LOGS,
        };
        message(index)
    }
}

/// Whether a field is called `attributes`.
const fn is_attributes(name: &str) -> bool {
    let (name, attributes) = (name.as_bytes(), b"attributes");
    let mut at = 0;
    while at < name.len() && at < attributes.len() && name[at] == attributes[at] {
        at += 1;
    }
    at == name.len() && at == attributes.len()
}

/// The message at a position that a table gave.
#[inline]
pub(super) fn message(index: u8) -> &'static Message {
    &MESSAGES[index as usize]
}

impl Field {
    /// The message that the field holds, if it holds one.
    pub(super) fn message(&self) -> Option<&'static Message> {
        match self.kind {
            FieldKind::Message(index) => Some(message(index)),
            _ => None,
        }
    }

    /// The name in OTLP/JSON: `traceId` (rule 52).
    pub(super) const fn json_name(&self) -> &'static str {
        self.json.split_at(self.json.len() - 2).0.split_at(1).1
    }

    /// The wire type of a single value.
    pub(super) const fn wire_type(&self) -> u8 {
        self.plain().0
    }

    /// The wire type of a single value, and what to do with one.
    const fn plain(&self) -> (u8, Action) {
        let (wire, op, argument) = match self.kind {
            FieldKind::Bool
            | FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Uint32
            | FieldKind::Uint64
            | FieldKind::Sint32
            | FieldKind::Enum => (0, Op::Varint, 0),
            FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => (1, Op::Fixed64, 0),
            FieldKind::Fixed32 => (5, Op::Fixed32, 0),
            FieldKind::String => (2, Op::String, 0),
            FieldKind::Bytes => (2, Op::Bytes, 0),
            FieldKind::Id(len) => (2, Op::Id, len),
            FieldKind::Message(index) => (2, self.message_op(index), index),
        };
        (wire, Action { op, argument })
    }

    const fn message_op(&self, index: u8) -> Op {
        // Only entries hold a resource.
        if index == RESOURCE {
            Op::Resource
        } else if index == KEY_VALUE {
            Op::KeyValue
        } else if self.record {
            Op::Record
        } else {
            Op::Message
        }
    }

    /// What to do with several values in one length-delimited field.
    const fn packed(&self) -> Action {
        let op = match self.kind {
            FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => Op::PackedFixed64,
            FieldKind::Fixed32 => panic!("OTLP has no repeated 32-bit field"),
            _ => Op::PackedVarints,
        };
        Action { op, argument: 0 }
    }
}

#[cfg(test)]
mod tests;
