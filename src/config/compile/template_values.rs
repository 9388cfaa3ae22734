//! Checks the values that templates of exporters read against the keys of the routes that send to them: all entries of a stream are sent
//! to one destination, so templates can read the parts of the stream's key, and nothing else of the data.

use std::sync::Arc;

use super::Context;
use crate::config::model;
use crate::config::node::Node;
use crate::config::quoting::{is_name, named};
use crate::export::{ExporterKind, ExporterSettings};
use crate::otlp::Signal;
use crate::route::{KeySource, KeySpec, RouteSpec, Template, TemplateValue};

/// Reports values that a template of an exporter can't read.
pub(super) fn check(
    exporters: &[(Arc<str>, ExporterSettings)],
    routes: &[RouteSpec],
    written: &[model::RouteSection],
    root: &Node,
    context: &mut Context<'_>,
) {
    let has_table = root.get("tenants").is_some();
    if !has_table {
        report_without_table(written, routes, root, context);
    }
    for (index, route) in routes.iter().enumerate() {
        let all = root.near(&["routes"]);
        let node = all.item(index).unwrap_or(all).near(&["processors"]);
        for template in route.edits.iter().flat_map(|edit| &edit.templates) {
            check_edit(template, route, has_table, node, context);
        }
    }
    for (position, (name, settings)) in exporters.iter().enumerate() {
        let node = root.near(&["exporters", name]);
        let senders: Vec<_> =
            routes.iter().zip(written).filter(|(route, _)| route.exporters.contains(&position)).collect();
        for (template, node) in templates(&settings.kind, node) {
            if context.report.has_error_within(node.span) {
                continue;
            }
            let attributes: Vec<&str> = template.attributes().collect();
            if !attributes.is_empty() {
                let key = senders.first().and_then(|(_, route)| route.key.as_ref());
                report_attributes(&attributes, key, node, context);
                continue;
            }
            if !has_table && template.reads().any(|read| matches!(read, TemplateValue::Tenant(_))) {
                context
                    .report
                    .error(node.span, "the template reads a tenant, and there is no table of them")
                    .help(NO_TABLE);
                continue;
            }
            let parts = template.reads().filter_map(|read| match read {
                TemplateValue::KeyPart(part) => Some(part),
                TemplateValue::Key
                | TemplateValue::Signal
                | TemplateValue::Resource(_)
                | TemplateValue::Tenant(_) => None,
            });
            for part in parts {
                if let Some((route, _)) = senders.iter().find(|(route, _)| !has_part(&route.key, part)) {
                    report_part(part, route, node, context);
                    break;
                }
            }
        }
    }
}

/// Reports values that a template of a route's processors can't read. The names of the processors stand at `node`.
fn check_edit(
    template: &Template,
    route: &RouteSpec,
    has_table: bool,
    node: &Node,
    context: &mut Context<'_>,
) {
    for read in template.reads() {
        match read {
            TemplateValue::Tenant(_) if !has_table => {
                context
                    .report
                    .error(node.span, "a processor reads a tenant, and there is no table of them")
                    .help(NO_TABLE);
            }
            TemplateValue::KeyPart(part) if !has_part(&route.key, part) => {
                report_part(part, route, node, context);
            }
            TemplateValue::Key
            | TemplateValue::KeyPart(_)
            | TemplateValue::Signal
            | TemplateValue::Resource(_)
            | TemplateValue::Tenant(_) => continue,
        }
        return;
    }
}

/// The help where something needs a table of tenants and there is none.
const NO_TABLE: &str = "write `tenants: { directory: ./tenants.d }`, with a file for each tenant";

/// Reports routes that are for tenants, or have the tenant in their key, without a table of tenants.
fn report_without_table(
    written: &[model::RouteSection],
    routes: &[RouteSpec],
    root: &Node,
    context: &mut Context<'_>,
) {
    let all = root.near(&["routes"]);
    for (index, (route, spec)) in written.iter().zip(routes).enumerate() {
        let node = all.item(index).unwrap_or(all);
        let reads = spec.key.sources().any(|source| match source {
            KeySource::Request { .. } | KeySource::Attributes(_) | KeySource::Records { .. } => false,
            KeySource::Template(template) => {
                template.reads().any(|read| matches!(read, TemplateValue::Tenant(_)))
            }
        });
        let place = match (&route.tenants, reads) {
            (Some(_), _) => node.near(&["tenants"]),
            (None, true) => node.near(&["key"]),
            (None, false) => continue,
        };
        context
            .report
            .error(place.span, "the route is for tenants, and there is no table of them")
            .help(NO_TABLE);
    }
}

