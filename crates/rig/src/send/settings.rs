//! What to send, where, and how hard.

use std::time::Duration;

use http::{HeaderMap, Uri};

use otlp::Signal;
use sluice_engine::client::{Origin, TlsClientSettings, TlsError};
use sluice_engine::coding::Coding;

/// One run of the load generator. [`SendSettings::new`] gives the defaults of the command line.
#[derive(Clone, Debug)]
pub struct SendSettings {
    /// `http://host:port` or `https://host:port`; for OTLP/HTTP with a path prefix if there is one, to which
    /// `/v1/<signal>` is appended.
    pub endpoint: String,
    /// What the records are.
    pub signal: Signal,
    /// Number of routing keys: the prefix and 0, 1 ..., with leading zeros so that all are equally long.
    pub streams: usize,
    /// What each routing key begins with.
    pub stream_prefix: String,
    /// The resource attribute that carries the routing key.
    pub attribute: String,
    /// Every connection sends to every stream, rather than each to streams of its own. Always so if there are fewer
    /// streams than connections. Order is then per stream and connection.
    pub share_streams: bool,
    /// Entries in a request, each of the next stream in turn.
    pub entries: usize,
    /// Records in an entry.
    pub records: usize,
    /// The size of a record in protobuf.
    pub record_bytes: usize,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Requests per second in all, on a schedule that doesn't wait for answers; `None`: each connection sends as soon
    /// as it has its answer.
    pub rate: Option<f64>,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Stop after this many requests.
    pub requests: Option<u64>,
    /// How requests travel.
    pub protocol: SendProtocol,
    /// How bodies are encoded; gRPC has protobuf alone.
    pub encoding: SendEncoding,
    /// How bodies are compressed.
    pub compression: SendCompression,
    /// Send a request again after 429, 502, 503, 504, a code of gRPC that is as good (rules 17 and 18), or a lost
    /// connection, until it is taken.
    pub retry: bool,
    /// Never send a record twice: a request that may have arrived though it was not answered is given up, and its sequence
    /// numbers with it. So no duplicate is the sender's.
    pub at_most_once: bool,
    /// How long to wait for one answer; and, when the run is over, for a request that is being retried.
    pub timeout: Duration,
    /// Added to every request. They may hold secrets, and are never shown.
    pub headers: HeaderMap,
    /// For `https`.
    pub tls: TlsClientSettings,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum SendProtocol {
    /// OTLP/HTTP, over HTTP/1.1.
    #[default]
    Http,
    /// OTLP/gRPC: unary calls over HTTP/2.
    Grpc,
}

/// The encoding of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum SendEncoding {
    /// `Content-Type: application/x-protobuf`.
    #[default]
    Proto,
    /// `Content-Type: application/json`.
    Json,
}

/// The compression of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum SendCompression {
    /// As they are.
    #[default]
    None,
    /// gzip, level 1.
    Gzip,
    /// zstd, level 1.
    Zstd,
    /// snappy: one block over HTTP, frames over gRPC, as Collectors send it.
    Snappy,
    /// Frames of LZ4.
    Lz4,
}

impl SendCompression {
    /// The name in `Content-Encoding` and `grpc-encoding`, where that is needed.
    pub(super) fn coding(self) -> Option<&'static str> {
        let coding = match self {
            Self::None => return None,
            Self::Gzip => Coding::Gzip,
            Self::Zstd => Coding::Zstd,
            Self::Snappy => Coding::Snappy,
            Self::Lz4 => Coding::Lz4,
        };
        Some(coding.name())
    }
}

