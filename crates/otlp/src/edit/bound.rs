//! How much work edits can be, told from the lengths of the messages whose attributes they change, before any of it is done.
//!
//! A few bytes can be much work: where an attribute is there many times, each of them may get the value of a long one. But a value
//! that is written is an old one, a part of an old one, or one that an action brings along: they are never put together. So however many
//! actions there are, each attribute ends with a value of at most that length.

use super::super::piece::{self, Child};
use super::super::schema::Message;
use super::super::split::{frames, resource};
use super::{Edit, EditAction, EditKeys, EditedPart, Signal, ValueSource, WriteWhere};

/// What it takes to look at a message, in bytes that could be copied in that time.
const MESSAGE: f64 = 32.0;

/// What it takes to look at the attributes of a message, in bytes that could be copied in that time, for each byte.
const WALK: f64 = 0.25;

/// What it takes to look for a pattern, or to make JSON, in bytes that could be copied in that time, for each byte.
const PATTERN: f64 = 8.0;

/// How many times as long JSON is at most as what it is made of.
const JSON: f64 = 6.0;

/// The fewest bytes of an attribute with a key beside that key: its own frame, and its key's.
const ATTRIBUTE: f64 = 4.0;

/// The most bytes of a value or an attribute beside its content, where both are short.
const FRAMES: f64 = 16.0;

/// The hexadecimal digits of a hash.
const HASH: f64 = 64.0;

/// The most that edits can be of work for the messages that they change, in bytes that they write or could write in that time, beside
/// the walk through a request that there is anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EditBound {
    resource: MessageBound,
    record: MessageBound,
    /// Patterns that are looked for around records, in resources, scopes and metrics.
    around: f64,
}

/// The bound for the edits of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MessageBound {
    /// How many edits there are.
    edits: f64,
    /// How many patterns are looked for.
    patterns: f64,
    /// Bytes of all attributes that may be added with a value of a known length.
    added: f64,
    /// How many attributes may be added with the value of another.
    added_copies: f64,
    /// The longest value that an action brings along; infinite if that is not known.
    longest: f64,
    /// The shortest key whose attributes get another value; infinite if there is none.
    shortest_key: f64,
    /// Whether values of other attributes are written.
    copies: bool,
    /// Whether values become JSON.
    converts: bool,
    /// Whether the events and links of a record are changed as well.
    events: bool,
}

/// Sums over messages of a request whose attributes can be changed.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    count: f64,
    bytes: f64,
    squares: f64,
}

impl Default for MessageBound {
    fn default() -> Self {
        Self {
            edits: 0.0,
            patterns: 0.0,
            added: 0.0,
            added_copies: 0.0,
            longest: 0.0,
            shortest_key: f64::INFINITY,
            copies: false,
            converts: false,
            events: false,
        }
    }
}

impl EditBound {
    /// The bound for one edit. `longest_text` says how long the text at this position is at most, if that can be told.
    pub fn of(edit: &Edit, longest_text: impl Fn(usize) -> Option<usize>) -> Self {
        let mut bound = MessageBound { edits: 1.0, ..MessageBound::default() };
        for action in &edit.actions {
            bound.add(action, &longest_text);
        }
        match &edit.of {
            EditedPart::Resource => Self { resource: bound, ..Self::default() },
            EditedPart::Records { events, include, exclude } => {
                bound.events = *events;
                let around = include.iter().chain(exclude).map(|selection| selection.patterns() as f64).sum();
                bound.patterns += around;
                Self { record: bound, around, ..Self::default() }
            }
        }
    }

    /// The bound for these edits and others together, be they made one after the other or in two copies of a request.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            resource: self.resource.and(other.resource),
            record: self.record.and(other.record),
            around: self.around + other.around,
        }
    }

    /// A bound that is at least as large as either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            resource: self.resource.or(other.resource),
            record: self.record.or(other.record),
            around: self.around.max(other.around),
        }
    }

    /// The most work for a request, which need not be valid. `divided` if its entries may be divided by their records, each of which
    /// then has the resource. Cheap: it looks at no attribute.
    pub fn of_request(self, signal: Signal, request: &[u8], divided: bool) -> usize {
        let (mut resources, mut records) = (Lengths::default(), Lengths::default());
        for (_, entry) in frames(request) {
            let before = records.count;
            if divided || self.record.edits > 0.0 {
                records.add_records(Message::entry(signal), entry);
            }
            let times = if divided { (records.count - before).max(1.0) } else { 1.0 };
            resources.add(resource(entry).len(), times);
        }
        let around = if self.around > 0.0 { PATTERN * self.around * request.len() as f64 } else { 0.0 };
        let work = self.resource.over(resources) + self.record.over(records) + around;
        // An infinite value, or one that is no number, is a bound that can't be told.
        if work.is_finite() { work as usize } else { usize::MAX }
    }
}

