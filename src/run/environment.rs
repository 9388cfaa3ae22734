//! What a router needs before it starts, and keeps through every configuration.

use super::listeners::Serve;
use crate::config::Source;
use crate::journal::{Journal, Recovery};
use crate::net::Network;

/// What a router needs before it starts, and keeps through every configuration.
pub struct RouterEnvironment {
    /// Where later configurations come from.
    pub source: Source,
    /// Looks up an environment variable for them.
    pub env: fn(&str) -> Option<String>,
    /// Puts its listeners to work.
    pub serve: Serve,
    /// Where they listen, and its exporters connect.
    pub network: Network,
    /// The journal that the configuration names, and what was in it.
    pub journal: Option<(Journal, Recovery)>,
}
