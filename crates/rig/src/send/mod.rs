//! `sluice send`: a load generator for OTLP/HTTP and OTLP/gRPC.
//!
//! It costs little beside what it measures: every connection has one encoded request, in which only numbers of fixed
//! width are overwritten before it is sent again. Every record says who sent it and which one it is, so that
//! `sluice sink` can prove that nothing was lost or overtaken.
//!
//! As a library it is [`Load`]: start it, wait for its end or stop it, and look at the [`Report`].

mod client;
mod load;
mod messages;
mod pace;
mod report;
mod sender;
mod settings;
mod streams;
mod template;

pub use load::Load;
pub use report::{Acknowledged, Latency, Report};
pub use settings::{SendCompression, SendEncoding, SendError, SendProtocol, SendSettings};
