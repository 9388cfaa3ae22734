//! `HAProxy`'s configuration: it passes requests on without looking into them.

use rig::send::SendProtocol;

use super::{Task, WORKERS};

pub(super) fn config(task: &Task<'_>) -> String {
    let Task { listen, upstream, passage, certificates, .. } = task;
    let spoken = |protocol| if protocol == SendProtocol::Grpc { " proto h2" } else { "" };
    let bind_tls = if passage.incoming.tls {
        format!(" ssl crt {}", certificates.both().display())
    } else {
        String::new()
    };
    let server_tls = if passage.outgoing.tls {
        format!(" ssl verify required ca-file {}", certificates.authority().display())
    } else {
        String::new()
    };
    let (bind, server) = (spoken(passage.incoming.protocol), spoken(passage.outgoing.protocol));
    format!(
        "global
    nbthread {WORKERS}
    maxconn 4096
defaults
    mode http
    timeout connect 10s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    http-reuse always
frontend otlp
    bind {listen}{bind}{bind_tls}
    default_backend sink
backend sink
    server sink {upstream}{server}{server_tls}
"
    )
}
