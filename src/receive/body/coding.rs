//! The names of the compressions that bodies may come in.

/// How a body is compressed (`Content-Encoding`, `grpc-encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::receive) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The zlib format of RFC 1950, which HTTP calls `deflate`.
    Deflate,
    /// Either format of snappy: by its name that of blocks over HTTP and that of frames over gRPC, but older Collectors
    /// send frames over HTTP as well. The first bytes tell which it is.
    Snappy,
    /// The frame format of LZ4.
    Lz4,
}

impl Coding {
    /// What may be sent, as it stands in messages to senders.
    pub(in crate::receive) const NAMES: &'static str =
        "gzip, zstd, deflate, snappy, lz4, identity, or no such header";

    /// The coding of this name.
    pub(in crate::receive) fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" | "zlib" => Some(Self::Deflate),
            "snappy" | "x-snappy-framed" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            _ => None,
        }
    }
}
