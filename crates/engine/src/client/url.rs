//! URLs of servers.

use http::Uri;
use thiserror::Error;

use super::origin::Origin;

/// The longest name that DNS has, in bytes.
pub const LONGEST_HOST: usize = 253;

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
    /// A host that no name server knows.
    #[error("a URL with a host of more than {LONGEST_HOST} bytes")]
    Host,
    /// A colon without a number behind it, or with one that no port has.
    #[error("a URL with a port that is not a number from 1 to 65535")]
    Port,
}

/// An absolute `http` or `https` URL.
pub(crate) fn parse_url(text: &str) -> Result<Uri, UrlError> {
    let uri: Uri =
        text.parse().map_err(|error: http::uri::InvalidUri| UrlError::Syntax(error.to_string()))?;
    if Origin::of(&uri).is_none() {
        return Err(UrlError::Relative);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(UrlError::Credentials);
    }
    if uri.host().is_some_and(|host| host.len() > LONGEST_HOST) {
        return Err(UrlError::Host);
    }
    if !has_usable_port(&uri) {
        return Err(UrlError::Port);
    }
    Ok(uri)
}

/// Whether a URL asks for TLS.
pub(crate) fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// Whether the URL names no port or one that exists. `http::Uri` takes any digits for a port and then has none, which would
/// silently be that of the scheme.
pub fn has_usable_port(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    // A sign would be read as a part of the number.
    port.is_empty() || (!port.starts_with(":+") && authority.port_u16().is_some_and(|port| port != 0))
}

/// A URL for people, without user information and query.
pub(crate) fn shown_url(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?[redacted]"));
    let Some((scheme, rest)) = url.split_once("://") else { return format!("{url}{query}") };
    let authority = rest.split(['/', '#']).next().unwrap_or_default();
    let rest = authority.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_length_that_dns_has_and_a_port_is_left_out_or_a_number_that_a_port_has() {
        for url in [
            "https://a",
            "https://a/x",
            "http://a:1",
            "https://a:65535/x?y",
            "http://[::1]",
            "http://[::1]:4318/",
        ] {
            assert!(parse_url(url).is_ok(), "{url}");
        }
        for url in [
            "https://a:",
            "https://a:/x",
            "https://a:0",
            "https://a:65536",
            "https://a:99999/x",
            "http://[::1]:",
        ] {
            assert_eq!(parse_url(url), Err(UrlError::Port), "{url}");
        }
        let host = |length| format!("https://{}/x", "a".repeat(length));
        assert!(parse_url(&host(253)).is_ok());
        assert_eq!(parse_url(&host(254)), Err(UrlError::Host));
        for url in ["https://a:b", "https://a:-1", "https://a:4318:4318", "https://a:+443"] {
            assert!(parse_url(url).is_err(), "{url}");
        }
    }
}
