//! Decompression of gzip, zlib, zstd, snappy and LZ4, in pieces and at once, on any bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sluice::fuzzed::decompression(input));
