//! The attributes of one resource, record, event or link, while actions change them.
//!
//! OTLP wants each attribute once. Where one is there several times, an action changes each of them: the Collector changes
//! the first alone, which would leave another copy of what is to be removed or masked.

use std::ops::Range;

use regex::Regex;

use super::super::partition::NoRoom;
use super::super::plain;
use super::super::read_value::{ReadValue, VALUE, key};
use super::super::wire::{SoundFields, put_delimited, put_varint, varint_len};
use super::action::{EditAction, NewValue, ValueSource, WriteWhere};
use super::memory::EditMemory;
use super::splices::Splices;
use super::{EditTexts, FRAME};

/// The field of a `KeyValue` that is its key.
const KEY: u32 = 1;

/// The attributes of one message. It is emptied and filled again for the next, so that it keeps its memory.
#[derive(Default)]
pub(super) struct AttributeSet<'a> {
    held: Vec<HeldAttribute<'a>>,
    /// Where attributes are added to the message: empty, behind its last attribute; where it has none, at its end.
    end: &'a [u8],
    /// The encoded values that actions have made, one after the other.
    made: Vec<u8>,
}

/// An attribute.
struct HeldAttribute<'a> {
    key: &'a [u8],
    /// The field as it came; empty if an action has added the attribute.
    raw: &'a [u8],
    /// The `KeyValue` in that field.
    pair: &'a [u8],
    state: AttributeState,
}

/// What actions have done to an attribute.
enum AttributeState {
    Untouched,
    /// It has got the encoded value at this place in [`AttributeSet::made`].
    Made(Range<usize>),
    Removed,
}

impl<'a> AttributeSet<'a> {
    /// Reads all attributes of a message, which stand under this number.
    pub(super) fn read_all(
        &mut self,
        number: u32,
        message: &'a [u8],
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        self.read(number, message, |_| true, memory)
    }

    /// Reads those attributes of a message that actions name.
    pub(super) fn read_named(
        &mut self,
        number: u32,
        message: &'a [u8],
        actions: &[EditAction],
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        match actions {
            [only] => self.read(number, message, |key| only.names(key), memory),
            _ => self.read(number, message, |key| actions.iter().any(|action| action.names(key)), memory),
        }
    }

    #[inline]
    fn read(
        &mut self,
        number: u32,
        message: &'a [u8],
        is_needed: impl Fn(&[u8]) -> bool,
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        self.held.clear();
        self.made.clear();
        self.end = &message[message.len()..];
        for field in SoundFields::of(message) {
            if field.number == number
                && let Some(pair) = field.delimited()
            {
                self.end = &pair[pair.len()..];
                let key = plain::attribute(pair).map_or_else(|| key(pair), |(key, _)| key);
                if is_needed(key) {
                    memory.reserve(&mut self.held, 1)?;
                    let (raw, state) = (field.raw, AttributeState::Untouched);
                    self.held.push(HeldAttribute { key, raw, pair, state });
                }
            }
        }
        Ok(())
    }

    /// Carries out actions, one after the other.
    pub(super) fn change(
        &mut self,
        actions: &'a [EditAction],
        texts: &dyn EditTexts,
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        for action in actions {
            match action {
                EditAction::Write { key, place, source, default } => {
                    // A value that is not written may be one that can't be had.
                    if !self.is_written(key.as_bytes(), *place) {
                        continue;
                    }
                    for source in source.iter().chain(default) {
                        if let Some(value) = self.encoded(source, texts, memory)? {
                            self.write(key.as_bytes(), value, memory)?;
                            break;
                        }
                    }
                }
                EditAction::Delete(keys) => {
                    let named = self.held.iter_mut().filter(|held| keys.matches(held.key));
                    named.for_each(|held| held.state = AttributeState::Removed);
                }
                EditAction::Hash(keys) => {
                    let hash = |value: &ReadValue<'_>| Some(NewValue::hash_of(value));
                    self.remake(|key| keys.matches(key), |_| 0, hash, memory)?;
                }
                EditAction::Convert { key, to } => {
                    let is_named = |named: &[u8]| named == key.as_bytes();
                    self.remake(is_named, |value| to.memory(value), |value| to.convert(value), memory)?;
                }
                EditAction::Extract { key, pattern } => self.extract(key.as_bytes(), pattern, memory)?,
            }
        }
        Ok(())
    }

    /// Writes what the groups of a pattern find in the text that an attribute is into attributes of their names.
    fn extract(&mut self, key: &[u8], pattern: &'a Regex, memory: &mut EditMemory<'_>) -> Result<(), NoRoom> {
        let Some(ReadValue::Text(text)) = self.first(key).map(|at| self.value(at)) else { return Ok(()) };
        let Some(found) = pattern.captures(text) else { return Ok(()) };
        // A group that takes no part is an empty text.
        let groups = pattern.capture_names().zip(found.iter()).skip(1).filter_map(|(name, group)| {
            let text = group.map_or("", |group| group.as_str());
            Some((name?, text))
        });
        let copied = groups.clone().map(|(_, text)| text.len() + FRAME).sum();
        memory.take(copied)?;
        let groups: Vec<_> = groups.map(|(name, text)| (name, NewValue::text(text))).collect();
        for (name, value) in groups {
            let value = self.put(value.encoded(), memory)?;
            self.write(name.as_bytes(), value, memory)?;
        }
        memory.give_back(copied);
        Ok(())
    }

