//! The flow as a picture: receivers, routes and exporters, and how much goes from one to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::sample::{CounterSample, DeliveryTotals, per_second};
use crate::export::Exporter;
use crate::receive::{FlowEdge, FlowVolume};
use crate::run::Router;

/// The most nodes of a kind that are shown: those in trouble, then those with the most records.
const SHOWN: usize = 100;

/// The kind of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FlowNodeKind {
    Receiver,
    Route,
    Exporter,
}

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FlowNodeState {
    /// A stream of it is held, for an upstream's answer or by an operator.
    Held,
    /// An upstream does not take the data of one of its streams; or nothing was delivered in the last seconds of what has ended in
    /// them. Of a receiver: it has refused requests in the last seconds, and taken nothing.
    Failing,
    /// Data waits, and nothing was delivered in the last seconds.
    Waiting,
    /// Records pass.
    Ok,
    /// No records pass.
    Idle,
}

/// A node, by its kind and name.
type FlowNodeId = (FlowNodeKind, Arc<str>);

struct FlowNode {
    state: FlowNodeState,
    records_per_second: f64,
    title: String,
}

impl FlowNodeKind {
    const ALL: [Self; 3] = [Self::Receiver, Self::Route, Self::Exporter];

    const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Route => "route",
            Self::Exporter => "exporter",
        }
    }
}

impl FlowNodeState {
    const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
            Self::Ok => "ok",
            Self::Idle => "idle",
        }
    }
}

/// The picture, with rates between two moments.
pub(super) fn picture(router: &Router, now: &CounterSample, before: &CounterSample) -> Value {
    let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
    let mut edges = Vec::new();
    let mut passing: HashMap<FlowNodeId, f64> = HashMap::new();
    for (edge, volume) in &now.flow {
        let former = before.flow.get(edge).copied().unwrap_or_default();
        let rates = rates(*volume, former, seconds);
        let (from, to) = ends(edge);
        // The records of a route are those that it matches, not the copies that it makes for its exporters.
        let counted =
            if from.0 == FlowNodeKind::Receiver { [Some(&from), Some(&to)] } else { [Some(&to), None] };
        for node in counted.into_iter().flatten() {
            *passing.entry(node.clone()).or_default() += rates.0;
        }
        edges.push((from, to, rates));
    }
    let mut nodes: BTreeMap<FlowNodeId, FlowNode> = BTreeMap::new();
    for (from, to, _) in &edges {
        for node in [from, to] {
            if node.0 != FlowNodeKind::Exporter {
                let rate = passing.get(node).copied().unwrap_or_default();
                let of_node = || match node.0 {
                    FlowNodeKind::Receiver => FlowNode::of_receiver(&node.1, rate, now, before),
                    FlowNodeKind::Route | FlowNodeKind::Exporter => FlowNode::of_rate(&node.1, rate),
                };
                nodes.entry(node.clone()).or_insert_with(of_node);
            }
        }
    }
    for exporter in router.exporters().iter() {
        let id = (FlowNodeKind::Exporter, exporter.name().clone());
        let rate = passing.get(&id).copied().unwrap_or_default();
        nodes.insert(id, FlowNode::of_exporter(exporter, rate, now, before));
    }
    let shown = most_telling(&nodes);
    let is_shown = |id: &FlowNodeId| shown.contains(id);
    let left_out = FlowNodeKind::ALL.into_iter().map(|kind| {
        let of_kind = nodes.keys().filter(|id| id.0 == kind && !is_shown(id)).count();
        (kind.name().to_owned(), json!(of_kind))
    });
    let left_out: Map<_, _> = left_out.collect();
    let mut listed: Vec<_> = nodes.iter().filter(|(id, _)| is_shown(id)).collect();
    // A stable sort: nodes of the same place stay in the order of their names.
    let places = places(router);
    listed.sort_by_key(|(id, _)| (id.0, places.get(*id).copied()));
    let edges = edges.iter().filter(|(from, to, _)| is_shown(from) && is_shown(to));
    json!({
        "nodes": listed.iter().map(|(id, node)| node.shown(id)).collect::<Vec<_>>(),
        "edges": edges.map(|(from, to, rates)| json!({
            "from": id_text(from),
            "to": id_text(to),
            "records_per_second": rates.0,
            "bytes_per_second": rates.1,
        })).collect::<Vec<_>>(),
        "left_out": left_out,
    })
}

