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
mod behind;
mod budget;
mod decision;
mod durable;
mod figures;
mod group;
mod history;
mod in_flight;
mod line;
mod name;
mod newly_failing;
mod observer;
mod open;
mod own_hold;
mod queue;
mod reading;
mod receipt;
mod refused;
mod registry;
mod settings;
mod share;
#[cfg(test)]
mod tests;
mod unanswered;
mod wait;
mod withdraw;
mod writing;

pub use address::StreamAddress;
pub use admission::{Admission, Placement};
pub use attempts::StreamAttempt;
pub use batch::Batch;
pub use budget::{Budget, Reservation};
pub use decision::DecisionDetails;
pub use figures::ScannedStream;
pub use history::{Activity, History, LastError, Past};
pub use in_flight::InFlight;
pub use line::Patience;
pub use name::StreamName;
pub use newly_failing::NewlyFailing;
pub use observer::{AdmissionObserver, AdmittedEntry};
pub use own_hold::HeldBatch;
pub use queue::{Stream, StreamState};
pub use receipt::{Loss, Receipt};
pub use refused::{Full, Misplaced, Refused, Shed};
pub use registry::{Ending, IDLE, NoStream, Outlet, Registry, Shared, StreamCount};
pub use settings::{BatchSettings, QueueSettings, WhenFull};
pub use sluice_journal::NumberSet;
pub use unanswered::UnansweredAttempt;
pub use writing::Writing;
