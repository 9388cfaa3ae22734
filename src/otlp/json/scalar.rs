//! Numbers, ids and bytes in JSON.

use super::super::schema::Kind;
use super::super::wire::Value;
use super::string;

/// Whether a value is what a field that is not set has.
pub(super) fn is_default(kind: Kind, value: Value<'_>) -> bool {
    match (kind, value) {
        (Kind::Message(_), _) => false,
        // Decoders keep the low 32 bits.
        (Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum, Value::Varint(value)) => value as u32 == 0,
        (_, Value::Varint(value)) => value == 0,
        // A negative zero is not the default.
        (_, Value::Fixed64(value)) => value == [0; 8],
        (_, Value::Fixed32(value)) => value == [0; 4],
        (_, Value::Delimited(bytes)) => bytes.is_empty(),
    }
}

/// Writes a value that is not a message. A wire type that is not that of the kind can't be in validated bytes.
pub(super) fn write(kind: Kind, value: Value<'_>, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::String, Value::Delimited(text)) => string::write(text, out),
        (Kind::Id(_), Value::Delimited(id)) => hex(id, out),
        (_, Value::Delimited(bytes)) => base64(bytes, out),
        (Kind::Double, Value::Fixed64(value)) => double(f64::from_le_bytes(value), out),
        (Kind::Sfixed64, Value::Fixed64(value)) => quoted(i64::from_le_bytes(value), out),
        (_, Value::Fixed64(value)) => quoted(u64::from_le_bytes(value), out),
        (_, Value::Fixed32(value)) => number(u32::from_le_bytes(value), out),
        (Kind::Bool, Value::Varint(0)) => out.extend_from_slice(b"false"),
        (Kind::Bool, Value::Varint(_)) => out.extend_from_slice(b"true"),
        (Kind::Int64, Value::Varint(value)) => quoted(value as i64, out),
        (Kind::Uint64, Value::Varint(value)) => quoted(value, out),
        (Kind::Uint32, Value::Varint(value)) => number(value as u32, out),
        (Kind::Sint32, Value::Varint(value)) => {
            let value = value as u32;
            number((value >> 1) as i32 ^ -((value & 1) as i32), out);
        }
        (_, Value::Varint(value)) => number(value as i32, out),
    }
}

fn number(value: impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a vector takes any bytes, and a number has no keys");
}

/// A 64-bit integer, which many JSON readers would round (rule 53).
pub(super) fn quoted(value: impl serde::Serialize, out: &mut Vec<u8>) {
    out.push(b'"');
    number(value, out);
    out.push(b'"');
}

fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        number(value, out);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

fn hex(id: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in id {
        out.extend_from_slice(&[DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
    }
    out.push(b'"');
}

/// Standard base64 with padding, as proto3 JSON has it.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |bits: u32| [18, 12, 6, 0].map(|shift| LETTERS[(bits >> shift & 63) as usize]);
    let (triples, rest) = bytes.as_chunks::<3>();
    out.push(b'"');
    for [a, b, c] in triples {
        out.extend_from_slice(&four(u32::from_be_bytes([0, *a, *b, *c])));
    }
    match rest {
        [a] => {
            out.extend_from_slice(&four(u32::from_be_bytes([0, *a, 0, 0]))[..2]);
            out.extend_from_slice(b"==");
        }
        [a, b] => {
            out.extend_from_slice(&four(u32::from_be_bytes([0, *a, *b, 0]))[..3]);
            out.push(b'=');
        }
        _ => {}
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: Kind, value: Value<'_>) -> String {
        let mut out = Vec::new();
        write(kind, value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64_is_padded_and_standard() {
        for (bytes, expected) in [
            (&b""[..], "\"\""),
            (b"f", "\"Zg==\""),
            (b"fo", "\"Zm8=\""),
            (b"foo", "\"Zm9v\""),
            (b"\xfb\xff\xbf", "\"+/+/\""),
        ] {
            assert_eq!(written(Kind::Bytes, Value::Delimited(bytes)), expected);
        }
    }

    #[test]
    fn rule_53_integers_of_64_bits_are_strings() {
        assert_eq!(written(Kind::Int64, Value::Varint(u64::MAX)), "\"-1\"");
        assert_eq!(written(Kind::Uint64, Value::Varint(u64::MAX)), "\"18446744073709551615\"");
        assert_eq!(written(Kind::Sfixed64, Value::Fixed64([0xff; 8])), "\"-1\"");
    }

    #[test]
    fn integers_of_32_bits_are_numbers_of_the_low_bits() {
        assert_eq!(written(Kind::Sint32, Value::Varint(3)), "-2");
        assert_eq!(written(Kind::Sint32, Value::Varint(u64::from(u32::MAX))), i32::MIN.to_string());
        assert_eq!(written(Kind::Enum, Value::Varint(u64::MAX)), "-1");
        assert_eq!(written(Kind::Uint32, Value::Varint(1 << 32 | 5)), "5");
    }

    #[test]
    fn doubles_that_json_has_no_number_for_are_strings() {
        for (value, expected) in [
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(written(Kind::Double, Value::Fixed64(value.to_le_bytes())), expected);
        }
    }
}
