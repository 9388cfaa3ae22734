//! Sluice, an OTLP stream router.

fn main() {}
