//! One request to the admin listener, and its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cli::answer::JSON;
use crate::export::{Dialer, Origin, TlsClientSettings};

/// Bytes of an answer that are read.
const LARGEST: usize = 256 << 20;

/// What is encoded in a URL: all but what no URL gives a meaning.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Asks an admin listener.
pub(super) struct AdminClient {
    dialer: Arc<Dialer>,
    /// As it is written.
    url: String,
    host: HeaderValue,
    prefix: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// Why there is no good answer, in lines for people.
#[derive(Debug)]
pub(super) enum AdminError {
    /// Something on this machine.
    Local(String),
    /// There is no answer.
    Unanswered { url: String, reason: String },
    /// The answer is no 2xx.
    Refused { status: StatusCode, body: Bytes },
    /// The answer is no JSON.
    Unreadable { url: String },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(problem) => writeln!(f, "{problem}"),
            Self::Unanswered { url, reason } => writeln!(f, "no answer from {url}: {reason}"),
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

impl AdminClient {
    /// One for the listener at this URL, which may be without a scheme. The error is for the person who typed it.
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
            return Err("`--admin` must look like `http://host:port` or `https://host:port`".to_owned());
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

    /// What a page shows.
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
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| unanswered(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.converse(request)).await;
        let answer = answer.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        let (status, body) = answer.map_err(unanswered)?;
        if !status.is_success() {
            return Err(AdminError::Refused { status, body });
        }
        serde_json::from_slice(&body).map_err(|_| AdminError::Unreadable { url: self.url.clone() })
    }

    async fn converse(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let io = TokioIo::new(self.dialer.dial().await.map_err(|error| error.to_string())?);
        let (mut requests, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
        let running = tokio::spawn(connection);
        let answer = requests.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
        running.abort();
        Ok((head.status, body.to_bytes()))
    }
}

/// A text as it stands in a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
