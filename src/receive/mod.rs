//! What comes in.

mod settings;

pub use settings::{CorsSettings, ListenerSettings};
