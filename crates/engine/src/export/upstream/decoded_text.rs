//! A text in which escapes are read, and where each of its bytes is written.

use std::ops::Range;

use crate::terminal::is_obeyed;

/// Escapes within escapes that are read: JSON in a text of JSON has two.
const MOST_LEVELS: usize = 3;

/// Digits of a character's number, with leading zeros.
const MOST_DIGITS: usize = 8;

/// What escapes of HTML with a name stand for.
const ENTITIES: [(&str, char); 6] =
    [("&quot;", '"'), ("&apos;", '\''), ("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&nbsp;", ' ')];

/// A line in which some levels of escapes are read: those of JSON, HTML, URLs, and of what Go's `%q` and Rust's `{:?}` write.
#[derive(Debug)]
pub(super) struct DecodedText {
    /// The text, with one space in place of all that is white or obeyed by a terminal, as in a line.
    text: String,
    /// For each byte of the text, where the line has what it was made of.
    written: Vec<Range<usize>>,
}

impl DecodedText {
    /// A line as it is written and, as far as there are escapes, with one level more of them read each time: which of these whoever
    /// wrote the line has meant, nobody knows.
    pub(super) fn all_of(line: &str) -> Vec<Self> {
        let mut all = vec![Self::plain(line)];
        while all.len() <= MOST_LEVELS
            && let Some(decoded) = all.last().and_then(Self::decoded)
        {
            all.push(decoded);
        }
        all
    }

    fn plain(line: &str) -> Self {
        let places = line.char_indices().map(|(at, char)| at..at + char.len_utf8());
        let written = places.flat_map(|place| std::iter::repeat_n(place.clone(), place.len())).collect();
        Self { text: line.to_owned(), written }
    }

    /// The same with one more level of escapes read; nothing if there are none.
    fn decoded(&self) -> Option<Self> {
        let (mut text, mut written) = (String::with_capacity(self.text.len()), Vec::<Range<usize>>::new());
        let (mut at, mut has_escapes) = (0, false);
        while let Some(char) = self.text[at..].chars().next() {
            let escape = escape(&self.text[at..]);
            has_escapes |= escape.is_some();
            let (char, len) = escape.unwrap_or((char, char.len_utf8()));
            let place = self.place(at..at + len);
            at += len;
            let is_space = char.is_whitespace() || is_obeyed(char);
            if is_space && text.ends_with(' ') {
                written.last_mut().expect("each byte has a place").end = place.end;
            } else {
                text.push(if is_space { ' ' } else { char });
                written.resize(text.len(), place);
            }
        }
        has_escapes.then_some(Self { text, written })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where the line has a part of the text that is not empty.
    pub(super) fn place(&self, part: Range<usize>) -> Range<usize> {
        self.written[part.start].start..self.written[part.end - 1].end
    }

    /// As much of the text as stands before a place in the line.
    pub(super) fn before(&self, place: usize) -> &str {
        &self.text[..self.written.partition_point(|written| written.start < place)]
    }
}

/// The character that the escape at the beginning of a text stands for, and the bytes that it takes; nothing if there is none.
fn escape(text: &str) -> Option<(char, usize)> {
    match text.as_bytes().first()? {
        b'\\' => backslash(text),
        b'&' => entity(text),
        b'%' => bytes(text, "%"),
        _ => None,
    }
}

fn backslash(text: &str) -> Option<(char, usize)> {
    let char = match text.as_bytes().get(1)? {
        quoted @ (b'"' | b'\\' | b'/' | b'\'' | b'`') => char::from(*quoted),
        b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a' | b'0' => ' ',
        b'x' => return bytes(text, "\\x"),
        b'U' => return number(text, "\\U", 8).and_then(|(code, len)| Some((char::from_u32(code)?, len))),
        b'u' if text[2..].starts_with('{') => {
            let digits = digits(&text[3..], b'}')?;
            return Some((code_point(digits, 16)?, digits.len() + 4));
        }
        b'u' => return utf16(text),
        _ => return None,
    };
    Some((char, 2))
}

/// `\uXXXX`, and two of these for a character that needs both.
fn utf16(text: &str) -> Option<(char, usize)> {
    let (first, len) = number(text, "\\u", 4)?;
    if let Some(char) = char::from_u32(first) {
        return Some((char, len));
    }
    let (second, more) = number(&text[len..], "\\u", 4)?;
    let units = [first, second].map(|unit| u16::try_from(unit).unwrap_or_default());
    let char = char::decode_utf16(units).next()?.ok()?;
    Some((char, len + more))
}

/// A character whose bytes in UTF-8 are each written behind this.
fn bytes(text: &str, before: &str) -> Option<(char, usize)> {
    let (mut bytes, mut len) = (Vec::new(), 0);
    while bytes.len() < 4 {
        let (byte, more) = number(&text[len..], before, 2)?;
        bytes.push(u8::try_from(byte).ok()?);
        len += more;
        if let Ok(char) = std::str::from_utf8(&bytes) {
            return char.chars().next().map(|char| (char, len));
        }
    }
    None
}

fn entity(text: &str) -> Option<(char, usize)> {
    if let Some((name, char)) = ENTITIES.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((*char, name.len()));
    }
    let digits = digits(text.strip_prefix("&#")?, b';')?;
    let char = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => code_point(digits, 16),
        None => code_point(digits, 10),
    };
    Some((char?, digits.len() + 3))
}

