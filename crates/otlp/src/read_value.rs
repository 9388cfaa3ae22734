//! The value of an attribute, read from its bytes, and as text in the words of the Collector.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use base64_simd::STANDARD;
use hex_simd::AsciiCase;
use serde_json::Value as Json;

use super::wire::{Sound, Value};

/// The field of a `KeyValue` that is its value.
pub(super) const VALUE: u32 = 2;

/// The largest list or map, as it is encoded, in which a pattern is looked for: as JSON it takes many times the memory.
const LARGEST_WITH_PATTERNS: usize = 64 << 10;

/// What an `AnyValue` of a validated message holds.
#[derive(Clone, Copy, Debug)]
pub enum ReadValue<'a> {
    /// Nothing, or an index into a string table, which is there in profiles alone (rule 57: as if it was absent).
    Empty,
    /// A string.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An encoded `ArrayValue`.
    List(&'a [u8]),
    /// An encoded `KeyValueList`.
    Map(&'a [u8]),
}

impl<'a> ReadValue<'a> {
    /// Reads an encoded `AnyValue`. Of several members the last one counts.
    pub fn of(encoded: &'a [u8]) -> Self {
        Self::last_of(Sound::of(encoded))
    }

    /// The value of an encoded `KeyValue`.
    pub(super) fn of_pair(pair: &'a [u8]) -> Self {
        let values = Sound::of(pair).filter(|(number, _)| *number == VALUE);
        Self::last_of(values.filter_map(|(_, value)| value.delimited()).flat_map(Sound::of))
    }

    fn last_of(members: impl Iterator<Item = (u32, Value<'a>)>) -> Self {
        let last = members.filter(|(member, _)| (1..=8).contains(member)).last();
        match last {
            Some((1, Value::Delimited(bytes))) => Self::Text(text(bytes)),
            Some((2, Value::Number(number))) => Self::Bool(number != 0),
            Some((3, Value::Number(number))) => Self::Int(number as i64),
            Some((4, Value::Number(bits))) => Self::Double(f64::from_bits(bits)),
            Some((5, Value::Delimited(bytes))) => Self::List(bytes),
            Some((6, Value::Delimited(bytes))) => Self::Map(bytes),
            Some((7, Value::Delimited(bytes))) => Self::Bytes(bytes),
            _ => Self::Empty,
        }
    }

    /// The value as text, as the Collector's `AsString` has it: lists and maps are JSON, bytes are base64.
    pub fn text(&self) -> Cow<'a, str> {
        match *self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Double(number) => Cow::Owned(double(number)),
            Self::Bytes(bytes) => Cow::Owned(STANDARD.encode_to_string(bytes)),
            Self::List(_) | Self::Map(_) => {
                let mut json = String::new();
                // As in the Collector, what JSON can't hold leaves nothing of the whole.
                Cow::Owned(self.put_json(&mut json).map(|()| json).unwrap_or_default())
            }
        }
    }

    /// The values of a list; none of anything else.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let list = if let Self::List(bytes) = *self { bytes } else { &[][..] };
        items(list).map(Self::of)
    }

    /// The value as JSON: bytes are base64, and a double that JSON does not have is its name. Of a key that is there twice the
    /// last counts.
    pub fn json(&self) -> Json {
        match *self {
            Self::Empty => Json::Null,
            Self::Bool(flag) => flag.into(),
            Self::Int(number) => number.into(),
            Self::Double(number) if number.is_finite() => number.into(),
            Self::Text(_) | Self::Double(_) | Self::Bytes(_) => self.text().into(),
            Self::List(_) => self.items().map(|item| item.json()).collect(),
            Self::Map(bytes) => {
                let pairs = items(bytes).map(|pair| (text(key(pair)).to_owned(), Self::of_pair(pair).json()));
                Json::Object(pairs.collect())
            }
        }
    }

    /// The most bytes that the value takes as text, what is needed to write it and one copy of it included.
    pub(super) fn memory_as_text(&self) -> usize {
        /// For each byte of a list or map. Control characters become six, which a text that is being enlarged has room for thrice
        /// and the copy once; and a key of three bytes, or as few for each of many, takes eighty in the tree of keys.
        const OF_JSON: usize = 56;
        /// Of a number.
        const OF_NUMBER: usize = 64;
        match self {
            Self::Empty | Self::Text(_) | Self::Bool(_) => 0,
            Self::Int(_) | Self::Double(_) => OF_NUMBER,
            Self::Bytes(bytes) => OF_NUMBER + 4 * bytes.len(),
            Self::List(bytes) | Self::Map(bytes) => OF_NUMBER + OF_JSON.saturating_mul(bytes.len()),
        }
    }

    /// The value as the text in which patterns are looked for, as the Collector's `IsMatch` has it: bytes are hexadecimal, and lists
    /// and maps JSON that can stand in HTML. `None` where nothing is, for what JSON can't hold, and for lists and maps of more than
    /// 64 KiB.
    pub fn pattern_text(&self) -> Option<Cow<'a, str>> {
        match *self {
            Self::Empty | Self::Bytes(&[]) => None,
            Self::Double(number) if !number.is_finite() => None,
            Self::Text(_) | Self::Bool(_) | Self::Int(_) | Self::Double(_) => Some(self.text()),
            Self::Bytes(bytes) => Some(Cow::Owned(hex_simd::encode_to_string(bytes, AsciiCase::Lower))),
            Self::List(bytes) | Self::Map(bytes) if bytes.len() > LARGEST_WITH_PATTERNS => None,
            Self::List(_) | Self::Map(_) => {
                let mut json = String::new();
                self.put_json(&mut json)?;
                // These stand in texts alone.
                for (char, escaped) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")] {
                    if json.contains(char) {
                        json = json.replace(char, escaped);
                    }
                }
                Some(Cow::Owned(json))
            }
        }
    }

    /// Whether it has values in it, which may be encoded in several ways.
    pub(super) fn is_list_or_map(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// What tells one value from another: doubles by their bits, lists and maps as they are encoded.
    fn identity(&self) -> (u8, u64, &'a [u8]) {
        match *self {
            Self::Empty => (0, 0, &[]),
            Self::Text(text) => (1, 0, text.as_bytes()),
            Self::Bool(flag) => (2, u64::from(flag), &[]),
            Self::Int(number) => (3, number as u64, &[]),
            Self::Double(number) => (4, number.to_bits(), &[]),
            Self::Bytes(bytes) => (5, 0, bytes),
            Self::List(bytes) => (6, 0, bytes),
            Self::Map(bytes) => (7, 0, bytes),
        }
    }

    fn put_json(&self, out: &mut String) -> Option<()> {
        match *self {
            // As in Go, no bytes are nothing.
            Self::Empty | Self::Bytes(&[]) => out.push_str("null"),
            Self::Text(text) => put_json_text(text, out),
            Self::Double(number) if !number.is_finite() => return None,
            Self::Bool(_) | Self::Int(_) | Self::Double(_) => out.push_str(&self.text()),
            Self::Bytes(bytes) => put_json_text(&STANDARD.encode_to_string(bytes), out),
            Self::List(bytes) => {
                out.push('[');
                for (nth, item) in items(bytes).enumerate() {
                    out.push_str(if nth == 0 { "" } else { "," });
                    Self::of(item).put_json(out)?;
                }
                out.push(']');
            }
            Self::Map(bytes) => {
                // In the order of the keys, of which the last counts.
                let mut pairs: BTreeMap<&str, Self> = BTreeMap::new();
                // Unlike a map that is collected, one that is extended has each key once at any time.
                pairs.extend(items(bytes).map(|pair| (text(key(pair)), Self::of_pair(pair))));
                out.push('{');
                for (nth, (key, value)) in pairs.into_iter().enumerate() {
                    out.push_str(if nth == 0 { "" } else { "," });
                    put_json_text(key, out);
                    out.push(':');
                    value.put_json(out)?;
                }
                out.push('}');
            }
        }
        Some(())
    }
}

