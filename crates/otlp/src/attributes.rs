//! The attributes of an encoded resource, which routes look at, and how those of any message are read.
//!
//! The message has been validated. Within an attribute protobuf's rule holds that the last value wins.

use super::plain::{self, Plain};
use super::read_value::{ReadValue, key, text};
use super::wire::{self, Fields, Sound, put_delimited};

/// The answer of [`find`] about one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Found<'a> {
    /// The message does not have the attribute.
    #[default]
    Absent,
    /// The value of the attribute.
    Value(ReadValue<'a>),
    /// The attribute occurs more than once, with different values. Two lists or maps are not compared, and count as different.
    Conflicting,
}

/// Looks the `wanted` attributes up in an encoded `Resource`, all in one go. `out` gets one answer for each, in
/// their order; it must be as long as `wanted`.
pub fn find<'a>(resource: &'a [u8], wanted: &[impl AsRef<str>], out: &mut [Found<'a>]) {
    assert_eq!(wanted.len(), out.len(), "one answer for each wanted attribute");
    out.fill(Found::Absent);
    for pair in Sound::of(resource).filter_map(key_value) {
        note(&pair, wanted, out);
    }
}

/// Adds what an encoded `KeyValue` says to the answers about the message that it is an attribute of.
pub(super) fn add<'a>(attribute: &'a [u8], wanted: &[impl AsRef<str>], out: &mut [Found<'a>]) {
    note(&KeyValue::of(attribute), wanted, out);
}

fn note<'a>(pair: &KeyValue<'a>, wanted: &[impl AsRef<str>], out: &mut [Found<'a>]) {
    for (wanted, found) in wanted.iter().zip(out) {
        if wanted.as_ref().as_bytes() == pair.key {
            *found = match (*found, pair.value()) {
                (Found::Absent, value) => Found::Value(value),
                (Found::Value(first), value) if first == value && !value.is_list_or_map() => *found,
                _ => Found::Conflicting,
            };
        }
    }
}

/// The encoded `Resource` with `text` as the only value of an attribute, which stands behind all others; `None` if it has that
/// and no other value of it already.
pub(super) fn stamped(resource: &[u8], name: &str, text: &str) -> Option<Vec<u8>> {
    let mut found = [Found::Absent];
    find(resource, &[name], &mut found);
    if found == [Found::Value(ReadValue::Text(text))] {
        return None;
    }
    let mut stamped = Vec::with_capacity(resource.len() + name.len() + text.len() + 32);
    for field in Fields::of(resource).map_while(Result::ok) {
        let is_former =
            key_value((field.number, field.value)).is_some_and(|pair| pair.key == name.as_bytes());
        if !is_former {
            stamped.extend_from_slice(field.raw);
        }
    }
    let mut value = Vec::with_capacity(text.len() + 8);
    put_delimited(&mut value, 1, text.as_bytes());
    let mut pair = Vec::with_capacity(name.len() + value.len() + 16);
    put_delimited(&mut pair, 1, name.as_bytes());
    put_delimited(&mut pair, 2, &value);
    put_delimited(&mut stamped, 1, &pair);
    Some(stamped)
}

/// A `KeyValue` taken apart.
struct KeyValue<'a> {
    key: &'a [u8],
    rest: UnreadValue<'a>,
}

