//! Opening connections: name, TCP, proxy, TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{AlertDescription, CertificateError};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::origin::Origin;
use super::proxy::Way;
use super::tls::{Tls, TlsClientSettings, TlsError, server_name};
use crate::descriptors::{MakesRoom, TakenDescriptors, Use, User, descriptors};
use crate::net::{Network, SimulatedNetwork, Transmission};

/// The longest that a TCP connection may take, divided among the addresses of the name.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The part of an attempt's time that its connection may take: what is told of an attempt that fails is then whether there was a
/// connection.
const CONNECTING: f64 = 0.9;

/// After this time without traffic the kernel begins to ask whether the other side still lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The descriptors of a connection while it is opened: a socket for each family of addresses, of which one is kept.
const WHILE_OPENED: usize = 2;

/// The part of the time for a connection that it may wait for its descriptors: the rest is for the connection.
const WAITING: f64 = 0.5;

/// Opens connections; the name is resolved anew for each.
#[derive(Clone, Debug)]
pub(crate) enum Connector {
    Tcp {
        connector: HttpConnector,
        /// Takes the descriptors.
        user: Arc<User>,
        /// The longest that one may wait for them.
        patience: Duration,
        /// The longest that one may take, the name included.
        limit: Duration,
    },
    Simulated {
        network: Arc<dyn SimulatedNetwork>,
        /// The longest that one may take.
        limit: Duration,
    },
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name is unknown, nobody listens, or nobody answers.
    #[error("can't connect to `{to}`: {reason}")]
    Connect {
        /// Where to.
        to: Origin,
        /// In words.
        reason: String,
    },
    /// The exporters' share of the open files is taken.
    #[error(
        "no connection to `{to}`: all {most} open files that exporters may have are in use; raise `ulimit -n`, or lower \
         `max_in_flight`"
    )]
    Descriptors {
        /// Where to.
        to: Origin,
        /// The share.
        most: usize,
    },
    /// The proxy opens no tunnel.
    #[error("no tunnel through the proxy `{proxy}`: {source}")]
    Proxy {
        /// The proxy.
        proxy: Origin,
        /// The error.
        source: io::Error,
    },
    /// The handshake failed: mostly a certificate that is not trusted.
    #[error("no TLS with `{with}`: {source}{}", hint(source, *of_proxy))]
    Handshake {
        /// The server.
        with: Origin,
        /// The error.
        source: io::Error,
        /// Whether that is a proxy.
        of_proxy: bool,
    },
    /// TLS can't be set up on our side.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A hint what to do about the most common failures. A server without TLS answers a handshake in its own protocol or hangs up.
fn hint(error: &io::Error, of_proxy: bool) -> &'static str {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) if of_proxy => {
            "; it speaks no TLS: write `http://` in the URL of the proxy"
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "; it speaks no TLS: write `http://`, or, without a scheme, `tls: { insecure: true }`"
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "; it speaks another protocol over TLS: `otlp_grpc` needs HTTP/2 (port 4317), `otlp_http` HTTP/1.1 (port 4318)"
        }
        None if hung_up(error) && of_proxy => {
            "; if it speaks no TLS, write `http://` in the URL of the proxy"
        }
        None if hung_up(error) => {
            "; if it speaks no TLS, write `http://`, or, without a scheme, `tls: { insecure: true }`"
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; if the upstream's authority is your own, name its certificate in `tls.ca_file`"
        }
        Some(rustls::Error::InvalidCertificate(error)) if is_authority(error) => {
            "; the server uses the certificate of an authority as its own: make it one with `basicConstraints=CA:FALSE`"
        }
        _ => "",
    }
}

/// Whether the server has ended the connection without a word.
fn hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Whether the error is that the server uses an authority's certificate, as `openssl req -x509` makes it by default.
fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(error) if format!("{error:?}").contains("CaUsedAsEndEntity"))
}

