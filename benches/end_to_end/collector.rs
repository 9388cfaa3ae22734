//! The Collector's configurations. It is the one of `tests/clients/collector`.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The streams that the load has, each with an exporter of its own.
const STREAMS: usize = 10;

/// The receiver hands each request to the exporter, and answers when that has been answered.
pub(crate) fn pass_through(listen: SocketAddr, upstream: SocketAddr) -> String {
    let receivers = receivers(listen);
    format!(
        "{receivers}
exporters:
  otlp_http:
    endpoint: http://{upstream}
    compression: none
    sending_queue: {{ enabled: false }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlp_http] }}
"
    )
}

/// The routing connector chooses among ten exporters, each with a queue of 16 MiB and the batches that Sluice makes, sent
/// one after the other. A full queue holds its senders up.
pub(crate) fn routing(listen: SocketAddr, upstream: SocketAddr) -> String {
    let receivers = receivers(listen);
    let (mut exporters, mut table, mut pipelines) = (String::new(), String::new(), String::new());
    for stream in 0..STREAMS {
        write!(
            exporters,
            "
  otlp_http/{stream}:
    endpoint: http://{upstream}
    compression: none
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
        write!(pipelines, "\n    logs/{stream}: {{ receivers: [routing], exporters: [otlp_http/{stream}] }}")
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

fn receivers(listen: SocketAddr) -> String {
    format!("receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{listen}' }} }} }} }}")
}
