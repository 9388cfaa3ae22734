//! The compressions of bodies, in both directions: what they are called, and what is common to undoing them.

/// The largest window that a zstd frame may have, as a power of two: 8 MiB (RFC 9659, section 3).
pub(crate) const ZSTD_WINDOW_LOG: u32 = 23;

/// What the frames of snappy begin with; no block does.
pub const SNAPPY_FRAMES: [u8; 10] = *b"\xff\x06\0\0sNaPpY";

/// Another name of [`Coding::Deflate`].
pub(crate) const ZLIB: &str = "zlib";

/// A name of [`Coding::Snappy`] for its frames alone.
pub const SNAPPY_FRAMED: &str = "x-snappy-framed";

/// How a body is compressed (`Content-Encoding`, `grpc-encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The zlib format of RFC 1950, which HTTP and gRPC call `deflate`.
    Deflate,
    /// Either format of snappy: by its name that of blocks over HTTP and that of frames over gRPC, but older Collectors
    /// send frames over HTTP as well. The first bytes tell which it is.
    Snappy,
    /// The frame format of LZ4.
    Lz4,
}

impl Coding {
    /// Those that senders may use.
    pub(crate) const OF_REQUESTS: [Self; 6] =
        [Self::Gzip, Self::Zstd, Self::Deflate, Self::Snappy, Self::Lz4, Self::Identity];

    /// Those that upstreams may use.
    pub(crate) const OF_ANSWERS: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Deflate];

    /// The coding of this name.
    pub fn of(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" | ZLIB => Some(Self::Deflate),
            "snappy" | SNAPPY_FRAMED => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            _ => None,
        }
    }

    /// Its name in headers and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }

    /// The names of several, as headers list them.
    pub(crate) fn names(codings: &[Self]) -> String {
        codings.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_found_by_its_names_in_any_case() {
        for coding in Coding::OF_REQUESTS {
            assert_eq!(Coding::of(coding.name()), Some(coding));
            assert_eq!(Coding::of(&format!(" {} ", coding.name().to_uppercase())), Some(coding));
        }
        for (other, coding) in [
            ("", Coding::Identity),
            ("x-gzip", Coding::Gzip),
            (ZLIB, Coding::Deflate),
            (SNAPPY_FRAMED, Coding::Snappy),
        ] {
            assert_eq!(Coding::of(other), Some(coding), "{other}");
        }
        for unknown in ["br", "gzip, gzip", "gzipped", "compress"] {
            assert_eq!(Coding::of(unknown), None, "{unknown}");
        }
    }
}
