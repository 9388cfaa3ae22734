//! Translates a Collector's whole file with its `service.pipelines` to Sluice's own configuration.
//!
//! Where a file has pipelines and no `routes`, [`translate`] makes of its tree another one, with `routes` in place of
//! `service`, `processors` and `connectors`. Each part of the new tree has the place of its source, so that problems are shown in the
//! Collector's file. Loading such a file and `sluice import` use the same tree.

mod cases;
mod components;
mod condition;
mod graph;
mod headers;
mod routes;

use super::node::{Mention, Node, NodeEntry, NodeValue, Scalar};
use super::problem::ProblemReport;
use super::processors;
use components::Components;
use graph::Graph;

/// What to do with unavailable processors and incomplete routes, about which an error has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedProcessors {
    /// They are left out: the configuration is not run, because of the error.
    LeftOut,
    /// They stay, so that the output of an import is not run either before somebody has decided about them.
    Kept,
}

/// Whether the file is a Collector's: it has pipelines, and no routes.
pub(super) fn is_whole_file(root: &Node) -> bool {
    let pipelines = root.get("service").and_then(|service| service.get("pipelines"));
    root.get("routes").is_none() && pipelines.is_some_and(|pipelines| !pipelines.entries().is_empty())
}

/// The file as Sluice's own configuration. Parts without an equivalent are reported.
pub(super) fn translate(root: &Node, refused: RefusedProcessors, report: &mut ProblemReport) -> Node {
    let graph = Graph::new(root, report);
    let mut components = Components::new(root, &graph, report);
    let is_run = |processor: &Mention<'_>| match refused {
        RefusedProcessors::LeftOut => processors::is_run(processor.name),
        RefusedProcessors::Kept => !processors::is_left_out(processor.name),
    };
    let exporters = components.exporters(report);
    let routes = routes::routes(
        &graph,
        &components.keys,
        refused,
        &|receiver| components.is_receiver(receiver.name),
        &is_run,
        &|name| components.exporter(name),
        report,
    );
    let all = root.near(&["service", "pipelines"]).span;
    let mut entries = Vec::new();
    let mut put = |key: &str, value: Option<Node>| {
        if let Some(value) = value {
            let at = root.entry(key).map_or(value.span, |entry| entry.key_span);
            entries.push(NodeEntry::new(key, at, value));
        }
    };
    let if_any = |section: Option<Node>| section.filter(|section| !section.entries().is_empty());
    // An empty section stays if parts of it could not be translated.
    put("receivers", components.receivers());
    put("extensions", if_any(components.extensions()));
    put("processors", if_any(run_processors(root, &graph)));
    put("exporters", Some(exporters));
    // So are routes: whatever was reported may be why there is none.
    let at = if routes.is_empty() { root.span } else { all };
    entries.push(NodeEntry::new("routes", all, Node::of_items(routes, at)));
    entries.extend(components.others(report));
    Node::of_entries(entries, root.span)
}

/// The definitions of the processors that pipelines name and Sluice runs.
fn run_processors(root: &Node, graph: &Graph<'_>) -> Option<Node> {
    let section = root.get("processors")?;
    let is_named = |name: &str| {
        graph.pipelines.iter().flat_map(|pipeline| &pipeline.processors).any(|mention| mention.name == name)
    };
    let entries =
        section.entries().iter().filter(|entry| is_named(&entry.key) && processors::is_run(&entry.key));
    let entries =
        entries.map(|entry| NodeEntry { value: with_literal_values(&entry.value), ..entry.clone() });
    Some(Node::of_entries(entries.collect(), section.span))
}

/// A processor with the braces in its actions' values escaped, since they are no templates in a Collector.
fn with_literal_values(processor: &Node) -> Node {
    changed(processor, &["attributes", "actions"], |actions| {
        let NodeValue::Seq(items) = &actions.value else { return actions.clone() };
        let items = items.iter().map(|action| changed(action, &["value", "default_value"], literal));
        Node::of_items(items.collect(), actions.span)
    })
}

/// The map with other values of these keys.
fn changed(map: &Node, keys: &[&str], change: impl Fn(&Node) -> Node) -> Node {
    let NodeValue::Map(entries) = &map.value else { return map.clone() };
    let entries = entries.iter().map(|entry| {
        if keys.contains(&entry.key.as_str()) {
            NodeEntry { value: change(&entry.value), ..entry.clone() }
        } else {
            entry.clone()
        }
    });
    Node::of_entries(entries.collect(), map.span)
}

/// A value with `{{` escaped, so that it opens no template.
fn literal(value: &Node) -> Node {
    let changed = match &value.value {
        NodeValue::Scalar(scalar) if scalar.text.contains("{{") => match scalar.literal.as_slice() {
            [] => {
                NodeValue::Scalar(Scalar { text: scalar.text.replace("{{", "{{ '{{' }}"), ..scalar.clone() })
            }
            _ => as_substituted(scalar),
        },
        NodeValue::Seq(items) => {
            // A list can hold no template, not even one that gives the braces.
            let literal = items.iter().map(|item| match &item.value {
                NodeValue::Scalar(scalar) if scalar.text.contains("{{") => {
                    Node { span: item.span, value: as_substituted(scalar) }
                }
                _ => item.clone(),
            });
            NodeValue::Seq(literal.collect())
        }
        other => other.clone(),
    };
    Node { span: value.span, value: changed }
}

/// The scalar with a text in which nothing is a template, as in a substituted value.
fn as_substituted(scalar: &Scalar) -> NodeValue {
    let all = 0..scalar.text.len();
    NodeValue::Scalar(Scalar { literal: vec![all], ..scalar.clone() })
}
