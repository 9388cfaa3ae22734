//! Requests to the server, by HTTP or gRPC, and the results that one can have.

mod connection;
mod grpc;
mod http;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use tracing::warn;

use self::grpc::Grpc;
use self::http::Http;
use super::settings::{SendError, SendProtocol, SendSettings};
use crate::answer::ExportServiceResponse;
use sluice_engine::client::{DialError, Dialer, Secrets};
use sluice_engine::notice;
use sluice_engine::rpc::Code;

/// Why a request was not taken, or is not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SendFailure {
    /// There was no connection.
    Connect,
    /// There was one, but no TLS on it: mostly a certificate that is not trusted.
    Tls,
    /// The connection ended before the answer.
    Closed,
    /// There was no answer in time.
    Timeout,
    /// The answer is no 2xx.
    Status(u16),
    /// The call ended otherwise than with OK.
    Code(Code),
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Tls => f.write_str("tls"),
            Self::Closed => f.write_str("closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Code(code) => f.write_str(code.name()),
        }
    }
}

impl SendFailure {
    /// Whether the server may have taken the request all the same: neither it nor a proxy that asked it says that it
    /// has not.
    pub(super) fn may_have_arrived(self) -> bool {
        match self {
            Self::Connect | Self::Tls => false,
            Self::Closed | Self::Timeout => true,
            Self::Status(status) => status >= 500 && status != 503,
            Self::Code(code) => !matches!(
                code,
                Code::InvalidArgument
                    | Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::Unimplemented
                    | Code::ResourceExhausted
                    | Code::Unavailable
            ),
        }
    }
}

impl From<DialError> for SendFailure {
    fn from(error: DialError) -> Self {
        // The report has only one word for the cause.
        if let Some(suppressed) = notice::due("send", "dial") {
            warn!(suppressed, "{error}");
        }
        match error {
            DialError::Connect { .. } | DialError::Proxy { .. } | DialError::Descriptors { .. } => {
                Self::Connect
            }
            DialError::Handshake { .. } | DialError::Tls(_) => Self::Tls,
        }
    }
}

/// A failure, and how long the server asked to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) failure: SendFailure,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether sending it again makes sense (rules 17, 18 and 39).
    pub(super) fn is_retryable(self) -> bool {
        match self.failure {
            SendFailure::Connect | SendFailure::Tls | SendFailure::Closed | SendFailure::Timeout => true,
            SendFailure::Status(status) => matches!(status, 429 | 502 | 503 | 504),
            SendFailure::Code(Code::ResourceExhausted) => self.retry_after.is_some(),
            SendFailure::Code(code) => code.is_retryable(),
        }
    }
}

impl From<SendFailure> for Refusal {
    fn from(failure: SendFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// Logs the message of a server that does not take a request, or not all of it: the report has only one word for the cause.
fn note(what: impl fmt::Display, said: &str, secrets: &Secrets) {
    let said = secrets.clean(said);
    if !said.is_empty()
        && let Some(suppressed) = notice::due("send", "answer")
    {
        warn!(suppressed, "the server answers {what}: {said}");
    }
}

/// The number of records that a server which takes a request says it has rejected.
fn taken(response: &ExportServiceResponse, secrets: &Secrets) -> u64 {
    if let Some(partial) = &response.partial_success {
        note("with partial success", &partial.error_message, secrets);
    }
    response.rejected()
}

/// The values of the configured headers, which a server may echo in its messages and which must not be logged.
fn secrets(settings: &SendSettings) -> Secrets {
    let mut secrets = Secrets::default();
    settings.headers.values().filter_map(|value| value.to_str().ok()).for_each(|value| secrets.add(value));
    secrets
}

/// How connections are made: one for all clients of a run.
pub(super) fn dialer(settings: &SendSettings) -> Result<Arc<Dialer>, SendError> {
    let protocol: &'static [u8] = match settings.protocol {
        SendProtocol::Http => b"http/1.1",
        SendProtocol::Grpc => b"h2",
    };
    let (origin, _) = settings.target()?;
    Ok(Arc::new(Dialer::new(origin, settings.tls.clone(), protocol, settings.timeout)?))
}

/// One connection, opened again when it has ended, and requests on it.
pub(super) struct Client {
    protocol: ClientProtocol,
    timeout: Duration,
}

enum ClientProtocol {
    Http(Box<Http>),
    Grpc(Box<Grpc>),
}

impl Client {
    pub(super) fn new(settings: &SendSettings, dialer: &Arc<Dialer>) -> Result<Self, SendError> {
        let dialer = Arc::clone(dialer);
        let protocol = match settings.protocol {
            SendProtocol::Http => ClientProtocol::Http(Box::new(Http::new(settings, dialer)?)),
            SendProtocol::Grpc => ClientProtocol::Grpc(Box::new(Grpc::new(settings, dialer)?)),
        };
        Ok(Self { protocol, timeout: settings.timeout })
    }

    /// Sends `body` and waits for the answer; the number of records it says were rejected.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<u64, Refusal> {
        let attempt = async {
            match &mut self.protocol {
                ClientProtocol::Http(http) => http.attempt(body).await,
                ClientProtocol::Grpc(grpc) => grpc.attempt(body).await,
            }
        };
        tokio::time::timeout(self.timeout, attempt).await.unwrap_or(Err(SendFailure::Timeout.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_17_and_18_say_which_calls_are_sent_again() {
        let is_retryable =
            |code, retry_after| Refusal { failure: SendFailure::Code(code), retry_after }.is_retryable();
        for code in [Code::Unavailable, Code::Aborted, Code::OutOfRange, Code::DataLoss] {
            assert!(is_retryable(code, None), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Unauthenticated, Code::Internal, Code::Unknown] {
            assert!(!is_retryable(code, Some(Duration::ZERO)), "{code:?}");
        }
        assert!(!is_retryable(Code::ResourceExhausted, None));
        assert!(is_retryable(Code::ResourceExhausted, Some(Duration::ZERO)));
    }
}
