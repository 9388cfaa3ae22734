//! Queries as they are asked of records.

use std::collections::HashMap;

use super::bound::{QueryBound, SeverityLevel};
use super::evaluate::{CompiledQuery, QuerySet};
use super::field::{AttributePlace, QueryField};
use super::pattern::TextMatcher;
use super::{Comparison, FieldTest, Query, TextPattern};
use otlp::Signal;

/// A query whose parts are in the order of what it costs to look at them.
#[derive(Clone, Debug)]
pub(super) enum QueryNode {
    All(Vec<QueryNode>),
    Any(Vec<QueryNode>),
    Not(Box<QueryNode>),
    Signal(Signal),
    Tenant(RememberedMatcher),
    Stream(RememberedMatcher),
    Exporter(RememberedMatcher),
    SeverityLevel(Interval<SeverityLevel>),
    SeverityNumber(Interval<f64>),
    SeverityText(TextMatcher),
    Body(TextMatcher),
    Name(RememberedMatcher),
    Text(RememberedMatcher),
    TraceId(IdTest),
    SpanId(IdTest),
    ParentSpanId(IdTest),
    Time(Interval<u64>),
    Duration(Interval<u64>),
    Scope(RememberedMatcher),
    Attribute {
        /// Positions in [`WantedNames`].
        names: Box<[usize]>,
        place: Option<AttributePlace>,
        test: ValueCondition,
        memory: usize,
    },
}

/// Asked of a text that several records may have in common: what it has come to is remembered until that text is another one.
#[derive(Clone, Debug)]
pub(super) struct RememberedMatcher {
    pub(super) matcher: TextMatcher,
    /// Its place among all that is remembered.
    pub(super) memory: usize,
}

/// What is asked of an id.
#[derive(Clone, Debug)]
pub(super) enum IdTest {
    Is(Box<[u8]>),
    /// Its hexadecimal digits.
    Like(TextMatcher),
}

/// What is asked of a value.
#[derive(Clone, Debug)]
pub(super) enum ValueCondition {
    Text {
        matcher: TextMatcher,
        /// The number that the text is, if it is one.
        int: Option<i64>,
        number: Option<Interval<f64>>,
    },
    Number(Interval<f64>),
}

/// Values from one to another, each of which is in it if that is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<T> {
    from: Option<(T, bool)>,
    to: Option<(T, bool)>,
}

impl<T: PartialOrd + Copy> Interval<T> {
    const ALL: Self = Self { from: None, to: None };

    pub(super) fn contains(&self, value: T) -> bool {
        self.from.is_none_or(|(from, included)| value > from || (included && value == from))
            && self.to.is_none_or(|(to, included)| value < to || (included && value == to))
    }

    fn compare(comparison: Comparison, bound: T) -> Self {
        let (from, to) = match comparison {
            Comparison::Equal => (Some((bound, true)), Some((bound, true))),
            Comparison::Below => (None, Some((bound, false))),
            Comparison::AtMost => (None, Some((bound, true))),
            Comparison::Above => (Some((bound, false)), None),
            Comparison::AtLeast => (Some((bound, true)), None),
        };
        Self { from, to }
    }

    /// What a test asks, by what bounds of its field are.
    fn of(test: &FieldTest, value: impl Fn(QueryBound) -> Option<T>) -> Self {
        let bound = |bound: Option<QueryBound>| bound.and_then(&value).map(|bound| (bound, true));
        match test {
            // `field:*`.
            FieldTest::Matches(_) => Self::ALL,
            FieldTest::Compare(comparison, bound) => {
                value(*bound).map_or(Self::ALL, |bound| Self::compare(*comparison, bound))
            }
            FieldTest::Between(from, to) => Self { from: bound(*from), to: bound(*to) },
        }
    }
}

/// The names of the attributes that queries look for, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedNames {
    positions: HashMap<Box<[u8]>, usize>,
    /// Whether a name of so many bytes is among them: most keys are not, and are of another length.
    lengths: [bool; 32],
}

/// What the queries of a set have in common, as they are compiled.
#[derive(Default)]
struct QueryParts {
    names: WantedNames,
    /// How many conditions are remembered.
    remembered: usize,
}

impl QueryParts {
    fn memory(&mut self) -> usize {
        self.remembered += 1;
        self.remembered - 1
    }

    fn remembered(&mut self, matcher: TextMatcher) -> RememberedMatcher {
        RememberedMatcher { matcher, memory: self.memory() }
    }
}

impl WantedNames {
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn position(&self, key: &[u8]) -> Option<usize> {
        if self.lengths.get(key.len()).is_some_and(|there| !there) {
            return None;
        }
        self.positions.get(key).copied()
    }

    fn add(&mut self, name: &str) -> usize {
        let next = self.positions.len();
        if let Some(length) = self.lengths.get_mut(name.len()) {
            *length = true;
        }
        *self.positions.entry(name.as_bytes().into()).or_insert(next)
    }
}

impl QuerySet {
    /// Compiles queries, which keep their positions.
    pub fn new<'q>(queries: impl IntoIterator<Item = &'q Query>) -> Self {
        let mut parts = QueryParts::default();
        let queries = queries.into_iter().map(|query| CompiledQuery::new(node(query, &mut parts))).collect();
        Self { queries, names: parts.names, remembered: parts.remembered }
    }
}

