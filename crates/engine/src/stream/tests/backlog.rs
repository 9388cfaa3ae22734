//! Streams whose entries are in a journal: what they hold of it in memory, and what they leave there.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::*;
use crate::journal::simulation::SimulatedDisk;
use crate::journal::{Journal, JournalSettings, RecoveredStream, SyncPolicy};
use crate::outcome::Fate;

/// The framed bytes of an entry: a batch of its own.
const ENTRY: usize = 400;

pub(super) fn journal(disk: &SimulatedDisk, max_size: u64) -> (Journal, Vec<(StreamName, RecoveredStream)>) {
    let settings = JournalSettings {
        directory: "simulated".into(),
        max_size,
        sync: SyncPolicy::Always,
        segment_size: 64 << 10,
    };
    let (journal, recovery) = Journal::open_by_hand(settings, disk.process()).unwrap();
    let named = |found: RecoveredStream| (StreamAddress::of_journal(&found.key).unwrap().name, found);
    (journal, recovery.streams.into_iter().map(named).collect())
}

/// Exporters with `memory` bytes of budget and a journal.
fn shared(journal: &Journal, memory: u64) -> Arc<EngineState> {
    let (budget, streams) = (Arc::new(Budget::new(memory)), Arc::new(StreamCount::new(100)));
    Arc::new(EngineState::new(budget, streams, Some(journal.clone())))
}

impl Fixture {
    pub(super) fn on(journal: &Journal, memory: u64) -> Self {
        let shared = shared(journal, memory);
        let (registry, consumers) = Self::exporter("one", settings(), &shared);
        Self { shared, registry, consumers }
    }

    /// Admits one entry, once it is on disk.
    pub(super) fn write(&self, journal: &Journal, key: &str, framed: usize) -> Result<(), Refused> {
        self.write_to(&self.registry, journal, key, framed, false).map(drop)
    }

    fn write_to(
        &self,
        registry: &Arc<Registry>,
        journal: &Journal,
        key: &str,
        framed: usize,
        receipt: bool,
    ) -> Result<Writing, Refused> {
        let mut admission = self.admission();
        place(&mut admission, registry, &[(key, framed)]).expect("every entry fits its exporter");
        let (sheds, writing) = admission.commit_durably(journal, &Bytes::new(), receipt)?;
        assert!(sheds.is_empty());
        while journal.commit_once() {}
        Ok(writing)
    }

    pub(super) fn in_memory(&self) -> u64 {
        self.shared.budget.used()
    }
}

/// The numbers that the journal has to keep of a stream.
pub(super) fn unsettled(journal: &Journal, stream: &Stream) -> Option<std::ops::Range<u64>> {
    journal.unsettled(stream.place().expect("it has a journal").id())
}

/// The next batch, read if it is on disk, and the numbers of its entries.
pub(super) async fn read_next(stream: &Arc<Stream>) -> (InFlight, Vec<u64>) {
    let mut in_flight = next(stream).await.expect("something is pending");
    in_flight.read().await;
    let numbers = in_flight.batch().numbers().iter().collect();
    (in_flight, numbers)
}

pub(super) fn deliver(in_flight: InFlight) {
    in_flight.ended(in_flight.batch(), None, (0, Fate::Delivered), "");
    drop(in_flight);
}

