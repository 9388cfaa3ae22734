//! The streams that the records of an entry go to, by which [`RouteTable::partition`] divides it.

use std::collections::HashMap;
use std::convert::Infallible;

use super::{Attributes, EntryOrigin, Hit, RouteTable, TestedValue};
use otlp::{Found, RecordWays, RoomCheck, Signal};

/// The streams that the records of one entry go to.
pub(super) struct RouteWays<'t> {
    table: &'t RouteTable,
    signal: Signal,
    /// The resource's values of the attributes that routes look at.
    values: &'t [TestedValue<'t>],
    origin: &'t EntryOrigin<'t>,
    /// The ways by the streams that they lead to. All of it comes from senders, so the hashes are ones that can't be foreseen.
    known: HashMap<RecordWay, u32>,
    /// The first way that leads to a stream, by the position of its exporter and its key.
    streams: HashMap<(usize, String), u32>,
    /// Whether two ways lead to one stream.
    meet: bool,
}

/// Where records go.
#[derive(PartialEq, Eq, Hash)]
enum RecordWay {
    /// The records go to these streams; to none, if no route takes them.
    Streams(Vec<StreamOfRoute>),
    /// The records can't be routed, for this reason.
    Unroutable(String),
}

/// The position of a route, and the key that it has made.
type StreamOfRoute = (usize, String);

impl RecordWays for RouteWays<'_> {
    fn way_of(&mut self, found: &[Found<'_>], room: &mut RoomCheck<'_>) -> Option<u32> {
        let way = self.find(found);
        if let Some(known) = self.known.get(&way) {
            return Some(*known);
        }
        let next = self.known.len() as u32;
        if let RecordWay::Streams(streams) = &way {
            let bytes = |(route, key): &StreamOfRoute| {
                (1 + self.exporters(*route).len()) * (size_of::<StreamOfRoute>() + key.len())
            };
            if !room(streams.iter().map(bytes).sum()) {
                return None;
            }
            for (route, key) in streams {
                for exporter in self.exporters(*route) {
                    self.meet |= *self.streams.entry((*exporter, key.clone())).or_insert(next) != next;
                }
            }
        }
        self.known.insert(way, next);
        Some(next)
    }

    fn meet(&self) -> bool {
        self.meet
    }
}

impl<'t> RouteWays<'t> {
    /// The ways of an entry of this origin, whose resource has these `values` of the attributes that routes look at.
    pub(super) fn new(
        table: &'t RouteTable,
        signal: Signal,
        values: &'t [TestedValue<'t>],
        origin: &'t EntryOrigin<'t>,
    ) -> Self {
        Self { table, signal, values, origin, known: HashMap::new(), streams: HashMap::new(), meet: false }
    }

    /// The exporters that a route sends to. Those that a tenant's row names are the same for all routes, whichever they are.
    fn exporters(&self, route: usize) -> &'t [usize] {
        let has_own = self.origin.tenant.is_some_and(|tenant| tenant.exporters.is_some());
        if has_own { &[0] } else { &self.table.routes[route].exporters }
    }

    fn find(&self, found: &[Found<'_>]) -> RecordWay {
        let (table, signal) = (self.table, self.signal);
        let record = table.values_of_record(signal, found.iter().copied());
        let both = record.and_then(|record| Ok((record, table.values_of_request(signal, self.origin)?)));
        let (record, request) = match both {
            Ok(both) => both,
            Err(conflicting) => return RecordWay::Unroutable(conflicting.to_string()),
        };
        let (names, values) = (&table.attributes, self.values.iter().copied().collect());
        let attributes =
            Attributes { names, values, record, records: 1, request, signal, tenant: self.origin.tenant };
        // One exporter for each route: which ones they have makes no difference here.
        let origin = EntryOrigin { exporters: Some(&[0]), ..*self.origin };
        let mut streams = Vec::new();
        let hit = |hit: Hit<'_>| -> Result<(), Infallible> {
            streams.push((hit.route, hit.key.to_owned()));
            Ok(())
        };
        let Ok(_) = table.ask(&attributes, &origin, &mut String::new(), hit, |_, _| {});
        RecordWay::Streams(streams)
    }
}
