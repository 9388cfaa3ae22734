//! The attributes of one resource, record, event or link, and what actions make of them.
//!
//! OTLP wants each attribute once. Where one is there several times, an action changes each of them: the Collector changes
//! the first alone, which would leave another copy of what is to be removed or masked.

use std::ops::Range;

use super::super::plain;
use super::super::read_value::{ReadValue, VALUE, key};
use super::super::wire::{Field, Fields, put_delimited, put_varint, varint_len};
use super::EditTexts;
use super::action::{EditAction, NewValue, ValueSource, WriteWhere};
use super::splices::Splices;

/// The field of a `KeyValue` that is its key.
const KEY: u32 = 1;

/// The attributes of one message. It is emptied and filled again for the next, so that it keeps its memory.
#[derive(Default)]
pub(super) struct AttributeSet<'a> {
    held: Vec<Held<'a>>,
    /// The encoded values that actions have made, one after the other.
    made: Vec<u8>,
}

/// An attribute.
struct Held<'a> {
    key: &'a [u8],
    /// The field as it came; empty if an action has added the attribute.
    raw: &'a [u8],
    /// The `KeyValue` in that field.
    pair: &'a [u8],
    state: State,
}

/// What has become of an attribute.
enum State {
    Untouched,
    /// It has the encoded value that stands there in [`AttributeSet::made`].
    Made(Range<usize>),
    Removed,
}

