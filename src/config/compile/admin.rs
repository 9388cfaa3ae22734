//! `admin`: its listener and its tokens.

use super::address::{self, Addresses};
use super::{Context, server_tls};
use crate::access::AdminTokens;
use crate::config::model;
use crate::config::node::Node;
use crate::receive::ListenerSettings;
use crate::secret_hash::SecretHash;

/// Shorter tokens cause a warning: a token of random letters and digits has more than 80 bits from this length on.
const SHORT: usize = 16;

/// The keys that tokens are written with.
const TOKENS: [&str; 4] = ["read_token", "read_token_sha256", "write_token", "write_token_sha256"];

/// What to write instead of a listener that is open to everybody.
const CLOSE: &str = "write `write_token: \"${file:PATH}\"` and `tls:`, or `127.0.0.1:8888` with `health:` for probes and Prometheus";

/// Compiles the `admin` at `node`. Without a listener there are no tokens.
pub(super) fn compile(
    admin: &model::AdminSection,
    node: &Node,
    addresses: &mut Addresses,
    context: &mut Context<'_>,
) -> (Option<ListenerSettings>, AdminTokens) {
    if !admin.enabled {
        return (None, AdminTokens::default());
    }
    let endpoint = addresses.take(&admin.endpoint, node.near(&["endpoint"]), "`admin`", context);
    let tokens = tokens(admin, node, context);
    let tls =
        admin.tls.as_ref().map(|tls| server_tls::compile(tls, node.near(&["tls"]), context)).transpose();
    let hosts = hosts(admin, node, context);
    let (Some(endpoint), Ok(tls)) = (endpoint, tls) else { return (None, tokens) };
    if !endpoint.ip().to_canonical().is_loopback() && !context.report.has_error_within(node.span) {
        say_who_reaches_it(admin, &tokens, &endpoint.to_string(), node, context);
    }
    let settings =
        ListenerSettings { hosts, tls: tls.flatten(), ..ListenerSettings::for_people("admin", endpoint) };
    (Some(settings), tokens)
}

/// Reports a listener that is not on loopback and lets others read or write.
fn say_who_reaches_it(
    admin: &model::AdminSection,
    tokens: &AdminTokens,
    endpoint: &str,
    node: &Node,
    context: &mut Context<'_>,
) {
    let span = node.near(&["endpoint"]).span;
    let asks_for_certificates = admin.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
    let readable = || {
        format!("whoever reaches {endpoint} from another machine can read routing keys and the configuration")
    };
    if tokens.is_empty() && !asks_for_certificates {
        if admin.insecure {
            context.report.warn(span, readable()).help(CLOSE);
        } else {
            let help = format!("{CLOSE}; or `insecure: true` if that is meant");
            context.report.error(span, readable()).help(help);
        }
    } else if admin.tls.is_none() {
        context
            .report
            .warn(span, format!("tokens are sent to {endpoint} unencrypted"))
            .help("write `tls:` in `admin`, unless something before it speaks TLS");
    }
}

fn tokens(admin: &model::AdminSection, node: &Node, context: &mut Context<'_>) -> AdminTokens {
    let read = [
        token(admin.read_token.as_deref(), node, TOKENS[0], context),
        hash(admin.read_token_sha256.as_deref(), node, TOKENS[1], context),
    ];
    let write = [
        token(admin.write_token.as_deref(), node, TOKENS[2], context),
        hash(admin.write_token_sha256.as_deref(), node, TOKENS[3], context),
    ];
    let list = |tokens: [Option<SecretHash>; 2]| tokens.into_iter().flatten().collect();
    let tokens = AdminTokens::new(list(read), list(write), admin.insecure);
    // One placeholder is as good as another.
    let is_guess = |key: &str| node.near(&[key]).has_placeholder();
    if tokens.are_mixed_up() && !TOKENS.into_iter().any(is_guess) {
        context
            .report
            .error(node.span, "`admin` has the same token for reading and for writing")
            .help("leave out the one for reading: who may write may read");
    }
    tokens
}

fn token(token: Option<&str>, node: &Node, key: &str, context: &mut Context<'_>) -> Option<SecretHash> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        refuse_empty_file(node, key, context);
        return None;
    };
    let node = node.near(&[key]);
    let span = node.span;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        context
            .report
            .error(
                span,
                format!(
                    "`{key}` can't be sent in a header: it has spaces, line breaks or letters beyond ASCII"
                ),
            )
            .help("write one of letters and digits, such as `openssl rand -hex 32` makes");
        return None;
    }
    if token.len() < SHORT && !node.has_placeholder() {
        context
            .report
            .warn(span, format!("`{key}` has fewer than {SHORT} characters, so that it can be guessed"))
            .help("write a longer one, such as `openssl rand -hex 32` makes");
    }
    Some(SecretHash::of(&[token.as_bytes()]))
}

fn hash(hash: Option<&str>, node: &Node, key: &str, context: &mut Context<'_>) -> Option<SecretHash> {
    let Some(hash) = hash.filter(|hash| !hash.is_empty()) else {
        refuse_empty_file(node, key, context);
        return None;
    };
    let node = node.near(&[key]);
    if node.has_placeholder() {
        return Some(SecretHash::of(&[hash.as_bytes()]));
    }
    let token = SecretHash::from_hex(hash);
    if token.is_none() {
        context
            .report
            .error(node.span, format!("`{key}` is not a SHA-256 in 64 hexadecimal digits"))
            .help("write what `printf %s TOKEN | sha256sum | cut -c1-64` prints");
    }
    token
}

/// Reports that there is nothing in the file of a token. It may be about to be written, and must not open anything meanwhile. A
/// text that is empty by itself, or by the default of a variable, is no token.
fn refuse_empty_file(node: &Node, key: &str, context: &mut Context<'_>) {
    let Some(value) = node.get(key) else { return };
    // A problem that was reported about it, if it is no error, is that its file is empty.
    if context.report.has_said(value.span) && !context.report.has_error_within(value.span) {
        context
            .report
            .error(value.span, format!("`{key}` is empty"))
            .help("write a token into the file, or leave out the key");
    }
}

/// The names by which the listener is known.
fn hosts(admin: &model::AdminSection, node: &Node, context: &mut Context<'_>) -> Vec<String> {
    let list = node.near(&["hosts"]);
    for (index, host) in admin.hosts.iter().enumerate() {
        let is_name =
            |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if host.is_empty() || !is_name(host) {
            let item = list.item(index).unwrap_or(list);
            let subject = context.subject(item);
            context
                .report
                .error(item.span, format!("{subject} is not a host name"))
                .help("write the name alone, such as `sluice.monitoring.svc`");
        }
    }
    address::host_name(&admin.endpoint).into_iter().chain(admin.hosts.iter().cloned()).collect()
}
