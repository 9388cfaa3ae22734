//! Objects as a table of text: whatever single values they have, each under its name.

use std::io::{self, Write};

use serde_json::Value;

/// Between columns.
const GAP: &str = "  ";

/// Prints a line for each object, and one with the names of the columns above them. What is a list of single values stands with
/// commas; of what has a code and a message these are shown; what holds more is left out.
pub(super) fn write(rows: &[Value], out: &mut dyn Write) -> io::Result<()> {
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in rows.iter().filter_map(Value::as_object).flatten() {
        if !columns.contains(&name.as_str()) && cell(value).is_some() {
            columns.push(name);
        }
    }
    let header = columns.iter().map(|name| name.to_uppercase()).collect();
    let cells =
        rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name]).unwrap_or_default()).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join(GAP).trim_end())?;
    }
    Ok(())
}

/// What is shown of a value; `None` of one that holds others.
fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => {
            // A terminal would obey control characters.
            Some(text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect())
        }
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            Some(items.iter().filter_map(cell).collect::<Vec<_>>().join(","))
        }
        // Such as a problem, and why an attempt has failed.
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let words: Vec<_> = ["code", "message", "text"].into_iter().filter_map(text).collect();
            (!words.is_empty()).then(|| cell(&Value::from(words.join(": ")))).flatten()
        }
        Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(rows: &[Value]) -> String {
        let mut out = Vec::new();
        write(rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn why_something_has_failed_is_shown_in_its_line() {
        let rows = [json!({ "id": "acme", "last_failure": { "code": "401", "message": "no such\ntoken" } })];
        assert_eq!(written(&rows), "ID    LAST_FAILURE\nacme  401: no such token\n");
    }

    #[test]
    fn every_single_value_has_a_column_whatever_the_fields_are() {
        let rows = [
            json!({ "id": "acme", "paused": false, "states": ["failing", "held"], "last": { "of": ["x"] } }),
            json!({ "id": "a-longer-name", "pending": 12, "platform": null, "note": "x\u{1b}[2J" }),
        ];
        let expected = "\
ID             PAUSED  STATES        PENDING  PLATFORM  NOTE
acme           false   failing,held
a-longer-name                        12                 x [2J
";
        assert_eq!(written(&rows), expected);
        assert_eq!(written(&[]), "");
    }
}
