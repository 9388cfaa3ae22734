//! What a release does beside ending a hold: streams that wait before their next attempt make it at once.
//!
//! Whoever has repaired an upstream, or has had it accept a token again, knows that before Sluice does. Waits between attempts grow, and
//! a stream that was refused for long would see it only when the one it is in is over.

use std::sync::Arc;

use super::tenant_row::lacking_row;
use super::{Exporter, StreamHold};
use crate::stream::{Activity, StreamName};

/// Streams of an exporter that waited before something was released.
#[derive(Debug)]
pub struct WaitingStreams {
    exporter: Arc<Exporter>,
    waiting: Vec<WaitingStream>,
}

#[derive(Debug)]
struct WaitingStream {
    name: StreamName,
    /// Whether an operator or the row of its tenant has kept it from being sent.
    was_held_by_somebody: bool,
}

/// How many streams go on since something was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleasedStreams {
    /// Those that an operator or the row of their tenant held, and that nothing of the kind holds any more.
    pub released: usize,
    /// The others: those that were held for an answer, or waited to repeat an attempt. Of those that are held for the answer to
    /// another stream one alone tries, and the others go on once that is taken.
    pub tried: usize,
}

impl WaitingStreams {
    /// The streams of an exporter that wait, as far as they `are_meant`. Looks at every stream.
    pub fn of(exporter: &Arc<Exporter>, are_meant: impl Fn(&StreamName) -> bool) -> Self {
        let mut names = Vec::new();
        exporter.registry().scan(|stream| {
            if is_waiting(stream.activity()) && are_meant(stream.name) {
                names.push(stream.name.clone());
            }
        });
        Self::named(exporter, names)
    }

    /// The stream of this name, if it waits.
    pub fn of_one(exporter: &Arc<Exporter>, name: &StreamName) -> Self {
        let stream = exporter.registry().find(name).filter(|stream| is_waiting(stream.state().activity));
        Self::named(exporter, stream.map(|stream| stream.name().clone()))
    }

    fn named(exporter: &Arc<Exporter>, names: impl IntoIterator<Item = StreamName>) -> Self {
        let waiting = names.into_iter().map(|name| {
            let was_held_by_somebody = is_held_by_somebody(exporter, &name);
            WaitingStream { name, was_held_by_somebody }
        });
        Self { exporter: exporter.clone(), waiting: waiting.collect() }
    }

    /// Has all of them make their next attempt, but for those that somebody still holds or that have no row to be sent by.
    pub fn try_now(self) -> ReleasedStreams {
        let Self { exporter, waiting } = self;
        let mut released = ReleasedStreams::default();
        for WaitingStream { name, was_held_by_somebody } in waiting {
            let Some(stream) = exporter.registry().find(&name) else { continue };
            let is_kept = is_held_by_somebody(&exporter, &name)
                || lacking_row(&exporter.tenants().table(), &stream).is_some();
            if is_kept {
                continue;
            }
            exporter.holds().end_time_of(&name);
            stream.try_now();
            let count = if was_held_by_somebody { &mut released.released } else { &mut released.tried };
            *count += 1;
        }
        // Once for all of them: each time, all who wait look again.
        exporter.holds().look_again();
        released
    }
}

impl ReleasedStreams {
    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { released: self.released + other.released, tried: self.tried + other.tried }
    }
}

fn is_waiting(activity: Activity) -> bool {
    matches!(activity, Activity::Held | Activity::BackingOff)
}

/// Whether an operator holds the stream, or the row of its tenant.
fn is_held_by_somebody(exporter: &Exporter, name: &StreamName) -> bool {
    exporter.is_held_by_row(name)
        || matches!(exporter.holds().over(name), Some(StreamHold::ByOperator { .. }))
}
