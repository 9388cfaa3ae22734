//! Sluice, an OTLP stream router.
//!
//! | module | what happens there |
//! |---|---|
//! | [`config`] | compiles the YAML into the types that the engine's modules own |
//! | [`run`] | starts, reloads and stops the engine |
//! | [`explain`] | says what would become of a request |
//! | [`admin`] | shows the state of the engine to those whom [`access`] allows |
//! | [`cli`] | the command line |
//!
//! Data passes through the crate `sluice_engine`, whose modules are re-exported here; the crate [`otlp`] reads and edits its bytes.

pub mod access;
pub mod admin;
pub mod cli;
pub mod config;
pub mod explain;
mod first_commands;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod packed;
pub mod run;

pub use otlp;
pub use sluice_engine::{
    backoff, client, credentials, dead_letters, encoding, export, glob, journal, net, panics, query, receive,
    route, stream, tap, telemetry, tenants, utc, watches,
};
use sluice_engine::{
    byte_order_mark, descriptors, notice, regular, rename, rounded, rpc, secret_hash, terminal,
};
