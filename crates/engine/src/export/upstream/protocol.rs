//! What differs between OTLP over HTTP and over gRPC, before there is a request.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use otlp::Signal;

use super::destination::Connections;
use crate::client::{Origin, Proxies, ProxyError};
use crate::encoding::Encoding;
use crate::export::settings::UpstreamSettings;
use crate::route::Template;

/// What an exporter's protocol does in its own way, with the settings of the exporter.
pub trait OtlpProtocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// The connections of one destination.
    type Pool: Connections + fmt::Debug + Send + Sync + 'static;

    /// Whether requests go over HTTP/2, which names scheme and host in each of them, and goes through a tunnel of a proxy whatever
    /// the scheme; else over HTTP/1.1.
    const IS_HTTP2: bool;

    /// The settings that every protocol has.
    fn upstream(&self) -> &UpstreamSettings;

    /// The URLs of all signals, each once.
    fn urls(&self) -> impl Iterator<Item = &Template>;

    /// The URL of a signal, if there is one.
    fn url(&self, signal: Signal) -> Option<&Template>;

    /// The path that is asked for, if that is not the URL's.
    fn fixed_path(signal: Signal) -> Option<&'static str>;

    /// The text that is sent for this value of a configured header.
    fn header_text(name: &HeaderName, value: String) -> String;

    /// The headers that Sluice sends by itself; configured ones replace them.
    fn own_headers(&self, origin: &Origin) -> HeaderMap;

    /// How a batch is encoded.
    fn encoding(&self) -> Encoding;

    /// The proxies that the configuration names, or else the environment.
    fn proxies(&self) -> Result<Proxies, ProxyError>;

    /// A destination's connections, of which there are none yet.
    fn pool(&self) -> Self::Pool;

    /// How often connections are looked at that may have been idle for too long.
    fn sweep_pause(&self) -> Duration;
}