    /// The value of a source, as it then stands in `made`, if there is one.
    fn encoded(
        &mut self,
        source: &ValueSource,
        texts: &dyn EditTexts,
        memory: &mut EditMemory<'_>,
    ) -> Result<Option<Range<usize>>, NoRoom> {
        let from = self.made.len();
        match source {
            ValueSource::Value(value) => return self.put(value.encoded(), memory).map(Some),
            ValueSource::Text(at) => {
                let Some(text) = texts.text(*at) else { return Ok(None) };
                memory.reserve(&mut self.made, text.len() + FRAME)?;
                NewValue::put_text(text, &mut self.made);
            }
            ValueSource::Attribute(key) => {
                let Some(at) = self.first(key.as_bytes()) else { return Ok(None) };
                if let AttributeState::Made(range) = &self.held[at].state {
                    return Ok(Some(range.clone()));
                }
                // Several values merge, as those of any message do.
                for value in values(self.held[at].pair) {
                    memory.reserve(&mut self.made, value.len())?;
                    self.made.extend_from_slice(value);
                }
            }
        }
        Ok(Some(from..self.made.len()))
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
    fn write(
        &mut self,
        key: &'a [u8],
        value: Range<usize>,
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        let mut is_there = false;
        for held in self.held.iter_mut().filter(|held| held.is_there() && held.key == key) {
            held.state = AttributeState::Made(value.clone());
            is_there = true;
        }
        if !is_there {
            memory.reserve(&mut self.held, 1)?;
            self.held.push(HeldAttribute { key, raw: &[], pair: &[], state: AttributeState::Made(value) });
        }
        Ok(())
    }

    /// Gives each attribute that is named the value that `make` makes of its own, if it makes one, for which it takes as many bytes
    /// as `memory_for` says.
    fn remake(
        &mut self,
        is_named: impl Fn(&[u8]) -> bool,
        memory_for: impl Fn(&ReadValue<'_>) -> usize,
        make: impl Fn(&ReadValue<'_>) -> Option<NewValue>,
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        for at in 0..self.held.len() {
            let held = &self.held[at];
            if !held.is_there() || !is_named(held.key) {
                continue;
            }
            let value = self.value(at);
            let making = memory_for(&value);
            memory.take(making)?;
            if let Some(value) = make(&value) {
                self.held[at].state = AttributeState::Made(self.put(value.encoded(), memory)?);
            }
            memory.give_back(making);
        }
        Ok(())
    }

    fn put(&mut self, encoded: &[u8], memory: &mut EditMemory<'_>) -> Result<Range<usize>, NoRoom> {
        let from = self.made.len();
        memory.reserve(&mut self.made, encoded.len())?;
        self.made.extend_from_slice(encoded);
        Ok(from..self.made.len())
    }

    /// The position of the first attribute of this name that is there.
    fn first(&self, key: &[u8]) -> Option<usize> {
        self.held.iter().position(|held| held.key == key && held.is_there())
    }

    fn value(&self, at: usize) -> ReadValue<'_> {
        let held = &self.held[at];
        match &held.state {
            AttributeState::Made(range) => ReadValue::of(&self.made[range.clone()]),
            _ => ReadValue::of_pair(held.pair),
        }
    }

    /// The value of an attribute, if it is there.
    pub(super) fn get(&self, key: &[u8]) -> Option<ReadValue<'_>> {
        self.first(key).map(|at| self.value(at))
    }

    /// Replaces what has changed in the message that the attributes are of, under their `number`.
    pub(super) fn splice(
        &self,
        number: u32,
        splices: &mut Splices<'a>,
        memory: &mut EditMemory<'_>,
    ) -> Result<(), NoRoom> {
        for held in self.held.iter().filter(|held| !held.raw.is_empty()) {
            match &held.state {
                AttributeState::Untouched => {}
                AttributeState::Made(value) => {
                    let value = &self.made[value.clone()];
                    let most = held.pair.len() + value.len() + 2 * FRAME;
                    let write = |out: &mut Vec<u8>| put_pair(out, number, held.pair, value);
                    splices.replace(held.raw, most, memory, write)?;
                }
                AttributeState::Removed => splices.replace(held.raw, 0, memory, |_| {})?,
            }
        }
        match self.added_len() {
            0 => Ok(()),
            most => splices.replace(self.end, most, memory, |out| self.put_added(number, out)),
        }
    }

    /// The most bytes that [`AttributeSet::put_added`] writes; 0 if nothing was added.
    pub(super) fn added_len(&self) -> usize {
        self.added().map(|(key, value)| key.len() + value.len() + 3 * FRAME).sum()
    }

    /// Writes the attributes that actions have added.
    pub(super) fn put_added(&self, number: u32, out: &mut Vec<u8>) {
        for (key, value) in self.added() {
            let frame = |len: usize| 1 + varint_len(len) + len;
            put_varint(out, u64::from(number) << 3 | 2);
            put_varint(out, (frame(key.len()) + frame(value.len())) as u64);
            put_delimited(out, KEY, key);
            put_delimited(out, VALUE, value);
        }
    }

    /// The keys and encoded values of what was added.
    fn added(&self) -> impl Iterator<Item = (&'a [u8], &[u8])> {
        self.held.iter().filter(|held| held.raw.is_empty()).filter_map(|held| match &held.state {
            AttributeState::Made(value) => Some((held.key, &self.made[value.clone()])),
            _ => None,
        })
    }
}

impl HeldAttribute<'_> {
    fn is_there(&self) -> bool {
        !matches!(self.state, AttributeState::Removed)
    }
}

/// The encoded values of a `KeyValue`.
fn values(pair: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fields = SoundFields::of(pair).filter(|field| field.number == VALUE);
    fields.filter_map(|field| field.delimited())
}

/// Writes a `KeyValue` with another value, and all else that it holds.
fn put_pair(out: &mut Vec<u8>, number: u32, pair: &[u8], value: &[u8]) {
    let fields = || SoundFields::of(pair);
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
