//! One kept-alive HTTP/1.1 connection, and what can come of a request on it.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;

use super::settings::{SendCompression, SendEncoding, SendError, SendSettings};
use crate::cli::answer::{ExportResponse, JSON, PROTOBUF};

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Why a request was not taken, or is not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// There was no connection.
    Connect,
    /// The connection ended before the answer.
    Closed,
    /// There was no answer in time.
    Timeout,
    /// The answer is no 2xx.
    Status(u16),
}

impl Failure {
    /// Whether sending it again makes sense (rule 39).
    pub(super) fn is_retryable(self) -> bool {
        matches!(self, Self::Connect | Self::Closed | Self::Timeout | Self::Status(429 | 502 | 503 | 504))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Closed => f.write_str("closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

/// A failure, and how long the server asked to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    pub(super) retry_after: Option<Duration>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// Makes connections, and requests on them.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    path: Uri,
    headers: HeaderMap,
    timeout: Duration,
    connection: Option<Connection>,
}

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

#[derive(Debug)]
struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// Reads and writes; gone when the connection has ended.
    driver: Option<Driver>,
}

impl Client {
    pub(super) fn new(settings: &SendSettings) -> Result<Self, SendError> {
        let (address, path) = settings.target()?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&address).map_err(|_| SendError::Endpoint)?);
        let content_type = match settings.encoding {
            SendEncoding::Proto => PROTOBUF,
            SendEncoding::Json => JSON,
        };
        headers.insert(CONTENT_TYPE, content_type);
        match settings.compression {
            SendCompression::None => {}
            SendCompression::Gzip => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"))),
            SendCompression::Zstd => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"))),
        }
        headers.extend(settings.headers.clone());
        let path = path.parse().map_err(|_| SendError::Endpoint)?;
        Ok(Self { address, path, headers, timeout: settings.timeout, connection: None })
    }

    /// Sends `body` and waits for the answer; the number of records it says were rejected.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<u64, Refusal> {
        let timeout = self.timeout;
        tokio::time::timeout(timeout, self.attempt(body)).await.unwrap_or(Err(Failure::Timeout.into()))
    }

    async fn attempt(&mut self, body: Bytes) -> Result<u64, Refusal> {
        // Not put back unless it can be used again, so that a timeout closes it.
        let mut idle = self.connection.take();
        if let Some(connection) = &mut idle
            && !connection.is_ready().await
        {
            idle = None;
        }
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.address).await?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = connection.converse(request).await?;
        self.connection = Some(connection);
        answer.result()
    }
}

async fn connect(address: &str) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|_| Failure::Connect)?;
    // The last segment of a body must not wait for an acknowledgement.
    drop(stream.set_nodelay(true));
    let (requests, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Connect)?;
    Ok(Connection { requests, driver: Some(driver) })
}

impl Connection {
    /// Whether a request can be sent. A server that answers early closes the connection, or takes the rest of the body
    /// first.
    async fn is_ready(&mut self) -> bool {
        drive(&mut self.driver, self.requests.ready()).await.is_ok()
    }

    /// Sends one request.
    async fn converse(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let requests = &mut self.requests;
        let answering = async {
            let response = requests.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, hyper::Error>((head, Limited::new(body, MAX_ANSWER).collect().await))
        };
        let (head, body) = drive(&mut self.driver, answering).await.map_err(|_| Failure::Closed)?;
        let body = body.map_err(|_| Failure::Closed)?.to_bytes();
        Ok(Answer { status: head.status, retry_after: wait(&head.headers), body })
    }
}

/// Runs `task` to its end, and the connection with it: both in one task saves two switches for every request. If the
/// connection ends first, it is dropped, so that `task` learns of it; what had been read is still an answer.
async fn drive<T>(driver: &mut Option<Driver>, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    if let Some(running) = driver {
        tokio::select! {
            biased;
            done = &mut task => return done,
            _ = running => {}
        }
    }
    *driver = None;
    task.await
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Answer {
    fn result(self) -> Result<u64, Refusal> {
        if !self.status.is_success() {
            let failure = Failure::Status(self.status.as_u16());
            return Err(Refusal { failure, retry_after: self.retry_after });
        }
        // A 2xx with a body that can't be read is a success all the same.
        let response = if self.body.starts_with(b"{") {
            ExportResponse::from_json(&self.body)
        } else {
            ExportResponse::decode(self.body).unwrap_or_default()
        };
        Ok(response.partial_success.map_or(0, |partial| partial.rejected.max(0).unsigned_abs()))
    }
}

/// `Retry-After`, in seconds or as a date (rule 42).
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}
