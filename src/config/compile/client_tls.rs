//! `tls` of outgoing connections.

use super::Context;
use crate::client::TlsClientSettings;
use crate::config::model::{TlsSection, TlsVersion};
use crate::config::node::Node;

/// Compiles the `tls` at `node`.
pub(super) fn compile(tls: &TlsSection, node: &Node, context: &mut Context<'_>) -> TlsClientSettings {
    let alone = match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => Some(("cert_file", "key_file")),
        (None, Some(_)) => Some(("key_file", "cert_file")),
        _ => None,
    };
    if let Some((written, missing)) = alone
        && !context.is_excused(node, missing)
    {
        let span = node.entry(written).map_or(node.span, |entry| entry.key_span);
        context
            .report
            .error(span, format!("`{written}` needs `{missing}`"))
            .help(format!("write `{missing}`, too"));
    }
    let files = [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)];
    let left_out = files.iter().any(|(_, file)| file.is_some()) && context.leaves_out_files(node);
    for (key, file) in files {
        if left_out {
            break;
        }
        if let Some(file) = file
            && !file.exists()
        {
            let node = node.near(&[key]);
            let written = context.written(node);
            context
                .report
                .error(node.span, format!("the file {written} is not there"))
                .help("it has to be there before Sluice starts; a later change of it is noticed");
        }
    }
    if tls.insecure_skip_verify {
        context
            .report
            .warn(
                node.near(&["insecure_skip_verify"]).span,
                "any certificate is accepted, so anyone in between can pose as the upstream",
            )
            .help("write `ca_file` to trust a certificate authority of your own");
    }
    TlsClientSettings {
        ca_file: tls.ca_file.clone().filter(|_| !left_out),
        cert_file: tls.cert_file.clone().filter(|_| !left_out),
        key_file: tls.key_file.clone().filter(|_| !left_out),
        insecure_skip_verify: tls.insecure_skip_verify,
        server_name_override: tls.server_name_override.clone(),
        only_tls13: tls.min_version == Some(TlsVersion::V13),
    }
}
