//! The reader of OTLP/JSON on any bytes: what it takes is valid, and is written and read as the same again.
//!
//! `cargo +nightly fuzz run json`

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::otlp::{Signal, oracle};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the signal, so that one corpus serves all three.
    let Some((first, json)) = bytes.split_first() else { return };
    oracle::check_json(Signal::ALL[*first as usize % Signal::ALL.len()], json);
});
