//! Sluice's configuration: as a user would write it, but that a stalled upstream is given up soon, so that its end can
//! be watched.

use std::net::SocketAddr;

use rig::send::SendProtocol;

use super::Task;

pub(super) fn config(task: &Task<'_>, admin: SocketAddr) -> String {
    let Task { listen, upstream, passage, certificates, more, option, route } = task;
    let outgoing = passage.outgoing;
    let receiver_tls = if passage.incoming.tls {
        format!(
            ", tls: {{ cert_file: '{}', key_file: '{}' }}",
            certificates.certificate().display(),
            certificates.key().display()
        )
    } else {
        String::new()
    };
    let (exporter, encoding) = match outgoing.protocol {
        SendProtocol::Http => ("otlp_http/up", format!("\n    encoding: {}", outgoing.encoding_name())),
        SendProtocol::Grpc => ("otlp_grpc/up", String::new()),
    };
    let exporter_tls = if outgoing.tls {
        format!("\n    tls: {{ ca_file: '{}' }}", certificates.authority().display())
    } else {
        String::new()
    };
    let (scheme, compression) = (outgoing.scheme(), outgoing.compression_name());
    format!(
        "receivers:
  otlp:
    protocols:
      http: {{ endpoint: {listen}{receiver_tls} }}
exporters:
  {exporter}:
    endpoint: {scheme}://{upstream}
    compression: {compression}{encoding}{exporter_tls}
    timeout: 10s
    {option}
    retry_on_failure: {{ initial_interval: 200ms, max_interval: 1s }}
routes:
  - name: all
    match: {{ s2.stream: \"*\" }}
    key: s2.stream
    exporters: [{exporter}]
    {route}
admin: {{ endpoint: {admin} }}
{more}"
    )
}
