//! Validator and splitter against prost and a plain walk, on any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::validate(input));
