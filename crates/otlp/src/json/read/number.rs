//! Numbers in JSON: what is one, and the integer or double that it means, exactly.

use crate::Reason;
use crate::schema::FieldKind;

/// Longest run of digits that always fits in 64 bits.
const DIGITS: usize = 19;

/// A whole number of up to 19 digits, which nearly all integers are, and what follows it.
#[inline]
pub(super) fn whole(text: &[u8]) -> Option<(u64, &[u8])> {
    let (value, rest) = digits(0, text);
    // Leading zeros are not JSON; a number in a string may have them, and is not read here.
    let len = text.len() - rest.len();
    let is_whole = (1..=DIGITS).contains(&len)
        && (text[0] != b'0' || len == 1)
        && !matches!(rest, [b'.' | b'e' | b'E', ..]);
    is_whole.then_some((value, rest))
}

/// The digits of `before` and those at the start of `text` as one number, and what follows them. It wraps around where it has
/// more than [`DIGITS`] digits.
#[inline]
fn digits(before: u64, text: &[u8]) -> (u64, &[u8]) {
    let (mut value, mut rest) = (before, text);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = after;
    }
    (value, rest)
}

/// A double without an exponent and of up to 15 digits or so, which most are, and what follows it.
///
/// An integer below 2^53 and a power of ten below 10^23 are doubles exactly, so that their quotient is the double
/// nearest to the number (Clinger, "How to read floating point numbers accurately").
#[inline]
pub(super) fn short_double(text: &[u8]) -> Option<(f64, &[u8])> {
    const POWERS: [f64; DIGITS + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19,
    ];
    let (negative, unsigned) = match text {
        [b'-', unsigned @ ..] => (true, unsigned),
        _ => (false, text),
    };
    let (mut value, mut rest) = digits(0, unsigned);
    let whole = unsigned.len() - rest.len();
    let mut fraction = 0;
    if let [b'.', behind @ ..] = rest {
        (value, rest) = digits(value, behind);
        fraction = behind.len() - rest.len();
        if fraction == 0 {
            return None;
        }
    }
    let is_plain = whole > 0 && (whole == 1 || unsigned[0] != b'0') && !matches!(rest, [b'e' | b'E', ..]);
    if !is_plain || whole + fraction > DIGITS || value > 1 << 53 {
        return None;
    }
    let value = value as f64 / POWERS[fraction];
    Some((if negative { -value } else { value }, rest))
}

/// Splits off a number as JSON's grammar has it.
pub(super) fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut len = usize::from(text.first() == Some(&b'-'));
    len += match digits(&text[len..]) {
        0 => return None,
        _ if text[len] == b'0' => 1,
        count => count,
    };
    if text.get(len) == Some(&b'.') {
        match digits(&text[len + 1..]) {
            0 => return None,
            count => len += 1 + count,
        }
    }
    if let Some(b'e' | b'E') = text.get(len) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        match digits(&text[len + 1 + sign..]) {
            0 => return None,
            count => len += 1 + sign + count,
        }
    }
    Some(text.split_at(len))
}

/// The number that a string holds for an integer type. In strings a Collector takes leading zeros, and a plus where there
/// could be a minus; JSON's grammar has neither.
pub(super) fn in_string(kind: FieldKind, text: &[u8]) -> Option<&[u8]> {
    let is_signed =
        matches!(kind, FieldKind::Int32 | FieldKind::Int64 | FieldKind::Sint32 | FieldKind::Sfixed64);
    let positive = text.strip_prefix(b"+").filter(|_| is_signed);
    let number = positive.unwrap_or(text);
    let mut digits = number.strip_prefix(b"-").filter(|_| positive.is_none()).unwrap_or(number);
    while let [b'0', b'0'..=b'9', ..] = digits {
        digits = &digits[1..];
    }
    match (digits, token(digits)) {
        ([b'0'..=b'9', ..], Some((_, []))) => Some(number),
        _ => None,
    }
}

/// The integer that a number stands for, be it written `1000`, `1e3` or `1000.0`.
pub(super) fn integer(token: &[u8]) -> Result<i128, Reason> {
    let (negative, unsigned) = match token {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, token),
    };
    let end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let (digits, exponent) = unsigned.split_at(end);
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let significant =
        |range: &[u8]| range.iter().filter(|byte| **byte != b'.').position(|digit| *digit != b'0');
    let Some(leading) = significant(digits) else { return Ok(0) };
    let count = digits.len() - usize::from(point < digits.len());
    let trailing = digits.iter().rev().filter(|byte| **byte != b'.').position(|digit| *digit != b'0');
    let trailing = trailing.unwrap_or(0);
    // The value is the significant digits with `zeros` zeros behind them.
    let zeros = power(exponent) + point as i64 - (count - trailing) as i64;
    let len = count - leading - trailing;
    if zeros < 0 {
        return Err(Reason::NotWhole);
    }
    if len as i64 + zeros > 20 {
        return Err(Reason::OutOfRange);
    }
    let digits = digits.iter().filter(|byte| **byte != b'.').skip(leading).take(len);
    let value =
        digits.fold(0, |value, digit| value * 10 + i128::from(digit - b'0')) * 10_i128.pow(zeros as u32);
    Ok(if negative { -value } else { value })
}

