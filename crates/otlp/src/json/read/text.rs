//! JSON below any schema: white space, where strings end, and the text that they hold.

use crate::Reason;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// Leaves out white space.
#[inline]
pub(super) fn space(text: &[u8]) -> &[u8] {
    match text {
        [first, ..] if *first > b' ' => text,
        _ => skip_space(text),
    }
}

/// JSON's white space is narrower than ASCII's.
fn skip_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}

/// A string between its quotes, as it stands in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    /// The bytes between the quotes.
    pub(super) bytes: &'a [u8],
    /// Whether there are escapes, all of them well-formed.
    pub(super) escaped: bool,
    /// Whether there are only ASCII bytes.
    pub(super) ascii: bool,
}

/// A string and what follows it, or what is wrong, and where.
type Scanned<'a> = Result<(Raw<'a>, &'a [u8]), (Reason, &'a [u8])>;

/// Reads a string from behind its first quote to behind its last.
#[inline]
pub(super) fn string(text: &[u8]) -> Scanned<'_> {
    let (len, ascii) = run(text);
    match text.get(len) {
        Some(b'"') => Ok((Raw { bytes: &text[..len], escaped: false, ascii }, &text[len + 1..])),
        _ => escaped_string(text, len, ascii),
    }
}

/// As [`string`], from the first byte that is not simply itself.
#[cold]
fn escaped_string(text: &[u8], mut len: usize, mut ascii: bool) -> Scanned<'_> {
    loop {
        len += match &text[len..] {
            [] => return Err((Reason::Ended, &text[len..])),
            [b'"', rest @ ..] => return Ok((Raw { bytes: &text[..len], escaped: true, ascii }, rest)),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => 6,
            [b'\\', ..] => return Err((Reason::Escape, &text[len..])),
            _ => return Err((Reason::Control, &text[len..])),
        };
        let (more, clean) = run(&text[len..]);
        len += more;
        ascii &= clean;
    }
}

/// How many bytes stand before the first quote, backslash or control character, and whether all are ASCII.
#[inline]
fn run(text: &[u8]) -> (usize, bool) {
    let (mut rest, mut all) = (text, 0_u64);
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let found = specials_in(word);
        if found != 0 {
            let bits = found.trailing_zeros() & !7;
            all |= word & ((1 << bits) - 1);
            return (text.len() - rest.len() + bits as usize / 8, all & HIGHS == 0);
        }
        all |= word;
        rest = after;
    }
    let len = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    let tail = rest[..len].iter().fold(0, |all, byte| all | byte);
    (text.len() - rest.len() + len, all & HIGHS == 0 && tail < 0x80)
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Of eight bytes, of which the first is the lowest, sets the high bit of the first special one, and perhaps of
/// some above it.
#[inline]
fn specials_in(word: u64) -> u64 {
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHS
}

/// Appends what a string with well-formed escapes means. Otherwise the position of half a surrogate pair.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let mut rest = raw;
    while let Some(position) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..position]);
        let escape = &rest[position..];
        let (character, len) = character(escape).ok_or(raw.len() - escape.len())?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &escape[len..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character that an escape stands for, and the escape's length.
fn character(escape: &[u8]) -> Option<(char, usize)> {
    let short = match escape.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(escape)?;
            if let Some(character) = char::from_u32(first) {
                return Some((character, 6));
            }
            let second = unit(escape.get(6..)?)?;
            let character = char::decode_utf16([first as u16, second as u16]).next()?.ok()?;
            return Some((character, 12));
        }
        other => char::from(*other),
    };
    Some((short, 2))
}

/// The number in `\u0041`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}
