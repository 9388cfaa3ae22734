//! The reader of OTLP/JSON on any bytes: what it takes is valid, and is written and read as the same again.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::json(input));
