//! `headers` of exporters: names, and values that are templates and secrets.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use super::Context;
use super::url::{Sample, TEMPLATES};
use crate::config::node::Node;
use crate::export::SecretTemplate;
use crate::route::{Place, Template};

/// Headers that frame a message: another value would break the connection.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Compiles the headers below `node`. No value is ever part of a problem.
pub(super) fn compile(
    headers: &Map<String, Json>,
    node: &Node,
    context: &mut Context<'_>,
) -> Vec<(HeaderName, SecretTemplate)> {
    let mut compiled: Vec<(HeaderName, SecretTemplate)> = Vec::new();
    for (text, value) in headers {
        let Some(entry) = node.entry(text) else { continue };
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            context
                .report
                .error(entry.key_span, "this is not a header's name")
                .help("a name has letters, digits and `-`, without spaces or `:`");
            continue;
        };
        if FRAMING.contains(&name.as_str()) {
            context
                .report
                .error(entry.key_span, format!("the header `{text}` can't be set: it frames the request"));
        }
        if compiled.iter().any(|(other, _)| *other == name) {
            context
                .report
                .error(entry.key_span, format!("duplicate header `{text}`"))
                .help("names of headers are the same in any case; keep one of the two");
        }
        let Some(template) = value.as_str().and_then(|value| template(value, text, &entry.value, context))
        else {
            continue;
        };
        compiled.push((name, SecretTemplate(template)));
    }
    compiled
}

fn template(value: &str, name: &str, node: &Node, context: &mut Context<'_>) -> Option<Template> {
    let template = match Template::parse(value) {
        Ok(template) => template,
        // The template's own error would quote what may be the secret.
        Err(_) => {
            context
                .report
                .error(
                    node.span,
                    format!("the value of `{name}` has a `{{{{ }}}}` that is not a template expression"),
                )
                .help(TEMPLATES);
            return None;
        }
    };
    let sendable =
        template.render(&Sample, Place::Header).is_ok_and(|value| HeaderValue::from_str(&value).is_ok());
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
    let name = name.as_str();
    name.contains("authorization") || name.contains("api-key") || name.contains("token")
}
