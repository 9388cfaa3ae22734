//! The volume of data from receivers to routes, and from routes to exporters.
//!
//! A request collects what it is placed in, and counts that once it is admitted: a few relaxed additions for each way that it takes, of
//! which the place is known by position. What the counters are found by are the names of the configuration, so that they go on when
//! that changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::route::RouteSpec;

/// Among so many of the ways that a request has taken last, one that it takes again is looked for. Beyond that it is collected twice.
const RECENT: usize = 8;

/// An edge of the flow of data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowEdge {
    /// Data that a receiver has taken and a route takes.
    Received {
        /// The name of the receiver.
        receiver: Arc<str>,
        /// The name of the route.
        route: Arc<str>,
    },
    /// Data that a route has sent to an exporter.
    Routed {
        /// The name of the route.
        route: Arc<str>,
        /// The name of the exporter.
        exporter: Arc<str>,
    },
}

/// The volume that has gone through an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowVolume {
    /// Spans, data points and log records.
    pub records: u64,
    /// Framed bytes of entries, as they came.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct FlowCounter {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// How much has gone which way since the process began. A way is there once its route is; what is no more in the configuration is
/// forgotten.
#[derive(Debug, Default)]
pub struct FlowTotals(Mutex<BTreeMap<FlowEdge, Arc<FlowCounter>>>);

/// The ways of one configuration, by the positions of receivers, routes and exporters.
#[derive(Debug, Default)]
pub struct FlowPaths {
    totals: Arc<FlowTotals>,
    receivers: Vec<Arc<str>>,
    exporters: Vec<Arc<str>>,
    routes: Vec<RoutePaths>,
}

#[derive(Debug)]
struct RoutePaths {
    name: Arc<str>,
    /// By the position of the receiver.
    from: Vec<Arc<FlowCounter>>,
    /// By the position of the exporter, to those that the route names.
    to: Vec<(usize, Arc<FlowCounter>)>,
    /// To all exporters, which rows of the table of tenants may name in their place. There from the first of them on.
    to_others: OnceLock<Box<[OnceLock<Arc<FlowCounter>>]>>,
}

/// The volumes that one request brings, by route and exporter.
#[derive(Debug, Default)]
pub struct RequestFlow(SmallVec<[FlowPart; 2]>);

#[derive(Debug)]
struct FlowPart {
    route: usize,
    exporter: usize,
    /// Whether it is what its route has sent to another exporter, too, and is counted there as received.
    is_copy: bool,
    volume: FlowVolume,
}

impl FlowVolume {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl FlowCounter {
    fn add(&self, volume: FlowVolume) {
        self.records.fetch_add(volume.records, Ordering::Relaxed);
        self.bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }

