//! `sluice sink`: a receiving upstream that counts, checks order, and can be told to fail.
//!
//! The same code serves tests and benches as a library: start a [`Sink`], give it a [`Fault`], look at its
//! [`Counts`]. It reads OTLP/HTTP, protobuf and JSON, over HTTP/1.1 and HTTP/2, on any path that ends in a signal's
//! name, and OTLP/gRPC on the same port; with TLS or without; bodies in gzip, zstd, deflate or as they are. It does not
//! validate protobuf; that is left to Sluice.

mod body;
mod connection;
mod counts;
mod fault;
mod order;
mod serve;
mod server;
mod state;
mod walk;

pub use counts::{Counts, RecordsBySignal, StreamCounts};
pub use fault::{Fault, RetryAfter};
pub use server::{NotInTime, Sink, SinkError, SinkSettings};
pub use state::RecordedRequest;
