//! Queries as they are asked of records: compiled once, and asked of entries and records by what is known of them.

use std::fmt::Write as _;

use super::bound::{QueryBound, SeverityLevel};
use super::facts::{EntryFacts, RecordFacts, SeenValue};
use super::field::{AttributePlace, QueryField};
use super::interval::Interval;
use super::matcher::{RememberedMatcher, TextMatcher};
use super::names::WantedNames;
use super::origin::RecordOrigin;
use super::{Comparison, FieldTest, Query, TextPattern};
use otlp::{ReadValue, RecordFields, Signal};

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

/// A test of an id.
#[derive(Clone, Debug)]
pub(super) enum IdTest {
    Is(Box<[u8]>),
    /// Its hexadecimal digits.
    Like(TextMatcher),
}

/// A test of a value.
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

/// The parts that the queries of a set have in common, as they are compiled.
#[derive(Default)]
pub(super) struct QueryParts {
    pub(super) names: WantedNames,
    /// How many conditions are remembered.
    pub(super) remembered: usize,
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

impl QueryNode {
    /// Compiles a query, with what it has in common with others of a set.
    pub(super) fn of(query: &Query, parts: &mut QueryParts) -> Self {
        let mut nodes = |queries: &[Query]| {
            let mut nodes: Vec<Self> = queries.iter().map(|query| Self::of(query, parts)).collect();
            nodes.sort_by_key(Self::cost);
            nodes
        };
        match query {
            Query::Everything => Self::All(Vec::new()),
            Query::And(queries) => Self::All(nodes(queries)),
            Query::Or(queries) => Self::Any(nodes(queries)),
            Query::Not(query) => Self::Not(Self::of(query, parts).into()),
            Query::Text(pattern) => Self::Text(parts.remembered(TextMatcher::containing(pattern))),
            Query::Field(field, test) => Self::of_field(field, test, parts),
        }
    }

    fn of_field(field: &QueryField, test: &FieldTest, parts: &mut QueryParts) -> Self {
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
                FieldTest::Compare(_, QueryBound::Signal(signal)) => Self::Signal(*signal),
                _ => Self::All(Vec::new()),
            },
            QueryField::Tenant => Self::Tenant(parts.remembered(exactly())),
            QueryField::Stream => Self::Stream(parts.remembered(exactly())),
            QueryField::Exporter => Self::Exporter(parts.remembered(exactly())),
            QueryField::SeverityLevel => Self::SeverityLevel(Interval::of(test, level)),
            QueryField::SeverityNumber => Self::SeverityNumber(Interval::of(test, number)),
            QueryField::SeverityText => Self::SeverityText(whole()),
            QueryField::Body => Self::Body(TextMatcher::containing(pattern)),
            QueryField::Name => Self::Name(parts.remembered(whole())),
            QueryField::TraceId => Self::TraceId(IdTest::of(pattern)),
            QueryField::SpanId => Self::SpanId(IdTest::of(pattern)),
            QueryField::ParentSpanId => Self::ParentSpanId(IdTest::of(pattern)),
            QueryField::Time => Self::Time(Interval::of(test, time)),
            QueryField::Duration => Self::Duration(Interval::of(test, duration)),
            QueryField::Scope => Self::Scope(parts.remembered(whole())),
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
                Self::Attribute { names, place: *place, test, memory: parts.memory() }
            }
        }
    }

    /// The cost of evaluating it: 0 is known of the entry, 1 stands in the record, 2 in its attributes, 3 is searched for in texts.
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

    /// Whether the query is decided by what is known of its conditions, each of which `leaf` decides or leaves open.
    pub(super) fn decided(&self, leaf: &dyn Fn(&Self) -> Option<bool>) -> Option<bool> {
        match self {
            Self::All(parts) => {
                let mut all = Some(true);
                for part in parts {
                    match part.decided(leaf) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => all = None,
                    }
                }
                all
            }
            Self::Any(parts) => {
                let mut any = Some(false);
                for part in parts {
                    match part.decided(leaf) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => any = None,
                    }
                }
                any
            }
            Self::Not(part) => part.decided(leaf).map(|holds| !holds),
            condition => leaf(condition),
        }
    }

    /// Whether a signal decides, for all of its records, what this condition is about.
    pub(super) fn of_signal(&self, signal: Signal) -> Option<bool> {
        let has_it = match self {
            Self::Signal(wanted) => return Some(*wanted == signal),
            Self::SeverityLevel(_) | Self::TraceId(_) | Self::SpanId(_) => signal != Signal::Metrics,
            Self::SeverityNumber(_) | Self::SeverityText(_) | Self::Body(_) => signal == Signal::Logs,
            Self::ParentSpanId(_) | Self::Duration(_) => signal == Signal::Traces,
            _ => true,
        };
        if has_it { None } else { Some(false) }
    }

    /// Whether what is known of an entry beside its bytes decides, for all of its records, what this condition is about.
    pub(super) fn of_origin(&self, origin: &RecordOrigin<'_>) -> Option<bool> {
        let any_stream = |matches: &dyn Fn(&(&str, &str)) -> bool| Some(origin.streams.iter().any(matches));
        match self {
            Self::Tenant(RememberedMatcher { matcher, .. }) => {
                Some(origin.tenant.is_some_and(|tenant| matcher.matches(tenant)))
            }
            Self::Stream(RememberedMatcher { matcher, .. }) => any_stream(&|(_, key)| matcher.matches(key)),
            Self::Exporter(RememberedMatcher { matcher, .. }) => {
                any_stream(&|(name, _)| matcher.matches(name))
            }
            other => other.of_signal(origin.signal),
        }
    }

    /// As [`Self::of_origin`], with results remembered for the entry.
    fn of_origin_remembered(&self, facts: &EntryFacts<'_, '_>) -> Option<bool> {
        let of_origin = || self.of_origin(facts.origin);
        match self {
            Self::Tenant(RememberedMatcher { memory, .. })
            | Self::Stream(RememberedMatcher { memory, .. })
            | Self::Exporter(RememberedMatcher { memory, .. }) => facts.remember_of_entry(*memory, of_origin),
            _ => of_origin(),
        }
    }

    /// Whether what is known of the entry decides for all of its records.
    pub(super) fn of_entry(&self, facts: &EntryFacts<'_, '_>) -> Option<bool> {
        self.decided(&|condition| match condition {
            Self::Attribute { names, place: Some(AttributePlace::Resource), test, memory } => {
                let passes = facts.resource_passes(*memory, names, |value| test.matches(value, facts));
                Some(passes == Some(true))
            }
            other => other.of_origin_remembered(facts),
        })
    }

    /// Whether a record matches.
    pub(super) fn of_record(&self, facts: &RecordFacts<'_, '_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.of_record(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.of_record(facts)),
            Self::Not(part) => !part.of_record(facts),
            Self::Signal(_) | Self::Tenant(_) | Self::Stream(_) | Self::Exporter(_) => {
                self.of_origin_remembered(facts.entry()) == Some(true)
            }
            Self::SeverityLevel(levels) => facts.level().is_some_and(|level| levels.contains(level)),
            Self::SeverityNumber(numbers) => {
                let number = facts.fields().severity_number;
                number != 0 && numbers.contains(number as f64)
            }
            Self::SeverityText(matcher) => facts.is_severity_text(matcher),
            Self::Body(matcher) => facts.is_body(matcher),
            Self::Name(remembered) => facts.is_name(remembered),
            Self::Text(remembered) => facts.has_text(remembered),
            Self::TraceId(test) => test.matches(facts.fields().trace_id),
            Self::SpanId(test) => test.matches(facts.fields().span_id),
            Self::ParentSpanId(test) => test.matches(facts.fields().parent_span_id),
            Self::Time(times) => times.contains(facts.entry().origin.time_of(facts.fields())),
            Self::Duration(durations) => {
                let RecordFields { time, end, .. } = *facts.fields();
                end != 0 && durations.contains(end.saturating_sub(time))
            }
            Self::Scope(remembered) => facts.is_scope(remembered),
            Self::Attribute { names, place, test, memory } => {
                facts.attribute_passes(*memory, names, *place, |value| test.matches(value, facts.entry()))
            }
        }
    }
}

