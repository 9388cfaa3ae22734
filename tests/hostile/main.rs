//! Attacks: input that nobody sends by accident. Each test starts the real program as a process of its own, attacks it over
//! real sockets, and measures what that costs it in memory and CPU for each byte on the wire ([`meter`]).
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod attacker;
mod decompression;
mod descriptors;
mod edits;
mod floods;
mod heads;
mod meter;
mod silence;
