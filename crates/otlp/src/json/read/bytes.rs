//! Bytes in JSON: hexadecimal for ids, base64 in all its dialects for the rest.

const NONE: u8 = u8::MAX;

/// What each byte stands for as a hexadecimal digit.
const HEX: [u8; 256] = table(&[(b"0123456789abcdef", 0), (b"ABCDEF", 10)]);

/// What each byte stands for in base64, standard or URL-safe: the two differ in two letters, and neither has the
/// other's.
const BASE64: [u8; 256] =
    table(&[(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 0), (b"-_", 62)]);

const fn table(alphabets: &[(&[u8], u8)]) -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut row = 0;
    while row < alphabets.len() {
        let (letters, first) = alphabets[row];
        let mut letter = 0;
        while letter < letters.len() {
            table[letters[letter] as usize] = first + letter as u8;
            letter += 1;
        }
        row += 1;
    }
    table
}

/// Decodes twice as many hexadecimal digits as `out` has bytes.
pub(super) fn hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, []) = text.as_chunks() else { return None };
    let mut all = 0;
    for ([high, low], byte) in pairs.iter().zip(out) {
        let (high, low) = (HEX[*high as usize], HEX[*low as usize]);
        all |= high | low;
        *byte = high << 4 | low;
    }
    (all < 16).then_some(())
}

/// Appends what base64 stands for; standard or URL-safe, with padding or without.
pub(crate) fn base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = match text {
        [unpadded @ .., b'=', b'='] | [unpadded @ .., b'='] if text.len().is_multiple_of(4) => unpadded,
        _ => text,
    };
    let bits = |letters: &[u8]| {
        letters.iter().try_fold(0_u32, |bits, letter| match BASE64[*letter as usize] {
            NONE => None,
            six => Some(bits << 6 | u32::from(six)),
        })
    };
    let (fours, rest) = text.as_chunks::<4>();
    for four in fours {
        out.extend_from_slice(&bits(four)?.to_be_bytes()[1..]);
    }
    match rest {
        [] => {}
        [_, _] => out.push((bits(rest)? >> 4) as u8),
        [_, _, _] => out.extend_from_slice(&((bits(rest)? >> 2) as u16).to_be_bytes()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        base64(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["A", "AAAAA", "=", "A===", "AA=A", "AA=", "A B=", "AAA*", "é==="] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn hex_takes_digits_of_either_case_and_nothing_else() {
        let mut id = [0; 4];
        assert_eq!(hex(b"00aBFf10", &mut id), Some(()));
        assert_eq!(id, [0, 0xab, 0xff, 0x10]);
        for text in [&b"0g000000"[..], b"0\xff000000", b"0000000", b"-0000000"] {
            assert_eq!(hex(text, &mut id), None);
        }
    }

    proptest! {
        #[test]
        fn base64_is_read_in_all_its_dialects(bytes: Vec<u8>) {
            for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                prop_assert_eq!(decoded(&engine.encode(&bytes)), Some(bytes.clone()));
            }
        }
    }
}
