//! The interface of what answers the requests of a listener.

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Incoming;

use super::connection_errors::ConnectionErrors;
use super::response::{HttpResponse, ResponseBody};
use super::settings::ListenerSettings;
use crate::stream::Budget;

/// The answer to requests for which there is no memory.
const NO_MEMORY: &str = "the memory limit is reached";

/// Answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        settings: &ListenerSettings,
        request: Request<Incoming>,
    ) -> impl Future<Output = HttpResponse> + Send;

    /// The budget that requests and answers are reserved on, as long as the connection holds them. Without it they are not counted.
    fn budget(&self) -> Option<&Arc<Budget>> {
        None
    }

    /// Answers a request for which there is no memory now.
    fn no_memory(&self, _: &ListenerSettings, _: &Parts) -> HttpResponse {
        let mut answer = Response::new(ResponseBody::from(Bytes::from_static(NO_MEMORY.as_bytes())));
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    }

    /// The counts of connection errors.
    fn connection_errors(&self) -> Option<&ConnectionErrors> {
        None
    }
}