/// The value of a `KeyValue`, which is read only when somebody asks for it.
enum UnreadValue<'a> {
    Plain(Plain<'a>),
    /// The whole `KeyValue`.
    Encoded(&'a [u8]),
}

/// A field of a resource, if it is an attribute.
fn key_value((number, value): (u32, wire::Value<'_>)) -> Option<KeyValue<'_>> {
    value.delimited().filter(|_| number == 1).map(KeyValue::of)
}

impl<'a> KeyValue<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match plain::attribute(bytes) {
            Some((key, plain)) => Self { key, rest: UnreadValue::Plain(plain) },
            None => Self { key: key(bytes), rest: UnreadValue::Encoded(bytes) },
        }
    }

    fn value(&self) -> ReadValue<'a> {
        match self.rest {
            UnreadValue::Plain(Plain::Text(bytes)) => ReadValue::Text(text(bytes)),
            UnreadValue::Plain(Plain::Int(value)) => ReadValue::Int(value),
            UnreadValue::Encoded(bytes) => ReadValue::of_pair(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1 as common;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    use super::*;

    #[test]
    fn a_stamp_takes_the_place_of_every_value_and_leaves_the_rest_as_it_is() {
        let pair = |key: &str, value| common::KeyValue {
            key: key.to_owned(),
            value: Some(common::AnyValue { value: Some(value) }),
            ..common::KeyValue::default()
        };
        let text = |key: &str, value: &str| pair(key, Any::StringValue(value.to_owned()));
        let of = |attributes: &[common::KeyValue]| Resource {
            attributes: attributes.to_vec(),
            dropped_attributes_count: 7,
            ..Resource::default()
        };
        let stamp =
            |attributes: &[common::KeyValue]| stamped(&of(attributes).encode_to_vec(), "tenant.id", "acme");
        let (other, right) = (text("service.name", "shop"), text("tenant.id", "acme"));
        for before in [
            vec![other.clone()],
            vec![text("tenant.id", "globex"), other.clone()],
            vec![right.clone(), other.clone(), text("tenant.id", "globex")],
            vec![pair("tenant.id", Any::IntValue(3)), other.clone()],
        ] {
            let after = Resource::decode(&*stamp(&before).unwrap()).unwrap();
            assert_eq!(after, of(&[other.clone(), right.clone()]), "{before:?}");
        }
        assert_eq!(stamp(&[right.clone(), other.clone()]), None, "it is there");
        assert_eq!(
            Resource::decode(&*stamped(b"", "tenant.id", "acme").unwrap()).unwrap().attributes,
            [right]
        );
    }

    fn resource(attributes: &[(&str, Any)]) -> Vec<u8> {
        let attributes = attributes.iter().map(|(key, value)| common::KeyValue {
            key: (*key).to_owned(),
            value: Some(common::AnyValue { value: Some(value.clone()) }),
            ..common::KeyValue::default()
        });
        Resource { attributes: attributes.collect(), dropped_attributes_count: 3, ..Resource::default() }
            .encode_to_vec()
    }

    fn string(value: &str) -> Any {
        Any::StringValue(value.to_owned())
    }

    #[test]
    fn a_value_has_the_type_that_it_was_sent_with() {
        let resource = resource(&[
            ("a", string("x")),
            ("b", Any::IntValue(-1)),
            ("c", Any::BoolValue(true)),
            ("d", Any::DoubleValue(1.0)),
            ("e", Any::StringValueStrindex(1)),
        ]);
        let expected = [
            ReadValue::Text("x"),
            ReadValue::Int(-1),
            ReadValue::Bool(true),
            ReadValue::Double(1.0),
            ReadValue::Empty,
        ];
        let mut out = [Found::Absent; 5];
        find(&resource, &["a", "b", "c", "d", "e"], &mut out);
        assert_eq!(out, expected.map(Found::Value));
    }

    #[test]
    fn find_tells_absent_present_and_conflicting_apart() {
        let resource = resource(&[
            ("same", Any::IntValue(1)),
            ("one", string("x")),
            ("differs", string("x")),
            ("same", Any::IntValue(1)),
            ("differs", string("y")),
            ("typed", string("1")),
            ("typed", Any::IntValue(1)),
            ("double", Any::DoubleValue(f64::NAN)),
            ("double", Any::DoubleValue(f64::NAN)),
        ]);
        let mut out = [Found::Absent; 6];
        find(&resource, &["none", "one", "same", "differs", "typed", "double"], &mut out);
        let expected = [
            Found::Absent,
            Found::Value(ReadValue::Text("x")),
            Found::Value(ReadValue::Int(1)),
            Found::Conflicting,
            Found::Conflicting,
            Found::Value(ReadValue::Double(f64::NAN)),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn the_last_key_and_the_last_value_of_an_attribute_win() {
        // KeyValue { value: { string_value: "x" }, key: "a", key: "b", value: { int_value: 7 }, value: {} }
        let pair = b"\x12\x03\x0a\x01x\x0a\x01a\x0a\x01b\x12\x02\x18\x07\x12\x00";
        let resource = [&[0x0a, pair.len() as u8][..], pair].concat();
        let mut out = [Found::Absent; 2];
        find(&resource, &["a", "b"], &mut out);
        assert_eq!(out, [Found::Absent, Found::Value(ReadValue::Int(7))]);
    }
}
