//! `{{ key }}`, `{{ signal }}` and `{{ resource["service.name"] }}` in endpoints, headers and keys.
//!
//! A value comes from a sender, the text around it from the operator. So a value never changes the shape of
//! what it is put into: in a URL path it is percent-encoded and can't be `.` or `..`, in a URL host it must be
//! made of host characters, in a header it must be header-safe: printable, and without spaces around it, which those who
//! read headers cut off.

use std::fmt::Write as _;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use super::Unusable;
use crate::otlp::Signal;

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A parsed template. A text without `{{` is a template without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Key,
    Signal,
    Resource(String),
}

/// Where a template's text is used, which decides what its values may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A routing key: values as they are.
    Key,
    /// An absolute URL.
    Url,
    /// A header's value.
    Header,
}

/// What a template is filled with.
pub trait Values {
    /// The routing key.
    fn key(&self) -> Option<&str>;
    /// The signal.
    fn signal(&self) -> Signal;
    /// A resource attribute as text.
    fn resource(&self, name: &str) -> Option<&str>;
}

/// Why a text is not a template.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` at byte {0} is never closed by `}}}}`")]
    Unclosed(usize),
    /// Something else than the three expressions between the braces.
    #[error("unknown expression `{0}`: write `key`, `signal` or `resource[\"service.name\"]`")]
    Unknown(String),
}

/// Why a template can't be filled for a stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RenderError {
    /// The value is not there.
    #[error("the resource has no attribute `{0}`, which a template needs")]
    Missing(String),
    /// The value is there, but of no use.
    #[error("the resource attribute `{name}` {why}, and a template needs it")]
    Unusable {
        /// The attribute.
        name: String,
        /// What is wrong with its value.
        why: Unusable,
    },
    /// The value can't be put where the template stands.
    #[error("the value of `{name}` can't be put into {place}: {reason}")]
    Unsafe {
        /// Which value.
        name: String,
        /// Where it was to go.
        place: &'static str,
        /// What is wrong with it; never the value itself.
        reason: &'static str,
    },
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_around(text, &[])
    }

    /// Parses a template of which some byte ranges were not written by the operator, but brought in by a variable or a
    /// file. Their text stands for itself, whatever braces are in it; in an expression it can only be the name of an
    /// attribute.
    pub fn parse_around(text: &str, literal: &[Range<usize>]) -> Result<Self, TemplateError> {
        let is_literal = |at: usize| literal.iter().any(|range| range.contains(&at));
        let find = |braces: &str, from: usize| {
            let found = text[from..].match_indices(braces).map(|(at, _)| from + at);
            found.into_iter().find(|at| !is_literal(*at) && !is_literal(at + 1))
        };
        let mut parts = Vec::new();
        let mut from = 0;
        while let Some(open) = find("{{", from) {
            if open > from {
                parts.push(Part::Text(text[from..open].to_owned()));
            }
            let inner = open + 2;
            let close = find("}}", inner).ok_or(TemplateError::Unclosed(open))?;
            let expression = &text[inner..close];
            let quote = ['"', '\''];
            let (first, last) = (expression.find(quote), expression.rfind(quote));
            let is_name =
                |at: usize| first.is_some_and(|first| at > first) && last.is_some_and(|last| at < last);
            if (0..expression.len()).any(|at| is_literal(inner + at) && !is_name(at)) {
                return Err(TemplateError::Unknown(expression.trim().to_owned()));
            }
            parts.push(Part::parse(expression.trim())?);
            from = close + 2;
        }
        if from < text.len() {
            parts.push(Part::Text(text[from..].to_owned()));
        }
        Ok(Self { parts })
    }

    /// The resource attributes that the template names.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::attribute)
    }

    /// Those of them that stand in the query of a URL.
    pub fn query_attributes(&self) -> impl Iterator<Item = &str> {
        let begins = |part: &Part| matches!(part, Part::Text(text) if text.contains('?'));
        self.parts.iter().skip_while(move |part| !begins(part)).filter_map(Part::attribute)
    }

    /// The text, if the template has no values.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Fills the template.
    pub fn render(&self, values: &impl Values, place: Place) -> Result<String, RenderError> {
        let mut out = String::new();
        for part in &self.parts {
            let (name, value) = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Key => ("key", values.key()),
                Part::Signal => ("signal", Some(values.signal().name())),
                Part::Resource(name) => (name.as_str(), values.resource(name)),
            };
            let value = value.ok_or_else(|| RenderError::Missing(name.to_owned()))?;
            place.put(&mut out, name, value)?;
        }
        Ok(out)
    }
}

