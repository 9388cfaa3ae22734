//! Streams that have begun to fail, for whoever wants to know of those and can't look at a million streams to find them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::StreamName;

/// Streams that are noted until somebody takes them: of more nothing is told. A name takes some 2 KiB at most.
const MOST: usize = 1_000;

/// Streams that have begun to fail since somebody last asked.
#[derive(Debug, Default)]
pub struct NewlyFailing(Mutex<HashSet<(Arc<str>, StreamName)>>);

impl NewlyFailing {
    /// Notes a stream of this exporter.
    pub(super) fn note(&self, exporter: &Arc<str>, name: &StreamName) {
        let mut noted = self.0.lock();
        if noted.len() < MOST {
            noted.insert((exporter.clone(), name.clone()));
        }
    }

    /// Takes what was noted.
    pub fn take(&self) -> HashSet<(Arc<str>, StreamName)> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RoutingKey;
    use otlp::Signal;

    #[test]
    fn each_stream_is_told_once_and_no_more_than_there_is_room_for() {
        let (failing, up): (_, Arc<str>) = (NewlyFailing::default(), "up".into());
        let name =
            |number: usize| StreamName { signal: Signal::Logs, key: RoutingKey::written(number.to_string()) };
        for _ in 0..3 {
            failing.note(&up, &name(0));
        }
        assert_eq!(failing.take(), HashSet::from([(up.clone(), name(0))]));
        for number in 0..2 * MOST {
            failing.note(&up, &name(number));
        }
        assert_eq!(failing.take().len(), MOST);
        assert!(failing.take().is_empty());
    }
}
