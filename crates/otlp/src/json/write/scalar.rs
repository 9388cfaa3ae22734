//! Numbers, ids and bytes in JSON.

use base64_simd::STANDARD;
use hex_simd::AsciiCase;

use crate::schema::FieldKind;
use crate::wire::Value;

/// Whether a value is what a field that is not set has.
pub(super) fn is_default(kind: FieldKind, value: Value<'_>) -> bool {
    match (kind, value) {
        (FieldKind::Message(_), _) => false,
        // Decoders keep the low 32 bits.
        (
            FieldKind::Int32 | FieldKind::Uint32 | FieldKind::Sint32 | FieldKind::Enum,
            Value::Number(value),
        ) => value as u32 == 0,
        // A negative zero, which has a bit set, is not the default.
        (_, Value::Number(value)) => value == 0,
        (_, Value::Delimited(bytes)) => bytes.is_empty(),
    }
}

/// Writes a number as its kind wants it.
pub(super) fn number(kind: FieldKind, value: u64, out: &mut Vec<u8>) {
    match kind {
        // The counts of buckets are small, and many.
        FieldKind::Fixed64 | FieldKind::Uint64 if value < 10 => {
            out.extend_from_slice(&[b'"', b'0' + value as u8, b'"']);
        }
        FieldKind::Fixed64 | FieldKind::Uint64 => quoted(value, out),
        FieldKind::Sfixed64 | FieldKind::Int64 => quoted(value as i64, out),
        FieldKind::Double => double(f64::from_bits(value), out),
        FieldKind::Bool => out.extend_from_slice(if value == 0 { b"false" } else { b"true" }),
        FieldKind::Fixed32 | FieldKind::Uint32 => plain(value as u32, out),
        FieldKind::Sint32 => {
            let value = value as u32;
            plain((value >> 1) as i32 ^ -((value & 1) as i32), out);
        }
        FieldKind::Int32 | FieldKind::Enum => plain(value as i32, out),
        // Not numbers: validated bytes have none here.
        FieldKind::String | FieldKind::Bytes | FieldKind::Id(_) | FieldKind::Message(_) => {
            out.extend_from_slice(b"null");
        }
    }
}

fn plain(value: impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a vector takes any bytes, and a number has no keys");
}

/// A 64-bit integer, which many JSON readers would round (rule 53).
pub(super) fn quoted(value: impl serde::Serialize, out: &mut Vec<u8>) {
    out.push(b'"');
    plain(value, out);
    out.push(b'"');
}

fn double(value: f64, out: &mut Vec<u8>) {
    /// Below this a double that is whole is written with all its digits.
    const SHORT: f64 = 1e15;
    let whole = value as i64;
    if value.abs() < SHORT && (whole as f64).to_bits() == value.to_bits() {
        // Quicker than the search for the shortest digits, and the same.
        plain(whole, out);
        out.extend_from_slice(b".0");
    } else if value.is_finite() {
        plain(value, out);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// An id in hex (rule 49).
pub(super) fn hex(id: &[u8], out: &mut Vec<u8>) {
    // The library would reserve room for this id alone.
    out.reserve(2 * id.len() + 2);
    out.push(b'"');
    hex_simd::encode_append(id, out, AsciiCase::Lower);
    out.push(b'"');
}

/// Bytes in standard base64 with padding, as proto3 JSON has it.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(b'"');
    STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn written(kind: FieldKind, value: u64) -> String {
        text(|out| number(kind, value, out))
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
            assert_eq!(text(|out| base64(bytes, out)), expected);
        }
    }

    #[test]
    fn rule_53_integers_of_64_bits_are_strings() {
        assert_eq!(written(FieldKind::Int64, u64::MAX), "\"-1\"");
        assert_eq!(written(FieldKind::Uint64, u64::MAX), "\"18446744073709551615\"");
        assert_eq!(written(FieldKind::Sfixed64, u64::MAX), "\"-1\"");
    }

    #[test]
    fn integers_of_32_bits_are_numbers_of_the_low_bits() {
        assert_eq!(written(FieldKind::Sint32, 3), "-2");
        assert_eq!(written(FieldKind::Sint32, u64::from(u32::MAX)), i32::MIN.to_string());
        assert_eq!(written(FieldKind::Enum, u64::MAX), "-1");
        assert_eq!(written(FieldKind::Uint32, 1 << 32 | 5), "5");
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
            assert_eq!(written(FieldKind::Double, value.to_bits()), expected);
        }
    }

    #[test]
    fn whole_doubles_are_written_as_all_others() {
        for value in
            [0.0, -0.0, 1.0, -17.0, 1e14, 999_999_999_999_999.0, 1e15, -1e15, 1e16, 9_007_199_254_740_993.0]
        {
            assert_eq!(
                written(FieldKind::Double, f64::to_bits(value)),
                serde_json::to_string(&value).unwrap()
            );
        }
    }

    proptest! {
        #[test]
        fn every_double_reads_back_exactly(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let text = written(FieldKind::Double, value.to_bits());
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
