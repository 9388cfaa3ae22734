//! A real Sluice with a journal that is killed, told to end, and run for long, between a real `sluice send` and an upstream
//! that fails in every way. What must have arrived, and what may have arrived twice, is counted, record by record.
//!
//! A process that is killed leaves everything to the kernel that it had written, synced or not. What a power cut leaves is
//! for the journal's model, on a simulated disk: `crates/journal/src/tests/model.rs`.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../support/mod.rs"]
mod support;

mod kill;
mod ledger;
mod run;
mod sender;
mod soak;
mod terminate;
mod upstream;
