//! What the configuration says about receivers, compiled.

use std::net::SocketAddr;
use std::time::Duration;

/// One listener for OTLP/HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The receiver's name in the configuration, such as `otlp` or `otlp/internal`.
    pub name: String,
    /// Where it listens. A host name such as `localhost` is resolved when the configuration is compiled.
    pub endpoint: SocketAddr,
    /// Bytes of a body, before and again after decompression.
    pub max_request_body_size: u64,
    /// The whole request head must arrive in this time.
    pub read_header_timeout: Duration,
    /// The whole body must arrive in this time, from the end of the head on.
    pub read_timeout: Duration,
    /// A kept-alive connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// Connections at a time; beyond, the listener stops accepting until one closes.
    pub max_connections: usize,
    /// Extra URL paths from `traces_url_path`, `metrics_url_path`, `logs_url_path`, by `Signal::index`.
    pub url_paths: [Option<String>; 3],
    /// `cors`, if browsers may send.
    pub cors: Option<CorsSettings>,
}

impl ListenerSettings {
    /// A listener for people and their tools rather than for telemetry: small bodies, few connections.
    pub fn for_people(name: &str, endpoint: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            endpoint,
            max_request_body_size: 64 * 1024,
            read_header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_connections: 256,
            url_paths: [None, None, None],
            cors: None,
        }
    }
}

/// `cors` of an HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsSettings {
    /// Origins as globs: `https://*.example.com`, `*`.
    pub allowed_origins: Vec<String>,
    /// Headers beyond the safelisted ones.
    pub allowed_headers: Vec<String>,
    /// Seconds a preflight answer may be cached.
    pub max_age: u64,
}
