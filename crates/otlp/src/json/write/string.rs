//! Strings in JSON.

/// Writes a string, which is UTF-8, in quotes.
#[inline]
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    content(text, out);
    out.push(b'"');
}

/// Writes what stands between the quotes.
#[inline]
pub(super) fn content(text: &[u8], out: &mut Vec<u8>) {
    if is_clean(text) {
        out.extend_from_slice(text);
    } else {
        escaped(text, out);
    }
}

/// Writes a string that needs escapes, and copies what is between them in runs.
#[inline(never)]
fn escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(position) = rest.iter().position(|byte| needs_escape(*byte)) {
        out.extend_from_slice(&rest[..position]);
        escape(rest[position], out);
        rest = &rest[position + 1..];
    }
    out.extend_from_slice(rest);
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether no byte needs an escape, which holds for nearly all strings; in words rather than bytes.
#[inline]
fn is_clean(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return !text.iter().fold(false, |found, byte| found | needs_escape(*byte));
    };
    let (words, _) = text.as_chunks();
    words.iter().fold(escapes_in(*last), |found, word| found | escapes_in(*word)) == 0
}

/// Not 0 if one of eight bytes needs an escape.
#[inline]
fn escapes_in(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_ne_bytes(word);
    // The high bit of a byte is set if the byte is below `limit`; a borrow may set it in the byte above such a one.
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_that_needs_an_escape_is_noticed_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for position in 0..20 {
                let mut text = *b"abcdefghijklmnopqr~~";
                text[position] = byte;
                assert_eq!(is_clean(&text), !needs_escape(byte), "{byte:#x} at {position}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_string_reads_back(text in "[\\x00-\\x7f\"\\\\é水🦀]{0,80}") {
            let mut out = Vec::new();
            write(text.as_bytes(), &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
