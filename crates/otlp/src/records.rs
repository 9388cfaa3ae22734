//! The attributes that count for each record: its own, those of the messages around it, and those of the messages in it.
//!
//! Of several that have an attribute, the one to the right counts, as Highlight has it:
//!
//! | record | |
//! |---|---|
//! | span | the span < its events < its scope |
//! | log record | its scope < the log record |
//! | data point | its scope < the metadata of its metric < the data point |
//!
//! Of a span's events the last one that has it counts. Links and exemplars don't count. The resource, which is the same for all
//! records of an entry, is left to [`find`](super::find).
//!
//! Or the record's own attribute counts alone, whatever else has one of that name.
//!
//! Where one message has an attribute twice with different values, the record has it so ([`Found::Conflicting`]), whatever
//! overrides that message: servers differ in what they take. A value that is of no use counts as if it were absent, unless there is
//! no other.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::attributes::{self, Found};
use super::piece::{self, Child};
use super::read_value::ReadValue;
use super::schema::{EVENT, FieldKind, INSTRUMENTATION_SCOPE, KEY_VALUE, Label, Message, SPAN};
use super::wire::Sound;
use super::{Signal, schema};

/// The values that a record has of the wanted attributes, in their order.
pub(super) type RecordValues<'a> = SmallVec<[Found<'a>; 4]>;

/// An attribute that is looked for on records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordAttribute {
    /// Its name.
    pub name: Box<str>,
    /// Whether the record's own attribute counts alone, and none of the messages around it or in it.
    pub is_alone: bool,
}

/// Attributes that are looked for on records.
#[derive(Clone, Copy, Debug)]
pub struct RecordAttributes<'n> {
    wanted: &'n [RecordAttribute],
    /// Whether a value is of any use.
    is_usable: fn(ReadValue<'_>) -> bool,
}

impl AsRef<str> for RecordAttribute {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// A visitor that is shown an entry part by part.
pub(super) trait Visit<'a> {
    /// A message begins in which there are records.
    fn enter(&mut self, _message: &Child<'a>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The message that was entered last ends.
    fn leave(&mut self) {}

    /// A part that can't be divided, with what its records have: a record, a message without records, which has nothing, or a
    /// metric that states its data twice.
    fn part(&mut self, part: &Child<'a>, values: Option<RecordValues<'a>>) -> ControlFlow<()>;
}

impl<'n> RecordAttributes<'n> {
    /// These attributes; a value for which `is_usable` says no overrides none for which it says yes.
    pub fn new(wanted: &'n [RecordAttribute], is_usable: fn(ReadValue<'_>) -> bool) -> Self {
        Self { wanted, is_usable }
    }

