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
mod bound;
mod budget;
mod buffers;
mod decision;
mod due_times;
mod figures;
mod group;
mod handle;
mod history;
mod in_flight;
mod journal_place;
mod ledger;
mod line;
mod name;
mod newly_failing;
mod observer;
mod own_hold;
mod queue;
mod read_ahead;
mod reading_room;
mod receipt;
mod refused;
mod registry;
mod settings;
#[cfg(test)]
mod tests;
mod unanswered;
mod wait;
mod writing;

pub use address::StreamAddress;
pub use admission::{Admission, Placement};
pub use attempts::StreamAttempt;
pub use batch::Batch;
pub use budget::{Budget, Reservation};
pub use decision::DecisionDetails;
pub use figures::ScannedStream;
pub use handle::{HeldBatch, Stream, StreamState, UnansweredAttempt};
pub use history::{Activity, History, LastError, Past};
pub use in_flight::InFlight;
pub use ledger::Loss;
pub use line::Patience;
pub use name::StreamName;
pub use newly_failing::NewlyFailing;
pub use observer::{AdmissionObserver, AdmittedEntry};
pub use receipt::Receipt;
pub use refused::{Full, Misplaced, Refused, Shed};
pub use registry::{Ending, IDLE, NoStream, Outlet, Registry, Shared, StreamCount};
pub use settings::{BatchSettings, QueueSettings, WhenFull};
pub use writing::Writing;

pub use crate::journal::NumberSet;
