//! Regular expressions as a Collector reads them (RE2, in Go), in the words of the crate `regex`.
//!
//! Where the meanings of common expressions differ, a Collector's counts: `\d`, `\w`, `\s` and `\b` are of ASCII, and within
//! brackets `[`, `&&`, `--` and `~~` are characters.

/// Why a text is no regular expression, without the text itself.
pub(super) fn reason(error: &regex::Error) -> String {
    // The last line of the parser's message says why; the ones before repeat the pattern.
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Translates an expression for the crate `regex`. A text that is no expression stays none.
pub(super) fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match (chars.next(), in_brackets) {
                (Some('d'), _) => out.push_str("[0-9]"),
                (Some('D'), _) => out.push_str("[^0-9]"),
                (Some('w'), _) => out.push_str("[0-9A-Za-z_]"),
                (Some('W'), _) => out.push_str("[^0-9A-Za-z_]"),
                (Some('s'), _) => out.push_str(r"[\t\n\f\r ]"),
                (Some('S'), _) => out.push_str(r"[^\t\n\f\r ]"),
                (Some('b'), false) => out.push_str(r"(?-u:\b)"),
                (other, _) => {
                    out.push('\\');
                    out.extend(other);
                }
            },
            '[' if !in_brackets => {
                in_brackets = true;
                out.push('[');
                // A bracket that closes nothing yet is a character.
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // `[:alpha:]`
                out.push('[');
                for char in chars.by_ref() {
                    out.push(char);
                    if char == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_brackets => out.extend(['\\', char]),
            ']' if in_brackets => {
                in_brackets = false;
                out.push(']');
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn an_expression_means_what_it_means_in_a_collector() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"^[\w.]+$", "a.b_1", true),
            (r"^[^\W]$", "a", true),
            (r"^[^\W]$", "-", false),
            (r"^\S\s$", "é ", true),
            (r"a\b", "aé", true),
            ("^[a[]$", "[", true),
            ("^[]a]$", "]", true),
            ("^[^]a]$", "b", true),
            ("^[a&&b]$", "&", true),
            ("^[[:alpha:]_]$", "_", true),
            (r"^\[\\$", r"[\", true),
            (r"^[\]]$", "]", true),
            ("(?i)^PassWord$", "password", true),
        ] {
            let translated = translated(pattern);
            let regex = Regex::new(&translated).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), matches, "{pattern} as {translated} in {text}");
        }
        for pattern in ["(", "[a", r"a\", "*"] {
            assert!(Regex::new(&translated(pattern)).is_err(), "{pattern}");
        }
    }
}
