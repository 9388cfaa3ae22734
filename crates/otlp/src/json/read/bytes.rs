//! Bytes in JSON: base64 in all its dialects.

use base64_simd::{STANDARD_NO_PAD, forgiving_decode_inplace};

/// How many letters are translated at a time; whole fours.
const PART: usize = 256;

/// Appends what base64 stands for; standard or URL-safe, with padding or without.
pub(crate) fn base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = match text {
        [unpadded @ .., b'=', b'='] | [unpadded @ .., b'='] if text.len().is_multiple_of(4) => unpadded,
        _ => text,
    };
    if STANDARD_NO_PAD.decode_append(text, out).is_ok() {
        return Some(());
    }
    // In URL-safe letters, or with a last letter that says more than the last byte holds: what the library forgives.
    let mut letters = [0; PART];
    for part in text.chunks(PART) {
        let letters = &mut letters[..part.len()];
        for (letter, sent) in letters.iter_mut().zip(part) {
            *letter = standard(*sent);
        }
        out.extend_from_slice(forgiving_decode_inplace(letters).ok()?);
    }
    Some(())
}

/// The letter of the standard alphabet; and one of no alphabet for padding and white space, which the library would pass over.
fn standard(letter: u8) -> u8 {
    match letter {
        b'-' => b'+',
        b'_' => b'/',
        b'=' | b' ' | b'\t' | b'\n' | b'\x0c' | b'\r' => b'*',
        other => other,
    }
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
        for text in
            ["A", "AAAAA", "=", "A===", "AA=A", "AA=", "A B=", "AA\nA", " AAAA", "AAA*", "AAA\0", "é==="]
        {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn bits_beyond_the_last_byte_say_nothing() {
        for (text, bytes) in
            [("QQ==", &b"A"[..]), ("QR==", b"A"), ("Qf", b"A"), ("QUI=", b"AB"), ("QUJ", b"AB")]
        {
            assert_eq!(decoded(text).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn letters_of_both_alphabets_may_stand_in_one_text() {
        assert_eq!(decoded("+/-_"), Some(vec![0xfb, 0xff, 0xbf]));
        let long = "+/-_".repeat(PART);
        assert_eq!(decoded(&long), Some([0xfb, 0xff, 0xbf].repeat(PART)));
        assert_eq!(decoded(&format!("{long}=AAA")), None);
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
