//! `watches`, and the Alertmanager that gets their alerts.

use super::Context;
use crate::config::model::{TenantGlobs, WatchSection};
use crate::config::node::Node;
use crate::config::quoting::named;
use crate::config::{duration, secrets};
use crate::glob::Glob;
use crate::query::Query;
use crate::terminal::is_obeyed;
use crate::watches::{Alertmanager, Threshold, WatchSettings};

/// What a watch looks like.
const EXAMPLE: &str =
    "write a watch such as `{ name: api-errors, query: \"level:error service:api\", above: 10 in 5m }`";

/// The longest name of a watch, in characters: it is a label of metrics and alerts.
const LONGEST_NAME: usize = 128;

/// Compiles the list at `node`; watches with mistakes are reported and left out.
pub(super) fn compile(
    sections: &[WatchSection],
    node: &Node,
    context: &mut Context<'_>,
) -> Vec<WatchSettings> {
    let mut watches: Vec<WatchSettings> = Vec::new();
    for (position, section) in sections.iter().enumerate() {
        let item = node.item(position).unwrap_or(node);
        let Some(watch) = watch(section, item, context) else { continue };
        if watches.iter().any(|other| other.name == watch.name) {
            let span = item.near(&["name"]).span;
            context
                .report
                .error(span, format!("there is another watch called {}", named(&watch.name)))
                .help("give each watch a name of its own");
        }
        watches.push(watch);
    }
    watches
}

fn watch(section: &WatchSection, node: &Node, context: &mut Context<'_>) -> Option<WatchSettings> {
    // All parts are compiled, so that a mistake in one hides none in another.
    let name = name(section, node, context);
    let query = query(section, node, context);
    let threshold = threshold(section, node, context);
    let tenants = section.tenants.as_ref().map(|globs| match globs {
        TenantGlobs::One(glob) => vec![Glob::new(glob)],
        TenantGlobs::AnyOf(globs) => globs.iter().map(|glob| Glob::new(glob)).collect(),
    });
    if tenants.as_ref().is_some_and(Vec::is_empty) {
        let span = node.near(&["tenants"]).span;
        context
            .report
            .error(span, "this watch is for no tenant")
            .help("write a glob such as `*`, or leave it out");
        return None;
    }
    let shown_query = secrets::query(&section.query, node.near(&["query"]).literal());
    Some(WatchSettings { name: name?.to_owned(), query: query?, shown_query, tenants, threshold: threshold? })
}

fn name<'s>(section: &'s WatchSection, node: &Node, context: &mut Context<'_>) -> Option<&'s str> {
    let at = node.near(&["name"]).span;
    if section.name.is_empty() {
        if !context.is_excused(node, "name") {
            context.report.error(at, "a watch needs a name").help(EXAMPLE);
        }
        return None;
    }
    if section.name.chars().count() > LONGEST_NAME || section.name.contains(is_obeyed) {
        context
            .report
            .error(at, "this can't be the name of a watch")
            .help(format!("write at most {LONGEST_NAME} characters, none of them a control character"));
        return None;
    }
    Some(&section.name)
}

fn query(section: &WatchSection, node: &Node, context: &mut Context<'_>) -> Option<Query> {
    let at = node.near(&["query"]).span;
    if section.query.trim().is_empty() {
        if !context.is_excused(node, "query") {
            context.report.error(at, "a watch needs a query").help(EXAMPLE);
        }
        return None;
    }
    match Query::parse(&section.query) {
        Ok(query) => Some(query),
        Err(error) => {
            context
                .report
                .error(at, format!("the query is wrong at its column {}", error.column))
                .help(error.message);
            None
        }
    }
}

fn threshold(section: &WatchSection, node: &Node, context: &mut Context<'_>) -> Option<Threshold> {
    let (key, text) = match (&section.above, &section.below) {
        (Some(above), None) => ("above", above),
        (None, Some(below)) => ("below", below),
        (Some(_), Some(_)) => {
            let at = node.entry("below").map_or(node.span, |entry| entry.key_span);
            context.report.error(at, "a watch has either `above` or `below`").help("write two watches");
            return None;
        }
        (None, None) => {
            if !["above", "below"].iter().any(|key| context.is_excused(node, key)) {
                context
                    .report
                    .error(node.span, "a watch does not say when it fires")
                    .help("write `above: 10 in 5m` or `below: 1 in 26h`");
            }
            return None;
        }
    };
    let span = node.near(&[key]).span;
    match Threshold::read(text, duration) {
        Ok((0, _)) if key == "below" => {
            let help = "write `below: 1 in 26h` for when there is none";
            context.report.error(span, "there are never fewer than 0 records").help(help);
            None
        }
        Ok((records, within)) if key == "above" => Some(Threshold::Above { records, within }),
        Ok((records, within)) => Some(Threshold::Below { records, within }),
        Err(help) => {
            context.report.error(span, format!("`{key}` can't be read")).help(help);
            None
        }
    }
}

/// Checks the URL of the Alertmanager.
pub(super) fn alertmanager(
    url: Option<&str>,
    has_watches: bool,
    root: &Node,
    context: &mut Context<'_>,
) -> Option<String> {
    let url = url?;
    let node = root.near(&["alertmanager"]);
    if !Alertmanager::is_url(url) && !node.has_placeholder() {
        context
            .report
            .error(node.span, "this is no URL of an Alertmanager")
            .help("write `http://host:9093`, without credentials and without `/api/v2`");
        return None;
    }
    if !has_watches {
        context.report.warn(node.span, "`alertmanager` has no effect: there are no watches").help(EXAMPLE);
    }
    Some(url.to_owned())
}
