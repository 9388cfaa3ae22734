//! Which texts of a configuration may be shown in problems, logs and the API.
//!
//! Nothing is shown because it does not look like a secret; a text is shown because the schema says what it is, and
//! it has the form of that: a number, a duration, a word of an enumeration, the name of a route, an exporter or an
//! attribute, a path, a URL without credentials, the value or regular expression that an attribute is compared with. The
//! same goes for keys: those of the schema are shown, and those that users choose if they have the form of a name; and the
//! common names of Collectors' components. All else is `[redacted]`: values of headers, also those that headers are
//! compared with, values that attributes are compared with whose names are those of credentials, whatever stands below a
//! misspelt key, and a value of the wrong kind. In place of any text, `${env:…}` and `${file:…}` without more are shown.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::collector;
use super::model;
use super::node::{Node, NodeEntry, NodeValue, Scalar};
use super::quoting::{REDACTED, is_name, is_path, nearest};
use super::schema::{Shape, schema};
use super::span::Span;
use crate::query::Query;

/// The places in a file that may be shown and those that may not.
pub(super) struct Sight {
    /// The places of keys and values that are known to be harmless.
    pub(super) shown: Vec<Span>,
    /// The places of all other keys and values.
    pub(super) hidden: Vec<Span>,
    /// The file as written, before substitution, with the hidden keys and values replaced.
    pub(super) redacted: Json,
    /// What `tap.redact` of the configuration hides by names.
    redact: Vec<Regex>,
}

/// Finds out which keys and values of a configuration may be shown.
pub(super) fn look(root: &Node) -> Sight {
    look_as(Shape::root(), root)
}

/// As [`look`], for a file of another shape.
pub(super) fn look_as(shape: Shape<'_>, root: &Node) -> Sight {
    let redact = redacted_names(root);
    let mut sight = Sight { shown: Vec::new(), hidden: Vec::new(), redacted: Json::Null, redact };
    sight.redacted = sight.value(root, Some(shape), TextPlace::default());
    sight
}

/// What is known of the place of a value, beside its shape.
#[derive(Clone, Copy, Default)]
struct TextPlace<'a> {
    /// The form of texts below the key, as the schema has it.
    form: Option<&'a str>,
    /// Whether what stands there is compared with a credential.
    of_credential: bool,
}

impl Sight {
    fn value(&mut self, node: &Node, shape: Option<Shape<'_>>, place: TextPlace<'_>) -> Json {
        let shape = shape.map(|shape| shape.of_kind(node));
        match &node.value {
            NodeValue::Scalar(scalar) => {
                // A single value where a list of such is expected is as harmless as in the list.
                let shape = shape
                    .map(|shape| if shape.is("array") { Shape::of(&shape.body["items"]) } else { shape });
                let harmless = scalar.is_null()
                    || shape.map_or_else(
                        || collector::is_component(&scalar.text),
                        |shape| TextForm::of(shape, place).fits(&scalar.text),
                    );
                self.place(node.span, harmless);
                if harmless { typed(scalar) } else { masked(&scalar.text, place.form).into() }
            }
            NodeValue::Seq(items) => {
                let inner =
                    shape.filter(|shape| shape.is("array")).map(|shape| Shape::of(&shape.body["items"]));
                items.iter().map(|item| self.value(item, inner, place)).collect()
            }
            NodeValue::Map(entries) => {
                let shape = shape.filter(|shape| shape.is("object"));
                let of_credential = place.of_credential || self.names_credential(entries);
                let mut map = Map::new();
                for entry in entries {
                    let shown = is_harmless_key(entry, shape);
                    self.place(entry.key_span, shown);
                    let schema = shape.and_then(|shape| shape.property(&entry.key));
                    let form = schema.and_then(|schema| schema["x-shown"].as_str());
                    let is_own = shape
                        .is_some_and(|shape| shape.properties().all(|(property, _)| property != entry.key));
                    let of_credential = of_credential
                        || form == Some("credential")
                        || (is_own && !collector::is_component(&entry.key) && self.is_credential(&entry.key));
                    let place = TextPlace { form, of_credential };
                    let value = self.value(&entry.value, schema.map(Shape::of), place);
                    let key = if shown { entry.key.clone() } else { REDACTED.to_owned() };
                    map.insert(key, value);
                }
                Json::Object(map)
            }
        }
    }

    /// Whether one entry has the name of an attribute that is a credential's: the others are what is compared with that attribute.
    fn names_credential(&self, entries: &[NodeEntry]) -> bool {
        entries.iter().any(|entry| match &entry.value.value {
            NodeValue::Scalar(scalar) => entry.key == "key" && self.is_credential(&scalar.text),
            NodeValue::Seq(_) | NodeValue::Map(_) => false,
        })
    }

