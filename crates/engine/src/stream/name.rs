//! Which stream of an exporter.

use crate::route::{RoutingKey, Values};
use otlp::Signal;

/// The name of a stream among those of its exporter. Nothing beside it decides how an entry is sent: whatever a template
/// makes of an entry, it makes of every entry of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// The signal of its entries.
    pub signal: Signal,
    /// What names it among those of its signal.
    pub key: RoutingKey,
}

impl Values for StreamName {
    fn key(&self) -> Option<&RoutingKey> {
        Some(&self.key)
    }

    fn signal(&self) -> Signal {
        self.signal
    }
}
