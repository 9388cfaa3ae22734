//! What OTLP can be tried and measured with: [`send`] makes load, [`sink`] is an upstream that counts it and can be told to fail.
//!
//! Every record that is sent has its sender's name and a number, so that what arrives shows what was lost, repeated or overtaken on
//! its way. Both speak OTLP/HTTP, in protobuf and JSON, and OTLP/gRPC, with TLS or without. They are the commands `sluice send` and
//! `sluice sink`, and the two ends of Sluice's own tests and benches.

mod answer;
pub mod send;
mod sequence;
pub mod sink;
