//! One request to the admin listener, and its answer, which may be events that go on.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::admin::{HEALTH_PAGES, NO_PAGE, TEXT};
use crate::client::{Dialer, Origin, TlsClientSettings};

/// `Content-Type` of requests.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `Content-Type` of the answers of an OTLP receiver.
const PROTOBUF: &[u8] = b"application/x-protobuf";

/// Bytes of an answer that are read.
const LARGEST: usize = 256 << 20;

/// Bytes of one event that are read.
const LARGEST_EVENT: usize = 64 << 20;

/// The environment variable with the token.
const TOKEN: &str = "SLUICE_ADMIN_TOKEN";

/// The beginning of the `Content-Type` of gRPC.
const GRPC: &[u8] = b"application/grpc";

/// The characters that are percent-encoded in a URL: all but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of an admin listener.
pub(super) struct AdminClient {
    dialer: Arc<Dialer>,
    /// The URL as it was written.
    url: String,
    host: HeaderValue,
    prefix: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// Why there is no good answer, in lines for people.
#[derive(Debug)]
pub(super) enum AdminError {
    /// A failure on this machine.
    Local(String),
    /// No answer came.
    Unanswered { url: String, reason: String },
    /// The answer's status is not 2xx.
    Refused { status: StatusCode, body: Bytes },
    /// The server at this URL is no admin listener.
    Elsewhere { url: String, status: StatusCode, server: OtherServer },
    /// An event is not JSON, or is too long.
    Unreadable { url: String },
}

/// The kind of server that has answered instead of an admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherServer {
    Receiver,
    Health,
    Unknown,
}

/// The address of the admin listener.
const WHERE: &str = "the admin listener is at the `admin.endpoint` of the configuration, 127.0.0.1:8888 unless that says otherwise: name it by `--admin`";

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(problem) => writeln!(f, "{problem}"),
            Self::Unanswered { url, reason } => writeln!(f, "no answer from {url}: {reason}\n{WHERE}"),
            Self::Elsewhere { url, status, server } => {
                writeln!(f, "{url} is no admin listener: {server} answers there ({status})\n{WHERE}")
            }
            Self::Unreadable { url } => writeln!(f, "{url} does not answer as Sluice does"),
            Self::Refused { status, body } => {
                let said: Value = serde_json::from_slice(body).unwrap_or_default();
                let text = String::from_utf8_lossy(body);
                let error = said["error"].as_str().unwrap_or_else(|| text.trim());
                writeln!(f, "{error} ({status})")?;
                if *status == StatusCode::UNAUTHORIZED {
                    writeln!(f, "give the token in a file by `--token-file`, or in SLUICE_ADMIN_TOKEN")?;
                }
                for problem in said["problems"].as_array().into_iter().flatten() {
                    writeln!(f, "- {}", problem["message"].as_str().unwrap_or_default())?;
                    if let Some(help) = problem["help"].as_str() {
                        writeln!(f, "  help: {help}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for OtherServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receiver => "an OTLP receiver",
            Self::Health => "Sluice's health listener",
            Self::Unknown => "another server",
        })
    }
}

impl OtherServer {
    /// The kind of server that gives this answer; `None` if it is an admin listener.
    fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let said = serde_json::from_slice::<Value>(body);
        let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        // An admin listener refuses requests without permission in plain text.
        let is_text = content_type == TEXT.as_bytes()
            && (status != StatusCode::NOT_FOUND || body == NO_PAGE.as_bytes());
        let is_admins = if status.is_success() {
            said.is_ok()
        } else {
            is_text || said.as_ref().is_ok_and(|said| said["error"].is_string())
        };
        if is_admins {
            return None;
        }
        // A receiver's answers by HTTP, in either encoding, and by gRPC.
        let is_status = said.is_ok_and(|said| said["code"].is_number() && said["message"].is_string());
        Some(if is_status || content_type == PROTOBUF || content_type.starts_with(GRPC) {
            Self::Receiver
        } else if body.starts_with(HEALTH_PAGES.as_bytes()) {
            Self::Health
        } else {
            Self::Unknown
        })
    }
}

