//! What exporters read of a tenant's row, against what the row says: whether what the tenant sends could be sent on. Sluice itself
//! only finds out when there is something to send, and holds it then.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::url::SAMPLE;
use crate::config::credential::MisshapenCredential;
use crate::config::node::Node;
use crate::config::problem::{Report, Span};
use crate::config::secrets::named;
use crate::export::{ExporterSettings, SecretTemplate, TargetError, alternatives};
use crate::glob::Glob;
use crate::otlp::Signal;
use crate::route::{
    KeySource, KeySpec, RenderError, RouteSpec, RoutingKey, TENANT_ID, Template, TemplateTarget,
    TemplateValue, Values,
};
use crate::tenants::Tenant;

/// The routes and exporters of a configuration, as far as they decide where entries of tenants go.
#[derive(Clone, Debug)]
pub(in crate::config) struct RowTargets {
    exporters: Vec<(Arc<str>, ExporterSettings)>,
    /// In the order in which routes are asked. Of those that make no difference to each other there is one: a hundred thousand may
    /// differ in the attribute's value alone that they match.
    routes: Vec<TenantRoute>,
}

/// What of a route decides which of a tenant's entries it takes, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TenantRoute {
    tenants: Option<Vec<Glob>>,
    signals: [bool; 3],
    /// The names of the parts of its key.
    parts: Vec<String>,
    exporters: Vec<usize>,
    /// The values of a row without which its key is absent.
    key_values: BTreeSet<String>,
    /// The values of a row without which one of its processors may not have what it writes, each with the processor's name.
    edit_values: BTreeSet<(String, Box<str>)>,
    /// Whether it leaves nothing of its tenants and signals for later routes, where it has a key.
    takes_all: bool,
}

/// A stream of a tenant, with what is known of it beforehand.
struct ExpectedStream<'r> {
    row: &'r Tenant,
    signal: Signal,
    key: RoutingKey,
    /// Of values with several texts, which is read.
    choice: usize,
    /// The values for which [`SAMPLE`] is read: those in which a placeholder stands, and those that have been found wrong, so that
    /// what else is wrong is found, too.
    assumed: Vec<String>,
}

impl RowTargets {
    pub(in crate::config) fn new(exporters: &[(Arc<str>, ExporterSettings)], routes: &[RouteSpec]) -> Self {
        let mut known = HashSet::new();
        let routes = routes.iter().map(TenantRoute::of).filter(|route| known.insert(route.clone())).collect();
        Self { exporters: exporters.to_vec(), routes }
    }

    /// Warns of each exporter that could not send what the tenant sends. The row stands at `node`.
    pub(super) fn check(&self, tenant: &Tenant, node: &Node, report: &mut Report) {
        let routes = self.routes_of(tenant);
        let placeholders = placeholders(node);
        let needed: BTreeSet<&String> = routes.iter().flat_map(|(route, _)| &route.key_values).collect();
        for name in needed.into_iter().filter(|name| tenant.values.get(name).is_none()) {
            warn_of_no_key(name, tenant, node, report);
        }
        let edited = routes.iter().filter(|(route, _)| route.has_key(tenant));
        let needed: BTreeSet<&(String, Box<str>)> =
            edited.flat_map(|(route, _)| &route.edit_values).collect();
        for (name, processor) in needed.into_iter().filter(|(name, _)| tenant.values.get(name).is_none()) {
            warn_of_no_edit(name, processor, tenant, node, report);
        }
        for (position, (name, settings)) in self.exporters.iter().enumerate() {
            let is_target = |route: &TenantRoute| match &tenant.exporters {
                Some(names) => names.iter().any(|own| **own == **name),
                None => route.exporters.contains(&position),
            };
            for (route, signals) in routes.iter().filter(|(route, _)| is_target(route)) {
                for signal in Signal::ALL.into_iter().filter(|signal| signals[signal.index()]) {
                    for choice in 0..alternatives(settings, tenant) {
                        let stream = ExpectedStream {
                            row: tenant,
                            signal,
                            key: route.expected_key(&tenant.id),
                            choice,
                            assumed: placeholders.clone(),
                        };
                        let stream = check_stream(stream, (name, settings), node, report);
                        check_credentials(&stream, (name, settings), node, report);
                    }
                }
            }
        }
    }

