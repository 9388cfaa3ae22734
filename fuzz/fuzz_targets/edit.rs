//! Edits of attributes against decoded messages, on any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::edit(input));
