//! The value of an attribute or a header: as keys read it, a text that can name a stream; and as conditions test it, a value of any
//! type and length.

use std::borrow::Cow;

use otlp::{Found, ReadValue};

/// A routing key, or a part of one, is at most this many bytes.
pub const LONGEST_KEY: usize = 512;

/// Why an attribute counts as absent for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableValue {
    /// The attribute is absent.
    #[error("is absent")]
    Absent,
    /// The value is an empty string.
    #[error("is there but empty")]
    Empty,
    /// The value is longer than a routing key may be.
    #[error("is longer than {LONGEST_KEY} bytes")]
    TooLong,
    /// The value has control characters.
    #[error("holds control characters")]
    Control,
    /// The value is a double, bytes, a list, a map or empty.
    #[error("is neither a string, an integer nor a boolean")]
    Kind,
}

/// An attribute's value as text: a string as it is, an integer in decimal, a boolean in words.
#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    Unusable(UnusableValue),
    Borrowed(&'a str),
    Number { digits: [u8; 20], len: u8 },
}

/// The value of an attribute or a header, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct TestedValue<'a> {
    value: ReadValue<'a>,
    text: Text<'a>,
}

impl TestedValue<'_> {
    /// The value of an attribute that is absent.
    pub const ABSENT: Self = Self { value: ReadValue::Empty, text: Text::Unusable(UnusableValue::Absent) };

    /// Whether there is a value, whatever it is.
    pub fn is_there(&self) -> bool {
        !matches!(self.value, ReadValue::Empty | ReadValue::Bytes(&[]))
    }

    /// The text that can name a stream, if it is one.
    pub fn key_text(&self) -> Option<&str> {
        self.usable().ok()
    }

    /// The value in words, with its type; at most its first 200 characters.
    pub(super) fn described(&self) -> String {
        match self.value {
            ReadValue::Empty => "is absent".to_owned(),
            ReadValue::Bytes(&[]) => "has no bytes, and counts as absent".to_owned(),
            ReadValue::Text(text) => format!("is the text `{}`", excerpt(text)),
            ReadValue::Bool(flag) => format!("is the boolean `{flag}`"),
            ReadValue::Int(_) | ReadValue::Double(_) => format!("is the number `{}`", self.value.text()),
            ReadValue::Bytes(bytes) => format!("is bytes, {} of them", bytes.len()),
            ReadValue::List(_) | ReadValue::Map(_) => {
                let what = if matches!(self.value, ReadValue::List(_)) { "list" } else { "map" };
                match self.value.pattern_text() {
                    Some(text) => format!("is the {what} `{}`", excerpt(&text)),
                    None => format!("is a {what} that is too large or that JSON can't hold"),
                }
            }
        }
    }

    /// The text that can name a stream, or why there is none.
    pub fn usable(&self) -> Result<&str, UnusableValue> {
        match &self.text {
            Text::Unusable(why) => Err(*why),
            Text::Borrowed(text) => Ok(text),
            Text::Number { digits, len } => {
                Ok(std::str::from_utf8(&digits[..usize::from(*len)]).expect("digits are ASCII"))
            }
        }
    }
}

impl<'a> TestedValue<'a> {
    /// The value that was found; `None` if the attribute occurs with different values.
    pub(super) fn of(found: Found<'a>) -> Option<Self> {
        match found {
            Found::Absent => Some(Self::ABSENT),
            Found::Value(value) => Some(Self::from(value)),
            Found::Conflicting => None,
        }
    }

    /// The text in which patterns are looked for, if there is one. That of what can name a stream is known already.
    pub(super) fn pattern_text(&self) -> Option<Cow<'_, str>> {
        self.key_text().map(Cow::Borrowed).or_else(|| self.value.pattern_text())
    }

    /// The value as it was sent.
    pub(super) fn value(&self) -> ReadValue<'a> {
        self.value
    }
}

impl<'a> From<ReadValue<'a>> for TestedValue<'a> {
    fn from(value: ReadValue<'a>) -> Self {
        let text = match value {
            ReadValue::Text(text) => as_key(text).map_or_else(Text::Unusable, Text::Borrowed),
            ReadValue::Bool(flag) => Text::Borrowed(if flag { "true" } else { "false" }),
            ReadValue::Int(number) => {
                let mut digits = [0; 20];
                let mut rest = &mut digits[..];
                std::io::Write::write_fmt(&mut rest, format_args!("{number}"))
                    .expect("an i64 has at most 20 characters");
                let len = (20 - rest.len()) as u8;
                Text::Number { digits, len }
            }
            ReadValue::Empty
            | ReadValue::Double(_)
            | ReadValue::Bytes(_)
            | ReadValue::List(_)
            | ReadValue::Map(_) => Text::Unusable(UnusableValue::Kind),
        };
        Self { value, text }
    }
}

/// The beginning of a text. What can't be printed is escaped, so that a terminal shows it as it is.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut chars = text.chars();
    let mut shown = String::new();
    for char in chars.by_ref().take(LONGEST) {
        if ['"', '\'', '\\'].contains(&char) { shown.push(char) } else { shown.extend(char.escape_debug()) }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The text, if it can name a stream; one that can't counts as absent.
pub(super) fn as_key(text: &str) -> Result<&str, UnusableValue> {
    // In a header nothing would be left of spaces alone.
    if text.trim_matches([' ', '\t']).is_empty() {
        Err(UnusableValue::Empty)
    } else if text.len() > LONGEST_KEY {
        Err(UnusableValue::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(UnusableValue::Control)
    } else {
        Ok(text)
    }
}

/// Whether a value can name a stream.
pub(super) fn is_usable(value: ReadValue<'_>) -> bool {
    TestedValue::from(value).key_text().is_some()
}
