//! Asks compiled queries of records, on the bytes of their entry.
//!
//! What an entry is known by - its signal, its tenant, its streams, its resource - is looked at first: where that is enough to
//! say that no record of it can match, none is looked at. Of a record, fields and attributes are read when the first query
//! asks for them, and once.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::compile::{IdTest, QueryNode, RememberedMatcher, ValueCondition, WantedNames};
use super::facts::{EntryFacts, QuerySight, RecordFacts, SeenValue};
use super::field::AttributePlace;
use super::pattern::TextMatcher;
use otlp::{ReadValue, RecordFields, RecordView, Signal, visit_records};

/// What it takes to make a value into a text, beside a walk over its bytes.
const AS_TEXT: usize = 7;

/// What it takes to look for what is hidden in the texts of an entry, beside a walk over its bytes.
const REDACTING: usize = 16;

/// Any number of compiled queries.
#[derive(Clone, Debug, Default)]
pub struct QuerySet {
    pub(super) queries: Vec<CompiledQuery>,
    pub(super) names: WantedNames,
    /// How many conditions are remembered.
    pub(super) remembered: usize,
}

/// A query, with what is known of it before an entry comes.
#[derive(Clone, Debug)]
pub(super) struct CompiledQuery {
    root: QueryNode,
    /// What each signal decides for all of its records.
    of_signals: [Option<bool>; Signal::ALL.len()],
    /// Whether tenants, streams or exporters may decide as well.
    asks_origin: bool,
}

impl CompiledQuery {
    pub(super) fn new(root: QueryNode) -> Self {
        let of_signals = Signal::ALL.map(|signal| root.decided(&|condition| condition.of_signal(signal)));
        Self { of_signals, asks_origin: root.asks_origin(), root }
    }

    /// Whether what is known of an entry beside its bytes leaves it open whether records match. However long the query is, that takes
    /// no time to speak of.
    fn may_match(&self, origin: &RecordOrigin<'_>) -> bool {
        let decided = self.of_signals[origin.signal.index()].or_else(|| {
            self.asks_origin.then(|| self.root.decided(&|condition| condition.of_origin(origin))).flatten()
        });
        decided != Some(false)
    }
}

/// What came of a look at an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedAt {
    /// The queries that records of it may match, by what is known of the entry.
    pub queries: SmallVec<[usize; 8]>,
    /// Records that were looked at for all of these, from the first on: fewer than there are if time has run out.
    pub records: u64,
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
    /// When it was admitted, in nanoseconds since 1970.
    pub admitted: u64,
}

impl RecordOrigin<'_> {
    /// The time of a record, in nanoseconds since 1970: as OTLP has it, when it happened or else was observed; of one that says
    /// neither, when it was admitted.
    pub fn time_of(&self, fields: &RecordFields<'_>) -> u64 {
        if fields.time == 0 { self.admitted } else { fields.time }
    }
}

impl QuerySet {
    /// How often the bytes of an entry may be gone through to look at records of a signal, at the pace of a walk over it; 0 if none
    /// can match. Where something is `redacted`, that takes its time, too.
    pub fn most_passes(&self, signal: Signal, redacted: bool) -> usize {
        let can = |query: &&CompiledQuery| query.of_signals[signal.index()] != Some(false);
        let (mut any, mut reads_values, mut passes) = (false, false, 0);
        for CompiledQuery { root, .. } in self.queries.iter().filter(can) {
            any = true;
            reads_values |= root.reads_values();
            passes += root.passes();
        }
        let of_values = AS_TEXT + if redacted { REDACTING } else { 0 };
        usize::from(any) + passes + if reads_values { of_values } else { 0 }
    }

    /// Tells `found` of every record of a valid entry, and of every query that it matches.
    pub fn evaluate<'a>(
        &self,
        origin: &RecordOrigin<'_>,
        entry: &'a [u8],
        sight: &QuerySight<'_>,
        found: &mut dyn FnMut(usize, &RecordView<'_, 'a>),
    ) -> LookedAt {
        let may_match = |query: &usize| self.queries[*query].may_match(origin);
        let queries = (0..self.queries.len()).filter(may_match).collect();
        let mut looked_at = LookedAt { queries, records: 0 };
        if looked_at.queries.is_empty() || !(sight.has_time)() {
            return looked_at;
        }
        let facts = EntryFacts::new(&self.names, origin, sight, entry, self.remembered);
        let may_match = |query: &usize| self.queries[*query].root.of_entry(&facts) != Some(false);
        let queries: SmallVec<[usize; 8]> = looked_at.queries.iter().copied().filter(may_match).collect();
        if facts.has_run_out() {
            return looked_at;
        }
        looked_at.queries = queries;
        if looked_at.queries.is_empty() {
            return looked_at;
        }
        // Without time for the next record, it ends early.
        let _ = visit_records(origin.signal, entry, &mut |record| {
            if !facts.has_time() {
                return ControlFlow::Break(());
            }
            let of_record = RecordFacts::new(&facts, record);
            let matches = |query: &usize| self.queries[*query].root.of_record(&of_record);
            let matching: SmallVec<[usize; 8]> = looked_at.queries.iter().copied().filter(matches).collect();
            if facts.has_run_out() {
                return ControlFlow::Break(());
            }
            looked_at.records += 1;
            matching.into_iter().for_each(|query| found(query, record));
            ControlFlow::Continue(())
        });
        looked_at
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

    /// Whether what is known of an entry beside its bytes decides, for all of its records, what this condition is about.
    fn of_origin(&self, origin: &RecordOrigin<'_>) -> Option<bool> {
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

    /// The same, remembered.
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
    fn of_entry(&self, facts: &EntryFacts<'_, '_>) -> Option<bool> {
        self.decided(&|condition| match condition {
            Self::Attribute { names, place: Some(AttributePlace::Resource), test, memory } => {
                let passes = facts.resource_passes(*memory, names, |value| test.matches(value, facts));
                Some(passes == Some(true))
            }
            other => other.of_origin_remembered(facts),
        })
    }

    /// Whether a record matches.
    fn of_record(&self, facts: &RecordFacts<'_, '_>) -> bool {
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
