//! `headers` of exporters: names, and values that are templates and secrets.

use std::ops::Range;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use super::Context;
use super::url::{Sample, TEMPLATES};
use crate::config::model::{Encoding, Headers};
use crate::config::node::Node;
use crate::config::problem::Span;
use crate::config::secrets::REDACTED;
use crate::export::{Compression, FRAMING_HEADERS, SecretTemplate};
use crate::route::{Template, TemplateTarget};

/// Compiles the headers below `node`. No value is ever part of a problem.
pub(super) fn compile(
    headers: &Headers,
    node: &Node,
    context: &mut Context<'_>,
) -> Vec<(HeaderName, SecretTemplate)> {
    let mut compiled: Vec<(HeaderName, SecretTemplate)> = Vec::new();
    for Written { name: text, name_span, value, node } in written(headers, node) {
        let shown = if context.report.shows(name_span) { text } else { REDACTED };
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            context
                .report
                .error(name_span, "this is not a header's name")
                .help("a name has letters, digits and `-`, without spaces or `:`");
            continue;
        };
        if FRAMING_HEADERS.contains(&name.as_str()) {
            context
                .report
                .error(name_span, format!("the header `{name}` can't be set: it frames the request"));
        }
        if compiled.iter().any(|(other, _)| *other == name) {
            context
                .report
                .error(name_span, format!("duplicate header `{shown}`"))
                .help("names of headers are the same in any case; keep one of the two");
        }
        if let Some(template) = template(value, shown, node, context) {
            compiled.push((name, SecretTemplate(template)));
        }
    }
    compiled
}

/// Reports a `Content-Type` that is not that of the encoding. One that is, as upstreams' documentation often has it, is
/// sent as it is written.
pub(super) fn check_content_type(
    headers: &Headers,
    encoding: Encoding,
    node: &Node,
    context: &mut Context<'_>,
) {
    let (name, fitting, other): (_, &[&str], _) = match encoding {
        Encoding::Proto => ("proto", &["application/x-protobuf", "application/protobuf"], "json"),
        Encoding::Json => ("json", &["application/json"], "proto"),
    };
    for header in written(headers, node) {
        if !header.name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()) || header.node.has_placeholder() {
            continue;
        }
        // What follows `;` are parameters.
        let media_type = header.value.split(';').next().unwrap_or_default().trim();
        if fitting.iter().any(|fitting| media_type.eq_ignore_ascii_case(fitting)) {
            continue;
        }
        context
            .report
            .error(header.node.span, format!("this `Content-Type` is not that of `encoding: {name}`"))
            .help(format!("leave the header out, or write `encoding: {other}` if that is what it says"));
    }
}

/// Reports a `Content-Encoding` that is not what the exporter compresses with: the upstream could not read what it gets.
pub(super) fn check_content_encoding(
    headers: &Headers,
    compression: Compression,
    node: &Node,
    context: &mut Context<'_>,
) {
    let sent = compression.in_http().unwrap_or("identity");
    for header in written(headers, node) {
        let is_encoding = header.name.eq_ignore_ascii_case(CONTENT_ENCODING.as_str());
        if !is_encoding || header.node.has_placeholder() || header.value.trim().eq_ignore_ascii_case(sent) {
            continue;
        }
        context
            .report
            .error(header.node.span, "this `Content-Encoding` is not that of `compression`")
            .help("leave the header out: `compression` sets it");
    }
}

/// A header as it stands in the file.
struct Written<'a> {
    name: &'a str,
    name_span: Span,
    value: &'a str,
    node: &'a Node,
}

/// The headers of either form, in the order of the file.
fn written<'a>(headers: &'a Headers, node: &'a Node) -> Vec<Written<'a>> {
    match headers {
        Headers::Map(map) => map
            .iter()
            .filter_map(|(name, value)| {
                let entry = node.entry(name)?;
                Some(Written { name, name_span: entry.key_span, value: value.as_str()?, node: &entry.value })
            })
            .collect(),
        Headers::List(list) => list
            .iter()
            .enumerate()
            .map(|(index, header)| {
                let item = node.item(index).unwrap_or(node);
                let name_span = item.near(&["name"]).span;
                Written { name: &header.name, name_span, value: &header.value, node: item.near(&["value"]) }
            })
            .collect(),
    }
}

fn template(value: &str, name: &str, node: &Node, context: &mut Context<'_>) -> Option<Template> {
    // The template's own error is not shown: it would quote what may be the secret.
    let Ok(template) = Template::parse_around(value, node.literal()) else {
        context
            .report
            .error(
                node.span,
                format!("the value of `{name}` has a `{{{{ }}}}` that is not a template expression"),
            )
            .help(TEMPLATES);
        return None;
    };
    if node.is_substituted() && !node.has_placeholder() {
        let is_empty = value.trim().is_empty() || node.literal().iter().any(Range::is_empty);
        if is_empty && !context.report.has_said(node.span) {
            context
                .report
                .warn(node.span, format!("what is substituted into the value of `{name}` is empty"));
        }
    }
    let sendable = template
        .render(&Sample::of(&template), TemplateTarget::Header)
        .is_ok_and(|value| HeaderValue::from_str(&value).is_ok());
    if !sendable {
        context
            .report
            .error(node.span, format!("the value of `{name}` has characters that no header may have"))
            .help("a line break or a control character; is the secret's file one line?");
        return None;
    }
    Some(template)
}

/// Whether a header's value is something to keep secret on the wire.
pub(super) fn is_credential(name: &HeaderName) -> bool {
    const PARTS: [&str; 10] = [
        "auth",
        "dsn",
        "apikey",
        "api-key",
        "token",
        "secret",
        "password",
        "credential",
        "cookie",
        "signature",
    ];
    let name = name.as_str();
    PARTS.iter().any(|part| name.contains(part)) || name.ends_with("-key") || name == "x-honeycomb-team"
}
