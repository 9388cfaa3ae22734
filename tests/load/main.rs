//! `sluice send` and `sluice sink` against each other, and each against raw sockets and others.

mod faults;
mod grpc;
mod order;
mod raw;
mod send;
#[path = "../support/mod.rs"]
mod support;
