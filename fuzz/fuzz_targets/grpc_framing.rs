//! The framing of gRPC messages, read in pieces and at once, on any bytes.
//!
//! `cargo +nightly fuzz run grpc_framing`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (body, cuts) = input;
    sluice::receive::check_framing(body, cuts);
});