impl Part {
    fn attribute(&self) -> Option<&str> {
        match self {
            Self::Resource(name) => Some(name),
            Self::Text(_) | Self::Key | Self::Signal => None,
        }
    }

    fn parse(expression: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Unknown(expression.to_owned());
        match expression {
            "key" => Ok(Self::Key),
            "signal" => Ok(Self::Signal),
            _ => {
                let index = expression.strip_prefix("resource").ok_or_else(unknown)?.trim();
                let quoted = index
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'))
                    .map(str::trim)
                    .ok_or_else(unknown)?;
                let name = ['"', '\'']
                    .into_iter()
                    .find_map(|quote| quoted.strip_prefix(quote)?.strip_suffix(quote))
                    .filter(|name| !name.is_empty())
                    .ok_or_else(unknown)?;
                Ok(Self::Resource(name.to_owned()))
            }
        }
    }
}

impl Template {
    /// Whether all that it puts into a text is shown elsewhere anyway: the routing key, the signal, attributes whose value is the
    /// routing key or that `is_shown` knows. Of text around these only marks such as `-` and `/` are harmless: the rest may be
    /// a secret.
    pub fn shows_nothing_new(&self, values: &impl Values, is_shown: impl Fn(&str) -> bool) -> bool {
        let is_harmless = |part: &Part| match part {
            Part::Text(text) => !text.contains(char::is_alphanumeric),
            Part::Key | Part::Signal => true,
            Part::Resource(name) => {
                is_shown(name) || values.key().is_some_and(|key| values.resource(name) == Some(key))
            }
        };
        self.parts.iter().any(|part| !matches!(part, Part::Text(_))) && self.parts.iter().all(is_harmless)
    }
}

impl Place {
    fn put(self, out: &mut String, name: &str, value: &str) -> Result<(), RenderError> {
        let refuse = |place, reason| Err(RenderError::Unsafe { name: name.to_owned(), place, reason });
        match self {
            Self::Key => out.push_str(value),
            Self::Header => {
                if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                    return refuse("a header", "only printable ASCII can be sent in a header");
                }
                // Wherever the value stands in the header, so that one rule holds for all (RFC 9110, section 5.5; RFC
                // 9113, section 8.2.1).
                if value.starts_with(' ') || value.ends_with(' ') {
                    return refuse("a header", "the spaces around it would not arrive");
                }
                out.push_str(value);
            }
            Self::Url if in_authority(out) => {
                let host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
                if !value.bytes().all(host) {
                    return refuse("a URL's host", "only letters, digits, `-` and `.` make a host name");
                }
                out.push_str(value);
            }
            Self::Url => {
                if matches!(value, "." | "..") {
                    return refuse("a URL path", "`.` and `..` would name another path");
                }
                write!(out, "{}", utf8_percent_encode(value, RESERVED))
                    .expect("writing to a String can't fail");
            }
        }
        Ok(())
    }
}

