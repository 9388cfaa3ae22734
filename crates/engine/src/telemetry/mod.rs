//! Sluice's own telemetry, until it is sent by OTLP: spans of requests and attempts, and the lines of its log.
//!
//! [`OwnTelemetry`] decides which requests are traced, and keeps spans that have ended. A traced request is known by its
//! [`TraceContext`], which goes with its entries into their batches ([`BatchLinks`]), so that an attempt to send one can name
//! the requests in it. [`LogExport`] is beside the writer of the log and gets the same lines.
//!
//! Everything that waits to be sent is in a [`RecordBuffer`], which has a limit: what comes while it is full is counted and
//! forgotten, and nobody waits. While nothing is to be sent, a request costs one look at a flag, and so does a line of the log.
//!
//! No telemetry is made about own telemetry. Requests that carry it are known by [`INSTANCE_HEADER`]; an entry of it that others have sent
//! on is known by the `service.instance.id` of its resource ([`InstanceId`]). A request with nothing else has no span
//! ([`RequestTrace::OwnTelemetry`]), and what is logged about it, or about a stream that has got any, is
//! [withheld](LogScope::Withheld).
//!
//! The SDK of OpenTelemetry is not used: with its exporter it would bring a second HTTP client with a second way of TLS and of
//! certificates into a program that has one, and Sluice's metrics are counted elsewhere. What is here are three messages of
//! OTLP, which Sluice speaks anyway.

mod attribute;
mod batch_links;
mod encoded_request;
mod instance_id;
mod log_export;
mod own_telemetry;
mod record_buffer;
mod request_trace;
mod resource;
mod span;
mod trace_context;
mod trace_state;
mod trouble;

pub use attribute::{attribute, integer, text};
pub use batch_links::BatchLinks;
pub use encoded_request::encode_request;
pub use instance_id::InstanceId;
pub use log_export::{LogExport, LogScope, log_records};
pub use own_telemetry::{INSTANCE_HEADER, OwnTelemetry, TelemetryOutcome};
pub use record_buffer::RecordBuffer;
pub use request_trace::RequestTrace;
pub use resource::resource;
pub use span::{OpenSpan, SpanEnd};
pub use trace_context::{TRACEPARENT, TraceContext};
pub use trouble::TelemetryTrouble;

use std::time::SystemTime;

/// A moment as OTLP writes it.
pub fn unix_nanos(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
