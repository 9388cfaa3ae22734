//! What comes in: listeners, connections, OTLP/HTTP, OTLP/gRPC, decompression, and the way of a request into the queues.
//!
//! [`Intake::take`] is the one way in, whatever the transport: it splits a request, routes its entries and admits
//! them whole or not at all. What it needs from the configuration is in one immutable [`Snapshot`].

mod acknowledge;
mod admit;
mod answer;
mod aside;
mod auth;
mod body;
mod caller;
mod charge;
mod connection;
mod connection_errors;
mod copy;
mod cors;
mod counters;
mod edited;
mod flow;
mod frames;
mod grpc;
mod head;
mod http;
mod intake;
mod json;
mod listener;
mod not_admitted;
mod opening;
mod otlp;
mod owner;
mod partition;
mod parts;
mod record_sample;
mod refusals;
mod remarks;
mod room;
mod settings;
mod status;
mod tally;
mod tls;
mod traced;
mod watch;
mod whole_body;

pub use acknowledge::Acknowledge;
pub use answer::AnswerBody;
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use auth::check_credential;
pub use auth::{
    AuthFailure, AuthFailures, Authenticator, BearerTokens, HtpasswdUsers, SenderIdentity, WrongLine,
};
pub use body::Received;
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use body::check_decompression;
pub use caller::Caller;
pub use caller::Peer;
pub use connection_errors::{ConnectionError, ConnectionErrors};
pub use counters::{Answered, Counters, Misdirection, Transport, TransportCounters};
pub use flow::{FlowEdge, FlowPaths, FlowTotals, FlowVolume, RequestFlow};
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use grpc::framing::check as check_framing;
pub use head::wrong_host;
pub use intake::{Intake, Snapshot, Verdict};
pub use listener::{Answer, Bound, Handler, Leaving, Listener};
pub use otlp::Otlp;
pub use owner::Owner;
pub use record_sample::RecordSample;
pub use settings::{CorsSettings, Http2Settings, ListenerSettings, MAX_CONCURRENT_STREAMS, Protocol};
pub use tls::{TlsServer, TlsServerSettings};
pub use watch::Evicted;
pub use whole_body::{UnreadBody, whole_body};

pub use crate::outcome::Outcome;
