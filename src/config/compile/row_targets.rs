//! What exporters read of a tenant's row, against what the row says: whether what the tenant sends could be sent on. Sluice itself
//! only finds out when there is something to send, and holds it then.

use std::collections::HashSet;
use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::config::node::Node;
use crate::config::problem::{Report, enumerated};
use crate::config::secrets::named;
use crate::export::{ExporterSettings, TargetError, alternatives};
use crate::glob::Glob;
use crate::otlp::Signal;
use crate::route::{KeySpec, RenderError, RouteSpec, RoutingKey, TENANT_ID, Template, TemplateValue, Values};
use crate::tenants::Tenant;

/// The routes and exporters of a configuration, as far as they decide where entries of tenants go.
#[derive(Clone, Debug)]
pub(in crate::config) struct RowTargets {
    exporters: Vec<(Arc<str>, ExporterSettings)>,
    /// In the order in which routes are asked. Routes that make no difference to each other are one.
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
    /// Whether it leaves nothing of its tenants and signals for later routes.
    takes_all: bool,
}

/// Stands for what is not known: a text that is allowed anywhere, in a port as well.
const STAND_IN: &str = "1";

/// A stream of a tenant, with what is known of it beforehand.
struct ExpectedStream<'r> {
    row: &'r Tenant,
    signal: Signal,
    key: RoutingKey,
    /// Of values with several texts, which is read.
    choice: usize,
    /// What has a stand-in, since it isn't known, or is known to be wrong.
    assumed: Vec<TemplateValue>,
}

impl RowTargets {
    pub(in crate::config) fn new(exporters: &[(Arc<str>, ExporterSettings)], routes: &[RouteSpec]) -> Self {
        let mut known = HashSet::new();
        let routes = routes.iter().map(TenantRoute::of).filter(|route| known.insert(route.clone())).collect();
        Self { exporters: exporters.to_vec(), routes }
    }

    /// Warns of each exporter that could not send what the tenant sends. The row stands at `node`.
    pub(super) fn check(&self, tenant: &Tenant, node: &Node, report: &mut Report) {
        let routes = self.routes_of(&tenant.id);
        for (position, (name, settings)) in self.exporters.iter().enumerate() {
            let is_own = match &tenant.exporters {
                Some(names) if names.iter().any(|own| **own == **name) => true,
                // What has nothing of a tenant is not sent otherwise because of a row.
                None if settings.reads().any(|read| matches!(read, TemplateValue::Tenant(_))) => false,
                Some(_) | None => continue,
            };
            for (route, signals) in &routes {
                if !is_own && !route.exporters.contains(&position) {
                    continue;
                }
                for signal in Signal::ALL.into_iter().filter(|signal| signals[signal.index()]) {
                    for choice in 0..alternatives(settings, tenant) {
                        let assumed = placeholders(node);
                        let mut stream = ExpectedStream::of(tenant, signal, route, choice, assumed);
                        while let Err(error) = settings.check_target(&stream) {
                            if is_of_tenant(&error, is_own) {
                                warn(&error, (name, settings), &stream, node, report);
                            }
                            if !stream.assume(&error) {
                                break;
                            }
                        }
                    }
                }
            }
        }
    }

    /// The routes that entries of a tenant may go, with the signals that get there.
    fn routes_of(&self, tenant: &str) -> Vec<(&TenantRoute, [bool; 3])> {
        let mut left = [true; 3];
        let mut found = Vec::new();
        for route in &self.routes {
            let is_for = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.matches(tenant));
            let taken = Signal::ALL.map(|signal| route.signals[signal.index()] && left[signal.index()]);
            if taken == [false; 3] || !route.tenants.as_ref().is_none_or(is_for) {
                continue;
            }
            found.push((route, taken));
            if route.takes_all {
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
        let needs_attributes = route.key.sources().any(|source| source.attributes().next().is_some());
        Self {
            tenants: route.tenants.clone(),
            signals: route.signals,
            parts,
            exporters: route.exporters.clone(),
            takes_all: route.matches.is_empty()
                && route.receivers.is_none()
                && !needs_attributes
                && !route.continues,
        }
    }
}

impl<'r> ExpectedStream<'r> {
    fn of(
        row: &'r Tenant,
        signal: Signal,
        route: &TenantRoute,
        choice: usize,
        assumed: Vec<TemplateValue>,
    ) -> Self {
        let parts = route.parts.iter().map(|part| (part.as_str(), STAND_IN));
        let key = RoutingKey::of(Some(&row.id), STAND_IN, parts);
        Self { row, signal, key, choice, assumed }
    }

