//! What comes in: listeners, connections, OTLP/HTTP, decompression, and the way of a request into the queues.
//!
//! [`Intake::take`] is the one way in, whatever the transport: it splits a request, routes its entries and admits
//! them whole or not at all. What it needs from the configuration is in one immutable [`Snapshot`].

mod body;
mod cors;
mod counters;
mod http;
mod intake;
mod json;
mod listener;
mod settings;
mod status;
mod watch;

pub use body::Received;
pub use counters::{Counters, Misdirection, Outcome};
pub use http::OtlpHttp;
pub use intake::{Intake, Snapshot, Verdict};
pub use listener::{Answer, Bound, Handler, Listener};
pub use settings::{CorsSettings, ListenerSettings};
