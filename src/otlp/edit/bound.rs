//! How much work edits can be, told from the lengths of the messages whose attributes they change, before any of it is done.
//!
//! A few bytes can be much work: where an attribute is there many times, each of them may get the value of a long one.

use super::super::piece::{self, Child};
use super::super::schema::Message;
use super::super::split::{frames, resource};
use super::{Edit, EditAction, EditKeys, EditedPart, Selection, Signal, ValueSource, WriteWhere};

/// What it takes to look at a message, in bytes that could be copied in that time.
const MESSAGE: f64 = 32.0;

/// What it takes to look for a pattern, or to make JSON, in bytes that could be copied in that time, for each byte.
const PATTERN: f64 = 8.0;

/// The fewest bytes of an attribute beside its key: its own frame, and its key's.
const ATTRIBUTE: f64 = 4.0;

/// The most bytes of a value or an attribute beside its content, where both are short.
const FRAMES: f64 = 16.0;

/// The hexadecimal digits of a hash.
const HASH: f64 = 64.0;

/// The most that edits can be of work for the messages that they change, in bytes that they write or could write in that time, beside
/// a walk through the request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EditBound {
    resource: Growth,
    record: Growth,
}

/// The most by which a message becomes longer, as a polynomial of its length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Growth {
    constant: f64,
    linear: f64,
    square: f64,
}

/// The longest that a written value can be.
#[derive(Clone, Copy)]
enum LongestValue {
    /// So many bytes.
    Bytes(f64),
    /// As long as the message that it is written into.
    Message,
    Unknown,
}

/// Sums over the messages of a request whose attributes can be changed.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    count: f64,
    bytes: f64,
    squares: f64,
}

impl EditBound {
    /// That of one edit. `longest_text` says how long the text at this position is at most, if that can be told.
    pub fn of(edit: &Edit, longest_text: impl Fn(usize) -> Option<usize>) -> Self {
        let mut growth = Growth { constant: MESSAGE, ..Growth::default() };
        for action in &edit.actions {
            growth = growth.then(Growth::of(action, &longest_text));
        }
        match &edit.of {
            EditedPart::Resource => Self { resource: growth, ..Self::default() },
            EditedPart::Records { events, include, exclude } => {
                if *events {
                    // There is one in two bytes at most, and they are parts of the record.
                    growth = growth.and(Growth { linear: growth.constant / 2.0, ..Growth::default() });
                }
                for selection in include.iter().chain(exclude) {
                    growth = growth.and(Growth::of_selection(selection));
                }
                Self { record: growth, ..Self::default() }
            }
        }
    }

    /// That of these edits, and then of others to what they leave.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { resource: self.resource.then(next.resource), record: self.record.then(next.record) }
    }

    /// That of these edits, and of others to another copy.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { resource: self.resource.and(other.resource), record: self.record.and(other.record) }
    }

    /// The larger of both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { resource: self.resource.or(other.resource), record: self.record.or(other.record) }
    }

    /// The most work for a request, which need not be valid. Cheap: it looks at no attribute.
    pub fn of_request(self, signal: Signal, request: &[u8]) -> usize {
        let (mut resources, mut records) = (Lengths::default(), Lengths::default());
        for (_, entry) in frames(request) {
            resources.add(resource(entry).len());
            if self.record != Growth::default() {
                records.add_records(Message::entry(signal), entry);
            }
        }
        // A float that is too large, or infinite, becomes the largest number.
        (self.resource.over(resources) + self.record.over(records)) as usize
    }
}

impl Growth {
    const UNKNOWN: Self = Self { constant: f64::INFINITY, linear: 0.0, square: 0.0 };

