//! Large entries, which wait in the memory of their request's body.

use bytes::Bytes;

use super::backlog::{deliver, journal, unsettled};
use super::*;
use crate::journal::Journal;
use crate::journal::simulation::SimulatedDisk;

const MIB: u64 = 1 << 20;
const LARGE: usize = 32 << 10;
const SMALL: usize = 100;

/// A request with an entry of so many framed bytes for each key, and the bytes of memory that it takes.
fn body(entries: &[(&str, usize)]) -> (Bytes, u64) {
    let mut body = Vec::new();
    for (_, framed) in entries {
        let entry = entry(*framed);
        otlp::put_frame(&mut body, entry.len());
        body.extend_from_slice(&entry);
    }
    // Some room that nobody uses.
    let memory = body.len() as u64 + 50;
    (body.into(), memory)
}

fn fixture(memory: u64, journal: Option<&Journal>) -> Fixture {
    let batch =
        BatchSettings { flush_timeout: Duration::from_millis(50), min_size: 1 << 17, max_size: 1 << 18 };
    let settings = QueueSettings { queue_bytes: MIB, batch, ..settings() };
    let budget = Arc::new(Budget::new(memory));
    let shared = Arc::new(EngineState::new(budget, Arc::new(StreamCount::new(100)), journal.cloned()));
    let (registry, consumers) = Fixture::exporter("one", settings, &shared);
    Fixture { shared, registry, consumers }
}

impl Fixture {
    /// A request with this body, whose entries are placed.
    fn request<'b>(&self, (body, memory): &'b (Bytes, u64), entries: &[(&str, usize)]) -> Admission<'b> {
        let mut reservation = Reservation::empty(self.shared.budget.clone());
        assert!(reservation.grow(*memory));
        let mut admission = Admission::new(Signal::Logs, reservation, 0);
        admission.keep_in_body(body, *memory);
        for (index, ((key, _), (_, entry))) in entries.iter().zip(otlp::frames(body)).enumerate() {
            let at = Placement { registry: &self.registry, key, route: None };
            assert!(admission.place(index, &Cow::Borrowed(entry), 1, &at).unwrap());
        }
        admission
    }

    fn used(&self) -> u64 {
        self.shared.budget.used()
    }
}

fn is_in(body: &Bytes, chunk: &Bytes) -> bool {
    body.as_ptr_range().contains(&chunk.as_ptr())
}

#[tokio::test(start_paused = true)]
async fn they_are_not_copied_and_keep_the_body_charged_until_the_last_has_left() {
    let entries = [("a", LARGE), ("a", SMALL), ("a", LARGE), ("b", LARGE), ("c", SMALL)];
    let (fixture, request) = (fixture(MIB, None), body(&entries));
    fixture.request(&request, &entries).commit().unwrap();
    let copies = 2 * SMALL as u64;
    assert_eq!(fixture.used(), request.1 + copies);
    let body = request.0;
    let places: Vec<Bytes> = otlp::frames(&body).map(|(framed, _)| body.slice_ref(framed)).collect();
    for (key, are_in_body) in [("a", &[true, false, true][..]), ("b", &[true]), ("c", &[false])] {
        let in_flight = next(&fixture.stream(key)).await.unwrap();
        let chunks = in_flight.batch().chunks();
        assert!(chunks.iter().map(|chunk| is_in(&body, chunk)).eq(are_in_body.iter().copied()), "{key}");
        let expected = places.iter().zip(&entries).filter(|(_, (of, _))| *of == key);
        assert_eq!(
            in_flight.batch().to_bytes(),
            expected.map(|(place, _)| &**place).collect::<Vec<_>>().concat()
        );
        deliver(in_flight);
        // The body is there as long as the test has it.
    }
    assert_eq!(fixture.used(), 0, "no part of the body is left in a stream");
    assert_eq!(fixture.registry.pending_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn they_are_copied_where_memory_is_not_plenty_or_their_stream_does_not_get_on() {
    let entries = [("a", LARGE)];
    let fixture = fixture(MIB, None);
    let is_copied = async |key: &str, request: &(Bytes, u64)| {
        let in_flight = next(&fixture.stream(key)).await.unwrap();
        let is_copied = !is_in(&request.0, &in_flight.batch().chunks()[0]);
        deliver(in_flight);
        is_copied
    };
    let request = body(&entries);
    assert!(fixture.shared.budget.reserve(MIB / 2));
    fixture.request(&request, &entries).commit().unwrap();
    fixture.shared.budget.release(MIB / 2);
    assert!(is_copied("a", &request).await);
    fixture.request(&request, &entries).commit().unwrap();
    assert!(!is_copied("a", &request).await);
    fixture.stream("a").set_failing(true);
    fixture.request(&request, &entries).commit().unwrap();
    assert!(is_copied("a", &request).await);
    assert_eq!(fixture.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn they_are_not_copied_either_once_they_are_on_disk_and_leave_memory_with_what_is_spilled() {
    let (log, _) = journal(&SimulatedDisk::new(31), 4 << 20);
    let entries = [("a", LARGE), ("a", SMALL)];
    let (fixture, request) = (fixture(MIB, Some(&log)), body(&entries));
    let (_, mut writing) =
        fixture.request(&request, &entries).commit_durably(&log, &request.0, false).unwrap();
    while log.commit_once() {}
    assert!(writing.written().await.unwrap().is_none());
    assert_eq!(fixture.used(), request.1 + SMALL as u64);
    let stream = fixture.stream("a");
    let mut in_flight = next(&stream).await.unwrap();
    assert!(is_in(&request.0, &in_flight.batch().chunks()[0]));
    assert!(in_flight.put_back());
    assert_eq!(fixture.used(), 0, "all is on disk alone");
    drop(in_flight);
    assert!(unsettled(&log, &stream).is_some());
}

#[tokio::test(start_paused = true)]
async fn of_a_request_that_is_given_up_nothing_stays_charged() {
    let (log, _) = journal(&SimulatedDisk::new(32), 4 << 20);
    let entries = [("a", LARGE), ("b", SMALL)];
    let (fixture, request) = (fixture(MIB, Some(&log)), body(&entries));
    let (_, mut writing) =
        fixture.request(&request, &entries).commit_durably(&log, &request.0, false).unwrap();
    assert!(matches!(writing.written().await, Err(Refused::Full(Full::Disk))), "the disk takes too long");
    while log.commit_once() {}
    assert_eq!((fixture.used(), fixture.registry.pending_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_withdrawn_leaves_the_body_to_the_others() {
    let entries = [("a", LARGE), ("b", LARGE)];
    let (fixture, request) = (fixture(MIB, None), body(&entries));
    let (_, receipt) = fixture.request(&request, &entries).commit_with_receipt(true).unwrap();
    let in_flight = next(&fixture.stream("b")).await.unwrap();
    drop(receipt);
    assert_eq!(fixture.pending("a"), 0);
    assert_eq!(fixture.used(), request.1, "a consumer has the other one");
    drop(in_flight);
    assert_eq!(fixture.used(), 0);
}
