//! The fields that a query can name.

use std::fmt;

/// A field of a record, or of what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryField {
    /// `signal`.
    Signal,
    /// `tenant`: the id.
    Tenant,
    /// `stream`: the routing key.
    Stream,
    /// `exporter`: the name.
    Exporter,
    /// `level`, `severity`.
    SeverityLevel,
    /// `severity_number`.
    SeverityNumber,
    /// `severity_text`.
    SeverityText,
    /// `body`, `message`.
    Body,
    /// `name`.
    Name,
    /// `trace_id`, `trace`.
    TraceId,
    /// `span_id`, `span`.
    SpanId,
    /// `parent_span_id`.
    ParentSpanId,
    /// `dt`, `time`.
    Time,
    /// `duration`, of spans.
    Duration,
    /// `scope`: the name.
    Scope,
    /// An attribute.
    Attribute {
        /// Where alone it is looked for; without it, wherever it is nearest to the record.
        place: Option<AttributePlace>,
        /// As it is written.
        name: String,
    },
}

/// Where attributes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributePlace {
    /// `attributes.NAME`: the record's own.
    Record,
    /// `scope.NAME`.
    Scope,
    /// `resource.NAME`.
    Resource,
}

/// The words that are no attributes, the one that is printed first.
const WORDS: [(&str, QueryField); 20] = [
    ("signal", QueryField::Signal),
    ("tenant", QueryField::Tenant),
    ("stream", QueryField::Stream),
    ("exporter", QueryField::Exporter),
    ("level", QueryField::SeverityLevel),
    ("severity", QueryField::SeverityLevel),
    ("severity_number", QueryField::SeverityNumber),
    ("severity_text", QueryField::SeverityText),
    ("body", QueryField::Body),
    ("message", QueryField::Body),
    ("name", QueryField::Name),
    ("trace_id", QueryField::TraceId),
    ("trace", QueryField::TraceId),
    ("span_id", QueryField::SpanId),
    ("span", QueryField::SpanId),
    ("parent_span_id", QueryField::ParentSpanId),
    ("dt", QueryField::Time),
    ("time", QueryField::Time),
    ("duration", QueryField::Duration),
    ("scope", QueryField::Scope),
];

/// The prefixes of attributes that are looked for in one place.
const PLACES: [(&str, AttributePlace); 3] = [
    ("attributes.", AttributePlace::Record),
    ("scope.", AttributePlace::Scope),
    ("resource.", AttributePlace::Resource),
];

/// Short names of attributes, and what they are called by OpenTelemetry, today's name first.
const SHORT: [(&str, &[&str]); 12] = [
    ("service", &["service.name"]),
    ("host", &["host.name"]),
    ("env", &["deployment.environment.name", "deployment.environment"]),
    ("version", &["service.version"]),
    ("status", &["http.response.status_code", "http.status_code"]),
    ("method", &["http.request.method", "http.method"]),
    ("path", &["url.path", "http.target"]),
    ("route", &["http.route"]),
    ("pod", &["k8s.pod.name"]),
    ("namespace", &["k8s.namespace.name", "service.namespace"]),
    ("container", &["k8s.container.name", "container.name"]),
    ("job", &["k8s.job.name", "k8s.cronjob.name"]),
];

impl QueryField {
    /// The field that a word names.
    pub(super) fn named(word: &str) -> Self {
        if let Some((_, field)) = WORDS.iter().find(|(known, _)| *known == word) {
            return field.clone();
        }
        for (prefix, place) in PLACES {
            if let Some(name) = word.strip_prefix(prefix).filter(|name| !name.is_empty()) {
                return Self::Attribute { place: Some(place), name: name.to_owned() };
            }
        }
        Self::Attribute { place: None, name: word.to_owned() }
    }

    /// The attributes that it is, the one that counts first if several are there: where its place is said, its name is meant as it
    /// stands; without that, it may be short for others.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        let (place, name) = match self {
            Self::Attribute { place, name } => (*place, Some(&**name)),
            _ => (None, None),
        };
        let is_this = |(short, _): &&(&str, _)| place.is_none() && name == Some(*short);
        let long = SHORT.iter().find(is_this).map_or(&[][..], |(_, long)| *long);
        name.into_iter().chain(long.iter().copied())
    }

    /// The name of the field, as it is printed.
    pub(super) fn word(&self) -> String {
        let word = WORDS.iter().find(|(_, field)| field == self).map(|(word, _)| (*word).to_owned());
        word.unwrap_or_else(|| match self {
            Self::Attribute { place, name } => {
                let prefix = PLACES.iter().find(|(_, known)| Some(*known) == *place);
                format!("{}{name}", prefix.map_or("", |(prefix, _)| prefix))
            }
            _ => String::new(),
        })
    }
}

impl fmt::Display for QueryField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}
