//! What goes wrong while segments are sealed, carried and freed: nothing that is needed goes with them, and what can't be
//! done with one keeps no other.

use super::*;
use crate::disk::BLOCK;
use crate::format::FileHeader;
use crate::row::ROW;
use crate::segments::Index;
use crate::simulation::DiskFaults;
use crate::trailer::Trailer;

/// A journal of six segments, two or three of which are not among the newest: in each a few entries of `stuck` stand among many
/// of `busy`. How many each has.
fn stuck_among_busy(disk: &SimulatedDisk) -> (Journal, [StreamId; 2], [u64; 2]) {
    let (journal, _) = open(disk);
    let streams = ["stuck", "busy"].map(|name| journal.stream(&key(name)));
    let (mut of_stuck, mut of_busy) = (0, 0);
    while segments(disk).len() < 6 {
        fill(&journal, streams[0], "stuck", of_stuck..of_stuck + 1, 500);
        fill(&journal, streams[1], "busy", of_busy..of_busy + 10, 2000);
        (of_stuck, of_busy) = (of_stuck + 1, of_busy + 10);
    }
    journal.tend_once();
    assert_eq!(journal.state().carried_bytes, 0);
    (journal, streams, [of_stuck, of_busy])
}

fn assert_all_is_counted(journal: &Journal, disk: &SimulatedDisk) {
    let on_disk: u64 = disk.files().iter().map(|(_, length)| length).sum();
    assert_eq!(journal.state().bytes_on_disk, on_disk);
}

/// The last block of a segment that is sealed.
fn trailer(disk: &SimulatedDisk, segment: &str) -> Trailer {
    let bytes = disk.content(segment);
    let header = FileHeader::decode(&bytes).unwrap();
    let file = disk.process().open_to_read(segment).unwrap();
    Trailer::read(&*file, bytes.len() as u64, &header).unwrap().expect("the segment is sealed")
}

#[test]
fn an_index_that_turns_out_to_be_damaged_while_entries_are_carried_costs_none_of_them() {
    let disk = SimulatedDisk::new(1);
    let (journal, [stuck, busy], [of_stuck, of_busy]) = stuck_among_busy(&disk);
    let names = segments(&disk);
    let extents_at = trailer(&disk, &names[1]).extents_at as usize;
    (extents_at..extents_at + BLOCK).for_each(|byte| disk.flip(&names[1], byte * 8));
    journal.settle(busy, 0..=of_busy - 1);
    // Segments are chosen to be carried, and the first is opened. Then somebody reads, and meets the damage in the second.
    let expected = filled("stuck", 0..of_stuck, 500);
    let (reader, read) = (journal.clone(), Arc::new(Mutex::new(Vec::new())));
    let of_reader = read.clone();
    disk.interrupt(&names[0], move || *of_reader.lock() = read_all(&reader, stuck));
    for _ in 0..3 {
        journal.tend_once();
        assert_eq!(read_all(&journal, stuck), expected);
    }
    assert_eq!(*read.lock(), expected);
    disk.kill();
    drop(journal);
    let (journal, _) = open(&disk);
    let stuck = journal.stream(&key("stuck"));
    assert_eq!(read_all(&journal, stuck), expected);
}

#[test]
fn a_segment_that_can_not_be_read_is_left_alone_and_others_are_carried_without_it() {
    let disk = SimulatedDisk::new(1);
    let (journal, [stuck, busy], [of_stuck, of_busy]) = stuck_among_busy(&disk);
    let names = segments(&disk);
    let of_segment = damage::entries(&disk, &names[1]);
    let (at, lost) = *of_segment.iter().find(|(_, record)| record.stream == journal.number(stuck)).unwrap();
    let bytes = disk.content(&names[1]);
    disk.lose_blocks(&names[1], at / BLOCK..at / BLOCK + 1);
    journal.settle(busy, 0..=of_busy - 1);
    (0..4).for_each(|_| journal.tend_once());
    let left = segments(&disk);
    assert!(left.contains(&names[1]) && !left.contains(&names[0]), "{left:?}");
    let carried = journal.state().carried_bytes;
    (0..700).for_each(|_| journal.tend_once());
    assert_eq!(journal.state().carried_bytes, carried, "nothing is carried again and again");
    assert!(journal.read(stuck, lost.first..of_stuck, 1).is_err(), "whoever needs it waits");
    disk.put(&names[1], bytes);
    assert_eq!(read_all(&journal, stuck), filled("stuck", 0..of_stuck, 500));
}

