//! OTLP/gRPC on one HTTP/2 connection, a unary call at a time.

use std::sync::Arc;

use bytes::Bytes;
use h2::client;
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};

use super::connection::Driver;
use super::{Refusal, SendFailure, note, secrets, taken};
use crate::answer::{ExportPartialSuccess, ExportServiceResponse};
use crate::send::settings::{SendError, SendSettings};
use sluice_engine::client::{Dialer, Secrets};
use sluice_engine::export::call::{CallAnswer, CallError, GrpcMessage, call};
use sluice_engine::net::Transmission;
use sluice_engine::rpc::{ACCEPT_ENCODING, ACCEPTED, Code, ENCODING, MEDIA_TYPE, trailers};
use sluice_engine::stream::Budget;

/// Makes connections, and calls on them.
pub(super) struct Grpc {
    dialer: Arc<Dialer>,
    uri: Uri,
    headers: HeaderMap,
    compressed: bool,
    secrets: Secrets,
    connection: Option<CallConnection>,
}

struct CallConnection {
    /// For answers, of which there is one at a time: a load generator has no limit of memory.
    budget: Arc<Budget>,
    calls: client::SendRequest<Bytes>,
    driver: Driver<client::Connection<Box<dyn Transmission>, Bytes>>,
}

impl Grpc {
    pub(super) fn new(settings: &SendSettings, dialer: Arc<Dialer>) -> Result<Self, SendError> {
        let (origin, method) = settings.target()?;
        let scheme = if origin.https { "https" } else { "http" };
        let uri = format!("{scheme}://{}{method}", origin.authority());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, ACCEPTED.clone());
        let coding = settings.compression.coding();
        if let Some(coding) = coding {
            headers.insert(ENCODING, HeaderValue::from_static(coding));
        }
        headers.extend(settings.headers.clone());
        let uri = uri.parse().map_err(|_| SendError::Endpoint)?;
        let (compressed, secrets) = (coding.is_some(), secrets(settings));
        Ok(Self { dialer, uri, headers, compressed, secrets, connection: None })
    }

    /// Sends the message `body` and waits for the end of the call; the number of records it says were rejected.
    pub(super) async fn attempt(&mut self, body: Bytes) -> Result<u64, Refusal> {
        // Not put back unless it can be used again, so that a timeout closes it.
        if let Some(mut connection) = self.connection.take()
            && connection.driver.is_open().await
        {
            match connection.call(self.request(), self.message(&body)).await {
                // The server takes no more calls on it.
                Err(CallError::Unsent(_)) => {}
                ended => return self.end(connection, ended),
            }
        }
        let mut connection = CallConnection::open(&self.dialer).await?;
        let ended = connection.call(self.request(), self.message(&body)).await;
        self.end(connection, ended)
    }

    fn end(
        &mut self,
        connection: CallConnection,
        ended: Result<CallAnswer, CallError>,
    ) -> Result<u64, Refusal> {
        let answered = ended.map_err(|_| SendFailure::Closed)?;
        self.connection = Some(connection);
        result(answered, &self.secrets)
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn message(&self, body: &Bytes) -> GrpcMessage<[Bytes; 1]> {
        GrpcMessage { chunks: [body.clone()], len: body.len() as u64, compressed: self.compressed }
    }
}

impl CallConnection {
    async fn open(dialer: &Dialer) -> Result<Self, SendFailure> {
        let handshake = client::Builder::new().enable_push(false).handshake(dialer.dial().await?);
        let (calls, driver) = handshake.await.map_err(|_| SendFailure::Connect)?;
        let budget = Arc::new(Budget::new(u64::MAX));
        Ok(Self { budget, calls, driver: Driver::new(driver) })
    }

    async fn call(
        &mut self,
        request: Request<()>,
        message: GrpcMessage<[Bytes; 1]>,
    ) -> Result<CallAnswer, CallError> {
        self.driver.drive(call(self.calls.clone(), request, message, None, &self.budget)).await
    }
}

fn result(answered: CallAnswer, secrets: &Secrets) -> Result<u64, Refusal> {
    let Some(end) = answered.end() else {
        let failure = match answered.status {
            StatusCode::OK => SendFailure::Code(Code::Unknown),
            status => SendFailure::Status(status.as_u16()),
        };
        return Err(failure.into());
    };
    let code = trailers::code(end);
    if code != Code::Ok {
        let (failure, retry_after) =
            (SendFailure::Code(code), trailers::retry_info(end).map(|info| info.delay()));
        note(failure, &trailers::message(end), secrets);
        return Err(Refusal { failure, retry_after });
    }
    // OK with a message that can't be read is a success all the same.
    let partial_success = answered.partial_success().unwrap_or_default().map(|partial| {
        ExportPartialSuccess { rejected: partial.rejected, error_message: partial.error_message }
    });
    Ok(taken(&ExportServiceResponse { partial_success }, secrets))
}
