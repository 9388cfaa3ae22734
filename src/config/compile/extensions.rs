//! `extensions`: what `auth` of receivers and exporters names, and what both have of it in common.

use std::collections::HashSet;
use std::path::Path;

use http::HeaderName;
use secrecy::SecretString;

use super::Context;
use crate::config::Secrets;
use crate::config::model::{BearerTokenAuth, Extension, Named};
use crate::config::node::Node;
use crate::config::problem::nearest;
use crate::config::secrets::{self, named};
use crate::config::substitute::PLACEHOLDER;

/// The extensions of a configuration, and which of them have been named.
pub(super) struct Extensions<'a> {
    written: &'a Named<Extension>,
    node: &'a Node,
    used: HashSet<&'a str>,
}

/// The token of a header, of which an exporter sends the first, and a receiver takes any.
pub(super) struct Bearer {
    /// The header that carries it.
    pub(super) header: HeaderName,
    /// What stands before it; perhaps nothing.
    pub(super) scheme: String,
    /// At least one, each of visible ASCII.
    pub(super) tokens: Vec<SecretString>,
}

impl<'a> Extensions<'a> {
    pub(super) fn new(written: &'a Named<Extension>, root: &'a Node) -> Self {
        Self { written, node: root.near(&["extensions"]), used: HashSet::new() }
    }

    /// The extension that the `authenticator` at `node` names, and where it stands; nothing once it has been reported that there
    /// is none. `others` is what may be named beside extensions.
    pub(super) fn find(
        &mut self,
        name: &str,
        others: &[&str],
        node: &Node,
        context: &mut Context<'_>,
    ) -> Option<(&'a Extension, &'a Node)> {
        if let Some((name, extension)) = self.written.0.iter().find(|(known, _)| known == name) {
            self.used.insert(name);
            return Some((extension, self.node.near(&[name])));
        }
        if !context.is_excused(self.node, name) {
            let known = self.written.0.iter().map(|(known, _)| known.as_str());
            let near =
                nearest(name, known.chain(others.iter().copied())).filter(|near| secrets::is_name(near));
            let help = match near {
                Some(near) if context.report.shows(node.span) => format!("did you mean `{near}`?"),
                _ => "write an extension of that name below `extensions:`, such as `bearertokenauth: { token: \"${env:TOKEN}\" }`".to_owned(),
            };
            context.report.error(node.span, format!("there is no extension {}", named(name))).help(help);
        }
        None
    }

    /// Says which extensions nothing names.
    pub(super) fn warn_of_unused(&self, context: &mut Context<'_>) {
        for (name, _) in &self.written.0 {
            if self.used.contains(name.as_str()) {
                continue;
            }
            let shown = named(name);
            let span = self.node.entry(name).map_or(self.node.span, |entry| entry.key_span);
            context.report.warn(span, format!("the extension {shown} has no effect: nothing names it")).help(
                format!(
                    "write `auth: {{ authenticator: {} }}` in a receiver or an exporter",
                    shown.trim_matches('`')
                ),
            );
        }
    }
}

/// Compiles the `bearertokenauth` at `node`; what is wrong with it has been reported where there is nothing.
pub(super) fn bearer(written: &BearerTokenAuth, node: &Node, context: &mut Context<'_>) -> Option<Bearer> {
    let header = HeaderName::from_bytes(written.header.as_bytes());
    if header.is_err() {
        context
            .report
            .error(node.near(&["header"]).span, "this is not a header's name")
            .help("write `header: Authorization`");
    }
    let is_scheme = written.scheme.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_scheme {
        context
            .report
            .error(node.near(&["scheme"]).span, "a scheme is a single word of ASCII")
            .help("write `scheme: Bearer`, or `scheme: ''` where nothing stands before the token");
    }
    let tokens = tokens(written, node, context)?;
    let header = header.ok().filter(|_| is_scheme)?;
    Some(Bearer { header, scheme: written.scheme.clone(), tokens })
}

fn tokens(written: &BearerTokenAuth, node: &Node, context: &mut Context<'_>) -> Option<Vec<SecretString>> {
    let filename = written.filename.as_ref().filter(|path| !path.as_os_str().is_empty());
    // As in the Collector.
    let (key, without_effect) = match (filename, written.tokens.is_empty(), &written.token) {
        (Some(_), false, _) => ("filename", Some("tokens")),
        (Some(_), true, Some(_)) => ("filename", Some("token")),
        (Some(_), true, None) => ("filename", None),
        (None, false, token) => ("tokens", token.as_ref().map(|_| "token")),
        (None, true, Some(_)) => ("token", None),
        (None, true, None) => {
            if !["token", "tokens", "filename"].iter().any(|key| context.is_excused(node, key)) {
                context
                    .report
                    .error(node.span, "`bearertokenauth` has no token")
                    .help("write `token: \"${env:TOKEN}\"`, `tokens: [\"${env:NEW}\", \"${env:OLD}\"]` or `filename: /run/secrets/tokens`");
            }
            return None;
        }
    };
    if let Some(other) = without_effect {
        let span = node.near(&[other]).span;
        context.report.warn(span, format!("`{other}` has no effect: `{key}` wins over it"));
    }
    let at = node.near(&[key]);
    let texts: Vec<String> = match (key, filename) {
        ("filename", Some(path)) => {
            let text = read_secret(path, PLACEHOLDER, at, context)?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
        }
        ("tokens", _) => written.tokens.clone(),
        _ => written.token.iter().cloned().collect(),
    };
    if texts.is_empty() {
        context.report.error(at.span, "there is no token in the file").help("write one in each line");
        return None;
    }
    // A header can hold no other.
    if !texts.iter().all(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())) {
        context
            .report
            .error(at.span, "a token must be visible ASCII without spaces, and not empty")
            .help("write the token alone; what stands before it in the header is `scheme`");
        return None;
    }
    Some(texts.into_iter().map(SecretString::from).collect())
}

/// The text of the file that `node` names, without its final line break. A change of it reloads the configuration. Nothing once
/// it has been reported that it can't be read; `placeholder` where it needn't be there.
pub(super) fn read_secret(
    path: &Path,
    placeholder: &str,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<String> {
    match context.files.read_value(path) {
        Ok(text) => Some(text),
        Err(reason) => {
            let message = format!("can't read the file {}: {reason}", secrets::path(path));
            if context.secrets == Secrets::Optional {
                context.report.warn(node.span, format!("{message}: a placeholder stands for it"));
                return Some(placeholder.to_owned());
            }
            let help = "a relative path is relative to the working directory";
            context.report.error(node.span, message).help(help);
            None
        }
    }
}
