//! Starting what sends: one task for each stream of an exporter that has something to send.

use std::pin::pin;
use std::sync::{Arc, Weak};

use super::consumer::Consumer;
use super::deliver::Consumed;
use super::exporter::{Active, DeadLetterBox, Exporter};
use super::tenant_row::is_given_up;
use super::turn::{Turn, Turns};
use super::waiter::Waiter;
use super::{Fate, deliver};
use crate::stream::{EngineState, Outlet, Stream, StreamName};

/// Starts an exporter of this name, which sends from now on.
pub fn start(
    name: Arc<str>,
    active: Active,
    shared: Arc<EngineState>,
    dead_letters: DeadLetterBox,
) -> Arc<Exporter> {
    let exporter = Arc::new(Exporter::new(name, active, shared, dead_letters));
    exporter.registry().attach(Box::new(Consumers(Arc::downgrade(&exporter))));
    exporter
}

/// Starts consumers; the registry outlives no exporter, but must not keep one alive either.
#[derive(Debug)]
struct Consumers(Weak<Exporter>);

impl Outlet<Stream> for Consumers {
    fn check(&self, name: &StreamName) -> Result<(), String> {
        let Some(exporter) = self.0.upgrade() else { return Ok(()) };
        match exporter.target(name) {
            // The row is at fault, not the entry: it waits until the row is put right.
            Err(error) if error.is_of_row() && name.key.tenant().is_some() => Ok(()),
            target => target.map(drop).map_err(|error| error.to_string()),
        }
    }

    fn start(&self, stream: Arc<Stream>) {
        if let Some(exporter) = self.0.upgrade() {
            start_consumer(exporter, stream);
        }
    }

    fn count_lost(&self, name: &StreamName, records: u64) {
        if let Some(exporter) = self.0.upgrade() {
            exporter.count(name, Fate::Dropped, records);
        }
    }

    fn count_withdrawn(&self, name: &StreamName, records: u64) {
        if let Some(exporter) = self.0.upgrade() {
            exporter.withdraw(name, records);
        }
    }
}

/// Starts one more consumer of a stream, at once while the exporter has few.
fn start_consumer(exporter: Arc<Exporter>, stream: Arc<Stream>) {
    if exporter.has_many_consumers() {
        tokio::spawn(consume_in_turn(exporter, stream));
    } else {
        tokio::spawn(consume(Consumer::new(exporter, stream, Turn::default())));
    }
}

/// Has a consumer begin when it is its turn. All of it is one future, in which nothing has its room twice: there may be a million.
#[expect(clippy::manual_async_fn, reason = "an async function would have room for each parameter twice")]
fn consume_in_turn(exporter: Arc<Exporter>, stream: Arc<Stream>) -> impl Future<Output = ()> + Send {
    async move {
        let turn = 'destinations: loop {
            let Some((waiter, turns)) = turns_of(&exporter, &stream) else { break Turn::default() };
            // Kept until the destination may have changed: an event that changes nothing costs the consumer no place in the queue.
            let mut next = pin!(turns.next());
            loop {
                let mut events = pin!(waiter.events());
                if waiter.has_changed_or_is_given_up() {
                    break;
                }
                tokio::select! {
                    biased;
                    permit = next.as_mut() => break 'destinations turns.keep(permit),
                    () = events.as_mut() => {}
                }
            }
        };
        // Boxed, so that those who wait hold no room for it.
        Box::pin(consume(Consumer::new(exporter, stream, turn))).await;
    }
}

/// The turns of the destination that this stream has now, and a waiter that knows when that changes. None if the stream is not to be
/// sent, or has no destination.
fn turns_of<'e>(exporter: &'e Exporter, stream: &'e Stream) -> Option<(Waiter<'e>, Turns)> {
    let mut values = None;
    let waiter = Waiter::new(exporter, stream, || {
        let values = values.insert(exporter.with_row(stream.name()));
        values.row.clone()
    });
    let ends = exporter.is_suspended() || exporter.is_paused() || exporter.gives_up(stream);
    if ends || is_given_up(&exporter.tenants().table(), stream) {
        return None;
    }
    let values = values.expect("the waiter has asked for the row");
    let target = exporter.active().transport.target(&values).ok()?;
    Some((waiter, target.turns()?.clone()))
}

async fn consume(consumer: Consumer) {
    if let Consumed::UntilNextTurn = deliver::consume(&consumer).await {
        start_consumer(consumer.exporter.clone(), consumer.stream.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_one<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_batch_that_waits_before_another_attempt_takes_little() {
        assert!(size_of_one(consume) <= 2816, "{}", size_of_one(consume));
    }

    #[test]
    fn a_stream_that_waits_for_its_turn_takes_little_where_a_million_do() {
        assert!(size(consume_in_turn) <= 416, "{}", size(consume_in_turn));
    }
}
