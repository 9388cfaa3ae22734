//! Which attempts of live streams are noted although they succeed: those that come while somebody looks.

use super::super::attempts::tests::{attempt, records};
use super::*;
use crate::route::RoutingKey;

/// A stream of this tenant, or of nobody.
fn stream_of(registry: &Arc<Registry>, tenant: Option<&str>, key: &str) -> Arc<Stream> {
    let key = RoutingKey::of(tenant, key, std::iter::empty());
    registry.stream(Signal::Logs, key.as_written(), None).expect("there is room for a few")
}

/// Sends so many records of the stream at the first attempt; returns whether that was asked for, to note it.
fn succeed(stream: &Stream, records: u64) -> bool {
    let mut noted = false;
    stream.note_attempt(false, || {
        noted = true;
        StreamAttempt { failed: false, ..attempt(&stream.address(), records) }
    });
    noted
}

#[tokio::test(start_paused = true)]
async fn a_look_at_an_exporter_has_successes_noted_of_its_streams_those_that_come_later_among_them() {
    let fixture = Fixture::new(settings());
    let (other, _) = Fixture::exporter("two", settings(), &fixture.shared);
    let (first, elsewhere) = (stream_of(&fixture.registry, None, "a"), stream_of(&other, None, "a"));
    assert!(!succeed(&first, 1), "nobody looks");
    assert!(fixture.registry.attempts().is_empty());
    let later = stream_of(&fixture.registry, Some("acme"), "b");
    assert!(succeed(&first, 2) && succeed(&later, 3));
    assert!(!succeed(&elsewhere, 4), "nobody looks at its exporter");
    assert_eq!(records(&fixture.registry.attempts()), [3, 2]);
    advance(Duration::from_secs(601)).await;
    fixture.shared.sweep();
    assert!(!succeed(&first, 5), "nobody looks any more");
    assert!(fixture.registry.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_an_exporter_and_a_tenant_no_more_successes_are_noted_in_a_second_than_a_list_has_room_for() {
    let fixture = Fixture::new(settings());
    let streams: Vec<_> =
        (0..100).map(|number| stream_of(&fixture.registry, Some("acme"), &number.to_string())).collect();
    let noted = || streams.iter().filter(|stream| succeed(stream, 1)).count();
    fixture.registry.attempts();
    assert_eq!((noted(), noted()), (20, 0));
    fixture.shared.attempts_of_tenant(&"acme".into());
    assert_eq!((noted(), noted()), (20, 0), "the tenant's list counts for itself");
    fixture.registry.attempts();
    assert_eq!(noted(), 0, "whoever goes on looking has no more of them noted");
    advance(Duration::from_secs(1)).await;
    assert_eq!((noted(), noted()), (20, 0), "both lists take the same ones");
    fixture.registry.attempts_of(streams[99].name());
    assert_eq!((noted(), noted()), (1, 1), "of the stream that somebody looks at each is noted");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_tenant_has_successes_noted_of_its_streams_at_every_exporter_and_of_no_other() {
    let fixture = Fixture::new(settings());
    let (other, _) = Fixture::exporter("two", settings(), &fixture.shared);
    let look = |tenant: &str| fixture.shared.attempts_of_tenant(&tenant.into());
    let acmes = [stream_of(&fixture.registry, Some("acme"), "a"), stream_of(&other, Some("acme"), "a")];
    let others = [stream_of(&fixture.registry, Some("globex"), "a"), stream_of(&other, None, "a")];
    assert!(look("acme").is_empty() && look("unknown").is_empty());
    assert!(others.iter().all(|stream| !succeed(stream, 1)));
    assert!(acmes.iter().all(|stream| succeed(stream, 2)));
    assert!(succeed(&stream_of(&other, Some("acme"), "later"), 3));
    assert!(succeed(&stream_of(&other, Some("unknown"), "a"), 4), "it was looked at before it had streams");
    assert_eq!(records(&look("acme")), [3, 2, 2]);
    assert_eq!(records(&look("unknown")), [4]);
    assert!(look("globex").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_stream_that_is_yet_to_come_has_its_first_attempt_noted() {
    let fixture = Fixture::new(settings());
    let name = StreamName { signal: Signal::Logs, key: RoutingKey::written("a") };
    assert!(fixture.registry.attempts_of(&name).is_empty());
    assert!(succeed(&stream_of(&fixture.registry, None, "a"), 1));
    assert!(!succeed(&stream_of(&fixture.registry, None, "b"), 2));
    assert_eq!(records(&fixture.registry.attempts_of(&name)), [1]);
}
