//! A tree written as YAML: block style, one key to a line.

use std::fmt::Write as _;

use super::node::{Node, NodeValue, Scalar};

/// Writes a key and its value on lines of their own.
pub(super) fn write_entry(key: &str, value: &Node, indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
    let is_word = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    out.push_str(&if is_word { key.to_owned() } else { quoted(key) });
    out.push(':');
    write_value(value, indent + 2, out);
}

/// Writes a value behind its key or dash; lines of its own are indented.
fn write_value(value: &Node, indent: usize, out: &mut String) {
    match &value.value {
        NodeValue::Scalar(scalar) => {
            out.push(' ');
            out.push_str(&written(scalar));
            out.push('\n');
        }
        NodeValue::Seq(items) if items.is_empty() => out.push_str(" []\n"),
        NodeValue::Seq(items) if is_short(items) => {
            let texts: Vec<&str> = items.iter().filter_map(Node::text).collect();
            writeln!(out, " [{}]", texts.join(", ")).expect("a text takes all that is written");
        }
        NodeValue::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        NodeValue::Seq(items) => {
            out.push('\n');
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                match item.entries() {
                    [] => write_value(item, indent + 2, out),
                    entries => {
                        // The first one stands behind the dash.
                        let mut lines = String::new();
                        for entry in entries {
                            write_entry(&entry.key, &entry.value, indent + 2, &mut lines);
                        }
                        out.push_str(&lines[indent + 1..]);
                    }
                }
            }
        }
        NodeValue::Map(entries) => {
            out.push('\n');
            for entry in entries {
                write_entry(&entry.key, &entry.value, indent, out);
            }
        }
    }
}

/// Whether a list fits into one line, with values that need no quotes.
fn is_short(items: &[Node]) -> bool {
    const LONGEST: usize = 80;
    let is_plain = |item: &Node| matches!(&item.value, NodeValue::Scalar(scalar) if scalar.plain && !scalar.is_null() && is_plain(&scalar.text));
    let length: usize = items.iter().filter_map(Node::text).map(|text| text.len() + 2).sum();
    length <= LONGEST && items.iter().all(is_plain)
}

/// A single value as it is written.
pub(super) fn written(scalar: &Scalar) -> String {
    if scalar.is_null() {
        "null".to_owned()
    } else if scalar.plain && is_plain(&scalar.text) {
        scalar.text.clone()
    } else {
        quoted(&scalar.text)
    }
}

/// Whether a text means the same without quotes in any place.
pub(super) fn is_plain(text: &str) -> bool {
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    number.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/+-".contains(&byte))
}

/// In double quotes, on one line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Characters that YAML takes for a line break, or ignores, or forbids.
            char if char.is_control() || "\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".contains(char) => {
                write!(out, "\\u{:04X}", u32::from(char)).expect("a text takes all that is written");
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}