#[tokio::test(start_paused = true)]
async fn a_second_consumer_reads_what_comes_next_in_a_backlog_once_the_upstream_takes_anything() {
    let disk = SimulatedDisk::new(1);
    let (former, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&former, 1 << 20);
    for _ in 0..5 {
        fixture.write(&former, "a", ENTRY).unwrap();
    }
    disk.kill();
    drop((fixture, former));
    let (log, found) = journal(&disk, 4 << 20);
    let shared = shared(&log, 1 << 20);
    let two_consumers = QueueSettings { num_consumers: 2, ..settings() };
    let (registry, consumers) = Fixture::exporter("one", two_consumers, &shared);
    let fixture = Fixture { shared, registry, consumers };
    fixture.registry.recover(found);
    assert_eq!(fixture.consumers.started(), 1);
    let stream = fixture.stream("a");
    let (mut first, numbers) = read_next(&stream).await;
    assert_eq!((numbers, fixture.consumers.started()), (vec![0], 1));
    assert!(first.put_back(), "nobody else has any of it");
    assert_eq!(fixture.in_memory(), 0);
    assert!(first.read().await);
    deliver(first);
    stream.set_failing(false);
    let (second, numbers) = read_next(&stream).await;
    assert_eq!((numbers, fixture.consumers.started()), (vec![1], 2));
    let (third, numbers) = read_next(&stream).await;
    assert_eq!(numbers, [2]);
    deliver(second);
    deliver(third);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_memory_for_is_sent_from_disk_in_order() {
    let (journal, _) = journal(&SimulatedDisk::new(1), 4 << 20);
    let fixture = Fixture::on(&journal, 4096);
    for _ in 0..20 {
        fixture.write(&journal, "a", ENTRY).unwrap();
    }
    assert!(fixture.in_memory() <= 4096, "{}", fixture.in_memory());
    assert_eq!(fixture.pending("a"), 20 * ENTRY as u64);
    let stream = fixture.stream("a");
    let mut sent = Vec::new();
    while sent.len() < 20 {
        let (in_flight, numbers) = read_next(&stream).await;
        sent.extend(numbers);
        deliver(in_flight);
    }
    assert_eq!(sent, (0..20).collect::<Vec<_>>());
    assert_eq!((fixture.in_memory(), fixture.pending("a")), (0, 0));
    assert_eq!(fixture.registry.pending_bytes(), 0);
    assert_eq!(unsettled(&journal, &stream), None);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_put_back_takes_no_memory_and_comes_again_with_all_behind_it() {
    let (journal, _) = journal(&SimulatedDisk::new(2), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    for _ in 0..6 {
        fixture.write(&journal, "a", ENTRY).unwrap();
    }
    let stream = fixture.stream("a");
    let (mut in_flight, numbers) = read_next(&stream).await;
    assert_eq!(numbers, [0]);
    tokio::time::advance(Duration::from_secs(10)).await;
    for pending in 6..9 {
        assert!(in_flight.put_back());
        assert_eq!((fixture.in_memory(), fixture.pending("a")), (0, pending * ENTRY as u64));
        assert_eq!(fixture.registry.oldest().map(|since| since.elapsed()), Some(Duration::from_secs(10)));
        fixture.write(&journal, "a", ENTRY).unwrap();
        in_flight.read().await;
        assert_eq!(in_flight.batch().numbers().first(), Some(0));
    }
    let mut sent: Vec<u64> = in_flight.batch().numbers().iter().collect();
    deliver(in_flight);
    while sent.len() < 9 {
        let (in_flight, numbers) = read_next(&stream).await;
        sent.extend(numbers);
        deliver(in_flight);
    }
    assert_eq!(sent, (0..9).collect::<Vec<_>>());
    assert_eq!((fixture.in_memory(), fixture.pending("a")), (0, 0));
}

/// An entry for whose end somebody waits.
async fn write_for_receipt(fixture: &Fixture, journal: &Journal) -> Receipt {
    let mut writing = fixture.write_to(&fixture.registry, journal, "a", ENTRY, true).unwrap();
    writing.written().await.unwrap().expect("it was asked for")
}

/// The first stream, and its first batch, which is on disk only again.
async fn put_back_first(fixture: &Fixture) -> (Arc<Stream>, InFlight) {
    let stream = fixture.stream("a");
    let (mut in_flight, _) = read_next(&stream).await;
    assert!(in_flight.put_back());
    (stream, in_flight)
}

/// Delivers what the stream `a` still has.
async fn deliver_rest(fixture: &Fixture, stream: &Arc<Stream>, sent: &mut Vec<u64>) {
    while fixture.pending("a") > 0 {
        let (in_flight, numbers) = read_next(stream).await;
        sent.extend(numbers);
        deliver(in_flight);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_while_it_is_put_back_leaves_at_once() {
    let (journal, _) = journal(&SimulatedDisk::new(6), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let receipt = write_for_receipt(&fixture, &journal).await;
    fixture.write(&journal, "a", ENTRY).unwrap();
    let stream = fixture.stream("a");
    let (mut in_flight, numbers) = read_next(&stream).await;
    assert_eq!(numbers, [0]);
    assert!(in_flight.put_back());
    drop(receipt);
    assert_eq!(fixture.pending("a"), ENTRY as u64);
    assert_eq!(unsettled(&journal, &stream), Some(1..2));
    in_flight.read().await;
    assert_eq!(in_flight.batch().numbers().iter().collect::<Vec<_>>(), [1]);
    assert!(in_flight.withdraw().is_empty());
    assert_eq!(stream.requests.load(Ordering::Acquire), 0);
    deliver(in_flight);
    assert_eq!((fixture.pending("a"), fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0, 0));
    assert_eq!(unsettled(&journal, &stream), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_only_needs_not_be_read_to_be_withdrawn() {
    let (journal, _) = journal(&SimulatedDisk::new(9), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let receipts = [write_for_receipt(&fixture, &journal).await, write_for_receipt(&fixture, &journal).await];
    let (stream, mut in_flight) = put_back_first(&fixture).await;
    let [first, second] = receipts;
    drop(second);
    assert_eq!(fixture.pending("a"), ENTRY as u64);
    drop(first);
    assert_eq!((fixture.pending("a"), fixture.registry.pending_bytes(), fixture.in_memory()), (0, 0, 0));
    assert_eq!(unsettled(&journal, &stream), None);
    fixture.write(&journal, "a", ENTRY).unwrap();
    in_flight.read().await;
    assert!(in_flight.batch().numbers().iter().all(|number| number == 2), "{:?}", in_flight.batch());
    deliver(in_flight);
    if fixture.pending("a") > 0 {
        let (in_flight, numbers) = read_next(&stream).await;
        assert_eq!(numbers, [2]);
        deliver(in_flight);
    }
    assert_eq!((fixture.pending("a"), fixture.registry.pending_bytes(), fixture.in_memory()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_behind_a_backlog_is_not_sent_by_the_next_process() {
    let disk = SimulatedDisk::new(12);
    let (before, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&before, 1 << 20);
    fixture.write(&before, "a", ENTRY).unwrap();
    before.close();
    let (during, found) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&during, 1 << 20);
    fixture.registry.recover(found);
    let stream = fixture.stream("a");
    let (mut in_flight, numbers) = read_next(&stream).await;
    assert_eq!(numbers, [0]);
    assert!(in_flight.put_back());
    let receipt = write_for_receipt(&fixture, &during).await;
    fixture.write(&during, "a", ENTRY).unwrap();
    in_flight.read().await;
    drop(receipt);
    assert_eq!(fixture.pending("a"), 2 * ENTRY as u64, "what is being sent, and what nobody took back");
    assert_eq!(fixture.registry.pending_records(), 2);
    during.close();
    drop(in_flight);
    let (after, found) = journal(&disk, 4 << 20);
    let (_, stream) = &found[0];
    assert_eq!((stream.first, stream.last, stream.entries), (0, 2, 2));
    let fixture = Fixture::on(&after, 1 << 20);
    fixture.registry.recover(found);
    let stream = fixture.stream("a");
    for number in [0, 2] {
        let (in_flight, numbers) = read_next(&stream).await;
        assert_eq!(numbers, [number]);
        deliver(in_flight);
    }
    assert_eq!((fixture.pending("a"), fixture.in_memory(), fixture.registry.pending_records()), (0, 0, 0));
    assert_eq!(fixture.registry.recovered_records(), 2);
    assert_eq!(unsettled(&after, &stream), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_while_it_is_read_is_not_in_what_was_read() {
    let (journal, _) = journal(&SimulatedDisk::new(13), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    fixture.write(&journal, "a", ENTRY).unwrap();
    let receipt = write_for_receipt(&fixture, &journal).await;
    fixture.write(&journal, "a", ENTRY).unwrap();
    let (stream, in_flight) = put_back_first(&fixture).await;
    // What it does, it does by hand.
    std::mem::forget(in_flight);
    let id = stream.place().unwrap().id();
    let chunks = journal.read(id, 0..3, 1 << 20).unwrap();
    drop(receipt);
    let room = fixture.shared.reading.acquire_early(1).unwrap();
    let batch = stream.take_read([chunks].into(), 3, room).batch;
    assert_eq!(batch.numbers().iter().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(batch.len(), 2 * ENTRY);
    assert_eq!(fixture.pending("a"), 2 * ENTRY as u64);
    assert!(!stream.has_backlog());
    assert_eq!(fixture.registry.pending_bytes(), 2 * ENTRY as u64, "nothing of it is missing");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_stream_that_was_put_back_when_all_of_it_is_withdrawn() {
    let (journal, _) = journal(&SimulatedDisk::new(15), 4 << 20);
    let shared = shared(&journal, 1 << 20);
    let room = QueueSettings { queue_bytes: 10_000, ..settings() };
    let (registry, consumers) = Fixture::exporter("one", room, &shared);
    let fixture = Fixture { shared, registry, consumers };
    let [first, second, third] = [
        write_for_receipt(&fixture, &journal).await,
        write_for_receipt(&fixture, &journal).await,
        write_for_receipt(&fixture, &journal).await,
    ];
    let stream = fixture.stream("a");
    let (mut in_flight, _) = read_next(&stream).await;
    drop(second);
    assert!(in_flight.put_back(), "with a gap");
    drop(first);
    drop(third);
    assert!(in_flight.is_gone() && !stream.has_backlog());
    assert_eq!((fixture.pending("a"), fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0, 0));
    assert_eq!(unsettled(&journal, &stream), None);
}

#[tokio::test(start_paused = true)]
async fn of_a_request_that_is_read_in_part_what_is_on_disk_is_withdrawn_at_once() {
    let (journal, _) = journal(&SimulatedDisk::new(14), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let mut admission = fixture.admission();
    place(&mut admission, &fixture.registry, &[("a", ENTRY), ("a", ENTRY)]).unwrap();
    let (_, mut writing) = admission.commit_durably(&journal, &Bytes::new(), true).unwrap();
    while journal.commit_once() {}
    let receipt = writing.written().await.unwrap().unwrap();
    fixture.write(&journal, "a", ENTRY).unwrap();
    let (stream, mut in_flight) = put_back_first(&fixture).await;
    in_flight.read().await;
    assert_eq!(in_flight.batch().numbers().iter().collect::<Vec<_>>(), [0]);
    drop(receipt);
    assert_eq!(fixture.pending("a"), 2 * ENTRY as u64);
    assert_eq!(in_flight.withdraw().iter().collect::<Vec<_>>(), [0]);
    drop(in_flight);
    let (in_flight, numbers) = read_next(&stream).await;
    assert_eq!(numbers, [2]);
    deliver(in_flight);
    assert_eq!((fixture.pending("a"), fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0, 0));
    assert_eq!(unsettled(&journal, &stream), None);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_put_back_also_if_something_behind_it_was_withdrawn() {
    let (journal, _) = journal(&SimulatedDisk::new(15), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    fixture.write(&journal, "a", ENTRY).unwrap();
    let receipt = write_for_receipt(&fixture, &journal).await;
    fixture.write(&journal, "a", ENTRY).unwrap();
    let stream = fixture.stream("a");
    let (mut in_flight, _) = read_next(&stream).await;
    drop(receipt);
    assert_eq!(fixture.pending("a"), 2 * ENTRY as u64);
    assert!(in_flight.put_back());
    assert_eq!((fixture.in_memory(), fixture.pending("a")), (0, 2 * ENTRY as u64));
    in_flight.read().await;
    let mut sent: Vec<u64> = in_flight.batch().numbers().iter().collect();
    deliver(in_flight);
    deliver_rest(&fixture, &stream, &mut sent).await;
    assert_eq!(sent, [0, 2]);
    assert_eq!((fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_all_was_withdrawn_from_the_disk_keeps_its_order() {
    let (journal, _) = journal(&SimulatedDisk::new(10), 4 << 20);
    let fixture = Fixture::on(&journal, 4 * 1024);
    let receipt = write_for_receipt(&fixture, &journal).await;
    let (stream, mut in_flight) = put_back_first(&fixture).await;
    drop(receipt);
    assert!(in_flight.is_gone());
    // The consumer still has its place. There is memory for the first of these, and then none.
    fixture.write(&journal, "a", ENTRY).unwrap();
    assert!(!in_flight.is_gone());
    let filling: Vec<_> = (0..8).map(|n| fixture.write(&journal, &format!("b{n}"), ENTRY)).collect();
    assert!(filling.iter().all(Result::is_ok));
    fixture.write(&journal, "a", ENTRY).unwrap();
    in_flight.read().await;
    let mut sent: Vec<u64> = in_flight.batch().numbers().iter().collect();
    deliver(in_flight);
    deliver_rest(&fixture, &stream, &mut sent).await;
    assert_eq!(sent, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn streams_that_wait_for_an_exporter_to_come_back_take_no_places() {
    let (journal, _) = journal(&SimulatedDisk::new(11), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let (other, _others) = Fixture::exporter("two", settings(), &fixture.shared);
    fixture.shared.streams.set_limit(1);
    fixture.write(&journal, "a", ENTRY).unwrap();
    let mut admission = fixture.admission();
    assert!(place(&mut admission, &other, &[("a", ENTRY)]).is_err(), "there is no place for another");
    drop(admission);
    fixture.registry.leave_limits();
    drop(fixture.write_to(&other, &journal, "a", ENTRY, false).unwrap());
    fixture.registry.join_limits();
    fixture.registry.join_limits();
    let (in_flight, _) = read_next(&fixture.stream("a")).await;
    deliver(in_flight);
    fixture.registry.forget_idle();
    fixture.shared.streams.set_limit(2);
    fixture.write(&journal, "b", ENTRY).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_exporter_reads_its_backlog_whatever_others_hold() {
    let (journal, _) = journal(&SimulatedDisk::new(3), 4 << 20);
    // Room to read two batches.
    let fixture = Fixture::on(&journal, 8 * 1024);
    let (other, others) = Fixture::exporter("two", settings(), &fixture.shared);
    for key in ["filling", "the", "half", "that", "is", "for", "others", "of", "it", "all", "so"] {
        fixture.write(&journal, key, ENTRY).unwrap();
    }
    let mut held = Vec::new();
    for key in ["a", "b", "c"] {
        fixture.write(&journal, key, ENTRY).unwrap();
        let stream = fixture.consumers.last();
        let mut in_flight = next(&stream).await.unwrap();
        assert!(in_flight.is_on_disk());
        in_flight.read().await;
        held.push(in_flight);
    }
    // The third has the exporter's own place; there is none for a fourth.
    fixture.write(&journal, "d", ENTRY).unwrap();
    let stream = fixture.consumers.last();
    let mut waiting = next(&stream).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting.read()).await.is_err());
    drop(fixture.write_to(&other, &journal, "e", ENTRY, false).unwrap());
    let (in_flight, numbers) = read_next(&others.last()).await;
    assert_eq!(numbers, [0]);
    deliver(in_flight);
    held.into_iter().for_each(deliver);
    waiting.read().await;
    deliver(waiting);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_just_now_stays_on_disk_and_takes_no_room() {
    let disk = SimulatedDisk::new(5);
    let (journal, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&journal, 4096);
    for _ in 0..20 {
        fixture.write(&journal, "a", ENTRY).unwrap();
    }
    let stream = fixture.stream("a");
    loop {
        let mut in_flight = next(&stream).await.unwrap();
        if !in_flight.is_on_disk() {
            deliver(in_flight);
            continue;
        }
        let segments =
            disk.files().into_iter().map(|(name, _)| name).filter(|name| name.starts_with("segment-"));
        let kept: Vec<_> = segments.map(|name| (name.clone(), disk.content(&name))).collect();
        for (name, _) in &kept {
            disk.lose(name);
        }
        assert!(!in_flight.read().await);
        assert!(in_flight.is_on_disk());
        assert_eq!(fixture.shared.reading.free_kibibytes(), 1);
        for (name, content) in kept {
            disk.put(&name, content);
        }
        assert!(in_flight.read().await);
        assert!(!in_flight.batch().is_empty());
        break;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_of_memory_lowers_what_backlogs_may_be_read() {
    let (journal, _) = journal(&SimulatedDisk::new(5), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    assert_eq!(fixture.shared.reading.free_kibibytes(), 256);
    for (limit, kibibytes) in [(64 << 10, 16), (8 << 10, 2), (2 << 20, 512)] {
        fixture.shared.set_memory(limit);
        assert_eq!(
            (fixture.shared.budget.limit(), fixture.shared.reading.free_kibibytes()),
            (limit, kibibytes)
        );
    }
}

/// On a real disk: only there something is read before it is asked for.
#[tokio::test]
async fn what_is_read_ahead_comes_in_order_and_once_and_gives_its_room_back() {
    const ENTRIES: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(JournalSettings::new(directory.path())).unwrap();
    // So little memory that most stays on disk; the room to read is larger than that of two batches ahead.
    let fixture = Fixture::on(&journal, 16 << 10);
    for _ in 0..ENTRIES {
        let mut admission = fixture.admission();
        place(&mut admission, &fixture.registry, &[("a", ENTRY / 3)]).unwrap();
        let (_, mut writing) = admission.commit_durably(&journal, &Bytes::new(), false).unwrap();
        writing.written().await.unwrap();
    }
    let stream = fixture.stream("a");
    let (mut sent, mut attempts, mut ahead) = (Vec::new(), 0, 0);
    while sent.len() < ENTRIES as usize {
        let (mut in_flight, numbers) = read_next(&stream).await;
        assert_eq!(numbers.first(), Some(&(sent.len() as u64)), "the next one");
        attempts += 1;
        ahead += usize::from(stream.early_reads() == 2);
        if attempts % 5 == 0 {
            // What was read for later goes back, too.
            assert!(in_flight.put_back());
            in_flight.read().await;
            assert_eq!(in_flight.batch().numbers().iter().collect::<Vec<_>>(), numbers);
        }
        sent.extend(in_flight.batch().numbers().iter());
        deliver(in_flight);
    }
    assert_eq!(sent, (0..ENTRIES).collect::<Vec<_>>());
    assert!(ahead > 10, "one batch waited while others were read {ahead} times");
    assert_eq!((fixture.in_memory(), fixture.pending("a"), fixture.registry.pending_bytes()), (0, 0, 0));
    assert_eq!(fixture.shared.reading.free_kibibytes(), 4);
    assert_eq!(unsettled(&journal, &stream), None);
}

/// On a real disk, for the same reason.
#[tokio::test]
async fn what_was_read_ahead_of_a_backlog_that_is_withdrawn_gives_its_room_back() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(JournalSettings::new(directory.path())).unwrap();
    let shared = shared(&journal, 16 << 10);
    let room = QueueSettings { queue_bytes: 1 << 20, ..settings() };
    let (registry, consumers) = Fixture::exporter("one", room, &shared);
    let fixture = Fixture { shared, registry, consumers };
    let mut receipts = Vec::new();
    for _ in 0..100 {
        let mut admission = fixture.admission();
        place(&mut admission, &fixture.registry, &[("a", ENTRY / 3)]).unwrap();
        let (_, mut writing) = admission.commit_durably(&journal, &Bytes::new(), true).unwrap();
        receipts.push(writing.written().await.unwrap());
    }
    let stream = fixture.stream("a");
    let in_flight = loop {
        let mut in_flight = next(&stream).await.expect("something is pending");
        if in_flight.is_on_disk() {
            in_flight.read().await;
            break in_flight;
        }
        deliver(in_flight);
    };
    assert!(stream.early_reads() > 0 && stream.has_backlog());
    drop(receipts);
    assert_eq!((stream.early_reads(), stream.has_backlog()), (0, false));
    drop(in_flight);
    assert_eq!(
        (fixture.shared.reading.free_kibibytes(), fixture.in_memory(), fixture.pending("a")),
        (4, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_journal_never_has_room_for_is_told_from_what_it_has_none_for_now() {
    let (journal, _) = journal(&SimulatedDisk::new(4), 2 << 20);
    let fixture = Fixture::on(&journal, 8 << 20);
    // Also once a part of it is used.
    for _ in 0..10 {
        let never = fixture.write(&journal, "a", 2 << 20);
        assert!(matches!(never, Err(Refused::TooLargeForJournal)), "{never:?}");
        fixture.write(&journal, "b", 60_000).unwrap();
    }
    let not_now = fixture.write(&journal, "a", 3 << 19);
    assert!(matches!(not_now, Err(Refused::Full(Full::Journal))), "{not_now:?}");
}

#[tokio::test(start_paused = true)]
async fn one_stream_does_not_fill_the_journal() {
    let (journal, _) = journal(&SimulatedDisk::new(4), 2 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = fixture.write(&journal, "stuck", 16_000) {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused.as_ref().and_then(full_stream), Some("stuck"));
    let held = fixture.pending("stuck");
    assert!((800_000..1_700_000).contains(&held), "{held}");
    // A tenth of what there was is left, and others may have the most of that.
    for _ in 0..5 {
        fixture.write(&journal, "other", 16_000).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_upstream_does_not_pile_up_on_disk() {
    let (journal, _) = journal(&SimulatedDisk::new(5), 2 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let mut waiting = Vec::new();
    let refused = loop {
        match fixture.write_to(&fixture.registry, &journal, "a", ENTRY, true) {
            Ok(writing) => waiting.push(writing),
            Err(refused) => break refused,
        }
    };
    assert_eq!((full_stream(&refused), waiting.len()), (Some("a"), 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_in_the_journal_is_taken_over_whatever_the_limit_of_streams() {
    let disk = SimulatedDisk::new(6);
    let (before, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&before, 1 << 20);
    for key in ["a", "b", "b"] {
        fixture.write(&before, key, ENTRY).unwrap();
    }
    before.close();
    let (after, found) = journal(&disk, 4 << 20);
    let mut found_again: Vec<_> =
        found.iter().map(|(name, stream)| (&**name.key.as_written(), stream.records, stream.bytes)).collect();
    found_again.sort_unstable();
    assert_eq!(found_again, [("a", 1, ENTRY as u64), ("b", 2, 2 * ENTRY as u64)]);

    let fixture = Fixture::on(&after, 1 << 20);
    fixture.shared.streams.set_limit(1);
    fixture.registry.recover(found);
    assert_eq!((fixture.registry.recovered_records(), fixture.registry.pending_records()), (3, 3));
    let streams = ["a", "b"].map(|key| fixture.stream(key));
    for stream in &streams {
        let expected = if stream.name().key.text() == "a" { 1 } else { 2 };
        for number in 0..expected {
            let (in_flight, numbers) = read_next(stream).await;
            assert_eq!(numbers, [number]);
            deliver(in_flight);
        }
    }
    assert_eq!((streams.len(), fixture.registry.pending_records()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_damage_has_taken_is_counted_and_what_nobody_counted_too() {
    let disk = SimulatedDisk::new(7);
    let (journal, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    fixture.write(&journal, "a", ENTRY).unwrap();
    let stream = fixture.stream("a");
    let name = stream.name().clone();
    let key = StreamAddress { exporter: "one".into(), name: name.clone() }.to_journal();
    for (records, bytes) in [(3, 3 * ENTRY as u64), (0, 0)] {
        let id = journal.stream(&key);
        let found = RecoveredStream { id, key: key.clone(), first: 0, last: 0, entries: 1, records, bytes };
        let shared = shared(&journal, 1 << 20);
        let (registry, consumers) = Fixture::exporter("one", settings(), &shared);
        registry.recover(vec![(name.clone(), found)]);
        assert_eq!(registry.pending_records(), records);
        let (in_flight, _) = read_next(&consumers.last()).await;
        assert_eq!((registry.pending_records(), registry.pending_bytes()), (1, ENTRY as u64));
        assert_eq!(registry.recovered_records(), records.max(1));
        drop(in_flight);
        assert_eq!((registry.pending_records(), registry.pending_bytes()), (0, 0));
    }
}
