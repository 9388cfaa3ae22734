//! `tls` of receivers. Its files are read here already: a listener can't begin without them.

use std::sync::Arc;

use super::Context;
use crate::config::model::{ServerTls, TlsVersion};
use crate::config::node::Node;
use crate::receive::{TlsServer, TlsServerSettings};

/// A mistake that has been reported.
pub(super) struct Reported;

/// Compiles the `tls` at `node`; `None` if its files needn't exist.
pub(super) fn compile(
    tls: &ServerTls,
    node: &Node,
    context: &mut Context<'_>,
) -> Result<Option<Arc<TlsServer>>, Reported> {
    let (Some(cert_file), Some(key_file)) = (&tls.cert_file, &tls.key_file) else {
        for (key, file) in [("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
            if file.is_none() && !context.is_excused(node, key) {
                context
                    .report
                    .error(node.span, format!("`tls` of a receiver needs `{key}`"))
                    .help("write `tls: { cert_file: server.pem, key_file: server.key }`");
            }
        }
        return Err(Reported);
    };
    if context.leaves_out_files(node) {
        return Ok(None);
    }
    let settings = TlsServerSettings {
        cert_file: cert_file.clone(),
        key_file: key_file.clone(),
        client_ca_file: tls.client_ca_file.clone(),
        only_tls13: tls.min_version == Some(TlsVersion::V13),
        reload_interval: tls.reload_interval.0,
    };
    match TlsServer::load(settings) {
        Ok(server) => Ok(Some(Arc::new(server))),
        Err(error) => {
            let span = node.near(&[error.option()]).span;
            // What stands in place of a path may be the key itself, and the error repeats it.
            let message = if context.report.shows(span) {
                error.to_string()
            } else {
                format!("what `tls.{}` names can't be used", error.option())
            };
            context
                .report
                .error(span, message)
                .help("write the path of a file of PEM: `-----BEGIN CERTIFICATE-----` and so on, readable by the user that Sluice runs as");
            Err(Reported)
        }
    }
}