/// The places of routes and exporters in the configuration.
fn places(router: &Router) -> HashMap<FlowNodeId, usize> {
    let snapshot = router.intake().snapshot.load();
    let routes = snapshot.routes.names().map(|name| (FlowNodeKind::Route, name.into())).enumerate();
    let exporters = router
        .exporters()
        .iter()
        .map(|exporter| (FlowNodeKind::Exporter, exporter.name().clone()))
        .enumerate()
        .collect::<Vec<_>>();
    routes.chain(exporters).map(|(place, id)| (id, place)).collect()
}

/// Records and bytes a second.
fn rates(now: FlowVolume, before: FlowVolume, seconds: f64) -> (f64, f64) {
    (per_second(now.records, before.records, seconds), per_second(now.bytes, before.bytes, seconds))
}

fn ends(edge: &FlowEdge) -> (FlowNodeId, FlowNodeId) {
    match edge {
        FlowEdge::Received { receiver, route } => {
            ((FlowNodeKind::Receiver, receiver.clone()), (FlowNodeKind::Route, route.clone()))
        }
        FlowEdge::Routed { route, exporter } => {
            ((FlowNodeKind::Route, route.clone()), (FlowNodeKind::Exporter, exporter.clone()))
        }
    }
}

fn id_text((kind, name): &FlowNodeId) -> String {
    format!("{}:{name}", kind.name())
}

/// Of each kind the nodes that are shown.
fn most_telling(nodes: &BTreeMap<FlowNodeId, FlowNode>) -> HashSet<FlowNodeId> {
    let mut shown = HashSet::new();
    for kind in FlowNodeKind::ALL {
        let mut of_kind: Vec<_> = nodes.iter().filter(|(id, _)| id.0 == kind).collect();
        of_kind.sort_by(|(_, one), (_, other)| {
            one.state.cmp(&other.state).then(other.records_per_second.total_cmp(&one.records_per_second))
        });
        shown.extend(of_kind.into_iter().take(SHOWN).map(|(id, _)| id.clone()));
    }
    shown
}

impl FlowNode {
    fn of_rate(name: &str, rate: f64) -> Self {
        let state = if rate > 0.0 { FlowNodeState::Ok } else { FlowNodeState::Idle };
        Self { state, records_per_second: rate, title: format!("{name}: {rate:.1} records/s") }
    }

    fn of_receiver(name: &Arc<str>, rate: f64, now: &CounterSample, before: &CounterSample) -> Self {
        let not_taken = |sample: &CounterSample| sample.not_taken.get(name).copied().unwrap_or_default();
        let not_taken = not_taken(now).saturating_sub(not_taken(before));
        let mut node = Self::of_rate(name, rate);
        if not_taken > 0 {
            if node.state == FlowNodeState::Idle {
                node.state = FlowNodeState::Failing;
            }
            let requests = if not_taken == 1 { "request" } else { "requests" };
            write!(node.title, ", nothing taken of {not_taken} {requests} in the last seconds")
                .expect("writing to a String can't fail");
        }
        node
    }

    fn of_exporter(exporter: &Exporter, rate: f64, now: &CounterSample, before: &CounterSample) -> Self {
        let (name, registry) = (exporter.name(), exporter.registry());
        let (held, failing) = (registry.held_streams(), registry.failing_streams());
        let holds = exporter.holds();
        let is_held = held > 0 || holds.of_exporter().is_some() || holds.by_operator().is_some();
        let circuits = exporter.active().transport.circuits();
        let is_away = circuits.iter().any(|(_, circuit)| circuit.open_since.is_some());
        let rose = |of: fn(&DeliveryTotals) -> u64| {
            let of = |sample: &CounterSample| sample.exporter(name).as_ref().map_or(0, of);
            of(now) > of(before)
        };
        let delivers = rose(|totals| totals.exported_records);
        let loses = rose(|totals| totals.not_delivered_records);
        let state = if is_held {
            FlowNodeState::Held
        } else if is_away || failing > 0 || (loses && !delivers) {
            FlowNodeState::Failing
        } else if registry.pending_bytes() > 0 && !delivers {
            FlowNodeState::Waiting
        } else if delivers || rate > 0.0 {
            FlowNodeState::Ok
        } else {
            FlowNodeState::Idle
        };
        let mut title = format!("{name}: {rate:.1} records/s");
        for (count, word) in [(held, "held"), (failing, "failing")] {
            if count > 0 {
                write!(title, ", {count} of {} streams {word}", registry.len())
                    .expect("writing to a String can't fail");
            }
        }
        Self { state, records_per_second: rate, title }
    }

    fn shown(&self, id: &FlowNodeId) -> Value {
        json!({
            "id": id_text(id),
            "kind": id.0.name(),
            "name": *id.1,
            "state": self.state.name(),
            "records_per_second": self.records_per_second,
            "title": self.title,
        })
    }
}