    fn volume(&self) -> FlowVolume {
        FlowVolume {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl FlowTotals {
    /// How much has gone each way.
    pub fn all(&self) -> BTreeMap<FlowEdge, FlowVolume> {
        self.0.lock().iter().map(|(edge, counter)| (edge.clone(), counter.volume())).collect()
    }

    fn counter(&self, edge: FlowEdge) -> Arc<FlowCounter> {
        self.0.lock().entry(edge).or_default().clone()
    }

    /// Forgets the ways that lead from or to what is not there any more.
    fn forget_others(&self, receivers: &[Arc<str>], routes: &[RoutePaths], exporters: &[Arc<str>]) {
        let is_route = |name: &Arc<str>| routes.iter().any(|route| route.name == *name);
        self.0.lock().retain(|edge, _| match edge {
            FlowEdge::Received { receiver, route } => receivers.contains(receiver) && is_route(route),
            FlowEdge::Routed { route, exporter } => exporters.contains(exporter) && is_route(route),
        });
    }
}

impl FlowPaths {
    /// The ways of a configuration with these receivers, routes and exporters, counted among `totals`.
    pub fn new(
        totals: &Arc<FlowTotals>,
        receivers: Vec<Arc<str>>,
        routes: &[RouteSpec],
        exporters: Vec<Arc<str>>,
    ) -> Self {
        let paths = |spec: &RouteSpec| {
            let name: Arc<str> = spec.name.as_str().into();
            let from =
                |receiver: &Arc<str>| FlowEdge::Received { receiver: receiver.clone(), route: name.clone() };
            let to = |exporter: usize| FlowEdge::Routed {
                route: name.clone(),
                exporter: exporters[exporter].clone(),
            };
            RoutePaths {
                from: receivers.iter().map(|receiver| totals.counter(from(receiver))).collect(),
                to: spec
                    .exporters
                    .iter()
                    .map(|exporter| (*exporter, totals.counter(to(*exporter))))
                    .collect(),
                to_others: OnceLock::new(),
                name: name.clone(),
            }
        };
        let routes: Vec<_> = routes.iter().map(paths).collect();
        totals.forget_others(&receivers, &routes, &exporters);
        Self { totals: totals.clone(), receivers, exporters, routes }
    }

    /// Counts what a request has brought that came by a receiver of this name.
    pub fn count(&self, receiver: &str, flow: &RequestFlow) {
        let receiver = self.receivers.iter().position(|known| **known == *receiver);
        for FlowPart { route, exporter, is_copy, volume } in &flow.0 {
            let paths = &self.routes[*route];
            if let Some(receiver) = receiver.filter(|_| !is_copy) {
                paths.from[receiver].add(*volume);
            }
            self.to(paths, *exporter).add(*volume);
        }
    }

    fn to<'p>(&self, paths: &'p RoutePaths, exporter: usize) -> &'p FlowCounter {
        if let Some((_, counter)) = paths.to.iter().find(|(named, _)| *named == exporter) {
            return counter;
        }
        let others = paths.to_others.get_or_init(|| self.exporters.iter().map(|_| OnceLock::new()).collect());
        others[exporter].get_or_init(|| {
            let (route, exporter) = (paths.name.clone(), self.exporters[exporter].clone());
            self.totals.counter(FlowEdge::Routed { route, exporter })
        })
    }
}

impl RequestFlow {
    /// Adds an entry that is placed at an exporter by a route, both by their positions. `is_copy`: the route has placed it at another
    /// exporter before.
    pub fn add(&mut self, route: usize, exporter: usize, is_copy: bool, volume: FlowVolume) {
        let is_same =
            |part: &&mut FlowPart| (part.route, part.exporter, part.is_copy) == (route, exporter, is_copy);
        match self.0.iter_mut().rev().take(RECENT).find(is_same) {
            Some(part) => part.volume.add(volume),
            None => self.0.push(FlowPart { route, exporter, is_copy, volume }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::KeySpec;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn route(name: &str, exporters: &[usize]) -> RouteSpec {
        RouteSpec {
            name: name.to_owned(),
            matches: Vec::new(),
            record_matches: Vec::new(),
            record_alone_matches: Vec::new(),
            request_matches: Vec::new(),
            tenants: None,
            receivers: None,
            signals: [true; 3],
            key: KeySpec::Route,
            edits: Vec::new(),
            exporters: exporters.to_vec(),
            continues: false,
            max_streams: None,
        }
    }

    fn received(receiver: &str, route: &str) -> FlowEdge {
        FlowEdge::Received { receiver: receiver.into(), route: route.into() }
    }

    fn routed(route: &str, exporter: &str) -> FlowEdge {
        FlowEdge::Routed { route: route.into(), exporter: exporter.into() }
    }

    fn volume(records: u64) -> FlowVolume {
        FlowVolume { records, bytes: 10 * records }
    }

    #[test]
    fn what_goes_to_two_exporters_was_received_once() {
        let totals = Arc::default();
        let paths = FlowPaths::new(&totals, names(&["in"]), &[route("r", &[0, 1])], names(&["a", "b"]));
        let mut flow = RequestFlow::default();
        for _ in 0..3 {
            flow.add(0, 0, false, volume(1));
            flow.add(0, 1, true, volume(1));
        }
        assert_eq!(flow.0.len(), 2, "entries that go the same way are one part");
        paths.count("in", &flow);
        paths.count("a receiver of before", &flow);
        let expected =
            [(received("in", "r"), volume(3)), (routed("r", "a"), volume(6)), (routed("r", "b"), volume(6))];
        assert_eq!(totals.all(), BTreeMap::from(expected));
    }

    #[test]
    fn an_exporter_that_a_row_names_has_a_way_from_the_first_entry_on() {
        let totals = Arc::default();
        let paths = FlowPaths::new(&totals, names(&["in"]), &[route("r", &[0])], names(&["a", "b", "c"]));
        assert!(!totals.all().contains_key(&routed("r", "c")));
        let mut flow = RequestFlow::default();
        flow.add(0, 2, false, volume(1));
        paths.count("in", &flow);
        paths.count("in", &flow);
        assert_eq!(
            (totals.all()[&routed("r", "c")], totals.all()[&routed("r", "a")]),
            (volume(2), volume(0))
        );
    }

    #[test]
    fn a_reload_goes_on_with_what_stays_and_forgets_what_goes() {
        let totals = Arc::default();
        let routes = [route("stays", &[0]), route("goes", &[1])];
        let before = FlowPaths::new(&totals, names(&["in"]), &routes, names(&["a", "b"]));
        let mut flow = RequestFlow::default();
        flow.add(0, 0, false, volume(1));
        flow.add(1, 1, false, volume(1));
        before.count("in", &flow);
        // In another order, and with another receiver.
        let routes = [route("new", &[0]), route("stays", &[1])];
        let after = FlowPaths::new(&totals, names(&["new", "in"]), &routes, names(&["c", "a"]));
        before.count("in", &flow);
        let mut flow = RequestFlow::default();
        flow.add(1, 1, false, volume(1));
        after.count("in", &flow);
        let all = totals.all();
        assert_eq!((all[&received("in", "stays")], all[&routed("stays", "a")]), (volume(3), volume(3)));
        assert!(!all.contains_key(&received("in", "goes")) && !all.contains_key(&routed("goes", "b")));
        assert_eq!(all[&received("new", "new")], volume(0));
    }

    #[test]
    fn a_request_that_goes_very_many_ways_counts_all_of_them() {
        let (totals, exporters): (_, Vec<String>) =
            (Arc::default(), (0..100).map(|number| number.to_string()).collect());
        let all: Vec<usize> = (0..100).collect();
        let exporters = exporters.iter().map(|name| Arc::from(name.as_str())).collect();
        let paths = FlowPaths::new(&totals, names(&["in"]), &[route("r", &all)], exporters);
        let mut flow = RequestFlow::default();
        for _ in 0..3 {
            for exporter in &all {
                flow.add(0, *exporter, *exporter > 0, volume(1));
            }
        }
        paths.count("in", &flow);
        let counted = totals.all();
        assert_eq!((counted.len(), counted.values().all(|counted| *counted == volume(3))), (101, true));
    }
}
