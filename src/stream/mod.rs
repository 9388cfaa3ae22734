//! Ordered queues.

mod batch;
mod settings;

pub use batch::Batch;
pub use settings::{BatchSettings, QueueSettings, WhenFull};
