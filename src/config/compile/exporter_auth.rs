//! `auth` of exporters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderName, Uri};
use secrecy::SecretString;

use super::extensions::{self, Extensions, WrittenTokens};
use super::{Context, client_tls, url};
use crate::config::SecretPresence;
use crate::config::model::{Auth, BasicAuth, BearerTokenAuth, Extension, OAuth2Client, OneOrMore};
use crate::config::node::Node;
use crate::config::quoting;
use crate::config::substitute::PLACEHOLDER;
use crate::credentials::{ExporterAuth, ExporterAuthMethod, OAuth2Settings, SecretSource, SecretUse};
use crate::export::{FRAMING_HEADERS, SecretTemplate};

/// Compiles the extensions that exporters name, each once, so that its mistakes are reported once.
pub(super) struct ExporterAuths<'e, 'a> {
    extensions: &'e mut Extensions<'a>,
    /// By name; `None` where there is a mistake.
    compiled: HashMap<String, Option<ExporterAuthMethod>>,
}

impl<'e, 'a> ExporterAuths<'e, 'a> {
    pub(super) fn new(extensions: &'e mut Extensions<'a>) -> Self {
        Self { extensions, compiled: HashMap::new() }
    }

    /// Compiles the `auth` of the exporter at `node`, which has these `headers` as well; `None` if it names no extension, or one with a
    /// mistake.
    pub(super) fn compile(
        &mut self,
        auth: Option<&Auth>,
        headers: &[(HeaderName, SecretTemplate)],
        node: &Node,
        context: &mut Context<'_>,
    ) -> Option<ExporterAuth> {
        let name = auth?.authenticator.as_deref()?;
        let at = node.near(&["auth", "authenticator"]);
        let (extension, extension_at) = self.extensions.find(name, &[], at, context)?;
        let compiled = self.compiled.entry(name.to_owned());
        let method = compiled.or_insert_with(|| method(extension, extension_at, context)).clone()?;
        let auth = ExporterAuth { authenticator: Arc::from(name), method };
        let header = auth.header();
        if headers.iter().any(|(other, _)| other == header) {
            context
                .report
                .error(
                    node.near(&["headers"]).span,
                    format!("the header `{header}` stands beside `auth`, which makes it"),
                )
                .help("leave out one of the two");
        }
        if FRAMING_HEADERS.contains(&header.as_str()) {
            context
                .report
                .error(at.span, format!("its header `{header}` can't be set: it frames the request"));
        }
        Some(auth)
    }
}

fn method(extension: &Extension, node: &Node, context: &mut Context<'_>) -> Option<ExporterAuthMethod> {
    match extension {
        Extension::BearerToken(written) => bearer(written, node, context),
        Extension::Basic(written) => basic(written, node, context),
        Extension::OAuth2Client(written) => {
            oauth2(written, node, context).map(|settings| ExporterAuthMethod::OAuth2(Box::new(settings)))
        }
    }
}

fn bearer(written: &BearerTokenAuth, node: &Node, context: &mut Context<'_>) -> Option<ExporterAuthMethod> {
    let bearer = extensions::bearer(written, node, context)?;
    let token = match bearer.tokens {
        WrittenTokens::Texts(tokens) => SecretSource::Text(tokens.into_iter().next()?),
        WrittenTokens::File(path) => file("filename", path, SecretUse::Token, node, context)?,
    };
    Some(ExporterAuthMethod::Bearer { header: bearer.header, scheme: bearer.scheme, token })
}

fn basic(written: &BasicAuth, node: &Node, context: &mut Context<'_>) -> Option<ExporterAuthMethod> {
    let at = node.near(&["client_auth"]);
    let Some(client) = &written.client_auth else {
        if !context.is_excused(node, "client_auth") {
            context
                .report
                .error(node.span, "`basicauth` of an exporter has no `client_auth`")
                .help("write `client_auth: { username: acme, password: \"${env:PASSWORD}\" }`");
        }
        return None;
    };
    let username = SecretKeys {
        text: ("username", client.username.as_deref()),
        file: ("username_file", client.username_file.as_ref()),
        usage: SecretUse::Username,
    };
    let password = SecretKeys {
        text: ("password", client.password.as_deref()),
        file: ("password_file", client.password_file.as_ref()),
        usage: SecretUse::Encoded,
    };
    let (username, password) = (username.compile(at, context), password.compile(at, context));
    Some(ExporterAuthMethod::Basic { username: username?, password: password? })
}

