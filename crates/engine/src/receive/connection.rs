//! One connection of a listener: its handshake, its requests, its end.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Ready, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONNECTION, Entry, HeaderMap, HeaderValue};
use ::http::request::Parts;
use ::http::{Request, Version};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tracing::debug;

use super::auth::names_of;
use super::connection_errors::ConnectionError;
use super::handler::Handler;
use super::head::{self, Holding};
use super::opening::{self, Opening, PrefixedIo};
use super::response::{self, HttpResponse};
use super::sender::ConnectionPeer;
use super::settings::{ListenerSettings, Protocol};
use super::tls::TlsServer;
use super::watch::{DRAIN, End, InProgress, Watched, WatchedIo};
use crate::net::Socket;
use crate::panics::ContainedExecutor;
use crate::stream::{Budget, Reservation};
use crate::tenants::CertificateNames;

/// How much of a request hyper reads at a time. A connection that has carried large bodies keeps a buffer of up to
/// this size while it is idle, so that only some connections get one that large.
const READ_BUFFER: usize = 64 * 1024;

/// As [`READ_BUFFER`], for all further connections. A head has to fit into it.
const SMALL_READ_BUFFER: usize = head::LARGEST as usize;

/// Bytes of bodies that a sender may be ahead of their readers on one HTTP/2 connection: enough for 10 MB/s over a way of
/// 100 ms, and not as much as a connection could make of it that measures its own way.
const WINDOW: u32 = 1024 * 1024;

/// How long an idle HTTP/2 connection that was sent GOAWAY may still answer requests that crossed it.
const FAREWELL: Duration = Duration::from_secs(10);

/// The part by which `max_connection_age` varies, so that connections that were opened together aren't closed together.
const AGE_SPREAD: f64 = 0.1;

/// A connection that has been accepted.
pub(super) struct AcceptedConnection<H> {
    pub(super) peer: SocketAddr,
    pub(super) watched: Arc<Watched>,
    pub(super) settings: Arc<ArcSwap<ListenerSettings>>,
    pub(super) handler: Arc<H>,
    /// Leave to read with a large buffer.
    pub(super) large_reader: Option<OwnedSemaphorePermit>,
    pub(super) life: watch::Receiver<Life>,
}

/// The states of a listener, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Life {
    /// It accepts connections.
    Accepting,
    /// No new connections; an answer says that it is the connection's last.
    Leaving,
    /// Connections without a request are closed.
    Ending,
    /// All connections are closed.
    Over,
}

