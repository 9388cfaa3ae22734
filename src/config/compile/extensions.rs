//! `extensions`, which `auth` of receivers and exporters names, as far as both have them in common.

use std::collections::HashSet;
use std::path::Path;

use http::HeaderName;
use secrecy::SecretString;

use super::Context;
use crate::config::SecretPresence;
use crate::config::model::{BearerTokenAuth, Extension, Named, Typed as _, type_of};
use crate::config::node::Node;
use crate::config::quoting::{self, is_name, listed, named, nearest};
use crate::config::substitute::PLACEHOLDER;
use crate::credentials::SecretUse;

/// The extensions of a configuration, and which of them have been named.
pub(super) struct Extensions<'a> {
    written: &'a Named<Extension>,
    node: &'a Node,
    used: HashSet<&'a str>,
    /// Whether an `authenticator` is not known, which may name any of them.
    may_name_others: bool,
}

/// The tokens of a header: an exporter sends the first, and a receiver takes any of them.
pub(super) struct Bearer<'a> {
    /// The header that carries it.
    pub(super) header: HeaderName,
    /// The scheme before the token; may be empty.
    pub(super) scheme: String,
    /// The tokens, or the file that has them.
    pub(super) tokens: WrittenTokens<'a>,
}

/// Tokens as they are written.
pub(super) enum WrittenTokens<'a> {
    /// At least one, each of visible ASCII.
    Texts(Vec<SecretString>),
    /// One in each line of this file.
    File(&'a Path),
}

impl<'a> Extensions<'a> {
    pub(super) fn new(written: &'a Named<Extension>, root: &'a Node) -> Self {
        Self { written, node: root.near(&["extensions"]), used: HashSet::new(), may_name_others: false }
    }

    /// The extension that the `authenticator` at `node` names, and its node; `None` if there is none, which has been reported. `others` are
    /// names that are allowed beside those of extensions.
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
        self.may_name_others |= node.has_placeholder();
        if self.node.get(name).is_some() && !Extension::TYPES.contains(&type_of(name)) {
            let types = listed(Extension::TYPES.iter().copied());
            context
                .report
                .error(
                    node.span,
                    format!(
                        "the extension {} is not available, and what it protects would be open",
                        named(name)
                    ),
                )
                .help(format!("the types are {types}"));
        } else if !context.is_excused(self.node, name) {
            let known = self.written.0.iter().map(|(known, _)| known.as_str());
            let near = nearest(name, known.chain(others.iter().copied())).filter(|near| is_name(near));
            let help = match near {
                Some(near) if context.report.shows(node.span) => format!("did you mean `{near}`?"),
                _ => "write an extension of that name below `extensions:`, such as `bearertokenauth: { token: \"${env:TOKEN}\" }`".to_owned(),
            };
            context.report.error(node.span, format!("there is no extension {}", named(name))).help(help);
        }
        None
    }

    /// Warns of extensions that no `auth` names.
    pub(super) fn warn_of_unused(&self, context: &mut Context<'_>) {
        for (name, _) in &self.written.0 {
            if self.used.contains(name.as_str()) || self.may_name_others {
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

/// Compiles the `bearertokenauth` at `node`; `None` if it has a mistake, which has been reported.
pub(super) fn bearer<'a>(
    written: &'a BearerTokenAuth,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<Bearer<'a>> {
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

fn tokens<'a>(
    written: &'a BearerTokenAuth,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<WrittenTokens<'a>> {
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
    if let Some(path) = filename {
        return Some(WrittenTokens::File(path));
    }
    let texts = if key == "tokens" { written.tokens.as_slice() } else { written.token.as_slice() };
    sendable(texts.iter().map(String::as_str), node.near(&[key]), context).map(WrittenTokens::Texts)
}

/// The tokens in the file that `node` names. A change of the file reloads the configuration. `None` if the file has no token, or one that
/// can't be used, which has been reported.
pub(super) fn tokens_of_file(
    path: &Path,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<Vec<SecretString>> {
    let text = read_secret(path, PLACEHOLDER, node, context)?;
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        context.report.error(node.span, "there is no token in the file").help("write one in each line");
        return None;
    }
    sendable(tokens.into_iter(), node, context)
}

/// The tokens; `None` if a header can't hold one of them, which has been reported.
fn sendable<'t>(
    mut tokens: impl Iterator<Item = &'t str> + Clone,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<Vec<SecretString>> {
    let texts = tokens.clone();
    if tokens.all(|token| SecretUse::Token.check(token).is_ok()) {
        return Some(texts.map(SecretString::from).collect());
    }
    context
        .report
        .error(node.span, "a token must be visible ASCII without spaces, and not empty")
        .help("write the token alone; what stands before it in the header is `scheme`");
    None
}

/// The text of the file that `node` names, without its final line break. A change of the file reloads the configuration. If it
/// can't be read, that is reported, and the result is `placeholder` where the file needn't exist, else `None`.
pub(super) fn read_secret(
    path: &Path,
    placeholder: &str,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<String> {
    match context.files.read_value(path) {
        Ok(text) => Some(text),
        Err(reason) => {
            let message = format!("can't read the file {}: {reason}", quoting::path(path));
            if context.secrets == SecretPresence::Optional {
                context.report.warn_of_placeholder(node.span, message);
                context.report.excuse(node.span);
                return Some(placeholder.to_owned());
            }
            let help = "a relative path is relative to the working directory";
            context.report.error(node.span, message).help(help);
            None
        }
    }
}
