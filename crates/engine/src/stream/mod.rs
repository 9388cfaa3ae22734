//! Ordered queues: one stream for each (exporter, signal, routing key).
//!
//! A request is admitted in two steps ([`Admission`]): bytes are reserved on the global [`Budget`] and on every
//! stream it touches, and only if all of that holds its entries are appended. A [`Stream`] copies each entry once,
//! into the batch that it has open, and hands closed batches to its exporter in order. What is sent, and how often,
//! is not decided here.

mod address;
mod admission;
mod attempts;
mod batch;
mod body_memory;
mod budget;
mod buffers;
mod context;
mod decision;
mod due_times;
mod engine_state;
mod figures;
mod full;
mod group;
mod handle;
mod history;
mod in_flight;
mod journal_place;
mod ledger;
mod limit;
mod name;
mod newly_failing;
mod observer;
mod own_hold;
mod queue;
mod read_ahead;
mod read_memory;
mod receipt;
mod refused;
mod registry;
mod settings;
mod stream_count;
mod stream_map;
mod stream_word;
#[cfg(test)]
mod tests;
mod unanswered;
mod wait_queue;
mod writing;

pub use address::StreamAddress;
pub use admission::{Admission, Placement};
pub use attempts::StreamAttempt;
pub use batch::Batch;
pub use budget::{Budget, Reservation};
pub use context::{Outlet, StreamContext};
pub use decision::DecisionDetails;
pub use engine_state::EngineState;
pub use figures::ScannedStream;
pub use full::Full;
pub use handle::{HeldBatch, Stream, StreamState, UnansweredAttempt};
pub use history::{History, LastError, Past, StreamActivity};
pub use in_flight::InFlight;
pub use ledger::Loss;
pub use name::StreamName;
pub use newly_failing::NewlyFailing;
pub use observer::{AdmissionObserver, AdmittedEntry};
pub use receipt::Receipt;
pub use refused::{Misplaced, Refused, Shed};
pub use registry::{IDLE, PendingShed, Registry};
pub use settings::{BatchSettings, QueueSettings, WhenFull};
pub use stream_count::{NoStream, StreamCount};
pub use wait_queue::Patience;
pub use writing::Writing;

pub use crate::journal::NumberSet;

/// What a test replaces to try steps of several threads in many orders.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    pub(super) use dashmap::DashMap;
    pub(super) use parking_lot::Mutex;
    pub(super) use tokio::time::timeout_at;
}