impl<H: Handler> AcceptedConnection<H> {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self, socket: Socket) {
        // Answers are small and are waited for.
        let _ = socket.set_nodelay();
        let settings = self.settings.load_full();
        if settings.tls.is_some() {
            // The handshake is a part of the first head: it may take as long.
            self.watched.begin_head();
        }
        let Some((opening, socket)) = self.look(socket).await else { return };
        match (&settings.tls, opening) {
            (None, Opening::Tls) => self.spoke_tls(socket, &settings).await,
            (None, opening) => self.serve(socket, opening, None, &settings).await,
            // In a box, so that a connection without TLS takes no room for it.
            (Some(tls), Opening::Tls) => Box::pin(self.serve_secured(socket, tls, &settings)).await,
            (Some(_), opening) => self.spoke_plaintext(opening, &settings),
        }
    }

    /// Waits for the first bytes, which tell the protocol.
    async fn look<S: AsyncRead + Unpin>(&mut self, socket: S) -> Option<(Opening, PrefixedIo<S>)> {
        let peer = self.peer;
        tokio::select! {
            // Bytes that have come are looked at before the connection makes room: there may be a request in them.
            biased;
            looked = opening::look(socket, || self.watched.begin_head()) => {
                looked.inspect_err(|error| debug!(%peer, "connection ended: {error}")).ok()
            }
            end = self.watched.ended() => {
                debug!(%peer, "connection closed before it said anything whole: {end:?}");
                None
            }
            _ = self.life.wait_for(|life| *life >= Life::Ending) => None,
        }
    }

    fn report(&self, settings: &ListenerSettings, error: ConnectionError, message: impl Display) {
        if let Some(errors) = self.handler.connection_errors() {
            errors.add(&settings.name, self.peer, error, message);
        } else {
            debug!(peer = %self.peer, "connection closed: {message}");
        }
    }

    async fn spoke_tls(self, socket: impl AsyncRead + AsyncWrite + Unpin, settings: &ListenerSettings) {
        let tls = if settings.protocol == Protocol::Grpc {
            "write `tls: { insecure: true }` in the sender's exporter (or an `http://` endpoint)"
        } else {
            "write an `http://` endpoint in the sender"
        };
        let here = settings.endpoint;
        self.report(
            settings,
            ConnectionError::TlsToPlaintext,
            format_args!("it began with TLS, which is not spoken on {here}: {tls}, or give the receiver a certificate with `tls:`"),
        );
        // Clients that meet an answer of HTTP where they expect TLS say so, which is more than they say of a closed connection.
        let answer =
            answer_plainly(socket, "this port does not speak TLS: write http:// instead of https://\n");
        tokio::select! {
            () = answer => {}
            _ = self.watched.ended() => {}
        }
    }

    fn spoke_plaintext(&self, opening: Opening, settings: &ListenerSettings) {
        let (what, here) = (if opening == Opening::Http2 { "HTTP/2" } else { "HTTP/1.1" }, settings.endpoint);
        self.report(
            settings,
            ConnectionError::PlaintextToTls,
            format_args!(
                "it began without TLS (like {what}), and {here} speaks nothing else: write an `https://` endpoint in the sender, and no `insecure: true`"
            ),
        );
    }

    async fn serve_secured<S>(mut self, socket: S, tls: &TlsServer, settings: &ListenerSettings)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(secured) = self.shake_hands(socket, tls, settings).await else { return };
        let certificate = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map(|certificate| Arc::new(names_of(certificate)));
        if let Some((opening, secured)) = self.look(secured).await {
            self.serve(secured, opening, names, settings).await;
        }
    }

    /// Makes the TLS handshake, within the time for a head.
    async fn shake_hands<S>(
        &mut self,
        socket: S,
        tls: &TlsServer,
        settings: &ListenerSettings,
    ) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let peer = self.peer;
        let handshake = async { TlsAcceptor::from(tls.current().await).accept(socket).await };
        let done = tokio::select! {
            done = timeout(settings.read_header_timeout, handshake) => done,
            end = self.watched.ended() => {
                debug!(%peer, "connection closed in its TLS handshake: {end:?}");
                return None;
            }
            _ = self.life.wait_for(|life| *life >= Life::Ending) => return None,
        };
        match done {
            Ok(Ok(secured)) => return Some(secured),
            Err(_) => debug!(%peer, "connection closed: the TLS handshake took too long"),
            Ok(Err(error)) => self.report(
                settings,
                ConnectionError::Handshake,
                format_args!("no TLS with a sender: {error}{}", hint(&error)),
            ),
        }
        None
    }

    async fn serve<S>(
        self,
        socket: S,
        opening: Opening,
        certificate: Option<Arc<CertificateNames>>,
        settings: &ListenerSettings,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let read_buffer = if self.large_reader.is_some() { READ_BUFFER } else { SMALL_READ_BUFFER };
        let service = {
            let (watched, settings, handler) =
                (self.watched.clone(), self.settings.clone(), self.handler.clone());
            let peer = ConnectionPeer { address: self.peer, certificate };
            service_fn(move |mut request: Request<Incoming>| {
                hide_credentials(request.headers_mut());
                request.extensions_mut().insert(peer.clone());
                // Before the task runs that answers it: until then, others may come in any number.
                let begun = BegunRequest::new(watched.clone(), handler.budget(), request);
                begun.answer(&settings, &handler)
            })
        };
        if opening == Opening::Http2 {
            self.watched.multiplex();
            let http2 = &settings.http2;
            let mut builder = http2::Builder::new(ContainedExecutor);
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(http2.max_concurrent_streams)
                .max_header_list_size(head::LARGEST)
                // Each header in the table would keep the buffer that it was read into.
                .header_table_size(0)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .keep_alive_interval(http2.keepalive_time)
                .keep_alive_timeout(http2.keepalive_timeout);
            let io = TokioIo::new(WatchedIo::multiplexed(socket, self.watched.clone(), read_buffer));
            self.drive(pin!(builder.serve_connection(io, service)), settings).await;
        } else {
            let mut builder = http1::Builder::new();
            // Slow heads are the watch's business.
            builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(read_buffer);
            let io = TokioIo::new(WatchedIo::new(socket, self.watched.clone()));
            self.drive(pin!(builder.serve_connection(io, service)), settings).await;
        }
    }

    /// Serves the protocol's connection until it ends or has to be closed.
    async fn drive<C>(mut self, mut connection: Pin<&mut C>, settings: &ListenerSettings)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let http2 = &settings.http2;
        let peer = self.peer;
        let mut old = pin!(grown_old(http2.max_connection_age));
        // When a connection that was told to go is cut off.
        let mut deadline = None;
        loop {
            tokio::select! {
                // A request that has come keeps the connection from making room.
                biased;
                ended = poll_fn(|cx| {
                    self.watched.begin_turn();
                    connection.as_mut().poll(cx)
                }) => {
                    if let Err(error) = ended {
                        self.broke(settings, &error);
                    }
                    return;
                }
                () = old.as_mut(), if deadline.is_none() => {
                    deadline = Instant::now().checked_add(http2.max_connection_age_grace);
                    connection.as_mut().graceful_shutdown();
                }
                end = self.watched.ended() => match end {
                    End::NotTaken => {
                        let patience = settings.write_timeout;
                        let message = format_args!("it has not taken its answers for {patience:?}");
                        return self.report(settings, ConnectionError::AnswerNotTaken, message);
                    }
                    End::NoMemory => {
                        let message = "the memory limit is reached, and it has begun many requests at a time, or a head that is large or in many pieces";
                        return self.report(settings, ConnectionError::NoMemory, message);
                    }
                    End::Evicted => {
                        debug!(%peer, "connection closed: another one needed its place");
                        return;
                    }
                    End::Late => {
                        debug!(%peer, "connection closed: idle, or its request's head came too slowly");
                        if deadline.is_some() || !self.watched.is_multiplexed() {
                            return;
                        }
                        deadline = Some(Instant::now() + FAREWELL);
                        connection.as_mut().graceful_shutdown();
                    }
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
                changed = self.life.changed() => {
                    let now = *self.life.borrow();
                    if changed.is_err() || now == Life::Over {
                        debug!(%peer, "connection cut off: its listener has ended");
                        return;
                    }
                    // A GOAWAY loses nothing: it waits for what is on its way. HTTP/1.1 has no such word, so an idle
                    // connection is closed only in the end.
                    if now == Life::Ending || self.watched.is_multiplexed() {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }

    /// Reports why a connection ended by itself, if that says something about its sender.
    fn broke(&self, settings: &ListenerSettings, error: &hyper::Error) {
        if error.is_parse_too_large() {
            let taken = head::LARGEST / 1024;
            let message = format_args!(
                "a request's head is too large: {taken} KiB are taken, so send fewer or shorter headers"
            );
            self.report(settings, ConnectionError::HeadTooLarge, message);
        } else if error.is_parse() {
            let message = format_args!(
                "what it sent is not HTTP ({error}): is it another protocol, or does a proxy put a header of its own before the request?"
            );
            self.report(settings, ConnectionError::NotHttp, message);
        } else {
            debug!(peer = %self.peer, "connection ended: {error}");
        }
    }
}

/// Marks credentials as sensitive, so that no log shows them.
fn hide_credentials(headers: &mut HeaderMap) {
    if let Entry::Occupied(mut credentials) = headers.entry(AUTHORIZATION) {
        credentials.iter_mut().for_each(|value| value.set_sensitive(true));
    }
}

/// A request whose head has come, and what it holds.
struct BegunRequest {
    watched: Arc<Watched>,
    in_progress: InProgress,
    holding: Holding,
    head: Parts,
    /// `None` if there is no memory for the request.
    body: Option<Incoming>,
}

/// The answer of a request, now or in a while. What is not there yet is in a box, so that an answer that waits to be taken takes
/// no room for what it was made by.
type Answering = Either<
    Ready<Result<HttpResponse, Infallible>>,
    Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + Send>>,
>;

impl BegunRequest {
    fn new(watched: Arc<Watched>, budget: Option<&Arc<Budget>>, request: Request<Incoming>) -> Self {
        let in_progress = watched.request();
        let open = watched.open();
        let (mut head, body) = request.into_parts();
        let multiplexed = head.version >= Version::HTTP_2;
        let (body, reservation) =
            if let Ok(reservation) = head::reserve(&head, watched.is_alone(&open), budget) {
                // On HTTP/1.1, one small head keeps no more than the buffer that its connection has anyway.
                if multiplexed || reservation.is_some() {
                    head::detach(&mut head);
                }
                (Some(body), reservation)
            } else {
                head::forget(&mut head);
                (None, None)
            };
        let holding = Holding::new(reservation, open);
        if multiplexed {
            head.extensions.insert(holding.clone());
        }
        Self { watched, in_progress, holding, head, body }
    }

    fn answer<H: Handler>(self, settings: &ArcSwap<ListenerSettings>, handler: &Arc<H>) -> Answering {
        let Self { watched, in_progress, holding, head, body } = self;
        let budget = handler.budget().cloned();
        // HTTP/2 has GOAWAY instead.
        let one_by_one = head.version < Version::HTTP_2;
        let finished = move |mut answer: HttpResponse| {
            if one_by_one && in_progress.is_last() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let untaken = answer.body().whole().map(|bytes| {
                let mut room = budget.map(Reservation::empty);
                if let Some(room) = &mut room {
                    room.charge_spare(bytes);
                }
                (watched.answer(), room)
            });
            answer.body_mut().keep_in_progress(in_progress);
            response::hold(&mut answer, (untaken, holding));
            Ok(answer)
        };
        let settings = settings.load_full();
        let Some(body) = body else {
            return Either::Left(ready(finished(handler.no_memory(&settings, &head))));
        };
        let handler = handler.clone();
        Either::Right(Box::pin(async move {
            finished(handler.answer(&settings, Request::from_parts(head, body)).await)
        }))
    }
}

/// Answers by a bare 400 on a connection that speaks something else, and waits a moment so that the other side can read it:
/// what it has sent and nobody reads would otherwise take the answer with it.
async fn answer_plainly(mut socket: impl AsyncRead + AsyncWrite + Unpin, message: &str) {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{message}",
        message.len()
    );
    let farewell = async {
        if socket.write_all(answer.as_bytes()).await.is_ok() && socket.shutdown().await.is_ok() {
            let mut rest = [0; 512];
            while let Ok(1..) = socket.read(&mut rest).await {}
        }
    };
    let _ = timeout(DRAIN, farewell).await;
}

/// Ready when a connection has reached its largest age, if there is one.
async fn grown_old(max_age: Option<Duration>) {
    match max_age {
        Some(age) => {
            tokio::time::sleep(age.mul_f64(1.0 + AGE_SPREAD * (2.0 * rand::random::<f64>() - 1.0))).await;
        }
        None => std::future::pending().await,
    }
}

/// A hint what to do about the most common failures.
fn hint(error: &std::io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => "; does it speak without TLS?",
        Some(rustls::Error::NoCertificatesPresented) => "; it has to show a certificate of `client_ca_file`",
        Some(rustls::Error::AlertReceived(_)) => "; does it trust the certificate's authority?",
        _ => "",
    }
}
