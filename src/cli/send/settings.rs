//! What to send, where, and how hard.

use std::time::Duration;

use http::{HeaderMap, Uri};

use crate::otlp::Signal;

/// One run of the load generator. [`SendSettings::new`] gives the defaults of the command line.
#[derive(Clone, Debug)]
pub struct SendSettings {
    /// `http://host:port`, with a path prefix if there is one; `/v1/<signal>` is appended.
    pub endpoint: String,
    /// What the records are.
    pub signal: Signal,
    /// Routing keys `stream-0`, `stream-1` ..., with leading zeros so that all are equally long.
    pub streams: usize,
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
    /// How bodies are encoded.
    pub encoding: SendEncoding,
    /// How bodies are compressed.
    pub compression: SendCompression,
    /// Send a request again after 429, 502, 503, 504 or a lost connection, until it is taken.
    pub retry: bool,
    /// How long to wait for one answer; and, when the run is over, for a request that is being retried.
    pub timeout: Duration,
    /// Added to every request. They may hold secrets, and are never shown.
    pub headers: HeaderMap,
}

/// The encoding of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SendEncoding {
    /// `Content-Type: application/x-protobuf`.
    #[default]
    Proto,
    /// `Content-Type: application/json`.
    Json,
}

/// The compression of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SendCompression {
    /// As they are.
    #[default]
    None,
    /// `Content-Encoding: gzip`, level 1.
    Gzip,
    /// `Content-Encoding: zstd`, level 1.
    Zstd,
}

/// Why a run can't start.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not a URL that can be sent to.
    #[error("the endpoint must look like `http://host:port`, without a query")]
    Endpoint,
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
            attribute: "s2.stream".to_owned(),
            share_streams: false,
            entries: 10,
            records: 20,
            record_bytes: 256,
            connections: 1,
            rate: None,
            duration: None,
            requests: None,
            encoding: SendEncoding::Proto,
            compression: SendCompression::None,
            retry: false,
            timeout: Duration::from_secs(10),
            headers: HeaderMap::new(),
        }
    }

    /// Where to connect, as `host:port`, and the path to post to.
    pub(super) fn target(&self) -> Result<(String, String), SendError> {
        let uri: Uri = self.endpoint.parse().map_err(|_| SendError::Endpoint)?;
        let authority = uri.authority().ok_or(SendError::Endpoint)?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(SendError::Endpoint);
        }
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok((address, format!("{}{}", uri.path().trim_end_matches('/'), self.signal.path())))
    }

    /// Refuses numbers that make no sense.
    pub(super) fn check(&self) -> Result<(), SendError> {
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
        let target = |endpoint: &str| SendSettings::new(endpoint).target().ok();
        let found = |address: &str, path: &str| Some((address.to_owned(), path.to_owned()));
        assert_eq!(target("http://localhost:4318"), found("localhost:4318", "/v1/logs"));
        assert_eq!(target("http://localhost:4318/"), found("localhost:4318", "/v1/logs"));
        assert_eq!(target("http://[::1]/otlp/"), found("[::1]:80", "/otlp/v1/logs"));
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_refused() {
        for endpoint in ["localhost:4318", "https://localhost", "http://a?b", "http://user:secret@host", ""] {
            let error = SendSettings::new(endpoint).target().unwrap_err();
            assert!(matches!(error, SendError::Endpoint), "{endpoint}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
