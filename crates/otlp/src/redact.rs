//! Secrets taken out of an entry that is to be shown.

use std::borrow::Cow;

use regex::{Regex, RegexSet};
use serde_json::{Value as Json, json};

use super::read_value::{self, ReadValue, text};
use super::schema::{KEY_VALUE, Kind, Message};
use super::wire::{Fields, put_delimited};
use super::{Signal, schema};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Patterns of what is not shown. One that matches in the key of an attribute, however deep, hides its value; one that matches
/// in any text hides what it matches. A value that is a number or a boolean is looked at as the text that it is written as. Bytes are
/// looked at as the text that they are, and hidden as a whole.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    patterns: Vec<Regex>,
    any: RegexSet,
}

impl Redaction {
    /// The patterns, or the position of the first that is none, and why.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Self, (usize, regex::Error)> {
        let compile = |(position, pattern): (usize, &P)| {
            Regex::new(pattern.as_ref()).map_err(|error| (position, error))
        };
        let patterns = patterns.iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        let any = RegexSet::new(patterns.iter().map(Regex::as_str)).map_err(|error| (0, error))?;
        Ok(Self { patterns, any })
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the values of attributes with this key are hidden.
    pub fn hides(&self, key: &str) -> bool {
        self.any.is_match(key)
    }

    /// The valid entry without what is hidden; borrowed if nothing is.
    pub fn apply<'a>(&self, signal: Signal, entry: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(entry);
        }
        let mut out = Vec::new();
        if self.put(Message::entry(signal), entry, &mut out) { Cow::Owned(out) } else { Cow::Borrowed(entry) }
    }

    /// The text without what is hidden.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.any.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut clean = text.to_owned();
        for pattern in &self.patterns {
            if let Cow::Owned(cleaner) = pattern.replace_all(&clean, REDACTED) {
                clean = cleaner;
            }
        }
        Cow::Owned(clean)
    }

    /// What is shown of a number, a boolean or bytes, if any of it is hidden.
    pub fn scalar(&self, value: &ReadValue<'_>) -> Option<String> {
        match value {
            ReadValue::Bool(_) | ReadValue::Int(_) | ReadValue::Double(_) => match self.text(&value.text()) {
                Cow::Borrowed(_) => None,
                Cow::Owned(clean) => Some(clean),
            },
            ReadValue::Bytes(bytes) => self.hides_bytes(bytes).then(|| REDACTED.to_owned()),
            ReadValue::Empty | ReadValue::Text(_) | ReadValue::List(_) | ReadValue::Map(_) => None,
        }
    }

    fn hides_bytes(&self, bytes: &[u8]) -> bool {
        self.any.is_match(&String::from_utf8_lossy(bytes))
    }

    /// Hides the same in JSON, which need not be OTLP/JSON: a member of an object is hidden as an attribute of its name is.
    pub fn hide_in_json(&self, value: &mut Json) {
        match value {
            Json::String(text) => {
                if let Cow::Owned(clean) = self.text(text) {
                    *text = clean;
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.hide_in_json(item)),
            Json::Object(members) => {
                let key = members.get("key").and_then(Json::as_str).map(|key| self.hides(key));
                for (name, member) in members.iter_mut() {
                    match (name.as_str(), key) {
                        // The key of an attribute stays as it is.
                        ("key", Some(_)) => {}
                        ("value", Some(true)) => *member = json!({ "stringValue": REDACTED }),
                        _ if self.hides(name) => *member = REDACTED.into(),
                        ("bytesValue" | "bytes_value", _) if self.hides_base64(member) => {
                            *member = REDACTED.into();
                        }
                        _ => self.hide_in_json(member),
                    }
                }
            }
            Json::Bool(_) | Json::Number(_) => {
                let double = value.as_f64().filter(|_| value.is_f64());
                let text = double.map_or_else(|| value.to_string(), |it| ReadValue::Double(it).text().into());
                if let Cow::Owned(clean) = self.text(&text) {
                    *value = clean.into();
                }
            }
            Json::Null => {}
        }
    }

    fn hides_base64(&self, value: &Json) -> bool {
        let mut bytes = Vec::new();
        let encoded = value.as_str().unwrap_or_default().as_bytes();
        // What is no base64 to its end is hidden for what it begins with.
        _ = crate::json::base64(encoded, &mut bytes);
        self.hides_bytes(&bytes)
    }

    /// A list or map without what is hidden, as an encoded `AnyValue`; nothing if nothing is.
    pub fn list_or_map(&self, value: &ReadValue<'_>) -> Option<Vec<u8>> {
        let (member, bytes) = match value {
            ReadValue::List(bytes) => (5, bytes),
            ReadValue::Map(bytes) => (6, bytes),
            _ => return None,
        };
        let (mut whole, mut clean) = (Vec::new(), Vec::new());
        put_delimited(&mut whole, member, bytes);
        self.put(schema::message(schema::ANY_VALUE), &whole, &mut clean).then_some(clean)
    }

    /// Writes a message without what is hidden; whether that differs from how it was.
    fn put(&self, message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let mut differs = false;
        for field in Fields::of(bytes).map_while(Result::ok) {
            let known = message.field(field.number).or_else(|| message.formerly(field.number));
            match (known.map(|known| known.kind), field.delimited()) {
                (Some(Kind::String), Some(bytes)) => match self.text(text(bytes)) {
                    Cow::Borrowed(_) => out.extend_from_slice(field.raw),
                    Cow::Owned(clean) => {
                        put_delimited(out, field.number, clean.as_bytes());
                        differs = true;
                    }
                },
                (Some(Kind::Message(KEY_VALUE)), Some(pair)) => {
                    let mut clean = Vec::new();
                    if self.put_pair(pair, &mut clean) {
                        put_delimited(out, field.number, &clean);
                        differs = true;
                    } else {
                        out.extend_from_slice(field.raw);
                    }
                }
                (Some(Kind::Message(index)), Some(inner)) => {
                    let mut clean = Vec::new();
                    let differs_within = match index {
                        schema::ANY_VALUE => self.put_value(inner, &mut clean),
                        _ => self.put(schema::message(index), inner, &mut clean),
                    };
                    if differs_within {
                        put_delimited(out, field.number, &clean);
                        differs = true;
                    } else {
                        out.extend_from_slice(field.raw);
                    }
                }
                _ => out.extend_from_slice(field.raw),
            }
        }
        differs
    }

    /// Writes an `AnyValue`.
    fn put_value(&self, value: &[u8], out: &mut Vec<u8>) -> bool {
        if let Some(clean) = self.scalar(&ReadValue::of(value)) {
            put_delimited(out, 1, clean.as_bytes());
            return true;
        }
        self.put(schema::message(schema::ANY_VALUE), value, out)
    }

    /// Writes a `KeyValue`, whose key stays as it is.
    fn put_pair(&self, pair: &[u8], out: &mut Vec<u8>) -> bool {
        let hides = self.hides(text(read_value::key(pair)));
        let mut differs = false;
        for field in Fields::of(pair).map_while(Result::ok) {
            let value = field.delimited().filter(|_| field.number == read_value::VALUE);
            let Some(value) = value else {
                out.extend_from_slice(field.raw);
                continue;
            };
            let mut clean = Vec::new();
            if hides {
                put_delimited(&mut clean, 1, REDACTED.as_bytes());
                differs = true;
            } else if self.put_value(value, &mut clean) {
                differs = true;
            } else {
                out.extend_from_slice(field.raw);
                continue;
            }
            put_delimited(out, field.number, &clean);
        }
        differs
    }
}
