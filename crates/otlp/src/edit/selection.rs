//! Which records a processor `attributes` takes: its `include` and `exclude`, as the Collector reads them.

use regex::Regex;

use super::super::read_value::{ReadValue, text};
use super::super::wire::{Sound, Value};
use super::action::NewValue;
use super::set::AttributeSet;

/// What is read as the name of a service where a resource has none.
const NO_SERVICE: &str = "<nil-service-name>";

/// The names of a span's kinds, by their numbers.
pub const SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

/// The conditions that a record must meet. A condition that is left out, or that is about another signal, is met by all records.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Of the resource's `service.name`.
    pub services: Option<TextTest>,
    /// Of a span's name.
    pub span_names: Option<TextTest>,
    /// Of the name of a span's kind.
    pub span_kinds: Option<TextTest>,
    /// Of a log record's body.
    pub log_bodies: Option<TextTest>,
    /// Of its severity in words.
    pub log_severity_texts: Option<TextTest>,
    /// Of its severity as a number.
    pub log_severity_number: Option<SeverityTest>,
    /// Of the name of a data point's metric.
    pub metric_names: Option<TextTest>,
    /// Of a span's or log record's attributes; all must hold.
    pub attributes: Vec<AttributeTest>,
    /// Of the resource's attributes; all must hold.
    pub resources: Vec<AttributeTest>,
    /// Of the scope; all must hold.
    pub libraries: Vec<LibraryTest>,
}

/// What a text must be.
#[derive(Clone, Debug)]
pub enum TextTest {
    /// One of these.
    Strict(Vec<String>),
    /// Something that one of these is found in.
    Regexp(Vec<Regex>),
}

/// The least severity.
#[derive(Clone, Copy, Debug)]
pub struct SeverityTest {
    /// As a number.
    pub min: i32,
    /// Whether a log record without a severity passes.
    pub match_undefined: bool,
}

/// What an attribute must be.
#[derive(Clone, Debug)]
pub struct AttributeTest {
    /// Its name.
    pub key: String,
    /// What its value must be; `None` if it has to be there and no more.
    pub value: Option<ValueTest>,
}

/// What a value must be.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// This one, in type and value.
    Strict(NewValue),
    /// Something in whose text this is found.
    Regexp(Regex),
}

/// What a scope must be.
#[derive(Clone, Debug)]
pub struct LibraryTest {
    /// Of its name.
    pub name: TextTest,
    /// Of its version.
    pub version: Option<TextTest>,
}

impl Selection {
    /// How many patterns are looked for. To make a text of a log record's body, or of the name of a service, takes as long as one.
    pub(super) fn patterns(&self) -> usize {
        let of_text = |test: &TextTest| match test {
            TextTest::Strict(_) => 0,
            TextTest::Regexp(patterns) => patterns.len(),
        };
        let texts = [
            &self.services,
            &self.span_names,
            &self.span_kinds,
            &self.log_bodies,
            &self.log_severity_texts,
            &self.metric_names,
        ];
        let of_libraries =
            self.libraries.iter().flat_map(|library| [Some(&library.name), library.version.as_ref()]);
        let texts = texts.into_iter().map(Option::as_ref).chain(of_libraries).flatten();
        let attributes = self.attributes.iter().chain(&self.resources);
        let of_attributes = attributes.filter(|test| matches!(test.value, Some(ValueTest::Regexp(_))));
        let made = usize::from(self.log_bodies.is_some()) + usize::from(self.services.is_some());
        texts.map(of_text).sum::<usize>() + of_attributes.count() + made
    }

    /// The most bytes that [`Selection::takes_resource`] takes.
    pub(super) fn memory_for_resource(&self, attributes: &AttributeSet<'_>) -> usize {
        let service = self.services.as_ref().and_then(|_| attributes.get(b"service.name"));
        service.map_or(0, |value| value.memory_as_text())
    }

    /// The most bytes that [`Selection::takes_log_record`] takes.
    pub(super) fn memory_for_log_record(&self, bytes: &[u8]) -> usize {
        if self.log_bodies.is_some() { body(bytes).memory_as_text() } else { 0 }
    }

