//! Rotel's options. It exports batches of many requests' records.

use std::net::SocketAddr;

use rig::send::{SendCompression, SendEncoding, SendProtocol};

use super::Task;
use crate::wire::Passage;

/// Whether it has options for this. Its receivers have no TLS and read no zstd; its exporter writes neither JSON nor zstd.
pub(super) fn passes(passage: Passage) -> bool {
    let Passage { incoming, outgoing, .. } = passage;
    let zstd = [incoming, outgoing].iter().any(|wire| wire.compression == SendCompression::Zstd);
    !incoming.tls && !zstd && outgoing.encoding == SendEncoding::Proto
}

/// It always listens for both protocols; the load comes to the one of the passage, `other` is for the other.
pub(super) fn options(task: &Task<'_>, other: SocketAddr) -> Vec<String> {
    let Task { listen, upstream, passage, .. } = task;
    let (http, grpc) = match passage.incoming.protocol {
        SendProtocol::Http => (*listen, other),
        SendProtocol::Grpc => (other, *listen),
    };
    let outgoing = passage.outgoing;
    let protocol = match outgoing.protocol {
        SendProtocol::Http => "http",
        SendProtocol::Grpc => "grpc",
    };
    let options = [
        ("--otlp-http-endpoint", http.to_string()),
        ("--otlp-grpc-endpoint", grpc.to_string()),
        ("--exporter", "otlp".to_owned()),
        ("--otlp-exporter-endpoint", format!("{}://{upstream}", outgoing.scheme())),
        ("--otlp-exporter-protocol", protocol.to_owned()),
        ("--otlp-exporter-compression", outgoing.compression_name().to_owned()),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    // This version doesn't start with an authority, so it trusts whoever answers.
    let trust = outgoing.tls.then(|| "--otlp-exporter-tls-skip-verify".to_owned());
    std::iter::once("start".to_owned()).chain(options).chain(trust).collect()
}