impl Connector {
    /// A connector for attempts of at most `timeout`; zero: without a limit. When there are no descriptors for more connections, `room`
    /// closes idle ones.
    pub(crate) fn new(network: &Network, timeout: Duration, room: Weak<dyn MakesRoom>) -> Self {
        let limit = match timeout {
            Duration::ZERO => CONNECT_TIMEOUT,
            timeout => CONNECT_TIMEOUT.min(timeout.mul_f64(CONNECTING)),
        };
        match network {
            Network::Machine => {
                let mut connector = HttpConnector::new();
                connector.enforce_http(false);
                connector.set_nodelay(true);
                connector.set_keepalive(Some(KEEPALIVE));
                connector.set_connect_timeout(Some(limit));
                let user = Arc::new(descriptors().share(Use::Exporters).user(room));
                Self::Tcp { connector, user, patience: limit.mul_f64(WAITING), limit }
            }
            Network::Simulated(network) => Self::Simulated { network: network.clone(), limit },
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Box<dyn Transmission>, DialError> {
        let refused = |reason| DialError::Connect { to: origin.clone(), reason };
        let too_late = |limit| refused(format!("nobody has answered within {limit:?}"));
        match self {
            Self::Tcp { connector, user, patience, limit } => {
                let uri: Uri = origin
                    .to_string()
                    .parse()
                    .map_err(|error: http::uri::InvalidUri| refused(error.to_string()))?;
                let Ok(mut taken) = timeout(*patience, user.take(WHILE_OPENED)).await else {
                    let most = descriptors().share(Use::Exporters).most();
                    return Err(DialError::Descriptors { to: origin.clone(), most });
                };
                // The resolver is always ready, so there is no readiness to wait for.
                match timeout(*limit, connector.clone().call(uri)).await {
                    Ok(Ok(stream)) => {
                        taken.keep_one();
                        Ok(Box::new(CountedStream { stream: stream.into_inner(), _taken: taken }))
                    }
                    Ok(Err(error)) => Err(refused(super::secrets::chain(&error))),
                    Err(_) => Err(too_late(*limit)),
                }
            }
            Self::Simulated { network, limit } => {
                match timeout(*limit, network.connect(&origin.host, origin.port)).await {
                    Ok(connected) => connected.map_err(|error| refused(error.to_string())),
                    Err(_) => Err(too_late(*limit)),
                }
            }
        }
    }
}

impl DialError {
    /// The label of an attempt that ended so.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Handshake { .. } | Self::Tls(_) => "tls",
            Self::Descriptors { .. } => "descriptors",
            Self::Connect { .. } | Self::Proxy { .. } => "connect",
        }
    }
}

/// A connection, and the descriptor that it was counted for.
#[derive(Debug)]
struct CountedStream {
    stream: TcpStream,
    _taken: TakenDescriptors,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connects to a destination, on the way it names. Returns the generation of the TLS files with it.
pub(crate) async fn dial(
    connector: &Connector,
    tls: &Tls,
    origin: &Origin,
    way: &Way,
) -> Result<(Box<dyn Transmission>, u64), DialError> {
    let raw = match way {
        Way::Direct => connector.connect(origin).await?,
        Way::Forward(proxy) => reach(connector, tls, &proxy.origin).await?,
        Way::Tunnel(proxy) => {
            let mut raw = reach(connector, tls, &proxy.origin).await?;
            proxy
                .open_tunnel(&mut raw, origin)
                .await
                .map_err(|source| DialError::Proxy { proxy: proxy.origin.clone(), source })?;
            raw
        }
    };
    if !origin.https {
        return Ok((raw, tls.generation()));
    }
    let (config, generation) = tls.current().await?;
    let name = tls.server_name(&origin.host)?;
    let secured = TlsConnector::from(config)
        .connect(name, raw)
        .await
        .map_err(|source| DialError::Handshake { with: origin.clone(), source, of_proxy: false })?;
    Ok((Box::new(secured), generation))
}

/// Opens connections to one server, without a proxy: for tools that send what no exporter has.
#[derive(Debug)]
pub struct Dialer {
    connector: Connector,
    tls: Tls,
    origin: Origin,
}

impl Dialer {
    /// Reads the files of `tls`, if the server's scheme is `https`; blocks on them. `protocol` is asked for by ALPN.
    pub fn new(
        origin: Origin,
        tls: TlsClientSettings,
        protocol: &'static [u8],
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let tls = Tls::new(tls, protocol, origin.https)?;
        Ok(Self { connector: Connector::new(&Network::Machine, timeout, Weak::<()>::new()), tls, origin })
    }

    /// Opens a connection.
    pub async fn dial(&self) -> Result<Box<dyn Transmission>, DialError> {
        dial(&self.connector, &self.tls, &self.origin, &Way::Direct).await.map(|(io, _)| io)
    }
}

/// A connection to a proxy, whose own URL may be `https`.
async fn reach(connector: &Connector, tls: &Tls, proxy: &Origin) -> Result<Box<dyn Transmission>, DialError> {
    let raw = connector.connect(proxy).await?;
    if !proxy.https {
        return Ok(raw);
    }
    // A proxy is reached by its own name: `server_name_override` is about the upstream.
    let name = server_name(&proxy.host)?;
    let (config, _) = tls.current().await?;
    // The protocol with the proxy, whatever the one with the upstream behind it is.
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let secured = TlsConnector::from(Arc::new(config))
        .connect(name, raw)
        .await
        .map_err(|source| DialError::Handshake { with: proxy.clone(), source, of_proxy: true })?;
    Ok(Box::new(secured))
}
