//! The reader of credentials on any header: what it takes has the form that it is said to have.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::authorization(input));