/// The templates of an exporter, with their places in the file.
fn templates<'a>(kind: &'a ExporterKind, node: &'a Node) -> Vec<(&'a Template, &'a Node)> {
    let (urls, headers): (Vec<_>, &[_]) = match kind {
        ExporterKind::OtlpHttp(http) => {
            let urls = Signal::ALL.into_iter().filter_map(|signal| {
                let url = http.urls[signal.index()].as_ref()?;
                let own = format!("{signal}_endpoint");
                let own = node.get(&own).filter(|own| own.text().is_some_and(|text| !text.is_empty()));
                Some((url, own.unwrap_or_else(|| node.near(&["endpoint"]))))
            });
            let mut urls: Vec<_> = urls.collect();
            // One `endpoint` makes the URLs of several signals.
            urls.dedup_by_key(|(_, node)| node.span.start);
            (urls, &http.upstream.headers)
        }
        ExporterKind::OtlpGrpc(grpc) => {
            (grpc.url.iter().map(|url| (url, node.near(&["endpoint"]))).collect(), &grpc.upstream.headers)
        }
        ExporterKind::File(_) | ExporterKind::Debug(_) | ExporterKind::Nop => return Vec::new(),
    };
    let written = node.near(&["headers"]);
    let headers = headers.iter().map(|(name, template)| {
        let entry = written.entries().iter().find(|entry| entry.key.eq_ignore_ascii_case(name.as_str()));
        (&template.0, entry.map_or(written, |entry| &entry.value))
    });
    urls.into_iter().chain(headers).collect()
}

fn has_part(key: &KeySpec, part: &str) -> bool {
    match key {
        KeySpec::Parts(parts) => parts.iter().any(|(name, _)| name == part),
        KeySpec::Route | KeySpec::One(_) => false,
    }
}

/// Reports which key the route needs so that the exporter can read the attributes.
fn report_attributes(
    attributes: &[&str],
    key: Option<&model::KeySection>,
    node: &Node,
    context: &mut Context<'_>,
) {
    let message = "templates of exporters read the key, the signal and the tenant, and no attributes";
    let is_shown = !node.is_substituted() && attributes.iter().all(|attribute| is_name(attribute));
    let help = if is_shown {
        let mut parts = present_parts(key);
        for attribute in attributes {
            let part = part_name(attribute);
            if !parts.iter().any(|(known, _)| *known == part) {
                parts.push((part, (*attribute).to_owned()));
            }
        }
        let parts: Vec<String> =
            parts.into_iter().map(|(part, source)| format!("{part}: {source}")).collect();
        let reads: Vec<String> =
            attributes.iter().map(|attribute| format!("`{{{{ key.{} }}}}`", part_name(attribute))).collect();
        format!("write `key: {{ {} }}` in the route, and {} here", parts.join(", "), reads.join(", "))
    } else {
        "give the route's key a part for each attribute, such as `key: { tenant: tenant.id, team: team }`, and read it here: \
         `{{ key.team }}`"
            .to_owned()
    };
    context.report.error(node.span, message).help(help);
}

/// The parts that a key would have if its present sources were one of them.
fn present_parts(key: Option<&model::KeySection>) -> Vec<(String, String)> {
    let list = |names: &[String]| format!("[{}]", names.join(", "));
    match key {
        None => Vec::new(),
        Some(model::KeySection::One(attribute)) if is_name(attribute) => {
            vec![(part_name(attribute), attribute.clone())]
        }
        Some(model::KeySection::FirstOf(names)) if names.iter().all(|name| is_name(name)) => {
            vec![(part_name(&names[0]), list(names))]
        }
        // What it is may be anything.
        Some(model::KeySection::One(_) | model::KeySection::FirstOf(_)) => {
            vec![("name".to_owned(), "…".to_owned())]
        }
        Some(key @ model::KeySection::Parts(parts)) => {
            let source = |part: &model::KeyPartSection| match part {
                model::KeyPartSection::One(attribute) if is_name(attribute) => attribute.clone(),
                model::KeyPartSection::FirstOf(names) if names.iter().all(|name| is_name(name)) => {
                    list(names)
                }
                model::KeyPartSection::One(_) | model::KeyPartSection::FirstOf(_) => "…".to_owned(),
                model::KeyPartSection::OfRecord(_) => "{ record: …, resource: … }".to_owned(),
            };
            let parts: Vec<(String, String)> =
                parts.iter().map(|(name, part)| (name.clone(), source(part))).collect();
            if key.record_source().is_none() {
                return parts;
            }
            let whose: Vec<String> = parts.iter().map(|(whose, name)| format!("{whose}: {name}")).collect();
            vec![("name".to_owned(), format!("{{ {} }}", whose.join(", ")))]
        }
    }
}

/// `service_name` of `service.name`.
fn part_name(attribute: &str) -> String {
    let name = attribute.replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    if name.starts_with(|char: char| char.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Reports that the key of a route lacks a part that the exporter reads.
fn report_part(part: &str, route: &RouteSpec, node: &Node, context: &mut Context<'_>) {
    let part = if node.is_substituted() || !is_name(part) { "NAME" } else { part };
    let help = match &route.key {
        KeySpec::Parts(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(name, _)| format!("`{{{{ key.{name} }}}}`")).collect();
            format!("there are {}", parts.join(", "))
        }
        KeySpec::Route | KeySpec::One(_) => {
            format!(
                "read all of it by `{{{{ key }}}}`, or write a key with parts there: `key: {{ {part}: … }}`"
            )
        }
    };
    let message = format!("the key of the route {} has no part `{part}`", named(&route.name));
    context.report.error(node.span, message).help(help);
}
