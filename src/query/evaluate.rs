//! Asks compiled queries of records, on the bytes of their entry.
//!
//! What an entry is known by - its signal, its tenant, its streams, its resource - is looked at first: where that is enough to
//! say that no record of it can match, none is looked at. Of a record, fields and attributes are read when the first query
//! asks for them, and once.

use std::cell::{OnceCell, RefCell};
use std::fmt::Write as _;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use smallvec::SmallVec;

use super::bound::SeverityLevel;
use super::compile::{IdTest, QueryNode, ValueCondition, WantedNames};
use super::field::AttributePlace;
use super::pattern::TextMatcher;
use crate::otlp::{
    self, AttributeView, ReadValue, RecordFields, RecordView, Signal, resource_attributes, visit_records,
};

/// Bytes of a text that are looked at.
const LOOKED_AT: usize = 64 * 1024;

/// Any number of compiled queries.
#[derive(Clone, Debug, Default)]
pub struct QuerySet {
    pub(super) roots: Vec<QueryNode>,
    pub(super) names: WantedNames,
}

/// What is known of an entry beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecordOrigin<'o> {
    /// What its records are.
    pub signal: Signal,
    /// Whose it is.
    pub tenant: Option<&'o str>,
    /// The exporters that it goes to, and the routing key that it has there, as people write it.
    pub streams: &'o [(&'o str, &'o str)],
}

/// The attributes that queries look for, at the positions of their names.
type FoundValues<'a> = SmallVec<[Option<ReadValue<'a>>; 8]>;

impl QuerySet {
    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Whether records of a signal can match any of the queries.
    pub fn can_match(&self, signal: Signal) -> bool {
        let can = |root: &QueryNode| root.decided(&|condition| condition.of_signal(signal)) != Some(false);
        self.roots.iter().any(can)
    }

    /// Tells `found` of every record of a valid entry, and of every query at these positions that it matches.
    pub fn evaluate<'a>(
        &self,
        among: Range<usize>,
        origin: &RecordOrigin<'_>,
        entry: &'a [u8],
        found: &mut dyn FnMut(usize, &RecordView<'_, 'a>),
    ) {
        let facts = EntryFacts {
            names: &self.names,
            origin,
            resource: OnceCell::new(),
            entry,
            scope: RefCell::default(),
        };
        let may_match = |query: &usize| self.roots[*query].of_entry(&facts) != Some(false);
        let candidates: SmallVec<[usize; 8]> = among.filter(may_match).collect();
        if candidates.is_empty() {
            return;
        }
        let visited = visit_records(origin.signal, entry, &mut |record| {
            let facts = RecordFacts {
                entry: &facts,
                record,
                fields: OnceCell::new(),
                own: OnceCell::new(),
                metadata: OnceCell::new(),
            };
            for query in &candidates {
                if self.roots[*query].of_record(&facts) {
                    found(*query, record);
                }
            }
            ControlFlow::Continue(())
        });
        debug_assert!(visited.is_continue(), "all records are looked at");
    }

    /// Whether a record matches the query at this position.
    pub fn matches(&self, query: usize, origin: &RecordOrigin<'_>, entry: &[u8]) -> bool {
        let mut matches = false;
        self.evaluate(query..query + 1, origin, entry, &mut |_, _| matches = true);
        matches
    }
}

/// What is known of an entry.
struct EntryFacts<'f, 'a> {
    names: &'f WantedNames,
    origin: &'f RecordOrigin<'f>,
    entry: &'a [u8],
    resource: OnceCell<FoundValues<'a>>,
    /// What the scope has of which a record was last looked at, by where its records stand.
    scope: RefCell<Option<(*const u8, Rc<FoundValues<'a>>)>>,
}

/// What is known of a record.
struct RecordFacts<'f, 'a> {
    entry: &'f EntryFacts<'f, 'a>,
    record: &'f RecordView<'f, 'a>,
    fields: OnceCell<RecordFields<'a>>,
    own: OnceCell<FoundValues<'a>>,
    metadata: OnceCell<FoundValues<'a>>,
}

impl<'a> EntryFacts<'_, 'a> {
    fn gather(&self, attributes: impl Iterator<Item = AttributeView<'a>>) -> FoundValues<'a> {
        let mut values: FoundValues<'a> = smallvec::smallvec![None; self.names.len()];
        for attribute in attributes {
            if let Some(position) = self.names.position(attribute.key_bytes()) {
                values[position] = Some(attribute.value());
            }
        }
        values
    }

    fn resource(&self) -> &FoundValues<'a> {
        self.resource.get_or_init(|| self.gather(resource_attributes(otlp::resource(self.entry))))
    }
}

