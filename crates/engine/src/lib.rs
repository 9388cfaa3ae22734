//! The way of the data through Sluice, in the order in which it is taken:
//!
//! | module | what happens there |
//! |---|---|
//! | [`receive`] | listeners, HTTP, decompression, and the way of a request through the next three modules |
//! | [`route`] | which stream an entry belongs to |
//! | [`stream`] | ordered queues, batches, the memory that they share |
//! | [`export`] | sending: transports, retries, dead letters |
//!
//! [`tenants`] is the table that says who may send and where it goes; all modules read it, and count in it what becomes of
//! each tenant's records; it knows none of them but the signals of [`otlp`].
//!
//! [`query`] is the language that records are looked for with, on the bytes of their entries; [`tap`] shows records as they are
//! admitted, and [`watches`] counts them. Both are told of admissions by [`stream`], and delay none.
//!
//! [`telemetry`] is what Sluice tells of itself by OTLP, until [`export`] sends it; whoever has something to tell uses it.
//! [`net`] is the network below [`receive`] and [`export`].
//!
//! Exporters stand on [`client`], which opens connections to servers, [`credentials`], which makes the header that authenticates a
//! request, [`backoff`], which says how long to wait before another attempt, and [`dead_letters`], the directory of what no upstream
//! takes. None of these uses [`export`].
//!
//! In the table, a module uses those above it and never those below; [`receive`] alone uses them all, since it hands requests on.
//! The other modules are small helpers of all of these. What reads configurations, starts, reloads, shows and stops all this is the
//! crate `sluice`.

pub mod backoff;
pub mod byte_order_mark;
pub mod client;
pub mod coding;
pub mod credentials;
pub mod dead_letters;
pub mod descriptors;
pub mod encoding;
pub mod export;
pub mod glob;
pub mod net;
mod outcome;
pub mod panics;
pub mod pem;
pub mod query;
pub mod receive;
pub mod regular;
pub mod rename;
pub mod rounded;
pub mod route;
pub mod rpc;
pub mod secret_hash;
pub mod stream;
pub mod tap;
pub mod telemetry;
pub mod tenants;
pub mod terminal;
pub mod utc;
pub mod watches;

pub use sluice_journal as journal;
pub use sluice_notice as notice;
