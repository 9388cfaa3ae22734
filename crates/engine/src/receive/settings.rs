//! What the configuration says about receivers, compiled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Authenticator, Evicted, TlsServer};
use crate::descriptors::descriptors;

/// Requests at a time on one HTTP/2 connection.
pub const MAX_CONCURRENT_STREAMS: u32 = 256;

/// What a listener is there for. Either takes calls of both, which are told apart by their content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `protocols.http`, and what people and their tools speak.
    Http,
    /// `protocols.grpc`.
    Grpc,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The receiver's name in the configuration, such as `otlp` or `otlp/internal`.
    pub name: Arc<str>,
    /// What it is there for.
    pub protocol: Protocol,
    /// Where it listens. A host name such as `localhost` is resolved when the configuration is compiled.
    pub endpoint: SocketAddr,
    /// The names by which it is known: the host that the endpoint was written with, if that is a name, and further ones.
    pub hosts: Vec<String>,
    /// Bytes of a body, before and again after decompression.
    pub max_request_body_size: u64,
    /// The whole request head must arrive in this time.
    pub read_header_timeout: Duration,
    /// The whole body must arrive in this time, from the end of the head on.
    pub read_timeout: Duration,
    /// A kept-alive connection without a request is closed after this time; zero: never.
    pub idle_timeout: Duration,
    /// A connection whose other side takes nothing of its answers for this time is closed; zero: never.
    pub write_timeout: Duration,
    /// `tls`, if it is spoken.
    pub tls: Option<Arc<TlsServer>>,
    /// `auth`: what knows its senders. Without it, whoever reaches it may send.
    pub auth: Option<Arc<Authenticator>>,
    /// What holds for HTTP/2 alone.
    pub http2: Http2Settings,
    /// Connections at a time; beyond, one more waits until another closes.
    pub max_connections: usize,
    /// Which connections are closed if one more needs a place.
    pub makes_room: Evicted,
    /// Extra URL paths from `traces_url_path`, `metrics_url_path`, `logs_url_path`, by `Signal::index`.
    pub url_paths: [Option<String>; 3],
    /// `cors`, if browsers may send.
    pub cors: Option<CorsSettings>,
}

impl ListenerSettings {
    /// A listener for people and their tools rather than for telemetry: small bodies, few connections.
    pub fn for_people(name: &str, endpoint: SocketAddr) -> Self {
        Self {
            name: name.into(),
            protocol: Protocol::Http,
            endpoint,
            hosts: Vec::new(),
            max_request_body_size: 64 * 1024,
            read_header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(10),
            tls: None,
            auth: None,
            http2: Http2Settings::default(),
            max_connections: descriptors().of_people(),
            makes_room: Evicted::Idle,
            url_paths: [None, None, None],
            cors: None,
        }
    }

    /// Whether its connections are those of senders, and not of people and their tools, for whom descriptors are reserved.
    pub(super) fn is_of_senders(&self) -> bool {
        self.makes_room == Evicted::Headless
    }
}

/// What holds for the HTTP/2 connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// Requests at a time on one connection.
    pub max_concurrent_streams: u32,
    /// After this time without a word the other side is asked whether it still lives.
    pub keepalive_time: Duration,
    /// It has this long to answer.
    pub keepalive_timeout: Duration,
    /// Beyond this age, more or less, a connection is told to go.
    pub max_connection_age: Option<Duration>,
    /// The requests on it have this long to end.
    pub max_connection_age_grace: Duration,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            keepalive_time: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            max_connection_age: None,
            max_connection_age_grace: Duration::from_secs(30),
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