impl IdTest {
    fn of(pattern: &TextPattern) -> Self {
        let bytes = pattern.literal().and_then(|text| {
            let digits: Option<Vec<u8>> = text.chars().map(|char| Some(char.to_digit(16)? as u8)).collect();
            let digits = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
            Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        });
        bytes.map_or_else(|| Self::Like(TextMatcher::whole(pattern)), Self::Is)
    }

    fn matches(&self, id: &[u8]) -> bool {
        match self {
            _ if id.is_empty() => false,
            Self::Is(wanted) => **wanted == *id,
            Self::Like(matcher) => {
                let mut digits = String::with_capacity(2 * id.len());
                for byte in id {
                    write!(digits, "{byte:02x}").expect("writing to a String can't fail");
                }
                matcher.matches(&digits)
            }
        }
    }
}

impl ValueCondition {
    /// Whether a value, or one of a list of them, is as it should be.
    fn matches(&self, value: &SeenValue<'_>, facts: &EntryFacts<'_, '_>) -> bool {
        match (self, value) {
            (Self::Text { matcher: TextMatcher::Any, .. }, _) => true,
            (_, SeenValue::List(items)) => items.iter().any(|item| self.matches(item, facts)),
            (Self::Text { int: Some(wanted), .. }, SeenValue::Int(int)) => wanted == int,
            (Self::Text { number: Some(wanted), .. }, SeenValue::Int(int)) => wanted.contains(*int as f64),
            (Self::Text { number: Some(wanted), .. }, SeenValue::Double(number))
                if wanted.contains(*number) =>
            {
                true
            }
            (Self::Text { matcher, .. }, SeenValue::Text(text) | SeenValue::Written(text)) => {
                facts.matches(matcher, text)
            }
            (Self::Text { matcher, .. }, SeenValue::Int(int)) => matcher.matches(&int.to_string()),
            (Self::Text { matcher, .. }, SeenValue::Double(number)) => {
                matcher.matches(&ReadValue::Double(*number).text())
            }
            (Self::Number(numbers), SeenValue::Int(int)) => numbers.contains(*int as f64),
            (Self::Number(numbers), SeenValue::Double(number)) => numbers.contains(*number),
            (Self::Number(numbers), SeenValue::Text(text)) => {
                let number = text.trim().parse::<f64>();
                number.is_ok_and(|number| numbers.contains(number))
            }
            (_, SeenValue::Unseen) | (Self::Number(_), SeenValue::Written(_)) => false,
        }
    }
}