impl AdminClient {
    /// A client of the listener at this URL, which may have no scheme. The error is for the person who typed it.
    pub(super) fn new(
        url: &str,
        token: Option<&str>,
        tls: TlsClientSettings,
        timeout: Duration,
    ) -> Result<Self, String> {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri = url.parse::<Uri>().ok().filter(|uri| {
            uri.query().is_none()
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        let origin = uri.as_ref().and_then(Origin::of);
        let (Some(uri), Some(origin)) = (uri, origin) else {
            return Err(
                "the URL of the admin listener must look like `http://host:port` or `https://host:port`"
                    .to_owned(),
            );
        };
        let host = HeaderValue::try_from(origin.authority()).map_err(|error| error.to_string())?;
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| "the token of the admin listener can't be sent in a header")?;
            value.set_sensitive(true);
            Ok::<_, &str>(value)
        });
        let dialer = Dialer::new(origin, tls, b"http/1.1", timeout).map_err(|error| error.to_string())?;
        Ok(Self {
            dialer: Arc::new(dialer),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            url,
            host,
            authorization: authorization.transpose()?,
            timeout,
        })
    }

    /// The JSON of a page.
    pub(super) async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.send("GET", path, None).await
    }

    /// The answer to a request with this body.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, AdminError> {
        let unanswered = |reason: String| AdminError::Unanswered { url: self.url.clone(), reason };
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| unanswered(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.converse(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(self.too_late()));
        let (head, body) = answer.map_err(unanswered)?;
        if !head.status.is_success() {
            return Err(self.refused(&head, body));
        }
        serde_json::from_slice(&body).map_err(|_| self.refused(&head, body))
    }

    /// The error for an answer of this status that is not from an admin listener.
    pub(super) fn no_admin_listener(&self, status: StatusCode) -> AdminError {
        AdminError::Elsewhere { url: self.url.clone(), status, server: OtherServer::Unknown }
    }

    /// The events of a page, which have no end.
    pub(super) async fn events(&self, path: &str) -> Result<AdminEvents, AdminError> {
        let unanswered = |reason: String| AdminError::Unanswered { url: self.url.clone(), reason };
        let request = self.request("GET", path).header(ACCEPT, EVENTS).body(Full::default());
        let request = request.map_err(|error| unanswered(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.open(request)).await;
        let (answer, connection) = answer.unwrap_or_else(|_| Err(self.too_late())).map_err(unanswered)?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| unanswered(error.to_string()))?.to_bytes();
            return Err(self.refused(&head, body));
        }
        if head.headers.get(CONTENT_TYPE).is_none_or(|value| *value != EVENTS) {
            let (url, status) = (self.url.clone(), head.status);
            return Err(AdminError::Elsewhere { url, status, server: OtherServer::Unknown });
        }
        Ok(AdminEvents { body, read: Vec::new(), connection, url: self.url.clone() })
    }

    /// The error for an answer that does not come in time.
    fn too_late(&self) -> String {
        format!("it has not come within {:?} (`--timeout`)", self.timeout)
    }

    /// The error for an answer that can't be used.
    fn refused(&self, head: &response::Parts, body: Bytes) -> AdminError {
        let (url, status) = (self.url.clone(), head.status);
        match OtherServer::of(status, &head.headers, &body) {
            None => AdminError::Refused { status, body },
            Some(server) => AdminError::Elsewhere { url, status, server },
        }
    }

    fn request(&self, method: &str, path: &str) -> request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request
    }

    async fn converse(&self, request: Request<Full<Bytes>>) -> Result<(response::Parts, Bytes), String> {
        let (answer, connection) = self.open(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
        connection.abort();
        Ok((head, body.to_bytes()))
    }

    /// Sends a request on a connection of its own, which runs until it is aborted or ends.
    async fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>), String> {
        let io = TokioIo::new(self.dialer.dial().await.map_err(|error| error.to_string())?);
        let (mut requests, connection) = http1::handshake(io).await.map_err(|error| no_answer(&error))?;
        let running = tokio::spawn(connection);
        let answer = requests.send_request(request).await.map_err(|error| no_answer(&error))?;
        Ok((answer, running))
    }
}

/// Why a connection has given no answer.
fn no_answer(error: &hyper::Error) -> String {
    if error.is_parse() {
        format!(
            "what is there speaks no HTTP/1.1: is it the port of a gRPC server, or of TLS (`https://`)?\n{WHERE}"
        )
    } else if error.is_incomplete_message() {
        format!("it has closed the connection without one: is it a port of TLS (`https://`)?\n{WHERE}")
    } else {
        error.to_string()
    }
}

/// The type of an answer that is events.
const EVENTS: &str = "text/event-stream";

/// Server-sent events as they come.
pub(super) struct AdminEvents {
    body: Incoming,
    /// The bytes that have arrived of the next event.
    read: Vec<u8>,
    connection: JoinHandle<hyper::Result<()>>,
    url: String,
}

impl AdminEvents {
    /// The name and the data of the next event; `None` once the events have ended.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Value)>, AdminError> {
        loop {
            while let Some(end) = self.read.windows(2).position(|bytes| bytes == b"\n\n") {
                let text: Vec<u8> = self.read.drain(..end + 2).collect();
                if let Some(event) = read_event(&String::from_utf8_lossy(&text)) {
                    return Ok(Some(event));
                }
            }
            if self.read.len() > LARGEST_EVENT {
                return Err(AdminError::Unreadable { url: self.url.clone() });
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    self.read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
                Some(Err(error)) => {
                    return Err(AdminError::Unanswered { url: self.url.clone(), reason: error.to_string() });
                }
            }
        }
    }
}

impl Drop for AdminEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// An event, unless it is a comment.
fn read_event(text: &str) -> Option<(String, Value)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    Some((field("event: ")?.to_owned(), serde_json::from_str(field("data: ")?).ok()?))
}

/// The token in a file, or in the variable for it.
pub(super) fn token(
    file: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let token = match file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => env(TOKEN),
    };
    Ok(token.filter(|token| !token.is_empty()))
}

/// A text, percent-encoded for a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
