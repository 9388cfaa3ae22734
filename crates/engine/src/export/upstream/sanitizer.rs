//! What an upstream says back of the records that it was sent: in what is shown of its answers, the same is hidden as where records
//! are shown.

use std::borrow::Cow;

use arc_swap::ArcSwap;
use otlp::{REDACTED, Redaction, frames};
use serde_json::Value as Json;

use super::detail::{MIN_SECRET, Secrets, begun, one_line, searched, shortened, without_last};
use crate::stream::Batch;

/// Bytes by which a value is found that an upstream repeats: it may have cut the rest.
const LEAST_QUOTED: usize = 8;

/// Makes what came of an attempt fit to be shown: it hides what was secret in the request's head, and what `tap.redact` hides of the
/// records that were sent. Every text that comes from an upstream goes through here before it goes anywhere.
#[derive(Debug)]
pub(in crate::export) struct Sanitizer<'a> {
    /// What was secret in the request's head.
    pub(in crate::export) secrets: Cow<'a, Secrets>,
    /// What is not shown of records.
    pub(in crate::export) redaction: &'a ArcSwap<Redaction>,
    /// What was sent.
    pub(in crate::export) batch: &'a Batch,
}

impl Sanitizer<'_> {
    /// What no upstream has said, for people: nothing of the records is in it.
    pub(in crate::export) fn clean_own(&self, text: &str) -> String {
        self.secrets.clean(text)
    }

    /// What an upstream has said, for people.
    pub(in crate::export) fn clean(&self, text: &str) -> String {
        let redaction = self.redaction.load();
        if redaction.is_empty() {
            return self.secrets.clean(text);
        }
        let text = without_hidden_members(&redaction, text);
        let (text, doubtful) = searched(&text);
        let line = one_line(&self.secrets.hide(text));
        let line = redaction.text(&line);
        // What was hidden has made the text shorter: what now stands at its end may be kept.
        let line = without_last(&line, doubtful);
        shortened(line, |shown| self.without_quoted_values(&redaction, shown))
    }

    /// A short text without values of the batch that are hidden wherever they are shown, however the upstream names them.
    fn without_quoted_values(&self, redaction: &Redaction, text: &str) -> String {
        let is_quoted = |value: &str| quoted_head(value).is_some_and(|head| text.contains(head));
        let entries = self.batch.chunks().iter().flat_map(|chunk| frames(chunk));
        let mut values: Vec<_> = entries
            .flat_map(|(_, entry)| redaction.hidden_in(self.batch.signal(), entry, &is_quoted))
            .map(|value| one_line(&value))
            .collect();
        // The longest first, so that a part doesn't tear a whole apart.
        values.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        values.iter().fold(text.to_owned(), |text, value| without_value(&text, value))
    }
}

/// The text without what is hidden of the JSON in it, where names of members and escapes can be read.
fn without_hidden_members<'t>(redaction: &Redaction, text: &'t str) -> Cow<'t, str> {
    let Some(begin) = text.find(['{', '[']) else { return Cow::Borrowed(text) };
    let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Json>();
    let Some(Ok(json)) = values.next() else { return Cow::Borrowed(text) };
    let end = begin + values.byte_offset();
    let mut shown = json.clone();
    redaction.hide_in_json(&mut shown);
    // What is written in escapes is written anew, so that it can be found.
    if shown == json && !text[begin..end].contains('\\') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{shown}{}", &text[..begin], &text[end..]))
}

/// Whether JSON or HTML may write an escape in place of this character.
fn is_escaped(char: char) -> bool {
    matches!(char, '"' | '\\' | '\'' | '<' | '>' | '&')
}

/// A value from where on it is looked for.
fn quoted_part(value: &str) -> &str {
    value.trim_start_matches(|char: char| char.is_whitespace() || is_escaped(char))
}

/// What a value is looked for by: its beginning, as far as that is written the same everywhere. Nothing if it is so short that it is
/// likely to be found in any text.
fn quoted_head(value: &str) -> Option<&str> {
    let part = begun(quoted_part(value), LEAST_QUOTED);
    let head = &part[..part.find(is_escaped).unwrap_or(part.len())];
    (head.len() >= MIN_SECRET).then_some(head)
}