impl<'a> AttributeSet<'a> {
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.made.clear();
    }

    /// Adds the attribute that a field is.
    pub(super) fn add(&mut self, field: &Field<'a>, pair: &'a [u8]) {
        let key = plain::attribute(pair).map_or_else(|| key(pair), |(key, _)| key);
        self.held.push(Held { key, raw: field.raw, pair, state: State::Untouched });
    }

    /// Does what actions say, one after the other.
    pub(super) fn change(&mut self, actions: &'a [EditAction], texts: &dyn EditTexts) {
        for action in actions {
            match action {
                EditAction::Write { key, place, source, default } => {
                    // A value that is not written may be one that can't be had.
                    if !self.is_written(key.as_bytes(), *place) {
                        continue;
                    }
                    let source = source.iter().chain(default).find_map(|source| self.encoded(source, texts));
                    if let Some(value) = source {
                        self.write(key.as_bytes(), value);
                    }
                }
                EditAction::Delete(keys) => {
                    let named = self.held.iter_mut().filter(|held| keys.matches(held.key));
                    named.for_each(|held| held.state = State::Removed);
                }
                EditAction::Hash(keys) => {
                    self.remake(|key| keys.matches(key), |value| Some(NewValue::hash_of(&value)));
                }
                EditAction::Convert { key, to } => {
                    self.remake(|named| named == key.as_bytes(), |value| to.convert(&value));
                }
                EditAction::Extract { key, pattern } => {
                    let Some(ReadValue::Text(text)) = self.first(key.as_bytes()).map(|at| self.value(at))
                    else {
                        continue;
                    };
                    let Some(found) = pattern.captures(text) else { continue };
                    // A group that takes no part is an empty text.
                    let groups = pattern.capture_names().zip(found.iter()).skip(1);
                    let groups: Vec<_> = groups
                        .filter_map(|(name, group)| {
                            let text = group.map_or("", |group| group.as_str());
                            Some((name?, NewValue::text(text)))
                        })
                        .collect();
                    for (name, value) in groups {
                        let value = self.put(value.encoded());
                        self.write(name.as_bytes(), value);
                    }
                }
            }
        }
    }

    /// The value of a source, as it then stands in `made`, if there is one.
    fn encoded(&mut self, source: &ValueSource, texts: &dyn EditTexts) -> Option<Range<usize>> {
        match source {
            ValueSource::Value(value) => Some(self.put(value.encoded())),
            ValueSource::Text(at) => Some(self.put(NewValue::text(texts.text(*at)?).encoded())),
            ValueSource::Attribute(key) => {
                let at = self.first(key.as_bytes())?;
                if let State::Made(range) = &self.held[at].state {
                    return Some(range.clone());
                }
                let from = self.made.len();
                // Several values merge, as those of any message do.
                for value in values(self.held[at].pair) {
                    self.made.extend_from_slice(value);
                }
                Some(from..self.made.len())
            }
        }
    }

    /// Whether a value for this attribute is written in this case.
    fn is_written(&self, key: &[u8], place: WriteWhere) -> bool {
        match place {
            WriteWhere::Anywhere => true,
            WriteWhere::Present => self.first(key).is_some(),
            WriteWhere::Absent => self.first(key).is_none(),
        }
    }

    /// Gives an attribute the value that stands there in `made`; one that is not there is added.
    fn write(&mut self, key: &'a [u8], value: Range<usize>) {
        let mut is_there = false;
        for held in self.held.iter_mut().filter(|held| held.is_there() && held.key == key) {
            held.state = State::Made(value.clone());
            is_there = true;
        }
        if !is_there {
            self.held.push(Held { key, raw: &[], pair: &[], state: State::Made(value) });
        }
    }

    /// Gives each attribute that is named the value that `make` makes of its own, if it makes one.
    fn remake(&mut self, is_named: impl Fn(&[u8]) -> bool, make: impl Fn(ReadValue<'_>) -> Option<NewValue>) {
        for at in 0..self.held.len() {
            let held = &self.held[at];
            if held.is_there()
                && is_named(held.key)
                && let Some(value) = make(self.value(at))
            {
                self.held[at].state = State::Made(self.put(value.encoded()));
            }
        }
    }

    fn put(&mut self, encoded: &[u8]) -> Range<usize> {
        let from = self.made.len();
        self.made.extend_from_slice(encoded);
        from..self.made.len()
    }

    /// The position of the first attribute of this name that is there.
    fn first(&self, key: &[u8]) -> Option<usize> {
        self.held.iter().position(|held| held.key == key && held.is_there())
    }

    fn value(&self, at: usize) -> ReadValue<'_> {
        let held = &self.held[at];
        match &held.state {
            State::Made(range) => ReadValue::of(&self.made[range.clone()]),
            _ => ReadValue::of_pair(held.pair),
        }
    }

    /// The value of an attribute, if it is there.
    pub(super) fn get(&self, key: &[u8]) -> Option<ReadValue<'_>> {
        self.first(key).map(|at| self.value(at))
    }

    /// Replaces what has changed in the message that the attributes are of, under their `number`. What was added stands behind
    /// the others; where there are none, at the end of the `message`.
    pub(super) fn splice(&self, number: u32, message: &'a [u8], splices: &mut Splices<'a>) {
        let mut end = &message[message.len()..];
        for held in self.held.iter().filter(|held| !held.raw.is_empty()) {
            end = &held.raw[held.raw.len()..];
            match &held.state {
                State::Untouched => {}
                State::Made(value) => {
                    splices
                        .replace(held.raw, |out| put_pair(out, number, held.pair, &self.made[value.clone()]));
                }
                State::Removed => splices.replace(held.raw, |_| {}),
            }
        }
        splices.replace(end, |out| self.put_added(number, out));
    }

    /// Writes what was added.
    pub(super) fn put_added(&self, number: u32, out: &mut Vec<u8>) {
        for held in self.held.iter().filter(|held| held.raw.is_empty()) {
            if let State::Made(value) = &held.state {
                let mut pair = Vec::with_capacity(held.key.len() + value.len() + 12);
                put_delimited(&mut pair, KEY, held.key);
                put_delimited(&mut pair, VALUE, &self.made[value.clone()]);
                put_delimited(out, number, &pair);
            }
        }
    }
}

impl Held<'_> {
    fn is_there(&self) -> bool {
        !matches!(self.state, State::Removed)
    }
}

/// The encoded values of a `KeyValue`.
fn values(pair: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fields = Fields::of(pair).map_while(Result::ok).filter(|field| field.number == VALUE);
    fields.filter_map(|field| field.delimited())
}

/// Writes a `KeyValue` with another value, and all else that it holds.
fn put_pair(out: &mut Vec<u8>, number: u32, pair: &[u8], value: &[u8]) {
    let fields = || Fields::of(pair).map_while(Result::ok);
    let others: usize = fields().filter(|field| field.number != VALUE).map(|field| field.raw.len()).sum();
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, (others + 1 + varint_len(value.len()) + value.len()) as u64);
    let mut is_written = false;
    for field in fields() {
        if field.number != VALUE {
            out.extend_from_slice(field.raw);
        } else if !is_written {
            put_delimited(out, VALUE, value);
            is_written = true;
        }
    }
    if !is_written {
        put_delimited(out, VALUE, value);
    }
}
