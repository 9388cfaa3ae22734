//! `headers_setter`: headers of exporters, with values that are written or come from the request.
//!
//! The batches of a stream hold the data of many requests. So a header that comes from a request is a part of the route's key,
//! which keeps requests with other values in other streams, and the exporter's header reads that part. A route without its key takes
//! nothing. So exporters that read different headers, or none, are in routes of their own.

use std::collections::{BTreeSet, HashMap};

use super::graph::check_keys;
use crate::config::model::type_of;
use crate::config::node::{Mention, Node, NodeEntry, NodeValue};
use crate::config::problem::ProblemReport;
use crate::config::quoting::named;
use crate::config::span::Span;

/// The headers of requests that exporters send on, by the names of the exporters.
#[derive(Default)]
pub(super) struct HeaderKeys(HashMap<String, Vec<HeaderKey>>);

/// A header of the request that an exporter sends on.
#[derive(Clone)]
pub(super) struct HeaderKey {
    /// The name of the part of the key, which differs for each header and each default.
    part: String,
    /// The header of the request.
    header: String,
    /// The default for an absent header.
    default: Option<Node>,
    at: Span,
}

impl HeaderKeys {
    /// The headers that an exporter reads.
    pub(super) fn of(&self, exporter: &str) -> &[HeaderKey] {
        self.0.get(exporter).map(Vec::as_slice).unwrap_or_default()
    }