    fn is_credential(&self, name: &str) -> bool {
        is_credential(name) || self.redact.iter().any(|pattern| pattern.is_match(name))
    }

    fn place(&mut self, span: Span, harmless: bool) {
        if harmless { self.shown.push(span) } else { self.hidden.push(span) }
    }
}

/// The patterns of `tap.redact`, where the file has any that can be read; what comes from a variable hides every name.
fn redacted_names(root: &Node) -> Vec<Regex> {
    let NodeValue::Map(sections) = &root.value else { return Vec::new() };
    let section = sections.iter().find(|section| section.key == "tap");
    let Some(NodeValue::Map(entries)) = section.map(|section| &section.value.value) else {
        return Vec::new();
    };
    let of_redact = entries.iter().filter(|entry| entry.key == "redact");
    let patterns = of_redact.flat_map(|entry| match &entry.value.value {
        NodeValue::Seq(items) => items.iter().collect(),
        _ => vec![&entry.value],
    });
    let texts = patterns.filter_map(|node| match &node.value {
        NodeValue::Scalar(scalar) if scalar.text.contains("${") => Some(""),
        NodeValue::Scalar(scalar) if !scalar.is_null() => Some(scalar.text.as_str()),
        _ => None,
    });
    texts.filter_map(|text| Regex::new(text).ok()).collect()
}

/// Whether an attribute or a header of this name may be a credential's: those that taps hide unless `tap.redact` says something else,
/// and all whose names have a word of one in them.
fn is_credential(name: &str) -> bool {
    const WORDS: [&str; 19] = [
        "auth",
        "authorization",
        "token",
        "tokens",
        "key",
        "keys",
        "apikey",
        "secret",
        "secrets",
        "password",
        "passwd",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "dsn",
        "session",
        "signature",
        "jwt",
    ];
    static NAMES: OnceLock<Regex> = OnceLock::new();
    let [names, ..] = model::TapSection::USUAL;
    let lowercase = name.to_ascii_lowercase();
    // A name from a variable or a file is not known here.
    name.contains("${")
        || lowercase.split(|char: char| !char.is_alphanumeric()).any(|part| WORDS.contains(&part))
        || lowercase.contains("honeycomb-team")
        || NAMES.get_or_init(|| Regex::new(names).expect("a test of taps uses it")).is_match(name)
}

