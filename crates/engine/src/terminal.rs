//! Characters that a terminal obeys, or that turn the direction of what stands around them: what comes from outside must not decide
//! how a line looks.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is not shown but obeyed.
pub fn is_obeyed(char: char) -> bool {
    char.is_control() || is_formatting(char)
}

/// Whether it ends a line, or changes in which direction text runs.
fn is_formatting(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text from outside, with escapes in place of all that a terminal obeys.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, is_obeyed, |char, out| out.extend(char.escape_default()))
}

/// JSON in one line, in the strings of which such characters may stand, with escapes of JSON in place of these.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    replaced(json, |char| is_obeyed(char) && char != '\n', put_four_digits)
}

/// A line that a formatter has made, which may have colours: with escapes, which JSON knows as well, in place of what would change
/// how it reads.
pub fn escaped_line(line: &str) -> Cow<'_, str> {
    replaced(line, is_formatting, put_four_digits)
}

fn put_four_digits(char: char, out: &mut String) {
    write!(out, "\\u{:04x}", u32::from(char)).expect("writing to a String can't fail");
}

fn replaced(text: &str, is: impl Fn(char) -> bool, put: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is(char) { put(char, &mut out) } else { out.push(char) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_obeyed_is_written_as_an_escape_and_all_else_stays() {
        assert_eq!(escaped("a\u{1b}[2J\u{202e}b\n é\u{9b}"), r"a\u{1b}[2J\u{202e}b\n é\u{9b}");
        assert!(matches!(escaped("plain é 日本"), Cow::Borrowed(_)));
        let json = format!("{}\n", serde_json::json!({ "body": "\u{9b}\u{2066}x\n" }));
        assert_eq!(escaped_json(&json), "{\"body\":\"\\u009b\\u2066x\\n\"}\n");
        assert_eq!(
            escaped_line("\u{1b}[31mERROR\u{1b}[0m \u{202e}x\n"),
            "\u{1b}[31mERROR\u{1b}[0m \\u202ex\n"
        );
    }
}
