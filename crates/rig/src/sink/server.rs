//! The sink as a server that lives in a test, a bench or a process of its own.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::SinkConnection;
use super::counts::{Counts, SinkCounters, StreamCounts};
use super::fault::{Fault, Faults};
use super::serve::{Session, serve};
use super::state::{RecordedRequest, SinkState};
use otlp::Signal;
use sluice_engine::pem::PemError;
use sluice_engine::receive::{TlsServer, TlsServerSettings};

/// How a sink starts.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The resource attribute whose value is the routing key.
    pub attribute: String,
    /// Keep every request for [`Sink::requests`].
    pub record_requests: bool,
    /// Faults from the start.
    pub faults: Vec<Fault>,
    /// Speak TLS.
    pub tls: Option<TlsServerSettings>,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            attribute: "s2.stream".to_owned(),
            record_requests: false,
            faults: Vec::new(),
            tls: None,
        }
    }
}

/// Why a sink doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The address can't be used.
    #[error("can't listen on `{listen}`: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] PemError),
}

/// The deadline passed before what was waited for; the counts are those at the deadline.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not within {waited:?}; the sink has {counts:?}")]
pub struct NotInTime {
    /// How long the wait was.
    pub waited: Duration,
    /// The counts at the deadline.
    pub counts: Counts,
}

