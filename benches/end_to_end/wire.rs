//! How requests come to a proxy, and how they leave it.

use rig::send::{SendCompression, SendEncoding, SendProtocol};

/// One side of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wire {
    pub(crate) protocol: SendProtocol,
    pub(crate) encoding: SendEncoding,
    pub(crate) compression: SendCompression,
    pub(crate) tls: bool,
}

/// Both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Passage {
    pub(crate) name: &'static str,
    pub(crate) incoming: Wire,
    pub(crate) outgoing: Wire,
}

const PLAIN: Wire = Wire {
    protocol: SendProtocol::Http,
    encoding: SendEncoding::Proto,
    compression: SendCompression::None,
    tls: false,
};
const JSON: Wire = Wire { encoding: SendEncoding::Json, ..PLAIN };
const GRPC: Wire = Wire { protocol: SendProtocol::Grpc, ..PLAIN };
const GZIP: Wire = Wire { compression: SendCompression::Gzip, ..PLAIN };
const ZSTD: Wire = Wire { compression: SendCompression::Zstd, ..PLAIN };
const TLS: Wire = Wire { tls: true, ..PLAIN };

impl Passage {
    /// OTLP/HTTP in protobuf, as it is, on both sides.
    pub(crate) const PLAIN: Self = Self::new("protobuf to protobuf", PLAIN, PLAIN);

    /// Those that are measured.
    pub(crate) const ALL: [Self; 16] = [
        Self::PLAIN,
        Self::new("JSON to protobuf", JSON, PLAIN),
        Self::new("protobuf to JSON", PLAIN, JSON),
        Self::new("JSON to JSON", JSON, JSON),
        Self::new("gRPC to HTTP", GRPC, PLAIN),
        Self::new("HTTP to gRPC", PLAIN, GRPC),
        Self::new("gRPC to gRPC", GRPC, GRPC),
        Self::new("gzip to none", GZIP, PLAIN),
        Self::new("none to gzip", PLAIN, GZIP),
        Self::new("gzip to gzip", GZIP, GZIP),
        Self::new("zstd to none", ZSTD, PLAIN),
        Self::new("none to zstd", PLAIN, ZSTD),
        Self::new("zstd to zstd", ZSTD, ZSTD),
        Self::new("TLS to plain", TLS, PLAIN),
        Self::new("plain to TLS", PLAIN, TLS),
        Self::new("TLS to TLS", TLS, TLS),
    ];

    const fn new(name: &'static str, incoming: Wire, outgoing: Wire) -> Self {
        Self { name, incoming, outgoing }
    }

    /// Whether it can be passed without looking at the bodies: only TLS may differ.
    pub(crate) fn keeps_bodies(self) -> bool {
        Wire { tls: false, ..self.incoming } == Wire { tls: false, ..self.outgoing }
    }

    /// Whether either side is JSON, which costs several times as much to those that decode all they pass on.
    pub(crate) fn has_json(self) -> bool {
        [self.incoming, self.outgoing].iter().any(|wire| wire.encoding == SendEncoding::Json)
    }
}

impl Wire {
    /// Of a URL.
    pub(crate) fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// In configurations.
    pub(crate) fn encoding_name(self) -> &'static str {
        match self.encoding {
            SendEncoding::Proto => "proto",
            SendEncoding::Json => "json",
        }
    }

    /// In configurations.
    pub(crate) fn compression_name(self) -> &'static str {
        match self.compression {
            SendCompression::None => "none",
            SendCompression::Gzip => "gzip",
            SendCompression::Zstd => "zstd",
            SendCompression::Snappy => "snappy",
            SendCompression::Lz4 => "lz4",
        }
    }
}
