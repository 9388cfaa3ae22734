//! What a sink has received and how it has been told to answer: its handle and its connections share it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::SinkCounters;
use super::fault::Faults;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Always `POST`, unless it was refused for that.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came, of a gRPC call its message; empty if it was refused unread.
    pub wire_body: Bytes,
    /// The body after decompression, as protobuf.
    pub body: Bytes,
    /// When its head had arrived.
    pub arrived: Instant,
    /// When its answer was decided, and its records counted if they were taken.
    pub decided: Instant,
    /// The status of the answer, of a gRPC call the one that its code stands for; `None` if a fault left it without one.
    pub answered: Option<StatusCode>,
}

/// What the sink's handle and its connections share.
#[derive(Debug)]
pub(super) struct SinkState {
    /// The resource attribute whose value is the routing key.
    pub(super) attribute: String,
    pub(super) counters: SinkCounters,
    pub(super) faults: Faults,
    /// Every request so far, if they are recorded.
    pub(super) requests: Option<Mutex<Vec<RecordedRequest>>>,
    /// Signalled after every request.
    pub(super) changed: Notify,
}