/// What stands before this byte, unless that is longer than the number of a character.
fn digits(text: &str, end: u8) -> Option<&str> {
    text.bytes().take(MOST_DIGITS + 1).position(|byte| byte == end).and_then(|len| text.get(..len))
}

/// The character of this number.
fn code_point(digits: &str, radix: u32) -> Option<char> {
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)
}

/// So many hexadecimal digits behind what stands before them, and the bytes of both.
fn number(text: &str, before: &str, digits: usize) -> Option<(u32, usize)> {
    let digits = text.strip_prefix(before)?.get(..digits)?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
    Some((number, before.len() + digits.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        DecodedText::all_of(line).into_iter().map(|decoded| decoded.text).collect()
    }

    #[test]
    fn every_way_to_write_a_character_is_read() {
        for written in [
            r#"a\"b ü😀"#,
            r"a\u0022b\u0020\u00fc\ud83d\ude00",
            r"a\x22b\t\r\n\xc3\xbc\U0001f600",
            r"a\u{22}b\u{20}\u{fc}\u{1f600}",
            "a&quot;b&nbsp;&#252;&#x1F600;",
            "a%22b%20%C3%BC%f0%9f%98%80",
        ] {
            assert_eq!(texts(written)[1], "a\"b ü😀", "{written}");
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for written in
            [r"\", r"\q", r"\u12", r"\ud83d", r"\u{110000}", "&", "&#;", "%", "%2", "%ff", "%é", "\\ué"]
        {
            assert_eq!(texts(written), [written]);
        }
    }

    #[test]
    fn each_level_of_escapes_is_read_by_itself_and_every_byte_knows_its_place() {
        let line = r#"{"a":"{\"b\":\"c\\n \\td\"}"}"#;
        let all = DecodedText::all_of(line);
        let text: Vec<_> = all.iter().map(DecodedText::text).collect();
        assert_eq!(text, [line, r#"{"a":"{"b":"c\n \td"}"}"#, r#"{"a":"{"b":"c d"}"}"#]);
        let at = text[2].find("c d").unwrap();
        assert_eq!(&line[all[2].place(at..at + 3)], r"c\\n \\td");
        assert_eq!(&line[all[2].place(at + 1..at + 2)], r"\\n \\t");
        assert_eq!(all[2].before(line.find(r"\td").unwrap()), r#"{"a":"{"b":"c "#);
    }
}
