//! The reader of rows of the table of tenants on any bytes: it ends, shows no secret, and what it takes can be used.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::rows(input));