impl MessageBound {
    fn add(&mut self, action: &EditAction, longest_text: &impl Fn(usize) -> Option<usize>) {
        match action {
            EditAction::Write { key, place, source, default } => {
                for source in source.iter().chain(default) {
                    match source {
                        ValueSource::Value(value) => self.write(key, *place, value.encoded().len() as f64),
                        ValueSource::Text(at) => {
                            let longest = longest_text(*at).map_or(f64::INFINITY, |len| len as f64);
                            self.write(key, *place, longest);
                        }
                        ValueSource::Attribute(_) => self.copy(key, *place),
                    }
                }
            }
            EditAction::Delete(EditKeys { pattern, .. }) => self.patterns += f64::from(pattern.is_some()),
            EditAction::Hash(EditKeys { key, pattern }) => {
                if let Some(key) = key {
                    self.write(key, WriteWhere::Present, HASH);
                }
                if pattern.is_some() {
                    self.patterns += 1.0;
                    self.write("", WriteWhere::Present, HASH);
                }
            }
            EditAction::Convert { .. } => {
                self.patterns += 1.0;
                self.converts = true;
            }
            EditAction::Extract { pattern, .. } => {
                self.patterns += 1.0;
                for group in pattern.capture_names().flatten() {
                    self.copy(group, WriteWhere::Anywhere);
                }
            }
        }
    }

    /// Adds a value of `len` bytes that is written.
    fn write(&mut self, key: &str, place: WriteWhere, len: f64) {
        self.longest = self.longest.max(len);
        self.shortest_key = self.shortest_key.min(key.len() as f64);
        if place != WriteWhere::Present {
            self.added += key.len() as f64 + len + FRAMES;
        }
    }

    /// Adds a value of another attribute that is written.
    fn copy(&mut self, key: &str, place: WriteWhere) {
        self.copies = true;
        self.shortest_key = self.shortest_key.min(key.len() as f64);
        if place != WriteWhere::Present {
            self.added += key.len() as f64 + FRAMES;
            self.added_copies += 1.0;
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            edits: self.edits + other.edits,
            patterns: self.patterns + other.patterns,
            added: self.added + other.added,
            added_copies: self.added_copies + other.added_copies,
            ..self.or(other)
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            edits: self.edits.max(other.edits),
            patterns: self.patterns.max(other.patterns),
            added: self.added.max(other.added),
            added_copies: self.added_copies.max(other.added_copies),
            longest: self.longest.max(other.longest),
            shortest_key: self.shortest_key.min(other.shortest_key),
            copies: self.copies || other.copies,
            converts: self.converts || other.converts,
            events: self.events || other.events,
        }
    }

    /// The bound for messages that have these lengths together.
    fn over(self, lengths: Lengths) -> f64 {
        if self.edits == 0.0 || lengths.count == 0.0 {
            return 0.0;
        }
        let expansion = if self.converts { JSON } else { 1.0 };
        // How many attributes there are for each byte whose values can become others.
        let rewritten = 1.0 / (self.shortest_key + ATTRIBUTE);
        let by_value = if rewritten > 0.0 { (self.longest + FRAMES) * rewritten } else { 0.0 };
        // Most comes of it if half of the message is the value, and the other half are attributes that get it.
        let by_copy = if self.copies { expansion * rewritten / 4.0 } else { 0.0 };
        let added = self.added + self.added_copies * self.longest;
        // There is an event in two bytes at most.
        let in_events = if self.events { added / 2.0 } else { 0.0 };
        let linear = by_value + expansion * self.added_copies + in_events + expansion - 1.0;
        let grown = added * lengths.count + linear * lengths.bytes + by_copy * expansion * lengths.squares;
        // Each edit makes all of it anew.
        let walked = (self.edits * WALK + self.patterns * PATTERN) * (lengths.bytes + grown);
        self.edits * (MESSAGE * lengths.count + grown) + walked
    }
}

impl Lengths {
    /// Adds a message that is there so many times.
    fn add(&mut self, len: usize, times: f64) {
        let len = len as f64;
        self.count += times;
        self.bytes += times * len;
        self.squares += times * len * len;
    }

    fn add_records(&mut self, message: &'static Message, bytes: &[u8]) {
        for child in piece::children(message, bytes) {
            let Child { field, bytes, .. } = child;
            if field.record {
                self.add(bytes.len(), 1.0);
            } else {
                self.add_records(child.message(), bytes);
            }
        }
    }
}