/// Whether what follows `url` is still in its host and port.
fn in_authority(url: &str) -> bool {
    url.find("://").is_none_or(|scheme| !url[scheme + 3..].contains(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static str);

    impl Values for Fixed {
        fn key(&self) -> Option<&str> {
            Some(self.0)
        }
        fn signal(&self) -> Signal {
            Signal::Logs
        }
        fn resource(&self, name: &str) -> Option<&str> {
            (name == "service.name").then_some("shop")
        }
    }

    fn url(text: &str, key: &'static str) -> Result<String, RenderError> {
        Template::parse(text).expect("a template").render(&Fixed(key), Place::Url)
    }

    #[test]
    fn fills_key_signal_and_resource_attributes() {
        let template = Template::parse(r#"{{key}}/{{ signal }}/{{ resource["service.name"] }}!"#).unwrap();
        assert_eq!(template.render(&Fixed("k"), Place::Key).unwrap(), "k/logs/shop!");
        assert_eq!(template.attributes().collect::<Vec<_>>(), ["service.name"]);
        assert_eq!(template.query_attributes().count(), 0);
        let asks = Template::parse("http://u/{{ resource['a'] }}?b={{ resource['b'] }}").unwrap();
        assert_eq!(asks.query_attributes().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn only_what_is_made_of_values_that_are_shown_anyway_shows_nothing_new() {
        let shows = |text: &str, key: &'static str| {
            Template::parse(text).unwrap().shows_nothing_new(&Fixed(key), |name| name == "zone")
        };
        for text in
            ["{{ key }}", "{{ signal }}", "{{ key }}/{{ signal }}", " {{ key }}-{{ resource['zone'] }}"]
        {
            assert!(shows(text, "tenant"), "{text}");
        }
        // It has the value that the routing key has.
        assert!(shows("{{ resource['service.name'] }}", "shop"));
        for text in [
            "s3cret",
            "",
            "--",
            "Bearer {{ key }}",
            "{{ key }}s",
            "{{ key }}é",
            "{{ resource['service.name'] }}",
            "{{ key }} {{ resource['token'] }}",
        ] {
            assert!(!shows(text, "tenant"), "{text}");
        }
    }

    #[test]
    fn what_was_brought_in_is_never_a_template() {
        let parse = |text: &str, literal: Range<usize>| Template::parse_around(text, &[literal]);
        let text = "ab{{ key }}cd{{";
        assert_eq!(parse(text, 0..text.len()).unwrap().as_text(), Some(text));
        // Braces of which one alone was brought in, on either side.
        assert_eq!(parse("{{ key }}", 1..2).unwrap().as_text(), Some("{{ key }}"));
        assert_eq!(parse("{{ key }}", 0..1).unwrap().as_text(), Some("{{ key }}"));
        assert_eq!(parse("{{ key }}", 7..8), Err(TemplateError::Unclosed(0)));
        assert_eq!(parse("{{ key }}", 3..6), Err(TemplateError::Unknown("key".into())));
        let render = |template: Template| template.render(&Fixed("k"), Place::Header).unwrap();
        assert_eq!(render(parse("{{ key }}-{{ key }}", 10..19).unwrap()), "k-{{ key }}");
        let attribute = parse(r#"{{ resource["service.name"] }}"#, 13..25).unwrap();
        assert_eq!(render(attribute), "shop");
        let name = parse(r#"{{ resource["a}}b"] }}"#, 13..17).unwrap();
        assert_eq!(name.attributes().collect::<Vec<_>>(), ["a}}b"]);
    }

    #[test]
    fn a_value_cannot_leave_its_path_segment() {
        assert_eq!(url("http://u/{{ key }}/v1", "a/../b?c").unwrap(), "http://u/a%2F..%2Fb%3Fc/v1");
        assert!(url("http://u/{{ key }}/v1", "..").is_err());
    }

    #[test]
    fn a_value_in_a_host_is_made_of_host_characters() {
        assert_eq!(
            url("https://{{ key }}.b.s2.dev/otlp", "basin-1").unwrap(),
            "https://basin-1.b.s2.dev/otlp"
        );
        assert!(url("https://{{ key }}.b.s2.dev/otlp", "evil.example/").is_err());
    }

    #[test]
    fn a_value_in_a_header_is_header_safe() {
        let template = Template::parse("Bearer {{ key }}").unwrap();
        assert_eq!(template.render(&Fixed("abc"), Place::Header).unwrap(), "Bearer abc");
        assert!(template.render(&Fixed("a\r\nb"), Place::Header).is_err());
        assert_eq!(template.render(&Fixed("a b"), Place::Header).unwrap(), "Bearer a b");
    }

    #[test]
    fn a_value_with_spaces_around_it_can_not_be_put_into_a_header_wherever_it_stands_there() {
        for text in ["{{ key }}", "Bearer {{ key }}", "{{ key }};", "<{{ key }}>"] {
            let template = Template::parse(text).unwrap();
            for key in ["admin ", " admin", "  admin  ", "admin\t", "\tadmin", " "] {
                let refused = template.render(&Fixed(key), Place::Header).unwrap_err().to_string();
                assert!(refused.starts_with("the value of `key` can't be put into a header: "), "{refused}");
                assert_eq!(template.render(&Fixed(key), Place::Key).unwrap(), text.replace("{{ key }}", key));
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let template = Template::parse(r#"{{ resource["nope"] }}"#).unwrap();
        assert_eq!(template.render(&Fixed("k"), Place::Key), Err(RenderError::Missing("nope".into())));
    }

    #[test]
    fn unknown_expressions_say_what_to_write() {
        assert_eq!(Template::parse("{{ tenant }}"), Err(TemplateError::Unknown("tenant".into())));
        assert_eq!(Template::parse("a {{ key"), Err(TemplateError::Unclosed(2)));
    }
}
