//! Sending: one [`Exporter`] for each configured upstream, a [`Transport`] for each kind of upstream, and the loop that sends the
//! batches of one stream. Below it stand `client` (connections), `credentials` (`auth`), `backoff` and `dead_letters`, which know
//! nothing of streams.

mod answer;
mod attempt_span;
mod circuit;
mod conditions;
mod consumer;
mod consumers;
mod counters;
mod debug;
mod deliver;
mod division;
mod error;
mod exporter;
mod file;
mod grpc;
mod histogram;
mod holds;
mod http;
mod last_errors;
mod own_telemetry;
mod pieces;
mod release;
mod report;
mod settings;
mod status;
mod tenant_row;
mod transport;
mod turn;
mod unanswered;
mod undelivered_cause;
mod upstream;
mod valid_key;
mod waiter;

pub use self::grpc::call;
pub use self::grpc::{GrpcTarget, GrpcTransport, MAX_MESSAGE as MAX_GRPC_MESSAGE};
#[cfg(test)]
pub(crate) use self::http::tests::{exporter as exporter_settings, http_settings};
pub use self::http::{HttpTarget, HttpTransport};
pub use self::upstream::transport::FRAMING_HEADERS;
pub use answer::{Answer, AttemptOutcome};
pub use circuit::{Asker, Circuit, CircuitChange, CircuitState, Pass, Sign};
pub use conditions::Conditions;
pub use consumers::start;
pub use counters::ExporterCounters;
pub use debug::{DebugTarget, DebugTransport};
pub use deliver::TENANT_REMOVED;
pub use error::{TargetError, TransportError};
pub use exporter::{Active, DeadLetterBox, Exporter, store_dead_letter_at};
pub use file::MAX_OPEN as MOST_OPEN_FILES;
pub use file::{FileTarget, FileTransport};
pub use histogram::{Histogram, HistogramCounts};
pub use holds::{HoldScope, Holds, OperatorHold, ShownHold, StreamHold};
pub use last_errors::LastErrors;
pub use own_telemetry::TelemetryUpstream;
pub use release::{ReleasedStreams, WaitingStreams};
pub use settings::{
    Compression, DebugSettings, ExporterKind, ExporterSettings, FileSettings, OtlpGrpcSettings,
    OtlpHttpSettings, SecretTemplate, TelemetrySettings, UpstreamSettings,
};
pub use status::{StatusAction, Statuses, TimedAction};
pub use tenant_row::{WithRow, alternatives};
pub use transport::{Target, Transport};
pub use turn::Turn;
pub use undelivered_cause::UndeliveredCause;
pub use valid_key::ValidKey;

pub use crate::outcome::Fate;
