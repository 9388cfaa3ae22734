//! Streams that have begun to fail, for whoever wants to know of those and can't look at a million streams to find them.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::StreamAddress;

/// Streams that are noted until somebody takes them: of more nothing is told. A name takes 5 KiB at most, if its key has
/// eight parts, and shares them with its stream while that lives.
const MOST: usize = 1_000;

/// Streams that have begun to fail since somebody last asked.
#[derive(Debug, Default)]
pub struct NewlyFailing(Mutex<HashSet<StreamAddress>>);

impl NewlyFailing {
    /// Notes a stream.
    pub(super) fn note(&self, stream: StreamAddress) {
        let mut noted = self.0.lock();
        if noted.len() < MOST {
            noted.insert(stream);
        }
    }

    /// Takes what was noted.
    pub fn take(&self) -> HashSet<StreamAddress> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RoutingKey;
    use crate::stream::StreamName;
    use otlp::Signal;

    #[test]
    fn each_stream_is_told_once_and_no_more_than_there_is_room_for() {
        let failing = NewlyFailing::default();
        let stream = |number: usize| StreamAddress {
            exporter: "up".into(),
            name: StreamName { signal: Signal::Logs, key: RoutingKey::written(number.to_string()) },
        };
        for _ in 0..3 {
            failing.note(stream(0));
        }
        assert_eq!(failing.take(), HashSet::from([stream(0)]));
        for number in 0..2 * MOST {
            failing.note(stream(number));
        }
        assert_eq!(failing.take().len(), MOST);
        assert!(failing.take().is_empty());
    }
}
