//! Streams without an exporter: the tests take and settle the batches themselves, and time stands still.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::advance;

use super::*;
use crate::route::RoutingKey;
use otlp::{Signal, frame_len};

mod backlog;
mod budget;
mod held;
mod large_entries;
mod late;
mod noted;
mod receipts;
mod room;
mod schedules;
mod shares;

/// An exporter that only notes which consumers were started.
#[derive(Clone, Debug, Default)]
struct Consumers(Arc<Mutex<Vec<Arc<Stream>>>>);

impl Outlet<Stream> for Consumers {
    fn check(&self, name: &StreamName) -> Result<(), String> {
        if name.key.text() == "unfit" { Err("no template takes it".to_owned()) } else { Ok(()) }
    }

    fn start(&self, stream: Arc<Stream>) {
        self.0.lock().push(stream);
    }

    fn count_lost(&self, _: &StreamName, _: u64) {}

    fn count_withdrawn(&self, _: &StreamName, _: u64) {}
}

impl Consumers {
    fn started(&self) -> usize {
        self.0.lock().len()
    }

    /// The stream of the consumer that was started last.
    fn last(&self) -> Arc<Stream> {
        self.0.lock().last().expect("one was started").clone()
    }
}

/// The next batch of a stream, once it is due, as a consumer that was started takes it; `None` if nothing waits.
async fn next(stream: &Arc<Stream>) -> Option<InFlight> {
    loop {
        for _ in 0..10 {
            if stream.queue().idle_consumers() > 0
                && let Some(in_flight) = InFlight::take(stream)
            {
                return Some(in_flight);
            }
            tokio::task::yield_now().await;
        }
        if stream.state().waiting_batches == 0 && !stream.has_backlog() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One exporter with its streams.
struct Fixture {
    shared: Arc<EngineState>,
    registry: Arc<Registry>,
    consumers: Consumers,
}

fn settings() -> QueueSettings {
    QueueSettings {
        enabled: true,
        num_consumers: 1,
        queue_bytes: 1000,
        queue_requests: None,
        when_full: WhenFull::Refuse,
        batch: BatchSettings { flush_timeout: Duration::from_millis(50), min_size: 200, max_size: 400 },
    }
}

#[test]
fn a_stream_fits_into_the_memory_that_a_million_of_them_may_take() {
    // With its counts; the next size that the allocator has is 896.
    let taken = size_of::<Stream>() + 2 * size_of::<usize>();
    assert!(taken <= 768, "{taken}");
}

impl Fixture {
    fn new(settings: QueueSettings) -> Self {
        let shared =
            Arc::new(EngineState::new(Arc::new(Budget::new(10_000)), Arc::new(StreamCount::new(100)), None));
        let (registry, consumers) = Self::exporter("one", settings, &shared);
        Self { shared, registry, consumers }
    }

    fn exporter(
        name: &str,
        settings: QueueSettings,
        shared: &Arc<EngineState>,
    ) -> (Arc<Registry>, Consumers) {
        let registry = Arc::new(Registry::new(name.into(), settings, shared.clone()));
        let consumers = Consumers::default();
        registry.attach(Box::new(consumers.clone()));
        (registry, consumers)
    }

    fn admission(&self) -> Admission<'_> {
        Admission::new(Signal::Logs, Reservation::empty(self.shared.budget.clone()), 0)
    }

    /// Admits a request: for each key an entry of so many bytes, framed, each with one record.
    fn admit(&self, entries: &[(&str, usize)]) -> Result<Vec<Shed>, Refused> {
        let mut admission = self.admission();
        match place(&mut admission, &self.registry, entries) {
            Err(Misplaced::Refused(refused)) => return Err(refused),
            placed => placed.expect("every entry fits its exporter"),
        }
        admission.commit()
    }

    /// The stream of this key.
    fn stream(&self, key: &str) -> Arc<Stream> {
        let name = StreamName { signal: Signal::Logs, key: RoutingKey::written(key) };
        self.registry.find(&name).expect("there is one")
    }

    fn pending(&self, key: &str) -> u64 {
        let mut pending = 0;
        self.registry.for_each(|stream| {
            if stream.name().key.text() == key {
                pending = stream.state().pending_bytes;
            }
        });
        pending
    }
}

/// What an entry of that many framed bytes is without its frame.
fn entry(framed: usize) -> Vec<u8> {
    let len = (0..framed).find(|len| frame_len(*len) == framed).expect("there is an entry of this size");
    vec![b'.'; len]
}

/// The routing key of the stream that a request was refused for.
fn full_stream(refused: &Refused) -> Option<&str> {
    match refused {
        Refused::FullStream { name, .. } => Some(name.key.as_written()),
        _ => None,
    }
}

fn place(
    admission: &mut Admission<'_>,
    registry: &Arc<Registry>,
    entries: &[(&str, usize)],
) -> Result<(), Misplaced> {
    for (index, (key, framed)) in entries.iter().enumerate() {
        let at = Placement { registry, key, route: None };
        admission.place(index, &Cow::Owned(entry(*framed)), 1, &at)?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_full_stream_leaves_nothing_anywhere() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("full", 300), ("full", 300), ("full", 300)]).unwrap();
    let used = fixture.shared.budget.used();
    let refused = fixture.admit(&[("fresh", 100), ("full", 200), ("other", 100)]);
    assert_eq!(full_stream(&refused.unwrap_err()), Some("full"));
    assert_eq!((fixture.pending("fresh"), fixture.pending("full"), fixture.pending("other")), (0, 900, 0));
    assert_eq!(fixture.shared.budget.used(), used);
    assert_eq!(fixture.registry.routed_records(Signal::Logs), 3);
    fixture.admit(&[("fresh", 1000)]).expect("nothing was left in it");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_which_there_is_no_memory_leaves_nothing_anywhere() {
    let fixture = Fixture::new(QueueSettings { queue_bytes: 100_000, ..settings() });
    fixture.admit(&[("large", 9000)]).unwrap();
    let used = fixture.shared.budget.used();
    let refused = fixture.admit(&[("a", 600), ("b", 600)]);
    assert_eq!(refused.unwrap_err(), Refused::Full(Full::Memory));
    assert_eq!((fixture.pending("a"), fixture.pending("b")), (0, 0));
    assert_eq!(fixture.shared.budget.used(), used);
    assert_eq!(fixture.admit(&[("a", 10_001)]).unwrap_err(), Refused::TooLarge, "that can never fit");
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_for_the_body_becomes_what_is_reserved_for_its_entries() {
    let fixture = Fixture::new(settings());
    let budget = &fixture.shared.budget;
    let mut body = Reservation::empty(budget.clone());
    assert!(body.grow(9_900));
    let mut admission = Admission::new(Signal::Logs, body, 0);
    place(&mut admission, &fixture.registry, &[("a", 300)]).unwrap();
    admission.commit().expect("the body's own memory is enough");
    drop(admission);
    assert_eq!(budget.used(), 300, "the rest was given back");
}

#[tokio::test(start_paused = true)]
async fn shed_leaves_out_what_has_no_room_and_admits_the_rest() {
    let fixture = Fixture::new(QueueSettings { when_full: WhenFull::Shed, ..settings() });
    fixture.admit(&[("full", 900)]).unwrap();
    let shed = fixture.admit(&[("fresh", 100), ("full", 200), ("fresh", 50)]).unwrap();
    let [shed] = &shed[..] else { panic!("{shed:?}") };
    assert_eq!((shed.index, &*shed.name.key.text(), shed.records, &shed.full), (1, "full", 1, &Full::Stream));
    assert_eq!(shed.bytes.len(), 200, "it is a request of its own, framed");
    assert_eq!((fixture.pending("fresh"), fixture.pending("full")), (150, 900));
}

#[tokio::test(start_paused = true)]
async fn when_memory_is_full_those_who_shed_make_room_for_those_who_refuse() {
    let fixture = Fixture::new(QueueSettings { queue_bytes: 100_000, ..settings() });
    let shedding = QueueSettings { queue_bytes: 100_000, when_full: WhenFull::Shed, ..settings() };
    let (other, _) = Fixture::exporter("two", shedding, &fixture.shared);
    fixture.admit(&[("large", 8192)]).unwrap();
    let mut admission = fixture.admission();
    place(&mut admission, &other, &[("a", 1000)]).unwrap();
    place(&mut admission, &fixture.registry, &[("a", 1000)]).unwrap();
    let shed = admission.commit().unwrap();
    assert_eq!((shed.len(), &shed[0].full), (1, &Full::Memory));
    assert_eq!((fixture.pending("a"), other.pending_bytes()), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn an_empty_stream_takes_more_than_its_queue_size() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("a", 5000)]).unwrap();
    assert_eq!(full_stream(&fixture.admit(&[("a", 10)]).unwrap_err()), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_counts_requests_takes_so_many_whatever_their_size() {
    let fixture = Fixture::new(QueueSettings { queue_requests: Some(2), ..settings() });
    fixture.admit(&[("a", 10), ("a", 10), ("a", 10)]).unwrap();
    fixture.admit(&[("a", 10)]).unwrap();
    assert_eq!(full_stream(&fixture.admit(&[("a", 10)]).unwrap_err()), Some("a"));
    advance(Duration::from_secs(1)).await;
    drop(next(&fixture.stream("a")).await.expect("it is due"));
    fixture.admit(&[("a", 10)]).expect("both requests are settled");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_forgotten_between_its_two_looks_is_looked_up_again() {
    let fixture = Fixture::new(settings());
    let mut admission = fixture.admission();
    place(&mut admission, &fixture.registry, &[("a", 100)]).unwrap();
    advance(IDLE + Duration::from_secs(1)).await;
    fixture.registry.sweep();
    assert!(fixture.registry.is_empty());
    admission.commit().unwrap();
    assert_eq!((fixture.registry.len(), fixture.pending("a")), (1, 100));
    assert_eq!(fixture.shared.streams.live(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_disappears_and_one_that_holds_something_stays() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("idle", 100), ("held", 100)]).unwrap();
    let idle = fixture.stream("idle");
    drop(next(&idle).await.expect("it is due"));
    assert!(next(&idle).await.is_none());
    advance(IDLE).await;
    fixture.registry.sweep();
    assert_eq!(fixture.registry.len(), 2, "not a moment too early");
    advance(Duration::from_millis(1)).await;
    fixture.registry.sweep();
    assert_eq!((fixture.registry.len(), fixture.pending("held")), (1, 100));
    assert_eq!(fixture.shared.streams.live(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_came_to_is_known_after_it_is_forgotten_and_goes_on_when_it_begins_again() {
    let fixture = Fixture::new(settings());
    let past = || {
        let mut past = Vec::new();
        fixture.shared.past.for_each(|exporter, signal, identity, history| {
            past.push((exporter.to_string(), signal, identity.to_string(), history.admitted_entries));
        });
        past
    };
    for round in 1..=3 {
        fixture.admit(&[("a", 100)]).unwrap();
        let stream = fixture.stream("a");
        assert_eq!(stream.continues_another(), round > 1);
        stream.note(|history| {
            history.delivered_records += 1;
            history.dropped_records += 2;
        });
        stream.count_failed_attempt();
        let counts =
            (stream.delivered_records(), stream.not_delivered_records(), stream.all_failed_attempts());
        assert_eq!(counts, (round, 2 * round, 1));
        advance(Duration::from_millis(50)).await;
        drop(next(&stream).await);
        assert!(next(&stream).await.is_none());
        let History { admitted_entries, delivered_records, .. } = stream.state().history;
        assert_eq!((admitted_entries, delivered_records), (round, round));
        assert_eq!(past(), [], "it is the stream's");
        advance(IDLE + Duration::from_secs(1)).await;
        fixture.registry.sweep();
        assert!(fixture.registry.is_empty());
        assert_eq!(past(), [("one".to_owned(), Signal::Logs, "a".to_owned(), round)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_told_of_when_it_begins_to_fail_and_not_while_it_does() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("a", 100), ("b", 100)]).unwrap();
    let streams = ["a", "b"].map(|key| fixture.stream(key));
    let told = || -> Vec<String> {
        let taken = fixture.shared.newly_failing.take().into_iter();
        taken.map(|stream| format!("{} {}", stream.exporter, stream.name.key.text())).collect()
    };
    let expected = [format!("one {}", streams[0].name().key.text())];
    assert!(!streams[0].set_failing(true));
    assert_eq!(told(), expected);
    assert!(streams[0].set_failing(true));
    assert_eq!(told(), [""; 0]);
    assert!(streams[0].set_failing(false));
    assert!(!streams[0].set_failing(true));
    assert_eq!(told(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_stream_gives_its_places_back() {
    let fixture = Fixture::new(settings());
    fixture.shared.streams.set_limit(1);
    let route = Arc::new(StreamCount::new(1));
    let find = |key| fixture.registry.stream(Signal::Logs, key, Some(&route)).map(drop);
    find("a").unwrap();
    assert_eq!(find("b"), Err(NoStream::TooMany));
    fixture.shared.streams.set_limit(10);
    assert_eq!(find("b"), Err(NoStream::TooMany), "the route has a limit of its own");
    assert_eq!(fixture.shared.streams.live(), 1, "what was not made is not counted");
    advance(IDLE + Duration::from_secs(1)).await;
    fixture.registry.sweep();
    find("b").unwrap();
    assert_eq!(find("unfit"), Err(NoStream::Unfit("no template takes it".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_at_its_age_or_size_and_not_before() {
    let fixture = Fixture::new(settings());
    let start = tokio::time::Instant::now();
    fixture.admit(&[("a", 100)]).unwrap();
    let stream = fixture.stream("a");
    let in_flight = next(&stream).await.unwrap();
    assert_eq!((in_flight.batch().len(), start.elapsed()), (100, Duration::from_millis(50)));
    drop(in_flight);

    fixture.admit(&[("a", 150), ("a", 100)]).unwrap();
    let at = tokio::time::Instant::now();
    let in_flight = next(&stream).await.unwrap();
    assert_eq!((in_flight.batch().len(), at.elapsed()), (250, Duration::ZERO));
    drop(in_flight);
    assert!(next(&stream).await.is_none(), "and with it the consumer is signed off");

    fixture.admit(&[("a", 100)]).unwrap();
    assert_eq!(fixture.consumers.started(), 1);
    advance(Duration::from_millis(50)).await;
    tokio::task::yield_now().await;
    assert_eq!(fixture.consumers.started(), 2, "one is started when the batch is due, and not before");
}

#[tokio::test(start_paused = true)]
async fn without_a_least_size_a_batch_is_what_one_request_brings_up_to_its_most() {
    let batch = BatchSettings { min_size: 0, flush_timeout: Duration::from_secs(3600), ..settings().batch };
    let fixture = Fixture::new(QueueSettings { batch, ..settings() });
    let start = tokio::time::Instant::now();
    fixture.admit(&[("a", 50), ("a", 60)]).unwrap();
    fixture.admit(&[("a", 70)]).unwrap();
    fixture.admit(&[("a", 300), ("a", 110), ("a", 40)]).unwrap();
    let stream = fixture.stream("a");
    let mut sizes = Vec::new();
    while let Some(in_flight) = next(&stream).await {
        sizes.push(in_flight.batch().len());
    }
    assert_eq!((sizes, start.elapsed()), (vec![110, 70, 300, 150], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_being_filled_is_due_by_new_settings_as_soon_as_there_are_some() {
    let batch = BatchSettings { flush_timeout: Duration::from_secs(3600), ..settings().batch };
    for new in [
        BatchSettings { flush_timeout: Duration::from_millis(50), ..batch },
        BatchSettings { min_size: 100, ..batch },
    ] {
        let fixture = Fixture::new(QueueSettings { batch, ..settings() });
        let start = tokio::time::Instant::now();
        fixture.admit(&[("a", 100)]).unwrap();
        let stream = fixture.stream("a");
        let consumer = tokio::spawn(async move { next(&stream).await.unwrap().batch().len() });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!consumer.is_finished());
        fixture.registry.set_settings(QueueSettings { batch: new, ..settings() });
        assert_eq!(consumer.await.unwrap(), 100);
        assert_eq!(start.elapsed(), Duration::from_secs(1), "{new:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_would_make_a_batch_too_large_begins_the_next_one() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("a", 150), ("a", 260), ("a", 30)]).unwrap();
    let stream = fixture.stream("a");
    let mut sizes = Vec::new();
    while let Some(in_flight) = next(&stream).await {
        sizes.push(in_flight.batch().len());
    }
    assert_eq!(sizes, [150, 260, 30]);
    assert_eq!(fixture.shared.budget.used(), 0, "all memory was given back");
}

#[tokio::test(start_paused = true)]
async fn one_stream_has_at_most_num_consumers_batches_in_flight() {
    for (num_consumers, expected) in [(1, 1), (2, 2), (3, 3)] {
        let fixture = Fixture::new(QueueSettings { num_consumers, ..settings() });
        for _ in 0..4 {
            fixture.admit(&[("a", 200)]).unwrap();
        }
        assert_eq!(fixture.consumers.started(), expected);
        let stream = fixture.stream("a");
        let mut in_flight = Vec::new();
        for _ in 0..expected {
            in_flight.push(next(&stream).await.unwrap());
        }
        assert_eq!((stream.state().in_flight, stream.state().waiting_batches), (expected, 4 - expected));
        in_flight.clear();
        assert_eq!(fixture.pending("a"), 200 * (4 - expected as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_when_it_is_due_though_another_consumer_is_busy_for_long() {
    let fixture = Fixture::new(QueueSettings { num_consumers: 2, ..settings() });
    fixture.admit(&[("a", 100)]).unwrap();
    let stream = fixture.stream("a");
    let hanging = next(&stream).await.unwrap();
    assert_eq!(fixture.consumers.started(), 1);
    fixture.admit(&[("a", 100)]).unwrap();
    fixture.admit(&[("a", 50)]).unwrap();
    assert_eq!(fixture.consumers.started(), 1, "none waits until what is open is due");
    let began = tokio::time::Instant::now();
    let due = next(&stream).await.unwrap();
    assert_eq!((due.batch().len(), began.elapsed()), (150, settings().batch.flush_timeout));
    fixture.admit(&[("a", 50)]).unwrap();
    assert_eq!(fixture.consumers.started(), 2, "there may be no third one");
    drop(due);
    assert_eq!(next(&stream).await.unwrap().batch().len(), 50);
    drop(hanging);
    assert!(next(&stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_counts_as_pending_until_it_is_settled() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("a", 300)]).unwrap();
    let in_flight = next(&fixture.stream("a")).await.unwrap();
    assert_eq!((fixture.registry.pending_records(), fixture.registry.pending_bytes()), (1, 300));
    assert!(fixture.registry.oldest().is_some());
    drop(in_flight);
    assert_eq!((fixture.registry.pending_records(), fixture.registry.pending_bytes()), (0, 0));
    assert!(fixture.registry.oldest().is_none());
}

#[tokio::test(start_paused = true)]
async fn flushing_sends_what_is_open_at_once_also_in_streams_that_come_later() {
    let fixture = Fixture::new(QueueSettings {
        batch: BatchSettings { flush_timeout: Duration::from_secs(3600), ..settings().batch },
        ..settings()
    });
    fixture.admit(&[("before", 10)]).unwrap();
    let start = tokio::time::Instant::now();
    fixture.registry.flush();
    fixture.admit(&[("after", 10)]).unwrap();
    for key in ["before", "after"] {
        drop(next(&fixture.stream(key)).await.unwrap());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_a_flush_batches_wait_until_they_are_due_again() {
    let fixture = Fixture::new(settings());
    fixture.admit(&[("a", 10)]).unwrap();
    fixture.registry.flush();
    let stream = fixture.stream("a");
    drop(next(&stream).await.unwrap());
    fixture.registry.end_flush();
    let start = tokio::time::Instant::now();
    fixture.admit(&[("a", 10), ("b", 10)]).unwrap();
    for key in ["a", "b"] {
        drop(next(&fixture.stream(key)).await);
        assert_eq!(start.elapsed(), Duration::from_millis(50));
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_many_streams_in_one_request_each_reach_their_own() {
    let fixture = Fixture::new(settings());
    let keys: Vec<String> = (0..50).map(|key| key.to_string()).collect();
    let entries: Vec<(&str, usize)> =
        (0..150).map(|index| (keys[index % 50].as_str(), 10 + index % 50)).collect();
    fixture.admit(&entries).unwrap();
    assert_eq!(fixture.registry.len(), 50);
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(fixture.pending(key), 3 * (10 + index as u64), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_placed_in_a_stream_once() {
    let fixture = Fixture::new(settings());
    let mut admission = fixture.admission();
    for _ in 0..3 {
        place(&mut admission, &fixture.registry, &[("a", 100)]).unwrap();
    }
    admission.commit().unwrap();
    assert_eq!(fixture.registry.routed_records(Signal::Logs), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_leaves_no_streams_behind() {
    let fixture = Fixture::new(settings());
    fixture.shared.streams.set_limit(3);
    fixture.admit(&[("old", 900)]).unwrap();
    assert_eq!(full_stream(&fixture.admit(&[("a", 100), ("old", 200)]).unwrap_err()), Some("old"));
    assert_eq!(fixture.shared.streams.live(), 1);
    let refused = fixture.admit(&[("a", 10), ("b", 10), ("c", 10)]);
    assert_eq!(refused.unwrap_err(), Refused::Full(Full::Streams), "there is room when `old` is gone");
    assert_eq!(fixture.shared.streams.live(), 1);
    fixture.admit(&[("c", 10), ("d", 10)]).expect("the places of the refused ones are free");
}

#[tokio::test(start_paused = true)]
async fn a_request_of_more_streams_than_there_may_be_is_never_asked_for_again() {
    let fixture = Fixture::new(settings());
    fixture.shared.streams.set_limit(2);
    let refused = fixture.admit(&[("a", 10), ("b", 10), ("c", 10)]);
    assert_eq!(refused.unwrap_err(), Refused::TooManyStreams);
    assert_eq!(fixture.shared.streams.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_pieces_of_an_entry_are_reserved_as_they_are_made() {
    let fixture = Fixture::new(settings());
    // 100 records of 40 bytes under a resource of 320 bytes: with a record or two a piece, some 30,000 bytes.
    let resource = [&b"\x0a\xbd\x02\xa2\x06\xb9\x02"[..], &[7; 313]].concat();
    let records = [&b"\x12\x28\xa2\x06\x25"[..], &[7; 37]].concat().repeat(100);
    let scope = [&b"\x12\xe8\x20"[..], &records].concat();
    let entry: Cow<'_, [u8]> = [resource, scope].concat().into();
    let at = Placement { registry: &fixture.registry, key: "a", route: None };
    let mut admission = fixture.admission();
    let refused = admission.place(0, &entry, 100, &at).unwrap_err();
    assert!(
        matches!(refused, Misplaced::Refused(Refused::Full(Full::Memory) | Refused::TooLarge)),
        "{refused:?}"
    );
    assert!(fixture.shared.budget.used() > 9_000);
    drop(admission);
    assert_eq!(fixture.shared.budget.used(), 0);

    fixture.shared.budget.set_limit(100_000);
    let mut admission = fixture.admission();
    admission.place(0, &entry, 100, &at).unwrap();
    admission.commit().unwrap();
    let pending = fixture.pending("a");
    assert!(pending > 20_000, "{pending}");
    fixture.registry.for_each(|stream| assert_eq!(stream.state().pending_bytes, pending));
}

#[tokio::test(start_paused = true)]
async fn what_a_request_takes_by_itself_counts_when_it_can_never_fit() {
    let fixture = Fixture::new(settings());
    let mut request = Reservation::empty(fixture.shared.budget.clone());
    assert!(request.grow(5_000));
    let mut admission = Admission::new(Signal::Logs, request, 5_000);
    place(&mut admission, &fixture.registry, &[("a", 5_001)]).unwrap();
    assert_eq!(admission.commit().unwrap_err(), Refused::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_many_batches_starts_as_many_consumers_as_there_may_be() {
    let fixture = Fixture::new(QueueSettings { num_consumers: 4, queue_bytes: 10_000, ..settings() });
    fixture.admit(&[("a", 300); 10]).unwrap();
    assert_eq!(fixture.consumers.started(), 4);
}
