//! Secrets taken out of an entry that is to be shown.

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexSet};
use serde_json::{Value as Json, json};

use super::read_value::{self, ReadValue, text};
use super::schema::{FieldKind, KEY_VALUE, Message};
use super::wire::{Fields, put_delimited};
use super::{Signal, schema};

/// The text that replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// Patterns of secrets, which are not shown. One that matches in the key of an attribute, however deep, hides its value; one that matches
/// in any text hides what it matches. A value that is a number or a boolean is looked at as the text that it is written as. Bytes are
/// looked at as the text that they are, and hidden as a whole.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    patterns: Vec<Regex>,
    any: RegexSet,
}

/// A text that was asked for, and whether it is hidden.
struct WantedText {
    text: String,
    is_hidden: bool,
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

    /// Whether there are no patterns, so that nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the values of attributes with this key are hidden. A space in a key counts as the `_` that stands there mostly.
    pub fn hides(&self, key: &str) -> bool {
        self.any.is_match(key)
            || key.contains(char::is_whitespace) && self.any.is_match(&key.replace(char::is_whitespace, "_"))
    }

    /// The valid entry without its secrets; borrowed if it has none.
    pub fn apply<'a>(&self, signal: Signal, entry: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(entry);
        }
        let mut out = Vec::new();
        if self.put(Message::entry(signal), entry, &mut out) { Cow::Owned(out) } else { Cow::Borrowed(entry) }
    }

    /// The text without its secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut hidden = self.matches(text);
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.sort_unstable_by_key(|range| range.start);
        let (mut clean, mut end) = (String::new(), 0);
        for range in hidden {
            // What overlaps is hidden as one.
            if range.start >= end {
                clean.push_str(&text[end..range.start]);
                clean.push_str(REDACTED);
            }
            end = end.max(range.end);
        }
        clean.push_str(&text[end..]);
        Cow::Owned(clean)
    }

    /// The places of the secrets in a text, in no order; the matches of two patterns may overlap.
    pub fn matches(&self, text: &str) -> Vec<Range<usize>> {
        if !self.any.is_match(text) {
            return Vec::new();
        }
        // Each pattern looks at the whole text: the match of one may be the context by which another knows a secret.
        let found = self.patterns.iter().flat_map(|pattern| pattern.find_iter(text));
        found.map(|found| found.range()).filter(|range| !range.is_empty()).collect()
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

    /// What is hidden in the valid entry, of those values that `is_wanted`: of one with a key that is hidden all of it, else what
    /// the patterns match. Bytes are given as the text that they are and in base64. Only what is wanted costs a look at the
    /// patterns.
    pub fn hidden_in(&self, signal: Signal, entry: &[u8], is_wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        if !self.is_empty() {
            self.find_in(Message::entry(signal), entry, is_wanted, &mut found);
        }
        found.into_iter().filter(|found| found.is_hidden).map(|found| found.text).collect()
    }

    fn find_in(
        &self,
        message: &'static Message,
        bytes: &[u8],
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut Vec<WantedText>,
    ) {
        for field in Fields::of(bytes).map_while(Result::ok) {
            let known = message.field(field.number).or_else(|| message.formerly(field.number));
            match (known.map(|known| known.kind), field.delimited()) {
                (Some(FieldKind::String), Some(bytes)) => self.find_in_text(text(bytes), is_wanted, found),
                (Some(FieldKind::Message(KEY_VALUE)), Some(pair)) => {
                    let before = found.len();
                    let values = Fields::of(pair).map_while(Result::ok);
                    for value in values.filter(|field| field.number == read_value::VALUE) {
                        self.find_in_value(value.delimited().unwrap_or_default(), is_wanted, found);
                    }
                    let wanted = &mut found[before..];
                    if !wanted.is_empty() && self.hides(text(read_value::key(pair))) {
                        for found in wanted {
                            found.is_hidden = true;
                        }
                    }
                }
                (Some(FieldKind::Message(schema::ANY_VALUE)), Some(value)) => {
                    self.find_in_value(value, is_wanted, found);
                }
                (Some(FieldKind::Message(index)), Some(inner)) => {
                    self.find_in(schema::message(index), inner, is_wanted, found);
                }
                _ => {}
            }
        }
    }

    fn find_in_value(&self, value: &[u8], is_wanted: &dyn Fn(&str) -> bool, found: &mut Vec<WantedText>) {
        let read = ReadValue::of(value);
        match read {
            ReadValue::Bool(_) | ReadValue::Int(_) | ReadValue::Double(_) => {
                self.find_in_text(&read.text(), is_wanted, found);
            }
            ReadValue::Bytes(bytes) => {
                let is_hidden = || self.hides_bytes(bytes);
                for text in [String::from_utf8_lossy(bytes), read.text()] {
                    if is_wanted(&text) {
                        found.push(WantedText { is_hidden: is_hidden(), text: text.into_owned() });
                    }
                }
            }
            ReadValue::Empty | ReadValue::Text(_) | ReadValue::List(_) | ReadValue::Map(_) => {
                self.find_in(schema::message(schema::ANY_VALUE), value, is_wanted, found);
            }
        }
    }

    fn find_in_text(&self, text: &str, is_wanted: &dyn Fn(&str) -> bool, found: &mut Vec<WantedText>) {
        if !is_wanted(text) {
            return;
        }
        if self.any.is_match(text) {
            let matched = self.patterns.iter().flat_map(|pattern| pattern.find_iter(text));
            found.extend(matched.map(|part| WantedText { text: part.as_str().to_owned(), is_hidden: true }));
        }
        found.push(WantedText { text: text.to_owned(), is_hidden: false });
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
                // Names in letters of the wrong case are no OTLP, and may be why this is a dead letter.
                let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
                let keys = members.iter().filter(|(name, _)| is(name, "key"));
                let key =
                    keys.filter_map(|(_, key)| key.as_str()).map(|key| self.hides(key)).reduce(|a, b| a || b);
                for (name, member) in members.iter_mut() {
                    match key {
                        // The key of an attribute stays as it is.
                        Some(_) if is(name, "key") => {}
                        Some(true) if is(name, "value") => *member = json!({ "stringValue": REDACTED }),
                        _ if self.hides_member(name, member.as_str()) => *member = REDACTED.into(),
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

    /// Whether a member of this name is hidden in JSON, which need not be OTLP/JSON; `text` is its value if that is one.
    pub fn hides_member(&self, name: &str, text: Option<&str>) -> bool {
        self.hides(name) || text.is_some_and(|text| self.hides_scalar(name, text))
    }

    /// Whether a text of this name is hidden for the number or the bytes that it stands for in OTLP/JSON.
    fn hides_scalar(&self, name: &str, text: &str) -> bool {
        let hides = |value: ReadValue<'_>| self.scalar(&value).is_some();
        match name.replace('_', "").to_ascii_lowercase().as_str() {
            "bytesvalue" => self.hides_base64(text),
            "intvalue" => text.trim().parse().is_ok_and(|value| hides(ReadValue::Int(value))),
            "doublevalue" => text.trim().parse().is_ok_and(|value| hides(ReadValue::Double(value))),
            _ => false,
        }
    }

    fn hides_base64(&self, encoded: &str) -> bool {
        // What is no base64 to its end is hidden for what it begins with.
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        let letters = encoded.bytes().take_while(is_letter).count();
        // A last letter alone stands for no byte.
        let letters = letters - usize::from(letters % 4 == 1);
        let mut bytes = Vec::new();
        let decoded = crate::json::base64(&encoded.as_bytes()[..letters], &mut bytes);
        debug_assert!(decoded.is_some(), "letters of base64 alone are base64");
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
                (Some(FieldKind::String), Some(bytes)) => match self.text(text(bytes)) {
                    Cow::Borrowed(_) => out.extend_from_slice(field.raw),
                    Cow::Owned(clean) => {
                        put_delimited(out, field.number, clean.as_bytes());
                        differs = true;
                    }
                },
                (Some(FieldKind::Message(KEY_VALUE)), Some(pair)) => {
                    let mut clean = Vec::new();
                    if self.put_pair(pair, &mut clean) {
                        put_delimited(out, field.number, &clean);
                        differs = true;
                    } else {
                        out.extend_from_slice(field.raw);
                    }
                }
                (Some(FieldKind::Message(index)), Some(inner)) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_pattern_hides_keeps_no_other_from_its_secret() {
        let redaction =
            Redaction::new(&[r"(?i)token\W+\w+", r"(?i)bearer \S+", r"user=\w+", r"user=\w+ pin=\d+", "x"])
                .unwrap();
        for (text, shown) in [
            ("access_token: Bearer abc.def then", "access_[redacted] then"),
            ("Bearer abc.def", "[redacted]"),
            ("user=bob pin=1234", "[redacted]"),
            ("axxb", "a[redacted][redacted]b"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redaction.text(text), shown);
        }
    }

    #[test]
    fn json_that_is_no_otlp_hides_what_its_texts_stand_for() {
        let redaction = Redaction::new(&[r"\b4[0-9]{15}\b", "^password$"]).unwrap();
        for (value, shown) in [
            (json!({ "intValue": "0004111111111111111" }), json!({ "intValue": REDACTED })),
            (json!({ "double_value": "4.111111111111111e15" }), json!({ "double_value": REDACTED })),
            (json!({ "bytesValue": "NDExMTExMTExMTExMTExMQA" }), json!({ "bytesValue": REDACTED })),
            (json!({ "intValue": "12" }), json!({ "intValue": "12" })),
            (
                json!({ "Key": "password", "Value": { "stringValue": "hunter2" } }),
                json!({ "Key": "password", "Value": { "stringValue": REDACTED } }),
            ),
            (json!({ "key": "user", "value": "bob" }), json!({ "key": "user", "value": "bob" })),
        ] {
            let mut hidden = value;
            redaction.hide_in_json(&mut hidden);
            assert_eq!(hidden, shown);
        }
    }
}
