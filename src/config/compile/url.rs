//! URLs of exporters, which are templates.

use std::net::IpAddr;
use std::ops::Range;

use http::Uri;
use http::uri::Authority;

use super::Context;
use crate::config::node::Node;
use crate::config::substitute::PLACEHOLDER_URL;
use crate::otlp::Signal;
use crate::route::{RoutingKey, Template, TemplateError, TemplateTarget, TemplateValue, Values};

/// The help about a text that is no template.
pub(super) const TEMPLATES: &str = "templates are `{{ key }}`, `{{ key.part }}`, `{{ signal }}` and `{{ tenant.NAME }}`, and in a route's `key` and the values of its processors `{{ resource[\"service.name\"] }}`; \
     filters are default, lower, upper, replace and truncate";

/// A value that is allowed anywhere in a template, in a port as well.
pub(super) const SAMPLE: &str = "1";

/// Fills every place of a template with [`SAMPLE`].
pub(super) struct Sample(RoutingKey);

impl Sample {
    /// For these templates.
    pub(super) fn of(template: &Template) -> Self {
        let parts = template.reads().filter_map(|read| match read {
            TemplateValue::KeyPart(name) => Some((name.as_str(), SAMPLE)),
            TemplateValue::Key
            | TemplateValue::Signal
            | TemplateValue::Resource(_)
            | TemplateValue::Tenant(_) => None,
        });
        Self(RoutingKey::of(None, SAMPLE, parts))
    }
}

impl Values for Sample {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.0)
    }

    fn signal(&self) -> Signal {
        Signal::Traces
    }

    fn resource(&self, _: &str) -> Option<&str> {
        Some(SAMPLE)
    }

    fn tenant(&self, _: &str) -> Option<&str> {
        Some(SAMPLE)
    }
}

/// Reports a mistake in a template, without showing substituted values or secrets.
pub(super) fn report_template(error: &TemplateError, node: &Node, context: &mut Context<'_>) {
    let message = if node.is_substituted() || !context.report.shows(node.span) {
        format!("{} has a `{{{{ }}}}` that is not a template expression", context.subject(node))
    } else {
        error.to_string()
    };
    context.report.error(node.span, message).help(TEMPLATES);
}

/// A URL of an `otlp_http` exporter.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) url: Template,
    /// Whether it is `https`.
    pub(super) secure: bool,
    /// Whether the host is this machine.
    pub(super) local: bool,
}

/// Parses `text`, which is the value of `node`, and adds `path` to it.
pub(super) fn upstream(text: &str, path: &str, node: &Node, context: &mut Context<'_>) -> Option<Upstream> {
    whole(text, node.literal(), path, node, context)
}