    /// The values that the first record of a valid entry has of the wanted attributes, in their order; empty if the entry has no
    /// records.
    pub fn of_first_record<'a>(&self, signal: Signal, entry: &'a [u8]) -> SmallVec<[Found<'a>; 4]> {
        let mut first = First(None);
        // It ends early, since there is nothing more to know.
        let _ = self.visit(signal, entry, &mut first);
        first.0.unwrap_or_else(|| self.none())
    }

    /// Shows all parts of a valid entry, until the visitor has seen enough.
    pub(super) fn visit<'a>(
        &self,
        signal: Signal,
        entry: &'a [u8],
        visitor: &mut dyn Visit<'a>,
    ) -> ControlFlow<()> {
        self.visit_children(Message::entry(signal), entry, &self.none(), visitor)
    }

    fn none<'a>(&self) -> RecordValues<'a> {
        smallvec::smallvec![Found::Absent; self.wanted.len()]
    }

    /// Shows the parts of a message; `outer` are the values that the messages around it have.
    fn visit_children<'a>(
        &self,
        message: &'static Message,
        bytes: &'a [u8],
        outer: &RecordValues<'a>,
        visitor: &mut dyn Visit<'a>,
    ) -> ControlFlow<()> {
        for child in piece::children(message, bytes) {
            let inner = child.message();
            if child.field.record {
                visitor.part(&child, Some(self.of_record(inner, child.bytes, outer)))?;
                continue;
            }
            let outer = self.over(outer, &self.of_surroundings(inner, child.bytes));
            if is_divisible(inner, child.bytes) {
                visitor.enter(&child)?;
                self.visit_children(inner, child.bytes, &outer, visitor)?;
                visitor.leave();
            } else {
                let mut common = Common(None);
                self.visit_children(inner, child.bytes, &outer, &mut common)?;
                visitor.part(&child, common.0)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The values that count for a record, among messages that have `outer`.
    fn of_record<'a>(
        &self,
        message: &'static Message,
        bytes: &'a [u8],
        outer: &RecordValues<'a>,
    ) -> RecordValues<'a> {
        let own = self.of_message(message, bytes);
        if message.index != SPAN {
            return self.over(outer, &own);
        }
        let events = messages(message, bytes, EVENT);
        let inner =
            events.fold(own, |under, (event, bytes)| self.over(&under, &self.of_surroundings(event, bytes)));
        self.over(&inner, outer)
    }

    /// The values that a message which is no record has by itself, as far as they count for records.
    fn of_surroundings<'a>(&self, message: &'static Message, bytes: &'a [u8]) -> RecordValues<'a> {
        let mut values = self.of_message(message, bytes);
        for (wanted, found) in self.wanted.iter().zip(&mut values) {
            if wanted.is_alone {
                *found = Found::Absent;
            }
        }
        values
    }

    /// The values that one message has by itself: a record, an event, a metric, or a message with a scope.
    fn of_message<'a>(&self, message: &'static Message, bytes: &'a [u8]) -> RecordValues<'a> {
        let mut values = self.none();
        for (_, attribute) in messages(message, bytes, KEY_VALUE) {
            attributes::add(attribute, self.wanted, &mut values);
        }
        // If there are several they are one to protobuf.
        for (scope, bytes) in messages(message, bytes, INSTRUMENTATION_SCOPE) {
            for (_, attribute) in messages(scope, bytes, KEY_VALUE) {
                attributes::add(attribute, self.wanted, &mut values);
            }
        }
        values
    }

    /// The values that count where `upper` overrides `lower`.
    fn over<'a>(&self, lower: &RecordValues<'a>, upper: &RecordValues<'a>) -> RecordValues<'a> {
        let is_usable = |found: Found<'a>| matches!(found, Found::Value(value) if (self.is_usable)(value));
        let counts = |(lower, upper): (&Found<'a>, &Found<'a>)| match (*lower, *upper) {
            (Found::Conflicting, _) | (_, Found::Conflicting) => Found::Conflicting,
            (lower, Found::Absent) => lower,
            (lower, upper) if is_usable(lower) && !is_usable(upper) => lower,
            (_, upper) => upper,
        };
        lower.iter().zip(upper).map(counts).collect()
    }
}

/// The messages in a message that are of one kind, each with its bytes.
fn messages<'a>(
    message: &'static Message,
    bytes: &'a [u8],
    wanted: u8,
) -> impl Iterator<Item = (&'static Message, &'a [u8])> {
    Sound::of(bytes).filter_map(move |(number, value)| {
        let is_wanted = message.field(number).is_some_and(|field| field.kind == FieldKind::Message(wanted));
        Some((schema::message(wanted), value.delimited().filter(|_| is_wanted)?))
    })
}

/// Whether a message that leads to records has any, or anything that may, and each can be told from the others: not those of a
/// metric that states its data twice.
fn is_divisible(message: &'static Message, bytes: &[u8]) -> bool {
    let mut children = 0;
    let mut alternatives = 0;
    for child in piece::children(message, bytes) {
        children += 1;
        alternatives += usize::from(child.field.label == Label::Member);
    }
    children > 0 && alternatives <= 1
}

/// The values of the first record.
struct First<'a>(Option<RecordValues<'a>>);

impl<'a> Visit<'a> for First<'a> {
    fn part(&mut self, _: &Child<'a>, values: Option<RecordValues<'a>>) -> ControlFlow<()> {
        self.0 = values;
        if self.0.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The values that all records have of a part that can't be divided. Where they differ nobody can say which counts.
struct Common<'a>(Option<RecordValues<'a>>);

impl<'a> Visit<'a> for Common<'a> {
    fn part(&mut self, _: &Child<'a>, values: Option<RecordValues<'a>>) -> ControlFlow<()> {
        match (&mut self.0, values) {
            (Some(common), Some(values)) => {
                for (common, found) in common.iter_mut().zip(values) {
                    if *common != found {
                        *common = Found::Conflicting;
                    }
                }
            }
            (common @ None, values) => *common = values,
            (Some(_), None) => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