/// The text without the value, or as much of it as stands there from its beginning on.
fn without_value(text: &str, value: &str) -> String {
    let Some(head) = quoted_head(value) else { return text.to_owned() };
    let (mut clean, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(head) {
        let (before, mut found) = rest.split_at(at);
        for char in quoted_part(value).chars() {
            match first_char(found) {
                Some((first, len)) if first == char => found = &found[len..],
                _ => break,
            }
        }
        clean.push_str(before);
        clean.push_str(REDACTED);
        rest = found;
    }
    clean.push_str(rest);
    clean
}

/// The first character of a text, and the bytes that it takes: more than its own where it is escaped as in JSON or HTML.
fn first_char(text: &str) -> Option<(char, usize)> {
    const ESCAPES: [(&str, char); 14] = [
        ("\\\"", '"'),
        ("\\\\", '\\'),
        ("\\/", '/'),
        ("\\'", '\''),
        ("&quot;", '"'),
        ("&#34;", '"'),
        ("&#x22;", '"'),
        ("&apos;", '\''),
        ("&#39;", '\''),
        ("&#x27;", '\''),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&#x2F;", '/'),
    ];
    let escape = ESCAPES.iter().find(|(escape, _)| text.starts_with(escape));
    let plain = || text.chars().next().map(|char| (char, char.len_utf8()));
    escape.map(|(escape, char)| (*char, escape.len())).or_else(plain)
}

#[cfg(test)]
impl<'a> Sanitizer<'a> {
    /// One that hides nothing of records.
    pub(in crate::export) fn hiding(secrets: &'a Secrets) -> Self {
        static NOTHING: std::sync::LazyLock<(ArcSwap<Redaction>, Batch)> =
            std::sync::LazyLock::new(|| (ArcSwap::default(), Batch::new(otlp::Signal::Logs, Vec::new(), 0)));
        Self { secrets: Cow::Borrowed(secrets), redaction: &NOTHING.0, batch: &NOTHING.1 }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use otlp::{Signal, put_frame};
    use prost::Message as _;

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    /// What is shown of a text where these patterns hide what they match, after a record with these attributes was sent.
    fn shown(patterns: &[&str], attributes: Vec<KeyValue>, text: &str) -> String {
        shown_by(&ArcSwap::from_pointee(Redaction::new(patterns).unwrap()), attributes, text)
    }

    fn shown_by(redaction: &ArcSwap<Redaction>, attributes: Vec<KeyValue>, text: &str) -> String {
        let record = LogRecord { attributes, ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let entry = ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec();
        let mut chunk = Vec::new();
        put_frame(&mut chunk, entry.len());
        chunk.extend(entry);
        let batch = Batch::new(Signal::Logs, vec![chunk.into()], 1);
        Sanitizer { secrets: Cow::Owned(Secrets::default()), redaction, batch: &batch }.clean(text)
    }

    #[test]
    fn a_pattern_hides_what_it_matches_and_the_rest_stays() {
        let shown = |text| shown(&[r"\b4[0-9]{15}\b"], Vec::new(), text);
        assert_eq!(
            shown("400 Bad Request: card 4111111111111111\n is bad"),
            "400 Bad Request: card [redacted] is bad"
        );
        assert_eq!(
            shown("400: {\"errors\":[4111111111111111]} and"),
            "400: {\"errors\":[\"[redacted]\"]} and"
        );
        assert_eq!(shown("503 Service Unavailable"), "503 Service Unavailable");
    }

    #[test]
    fn members_of_json_are_hidden_by_their_names_and_escapes_are_read() {
        let shown = |text| shown(&["(?i)password$", "hush-[a-z]+"], Vec::new(), text);
        assert_eq!(shown(r#"400: {"why":{"Password":"x y"}}"#), r#"400: {"why":{"Password":"[redacted]"}}"#);
        assert_eq!(shown(r#"[{"was":"\u0068ush-abc"}]"#), r#"[{"was":"[redacted]"}]"#);
        let untouched = r#"400: { "why" : "a" }, {"password"#;
        assert_eq!(shown(untouched), "400: { \"why\" : \"a\" }, {\"[redacted]");
    }

    #[test]
    fn a_value_that_is_hidden_by_its_key_is_hidden_without_it_as_far_as_it_is_repeated() {
        let sent = || {
            vec![
                attribute("db.password", Value::StringValue("open sesame and more".to_owned())),
                attribute("pin.password", Value::IntValue(271_828)),
                attribute("raw password", Value::BytesValue(b"raw bytes".to_vec())),
                attribute("markup.password", Value::StringValue(r#"<bold" & \ more"#.to_owned())),
                attribute("user", Value::StringValue("known to everybody".to_owned())),
                attribute("short.password", Value::StringValue("is".to_owned())),
            ]
        };
        let shown = |text| shown(&["password$"], sent(), text);
        for (text, expected) in [
            ("got open sesame and more!", "got [redacted]!"),
            ("got open sesame a...", "got [redacted]..."),
            ("got open\n sesame  and more", "got [redacted]"),
            ("271828 is no pin", "[redacted] is no pin"),
            ("raw bytes", "[redacted]"),
            ("cmF3IGJ5dGVz", "[redacted]"),
            (r#"was: "<bold\" & \\ more""#, r#"was: "<[redacted]""#),
            (r"&lt;bold&quot; &amp; \ more", "&lt;[redacted]"),
            (r#"{"errors":["\u006fpen sesame and more"]}"#, r#"{"errors":["[redacted]"]}"#),
            ("known to everybody is no secret", "known to everybody is no secret"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_left_wherever_the_text_is_cut() {
        let sent = || vec![attribute("db.password", Value::StringValue("correct horse".to_owned()))];
        let redaction = Redaction::new(&["^db.password$", r"battery-[a-z]+-[0-9]{10}"]).unwrap();
        let redaction = ArcSwap::from_pointee(redaction);
        for fill in (0..400).chain(16 * 1024 - 40..16 * 1024 + 10) {
            let by_pattern = format!("{} battery-staple-0123456789", "x".repeat(fill));
            let by_key = format!("{} correct horse", "y ".repeat(fill / 2));
            let behind_spaces = format!("a{}battery-staple-0123456789", " ".repeat(fill));
            for text in [by_pattern, by_key, behind_spaces] {
                let shown = shown_by(&redaction, sent(), &text);
                assert!(!shown.contains("ba") && !shown.contains("co"), "{shown}");
                assert!(shown.chars().count() <= 257 + "[redacted]".len(), "{shown}");
            }
        }
    }
}