/// A receiving upstream for OTLP/HTTP and OTLP/gRPC on one port. It stops when it is dropped.
///
/// ```
/// # use std::time::Duration;
/// # use rig::sink::{Fault, Sink, SinkSettings};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sink = Sink::start(SinkSettings { record_requests: true, ..SinkSettings::default() }).await?;
/// sink.script([Fault::status(503), Fault::none()]);
/// println!("send to {}", sink.url());
/// let waited = sink.wait_for_records(1, Duration::ZERO).await;
/// assert!(waited.is_err(), "nobody has sent anything");
/// assert_eq!(sink.counts().records, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sink {
    addr: SocketAddr,
    scheme: &'static str,
    shared: Arc<SinkState>,
    finish: CancellationToken,
    stop: CancellationToken,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Sink {
    /// Binds and starts to serve on the current runtime.
    pub async fn start(settings: SinkSettings) -> Result<Self, SinkError> {
        let tls = settings.tls.map(TlsServer::load).transpose()?;
        let listen = |source| SinkError::Listen { listen: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let faults = Faults::default();
        faults.set(settings.faults);
        let shared = Arc::new(SinkState {
            attribute: settings.attribute,
            counters: SinkCounters::default(),
            faults,
            requests: settings.record_requests.then(Mutex::default),
            changed: Notify::new(),
        });
        let (finish, stop) = (CancellationToken::new(), CancellationToken::new());
        let accepting =
            tokio::spawn(accept(listener, tls, Arc::clone(&shared), finish.clone(), stop.clone()));
        Ok(Self { addr, scheme, shared, finish, stop, accepting: Mutex::new(Some(accepting)) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint to send to, without a path: `http://127.0.0.1:43210`, or `https`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Replaces all faults by this one, for requests from now on. [`Fault::none`] is no fault.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.faults.set([fault]);
    }

    /// Adds a fault after those that are set: of several that could hit a request, the first is taken.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Removes all faults. Requests that hang go on hanging.
    pub fn clear_faults(&self) {
        self.shared.faults.set([]);
    }

    /// Adds to the answers of the next requests: one each, in the order of their arrival, ahead of all faults. Of a
    /// scripted fault only the answer and the delay count, not which requests it is for.
    pub fn script(&self, answers: impl IntoIterator<Item = Fault>) {
        self.shared.faults.script(answers);
    }

    /// The totals of what the sink has received.
    pub fn counts(&self) -> Counts {
        self.shared.counters.snapshot()
    }

    /// The counts of each stream of a signal, by routing key; entries without one are under the empty key.
    pub fn streams(&self, signal: Signal) -> BTreeMap<String, StreamCounts> {
        self.shared.counters.streams(signal)
    }

    /// The counts of one stream.
    pub fn stream(&self, signal: Signal, key: &str) -> StreamCounts {
        self.shared.counters.stream(signal, key)
    }

    /// Every request so far, in the order in which their answers were decided.
    ///
    /// # Panics
    ///
    /// Unless the sink was started with [`SinkSettings::record_requests`].
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.recorded().lock().clone()
    }

    /// The same, but those since the last call: the sink keeps them no longer.
    ///
    /// # Panics
    ///
    /// Unless the sink was started with [`SinkSettings::record_requests`].
    pub fn take_requests(&self) -> Vec<RecordedRequest> {
        std::mem::take(&mut self.recorded().lock())
    }

    fn recorded(&self) -> &Mutex<Vec<RecordedRequest>> {
        self.shared.requests.as_ref().expect("the sink was started with `record_requests`")
    }

    /// Waits until `reached` holds, which is looked at after every request.
    pub async fn wait_until(
        &self,
        within: Duration,
        mut reached: impl FnMut(&Counts) -> bool,
    ) -> Result<Counts, NotInTime> {
        let deadline = Instant::now() + within;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let counts = self.counts();
            if reached(&counts) {
                return Ok(counts);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(NotInTime { waited: within, counts: self.counts() });
            }
        }
    }

    /// Waits until `records` records have been taken, duplicates not counted.
    pub async fn wait_for_records(&self, records: u64, within: Duration) -> Result<Counts, NotInTime> {
        self.wait_until(within, |counts| counts.records.saturating_sub(counts.duplicates) >= records).await
    }

    /// Waits until `requests` requests have been answered, cut off or left hanging.
    pub async fn wait_for_requests(&self, requests: u64, within: Duration) -> Result<Counts, NotInTime> {
        self.wait_until(within, |counts| counts.accepted + counts.refused >= requests).await
    }

    /// Closes the listener, lets the requests that have arrived be answered for `within` at most, and stops: what is
    /// counted then is all that was answered.
    pub async fn finish(&self, within: Duration) {
        self.finish.cancel();
        let accepting = self.accepting.lock().take();
        if let Some(mut accepting) = accepting
            && tokio::time::timeout(within, &mut accepting).await.is_err()
        {
            self.stop.cancel();
            drop(accepting.await);
        }
    }

    /// Stops: closes the listener and every connection. What was counted stays; another sink can be started on the
    /// same address.
    pub async fn stop(&self) {
        self.stop.cancel();
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            // A panic in there has been reported by the panic hook.
            drop(accepting.await);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsServer>,
    shared: Arc<SinkState>,
    finish: CancellationToken,
    stop: CancellationToken,
) {
    let tls = tls.map(Arc::new);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            () = finish.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                // Answers are small: without this a delayed acknowledgement would hold them back.
                drop(stream.set_nodelay(true));
                let session = Session::new(Arc::clone(&shared));
                let connection = SinkConnection::new(stream, Arc::clone(&session.cutter));
                connections.spawn(converse(connection, tls.clone(), session, finish.clone()));
            }
            // Out of file descriptors: connections have to end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = stop.cancelled() => {}
        () = ended => {}
    }
    connections.shutdown().await;
}

/// Serves one connection, behind its TLS handshake if there is TLS.
async fn converse(
    connection: SinkConnection,
    tls: Option<Arc<TlsServer>>,
    session: Session,
    finish: CancellationToken,
) {
    let Some(tls) = tls else { return serve_on(connection, session, finish).await };
    let handshake = TlsAcceptor::from(tls.current().await).accept(connection);
    let secured = tokio::select! {
        secured = handshake => secured,
        () = finish.cancelled() => return,
    };
    // A handshake that fails is the sender's matter: no request has arrived.
    if let Ok(secured) = secured {
        serve_on(secured, session, finish).await;
    }
}

async fn serve_on<S>(stream: S, session: Session, finish: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cutter = Arc::clone(&session.cutter);
    let session = Arc::new(session);
    let service = service_fn(move |request| serve(Arc::clone(&session), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        // How a connection ends is the sender's matter: its requests have been counted.
        _ = serving.as_mut() => return,
        () = cutter.cut_off() => return,
        () = finish.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = serving => {}
        () = cutter.cut_off() => {}
    }
}