impl PartialEq for ReadValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ReadValue<'_> {}

impl Hash for ReadValue<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The key of an encoded `KeyValue`: the last one, if there are several.
pub(super) fn key(pair: &[u8]) -> &[u8] {
    items(pair).last().unwrap_or_default()
}

/// The contents of the length-delimited fields with the number 1.
fn items(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    Sound::of(message).filter(|(number, _)| *number == 1).filter_map(|(_, value)| value.delimited())
}

/// A string of a validated message.
pub(super) fn text(bytes: &[u8]) -> &str {
    simdutf8::basic::from_utf8(bytes).unwrap_or_default()
}

/// The shortest decimal that reads back, with an exponent where it is very small or very large.
fn double(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        if size < 1.0 { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    }
}

fn put_json_text(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..'\u{20}' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(char)).expect("writing to a String can't fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use prost::Message as _;

    use super::*;

    fn as_text(value: Any) -> String {
        ReadValue::of(&AnyValue { value: Some(value) }.encode_to_vec()).text().into_owned()
    }

    #[test]
    fn numbers_are_written_as_the_collector_writes_them() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (100_000_000_000_000_000_000.0, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e300, "-1.25e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_12, "1.2e-7"),
            (1e-10, "1e-10"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(as_text(Any::DoubleValue(number)), expected);
        }
        assert_eq!(as_text(Any::IntValue(i64::MIN)), "-9223372036854775808");
    }

    #[test]
    fn lists_and_maps_are_json_with_sorted_keys_and_leave_nothing_if_json_can_not_hold_them() {
        let of = |value| AnyValue { value };
        let pair =
            |key: &str, value| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() };
        let text = Any::StringValue("<\"é\u{2028}\u{1}\u{7f}\n>".to_owned());
        let list = Any::ArrayValue(ArrayValue {
            values: vec![of(Some(text)), of(None), of(Some(Any::BytesValue(vec![1, 2])))],
        });
        let map = |last: f64| {
            Any::KvlistValue(KeyValueList {
                values: vec![
                    pair("b", of(Some(list.clone()))),
                    pair("a", of(Some(Any::BoolValue(true)))),
                    pair("a", of(Some(Any::DoubleValue(last)))),
                ],
            })
        };
        assert_eq!(
            as_text(map(1e21)),
            "{\"a\":1e+21,\"b\":[\"<\\\"é\\u2028\\u0001\u{7f}\\n>\",null,\"AQI=\"]}"
        );
        assert_eq!(as_text(map(f64::NAN)), "");
        assert_eq!(as_text(Any::ArrayValue(ArrayValue::default())), "[]");
    }

    #[test]
    fn patterns_are_looked_for_in_the_text_that_is_match_of_the_collector_makes() {
        let of = |value: Any| {
            let encoded = AnyValue { value: Some(value) }.encode_to_vec();
            ReadValue::of(&encoded).pattern_text().map(Cow::into_owned)
        };
        let list = |texts: &[&str]| {
            let text = |text: &&str| AnyValue { value: Some(Any::StringValue((*text).to_owned())) };
            Any::ArrayValue(ArrayValue { values: texts.iter().map(text).collect() })
        };
        for (value, expected) in [
            (Any::StringValue(String::new()), Some("")),
            (Any::StringValue("a<\n".to_owned()), Some("a<\n")),
            (Any::IntValue(-5), Some("-5")),
            (Any::BoolValue(true), Some("true")),
            (Any::DoubleValue(5.0), Some("5")),
            (Any::DoubleValue(f64::NAN), None),
            (Any::BytesValue(vec![1, 0xab]), Some("01ab")),
            (Any::BytesValue(Vec::new()), None),
            (list(&["<a>", "&"]), Some(r#"["\u003ca\u003e","\u0026"]"#)),
            (Any::KvlistValue(KeyValueList::default()), Some("{}")),
            (list(&[&"x".repeat(LARGEST_WITH_PATTERNS)]), None),
        ] {
            assert_eq!(of(value.clone()).as_deref(), expected, "{value:?}");
        }
        assert_eq!(ReadValue::of(b"").pattern_text(), None);
    }
}
