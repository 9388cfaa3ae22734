//! `processors`, and the names of processors in routes.

mod action;
mod selection;

use std::sync::Arc;

use regex::Regex;

use super::Context;
use crate::config::model::{MatchProperties, Named, Processor};
use crate::config::node::{Node, NodeValue, Scalar};
use crate::config::quoting::{enumerated, named, nearest};
use crate::config::{model, processors, re2};
use crate::otlp::{Edit, EditedPart, NewValue};
use crate::route::RouteEdit;

use action::action;
use selection::{check_signals, selection};

/// The processors of a configuration.
pub(super) struct Processors<'a> {
    written: &'a Named<Processor>,
    node: &'a Node,
    /// In the order of the file.
    compiled: Vec<Arc<RouteEdit>>,
}

impl<'a> Processors<'a> {
    pub(super) fn compile(written: &'a Named<Processor>, root: &'a Node, context: &mut Context<'_>) -> Self {
        let node = root.near(&["processors"]);
        let compiled = written
            .0
            .iter()
            .map(|(name, processor)| Arc::new(one(name, processor, node.near(&[name]), context)));
        let compiled = compiled.collect();
        Self { written, node, compiled }
    }

    /// The processors that a route for these signals names, in its order; the names are written at `list`.
    pub(super) fn of_route(
        &self,
        names: &[String],
        signals: [bool; 3],
        list: &Node,
        context: &mut Context<'_>,
    ) -> Vec<Arc<RouteEdit>> {
        let mut edits = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let item = list.item(index).unwrap_or(list);
            let Some(position) = self.written.0.iter().position(|(known, _)| known == name) else {
                match processors::instead_of_harmless(model::type_of(name)) {
                    Some(why) => {
                        let shown = context.written(item);
                        let message = format!("the processor {shown} has no effect: {why}");
                        context.report.warn(item.span, message);
                    }
                    None => self.report_unknown(name, item, context),
                }
                continue;
            };
            if let Processor::Attributes(attributes) = &self.written.0[position].1 {
                for properties in [&attributes.include, &attributes.exclude].into_iter().flatten() {
                    check_signals(properties, name, signals, item, context);
                }
            }
            edits.push(self.compiled[position].clone());
        }
        edits
    }

    fn report_unknown(&self, name: &str, item: &Node, context: &mut Context<'_>) {
        // The processor exists, and its mistakes have been reported.
        let is_there = self.node.entry(name).is_some_and(|entry| {
            context.report.has_error_within(entry.key_span)
                || context.report.has_error_within(entry.value.span)
        });
        if is_there {
            return;
        }
        if let Some((without, instead)) = processors::not_available(model::type_of(name)) {
            let shown = context.written(item);
            context
                .report
                .error(item.span, format!("the processor {shown} is not available: {without}"))
                .help(format!("{instead}, and remove it here"));
            return;
        }
        let names: Vec<&str> = self.written.0.iter().map(|(name, _)| name.as_str()).collect();
        let near = nearest(name, names.iter().copied()).filter(|_| !item.is_substituted());
        let shown = context.written(item);
        let shown_names: Vec<String> = names.iter().map(|name| named(name)).collect();
        let help = match near {
            Some(near) => format!("did you mean {}?", named(near)),
            None if names.is_empty() => {
                "write one of that name below `processors:`, such as `resource/env: { attributes: [{ key: env, value: prod, \
                 action: upsert }] }`"
                    .to_owned()
            }
            None => format!("the processors are {}", enumerated(&shown_names)),
        };
        context.report.error(item.span, format!("there is no processor {shown}")).help(help);
    }
}

fn one(name: &str, processor: &Processor, node: &Node, context: &mut Context<'_>) -> RouteEdit {
    let mut templates = Vec::new();
    let (written, key) = match processor {
        Processor::Resource(resource) => (&resource.attributes, "attributes"),
        Processor::Attributes(attributes) => (&attributes.actions, "actions"),
    };
    let list = node.near(&[key]);
    if written.is_empty() && !context.is_excused(node, key) {
        context
            .report
            .error(list.span, format!("without `{key}` nothing is changed"))
            .help(format!("write `{key}: [{{ key: NAME, action: delete }}]`"));
    }
    let actions = written.iter().enumerate().filter_map(|(index, written)| {
        action(written, list.item(index).unwrap_or(list), &mut templates, context)
    });
    let actions = actions.collect();
    let of = match processor {
        Processor::Resource(_) => EditedPart::Resource,
        Processor::Attributes(attributes) => {
            let mut selected = |properties: &Option<MatchProperties>, key: &str| {
                properties
                    .as_ref()
                    .map(|properties| Box::new(selection(properties, node.near(&[key]), context)))
            };
            EditedPart::Records {
                events: attributes.include_events,
                include: selected(&attributes.include, "include"),
                exclude: selected(&attributes.exclude, "exclude"),
            }
        }
    };
    RouteEdit { name: name.into(), edit: Edit { actions, of }, templates }
}
/// The value of a scalar, of the type that YAML gives it. As in a Collector, the value of a variable that stands alone is typed as if it
/// was written there.
fn typed(node: &Node) -> NewValue {
    let NodeValue::Scalar(scalar) = &node.value else { return NewValue::text("") };
    let text = &scalar.text;
    if !is_typed(scalar) {
        return NewValue::text(text);
    }
    match text.as_str() {
        "true" | "True" | "TRUE" => return NewValue::bool(true),
        "false" | "False" | "FALSE" => return NewValue::bool(false),
        _ => {}
    }
    if let Some(number) = model::integer(text).and_then(|number| i64::try_from(number).ok()) {
        return NewValue::int(number);
    }
    double(text).map_or_else(|| NewValue::text(text), NewValue::double)
}

/// Whether a scalar may be something else than a text.
fn is_typed(scalar: &Scalar) -> bool {
    let is_substituted = scalar.literal.first().is_some_and(|range| *range == (0..scalar.text.len()));
    is_substituted || (scalar.plain && scalar.literal.is_empty())
}

/// A number of YAML that need not be whole.
fn double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let is_number = unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-_".contains(&byte));
    is_number.then(|| text.replace('_', "").parse().ok()).flatten()
}

/// A regular expression of the Collector's.
fn expression(text: &str, node: &Node, context: &mut Context<'_>) -> Option<Regex> {
    context.regex(&re2::translated(text), node)
}
