//! The compiled settings of routes.

use std::sync::Arc;

use http::HeaderName;

use super::Glob;
use super::edits::RouteEdit;
use super::matcher::Matcher;
use super::template::Template;

/// The settings of one route.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The configured name, or `route-N` by position from 1.
    pub name: String,
    /// Resource attributes and what must hold for them; all must.
    pub matches: Vec<(String, Matcher)>,
    /// Attributes of records, for which the resource's stand in where a record has none, and what must hold for them; all must.
    pub record_matches: Vec<(String, Matcher)>,
    /// Attributes of records alone, whatever else has one of that name, and what must hold for them; all must.
    pub record_alone_matches: Vec<(String, Matcher)>,
    /// Headers of the request and what must hold for them; all must.
    pub request_matches: Vec<(HeaderName, Matcher)>,
    /// The tenants whose entries it takes; `None` takes those of all tenants, and those without a tenant.
    pub tenants: Option<Vec<Glob>>,
    /// The names of the receivers whose entries it takes; `None` takes those of all.
    pub receivers: Option<Vec<String>>,
    /// Which signals it takes, by `Signal::index`.
    pub signals: [bool; 3],
    /// The source of the stream's routing key.
    pub key: KeySpec,
    /// The edits of its copies of the entries that it takes, in order.
    pub edits: Vec<Arc<RouteEdit>>,
    /// Positions in the list of exporters; each gets every entry. Never empty, without repetition.
    pub exporters: Vec<usize>,
    /// Whether later routes are asked, too.
    pub continues: bool,
    /// Streams alive at a time that come from this route.
    pub max_streams: Option<usize>,
}

/// The source of an entry's routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// No data: the route is one stream, named like the route.
    Route,
    /// One value names the stream.
    One(KeySource),
    /// Several values name the stream, each with the name of its part.
    Parts(Vec<(String, KeySource)>),
}

/// Where a key or a part of it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Resource attributes; the first that is present.
    Attributes(Vec<String>),
    /// An attribute of the record, the first of `record` that is present; else of the resource, the first of `resource`.
    Records {
        /// Never empty.
        record: Vec<String>,
        /// Empty if only the record's count.
        resource: Vec<String>,
    },
    /// A header of the request.
    Request {
        /// Its name.
        header: HeaderName,
        /// The value if the header is absent; without it there is no key then.
        default: Option<String>,
    },
    /// A template over resource attributes, the tenant's row and the signal; never over the key itself.
    Template(Template),
}

impl KeySpec {
    /// Every source of the key.
    pub fn sources(&self) -> impl Iterator<Item = &KeySource> {
        let (one, parts): (Option<&KeySource>, &[_]) = match self {
            Self::Route => (None, &[]),
            Self::One(source) => (Some(source), &[]),
            Self::Parts(parts) => (None, parts),
        };
        one.into_iter().chain(parts.iter().map(|(_, source)| source))
    }
}

impl KeySource {
    /// The resource attributes that it reads.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let (names, template): (&[String], _) = match self {
            Self::Attributes(names) | Self::Records { resource: names, .. } => (names, None),
            Self::Request { .. } => (&[], None),
            Self::Template(template) => (&[], Some(template)),
        };
        names.iter().map(String::as_str).chain(template.into_iter().flat_map(Template::attributes))
    }

    /// The names of the values that it reads of the tenant's row, the id not counted.
    pub fn row_values(&self) -> impl Iterator<Item = &str> {
        let template = match self {
            Self::Attributes(_) | Self::Records { .. } | Self::Request { .. } => None,
            Self::Template(template) => Some(template),
        };
        template.into_iter().flat_map(Template::row_reads)
    }

    /// The attributes of records that it reads.
    pub fn record_attributes(&self) -> &[String] {
        match self {
            Self::Records { record, .. } => record,
            Self::Attributes(_) | Self::Request { .. } | Self::Template(_) => &[],
        }
    }

    /// The header of the request that it reads.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Request { header, .. } => Some(header),
            Self::Attributes(_) | Self::Records { .. } | Self::Template(_) => None,
        }
    }
}

/// The fate of entries that no route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// The sender is told of them by partial success.
    Reject {
        /// Whether a request of which no route takes any record is answered by an error instead.
        whole_as_error: bool,
    },
    /// The entries are dropped, and counted.
    Drop,
    /// The entries become dead letters, if there is a directory for them; else they are rejected.
    DeadLetter,
}