/// Whether a key is one of the schema's or the Collector's, near to one, or has the form of a name.
fn is_harmless_key(entry: &NodeEntry, shape: Option<Shape<'_>>) -> bool {
    if collector::is_component(&entry.key) {
        return true;
    }
    let Some(shape) = shape else { return has_form_of_a_key(entry) };
    let known = |key: &str| shape.properties().any(|(property, _)| property == key);
    if known(&entry.key) || shape.definition.is_some_and(|name| collector::knows(name, &entry.key)) {
        return true;
    }
    let r#type = model::type_of(&entry.key);
    if shape.typed_values().any(|(known, _)| known == r#type) {
        return is_name(&entry.key);
    }
    let names = shape.properties().map(|(key, _)| key).chain(shape.typed_values().map(|(key, _)| key));
    has_form_of_a_key(entry) || (is_name(&entry.key) && nearest(r#type, names).is_some())
}

/// A key that has lost its value may be a value itself: `{ Authorization: Bearer, s3cret }`.
fn has_form_of_a_key(entry: &NodeEntry) -> bool {
    is_name(&entry.key) && !entry.value.is_null()
}

/// A query of a watch, in which substituted values stand at these places: fields, numbers and words that have the form of a name are
/// shown.
pub(super) fn query(text: &str, substituted: &[Range<usize>]) -> String {
    let mut written = text.to_owned();
    for range in substituted.iter().rev() {
        // Read as a part of the word or text that it stands in.
        written.replace_range(range.clone(), r"\[redacted\]");
    }
    match Query::parse(&written) {
        Ok(query) => query.masked(&is_phrase, REDACTED).to_string(),
        Err(_) => REDACTED.to_owned(),
    }
}

/// Words, each of which has the form of a name.
fn is_phrase(text: &str) -> bool {
    text.len() <= 64 && text.split_whitespace().all(is_name)
}

/// Whether a text has letters and digits, the marks of names and sentences, wildcards, and these `others`, and is not long.
fn is_of_words(text: &str, others: &str) -> bool {
    const MARKS: &str = "._-/ *?,:;()'";
    let is_known = |char: char| char.is_alphanumeric() || MARKS.contains(char) || others.contains(char);
    (1..=128).contains(&text.chars().count()) && text.chars().all(is_known)
}

/// The form of a text, by the schema.
enum TextForm<'a> {
    /// Not known.
    Secret,
    /// Numbers, durations, sizes, rates; and the words that may stand there, too.
    Number(&'static [&'static str]),
    Moment,
    Boolean,
    Word(Vec<&'a str>),
    /// The name of a route, an exporter, an attribute.
    Name,
    Path,
    /// A URL with or without a scheme.
    Url,
    /// A query for records.
    Query,
    /// A count within a time.
    CountInTime,
    /// Words in any language, with wildcards and marks between them.
    Words,
    /// A regular expression.
    Pattern,
}

impl<'a> TextForm<'a> {
    fn of(shape: Shape<'a>, place: TextPlace<'_>) -> Self {
        let form = place.form;
        let words = shape.words();
        if !words.is_empty() {
            return Self::Word(words);
        }
        match (shape.format(), form) {
            (Some("sync policy"), _) => Self::Number(&["always", "never"]),
            (Some("moment"), _) => Self::Moment,
            (Some(_), _) => Self::Number(&[]),
            (None, _) if shape.is("boolean") => Self::Boolean,
            (None, _) if shape.is("integer") || shape.is("number") => Self::Number(&[]),
            (None, Some("name")) if shape.is("string") => Self::Name,
            (None, Some("path")) if shape.is("string") => Self::Path,
            (None, Some("url")) if shape.is("string") => Self::Url,
            (None, Some("query")) if shape.is("string") => Self::Query,
            (None, Some("count in time")) if shape.is("string") => Self::CountInTime,
            (None, Some("words")) if shape.is("string") && !place.of_credential => Self::Words,
            (None, Some("pattern")) if shape.is("string") && !place.of_credential => Self::Pattern,
            _ => Self::Secret,
        }
    }

    fn fits(&self, text: &str) -> bool {
        if matches!(self, Self::Secret) {
            // A glob for anything says nothing, and neither does the name of what is put in.
            return text == "*" || is_substitution(text);
        }
        let Some(text) = with_samples(text) else { return false };
        match self {
            Self::Secret => false,
            Self::Number(words) => {
                is_number(text.strip_suffix("/s").unwrap_or(&text))
                    || nearest(&text, words.iter().copied()).is_some()
            }
            Self::Moment => {
                text.len() <= 35
                    && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TtZz ".contains(&byte))
            }
            Self::Boolean => {
                const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "1", "0"];
                WORDS.contains(&text.to_lowercase().as_str())
            }
            Self::Word(words) => is_number(&text) || nearest(&text, words.iter().copied()).is_some(),
            Self::Name => is_name(&text),
            Self::Path => is_path(&text),
            Self::Url => is_url(&text) || is_path(&text),
            Self::Query => Query::parse(&text).is_ok_and(|query| query == query.masked(&is_phrase, REDACTED)),
            Self::CountInTime => text
                .split_once(" in ")
                .is_some_and(|(count, time)| is_number(count) && is_number(time.trim())),
            Self::Words => is_of_words(&text, ""),
            Self::Pattern => is_of_words(&text, r"^$+[]{}|\<>=!&"),
        }
    }
}

/// Whether a text is a variable or a file alone, without a default, or such a credential of HTTP.
fn is_substitution(text: &str) -> bool {
    let value =
        ["Bearer ", "Basic "].into_iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(":-") && !inner.contains('}') && sample(inner).is_some())
}

/// The text with a sample for each `${…}` and `{{ … }}` in it; `None` if one of these may be a part of a secret.
fn with_samples(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let (expression, after) = inner.split_once('}')?;
            out.push_str(sample(expression)?);
            rest = after;
        } else if let Some(inner) = rest.strip_prefix("{{") {
            let (expression, after) = inner.split_once("}}")?;
            if !is_template_expression(expression.trim()) {
                return None;
            }
            out.push('x');
            rest = after;
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Some(out)
}

/// A text that may stand in place of `${expression}`.
fn sample(expression: &str) -> Option<&str> {
    /// Right as a number, in a name and in a URL.
    const SAMPLE: &str = "1";
    if let Some(path) = expression.strip_prefix("file:") {
        return is_path(path).then_some(SAMPLE);
    }
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, default),
        None => (expression, SAMPLE),
    };
    is_variable(name.strip_prefix("env:").unwrap_or(name)).then_some(default)
}

