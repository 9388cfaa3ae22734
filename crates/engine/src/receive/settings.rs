//! The compiled settings of receivers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::auth::Authenticator;
use super::tls::TlsServer;
use crate::descriptors::descriptors;
use otlp::Signal;

/// Requests at a time on one HTTP/2 connection.
pub const MAX_CONCURRENT_STREAMS: u32 = 256;

/// The protocol that a listener is configured for. Both take requests of either protocol, which are told apart by their content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `protocols.http`, and what people and their tools speak.
    Http,
    /// `protocols.grpc`.
    Grpc,
}

/// The settings of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The receiver's name in the configuration, such as `otlp` or `otlp/internal`.
    pub name: Arc<str>,
    /// The protocol that it is configured for.
    pub protocol: Protocol,
    /// The address that it listens on. A host name such as `localhost` is resolved when the configuration is compiled.
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
    /// `auth`: the authenticator of its senders. Without it, everybody who reaches it may send.
    pub auth: Option<Arc<Authenticator>>,
    /// The settings of HTTP/2 connections.
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

    /// The signal that is received on a URL path.
    pub(super) fn signal_of(&self, path: &str) -> Option<Signal> {
        let known = path.strip_prefix("/otlp").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        Signal::ALL
            .into_iter()
            .find(|signal| signal.path() == known || self.url_paths[signal.index()].as_deref() == Some(path))
    }

    /// Whether its connections are those of senders, and not of people and their tools, for whom descriptors are reserved.
    pub(super) fn is_of_senders(&self) -> bool {
        self.makes_room == Evicted::Headless
    }
}

/// Which connections are closed for a new one when a listener is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// Connections on which no whole head has come in some seconds.
    Headless,
    /// Connections on which no head has come at all, then those that don't take their answers, and then those that have been idle
    /// longest.
    Idle,
}

/// The settings of a listener's HTTP/2 connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// Requests at a time on one connection.
    pub max_concurrent_streams: u32,
    /// After this time without traffic a ping asks whether the other side still lives.
    pub keepalive_time: Duration,
    /// The time in which the ping has to be answered.
    pub keepalive_timeout: Duration,
    /// The age at which, more or less, a connection is sent GOAWAY.
    pub max_connection_age: Option<Duration>,
    /// The time that the requests on it have to end after that.
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
