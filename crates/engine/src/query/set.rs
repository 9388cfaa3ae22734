//! Asks compiled queries of records, on the bytes of their entry.
//!
//! The facts about the entry as a whole - its signal, tenant, streams and resource - are looked at first: where these are enough to
//! say that no record of it can match, none is looked at. Of a record, fields and attributes are read when the first query
//! asks for them, and once.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::Query;
use super::facts::{EntryFacts, QuerySight, RecordFacts};
use super::names::WantedNames;
use super::node::{QueryNode, QueryParts};
use super::origin::RecordOrigin;
use otlp::{RecordView, Signal, visit_records};

/// The cost of making a value into a text, in walks over its bytes.
const AS_TEXT: usize = 7;

/// The cost of redacting the texts of an entry, in walks over its bytes.
const REDACTING: usize = 16;

/// Any number of compiled queries.
#[derive(Clone, Debug, Default)]
pub struct QuerySet {
    queries: Vec<CompiledQuery>,
    names: WantedNames,
    /// How many conditions are remembered.
    remembered: usize,
}

/// A query, with what is known of it before an entry comes.
#[derive(Clone, Debug)]
struct CompiledQuery {
    root: QueryNode,
    /// The result for all records of each signal, where the signal decides.
    of_signals: [Option<bool>; Signal::ALL.len()],
    /// Whether tenants, streams or exporters may decide as well.
    asks_origin: bool,
}

impl CompiledQuery {
    fn new(root: QueryNode) -> Self {
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

/// The result of evaluating queries on an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExaminedEntry {
    /// The queries that records of it may match, by what is known of the entry.
    pub queries: SmallVec<[usize; 8]>,
    /// Records that were looked at for all of these, from the first on: fewer than there are if time has run out.
    pub records: u64,
}

impl QuerySet {
    /// Compiles queries, which keep their positions.
    pub fn new<'q>(queries: impl IntoIterator<Item = &'q Query>) -> Self {
        let mut parts = QueryParts::default();
        let queries =
            queries.into_iter().map(|query| CompiledQuery::new(QueryNode::of(query, &mut parts))).collect();
        Self { queries, names: parts.names, remembered: parts.remembered }
    }

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
    ) -> ExaminedEntry {
        let may_match = |query: &usize| self.queries[*query].may_match(origin);
        let queries = (0..self.queries.len()).filter(may_match).collect();
        let mut examined = ExaminedEntry { queries, records: 0 };
        if examined.queries.is_empty() || !(sight.has_time)() {
            return examined;
        }
        let facts = EntryFacts::new(&self.names, origin, sight, entry, self.remembered);
        let may_match = |query: &usize| self.queries[*query].root.of_entry(&facts) != Some(false);
        let queries: SmallVec<[usize; 8]> = examined.queries.iter().copied().filter(may_match).collect();
        if facts.has_run_out() {
            return examined;
        }
        examined.queries = queries;
        if examined.queries.is_empty() {
            return examined;
        }
        // Without time for the next record, it ends early.
        let _ = visit_records(origin.signal, entry, &mut |record| {
            if !facts.has_time() {
                return ControlFlow::Break(());
            }
            let of_record = RecordFacts::new(&facts, record);
            let matches = |query: &usize| self.queries[*query].root.of_record(&of_record);
            let matching: SmallVec<[usize; 8]> = examined.queries.iter().copied().filter(matches).collect();
            if facts.has_run_out() {
                return ControlFlow::Break(());
            }
            examined.records += 1;
            matching.into_iter().for_each(|query| found(query, record));
            ControlFlow::Continue(())
        });
        examined
    }
}
