//! The byte order mark of UTF-8, which some editors and encoders write before a text. It is no part of the text.

const MARK: char = '\u{feff}';

/// The text behind the mark, if there is one.
pub fn strip(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The same for what may not be text.
pub(crate) fn strip_bytes(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK.encode_utf8(&mut [0; 4]).as_bytes()).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_stripped_from_the_beginning_alone() {
        for (text, stripped) in
            [("\u{feff}{}", "{}"), ("{}\u{feff}", "{}\u{feff}"), ("", ""), ("\u{feff}\u{feff}", "\u{feff}")]
        {
            assert_eq!(strip(text), stripped);
            assert_eq!(strip_bytes(text.as_bytes()), stripped.as_bytes());
        }
        assert_eq!(strip_bytes(b"\xef\xbb"), b"\xef\xbb");
    }
}