/// The number behind the `e`; 0 if there is none, and far beyond any type's range if it is longer than seven digits.
fn power(exponent: &[u8]) -> i64 {
    let (negative, digits) = match exponent {
        [_, b'-', digits @ ..] => (true, digits),
        [_, b'+', digits @ ..] | [_, digits @ ..] => (false, digits),
        [] => return 0,
    };
    // A document has fewer than 2^32 digits, so that no number of them makes up for this.
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    if negative { -value } else { value }
}

/// The double that a number stands for, or a string in which `NaN` and `Infinity` may stand.
pub(super) fn double(text: &[u8]) -> Result<f64, Reason> {
    let value: f64 = fast_float2::parse(text).map_err(|_| Reason::NotANumber)?;
    if value.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return Err(Reason::OutOfRange);
    }
    Ok(value)
}

/// The varint or the bits that stand for an integer on the wire, if it is in the type's range.
#[inline]
pub(super) fn encode(kind: FieldKind, value: i128) -> Option<u64> {
    match kind {
        FieldKind::Int64 | FieldKind::Sfixed64 => i64::try_from(value).ok().map(|value| value as u64),
        FieldKind::Uint64 | FieldKind::Fixed64 => u64::try_from(value).ok(),
        FieldKind::Int32 | FieldKind::Enum => i32::try_from(value).ok().map(|value| i64::from(value) as u64),
        FieldKind::Uint32 | FieldKind::Fixed32 => u32::try_from(value).ok().map(u64::from),
        FieldKind::Sint32 => {
            let value = i32::try_from(value).ok()?;
            Some(u64::from((value << 1 ^ value >> 31) as u32))
        }
        FieldKind::Bool
        | FieldKind::Double
        | FieldKind::String
        | FieldKind::Bytes
        | FieldKind::Id(_)
        | FieldKind::Message(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_ends_where_its_digits_end() {
        assert_eq!(whole(b"0,"), Some((0, &b","[..])));
        assert_eq!(whole(b"1760000000000000000\"}"), Some((1_760_000_000_000_000_000, &b"\"}"[..])));
        assert_eq!(whole(b"9999999999999999999"), Some((9_999_999_999_999_999_999, &b""[..])));
        for other in
            [&b""[..], b"-1", b"01", b"1.0", b"1e3", b"12345678901234567890", b"00000000000000001", b"a"]
        {
            assert_eq!(whole(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_token_is_what_the_grammar_of_json_says() {
        for number in ["0", "-0", "10", "1.50", "1e3", "1E+3", "-1.25e-3", "123456789012345678901234567890"] {
            for end in ["", ",", "}", " "] {
                let text = format!("{number}{end}");
                assert_eq!(token(text.as_bytes()), Some((number.as_bytes(), end.as_bytes())));
            }
        }
        assert_eq!(token(b"01"), Some((&b"0"[..], &b"1"[..])));
        for other in ["", "-", "+1", ".5", "1.", "1e", "1e+", "-a", "NaN", "Infinity"] {
            assert_eq!(token(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_integer_in_a_string_may_have_leading_zeros_and_a_plus_if_it_may_have_a_minus() {
        for (text, value) in
            [("7", 7), ("007", 7), ("000", 0), ("-007", -7), ("+7", 7), ("+007", 7), ("007.0", 7)]
        {
            let number = in_string(FieldKind::Int64, text.as_bytes()).expect(text);
            assert_eq!(integer(number), Ok(value), "{text}");
        }
        for text in ["", "+", "-", "+-7", "-+7", "--7", "0x7", "1_0", " 7", "7 ", "00a"] {
            assert_eq!(in_string(FieldKind::Int64, text.as_bytes()), None, "{text}");
        }
        assert_eq!(in_string(FieldKind::Fixed64, b"+7"), None, "as in a Collector");
        assert_eq!(in_string(FieldKind::Fixed64, b"007"), Some(&b"007"[..]));
    }

    #[test]
    fn integers_may_be_written_with_exponent_or_fraction_if_they_are_whole() {
        for (text, value) in [
            ("1e3", 1000),
            ("200.0", 200),
            ("2e2", 200),
            ("-1.5e1", -15),
            ("12000e-3", 12),
            ("0.001e3", 1),
            ("0e999999999999", 0),
            ("0.000", 0),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("1.8446744073709551615e19", i128::from(u64::MAX)),
            ("100e-2", 1),
        ] {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text}");
        }
        for text in ["1.5", "1e-1", "0.1", "1e-999999999999", "10.01e1"] {
            assert_eq!(integer(text.as_bytes()), Err(Reason::NotWhole), "{text}");
        }
        for text in ["1e21", "1e999999999999999999999", "1234567890123456789012"] {
            assert_eq!(integer(text.as_bytes()), Err(Reason::OutOfRange), "{text}");
        }
    }

    #[test]
    fn every_integer_type_has_its_range() {
        for (kind, min, max) in [
            (FieldKind::Int32, i128::from(i32::MIN), i128::from(i32::MAX)),
            (FieldKind::Enum, i128::from(i32::MIN), i128::from(i32::MAX)),
            (FieldKind::Sint32, i128::from(i32::MIN), i128::from(i32::MAX)),
            (FieldKind::Uint32, 0, i128::from(u32::MAX)),
            (FieldKind::Fixed32, 0, i128::from(u32::MAX)),
            (FieldKind::Int64, i128::from(i64::MIN), i128::from(i64::MAX)),
            (FieldKind::Sfixed64, i128::from(i64::MIN), i128::from(i64::MAX)),
            (FieldKind::Uint64, 0, i128::from(u64::MAX)),
            (FieldKind::Fixed64, 0, i128::from(u64::MAX)),
        ] {
            assert!(encode(kind, min).is_some() && encode(kind, max).is_some(), "{kind:?}");
            assert_eq!((encode(kind, min - 1), encode(kind, max + 1)), (None, None), "{kind:?}");
        }
    }

    #[test]
    fn doubles_are_numbers_within_range_or_the_named_ones() {
        assert!(double(b"NaN").unwrap().is_nan());
        assert_eq!(double(b"-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(double(b"1.5e300"), Ok(1.5e300));
        assert_eq!(double(b"1e-400"), Ok(0.0));
        assert_eq!(double(b"1e400"), Err(Reason::OutOfRange));
        assert_eq!(double(b"twelve"), Err(Reason::NotANumber));
        assert_eq!(double(b"\xff"), Err(Reason::NotANumber));
    }

    #[test]
    fn a_short_double_ends_where_its_digits_end() {
        assert_eq!(short_double(b"0.5,"), Some((0.5, &b","[..])));
        assert_eq!(short_double(b"-12]"), Some((-12.0, &b"]"[..])));
        assert!(short_double(b"-0").is_some_and(|(value, _)| value.is_sign_negative()));
        assert_eq!(short_double(b"9007199254740992"), Some((9_007_199_254_740_992.0, &b""[..])));
        for other in
            [&b""[..], b"-", b".5", b"1.", b"1.e", b"01", b"1e3", b"1.5E1", b"9007199254740993", b"NaN"]
        {
            assert_eq!(short_double(other), None, "{}", other.escape_ascii());
        }
        assert_eq!(
            short_double(b"18446744073709551617"),
            None,
            "two to the 64th and one wraps around to one"
        );
        assert_eq!(short_double(b"0.00000000000000000001"), None);
    }

    proptest! {
        #[test]
        fn a_double_is_the_one_that_std_reads(text in "[-+]?[0-9]{0,25}[.]?[0-9]{0,25}([eE][-+]?[0-9]{0,3})?|[-+]?[a-zA-Z]{0,8}", bits: u64) {
            for text in [text, f64::from_bits(bits).to_string(), format!("{:e}", f64::from_bits(bits))] {
                let std: Option<f64> = text.parse().ok();
                let std = std.filter(|value| value.is_finite() || !text.contains(|digit: char| digit.is_ascii_digit()));
                let read = double(text.as_bytes()).ok();
                prop_assert_eq!(read.map(f64::to_bits), std.map(f64::to_bits), "{}", text);
            }
        }

        #[test]
        fn a_short_double_is_the_one_that_std_reads(whole in 0..1_000_000_000_u64, fraction in "(\\.[0-9]{1,12})?") {
            let text = format!("{whole}{fraction}");
            if let Some((value, rest)) = short_double(text.as_bytes()) {
                prop_assert_eq!(rest, b"");
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn whole_reads_every_number_of_19_digits(value in 0..10_u64.pow(19), shift in 0..64_u32) {
            let value = value >> shift;
            let text = format!("{value},");
            prop_assert_eq!(whole(text.as_bytes()), Some((value, &b","[..])));
        }

        #[test]
        fn integers_are_exact_however_they_are_written(value: i64, point in 0..25_usize) {
            let text = format!("{value}");
            prop_assert_eq!(integer(text.as_bytes()), Ok(i128::from(value)));
            let scaled = format!("{value}{}e-{point}", "0".repeat(point));
            prop_assert_eq!(integer(scaled.as_bytes()), Ok(i128::from(value)));
            let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
            let fraction = format!("{sign}0.{}{digits}e{}", "0".repeat(point), digits.len() + point);
            prop_assert_eq!(integer(fraction.as_bytes()), Ok(i128::from(value)));
        }

        #[test]
        fn a_token_is_read_as_serde_reads_it(text in "-?[0-9]{0,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?") {
            let whole = token(text.as_bytes()).is_some_and(|(_, rest)| rest.is_empty());
            prop_assert_eq!(whole, serde_json::from_str::<f64>(&text).is_ok());
        }
    }
}
