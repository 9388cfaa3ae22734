//! Queries as text, which is read as the same query again.

use std::fmt::{self, Write as _};

use super::pattern::{PatternPart, TextPattern};
use super::{Comparison, FieldTest, Query};

/// Words that mean something else.
pub(super) const KEYWORDS: [&str; 4] = ["AND", "OR", "NOT", "TO"];

/// Whether a character stands for itself in a word.
fn is_plain(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | '@' | '#' | '%' | '+')
}

fn is_plain_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) && !KEYWORDS.contains(&text)
}

/// Writes a word, in which a backslash stands before what would mean something else.
pub(super) fn put_word(word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, char) in word.char_indices() {
        if !is_plain(char) || (at == 0 && char == '-') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    Ok(())
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.literal() {
            if is_plain_word(text) {
                return f.write_str(text);
            }
            f.write_char('"')?;
            for char in text.chars() {
                if matches!(char, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(char)?;
            }
            return f.write_char('"');
        }
        for part in self.parts() {
            match part {
                PatternPart::Text(text) => put_word(text, f)?,
                PatternPart::Run => f.write_char('*')?,
                PatternPart::One => f.write_char('?')?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        })
    }
}

impl fmt::Display for FieldTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches(pattern) => pattern.fmt(f),
            Self::Compare(comparison, bound) => write!(f, "{comparison}{bound}"),
            Self::Between(from, to) => {
                let shown = |bound: &Option<super::QueryBound>| {
                    bound.as_ref().map_or_else(|| "..".to_owned(), ToString::to_string)
                };
                write!(f, "[{} TO {}]", shown(from), shown(to))
            }
        }
    }
}

/// Writes parts with a text `between` them, each in brackets where it would be read otherwise without.
fn put_joined(parts: &[Query], between: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (nth, part) in parts.iter().enumerate() {
        if nth > 0 {
            f.write_str(between)?;
        }
        if matches!(part, Query::And(_) | Query::Or(_)) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => Ok(()),
            Self::And(parts) => put_joined(parts, " ", f),
            Self::Or(parts) => put_joined(parts, " OR ", f),
            Self::Not(part) if matches!(**part, Self::And(_) | Self::Or(_)) => write!(f, "NOT ({part})"),
            Self::Not(part) => write!(f, "NOT {part}"),
            Self::Text(pattern) => pattern.fmt(f),
            Self::Field(field, test) => {
                put_word(&field.word(), f)?;
                write!(f, ":{test}")
            }
        }
    }
}
