//! The shape that nearly every attribute has on the wire, recognised without the tables.
//!
//! Attributes are most of the bytes of most requests, so the walks take this way where they can. A shape that is
//! not recognised is not wrong; it is left to the tables.

use super::wire;

/// The value of a plain attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain<'a> {
    /// A string.
    Text(&'a [u8]),
    /// An integer.
    Int(i64),
}

/// Reads the fields of a `KeyValue` that are a key shorter than 128 bytes and then a string shorter than 126 bytes
/// or an integer, each encoded in as few bytes as possible, and nothing else.
#[inline]
pub(super) fn attribute(bytes: &[u8]) -> Option<(&[u8], Plain<'_>)> {
    let [0x0a, key_len @ ..0x80, rest @ ..] = bytes else { return None };
    let (key, value) = rest.split_at_checked(*key_len as usize)?;
    let [0x12, value_len @ ..0x80, value @ ..] = value else { return None };
    if *value_len as usize != value.len() {
        return None;
    }
    match value {
        [0x0a, text_len, text @ ..] if *text_len as usize == text.len() => Some((key, Plain::Text(text))),
        [0x18, int @ ..] => match wire::varint(int) {
            Ok((int, [])) => Some((key, Plain::Int(int as i64))),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_string_or_an_integer_are_plain() {
        assert_eq!(attribute(b"\x0a\x01k\x12\x03\x0a\x01v"), Some((&b"k"[..], Plain::Text(b"v"))));
        assert_eq!(attribute(b"\x0a\x01k\x12\x03\x18\x80\x01"), Some((&b"k"[..], Plain::Int(128))));
    }

    #[test]
    fn other_shapes_are_left_to_the_tables() {
        for other in [
            &b""[..],
            b"\x0a\x01k",
            b"\x12\x03\x0a\x01v\x0a\x01k",
            b"\x0a\x01k\x12\x03\x18\x01\x02",
            b"\x0a\x01k\x12\x03\x0a\x02v",
            b"\x0a\x01k\x12\x03\x0a\x01v\x18\x01",
            b"\x0a\x01k\x12\x02\x10\x01",
        ] {
            assert_eq!(attribute(other), None, "{other:x?}");
        }
    }
}