#[test]
fn an_index_that_can_not_be_written_where_it_belongs_goes_elsewhere_in_its_file() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..100, 3000);
    let names = segments(&disk);
    let end = disk.content(&names[0]).len() / BLOCK;
    disk.wear_out(&names[0], end - 1..end);
    (0..2).for_each(|_| journal.tend_once());
    trailer(&disk, &names[0]);
    trailer(&disk, &names[1]);
    assert_all_is_counted(&journal, &disk);
    disk.cut_power();
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.damage, []);
    let a = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, a), filled("a", 0..100, 3000));
    journal.settle(a, 0..=99);
    (0..2).for_each(|_| journal.tend_once());
    assert!(!segments(&disk).contains(&names[1]), "{:?}", segments(&disk));
}

#[test]
fn rows_that_were_left_on_disk_and_damaged_there_free_nothing() {
    let disk = SimulatedDisk::new(1);
    let (journal, ids, [of_stuck, of_busy]) = stuck_among_busy(&disk);
    let [stuck, busy] = ids.map(|id| StreamId(journal.number(id)));
    drop(journal);
    let (journal, _) = open(&disk);
    for segment in journal.objects().store.catalog.lock().segments.values_mut() {
        if let Some(on_disk) = segment.sealed().and_then(|index| index.without_rows(&segment.segment.header))
        {
            segment.index = Index::Closed(Arc::new(on_disk));
        }
    }
    // As if everything that the first segment has of `stuck` were settled.
    let name = segments(&disk).remove(0);
    let mut bytes = disk.content(&name);
    let row = trailer(&disk, &name).rows_at as usize;
    assert_eq!(bytes[row..row + 8], stuck.0.to_le_bytes());
    bytes[row + 24..row + 32].fill(0);
    assert_eq!(bytes[row + ROW..row + ROW + 8], busy.0.to_le_bytes());
    disk.put(&name, bytes);
    journal.settle(busy, 0..=of_busy - 1);
    (0..3).for_each(|_| journal.tend_once());
    assert!(
        !segments(&disk).contains(&name),
        "its index was made again, and what is live in it carried elsewhere"
    );
    disk.kill();
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.damage, []);
    let stuck = journal.stream(&key("stuck"));
    assert_eq!(read_all(&journal, stuck), filled("stuck", 0..of_stuck, 500));
}

#[test]
fn a_segment_whose_file_stays_is_not_forgotten() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let [done, moving] = ["done", "moving"].map(|name| journal.stream(&key(name)));
    fill(&journal, done, "done", 0..200, 1000);
    fill(&journal, moving, "moving", 0..200, 10);
    journal.settle(done, 0..=199);
    journal.forget(done);
    disk.set_faults(DiskFaults { names_stay: true, ..DiskFaults::default() });
    // Long enough for the positions to be written anew, with what is known then.
    for n in 0..100 {
        journal.settle(moving, n..=n);
        journal.tend_once();
    }
    assert_all_is_counted(&journal, &disk);
    disk.kill();
    drop(journal);
    disk.set_faults(DiskFaults::default());
    let (journal, recovery) = open(&disk);
    let [moving] = &recovery.streams[..] else { panic!("{:?}", recovery.streams) };
    assert_eq!((&moving.key, moving.first), (&key("moving"), 100));
    journal.settle(moving.id, 0..=199);
    journal.tend_once();
    assert_eq!(journal.state().segments, 0, "what nobody needs goes as soon as it can");
}

#[test]
fn a_segment_that_was_passed_over_and_whose_file_stays_goes_later() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..50, 1000);
    journal.tend_once();
    disk.set_faults(DiskFaults { names_stay: true, ..DiskFaults::default() });
    // Too large for the segment that is ready.
    assert!(append_one(&journal, a, nth("a", 50, 100_000)).is_err());
    assert_all_is_counted(&journal, &disk);
    disk.set_faults(DiskFaults::default());
    journal.tend_once();
    fill(&journal, a, "a", 50..51, 100_000);
    journal.settle(a, 0..=50);
    (0..2).for_each(|_| journal.tend_once());
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.streams, recovery.damage), (vec![], vec![]));
    assert_all_is_counted(&journal, &disk);
}

#[test]
fn a_file_that_somebody_removed_does_not_stay_in_the_count() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..200, 1000);
    journal.tend_once();
    disk.lose(&segments(&disk)[0]);
    journal.settle(a, 0..=199);
    journal.tend_once();
    assert_all_is_counted(&journal, &disk);
}
