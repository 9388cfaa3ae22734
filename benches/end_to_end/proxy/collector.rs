//! The Collector's configurations. It is the one of `tests/clients/collector`.

use std::fmt::Write as _;

use rig::send::SendProtocol;

use super::Task;
use crate::load::STREAMS;

/// The receiver hands each request to the exporter, and answers when that has been answered.
pub(super) fn pass_through(task: &Task<'_>) -> String {
    let (receivers, kind, exporter) = (receivers(task), kind(task), exporter(task));
    format!(
        "{receivers}
exporters:
  {kind}:{exporter}
    sending_queue: {{ enabled: false }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [{kind}] }}
"
    )
}

/// The routing connector chooses among ten exporters, each with a queue of 16 MiB and the batches that Sluice makes, sent
/// one after the other. A full queue holds its senders up.
pub(super) fn routing(task: &Task<'_>) -> String {
    let (receivers, kind, exporter) = (receivers(task), kind(task), exporter(task));
    let (mut exporters, mut table, mut pipelines) = (String::new(), String::new(), String::new());
    for stream in 0..STREAMS {
        write!(
            exporters,
            "
  {kind}/{stream}:{exporter}
    sending_queue:
      num_consumers: 1
      queue_size: 16777216
      sizer: bytes
      block_on_overflow: true
      batch: {{ flush_timeout: 50ms, min_size: 262144, max_size: 524288, sizer: bytes }}"
        )
        .expect("writing to a String can't fail");
        write!(
            table,
            "
      - context: resource
        condition: attributes[\"s2.stream\"] == \"stream-{stream}\"
        pipelines: [logs/{stream}]"
        )
        .expect("writing to a String can't fail");
        write!(pipelines, "\n    logs/{stream}: {{ receivers: [routing], exporters: [{kind}/{stream}] }}")
            .expect("writing to a String can't fail");
    }
    format!(
        "{receivers}
exporters:{exporters}
connectors:
  routing:
    table:{table}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [routing] }}{pipelines}
"
    )
}

fn receivers(task: &Task<'_>) -> String {
    let Task { listen, passage, certificates, .. } = task;
    let protocol = match passage.incoming.protocol {
        SendProtocol::Http => "http",
        SendProtocol::Grpc => "grpc",
    };
    let tls = if passage.incoming.tls {
        format!(
            ", tls: {{ cert_file: '{}', key_file: '{}' }}",
            certificates.certificate().display(),
            certificates.key().display()
        )
    } else {
        String::new()
    };
    format!("receivers: {{ otlp: {{ protocols: {{ {protocol}: {{ endpoint: '{listen}'{tls} }} }} }} }}")
}

fn kind(task: &Task<'_>) -> &'static str {
    match task.passage.outgoing.protocol {
        SendProtocol::Http => "otlp_http",
        SendProtocol::Grpc => "otlp_grpc",
    }
}

/// What every exporter has.
fn exporter(task: &Task<'_>) -> String {
    let Task { upstream, passage, certificates, .. } = task;
    let outgoing = passage.outgoing;
    let tls = if outgoing.tls {
        format!("ca_file: '{}'", certificates.authority().display())
    } else {
        "insecure: true".to_owned()
    };
    let encoding = match outgoing.protocol {
        SendProtocol::Http => format!("\n    encoding: {}", outgoing.encoding_name()),
        SendProtocol::Grpc => String::new(),
    };
    let (scheme, compression) = (outgoing.scheme(), outgoing.compression_name());
    format!(
        "
    endpoint: {scheme}://{upstream}
    compression: {compression}{encoding}
    tls: {{ {tls} }}"
    )
}
