//! A real Sluice with a journal that is killed, stopped, starved of disk and run for long, between a real `sluice send` and
//! an upstream that fails in every way. What must have arrived, and what may have arrived twice, is counted, record by
//! record.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../support/mod.rs"]
mod support;

mod kill;
mod ledger;
mod sender;
mod upstream;
