//! URLs of upstreams.

use http::Uri;
use thiserror::Error;

use super::destination::Origin;

/// Why a text is not the URL of an upstream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("not a URL: {0}")]
    Syntax(String),
    /// No scheme, another scheme, or no host.
    #[error("not an absolute URL: write `http://host:port/path` or `https://host/path`")]
    Relative,
    /// User information, which would be shown wherever the URL is.
    #[error("a URL with credentials: write `headers: {{ Authorization: \"Basic …\" }}` instead")]
    Credentials,
}

/// An absolute `http` or `https` URL.
pub(in crate::export) fn parse_url(text: &str) -> Result<Uri, UrlError> {
    let uri: Uri =
        text.parse().map_err(|error: http::uri::InvalidUri| UrlError::Syntax(error.to_string()))?;
    if Origin::of(&uri).is_none() {
        return Err(UrlError::Relative);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(UrlError::Credentials);
    }
    Ok(uri)
}

/// A URL for people, without user information and query.
pub(in crate::export) fn shown(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?[redacted]"));
    let Some((scheme, rest)) = url.split_once("://") else { return format!("{url}{query}") };
    let authority = rest.split(['/', '#']).next().unwrap_or_default();
    let rest = authority.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}://{rest}{query}")
}
