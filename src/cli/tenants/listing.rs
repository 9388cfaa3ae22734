//! Objects as a table of text, with a column for each key.

use std::io::{self, Write};

use serde_json::Value;

/// Between columns.
const GAP: &str = "  ";

/// A column is not cut shorter than this.
const NARROWEST: usize = 16;

/// The width of standard output in characters, if it is a terminal that reports it.
pub(super) fn width_of_output() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Prints a line with the names of the columns, and a line for each object. A list of single values is written with commas; of an object
/// with a code and a message these two are shown; other nested values are left out.
///
/// With a width, no line is wider: columns that are empty for all objects are left out, the widest ones are cut, and if that is not
/// enough, the last ones are left out, too. Returns the names of the last ones that were left out.
pub(super) fn write(rows: &[Value], width: Option<usize>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in rows.iter().filter_map(Value::as_object).flatten() {
        if !columns.contains(&name.as_str()) && cell(value).is_some() {
            columns.push(name);
        }
    }
    if width.is_some() {
        columns.retain(|name| rows.iter().any(|row| says_something(&row[*name])));
    }
    let header = columns.iter().map(|name| name.to_uppercase()).collect();
    let cells =
        rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name]).unwrap_or_default()).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    let left_out = width.map_or(0, |width| fit(&mut widths, width));
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", cut(cell, *width))).collect();
        writeln!(out, "{}", padded.join(GAP).trim_end())?;
    }
    Ok(columns.split_off(columns.len() - left_out).into_iter().map(str::to_uppercase).collect())
}

/// Whether a value is worth a column: it is not null, zero, false or empty.
fn says_something(value: &Value) -> bool {
    let is_zero = || value.as_f64() == Some(0.0);
    cell(value).is_some_and(|text| !text.is_empty()) && *value != Value::Bool(false) && !is_zero()
}

/// Narrows the columns to the width of a line, and removes the last ones if that is not enough; returns how many it has removed.
fn fit(widths: &mut Vec<usize>, width: usize) -> usize {
    let all = widths.len();
    let needed = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    while needed(widths) > width {
        let over = needed(widths) - width;
        // Half of it at a time, so that several wide columns give up some.
        match (0..widths.len()).max_by_key(|column| widths[*column]) {
            Some(widest) if widths[widest] > NARROWEST => {
                widths[widest] -= over.min(widths[widest] - NARROWEST).div_ceil(2);
            }
            Some(_) if widths.len() > 1 => drop(widths.pop()),
            _ => break,
        }
    }
    all - widths.len()
}

/// A text, cut to so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// The text of a value; `None` for one that holds others.
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
        // Such as a problem of a row, or the error of an attempt.
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            // The message of an answer by HTTP begins with the code.
            let code =
                text("code").filter(|code| !text("message").is_some_and(|said| said.starts_with(code)));
            let words: Vec<_> =
                code.into_iter().chain(["message", "text"].into_iter().filter_map(text)).collect();
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
        assert_eq!(write(rows, None, &mut out).unwrap(), [""; 0]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn why_something_has_failed_is_shown_in_its_line() {
        let rows = [json!({ "id": "acme", "last_failure": { "code": "401", "message": "no such\ntoken" } })];
        assert_eq!(written(&rows), "ID    LAST_FAILURE\nacme  401: no such token\n");
        let rows =
            [json!({ "id": "acme", "last_failure": { "code": "401", "message": "401 Unauthorized: why" } })];
        assert_eq!(written(&rows), "ID    LAST_FAILURE\nacme  401 Unauthorized: why\n");
    }

    #[test]
    fn a_terminal_gets_lines_that_are_no_wider_than_it_is() {
        let rows = [
            json!({ "id": "acme", "note": null, "paused": false, "pending": 0, "states": ["failing"], "last_failure":
                    { "message": "401 Unauthorized: the token has expired" }, "last_success": "2026-11-29T16:53:44.644Z" }),
            json!({ "id": "globex", "note": null, "paused": false, "pending": 12, "states": ["held"] }),
        ];
        let written = |width: usize| {
            let mut out = Vec::new();
            let left_out = write(&rows, Some(width), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}: {text}");
            (text, left_out)
        };
        let (wide, left_out) = written(120);
        assert_eq!(
            wide.lines().next().unwrap(),
            "ID      PENDING  STATES   LAST_FAILURE                             LAST_SUCCESS"
        );
        assert_eq!(left_out, [""; 0]);
        let (narrow, left_out) = written(70);
        assert!(narrow.lines().nth(1).unwrap().contains("401 Unauthor"), "{narrow}");
        assert!(narrow.contains('…') && left_out.is_empty(), "{narrow}");
        assert_eq!(written(40).1, ["LAST_FAILURE", "LAST_SUCCESS"]);
        for width in 1..120 {
            if width >= NARROWEST {
                written(width);
            }
        }
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
