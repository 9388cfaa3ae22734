//! What names a stream among those of all exporters.

use std::sync::Arc;

use super::StreamName;
use crate::journal::StreamKey;
use crate::route::RoutingKey;
use otlp::Signal;

/// Which stream of which exporter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamAddress {
    /// The exporter's name in the configuration.
    pub exporter: Arc<str>,
    /// The name among its streams.
    pub name: StreamName,
}

impl StreamAddress {
    /// As the journal keeps it: one byte for the signal, then exporter and routing key, each behind its length in 32 bits, little-endian.
    pub fn to_journal(&self) -> StreamKey {
        let mut bytes = vec![self.name.signal.index() as u8];
        for text in [&*self.exporter, self.name.key.as_written()] {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        StreamKey::from(&*bytes)
    }

    /// What the journal kept; `None` if it is not the address of a stream.
    pub fn of_journal(key: &StreamKey) -> Option<Self> {
        let (signal, mut rest) = key.as_bytes().split_first()?;
        let mut text = || {
            let (length, behind) = rest.split_first_chunk()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            std::str::from_utf8(text).ok()
        };
        let (exporter, key) = (text()?, text()?);
        let name =
            StreamName { signal: *Signal::ALL.get(usize::from(*signal))?, key: RoutingKey::written(key) };
        rest.is_empty().then(|| Self { exporter: exporter.into(), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_back_as_it_was_written() {
        let name = StreamName { signal: Signal::Metrics, key: RoutingKey::written("\0kéy\0eu") };
        let address = StreamAddress { exporter: "otlp_http/s2".into(), name };
        let key = address.to_journal();
        assert_eq!(StreamAddress::of_journal(&key), Some(address));
        let bytes = key.as_bytes();
        assert_eq!((bytes[0], &bytes[1..5]), (Signal::Metrics.index() as u8, &[12, 0, 0, 0][..]));
        for length in 0..bytes.len() {
            assert_eq!(StreamAddress::of_journal(&StreamKey::from(&bytes[..length])), None);
        }
        assert_eq!(StreamAddress::of_journal(&StreamKey::from(&*[bytes, b"x"].concat())), None);
    }
}
