//! Why an exporter can't be set up, or a stream has no target.

use http::HeaderName;
use otlp::Signal;
use thiserror::Error;

use crate::client::{ProxyError, TlsError, UrlError, shown_url};
use crate::credentials::{CredentialsError, HeaderValueError};
use crate::route::{RenderError, Template};

/// Why an exporter can't be set up. For people who configure.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The TLS settings or their files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// `auth`.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A URL without values.
    #[error("`{url}` is {source}")]
    Url {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// A header that frames the message.
    #[error("the header `{0}` can't be configured: Sluice sets it to fit each request")]
    FramingHeader(HeaderName),
    /// A header's value that can't be sent.
    #[error(transparent)]
    HeaderValue(#[from] HeaderValueError),
}

impl TargetError {
    /// Of a URL that this template has given, and that may be shown like this.
    pub(super) fn url(url: &str, source: UrlError, template: &Template) -> Self {
        Self::Url { url: shown_url(url), source, of_row: template.reads_row() }
    }

    /// Of the header `name`, whose value this template has given.
    pub(super) fn header(name: &HeaderName, template: &Template) -> Self {
        Self::HeaderValue { name: name.clone(), of_row: template.reads_row() }
    }

    /// Whether the row of the stream's tenant is what has to be changed.
    pub fn is_of_row(&self) -> bool {
        match self {
            Self::Render(error) => error.is_of_row(),
            Self::Url { of_row, .. } | Self::HeaderValue { of_row, .. } => *of_row,
            Self::NoEndpoint(_) | Self::Key { .. } | Self::Proxy(_) => false,
        }
    }
}

/// Why a stream has no target: its entries can't be sent by this exporter.
#[derive(Debug, Error)]
pub enum TargetError {
    /// A template can't be filled.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The exporter has no URL for the signal.
    #[error("the exporter has no `endpoint` and no `{0}_endpoint`")]
    NoEndpoint(Signal),
    /// The upstream takes no such routing key.
    #[error("the upstream does not take the key `{key}`{}{description}", if .description.is_empty() { "" } else { ": " })]
    Key {
        /// The key.
        key: String,
        /// What one has to be; empty if nobody says so.
        description: String,
    },
    /// The rendered URL is none.
    #[error("`{url}` is {source}")]
    Url {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        source: UrlError,
        /// Its template reads values of the tenant's row.
        of_row: bool,
    },
    /// A rendered header can't be sent.
    #[error("the value of the header `{name}` holds characters that can't be sent")]
    HeaderValue {
        /// Which header.
        name: HeaderName,
        /// Its template reads values of the tenant's row.
        of_row: bool,
    },
    /// The way there goes through a proxy that can't be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}
