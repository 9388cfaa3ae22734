//! The way of a request to its origin: direct, or through a proxy.

use std::fmt;
use std::io;
use std::net::IpAddr;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::origin::Origin;

/// The longest answer head to `CONNECT`.
const MAX_ANSWER: usize = 8 * 1024;

/// Why a proxy can't be used.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// `proxy_url` is not a URL. It may hold a password, so it is not shown.
    #[error("`proxy_url` is not a URL: write `http://host:port`")]
    Url,
    /// A scheme that is not spoken.
    #[error("proxies of scheme `{0}` are not supported: use an `http` or `https` proxy")]
    Scheme(String),
}

/// The proxies of one exporter.
pub struct Proxies {
    matcher: Matcher,
    /// From the environment, where loopback addresses are never proxied (as in Go and so in the Collector).
    spare_loopback: bool,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// The way to an origin.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// To the origin itself.
    Direct,
    /// To a proxy, with the whole URL in the request line: for `http`.
    Forward(Proxy),
    /// Through a tunnel that a proxy opens on `CONNECT`: for `https`.
    Tunnel(Proxy),
}

/// A proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// `Proxy-Authorization`, from the user information of the proxy's URL.
    pub(crate) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

impl Proxies {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case.
    pub(crate) fn from_env() -> Self {
        Self { matcher: Matcher::from_env(), spare_loopback: true }
    }

    /// `proxy_url`, for every destination.
    pub(crate) fn fixed(url: &str) -> Result<Self, ProxyError> {
        let uri: Uri = url.parse().map_err(|_| ProxyError::Url)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(other) => return Err(ProxyError::Scheme(other.to_owned())),
            None => return Err(ProxyError::Url),
        }
        Ok(Self { matcher: Matcher::builder().all(url.to_owned()).build(), spare_loopback: false })
    }

    #[cfg(test)]
    pub(crate) fn like_env(https: &str, http: &str, no: &str) -> Self {
        let matcher =
            Matcher::builder().https(https.to_owned()).http(http.to_owned()).no(no.to_owned()).build();
        Self { matcher, spare_loopback: true }
    }

    /// The way to `origin`.
    pub(crate) fn way(&self, origin: &Origin) -> Result<Way, ProxyError> {
        if self.spare_loopback && is_loopback(&origin.host) {
            return Ok(Way::Direct);
        }
        let uri: Uri = origin.to_string().parse().expect("an origin was a part of a URL");
        let Some(intercept) = self.matcher.intercept(&uri) else { return Ok(Way::Direct) };
        let proxy = Proxy::new(&intercept)?;
        Ok(if origin.https { Way::Tunnel(proxy) } else { Way::Forward(proxy) })
    }
}

impl Proxy {
    fn new(intercept: &Intercept) -> Result<Self, ProxyError> {
        let scheme = intercept.uri().scheme_str().unwrap_or("http");
        if !matches!(scheme, "http" | "https") {
            return Err(ProxyError::Scheme(scheme.to_owned()));
        }
        let origin = Origin::of(intercept.uri()).ok_or(ProxyError::Url)?;
        let authorization = intercept.basic_auth().cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Self { origin, authorization })
    }

    /// Asks for a tunnel to `origin` on a fresh connection to the proxy (RFC 9110, section 9.3.6).
    pub(crate) async fn open_tunnel(
        &self,
        connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
        origin: &Origin,
    ) -> io::Result<()> {
        let (host, port) = (&origin.host, origin.port);
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        connection.write_all(&request).await?;

        // Not a byte more than the head: a server of HTTP/2 without TLS may speak first, and so right behind it.
        let mut answer = Vec::with_capacity(512);
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER {
                return Err(io::Error::other("the proxy's answer to CONNECT is too long"));
            }
            let mut byte = [0];
            if connection.read(&mut byte).await? == 0 {
                return Err(io::Error::other("the proxy closed the connection after CONNECT"));
            }
            answer.extend(byte);
        }
        let status =
            answer.split(|byte| *byte == b' ').nth(1).and_then(|word| word.get(..3)).unwrap_or_default();
        match status {
            [b'2', ..] => Ok(()),
            [b'1'..=b'5', _, _] => Err(io::Error::other(format!(
                "the proxy answered {} to CONNECT",
                String::from_utf8_lossy(status)
            ))),
            _ => Err(io::Error::other("the proxy's answer to CONNECT is not HTTP")),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    fn way(proxies: &Proxies, url: &str) -> String {
        format!("{:?}", proxies.way(&origin(url)).unwrap())
    }

    #[test]
    fn the_environment_decides_by_scheme_and_no_proxy() {
        let proxies = Proxies::like_env("http://s:3128", "http://p", "internal.example, 10.0.0.0/8");
        assert_eq!(way(&proxies, "https://api.example"), "Tunnel(http://s:3128)");
        assert_eq!(way(&proxies, "http://api.example"), "Forward(http://p:80)");
        assert_eq!(way(&proxies, "https://a.internal.example"), "Direct");
        assert_eq!(way(&proxies, "http://10.1.2.3:4318"), "Direct");
    }

    #[test]
    fn the_environment_never_proxies_loopback() {
        let proxies = Proxies::like_env("http://p", "http://p", "");
        for url in ["http://localhost:4318", "http://127.0.0.1:4318", "https://[::1]:4318"] {
            assert_eq!(way(&proxies, url), "Direct", "{url}");
        }
    }

    #[test]
    fn a_configured_proxy_is_used_for_everything() {
        let proxies = Proxies::fixed("http://user:secret@p:8080").unwrap();
        assert_eq!(way(&proxies, "http://127.0.0.1:4318"), "Forward(http://p:8080)");
        let Way::Tunnel(proxy) = proxies.way(&origin("https://u")).unwrap() else { panic!("a tunnel") };
        assert_eq!(proxy.authorization.unwrap(), "Basic dXNlcjpzZWNyZXQ=");
        assert!(!format!("{proxies:?}").contains("secret"));
    }

    #[test]
    fn other_kinds_of_proxy_are_refused() {
        assert!(
            matches!(Proxies::fixed("socks5://p:1080"), Err(ProxyError::Scheme(scheme)) if scheme == "socks5")
        );
        assert!(matches!(Proxies::fixed("p:1080 x"), Err(ProxyError::Url)));
        let proxies = Proxies::like_env("socks5://p:1080", "", "");
        assert!(matches!(proxies.way(&origin("https://u")), Err(ProxyError::Scheme(_))));
    }
}
