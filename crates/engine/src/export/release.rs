//! What a release does beside ending a hold: streams that wait before their next attempt make it at once.
//!
//! Whoever has repaired an upstream, or has had it accept a token again, knows that before Sluice does. Waits between attempts grow, and
//! a stream that was refused for long would see it only when the one it is in is over.

use std::sync::Arc;

use super::circuit::Circuit;
use super::tenant_row::lacking_row;
use super::{Exporter, StreamHold};
use crate::stream::{StreamActivity, StreamName};

/// Streams of an exporter that waited before something was released.
#[derive(Debug)]
pub struct WaitingStreams {
    exporter: Arc<Exporter>,
    /// Whether any destination of the exporter is away, of which its streams ask none but by turns.
    any_is_away: bool,
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
    /// Those that are not tried, because their destination is away: one stream at a time asks for it, in its turn.
    pub away: usize,
}

impl WaitingStreams {
    /// The streams of an exporter that wait, as far as they `are_meant`. Looks at every stream.
    pub fn of(exporter: &Arc<Exporter>, are_meant: impl Fn(&StreamName) -> bool) -> Self {
        let any_is_away = any_is_away(exporter);
        let mut names = Vec::new();
        exporter.registry().scan(|stream| {
            if may_wait(stream.activity(), any_is_away) && are_meant(stream.name) {
                names.push(stream.name.clone());
            }
        });
        Self::named(exporter, any_is_away, names)
    }

    /// The stream of this name, if it waits.
    pub fn of_one(exporter: &Arc<Exporter>, name: &StreamName) -> Self {
        let any_is_away = any_is_away(exporter);
        let stream = exporter.registry().find(name);
        let stream = stream.filter(|stream| may_wait(stream.state().activity, any_is_away));
        Self::named(exporter, any_is_away, stream.map(|stream| stream.name().clone()))
    }

    fn named(
        exporter: &Arc<Exporter>,
        any_is_away: bool,
        names: impl IntoIterator<Item = StreamName>,
    ) -> Self {
        let waiting = names.into_iter().map(|name| {
            let was_held_by_somebody = is_held_by_somebody(exporter, &name);
            WaitingStream { name, was_held_by_somebody }
        });
        Self { exporter: exporter.clone(), any_is_away, waiting: waiting.collect() }
    }

    /// Has all of them make their next attempt, but for those that somebody still holds or that have no row to be sent by.
    pub fn try_now(self) -> ReleasedStreams {
        let Self { exporter, any_is_away, waiting } = self;
        let mut released = ReleasedStreams::default();
        for WaitingStream { name, was_held_by_somebody } in waiting {
            let Some(stream) = exporter.registry().find(&name) else { continue };
            let is_kept = is_held_by_somebody(&exporter, &name)
                || lacking_row(&exporter.tenants().table(), &stream).is_some();
            if is_kept {
                continue;
            }
            let is_away = any_is_away && is_away(&exporter, &name);
            // What only waits for its batch to fill needs nobody's release.
            if !is_away && !was_held_by_somebody && stream.state().activity == StreamActivity::Waiting {
                continue;
            }
            exporter.holds().end_time_of(&name);
            stream.try_now();
            *match (was_held_by_somebody, is_away) {
                (true, _) => &mut released.released,
                (false, true) => &mut released.away,
                (false, false) => &mut released.tried,
            } += 1;
        }
        // Once for all of them: each time, all who wait look again.
        exporter.holds().look_again();
        released
    }
}

impl ReleasedStreams {
    /// The sums of both counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            released: self.released + other.released,
            tried: self.tried + other.tried,
            away: self.away + other.away,
        }
    }
}

/// Whether a stream that does so may wait to be released, or for its turn to ask for a destination that is away. What waits for that is
/// told from what waits for its batch to fill by its destination alone.
fn may_wait(activity: StreamActivity, any_is_away: bool) -> bool {
    match activity {
        StreamActivity::Held | StreamActivity::BackingOff => true,
        StreamActivity::Waiting => any_is_away,
        StreamActivity::Idle | StreamActivity::Sending => false,
    }
}

/// Whether any destination of the exporter is away. Without retries each stream asks for it, whatever came of others' attempts.
fn any_is_away(exporter: &Exporter) -> bool {
    let active = exporter.active();
    let mut circuits = active.transport.circuits().into_iter();
    active.settings.retry.enabled && circuits.any(|(_, circuit)| circuit.open_since.is_some())
}

/// Whether the destination of a stream of this name is away.
fn is_away(exporter: &Exporter, name: &StreamName) -> bool {
    exporter.target(name).is_ok_and(|target| target.circuit().is_some_and(Circuit::is_open))
}

/// Whether an operator holds the stream, or the row of its tenant.
fn is_held_by_somebody(exporter: &Exporter, name: &StreamName) -> bool {
    exporter.is_held_by_row(name)
        || matches!(exporter.holds().over(name), Some(StreamHold::ByOperator { .. }))
}