    /// Exporters in groups that read the same headers.
    pub(super) fn groups<'m, 'a>(&self, exporters: &[&'m Mention<'a>]) -> Vec<Vec<&'m Mention<'a>>> {
        let mut groups: Vec<(BTreeSet<&str>, Vec<&Mention<'_>>)> = Vec::new();
        for exporter in exporters.iter().copied() {
            let parts = self.of(exporter.name).iter().map(|key| key.part.as_str()).collect();
            match groups.iter_mut().find(|(known, _)| *known == parts) {
                Some((_, group)) => group.push(exporter),
                None => groups.push((parts, vec![exporter])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// The key of a route to these exporters, which read the same headers; `None` if they read none.
    pub(super) fn key_of(&self, exporters: &[&Mention<'_>]) -> Option<Node> {
        let mut parts: Vec<NodeEntry> = Vec::new();
        let mut place = None;
        for key in exporters.iter().flat_map(|exporter| self.of(exporter.name)) {
            if parts.iter().any(|known| known.key == key.part) {
                continue;
            }
            let at = *place.get_or_insert(key.at);
            let mut source =
                vec![NodeEntry::new("request", key.at, Node::of_text(key.header.clone(), key.at))];
            source
                .extend(key.default.iter().map(|default| NodeEntry::new("default", key.at, default.clone())));
            parts.push(NodeEntry::new(key.part.clone(), at, Node::of_entries(source, key.at)));
        }
        place.map(|at| Node::of_entries(parts, at))
    }

    /// The exporter with the headers of the `headers_setter` that its `auth` names, in place of that.
    pub(super) fn set(
        &mut self,
        name: &str,
        exporter: &Node,
        extensions: &Node,
        report: &mut ProblemReport,
    ) -> Node {
        let authenticator = exporter.near(&["auth", "authenticator"]);
        let setter = authenticator.text().filter(|text| type_of(text) == "headers_setter");
        let Some(setter) = setter.and_then(|setter| extensions.get(setter)) else { return exporter.clone() };
        check_keys(setter, &["headers", "additional_auth"], "`headers_setter`", report);
        let mut headers = SetHeaders::of(exporter);
        let mut position = 0;
        while let Some(written) = setter.near(&["headers"]).item(position) {
            position += 1;
            self.header(name, written, &mut headers, report);
        }
        let mut entries: Vec<NodeEntry> = Vec::new();
        for entry in
            exporter.entries().iter().filter(|entry| !["auth", "headers"].contains(&entry.key.as_str()))
        {
            entries.push(entry.clone());
        }
        if let Some(entry) = setter.entry("additional_auth").filter(|entry| !entry.value.is_null()) {
            let auth = vec![NodeEntry::new("authenticator", entry.key_span, entry.value.clone())];
            entries.push(NodeEntry::new("auth", entry.key_span, Node::of_entries(auth, entry.key_span)));
        }
        if !headers.0.is_empty() {
            let at = setter.near(&["headers"]).span;
            entries.push(NodeEntry::new("headers", at, Node::of_entries(headers.0, at)));
        }
        Node::of_entries(entries, exporter.span)
    }

    fn header(
        &mut self,
        exporter: &str,
        written: &Node,
        headers: &mut SetHeaders,
        report: &mut ProblemReport,
    ) {
        let known = ["key", "action", "value", "from_context", "default_value"];
        for entry in written.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            report
                .error(entry.key_span, format!("{} of `headers_setter` is not available", named(&entry.key)))
                .help("write the value as `value: \"${file:PATH}\"`, or read a header of the request by `from_context`");
        }
        let text = |key: &str| written.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let Some(key) = text("key") else {
            report
                .error(written.span, "a header of `headers_setter` has no `key`")
                .help("write its name as `key`");
            return;
        };
        let action = text("action").unwrap_or("upsert");
        let is_there = headers.position(key).is_some();
        let at = written.near(&["key"]).span;
        match action {
            "delete" => return headers.remove(key),
            "insert" if is_there => return,
            "update" if !is_there => return,
            "insert" | "update" | "upsert" => {}
            _ => {
                report
                    .error(written.near(&["action"]).span, "the action of `headers_setter` is not known")
                    .help("the actions are `insert`, `update`, `upsert` and `delete`");
                return;
            }
        }
        if let Some(header) = text("from_context") {
            let default = written.get("default_value").filter(|default| !default.is_null()).cloned();
            let part = self.part(header, default.as_ref());
            headers.put(
                key,
                at,
                Node::of_text(format!("{{{{ key.{part} }}}}"), written.near(&["from_context"]).span),
            );
            let at = written.near(&["from_context"]).span;
            if default.is_none() {
                report
                    .warn(at, "the data of a request without this header does not get to this exporter: a Collector sends it with an empty header")
                    .help("write `default_value: NAME` beside it, or `default: NAME` in the `key` of an imported route");
            }
            let header = header.to_owned();
            self.0.entry(exporter.to_owned()).or_default().push(HeaderKey { part, header, default, at });
        } else if let Some(value) = written.get("value") {
            headers.put(key, at, value.clone());
        }
    }

    /// The name of the key's part for this header with this default.
    fn part(&self, header: &str, default: Option<&Node>) -> String {
        let known = || self.0.values().flatten();
        let is_same = |key: &&HeaderKey| {
            key.header.eq_ignore_ascii_case(header)
                && key.default.as_ref().map(|default| &default.value) == default.map(|default| &default.value)
        };
        if let Some(same) = known().find(is_same) {
            return same.part.clone();
        }
        let name = part_name(header);
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| known().all(|key| key.part != *name)).unwrap_or(name)
    }
}

/// The headers of an exporter, of either form, as a map.
struct SetHeaders(Vec<NodeEntry>);

impl SetHeaders {
    fn of(exporter: &Node) -> Self {
        let Some(written) = exporter.get("headers") else { return Self(Vec::new()) };
        let NodeValue::Seq(items) = &written.value else { return Self(written.entries().to_vec()) };
        let entry = |item: &Node| {
            let name = item.get("name")?;
            Some(NodeEntry::new(name.text()?, name.span, item.get("value")?.clone()))
        };
        Self(items.iter().filter_map(entry).collect())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|entry| entry.key.eq_ignore_ascii_case(name))
    }

    fn remove(&mut self, name: &str) {
        if let Some(position) = self.position(name) {
            self.0.remove(position);
        }
    }

    fn put(&mut self, name: &str, at: Span, value: Node) {
        self.remove(name);
        self.0.push(NodeEntry::new(name, at, value));
    }
}

/// `x_scope_orgid` of `X-Scope-OrgID`.
fn part_name(header: &str) -> String {
    let name = header.to_ascii_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    if name.starts_with(|char: char| char.is_ascii_digit()) { format!("_{name}") } else { name }
}
