//! Receivers: listeners, connections, OTLP/HTTP, OTLP/gRPC, decompression, and the way of a request into the queues.
//!
//! [`Intake::take`] is the one way in, whatever the transport: it splits a request, routes its entries and admits
//! them whole or not at all. The part of the configuration that it needs is in one immutable [`ConfigSnapshot`].

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
mod drain;
mod edited;
mod flow;
mod frames;
mod framing;
mod grpc;
mod handler;
mod head;
mod http;
mod intake;
mod json;
mod listener;
mod misdirected;
mod not_admitted;
mod opening;
mod otlp;
mod owner;
mod partition;
mod parts;
mod placing;
mod record_sample;
mod refusals;
mod remarks;
mod response;
mod sender;
mod settings;
mod snapshot;
mod status;
mod tally;
mod tls;
mod traced;
mod verdict;
mod watch;
mod whole_body;
mod workload;

#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use auth::check_credential;
pub use auth::{AuthFailure, AuthFailures, Authenticator, BearerTokens, HtpasswdUsers, WrongLine};
pub use body::Received;
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use body::check_decompression;
pub use caller::Caller;
pub use connection_errors::{ConnectionError, ConnectionErrors};
pub use counters::{Misdirection, ReceiveCounters, RequestOutcome, RequestTransport, TransportCounters};
pub use flow::{FlowEdge, FlowPaths, FlowTotals, FlowVolume, RequestFlow};
#[cfg(any(test, fuzzing, feature = "fuzzed"))]
pub use framing::check as check_framing;
pub use handler::Handler;
pub use head::wrong_host;
pub use intake::Intake;
pub use listener::{BoundListener, Leaving, Listener};
pub use otlp::Otlp;
pub use owner::Owner;
pub use record_sample::RecordSample;
pub use response::{HttpResponse, ResponseBody};
pub use sender::{ConnectionPeer, SenderIdentity};
pub use settings::{
    CorsSettings, Evicted, Http2Settings, ListenerSettings, MAX_CONCURRENT_STREAMS, Protocol,
};
pub use snapshot::{Acknowledge, ConfigSnapshot};
pub use tls::{TlsServer, TlsServerSettings};
pub use verdict::Verdict;
pub use whole_body::{UnreadBody, whole_body};

pub use crate::outcome::Outcome;
