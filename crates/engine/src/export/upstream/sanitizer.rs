//! What an upstream says back of the records that it was sent: in what is shown of its answers, the same is hidden as where records
//! are shown.

use std::borrow::Cow;
use std::ops::Range;

use arc_swap::ArcSwap;
use otlp::{REDACTED, Redaction};

use super::decoded_text::DecodedText;
use super::json_members::hidden_in_json;
use super::quoted_values::quoted_values;
use crate::client::{MARGIN, MAX_CHARS, Secrets, one_line, searched, shortened, without_last};
use crate::stream::Batch;

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

    /// For people: Sluice's own words, such as a status, and behind them what an upstream has said, either of which may be empty.
    pub(in crate::export) fn clean(&self, own: &str, said: &str) -> String {
        let redaction = self.redaction.load();
        if said.trim().is_empty() {
            return self.clean_own(own);
        }
        let text = told(own, said);
        if redaction.is_empty() {
            return self.secrets.clean(&text);
        }
        self.clean_said(&redaction, &text).unwrap_or_else(|| self.clean_own(&told(own, REDACTED)))
    }

    /// A text without what is hidden; nothing if it takes too long to find that.
    fn clean_said(&self, redaction: &Redaction, text: &str) -> Option<String> {
        let (text, doubtful) = searched(text);
        let line = one_line(text);
        let texts = DecodedText::all_of(&line);
        // All is looked for in the same line: what hides a part of a secret must not keep the rest from being found.
        let mut hidden = Vec::new();
        for decoded in &texts {
            let text = decoded.text();
            let secrets = self.secrets.in_line();
            let secrets = secrets
                .flat_map(|it| text.match_indices(&it).map(|(at, it)| at..at + it.len()).collect::<Vec<_>>());
            let found = secrets.chain(redaction.matches(text)).chain(hidden_in_json(redaction, text));
            hidden.extend(found.map(|part| decoded.place(part)));
        }
        merge(&mut hidden);
        let whole = without_last(&line, doubtful);
        let looked_at = begun_without(whole, &hidden, MAX_CHARS + MARGIN);
        // One that begins within it may be known only by what stands behind it.
        hidden.extend(quoted_values(redaction, self.batch, &texts, looked_at.len() + MARGIN)?);
        merge(&mut hidden);
        let shown = without(looked_at, &hidden);
        // A value at the end may go on behind what was looked at.
        let is_cut = looked_at.len() < whole.len();
        let mut kept = shortened(without_last(&shown, if is_cut { MARGIN } else { 0 }));
        if is_cut && !kept.ends_with('…') {
            kept.push('…');
        }
        Some(kept)
    }
}

/// Words, and what somebody else says behind them.
fn told(own: &str, said: &str) -> String {
    if own.is_empty() { said.to_owned() } else { format!("{own}: {said}") }
}

/// Sorts parts of a text, and makes one of those that touch each other.
fn merge(parts: &mut Vec<Range<usize>>) {
    parts.sort_unstable_by_key(|part| part.start);
    parts.dedup_by(|next, part| {
        let touches = next.start <= part.end;
        if touches {
            part.end = part.end.max(next.end);
        }
        touches
    });
}

/// The beginning of a line that has so many characters beside what is hidden in it, or all of it.
fn begun_without<'t>(line: &'t str, hidden: &[Range<usize>], chars: usize) -> &'t str {
    let mut hidden = hidden.iter().peekable();
    let mut seen = line.char_indices().filter(|(place, _)| {
        while hidden.next_if(|part| part.end <= *place).is_some() {}
        hidden.peek().is_none_or(|part| *place < part.start)
    });
    seen.nth(chars).map_or(line, |(end, _)| &line[..end])
}

