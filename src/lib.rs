//! Sluice, an OTLP stream router.
//!
//! The house, in the order in which data walks through it:
//!
//! | room | what happens there |
//! |---|---|
//! | [`receive`] | listeners, HTTP, decompression, and the way of a request through the next three rooms |
//! | [`otlp`] | OTLP as bytes: schema tables, validation, splitting, OTLP/JSON |
//! | [`route`] | which stream an entry belongs to |
//! | [`journal`] | the durable queue on disk |
//! | [`stream`] | ordered queues, batches, the memory that they share |
//! | [`export`] | sending: transports, retries, dead letters |
//!
//! [`tenants`] is the table that says who may send and where it goes; all rooms read it, and count in it what becomes of
//! each tenant's records; it knows none of them but the signals of `otlp`.
//!
//! [`query`] is the language that records are looked for with, on the bytes of their entries; [`tap`] shows records as they are
//! admitted, and [`watches`] counts them. Both are told of admissions by [`stream`], and delay none.
//!
//! [`telemetry`] is what Sluice tells of itself by OTLP, until [`export`] sends it; whoever has something to tell uses it.
//!
//! [`net`] is the network below `receive` and `export`, [`config`] compiles the YAML into the types that these rooms own,
//! [`run`] starts, reloads and stops them, [`explain`] says what would become of a request, [`admin`] shows what they do to those whom [`access`] lets, and [`cli`] is the
//! command line. A room may use what is listed below `receive` and above itself, never the other way round; `receive` hands
//! a request on and so uses them all.

pub mod access;
pub mod admin;
mod byte_order_mark;
pub mod cli;
mod coding;
pub mod config;
mod descriptors;
pub mod explain;
pub mod export;
mod first_commands;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod glob;
pub mod journal;
pub mod net;
mod notice;
pub use otlp;
mod outcome;
pub mod panics;
mod pem;
pub mod query;
pub mod receive;
mod regular;
mod rename;
pub mod route;
mod rpc;
pub mod run;
mod secret_hash;
pub mod stream;
pub mod tap;
pub mod telemetry;
pub mod tenants;
mod terminal;
pub mod watches;