/// As [`upstream`]; `literal` is where in `text` there is no template.
fn whole(
    text: &str,
    literal: &[Range<usize>],
    path: &str,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<Upstream> {
    let url = match Template::parse_around(text, literal) {
        Ok(url) => url,
        Err(error) => {
            report_template(&error, node, context);
            return None;
        }
    };
    match inspect(&url, path) {
        Ok((secure, local)) => {
            let base = if path.is_empty() { text } else { text.trim_end_matches('/') };
            let url = Template::parse_around(&format!("{base}{path}"), literal)
                .expect("the text is a template, and the path has no braces");
            Some(Upstream { url, secure, local })
        }
        // Whatever stands in for a part of the URL, such as its port.
        Err(_) if node.has_placeholder() => {
            let url = Template::parse(&format!("{PLACEHOLDER_URL}{path}")).expect("it has no braces");
            Some(Upstream { url, secure: true, local: false })
        }
        Err((reason, help)) => {
            let subject = context.subject(node);
            // Only the text of the file itself may be repeated in the help.
            let help = if node.is_substituted() || !context.report.shows(node.span) {
                help.replace(TEXT, "ingest.example.com")
            } else {
                help.replace(TEXT, text)
            };
            context.report.error(node.span, format!("{subject} can't be sent to: {reason}")).help(help);
            None
        }
    }
}

/// As [`upstream`], for a server that is named by host and port alone; `scheme` is used where none is written.
pub(super) fn server(text: &str, scheme: &str, node: &Node, context: &mut Context<'_>) -> Option<Upstream> {
    // As the Collector reads it; two slashes are followed by the name server to ask, which is the system's here.
    let endpoint = text.strip_prefix("dns:///").or_else(|| text.strip_prefix("dns://")).unwrap_or(text);
    let cut = text.len() - endpoint.len();
    let added = if endpoint.contains("://") { String::new() } else { format!("{scheme}://") };
    let moved = |at: usize| (at + added.len()).saturating_sub(cut);
    let literal: Vec<_> = node.literal().iter().map(|range| moved(range.start)..moved(range.end)).collect();
    let server = whole(&format!("{added}{endpoint}"), &literal, "", node, context)?;
    let rendered = server.url.render(&Sample::of(&server.url), TemplateTarget::Url).ok()?;
    let rest = rendered.split_once("://").map_or("", |(_, rest)| rest);
    if rest.find(['/', '?']).is_some_and(|end| rest[end..] != *"/") {
        let subject = context.subject(node);
        context
            .report
            .error(node.span, format!("{subject} can't be sent to: gRPC is sent to a host, not to a path"))
            .help("write host and port, such as `otel.example.com:4317`");
        return None;
    }
    let authority = rest.trim_end_matches('/').parse::<Authority>();
    if authority.is_ok_and(|authority| authority.port().is_none()) {
        let subject = context.subject(node);
        let example = if node.is_substituted() || !context.report.shows(node.span) {
            "otel.example.com:4317".to_owned()
        } else {
            format!("{}:4317", text.trim_end_matches('/'))
        };
        context
            .report
            .error(node.span, format!("{subject} can't be sent to: it has no port"))
            .help(format!("write `{example}`, or the port that the server listens on"));
        return None;
    }
    Some(server)
}

/// Stands for the text itself in a help.
const TEXT: &str = "<text>";

/// Whether the URL is `https`, and whether its host is this machine; or why it can't be sent to, and the help.
fn inspect(url: &Template, path: &str) -> Result<(bool, bool), (&'static str, &'static str)> {
    const EXAMPLE: &str = "write a URL such as `https://ingest.example.com/otlp`";

    let Ok(text) = url.render(&Sample::of(url), TemplateTarget::Url) else {
        return Err(("it is no URL", EXAMPLE));
    };
    if text.contains('#') {
        return Err(("it has a fragment (`#`)", "remove it"));
    }
    let Some((scheme, _)) = text.split_once("://") else {
        return Err(("it has no scheme", "write `https://<text>`, or `http://<text>` without TLS"));
    };
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(("its scheme is neither `https` nor `http`", EXAMPLE)),
    };
    let uri: Uri = text.parse().map_err(|_| ("it is no URL", EXAMPLE))?;
    let authority = uri.authority().ok_or(("it has no host", EXAMPLE))?;
    if authority.as_str().contains('@') {
        return Err((
            "a URL with credentials would show them",
            "write `headers: { Authorization: \"Basic …\" }` instead",
        ));
    }
    let host = authority.host();
    if host.is_empty() {
        return Err(("it has no host", EXAMPLE));
    }
    if host.len() > crate::client::LONGEST_HOST {
        return Err(("its host has more than 253 bytes", EXAMPLE));
    }
    if !crate::client::has_usable_port(&uri) {
        return Err(("its port is not a number from 1 to 65535", EXAMPLE));
    }
    if !path.is_empty() && uri.query().is_some() {
        return Err((
            "a path is added to it, which can't follow a query (`?`)",
            "write `traces_endpoint`, `metrics_endpoint` and `logs_endpoint`, which are used as they are",
        ));
    }
    Ok((secure, is_local(host)))
}

/// Whether this host is this machine.
pub(in crate::config) fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