    /// Whether a resource with these attributes may have records that are selected.
    pub(super) fn takes_resource(&self, attributes: &AttributeSet<'_>) -> bool {
        self.services.as_ref().is_none_or(|services| {
            let name = attributes.get(b"service.name").map(|value| value.text());
            services.matches(&name.unwrap_or(NO_SERVICE.into()))
        }) && all_hold(&self.resources, attributes)
    }

    /// Whether a `ScopeSpans` or `ScopeLogs` may have records that are selected.
    pub(super) fn takes_scope(&self, bytes: &[u8]) -> bool {
        if self.libraries.is_empty() {
            return true;
        }
        let scope = last(bytes, 1).and_then(|scope| scope.delimited()).unwrap_or_default();
        self.libraries.iter().all(|library| {
            library.name.matches(text_of(scope, 1))
                && library.version.as_ref().is_none_or(|version| version.matches(text_of(scope, 2)))
        })
    }

    /// Whether the data points of a metric are selected.
    pub(super) fn takes_metric(&self, bytes: &[u8]) -> bool {
        self.metric_names.as_ref().is_none_or(|names| names.matches(text_of(bytes, 1)))
    }

    /// Whether a span with these attributes is selected.
    pub(super) fn takes_span(&self, bytes: &[u8], attributes: &AttributeSet<'_>) -> bool {
        self.span_names.as_ref().is_none_or(|names| names.matches(text_of(bytes, 5)))
            && self.span_kinds.as_ref().is_none_or(|kinds| {
                let kind = SPAN_KINDS.get(number_of(bytes, 6) as usize);
                kinds.matches(kind.copied().unwrap_or_default())
            })
            && all_hold(&self.attributes, attributes)
    }

    /// Whether a log record with these attributes is selected.
    pub(super) fn takes_log_record(&self, bytes: &[u8], attributes: &AttributeSet<'_>) -> bool {
        self.log_bodies.as_ref().is_none_or(|bodies| bodies.matches(&body(bytes).text()))
            && self.log_severity_texts.as_ref().is_none_or(|texts| texts.matches(text_of(bytes, 3)))
            && self.log_severity_number.is_none_or(|least| match number_of(bytes, 2) as i32 {
                0 => least.match_undefined,
                number => number >= least.min,
            })
            && all_hold(&self.attributes, attributes)
    }
}

/// The body of a log record.
fn body(bytes: &[u8]) -> ReadValue<'_> {
    ReadValue::of(last(bytes, 5).and_then(|body| body.delimited()).unwrap_or_default())
}

fn all_hold(tests: &[AttributeTest], attributes: &AttributeSet<'_>) -> bool {
    tests.iter().all(|test| {
        attributes.get(test.key.as_bytes()).is_some_and(|value| {
            test.value.as_ref().is_none_or(|test| match test {
                ValueTest::Strict(expected) => expected.read() == value,
                ValueTest::Regexp(pattern) => plain_text(&value).is_some_and(|text| pattern.is_match(&text)),
            })
        })
    })
}

/// A value as text that a pattern is looked for in: numbers in all their digits; of lists, maps and bytes there is none.
fn plain_text<'v>(value: &ReadValue<'v>) -> Option<std::borrow::Cow<'v, str>> {
    match value {
        ReadValue::Double(number) if number.is_infinite() => {
            Some(if *number > 0.0 { "+Inf" } else { "-Inf" }.into())
        }
        ReadValue::Double(number) => Some(number.to_string().into()),
        ReadValue::Text(_) | ReadValue::Bool(_) | ReadValue::Int(_) => Some(value.text()),
        ReadValue::Empty | ReadValue::Bytes(_) | ReadValue::List(_) | ReadValue::Map(_) => None,
    }
}

impl TextTest {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Strict(texts) => texts.iter().any(|known| known == text),
            Self::Regexp(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
        }
    }
}

/// The value of the last field with this number: the one that counts.
fn last(message: &[u8], number: u32) -> Option<Value<'_>> {
    Sound::of(message).filter(|(found, _)| *found == number).last().map(|(_, value)| value)
}

fn text_of(message: &[u8], number: u32) -> &str {
    text(last(message, number).and_then(|value| value.delimited()).unwrap_or_default())
}

fn number_of(message: &[u8], number: u32) -> u64 {
    match last(message, number) {
        Some(Value::Number(number)) => number,
        _ => 0,
    }
}
