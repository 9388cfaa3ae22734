//! Writes a record as a line.

use std::io::{self, Write};

use serde_json::Value;

use crate::terminal::{escaped, escaped_json};

/// How records are written.
#[derive(Clone, Copy)]
pub(super) struct RecordLine {
    pub(super) json: bool,
    pub(super) colours: bool,
}

/// Set Graphics Rendition of ECMA-48.
const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";

impl RecordLine {
    /// Writes a record as a line, and flushes it.
    pub(super) fn write(self, record: &Value, out: &mut dyn Write) -> io::Result<()> {
        if self.json {
            writeln!(out, "{}", escaped_json(&record.to_string()))?;
        } else {
            writeln!(out, "{}", self.text(record))?;
        }
        out.flush()
    }

    fn text(self, record: &Value) -> String {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let level = text("level");
        let shown = format!("{:5}", if level.is_empty() { text("signal") } else { level });
        let mut parts = vec![self.coloured(DIM, text("time")), self.coloured(colour(level), &shown)];
        let whose = [text("tenant"), text("stream")].map(escaped);
        let whose: Vec<&str> = whose.iter().map(|part| &**part).filter(|part| !part.is_empty()).collect();
        if !whose.is_empty() {
            parts.push(self.coloured(DIM, &whose.join("/")));
        }
        if !text("service").is_empty() {
            parts.push(format!("{}:", escaped(text("service"))));
        }
        parts.push(escaped(&message(record)).into_owned());
        for (key, value) in record["attributes"].as_object().into_iter().flatten() {
            let key = self.coloured(DIM, &format!("{}=", escaped(key)));
            parts.push(format!("{key}{}", escaped(&plain(value))));
        }
        parts.join(" ")
    }

    fn coloured(self, colour: &str, text: &str) -> String {
        if self.colours && !colour.is_empty() { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

fn colour(level: &str) -> &'static str {
    match level {
        "error" | "fatal" => "\x1b[31m",
        "warn" => "\x1b[33m",
        "info" => "\x1b[32m",
        "debug" | "trace" => "\x1b[36m",
        _ => "",
    }
}

/// The body of a log record; name and duration of a span; name and value of a data point.
fn message(record: &Value) -> String {
    let name = record["name"].as_str().unwrap_or_default();
    if let Some(nanos) = record["duration_ns"].as_u64() {
        return format!("{name} {:.3}ms", nanos as f64 / 1e6);
    }
    if let Some(metric) = record["metric"].as_object() {
        let unit = metric.get("unit").and_then(Value::as_str).unwrap_or_default();
        return format!("{name} {}{unit}", metric.get("value").map(plain).unwrap_or_default());
    }
    match &record["body"] {
        Value::Null => name.to_owned(),
        body => plain(body),
    }
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Value {
        json!({
            "signal": "logs", "tenant": "acme", "stream": "api", "time": "2026-03-27T08:30:00Z",
            "level": "error", "service": "api", "body": "can't \u{1b}[2J\u{202e}connect\nat all",
            "attributes": { "http.response.status_code": 503 },
        })
    }

    #[test]
    fn a_record_is_one_line_that_a_terminal_does_not_obey() {
        let line = RecordLine { json: false, colours: false };
        assert_eq!(
            line.text(&record()),
            r"2026-03-27T08:30:00Z error acme/api api: can't \u{1b}[2J\u{202e}connect\nat all http.response.status_code=503"
        );
    }

    #[test]
    fn json_is_one_line_that_a_terminal_does_not_obey_either() {
        let mut out = Vec::new();
        let record = json!({ "body": "\u{9b}2J\u{202e}x" });
        RecordLine { json: true, colours: false }.write(&record, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"body\":\"\\u009b2J\\u202ex\"}\n");
    }

    #[test]
    fn spans_have_their_duration_and_data_points_their_value() {
        let line = RecordLine { json: false, colours: false };
        let span = json!({ "signal": "traces", "name": "GET /", "duration_ns": 1_500_000, "level": null });
        assert_eq!(line.text(&span), " traces GET / 1.500ms");
        let metric = json!({ "unit": "s", "value": { "count": 2, "sum": 0.5 } });
        let point = json!({ "signal": "metrics", "name": "http.duration", "metric": metric });
        assert_eq!(line.text(&point), " metrics http.duration {\"count\":2,\"sum\":0.5}s");
    }

    #[test]
    fn colours_are_around_what_they_colour() {
        let line = RecordLine { json: false, colours: true };
        assert!(line.text(&record()).contains("\u{1b}[31merror\u{1b}[0m"));
    }
}