impl<'a> RecordFacts<'_, 'a> {
    fn fields(&self) -> &RecordFields<'a> {
        self.fields.get_or_init(|| self.record.fields())
    }

    fn own(&self) -> &FoundValues<'a> {
        self.own.get_or_init(|| self.entry.gather(self.record.attributes()))
    }

    fn metadata(&self) -> &FoundValues<'a> {
        self.metadata.get_or_init(|| self.entry.gather(self.record.metadata()))
    }

    fn scope(&self) -> Rc<FoundValues<'a>> {
        let stands_in = self.record.scope_position();
        let mut last = self.entry.scope.borrow_mut();
        match &*last {
            Some((position, values)) if *position == stands_in => values.clone(),
            _ => {
                let values = Rc::new(self.entry.gather(self.record.scope_attributes()));
                *last = Some((stands_in, values.clone()));
                values
            }
        }
    }

    /// The value of the first of these attributes that is there, in the place that is nearest to the record.
    fn attribute(&self, names: &[usize], place: Option<AttributePlace>) -> Option<ReadValue<'a>> {
        let first = |values: &FoundValues<'a>| names.iter().find_map(|name| values[*name]);
        match place {
            Some(AttributePlace::Record) => first(self.own()),
            Some(AttributePlace::Scope) => first(&self.scope()),
            Some(AttributePlace::Resource) => first(self.entry.resource()),
            None => first(self.own())
                .or_else(|| if self.is_point() { first(self.metadata()) } else { None })
                .or_else(|| first(&self.scope()))
                .or_else(|| first(self.entry.resource())),
        }
    }

    fn is_point(&self) -> bool {
        self.record.signal() == Signal::Metrics
    }

    fn level(&self) -> Option<SeverityLevel> {
        let fields = self.fields();
        match self.record.signal() {
            Signal::Logs => SeverityLevel::of_log(fields.severity_number, fields.severity_text),
            Signal::Traces => fields.failed.then_some(SeverityLevel::Error),
            Signal::Metrics => None,
        }
    }
}