/// The name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    name.len() <= 64
        && !name.starts_with(|char: char| char.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text can be the expression of a template, or a mistyped one.
fn is_template_expression(text: &str) -> bool {
    let attribute =
        text.strip_prefix("resource").map(|index| index.trim().trim_matches(['[', ']', ' ', '"', '\'']));
    let word = |text: &str| {
        text.len() <= 24 && text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte))
    };
    attribute.is_some_and(is_name) || word(text)
}

/// Digits, and after them a unit of time, of size, or `%`; once or several times.
fn is_number(text: &str) -> bool {
    const UNITS: [&str; 36] = [
        "", "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "b", "k", "kb", "kib", "mb", "mib", "g", "gb",
        "gib", "tb", "tib", "%", "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes",
        "hr", "hour", "hours", "day", "days", "bytes",
    ];
    if text.len() > 24 {
        return false;
    }
    if model::integer(text).is_some() || model::sexagesimal(text).is_some() {
        return true;
    }
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits =
            rest.find(|char: char| !char.is_ascii_digit() && !"._".contains(char)).unwrap_or(rest.len());
        if digits == 0 {
            return false;
        }
        rest = rest[digits..].trim_start();
        let unit = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
        if !UNITS.contains(&rest[..unit].to_lowercase().as_str()) {
            return false;
        }
        rest = &rest[unit..];
    }
    true
}

/// A URL, or a host with a port, without userinfo, query and fragment. Whatever else a URL could hold, in a place where
/// it has no meaning, makes it none.
fn is_url(text: &str) -> bool {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port =
        |port: &str| port == "*" || (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let label = |label: &str| {
        label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    let is_v6 = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| {
            inner.len() <= 45 && inner.bytes().all(|b| b.is_ascii_hexdigit() || b".:".contains(&b))
        })
    };
    // A single word is a host if something beside it says so.
    let is_meant =
        scheme.is_some() || port.is_some() || host.contains('.') || matches!(host, "localhost" | "*");
    let is_address = is_meant || (is_port(host) && path.is_empty());
    scheme.is_none_or(|scheme| scheme.len() <= 8 && scheme.bytes().all(|byte| byte.is_ascii_lowercase()))
        && is_address
        && (is_v6(host) || host.split('.').all(label))
        && port.is_none_or(is_port)
        && (path.is_empty() || is_path(path))
}

/// The part that is shown of a text that is not harmless as a whole: of a URL, the part before its query, and of a query for records, its
/// harmless parts.
fn masked(text: &str, form: Option<&str>) -> Cow<'static, str> {
    let before = text.split_once('?').map(|(before, _)| before);
    match before {
        Some(url)
            if form == Some("url")
                && !text.contains('@')
                && TextForm::Url.fits(url)
                && url.contains("://") =>
        {
            format!("{url}?{REDACTED}").into()
        }
        _ if form == Some("query") => query(text, &[]).into(),
        _ => REDACTED.into(),
    }
}

/// A scalar as the YAML 1.2 core schema types it.
pub(super) fn typed(scalar: &Scalar) -> Json {
    let text = &scalar.text;
    if scalar.is_null() {
        return Json::Null;
    }
    if scalar.plain {
        match text.as_str() {
            "true" | "True" | "TRUE" => return true.into(),
            "false" | "False" | "FALSE" => return false.into(),
            _ => {}
        }
        let number = text.parse::<i64>().ok().filter(|number| number.to_string() == *text);
        if let Some(number) = number {
            return number.into();
        }
        if text.contains('.')
            && let Some(number) = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
        {
            return number.into();
        }
    }
    text.clone().into()
}

/// In one line of a file that could not be parsed, the bytes that are surely structure: the indentation with what opens a map or a list
/// behind it, and keys that every configuration may have.
pub(super) fn known_keys(line: &str) -> Vec<Range<usize>> {
    let indentation = line.len() - line.trim_start_matches([' ', '\t', '-', '{', '[']).len();
    let mut shown: Vec<Range<usize>> = std::iter::once(0..indentation).collect();
    let mut at = indentation;
    loop {
        let rest = &line[at..];
        let key = &rest[..rest.find(|char: char| char != '/' && !is_name_char(char)).unwrap_or(rest.len())];
        let behind = &rest[key.len()..];
        let ends = behind == ":" || behind.starts_with(": ");
        if ends && is_name(key) && words().contains(model::type_of(key)) {
            let end = at + key.len() + 1;
            shown.push(at..end);
            // A map may begin there, whose keys are looked at as well.
            let opening = line[end..].len() - line[end..].trim_start_matches([' ', '{', '[']).len();
            shown.push(end..end + opening);
            at = end + opening;
            if opening > 0 {
                continue;
            }
        }
        let Some(next) = line[at..].find([',', '{']) else { return shown };
        at += next + 1;
        at += line[at..].len() - line[at..].trim_start().len();
    }
}

