//! `auth` of receivers.

use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::Context;
use super::extensions::{self, Extensions, WrittenTokens};
use super::server_tls::Reported;
use crate::config::SecretPresence;
use crate::config::model::{Auth, BasicAuth, Extension};
use crate::config::node::Node;
use crate::receive::{Authenticator, BearerTokens, HtpasswdUsers, ListenerSettings, Protocol};

/// The name of the table of tenants in `authenticator`.
const TENANTS: &str = "tenants";

/// Stands for the lines of a file that needn't exist.
const PLACEHOLDER: &str = "placeholder:placeholder";

/// Compiles the `auth` at `node`; `None` if it names nothing.
pub(super) fn compile(
    auth: Option<&Auth>,
    extensions: &mut Extensions<'_>,
    node: &Node,
    context: &mut Context<'_>,
) -> Result<Option<Arc<Authenticator>>, Reported> {
    let Some(name) = auth.and_then(|auth| auth.authenticator.as_deref()) else { return Ok(None) };
    let node = node.near(&["auth", "authenticator"]);
    if name == TENANTS {
        return Ok(Some(Arc::new(Authenticator::Tenants)));
    }
    match named(name, extensions, node, context) {
        // What a placeholder stands for would let somebody in; nothing can send to this listener, which is not run.
        Err(Reported) if context.secrets == SecretPresence::Optional => {
            Ok(Some(Arc::new(Authenticator::Bearer(BearerTokens::new(AUTHORIZATION, "Bearer", &[])))))
        }
        compiled => compiled.map(|authenticator| Some(Arc::new(authenticator))),
    }
}

/// Compiles the extension that the `authenticator` at `node` names.
fn named(
    name: &str,
    extensions: &mut Extensions<'_>,
    node: &Node,
    context: &mut Context<'_>,
) -> Result<Authenticator, Reported> {
    let (extension, at) = extensions.find(name, &[TENANTS], node, context).ok_or(Reported)?;
    Ok(match extension {
        Extension::BearerToken(written) => {
            let bearer = extensions::bearer(written, at, context).ok_or(Reported)?;
            let tokens = match bearer.tokens {
                WrittenTokens::Texts(tokens) => tokens,
                WrittenTokens::File(path) => {
                    extensions::tokens_of_file(path, at.near(&["filename"]), context).ok_or(Reported)?
                }
            };
            Authenticator::Bearer(BearerTokens::new(bearer.header, &bearer.scheme, &tokens))
        }
        Extension::Basic(written) => Authenticator::Basic(htpasswd(written, at, context).ok_or(Reported)?),
        Extension::OAuth2Client(_) => {
            context
                .report
                .error(
                    node.span,
                    "`oauth2client` fetches tokens for an exporter, and can't verify those of senders",
                )
                .help("name a `bearertokenauth`, a `basicauth` with `htpasswd`, or `tenants`");
            return Err(Reported);
        }
    })
}

/// Reports receivers that ask the table of tenants where there is none: nobody could send to them.
pub(super) fn check_table(listeners: &[ListenerSettings], root: &Node, context: &mut Context<'_>) {
    if root.get("tenants").is_some() {
        return;
    }
    let asks = |listener: &&ListenerSettings| listener.auth.as_deref() == Some(&Authenticator::Tenants);
    for listener in listeners.iter().filter(asks) {
        let protocol = if listener.protocol == Protocol::Http { "http" } else { "grpc" };
        let path = ["receivers", &listener.name, "protocols", protocol, "auth", "authenticator"];
        context
            .report
            .error(root.near(&path).span, "there is no table of tenants, so nobody could send")
            .help("write `tenants: { directory: ./tenants.d }` at the top level, or name an extension");
    }
}

fn htpasswd(written: &BasicAuth, node: &Node, context: &mut Context<'_>) -> Option<HtpasswdUsers> {
    let at = node.near(&["htpasswd"]);
    let path = |file: &std::path::PathBuf| !file.as_os_str().is_empty();
    let (file, inline) = match &written.htpasswd {
        Some(htpasswd) => (htpasswd.file.as_ref().filter(|file| path(file)), htpasswd.inline.as_deref()),
        None => (None, None),
    };
    if file.is_none() && inline.is_none() {
        if !context.is_excused(node, "htpasswd") && !context.report.has_error_within(at.span) {
            context.report.error(node.span, "`basicauth` of a receiver has no `htpasswd`").help(
                "write `htpasswd: { file: ./htpasswd }`, a file of lines as `htpasswd -nB USER` prints them",
            );
        }
        return None;
    }
    let mut htpasswd = HtpasswdUsers::default();
    let mut failed = false;
    for (key, text) in [
        ("file", file.map(|path| extensions::read_secret(path, PLACEHOLDER, at.near(&["file"]), context))),
        // Read last, so that it wins.
        ("inline", inline.map(|text| Some(text.to_owned()))),
    ] {
        let Some(text) = text else { continue };
        let Some(text) = text else {
            failed = true;
            continue;
        };
        if let Err(wrong) = htpasswd.add(&text) {
            let shown = if key == "file" { "the file" } else { "`inline`" };
            context
                .report
                .error(
                    at.near(&[key]).span,
                    format!("line {} of {shown} can't be used: {}", wrong.line, wrong.why),
                )
                .help("write lines as `htpasswd -nB USER` prints them");
            failed = true;
        }
    }
    if htpasswd.is_empty() && !failed {
        context.report.error(at.span, "there is no user in `htpasswd`, so nobody could send");
        failed = true;
    }
    (!failed).then_some(htpasswd)
}
