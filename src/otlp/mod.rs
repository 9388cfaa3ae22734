//! OTLP as bytes: the signals, the schema tables, and the walks over encoded messages.

mod signal;

pub use signal::Signal;