/// Why a run can't start.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not a URL that can be sent to.
    #[error("the endpoint must look like `http://host:port` or `https://host:port`, without a query")]
    Endpoint,
    /// Calls are named by service and method alone.
    #[error("an endpoint of gRPC has no path: write `http://host:port` or `https://host:port`")]
    GrpcPath,
    /// The specification has no JSON in gRPC.
    #[error("gRPC carries protobuf alone: send JSON with `--protocol http`, or protobuf")]
    GrpcJson,
    /// The server's certificate could not be checked.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A number that has to be positive isn't.
    #[error("{0} must be above 0")]
    Zero(&'static str),
    /// Attributes alone are longer.
    #[error("a record can't be `{wanted}` bytes: it takes at least `{least}`")]
    RecordTooSmall {
        /// What was asked for.
        wanted: usize,
        /// What is possible.
        least: usize,
    },
}

impl SendSettings {
    /// One connection that sends logs in requests of about 50 kB to ten streams, until it is stopped.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            signal: Signal::Logs,
            streams: 10,
            stream_prefix: "stream-".to_owned(),
            attribute: "s2.stream".to_owned(),
            share_streams: false,
            entries: 10,
            records: 20,
            record_bytes: 256,
            connections: 1,
            rate: None,
            duration: None,
            requests: None,
            protocol: SendProtocol::Http,
            encoding: SendEncoding::Proto,
            compression: SendCompression::None,
            retry: false,
            at_most_once: false,
            timeout: Duration::from_secs(10),
            headers: HeaderMap::new(),
            tls: TlsClientSettings::default(),
        }
    }

    /// Where to connect, and the path to post to.
    pub(super) fn target(&self) -> Result<(Origin, String), SendError> {
        let uri: Uri = self.endpoint.parse().map_err(|_| SendError::Endpoint)?;
        let origin = Origin::of(&uri).ok_or(SendError::Endpoint)?;
        let has_userinfo = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if uri.query().is_some() || has_userinfo {
            return Err(SendError::Endpoint);
        }
        let prefix = uri.path().trim_end_matches('/');
        match self.protocol {
            SendProtocol::Http => Ok((origin, format!("{prefix}{}", self.signal.path()))),
            SendProtocol::Grpc if prefix.is_empty() => Ok((origin, self.signal.method().to_owned())),
            SendProtocol::Grpc => Err(SendError::GrpcPath),
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), SendError> {
        if (self.protocol, self.encoding) == (SendProtocol::Grpc, SendEncoding::Json) {
            return Err(SendError::GrpcJson);
        }
        let counts = [
            ("the number of streams", self.streams),
            ("the number of entries", self.entries),
            ("the number of records", self.records),
            ("the number of connections", self.connections),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(SendError::Zero(name));
        }
        match self.rate {
            Some(rate) if !(rate > 0.0 && rate.is_finite()) => Err(SendError::Zero("the rate")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_appended_to_the_endpoint() {
        let target = |endpoint: &str| {
            SendSettings::new(endpoint).target().ok().map(|(origin, path)| (origin.to_string(), path))
        };
        let found = |origin: &str, path: &str| Some((origin.to_owned(), path.to_owned()));
        assert_eq!(target("http://localhost:4318"), found("http://localhost:4318", "/v1/logs"));
        assert_eq!(target("http://localhost:4318/"), found("http://localhost:4318", "/v1/logs"));
        assert_eq!(target("https://[::1]/otlp/"), found("https://[::1]:443", "/otlp/v1/logs"));
    }

    #[test]
    fn grpc_has_no_path_of_its_own_and_no_json() {
        let grpc =
            |endpoint: &str| SendSettings { protocol: SendProtocol::Grpc, ..SendSettings::new(endpoint) };
        let (_, method) = grpc("http://localhost:4317/").target().unwrap();
        assert_eq!(method, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        assert!(matches!(grpc("http://localhost:4317/otlp").target(), Err(SendError::GrpcPath)));
        let json = SendSettings { encoding: SendEncoding::Json, ..grpc("http://localhost:4317") };
        assert!(matches!(json.check(), Err(SendError::GrpcJson)));
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_refused() {
        for endpoint in ["localhost:4318", "ftp://localhost", "http://a?b", "http://user:secret@host", ""] {
            let error = SendSettings::new(endpoint).target().unwrap_err();
            assert!(matches!(error, SendError::Endpoint), "{endpoint}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