impl QueryNode {
    /// Whether the query is decided by what is known of its conditions, each of which `leaf` decides or leaves open.
    fn decided(&self, leaf: &dyn Fn(&Self) -> Option<bool>) -> Option<bool> {
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
    fn of_signal(&self, signal: Signal) -> Option<bool> {
        let has_it = match self {
            Self::Signal(wanted) => return Some(*wanted == signal),
            Self::SeverityLevel(_) | Self::TraceId(_) | Self::SpanId(_) => signal != Signal::Metrics,
            Self::SeverityNumber(_) | Self::SeverityText(_) | Self::Body(_) => signal == Signal::Logs,
            Self::ParentSpanId(_) | Self::Duration(_) => signal == Signal::Traces,
            _ => true,
        };
        if has_it { None } else { Some(false) }
    }

    /// Whether what is known of the entry decides for all of its records.
    fn of_entry(&self, facts: &EntryFacts<'_, '_>) -> Option<bool> {
        let origin = facts.origin;
        self.decided(&|condition| match condition {
            Self::Tenant(matcher) => Some(origin.tenant.is_some_and(|tenant| matcher.matches(tenant))),
            Self::Stream(matcher) => Some(origin.streams.iter().any(|(_, key)| matcher.matches(key))),
            Self::Exporter(matcher) => Some(origin.streams.iter().any(|(name, _)| matcher.matches(name))),
            Self::Attribute { names, place: Some(AttributePlace::Resource), test } => {
                let value = names.iter().find_map(|name| facts.resource()[*name]);
                Some(value.is_some_and(|value| test.matches(&value)))
            }
            other => other.of_signal(origin.signal),
        })
    }

    /// Whether a record matches.
    fn of_record(&self, facts: &RecordFacts<'_, '_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.of_record(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.of_record(facts)),
            Self::Not(part) => !part.of_record(facts),
            Self::Signal(_) | Self::Tenant(_) | Self::Stream(_) | Self::Exporter(_) => {
                self.of_entry(facts.entry) == Some(true)
            }
            Self::SeverityLevel(levels) => facts.level().is_some_and(|level| levels.contains(level)),
            Self::SeverityNumber(numbers) => {
                let number = facts.fields().severity_number;
                number != 0 && numbers.contains(number as f64)
            }
            Self::SeverityText(matcher) => is_text(facts.fields().severity_text, matcher),
            Self::Body(matcher) => has_text(&facts.fields().body, matcher),
            Self::Name(matcher) => is_text(facts.fields().name, matcher),
            Self::Text(matcher) => {
                let fields = facts.fields();
                has_text(&fields.body, matcher)
                    || is_text(fields.name, matcher)
                    || is_text(fields.status_message, matcher)
            }
            Self::TraceId(test) => test.matches(facts.fields().trace_id),
            Self::SpanId(test) => test.matches(facts.fields().span_id),
            Self::ParentSpanId(test) => test.matches(facts.fields().parent_span_id),
            Self::Time(times) => {
                let time = facts.fields().time;
                time != 0 && times.contains(time)
            }
            Self::Duration(durations) => {
                let RecordFields { time, end, .. } = *facts.fields();
                end != 0 && durations.contains(end.saturating_sub(time))
            }
            Self::Scope(matcher) => is_text(facts.record.scope().0, matcher),
            Self::Attribute { names, place, test } => {
                facts.attribute(names, *place).is_some_and(|value| test.matches(&value))
            }
        }
    }
}

/// Whether there is a text, and it matches.
fn is_text(text: &str, matcher: &TextMatcher) -> bool {
    !text.is_empty() && matcher.matches(looked_at(text))
}

/// Whether a body is there, and matches as text.
fn has_text(body: &ReadValue<'_>, matcher: &TextMatcher) -> bool {
    match body {
        ReadValue::Empty => false,
        ReadValue::Text(text) => matcher.matches(looked_at(text)),
        other => matcher.matches(looked_at(&other.text())),
    }
}

fn looked_at(text: &str) -> &str {
    if text.len() <= LOOKED_AT {
        return text;
    }
    let mut end = LOOKED_AT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl IdTest {
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
    fn matches(&self, value: &ReadValue<'_>) -> bool {
        if let ReadValue::List(_) = value
            && !matches!(self, Self::Text { matcher: TextMatcher::Any, .. })
        {
            return value.items().any(|item| self.matches(&item));
        }
        match (self, value) {
            (Self::Text { matcher: TextMatcher::Any, .. }, _) => true,
            (Self::Text { matcher, .. }, ReadValue::Text(text)) => matcher.matches(looked_at(text)),
            (Self::Text { int: Some(wanted), .. }, ReadValue::Int(int)) => wanted == int,
            (Self::Text { number: Some(wanted), .. }, ReadValue::Int(int)) => wanted.contains(*int as f64),
            (Self::Text { number: Some(wanted), .. }, ReadValue::Double(number))
                if wanted.contains(*number) =>
            {
                true
            }
            (Self::Text { matcher, .. }, value) => matcher.matches(looked_at(&value.text())),
            (Self::Number(numbers), ReadValue::Int(int)) => numbers.contains(*int as f64),
            (Self::Number(numbers), ReadValue::Double(number)) => numbers.contains(*number),
            (Self::Number(numbers), ReadValue::Text(text)) => {
                let number = text.trim().parse::<f64>();
                number.is_ok_and(|number| numbers.contains(number))
            }
            (Self::Number(_), _) => false,
        }
    }
}
