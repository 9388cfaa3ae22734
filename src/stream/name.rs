//! Which stream of an exporter: the routing key, and the attribute values that the exporter's templates need.

use std::sync::Arc;

use crate::otlp::Signal;
use crate::route::{SEPARATOR, Values};

/// The name of a stream. Two entries of one exporter and signal share a stream if all of this is equal, so that
/// whatever a template makes of an entry, it makes of every entry of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName {
    signal: Signal,
    /// The key, then one value for each of `attributes`, each after a [`SEPARATOR`].
    identity: Arc<str>,
    attributes: Arc<[Box<str>]>,
}

/// The routing key in an identity.
pub fn routing_key(identity: &str) -> &str {
    identity.split(SEPARATOR).next().unwrap_or_default()
}

impl StreamName {
    /// A name from an identity as the routing table builds it.
    pub fn new(signal: Signal, identity: Arc<str>, attributes: Arc<[Box<str>]>) -> Self {
        Self { signal, identity, attributes }
    }

    /// The routing key.
    pub fn routing_key(&self) -> &str {
        routing_key(&self.identity)
    }

    /// The text that the registry finds the stream by.
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// The names of the attributes beside the key.
    pub fn attribute_names(&self) -> &Arc<[Box<str>]> {
        &self.attributes
    }

    /// The attribute values beside the key, as (name, value).
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|name| &**name).zip(self.identity.split(SEPARATOR).skip(1))
    }
}

impl Values for StreamName {
    fn key(&self) -> Option<&str> {
        Some(self.routing_key())
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn resource(&self, name: &str) -> Option<&str> {
        self.attributes().find_map(|(attribute, value)| (attribute == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_holds_the_key_and_every_attribute() {
        let names: Arc<[Box<str>]> = ["region".into(), "tier".into()].into();
        let name = StreamName::new(Signal::Logs, "key\0eu\0gold".into(), names);
        assert_eq!(name.routing_key(), "key");
        assert_eq!(name.resource("region"), Some("eu"));
        assert_eq!(name.resource("tier"), Some("gold"));
        assert_eq!(name.resource("other"), None);
    }
}
