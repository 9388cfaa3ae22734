//! OTLP/HTTP on one kept-alive HTTP/1.1 connection.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;

use super::connection::Driver;
use super::{Refusal, SendFailure, note, secrets, taken};
use crate::answer::{ExportServiceResponse, JSON, PROTOBUF};
use crate::send::settings::{SendEncoding, SendError, SendSettings};
use sluice_engine::client::{Dialer, Secrets, error_message, retry_after};
use sluice_engine::net::Transmission;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Makes connections, and requests on them.
pub(super) struct Http {
    dialer: Arc<Dialer>,
    path: Uri,
    headers: HeaderMap,
    secrets: Secrets,
    connection: Option<SendConnection>,
}

type Http1Driver = http1::Connection<TokioIo<Box<dyn Transmission>>, Full<Bytes>>;

struct SendConnection {
    requests: http1::SendRequest<Full<Bytes>>,
    driver: Driver<Http1Driver>,
}

impl Http {
    pub(super) fn new(settings: &SendSettings, dialer: Arc<Dialer>) -> Result<Self, SendError> {
        let (origin, path) = settings.target()?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&origin.authority()).map_err(|_| SendError::Endpoint)?);
        let content_type = match settings.encoding {
            SendEncoding::Proto => PROTOBUF,
            SendEncoding::Json => JSON,
        };
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(coding) = settings.compression.coding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.extend(settings.headers.clone());
        let path = path.parse().map_err(|_| SendError::Endpoint)?;
        Ok(Self { dialer, path, headers, secrets: secrets(settings), connection: None })
    }

    /// Sends `body` and waits for the answer; the number of records it says were rejected.
    pub(super) async fn attempt(&mut self, body: Bytes) -> Result<u64, Refusal> {
        // Not put back unless it can be used again, so that a timeout closes it.
        let mut idle = self.connection.take();
        if let Some(connection) = &mut idle
            && !connection.is_ready().await
        {
            idle = None;
        }
        let mut connection = match idle {
            Some(connection) => connection,
            None => SendConnection::open(&self.dialer).await?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = connection.converse(request).await?;
        self.connection = Some(connection);
        answer.result(&self.secrets)
    }
}

impl SendConnection {
    async fn open(dialer: &Dialer) -> Result<Self, SendFailure> {
        let io = TokioIo::new(dialer.dial().await?);
        let (requests, driver) = http1::handshake(io).await.map_err(|_| SendFailure::Connect)?;
        Ok(Self { requests, driver: Driver::new(driver) })
    }

    /// Whether a request can be sent. A server that answers early closes the connection, or takes the rest of the body
    /// first.
    async fn is_ready(&mut self) -> bool {
        self.driver.drive(self.requests.ready()).await.is_ok()
    }

    /// Sends one request.
    async fn converse(&mut self, request: Request<Full<Bytes>>) -> Result<ServerAnswer, SendFailure> {
        let requests = &mut self.requests;
        let answering = async {
            let response = requests.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, hyper::Error>((head, Limited::new(body, MAX_ANSWER).collect().await))
        };
        let (head, body) = self.driver.drive(answering).await.map_err(|_| SendFailure::Closed)?;
        let body = body.map_err(|_| SendFailure::Closed)?.to_bytes();
        Ok(ServerAnswer { status: head.status, headers: head.headers, body })
    }
}

#[derive(Debug)]
struct ServerAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl ServerAnswer {
    fn result(self, secrets: &Secrets) -> Result<u64, Refusal> {
        if !self.status.is_success() {
            let failure = SendFailure::Status(self.status.as_u16());
            note(failure, &error_message(&self.headers, &self.body), secrets);
            return Err(Refusal { failure, retry_after: retry_after(&self.headers, SystemTime::now()) });
        }
        // A 2xx with a body that can't be read is a success all the same.
        let response = if self.body.starts_with(b"{") {
            ExportServiceResponse::from_json(&self.body)
        } else {
            ExportServiceResponse::decode(self.body).unwrap_or_default()
        };
        Ok(taken(&response, secrets))
    }
}