    fn of(action: &EditAction, longest_text: &impl Fn(usize) -> Option<usize>) -> Self {
        match action {
            EditAction::Write { key, place, source, default } => {
                let written = |source: &ValueSource| {
                    let longest = match source {
                        ValueSource::Value(value) => LongestValue::Bytes(value.encoded().len() as f64),
                        ValueSource::Text(at) => longest_text(*at)
                            .map_or(LongestValue::Unknown, |len| LongestValue::Bytes(len as f64)),
                        ValueSource::Attribute(_) => LongestValue::Message,
                    };
                    Self::of_write(key.len(), *place, longest)
                };
                source.iter().chain(default).map(written).fold(Self::default(), Self::or)
            }
            EditAction::Delete(keys) => Self::of_keys(keys, 0.0),
            EditAction::Hash(keys) => Self::of_keys(keys, HASH + FRAMES),
            EditAction::Convert { .. } => Self { linear: PATTERN, ..Self::default() },
            EditAction::Extract { pattern, .. } => {
                let groups = pattern.capture_names().flatten();
                let written =
                    |group: &str| Self::of_write(group.len(), WriteWhere::Anywhere, LongestValue::Message);
                groups.map(written).fold(Self { linear: PATTERN, ..Self::default() }, Self::and)
            }
        }
    }

    fn of_write(key: usize, place: WriteWhere, longest: LongestValue) -> Self {
        // Each attribute of that key is given the value, or one is added.
        let key = key as f64;
        let times = 1.0 / (key + ATTRIBUTE);
        let added = if place == WriteWhere::Present { 0.0 } else { 1.0 };
        match longest {
            LongestValue::Bytes(len) => {
                Self { constant: added * (key + len + FRAMES), linear: (len + FRAMES) * times, square: 0.0 }
            }
            LongestValue::Message => Self {
                constant: added * (key + FRAMES),
                linear: added + FRAMES * times,
                // Most comes of it if half of the message is the value, and the other half are attributes that get it.
                square: times / 4.0,
            },
            LongestValue::Unknown => Self::UNKNOWN,
        }
    }

    /// Of values of `len` bytes in place of those of all attributes that are meant.
    fn of_keys(EditKeys { key, pattern }: &EditKeys, len: f64) -> Self {
        let by_name = key.as_ref().map_or(0.0, |key| len / (key.len() as f64 + ATTRIBUTE));
        let by_pattern = pattern.as_ref().map_or(0.0, |_| PATTERN + len / ATTRIBUTE);
        Self { linear: by_name + by_pattern, ..Self::default() }
    }

    fn of_selection(selection: &Selection) -> Self {
        Self { linear: PATTERN * selection.patterns() as f64, ..Self::default() }
    }

    fn then(self, next: Self) -> Self {
        let is_unknown = |growth: Self| growth.constant.is_infinite();
        if is_unknown(self) || is_unknown(next) || (self.square > 0.0 && next.square > 0.0) {
            return Self::UNKNOWN;
        }
        // Of a message of x bytes, self leaves constant + (1 + linear) x + square x², which is what next grows.
        let (constant, factor) = (self.constant, 1.0 + self.linear);
        let of_next = Self {
            constant: next.constant + next.linear * constant + next.square * constant * constant,
            linear: next.linear * factor + 2.0 * next.square * constant * factor,
            square: next.linear * self.square + next.square * factor * factor,
        };
        self.and(of_next)
    }

    fn and(self, other: Self) -> Self {
        Self {
            constant: self.constant + other.constant,
            linear: self.linear + other.linear,
            square: self.square + other.square,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            constant: self.constant.max(other.constant),
            linear: self.linear.max(other.linear),
            square: self.square.max(other.square),
        }
    }

    /// For messages of these lengths together.
    fn over(self, lengths: Lengths) -> f64 {
        if lengths.count == 0.0 {
            return 0.0;
        }
        self.constant * lengths.count + self.linear * lengths.bytes + self.square * lengths.squares
    }
}

impl Lengths {
    fn add(&mut self, len: usize) {
        let len = len as f64;
        self.count += 1.0;
        self.bytes += len;
        self.squares += len * len;
    }

    fn add_records(&mut self, message: &'static Message, bytes: &[u8]) {
        for child in piece::children(message, bytes) {
            let Child { field, bytes, .. } = child;
            if field.record {
                self.add(bytes.len());
            } else {
                self.add_records(child.message(), bytes);
            }
        }
    }
}
