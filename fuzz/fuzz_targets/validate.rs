//! Validator and splitter against prost and the plain walk of `sluice::otlp::oracle`, on any bytes.
//!
//! `cargo +nightly fuzz run validate`

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::otlp::{self, Signal, oracle};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the signal, so that one corpus serves all three.
    let Some((first, request)) = bytes.split_first() else { return };
    let signal = Signal::ALL[*first as usize % Signal::ALL.len()];
    oracle::check(signal, request);
    if otlp::validate(signal, request).is_ok() {
        let mut json = Vec::new();
        otlp::write_request(signal, &[request], &mut json);
        let text = std::str::from_utf8(&json).expect("JSON is UTF-8");
        assert!(text.starts_with('{') && text.ends_with('}'));
    }
});