    /// Has a stand-in be there for the value that this error is about, so that it is seen what else is wrong. Returns whether
    /// that may make a difference.
    fn assume(&mut self, error: &TargetError) -> bool {
        let Some(read) = value_of(error).filter(|read| !self.assumed.contains(read)) else { return false };
        if let TemplateValue::KeyPart(part) = read {
            let parts = self.key.parts().chain([(part.as_str(), STAND_IN)]);
            self.key = RoutingKey::of(Some(&self.row.id), STAND_IN, parts);
        }
        self.assumed.push(read.clone());
        true
    }
}

impl Values for ExpectedStream<'_> {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.key)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn tenant(&self, name: &str) -> Option<&str> {
        if self.assumed.iter().any(|read| matches!(read, TemplateValue::Tenant(known) if known == name)) {
            return Some(STAND_IN);
        }
        if name == TENANT_ID {
            return Some(&self.row.id);
        }
        let texts = self.row.values.get(name)?;
        texts.get(self.choice).or(texts.last()).map(ExposeSecret::expose_secret)
    }
}

/// The values of a row in which placeholders stand for secrets.
fn placeholders(node: &Node) -> Vec<TemplateValue> {
    let values = node.get("values").map_or(&[][..], Node::entries).iter();
    let has_placeholder = |value: &Node| {
        let mut texts = std::iter::once(value).chain((0..).map_while(|index| value.item(index)));
        texts.any(Node::has_placeholder)
    };
    let found = values.filter(|entry| has_placeholder(&entry.value));
    found.map(|entry| TemplateValue::Tenant(entry.key.clone())).collect()
}

/// The value that an error is about, if it is one alone.
fn value_of(error: &TargetError) -> Option<&TemplateValue> {
    match error {
        TargetError::Render(
            RenderError::Missing(read) | RenderError::Unsafe { read, .. } | RenderError::NoText { read, .. },
        ) => Some(read),
        TargetError::NoEndpoint(_)
        | TargetError::Url { .. }
        | TargetError::HeaderValue { .. }
        | TargetError::Proxy(_) => None,
    }
}

/// Whether an error follows from who the tenant is, or from its row, which names the exporter or not.
fn is_of_tenant(error: &TargetError, is_own: bool) -> bool {
    match error {
        TargetError::NoEndpoint(_) => is_own,
        error => error.is_of_row() || matches!(value_of(error), Some(TemplateValue::Tenant(_))),
    }
}

/// Says what is wrong where it is to be put right.
fn warn(
    error: &TargetError,
    (exporter, settings): (&str, &ExporterSettings),
    stream: &ExpectedStream<'_>,
    node: &Node,
    report: &mut Report,
) {
    let id = node.near(&["id"]).span;
    let text = |name: &str| {
        let value = node.get("values")?.get(name)?;
        Some(value.item(stream.choice).or(value.item(0)).unwrap_or(value).span)
    };
    let own = || {
        let list = node.near(&["exporters"]);
        let position = stream.row.exporters.iter().flatten().position(|own| **own == *exporter);
        position.and_then(|position| list.item(position)).unwrap_or(list).span
    };
    let in_url = url_values(settings, stream.signal);
    let (span, help) = match (error, value_of(error)) {
        (TargetError::Render(RenderError::Missing(_)), Some(TemplateValue::Tenant(name))) => {
            let default = format!("`{{{{ tenant.{name} | default(\"…\") }}}}`");
            (
                node.entry("values").map_or(id, |values| values.key_span),
                Some(format!("write `{name}` under `values`, or a default in the template: {default}")),
            )
        }
        (_, Some(TemplateValue::Tenant(name))) => (text(name).unwrap_or(id), None),
        (_, Some(TemplateValue::KeyPart(_))) => {
            (own(), Some("name exporters that read what the keys of this tenant's routes have".to_owned()))
        }
        (TargetError::NoEndpoint(signal), _) => {
            (own(), Some(format!("name exporters that take {signal}, as this tenant's routes do")))
        }
        (TargetError::Url { .. }, _) => (in_url.iter().find_map(|name| text(name)).unwrap_or(id), None),
        _ => (id, None),
    };
    let why = match error {
        // The URL itself may hold what is secret.
        TargetError::Url { source, .. } => {
            let names: Vec<String> = in_url.iter().map(|name| format!("`tenant.{name}`")).collect();
            format!("what its template makes of {} is {source}", enumerated(&names))
        }
        error => error.to_string(),
    };
    let (exporter, tenant) = (named(exporter), &stream.row.id);
    let problem =
        report.warn(span, format!("the exporter {exporter} can't send data of tenant `{tenant}`: {why}"));
    if let Some(help) = help {
        problem.help(help);
    }
}

/// The names of the values of a row that the URL for a signal is made of.
fn url_values(settings: &ExporterSettings, signal: Signal) -> Vec<&str> {
    let reads = settings.url(signal).into_iter().flat_map(Template::reads);
    let names = reads.filter_map(|read| match read {
        TemplateValue::Tenant(name) if read.is_of_row() => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}