fn is_name_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "._-".contains(char)
}

/// Every key of the schema and the Collector's that are known, and every type of exporter and receiver.
fn words() -> &'static HashSet<&'static str> {
    static WORDS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let definitions = schema()["$defs"].as_object().into_iter().flatten().map(|(_, body)| body);
        let shapes = definitions.chain([schema()]).map(Shape::of);
        let keys = shapes.clone().flat_map(Shape::properties).map(|(key, _)| key);
        let maps = Shape::root().properties().map(|(_, schema)| Shape::of(schema));
        let types = maps.flat_map(Shape::typed_values).map(|(name, _)| name);
        keys.chain(types).chain(collector::keys()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_harmless_where_it_has_the_form_that_is_expected() {
        for number in [
            "5",
            "-1",
            "0x1F",
            "4_000_000",
            "1h30m",
            "512 MiB",
            "60%",
            "1.5",
            "30",
            "190:20:30",
            "${env:N}",
            "${N:-5s}",
        ] {
            assert!(TextForm::Number(&[]).fits(number), "{number}");
        }
        for text in [
            "hunter2",
            "12-34",
            "12:ab",
            "1:99",
            "5e4f3a9c1b",
            "deadbeef",
            "",
            "-",
            "${env:N:-hunter2}",
            "${vault:x}",
        ] {
            assert!(!TextForm::Number(&[]).fits(text), "{text}");
        }
        let words = || TextForm::Word(vec!["reject", "drop"]);
        assert!(words().fits("drp") && words().fits("Reject") && !words().fits("hunter2"));
        for name in
            ["s2.stream", "otlp_http/s2", "{{ signal }}-{{ resource[\"service.name\"] }}", "a-${env:B}"]
        {
            assert!(TextForm::Name.fits(name), "{name}");
        }
        for text in ["Bearer x", "a=", "user:x", &"x".repeat(65), "{{ s3cret }}", "${s3-cret}"] {
            assert!(!TextForm::Name.fits(text), "{text}");
        }
        for path in ["./data", "/etc/ssl/key.pem", "server.key", "~/x", "."] {
            assert!(TextForm::Path.fits(path), "{path}");
        }
        for text in
            ["s3cret", "-----BEGIN KEY-----\nx", "MC4CAQAwBQYDK2VwBCIEIx", "/a?b", "./a b", &"/x".repeat(200)]
        {
            assert!(!TextForm::Path.fits(text), "{text}");
        }
    }

    #[test]
    fn a_url_is_harmless_without_userinfo_query_and_fragment() {
        for url in [
            "https://a.example.com:4318/otlp",
            "http://loki:3100",
            "host:4317",
            "0.0.0.0:4318",
            ":4318",
            "4318",
            "[::1]:4318",
            "localhost",
            "ftp://example.com",
            "unix:///run/otlp.sock",
            "https://{{ key }}.b.s2.dev/otlp",
            "https://${env:BASIN:-basin}.b.s2.dev/otlp",
            "https://*.example.com",
            "ingest.example.com/otlp",
        ] {
            assert!(TextForm::Url.fits(url), "{url}");
        }
        for url in [
            "user:s3cret@h:4317",
            "user:s3cret",
            "s3cret",
            "https://user:s3/cret@h",
            "https://user:s3#cret@h",
            "https://h/?api_key=s3cret",
            "h?api_key=s3cret",
            "https://h/#s3cret",
            "https://h:s3cret",
            "https://h:123456",
            "https://h/s3cret%20",
            "https://h/a b",
            "s3cret/otlp",
            "secret/otlp",
            "hunter",
            "Secret",
            "https://${env:H:-s3@cret}",
        ] {
            assert!(!TextForm::Url.fits(url), "{url}");
        }
    }

    #[test]
    fn of_a_broken_line_known_keys_are_shown() {
        let shown = |line: &str| {
            let mut out = String::new();
            for range in known_keys(line) {
                out.push_str(&line[range]);
            }
            out
        };
        assert_eq!(shown("  headers: { Authorization: \"Bearer s3cret }"), "  headers: { ");
        assert_eq!(
            shown("    otlp_http/a: { endpoint: x, timeout: s3cret"),
            "    otlp_http/a: { endpoint: timeout: "
        );
        assert_eq!(shown("  - s3cret: x"), "  - ");
        assert_eq!(shown("s3cret, endpoint"), "");
        assert_eq!(shown("endpoint:"), "endpoint:");
    }
}
