//! Requests that the disk takes too long for: they are refused, and what is written of them later is void.

use bytes::Bytes;

use super::backlog::{deliver, journal, read_next, unsettled};
use super::*;
use crate::journal::simulation::SimulatedDisk;
use crate::journal::{Journal, JournalSettings};

/// The framed bytes of an entry: a batch of its own.
const ENTRY: usize = 400;

/// Hands one entry of a stream to the journal, which writes nothing by itself.
fn begin(fixture: &Fixture, journal: &Journal, receipt: bool) -> Writing {
    let mut admission = fixture.admission();
    place(&mut admission, &fixture.registry, &[("a", ENTRY)]).expect("every entry fits its exporter");
    admission.commit_durably(journal, &Bytes::new(), receipt).expect("there is room").1
}

/// Waits for a request until it is refused.
async fn give_up(mut writing: Writing) {
    let began = tokio::time::Instant::now();
    assert_eq!(writing.written().await.map(drop), Err(Refused::Full(Full::Disk)));
    assert_eq!(began.elapsed(), JournalSettings::PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_written_too_late_is_refused_and_no_part_of_its_stream() {
    for receipt in [false, true] {
        let disk = SimulatedDisk::new(1);
        let (opened, _) = journal(&disk, 4 << 20);
        let fixture = Fixture::on(&opened, 1 << 20);
        give_up(begin(&fixture, &opened, receipt)).await;
        assert!(fixture.in_memory() > 0, "what waits for the disk is in memory, and counts");
        while opened.commit_once() {}
        assert_eq!((fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0));
        assert_eq!(fixture.consumers.started(), 0, "there is nothing to send");
        opened.tend_once();
        disk.kill();
        drop((fixture, opened));
        let (_, found) = journal(&disk, 4 << 20);
        assert_eq!(found, [], "nor is there for the next process");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_wrote_beside_a_void_request_is_sent_once_and_in_order() {
    // With memory for all, and for one entry: then the others are read from disk.
    for memory in [1 << 20, 4 * ENTRY as u64] {
        let (journal, _) = journal(&SimulatedDisk::new(1), 4 << 20);
        let fixture = Fixture::on(&journal, memory);
        fixture.write(&journal, "a", ENTRY).unwrap();
        let stream = fixture.stream("a");
        let mut void = Vec::new();
        for round in 1..6 {
            if round % 2 == 1 {
                void.push(round);
                give_up(begin(&fixture, &journal, false)).await;
            }
            if round % 2 == 0 {
                fixture.write(&journal, "a", ENTRY).unwrap();
            } else {
                while journal.commit_once() {}
            }
        }
        fixture.write(&journal, "a", ENTRY).unwrap();
        assert_eq!(void, [1, 3, 5]);
        let mut sent = Vec::new();
        while sent.len() < 4 {
            let (in_flight, numbers) = read_next(&stream).await;
            sent.extend(numbers);
            deliver(in_flight);
        }
        assert_eq!(sent, [0, 2, 4, 6]);
        assert_eq!((fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0));
        assert_eq!(unsettled(&journal, &stream), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_request_that_the_disk_refuses_in_the_end_leaves_nothing_either() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = journal(&disk, 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    give_up(begin(&fixture, &journal, false)).await;
    disk.set_faults(crate::journal::simulation::DiskFaults { failing_writes: 1, ..Default::default() });
    while journal.commit_once() {}
    assert_eq!((fixture.in_memory(), fixture.registry.pending_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_sender_has_gone_is_not_given_up_however_late_it_is() {
    let (journal, _) = journal(&SimulatedDisk::new(1), 4 << 20);
    let fixture = Fixture::on(&journal, 1 << 20);
    let mut writing = begin(&fixture, &journal, false);
    tokio::time::advance(10 * JournalSettings::PATIENCE).await;
    while journal.commit_once() {}
    assert!(matches!(writing.ended().await, Ok(None)));
    assert_eq!(fixture.registry.pending_bytes(), ENTRY as u64);
}