    /// The routes that entries of a tenant may go, with the signals that get there.
    fn routes_of(&self, tenant: &Tenant) -> Vec<(&TenantRoute, [bool; 3])> {
        let mut left = [true; 3];
        let mut found = Vec::new();
        for route in &self.routes {
            let is_for = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.matches(&tenant.id));
            let taken = Signal::ALL.map(|signal| route.signals[signal.index()] && left[signal.index()]);
            if taken == [false; 3] || !route.tenants.as_ref().is_none_or(is_for) {
                continue;
            }
            found.push((route, taken));
            if route.takes_all && route.has_key(tenant) {
                left = Signal::ALL.map(|signal| left[signal.index()] && !taken[signal.index()]);
            }
        }
        found
    }
}

impl TenantRoute {
    fn of(route: &RouteSpec) -> Self {
        let parts = match &route.key {
            KeySpec::Parts(parts) => parts.iter().map(|(name, _)| name.clone()).collect(),
            KeySpec::Route | KeySpec::One(_) => Vec::new(),
        };
        let depends_on_data = route.key.sources().any(|source| {
            source.attributes().next().is_some()
                || !source.record_attributes().is_empty()
                || matches!(source, KeySource::Request { default: None, .. })
        });
        let sample = sample_key(SAMPLE, &parts);
        let needed = |template: &Template| needed_values(template, &sample);
        let of_key = route.key.sources().filter_map(|source| match source {
            KeySource::Template(template) => Some(needed(template)),
            KeySource::Attributes(_) | KeySource::Records { .. } | KeySource::Request { .. } => None,
        });
        let key_values = of_key.flatten().collect();
        let of_edits = route.edits.iter().flat_map(|edit| {
            let values = edit.templates.iter().flat_map(needed);
            values.map(|name| (name, edit.name.clone())).collect::<Vec<_>>()
        });
        let edit_values = of_edits.collect();
        Self {
            tenants: route.tenants.clone(),
            signals: route.signals,
            parts,
            exporters: route.exporters.clone(),
            takes_all: route.matches.is_empty()
                && route.record_matches.is_empty()
                && route.record_alone_matches.is_empty()
                && route.request_matches.is_empty()
                && route.receivers.is_none()
                && !depends_on_data
                && !route.continues,
            key_values,
            edit_values,
        }
    }

    /// What is known beforehand of the keys of a tenant's entries.
    fn expected_key(&self, tenant: &str) -> RoutingKey {
        sample_key(tenant, &self.parts)
    }

    /// Whether the tenant's row has all that the key reads of it.
    fn has_key(&self, tenant: &Tenant) -> bool {
        self.key_values.iter().all(|name| tenant.values.get(name).is_some())
    }
}

/// A key of a tenant with these parts.
fn sample_key(tenant: &str, parts: &[String]) -> RoutingKey {
    RoutingKey::of(Some(tenant), SAMPLE, parts.iter().map(|part| (part.as_str(), SAMPLE)))
}

/// An entry of a tenant whose row has every value but one.
struct RowWithout<'n> {
    name: &'n str,
    key: &'n RoutingKey,
}

impl Values for RowWithout<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        Some(self.key)
    }

    fn signal(&self) -> Signal {
        Signal::Logs
    }

    fn resource(&self, _name: &str) -> Option<&str> {
        Some(SAMPLE)
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        (name != self.name).then_some(SAMPLE)
    }
}

