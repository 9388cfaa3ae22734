//! One connection of a listener: its handshake, its requests, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONNECTION, HeaderValue};
use ::http::{Request, Version};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::listener::Handler;
use super::sender::Peer;
use super::tls::TlsServer;
use super::watch::{Watched, WatchedIo};
use super::{Http2Settings, ListenerSettings};
use crate::net::Socket;
use crate::notice;
use crate::panics::ContainedExecutor;

/// How much of a request hyper reads at a time. A connection that has carried large bodies keeps a buffer of up to
/// this size while it is idle, so that only some connections get one that large.
const READ_BUFFER: usize = 64 * 1024;

/// As [`READ_BUFFER`], for all further connections.
const SMALL_READ_BUFFER: usize = 16 * 1024;

/// How long an idle HTTP/2 connection that was told to go may still answer what has crossed the farewell.
const FAREWELL: Duration = Duration::from_secs(10);

/// The part of itself by which `max_connection_age` varies, so that senders that came together don't go together.
const AGE_SPREAD: f64 = 0.1;

/// A connection that has been accepted.
pub(super) struct Connection<H> {
    pub(super) peer: SocketAddr,
    pub(super) watched: Arc<Watched>,
    pub(super) settings: Arc<ArcSwap<ListenerSettings>>,
    pub(super) handler: Arc<H>,
    /// Leave to read with a large buffer.
    pub(super) large_reader: Option<OwnedSemaphorePermit>,
    pub(super) life: watch::Receiver<Life>,
}

/// How far a listener is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Life {
    /// At work.
    Accepting,
    /// No new connections; an answer says that it is the connection's last.
    Leaving,
    /// Connections without a request are closed.
    Ending,
    /// All connections are closed.
    Over,
}

impl<H: Handler> Connection<H> {
    /// Serves it to its end.
    pub(super) async fn run(self, socket: Socket) {
        // Answers are small and are waited for.
        let _ = socket.set_nodelay();
        let settings = self.settings.load_full();
        match &settings.tls {
            None => self.serve(socket, &settings.http2).await,
            // In a box, so that a connection without TLS takes no room for it.
            Some(tls) => Box::pin(self.serve_secured(socket, tls, &settings)).await,
        }
    }

    async fn serve_secured(mut self, socket: Socket, tls: &TlsServer, settings: &ListenerSettings) {
        if let Some(secured) = self.shake_hands(socket, tls, settings).await {
            self.serve(secured, &settings.http2).await;
        }
    }

    /// The handshake is a part of the first head: it may take as long, and a slow one delays nobody else.
    async fn shake_hands(
        &mut self,
        socket: Socket,
        tls: &TlsServer,
        settings: &ListenerSettings,
    ) -> Option<TlsStream<Socket>> {
        let handshake = async { TlsAcceptor::from(tls.current().await).accept(socket).await };
        let done = tokio::select! {
            done = timeout(settings.read_header_timeout, handshake) => done,
            _ = self.life.wait_for(|life| *life >= Life::Ending) => return None,
        };
        let peer = self.peer;
        match done {
            Ok(Ok(secured)) => return Some(secured),
            Err(_) => debug!(%peer, "connection closed: the TLS handshake took too long"),
            Ok(Err(error)) => {
                if let Some(suppressed) = notice::due(&settings.name, "handshake") {
                    warn!(receiver = settings.name, %peer, suppressed, "no TLS with a sender: {error}{}", hint(&error));
                }
            }
        }
        None
    }

    async fn serve<S>(self, socket: S, http2: &Http2Settings)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, watched, settings, handler, large_reader, mut life } = self;
        let read_buffer = if large_reader.is_some() { READ_BUFFER } else { SMALL_READ_BUFFER };
        let io = TokioIo::new(WatchedIo::new(socket, watched.clone()));
        let service = {
            let watched = watched.clone();
            service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                let in_progress = watched.request();
                let (settings, handler) = (settings.load_full(), handler.clone());
                // HTTP/2 has GOAWAY instead.
                let one_by_one = request.version() < Version::HTTP_2;
                async move {
                    let mut answer = handler.answer(&settings, request).await;
                    if one_by_one && in_progress.is_last() {
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    drop(in_progress);
                    Ok::<_, Infallible>(answer)
                }
            })
        };
        let mut builder = auto::Builder::new(ContainedExecutor);
        // Slow heads are the watch's business.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(read_buffer);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(http2.max_concurrent_streams)
            .keep_alive_interval(http2.keepalive_time)
            .keep_alive_timeout(http2.keepalive_timeout)
            .adaptive_window(true);
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut old = pin!(grown_old(http2.max_connection_age));
        // When a connection that was told to go is cut off.
        let mut deadline = None;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%peer, "connection ended: {error}");
                    }
                    return;
                }
                () = old.as_mut(), if deadline.is_none() => {
                    deadline = Instant::now().checked_add(http2.max_connection_age_grace);
                    connection.as_mut().graceful_shutdown();
                }
                () = watched.late() => {
                    debug!(%peer, "connection closed: idle, or its request's head came too slowly");
                    if deadline.is_some() || !watched.is_multiplexed() {
                        return;
                    }
                    deadline = Some(Instant::now() + FAREWELL);
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
                changed = life.changed() => {
                    let now = *life.borrow();
                    if changed.is_err() || now == Life::Over {
                        debug!(%peer, "connection cut off: its listener has ended");
                        return;
                    }
                    // A GOAWAY loses nothing: it waits for what is on its way. HTTP/1.1 has no such word, so an idle
                    // connection is closed only in the end.
                    if now == Life::Ending || watched.is_multiplexed() {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

/// Ready when a connection has to go, if ever.
async fn grown_old(max_age: Option<Duration>) {
    match max_age {
        Some(age) => {
            tokio::time::sleep(age.mul_f64(1.0 + AGE_SPREAD * (2.0 * rand::random::<f64>() - 1.0))).await;
        }
        None => std::future::pending().await,
    }
}

/// What can be done about the most common failures.
fn hint(error: &std::io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => "; does it speak without TLS?",
        Some(rustls::Error::NoCertificatesPresented) => "; it has to show a certificate of `client_ca_file`",
        Some(rustls::Error::AlertReceived(_)) => "; does it trust the certificate's authority?",
        _ => "",
    }
}
