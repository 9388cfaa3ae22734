//! What is done with attributes: the actions of the Collector's processors `resource` and `attributes`.

use hex_simd::AsciiCase;
use regex::Regex;
use ring::digest::{SHA256, digest};

use super::super::read_value::{ReadValue, text};
use super::super::wire::{put_delimited, put_varint};

/// One thing that is done with the attributes of a message.
#[derive(Clone, Debug)]
pub enum EditAction {
    /// Writes a value into an attribute: that of `source`, or else `default`; nothing if neither has one.
    Write {
        /// The key of the attribute.
        key: String,
        /// Whether the attribute is written where it is absent, present, or in both cases.
        place: WriteWhere,
        /// Where its value comes from.
        source: Option<ValueSource>,
        /// Where the value comes from if `source` has none.
        default: Option<ValueSource>,
    },
    /// Removes attributes.
    Delete(EditKeys),
    /// Replaces the values of attributes by their SHA-256.
    Hash(EditKeys),
    /// Writes what the groups of a pattern find in a text into attributes of their names.
    Extract {
        /// The attribute that holds the text.
        key: String,
        /// A pattern whose groups all have names.
        pattern: Regex,
    },
    /// Changes the type of a value, where that can be done.
    Convert {
        /// The key of the attribute.
        key: String,
        /// The type that the value gets.
        to: ConvertedType,
    },
}

/// In which of two cases a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteWhere {
    /// If the message does not have the attribute.
    Absent,
    /// If the message has the attribute.
    Present,
    /// In both cases.
    Anywhere,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum ValueSource {
    /// The action states the value.
    Value(NewValue),
    /// The text at this position among the texts that are given with an entry.
    Text(usize),
    /// The value of an attribute of the same message.
    Attribute(String),
}

/// Which attributes an action is for: those that either of the two names.
#[derive(Clone, Debug)]
pub struct EditKeys {
    /// The attribute with this key.
    pub key: Option<String>,
    /// The attributes in whose keys the pattern is found.
    pub pattern: Option<Regex>,
}

/// The type that a value is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvertedType {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Double,
}

/// A value to write, as an encoded `AnyValue`.
#[derive(Clone, PartialEq, Eq)]
pub struct NewValue(Vec<u8>);

impl EditAction {
    /// Whether what the action does depends on the attribute of this name, or changes it.
    #[inline]
    pub(super) fn names(&self, key: &[u8]) -> bool {
        let is_source = |source: &Option<ValueSource>| match source {
            Some(ValueSource::Attribute(from)) => from.as_bytes() == key,
            Some(ValueSource::Value(_) | ValueSource::Text(_)) | None => false,
        };
        match self {
            Self::Write { key: own, source, default, .. } => {
                own.as_bytes() == key || is_source(source) || is_source(default)
            }
            Self::Delete(keys) | Self::Hash(keys) => keys.matches(key),
            Self::Extract { key: own, pattern } => {
                own.as_bytes() == key
                    || pattern.capture_names().flatten().any(|group| group.as_bytes() == key)
            }
            Self::Convert { key: own, .. } => own.as_bytes() == key,
        }
    }
}

impl EditKeys {
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|named| named.as_bytes() == key)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(text(key)))
    }
}

impl ConvertedType {
    /// The most bytes that [`ConvertedType::convert`] takes for this value.
    pub(super) fn memory(self, value: &ReadValue<'_>) -> usize {
        if self == Self::Text { value.memory_as_text() } else { 0 }
    }

    /// The value converted to this type; `None` if it has the type already, or can't be converted.
    pub(super) fn convert(self, value: &ReadValue<'_>) -> Option<NewValue> {
        match (self, *value) {
            (Self::Text, ReadValue::Text(_))
            | (Self::Int, ReadValue::Int(_))
            | (Self::Double, ReadValue::Double(_)) => None,
            (Self::Text, _) => Some(NewValue::text(&value.text())),
            (Self::Int, ReadValue::Double(number)) => Some(NewValue::int(number as i64)),
            (Self::Int, ReadValue::Bool(flag)) => Some(NewValue::int(i64::from(flag))),
            (Self::Int, ReadValue::Text(text)) => text.parse().ok().map(NewValue::int),
            (Self::Double, ReadValue::Int(number)) => Some(NewValue::double(number as f64)),
            (Self::Double, ReadValue::Bool(flag)) => Some(NewValue::double(f64::from(u8::from(flag)))),
            (Self::Double, ReadValue::Text(text)) => number(text).map(NewValue::double),
            (Self::Int | Self::Double, _) => None,
        }
    }
}

/// A text as a number, as the Collector reads it: what is too large is none, nor is a sign before what is no number.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let is_word = text.contains(['n', 'N']);
    let is_meant = number.is_finite() || is_word && (number.is_infinite() || !text.starts_with(['+', '-']));
    is_meant.then_some(number)
}

impl NewValue {
    /// A text.
    pub fn text(text: &str) -> Self {
        let mut encoded = Vec::with_capacity(text.len() + 6);
        Self::put_text(text, &mut encoded);
        Self(encoded)
    }

    /// Appends a text as it is encoded.
    pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
        put_delimited(out, 1, text.as_bytes());
    }

    /// A boolean.
    pub fn bool(flag: bool) -> Self {
        Self(vec![2 << 3, u8::from(flag)])
    }

    /// A whole number.
    pub fn int(number: i64) -> Self {
        let mut encoded = vec![3 << 3];
        put_varint(&mut encoded, number as u64);
        Self(encoded)
    }

    /// A number.
    pub fn double(number: f64) -> Self {
        let mut encoded = vec![4 << 3 | 1];
        encoded.extend_from_slice(&number.to_le_bytes());
        Self(encoded)
    }

    /// A list of values.
    pub fn list(values: &[Self]) -> Self {
        let mut list = Vec::new();
        for value in values {
            put_delimited(&mut list, 1, &value.0);
        }
        let mut encoded = Vec::new();
        put_delimited(&mut encoded, 5, &list);
        Self(encoded)
    }

    /// The SHA-256 in hexadecimal digits: of a text's bytes, of the eight bytes of a number, the last of which is its highest,
    /// or of the one byte 0 or 1 that is a boolean. Of anything else it is an empty text.
    pub(super) fn hash_of(value: &ReadValue<'_>) -> Self {
        let hash = match value {
            ReadValue::Text(text) => digest(&SHA256, text.as_bytes()),
            ReadValue::Bool(flag) => digest(&SHA256, &[u8::from(*flag)]),
            ReadValue::Int(number) => digest(&SHA256, &number.to_le_bytes()),
            ReadValue::Double(number) => digest(&SHA256, &number.to_le_bytes()),
            ReadValue::Empty | ReadValue::Bytes(_) | ReadValue::List(_) | ReadValue::Map(_) => {
                return Self::text("");
            }
        };
        Self::text(&hex_simd::encode_to_string(hash, AsciiCase::Lower))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn read(&self) -> ReadValue<'_> {
        ReadValue::of(&self.0)
    }
}

/// Leaves the value out, which may be a secret.
impl std::fmt::Debug for NewValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewValue(..)")
    }
}