/// A text without these parts, which are sorted.
fn without(text: &str, hidden: &[Range<usize>]) -> String {
    let (mut shown, mut at) = (String::new(), 0);
    for part in hidden.iter().filter(|part| part.start < text.len()) {
        shown.push_str(&text[at..part.start]);
        shown.push_str(REDACTED);
        at = part.end.min(text.len());
    }
    shown.push_str(&text[at..]);
    shown
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
        shown_by(&ArcSwap::from_pointee(Redaction::new(patterns).unwrap()), attributes, "", text)
    }

    fn shown_by(redaction: &ArcSwap<Redaction>, attributes: Vec<KeyValue>, own: &str, said: &str) -> String {
        shown_beside(Secrets::default(), redaction, attributes, own, said)
    }

    /// What is shown of Sluice's own words and of those of an upstream, to which these secrets were sent in a head.
    fn shown_beside(
        secrets: Secrets,
        redaction: &ArcSwap<Redaction>,
        attributes: Vec<KeyValue>,
        own: &str,
        said: &str,
    ) -> String {
        let record = LogRecord { attributes, ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let entry = ResourceLogs { scope_logs, ..ResourceLogs::default() }.encode_to_vec();
        let mut chunk = Vec::new();
        put_frame(&mut chunk, entry.len());
        chunk.extend(entry);
        let batch = Batch::new(Signal::Logs, vec![chunk.into()], 1);
        Sanitizer { secrets: Cow::Owned(secrets), redaction, batch: &batch }.clean(own, said)
    }

    #[test]
    fn a_pattern_hides_what_it_matches_and_the_rest_stays() {
        let shown = |text| shown(&[r"\b4[0-9]{15}\b"], Vec::new(), text);
        assert_eq!(
            shown("400 Bad Request: card 4111111111111111\n is bad"),
            "400 Bad Request: card [redacted] is bad"
        );
        assert_eq!(shown("400: {\"errors\":[4111111111111111]} and"), "400: {\"errors\":[[redacted]]} and");
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
            (r#"was: "<bold\" & \\ more""#, r#"was: "[redacted]""#),
            (r"&lt;bold&quot; &amp; \ more", "[redacted]"),
            (r#"{"errors":["\u006fpen sesame and more"]}"#, r#"{"errors":["[redacted]"]}"#),
            ("known to everybody is no secret", "known to everybody is no secret"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    /// What is hidden where the configuration says nothing.
    const USUAL: [&str; 3] = [
        r"(?i)^\S*(authorization|passw(or)?d|passphrase|secret|token|cookie|credentials?|(api|access|secret|private)[._-]?key)$",
        r#"(?i)(passw(or)?d|passphrase|secret|token|(api|access|secret|private)[._-]?key)["']?[ \t]*[=:][ \t]*["']?[^ \t\r\n"',;&]+"#,
        r"(?i)(?-u:\b)(bearer|basic)[ \t]+[a-z0-9_.~+/=-]{8,}",
    ];

    const PRIVATE_KEY: &str =
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_value_of_which_a_pattern_hides_a_part_is_hidden_as_a_whole() {
        let sent = || {
            vec![
                attribute("db.password", Value::StringValue("correct horse battery".to_owned())),
                attribute("private_key", Value::StringValue(PRIVATE_KEY.to_owned())),
                attribute("cookie", Value::StringValue("a=1; session token=abcdef; b=2".to_owned())),
            ]
        };
        let go = format!("private_key={PRIVATE_KEY:?} is none");
        let json = serde_json::json!({ "cause": PRIVATE_KEY, "private_key": PRIVATE_KEY }).to_string();
        let nested = serde_json::json!({ "cause": json }).to_string();
        for (text, expected) in [
            ("400: db.password=correct horse battery is too short", "400: db.[redacted] is too short"),
            ("400: db.password: 'correct horse battery'", "400: db.[redacted]'"),
            ("400: db.password=correct horse", "400: db.[redacted]"),
            (r#"{"db.password":"correct horse battery"}"#, r#"{"db.[redacted]"}"#),
            ("cookie a=1; session token=abcdef; b=2, no", "cookie [redacted], no"),
            (&format!("private_key: {PRIVATE_KEY} is none"), "[redacted] is none"),
            (&go, r#"[redacted]\n" is none"#),
            (&json, r#"{"cause":"[redacted]\n","[redacted]"}"#),
            (&nested, r#"{"cause":"{\"cause\":\"[redacted]\\n\",\"[redacted]\"}"}"#),
        ] {
            let shown = shown(&USUAL, sent(), text);
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn a_value_of_several_lines_is_hidden_however_its_breaks_are_written() {
        for value in [
            "ab\ncd\t\tef  gh",
            "\n ab\r\n\u{2028}cd ef\tgh\n",
            "ab cd ef gh",
            r"C:\new\table",
            r"\host\u0041 \n",
        ] {
            let sent = || vec![attribute("db.password", Value::StringValue(value.to_owned()))];
            let json = serde_json::json!(value).to_string();
            let in_json = serde_json::json!(json).to_string();
            let html = value.replace('\n', "&#10;").replace('\t', "&#x9;").replace(' ', "&nbsp;");
            let url =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
            for written in [value, &json, &in_json, &format!("{value:?}"), &html, &url, &one_line(value)] {
                let shown = shown(&["password$"], sent(), &format!("was {written} then"));
                for left in ["ab", "cd", "ef", "gh", "C:", "new", "table", "host", "0041"] {
                    assert!(!shown.contains(left), "{written}: {shown}");
                }
                assert!(shown.starts_with("was ") && shown.ends_with(" then"), "{written}: {shown}");
            }
        }
    }

    #[test]
    fn members_are_hidden_behind_what_is_no_json_and_in_json_that_was_cut() {
        let shown = |text| shown(&["password$"], Vec::new(), text);
        assert_eq!(shown(r#"400: [api] {"password":"x"}"#), r#"400: [api] {"password":"[redacted]"}"#);
        assert_eq!(shown(r#"400: {"password":{"a":["x"#), r#"400: {"password":[redacted]"#);
        assert_eq!(
            shown(r#"{"said":"{\"password\":\"x\"}"}"#),
            r#"{"said":"{\"password\":\"[redacted]\"}"}"#
        );
    }

    #[test]
    fn a_value_that_begins_with_a_secret_of_the_head_is_hidden_as_a_whole() {
        let mut secrets = Secrets::default();
        secrets.add("correct");
        let redaction = ArcSwap::from_pointee(Redaction::new(&["password$"]).unwrap());
        let sent = || vec![attribute("password", Value::StringValue("correct horse".to_owned()))];
        assert_eq!(shown_beside(secrets, &redaction, sent(), "", "a correct horse"), "a [redacted]");
    }

    #[test]
    fn nothing_but_the_status_is_shown_of_what_takes_too_long_to_look_at() {
        let redaction = ArcSwap::from_pointee(Redaction::new(&["password$"]).unwrap());
        let sent = |key: &str, value: &str, times: usize| {
            vec![attribute(key, Value::StringValue(value.to_owned())); times]
        };
        // Too many bytes, and too many of what begins as the answer does.
        for (value, times) in [("x".repeat(1024), 5000), ("bad value ".repeat(10), 10_000)] {
            let shown = |own, said| shown_by(&redaction, sent("user", &value, times), own, said);
            assert_eq!(shown("400 Bad Request", "a bad value"), "400 Bad Request: [redacted]");
            assert_eq!(shown("", "a bad value"), "[redacted]");
            assert_eq!(shown("400 Bad Request", " \n"), "400 Bad Request");
        }
        let shown =
            shown_by(&redaction, sent("user", &"x".repeat(1024), 4000), "400 Bad Request", "a bad value");
        assert_eq!(shown, "400 Bad Request: a bad value");
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
            let key_behind_spaces = format!("a{}correct horse", " ".repeat(fill));
            for text in [by_pattern, by_key, behind_spaces, key_behind_spaces] {
                let shown = shown_by(&redaction, sent(), "", &text);
                assert!(!shown.contains("ba") && !shown.contains("co"), "{shown}");
                assert!(shown.chars().count() <= 257 + "[redacted]".len(), "{shown}");
            }
        }
    }
}
