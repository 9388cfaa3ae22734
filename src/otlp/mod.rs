//! OTLP as bytes: the signals, the schema tables, and the walks over encoded messages.

mod cut;
mod fault;
mod locate;
mod piece;
mod schema;
mod signal;
mod split;
mod validate;
mod wire;

pub use cut::Cut;
pub use fault::{Fault, Reason};
pub use signal::Signal;
pub use split::{Entry, Malformed, Split, split};
pub use validate::validate;
pub use wire::{frame_len, put_frame};