fn oauth2(written: &OAuth2Client, node: &Node, context: &mut Context<'_>) -> Option<OAuth2Settings> {
    let client_id = SecretKeys {
        text: ("client_id", written.client_id.as_deref()),
        file: ("client_id_file", written.client_id_file.as_ref()),
        usage: SecretUse::Encoded,
    };
    let client_secret = SecretKeys {
        text: ("client_secret", written.client_secret.as_deref()),
        file: ("client_secret_file", written.client_secret_file.as_ref()),
        usage: SecretUse::Encoded,
    };
    let (client_id, client_secret) = (client_id.compile(node, context), client_secret.compile(node, context));
    let token_url = token_url(written, node, context);
    let endpoint_params = endpoint_params(written, node, context);
    let tls = client_tls::compile(&written.tls, node.near(&["tls"]), context);
    Some(OAuth2Settings {
        client_id: client_id?,
        client_secret: client_secret?,
        token_url: token_url?,
        scopes: written.scopes.clone(),
        endpoint_params,
        timeout: written.timeout.0,
        tls,
        expiry_buffer: written.expiry_buffer.0,
    })
}

fn token_url(written: &OAuth2Client, node: &Node, context: &mut Context<'_>) -> Option<SecretString> {
    const EXAMPLE: &str = "write `token_url: https://login.example.com/oauth2/token`";
    let Some(text) = written.token_url.as_ref().filter(|text| !text.is_empty()) else {
        if !context.is_excused(node, "token_url") {
            context.report.error(node.span, "`oauth2client` has no `token_url`").help(EXAMPLE);
        }
        return None;
    };
    let at = node.near(&["token_url"]);
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(uri) = uri.filter(|_| !text.contains('#')) else {
        context.report.error(at.span, "`token_url` is not an `http` or `https` URL").help(EXAMPLE);
        return None;
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        context
            .report
            .error(at.span, "`token_url` has credentials in it, which would be shown")
            .help("write them as `client_id` and `client_secret`");
        return None;
    }
    if uri.scheme_str() == Some("http") && !uri.host().is_some_and(url::is_local) {
        context
            .report
            .warn(at.span, "the client's secret is sent over plain HTTP, where anyone in between can read it")
            .help("write an `https` URL");
    }
    Some(text.as_str().into())
}

fn endpoint_params(
    written: &OAuth2Client,
    node: &Node,
    context: &mut Context<'_>,
) -> Vec<(String, SecretString)> {
    let at = node.near(&["endpoint_params"]);
    let mut params = Vec::new();
    for (name, values) in &written.endpoint_params {
        let own = match name.as_str() {
            "client_id" | "client_secret" => Some(name.as_str()),
            "scope" if !written.scopes.is_empty() => Some("scopes"),
            _ => None,
        };
        if let Some(own) = own {
            let span = at.entry(name).map_or(at.span, |entry| entry.key_span);
            context
                .report
                .error(span, format!("`{name}` can't stand in `endpoint_params`: `{own}` says it"))
                .help("leave it out here");
        }
        let values = match values {
            OneOrMore::One(value) => std::slice::from_ref(value),
            OneOrMore::More(values) => values,
        };
        params.extend(values.iter().map(|value| (name.clone(), SecretString::from(value.as_str()))));
    }
    params
}

/// A secret that may be written by either of two keys.
struct SecretKeys<'a> {
    text: (&'static str, Option<&'a str>),
    /// The file wins, as in the Collector.
    file: (&'static str, Option<&'a PathBuf>),
    usage: SecretUse,
}

impl SecretKeys<'_> {
    /// Compiles the secret in the map at `node`; `None` if it has a mistake, which has been reported.
    fn compile(self, node: &Node, context: &mut Context<'_>) -> Option<SecretSource> {
        let ((key, text), (file_key, path)) = (self.text, self.file);
        if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
            if text.is_some() {
                context.report.warn(
                    node.near(&[key]).span,
                    format!("`{key}` has no effect: `{file_key}` wins over it"),
                );
            }
            return file(file_key, path, self.usage, node, context);
        }
        let Some(text) = text else {
            if !context.is_excused(node, key) && !context.is_excused(node, file_key) {
                context
                    .report
                    .error(node.span, format!("there is no `{key}`"))
                    .help(format!("write `{key}` or `{file_key}`"));
            }
            return None;
        };
        if let Err(reason) = self.usage.check(text) {
            context.report.error(node.near(&[key]).span, format!("this `{key}` can't be used: {reason}"));
            return None;
        }
        Some(SecretSource::Text(text.into()))
    }
}

/// The secret in the file that `option` of the map at `node` names. The file is read again when it changes, without a reload.
fn file(
    option: &'static str,
    path: &Path,
    usage: SecretUse,
    node: &Node,
    context: &mut Context<'_>,
) -> Option<SecretSource> {
    let span = node.near(&[option]).span;
    let Err(reason) = usage.check_file(path) else {
        return Some(SecretSource::File { option, path: path.to_owned() });
    };
    let message = format!("can't use the file {}: {reason}", quoting::path(path));
    if context.secrets == SecretPresence::Optional {
        context.report.warn_of_placeholder(span, message);
        return Some(SecretSource::Text(PLACEHOLDER.into()));
    }
    context
        .report
        .error(span, message)
        .help("it has to be there before Sluice starts; a later change of it is noticed");
    None
}
