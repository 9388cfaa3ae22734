//! The reader of queries, on any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::query(input));