fn node(query: &Query, parts: &mut QueryParts) -> QueryNode {
    let mut nodes = |queries: &[Query]| {
        let mut nodes: Vec<QueryNode> = queries.iter().map(|query| node(query, parts)).collect();
        nodes.sort_by_key(QueryNode::cost);
        nodes
    };
    match query {
        Query::Everything => QueryNode::All(Vec::new()),
        Query::And(queries) => QueryNode::All(nodes(queries)),
        Query::Or(queries) => QueryNode::Any(nodes(queries)),
        Query::Not(query) => QueryNode::Not(node(query, parts).into()),
        Query::Text(pattern) => QueryNode::Text(parts.remembered(TextMatcher::containing(pattern))),
        Query::Field(field, test) => of_field(field, test, parts),
    }
}

fn of_field(field: &QueryField, test: &FieldTest, parts: &mut QueryParts) -> QueryNode {
    let any = TextPattern::default();
    let pattern = if let FieldTest::Matches(pattern) = test { pattern } else { &any };
    let whole = || TextMatcher::whole(pattern);
    let exactly = || TextMatcher::exactly(pattern);
    let time = |bound| if let QueryBound::Time(nanos) = bound { Some(nanos) } else { None };
    let duration = |bound| if let QueryBound::Duration(nanos) = bound { Some(nanos) } else { None };
    let level = |bound| if let QueryBound::SeverityLevel(level) = bound { Some(level) } else { None };
    let number = |bound| if let QueryBound::Number(number) = bound { Some(number) } else { None };
    match field {
        QueryField::Signal => match test {
            FieldTest::Compare(_, QueryBound::Signal(signal)) => QueryNode::Signal(*signal),
            _ => QueryNode::All(Vec::new()),
        },
        QueryField::Tenant => QueryNode::Tenant(parts.remembered(exactly())),
        QueryField::Stream => QueryNode::Stream(parts.remembered(exactly())),
        QueryField::Exporter => QueryNode::Exporter(parts.remembered(exactly())),
        QueryField::SeverityLevel => QueryNode::SeverityLevel(Interval::of(test, level)),
        QueryField::SeverityNumber => QueryNode::SeverityNumber(Interval::of(test, number)),
        QueryField::SeverityText => QueryNode::SeverityText(whole()),
        QueryField::Body => QueryNode::Body(TextMatcher::containing(pattern)),
        QueryField::Name => QueryNode::Name(parts.remembered(whole())),
        QueryField::TraceId => QueryNode::TraceId(id_test(pattern)),
        QueryField::SpanId => QueryNode::SpanId(id_test(pattern)),
        QueryField::ParentSpanId => QueryNode::ParentSpanId(id_test(pattern)),
        QueryField::Time => QueryNode::Time(Interval::of(test, time)),
        QueryField::Duration => QueryNode::Duration(Interval::of(test, duration)),
        QueryField::Scope => QueryNode::Scope(parts.remembered(whole())),
        QueryField::Attribute { place, .. } => {
            let test = match test {
                FieldTest::Matches(pattern) => {
                    let literal = pattern.literal();
                    ValueCondition::Text {
                        matcher: TextMatcher::whole(pattern),
                        int: literal.and_then(|text| text.parse().ok()),
                        number: literal
                            .and_then(|text| text.parse().ok())
                            .map(|number| Interval::compare(Comparison::Equal, number)),
                    }
                }
                ordered => ValueCondition::Number(Interval::of(ordered, number)),
            };
            let names = field.attributes().map(|name| parts.names.add(name)).collect();
            QueryNode::Attribute { names, place: *place, test, memory: parts.memory() }
        }
    }
}

fn id_test(pattern: &TextPattern) -> IdTest {
    let bytes = pattern.literal().and_then(|text| {
        let digits: Option<Vec<u8>> = text.chars().map(|char| Some(char.to_digit(16)? as u8)).collect();
        let digits = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
        Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    });
    bytes.map_or_else(|| IdTest::Like(TextMatcher::whole(pattern)), IdTest::Is)
}

impl QueryNode {
    /// What it costs to look at it: 0 is known of the entry, 1 stands in the record, 2 in its attributes, 3 is searched for in texts.
    fn cost(&self) -> u8 {
        match self {
            Self::Signal(_) | Self::Tenant(_) | Self::Stream(_) | Self::Exporter(_) => 0,
            Self::SeverityLevel(_)
            | Self::SeverityNumber(_)
            | Self::SeverityText(_)
            | Self::Name(_)
            | Self::TraceId(_)
            | Self::SpanId(_)
            | Self::ParentSpanId(_)
            | Self::Time(_)
            | Self::Duration(_)
            | Self::Scope(_) => 1,
            Self::Attribute { .. } => 2,
            Self::Body(_) | Self::Text(_) => 3,
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(part) => part.cost(),
        }
    }
    /// Whether a tenant, a stream or an exporter is asked for.
    pub(super) fn asks_origin(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::asks_origin),
            Self::Not(part) => part.asks_origin(),
            Self::Tenant(_) | Self::Stream(_) | Self::Exporter(_) => true,
            _ => false,
        }
    }

    /// How often the bytes of an entry may be gone through for it, beside the walk over them.
    pub(super) fn passes(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::passes).sum(),
            Self::Not(part) => part.passes(),
            Self::Tenant(remembered)
            | Self::Stream(remembered)
            | Self::Exporter(remembered)
            | Self::Name(remembered)
            | Self::Text(remembered)
            | Self::Scope(remembered) => remembered.matcher.passes(),
            Self::Body(matcher)
            | Self::SeverityText(matcher)
            | Self::Attribute { test: ValueCondition::Text { matcher, .. }, .. } => matcher.passes(),
            _ => 0,
        }
    }

    /// Whether values are looked at, which may have to be made into texts first.
    pub(super) fn reads_values(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::reads_values),
            Self::Not(part) => part.reads_values(),
            condition => condition.cost() > 1,
        }
    }
}