/// The values of the row without which there is no text, as there is if the template has a default for them.
fn needed_values(template: &Template, key: &RoutingKey) -> Vec<String> {
    let needed = template.row_reads().filter(|name| {
        matches!(
            template.render(&RowWithout { name, key }, TemplateTarget::Key),
            Err(RenderError::Missing(TemplateValue::Tenant(missing))) if missing == *name
        )
    });
    needed.map(str::to_owned).collect()
}

/// Warns of a value that the row, which stands at `node`, doesn't have, and without which there is no key.
fn warn_of_no_key(name: &str, tenant: &Tenant, node: &Node, report: &mut Report) {
    let span = node.entry("values").map_or(node.near(&["id"]).span, |values| values.key_span);
    let id = &tenant.id;
    report
        .warn(span, format!("a route has no key for data of tenant `{id}`: the row has no value `{name}`"))
        .help(format!("write `{name}` under `values`, or a default in the key: `{{{{ tenant.{name} | default(\"…\") }}}}`"));
}

/// Warns of a value that the row, which stands at `node`, doesn't have, and without which a processor may not have what it writes.
fn warn_of_no_edit(name: &str, processor: &str, tenant: &Tenant, node: &Node, report: &mut Report) {
    let span = node.entry("values").map_or(node.near(&["id"]).span, |values| values.key_span);
    let (id, processor) = (&tenant.id, named(processor));
    report
        .warn(
            span,
            format!(
                "a route may reject data of tenant `{id}`: its processor {processor} reads `{name}`, which the row does not have"
            ),
        )
        .help(format!(
            "write `{name}` under `values`, or a default in the processor: `{{{{ tenant.{name} | default(\"…\") }}}}`"
        ));
}

impl Values for ExpectedStream<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.key)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        if self.assumed.iter().any(|assumed| assumed == name) {
            return Some(SAMPLE);
        }
        if name == TENANT_ID {
            return Some(&self.row.id);
        }
        self.row.values.text(name, self.choice)
    }
}

/// Warns of all that keeps an exporter from sending a stream, if it follows from the tenant's row, which stands at `node`. What is
/// wrong is assumed to be right in the stream that it gives back.
fn check_stream<'r>(
    mut stream: ExpectedStream<'r>,
    (name, settings): (&str, &ExporterSettings),
    node: &Node,
    report: &mut Report,
) -> ExpectedStream<'r> {
    while let Err(error) = settings.check_target(&stream) {
        if is_of_tenant(&error, stream.row) {
            warn(&error, name, &stream, node, report);
        }
        match value_of(&error) {
            Some(TemplateValue::Tenant(read)) if !stream.assumed.contains(read) => {
                stream.assumed.push(read.clone());
            }
            _ => break,
        }
    }
    stream
}

/// Warns of what the row, which stands at `node`, brings into the header that authenticates, if no upstream takes that.
fn check_credentials(
    stream: &ExpectedStream<'_>,
    (exporter, settings): (&str, &ExporterSettings),
    node: &Node,
    report: &mut Report,
) {
    let headers = settings.upstream().into_iter().flat_map(|upstream| &upstream.headers);
    for (_, SecretTemplate(template)) in headers.filter(|(name, _)| *name == AUTHORIZATION) {
        let is_assumed = |name: &str| stream.assumed.iter().any(|assumed| assumed == name);
        let mut read = template.row_reads().filter(|name| stream.row.values.get(name).is_some());
        let Some(name) = read.next() else { continue };
        if template.row_reads().any(is_assumed) {
            continue;
        }
        let Ok(value) = template.render(stream, TemplateTarget::Header) else { continue };
        let why = match MisshapenCredential::of_header(&value) {
            Some(MisshapenCredential::TwoSchemes) => {
                "the header that it goes into has a scheme before it already"
            }
            Some(MisshapenCredential::NoUser) => {
                "it goes behind `Basic`, and is no Base64 of `USER:PASSWORD`"
            }
            None => continue,
        };
        let id = &stream.row.id;
        let (exporter, span) = (named(exporter), text_span(name, stream, node));
        report.warn(
            span,
            format!(
                "the upstream of the exporter {exporter} is likely to refuse the value `{name}` of tenant `{id}`: {why}"
            ),
        );
    }
}

/// Where the text stands that a stream has of a value of the row at `node`.
fn text_span(name: &str, stream: &ExpectedStream<'_>, node: &Node) -> Span {
    let value = node.get("values").and_then(|values| values.get(name));
    let item =
        |value: &Node| (0..=stream.choice).rev().find_map(|index| value.item(index)).map(|item| item.span);
    value.map_or(node.near(&["id"]).span, |value| item(value).unwrap_or(value.span))
}

/// The names of the values of a row in which placeholders stand for secrets.
fn placeholders(node: &Node) -> Vec<String> {
    let has_placeholder = |value: &Node| {
        value.has_placeholder() || (0..).map_while(|index| value.item(index)).any(Node::has_placeholder)
    };
    let values = node.get("values").map_or(&[][..], Node::entries).iter();
    values.filter(|entry| has_placeholder(&entry.value)).map(|entry| entry.key.clone()).collect()
}

/// The value that an error is about, if it is one alone.
fn value_of(error: &TargetError) -> Option<&TemplateValue> {
    match error {
        TargetError::Render(
            RenderError::Missing(read) | RenderError::Unsafe { read, .. } | RenderError::NoText { read, .. },
        ) => Some(read),
        TargetError::NoEndpoint(_)
        | TargetError::Key { .. }
        | TargetError::Url { .. }
        | TargetError::HeaderValue { .. }
        | TargetError::Proxy(_) => None,
    }
}

/// Whether an error follows from who the tenant is, or from what its row says.
fn is_of_tenant(error: &TargetError, tenant: &Tenant) -> bool {
    match error {
        TargetError::NoEndpoint(_) => tenant.exporters.is_some(),
        error => error.is_of_row() || matches!(value_of(error), Some(TemplateValue::Tenant(_))),
    }
}

/// Says why an exporter could not send a stream, where the row is to be changed.
fn warn(error: &TargetError, exporter: &str, stream: &ExpectedStream<'_>, node: &Node, report: &mut Report) {
    let id = node.near(&["id"]).span;
    let values = node.entry("values");
    let in_values = values.map_or(id, |values| values.key_span);
    let named_by_row = || {
        let list = node.near(&["exporters"]);
        let position = stream.row.exporters.iter().flatten().position(|own| **own == *exporter);
        position.and_then(|position| list.item(position)).unwrap_or(list).span
    };
    let (span, help) = match (error, value_of(error)) {
        (TargetError::Render(RenderError::Missing(_)), Some(TemplateValue::Tenant(name))) => {
            let default = format!("`{{{{ tenant.{name} | default(\"…\") }}}}`");
            let help = format!("write `{name}` under `values`, or a default in the template: {default}");
            (in_values, Some(help))
        }
        (_, Some(TemplateValue::Tenant(name))) => (text_span(name, stream, node), None),
        (_, Some(TemplateValue::KeyPart(_))) => {
            let help = "name exporters that read what the keys of this tenant's routes have";
            (named_by_row(), Some(help.to_owned()))
        }
        (TargetError::NoEndpoint(signal), _) => {
            let help = format!("name exporters that take {signal}, as this tenant's routes do");
            (named_by_row(), Some(help))
        }
        _ => (in_values, None),
    };
    let why = match error {
        // The URL itself may hold what is secret.
        TargetError::Url { source, .. } => format!("what its template makes of the row's values is {source}"),
        error => error.to_string(),
    };
    let (exporter, tenant) = (named(exporter), &stream.row.id);
    let problem =
        report.warn(span, format!("the exporter {exporter} can't send data of tenant `{tenant}`: {why}"));
    if let Some(help) = help {
        problem.help(help);
    }
}
