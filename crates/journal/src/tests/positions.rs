//! What the positions say, and what is made of it at the next start.

use super::*;
use crate::disk::BLOCK;

const POSITIONS: [&str; 2] = ["positions-a", "positions-b"];

#[test]
fn a_number_with_a_position_is_not_given_to_another_stream() {
    // Recovery falls back to the file that is older, with what an earlier process said, if the newer is lost or damaged.
    let damage: [fn(&SimulatedDisk, &str); 2] =
        [|disk, file| disk.lose(file), |disk, file| disk.flip(file, (BLOCK + 3) * 8)];
    for (damage, file) in damage.iter().flat_map(|damage| POSITIONS.map(|file| (damage, file))) {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        fill(&journal, a, "a", 0..20, 100);
        let number = journal.number(a);
        journal.settle(a, 0..=19);
        drop(journal);
        assert_eq!(segments(&disk), [""; 0], "nothing is left of the stream but its position");

        let (journal, _) = open(&disk);
        let b = journal.stream(&key("b"));
        fill(&journal, b, "b", 0..10, 100);
        assert_ne!(journal.number(b), number);
        disk.kill();
        drop(journal);
        damage(&disk, file);
        let (journal, recovery) = open(&disk);
        let found: Vec<_> = recovery.streams.iter().map(|found| (found.first, found.entries)).collect();
        assert_eq!(found, [(0, 10)], "without {file}");
        let b = journal.stream(&key("b"));
        assert_eq!(read_all(&journal, b), filled("b", 0..10, 100));
    }
}

#[test]
fn the_number_of_a_spare_file_is_not_given_to_a_segment() {
    for positions_are_lost in [false, true] {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        fill(&journal, a, "a", 0..300, 1000);
        journal.settle(a, 0..=299);
        drop(journal);
        if positions_are_lost {
            for file in POSITIONS {
                disk.lose(file);
            }
        }

        let (journal, _) = open(&disk);
        assert!(journal.state().spare_segments > 2);
        let a = journal.stream(&key("a"));
        // Some segments come and go, their files become spare, and then all of these are needed.
        for (from, to) in [(0, 25), (25, 200)] {
            fill(&journal, a, "a", from..to, 1000);
            journal.settle(a, 0..=to - 1);
            journal.tend_once();
            assert_eq!(journal.state().failing, None);
        }
    }
}

/// Opens, and says how many entries were found and what is read of stream `a` from the first of them on.
fn found_of_a(disk: &SimulatedDisk) -> (u64, Vec<(u64, Bytes)>, Journal) {
    let (journal, recovery) = open(disk);
    let a = journal.stream(&key("a"));
    let (first, entries) = recovery.streams.first().map_or((0, 0), |found| (found.first, found.entries));
    let all = read_from(&journal, a, first, 5000);
    let bytes: usize = all.iter().map(|(_, bytes)| otlp::frame_len(bytes.len())).sum();
    assert_eq!(recovery.streams.first().map_or(0, |found| found.bytes), bytes as u64);
    (entries, all, journal)
}

#[test]
fn what_is_settled_behind_a_stuck_entry_does_not_come_again() {
    for kill in [false, true] {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        let entries = (0..10).map(|n| entry(nth("a", n, 100), 1)).collect();
        append(&journal, vec![StreamEntries { stream: a, entries }]).unwrap();
        fill(&journal, a, "a", 10..40, 100);
        journal.settle(a, 3..=6);
        journal.settle(a, 20..=29);
        journal.settle(a, 35..=39);
        journal.tend_once();
        if kill {
            disk.kill();
        }
        drop(journal);
        let live = || (0..3).chain(7..20).chain(30..35);
        let (entries, all, journal) = found_of_a(&disk);
        assert_eq!((entries, all), (21, filled("a", live(), 100)));

        // It says so at the next start as well, and what comes now is another.
        let a = journal.stream(&key("a"));
        fill(&journal, a, "a", 40..41, 100);
        journal.settle(a, 0..=0);
        drop(journal);
        let (entries, all, _) = found_of_a(&disk);
        assert_eq!((entries, all), (21, filled("a", live().chain([40]).skip(1), 100)));
    }
}

#[test]
fn ranges_are_kept_when_the_positions_begin_a_new_file() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..300, 10);
    for n in (1..300).step_by(2) {
        journal.settle(a, n..=n);
        journal.tend_once();
    }
    disk.kill();
    drop(journal);
    let (entries, all, _) = found_of_a(&disk);
    assert_eq!((entries, all), (150, filled("a", (0..300).step_by(2), 10)));
}

#[test]
fn stuck_entries_do_not_keep_what_is_settled_between_them_on_disk() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    // Of each thirty one stays: all others would not fit.
    for from in (0..1200).step_by(30) {
        fill(&journal, a, "a", from..from + 30, 3000);
        journal.settle(a, from + 1..=from + 29);
        journal.tend_once();
        assert!(journal.state().segments < 10, "{:?}", journal.state());
    }
    let stuck = || filled("a", (0..1200).step_by(30), 3000);
    // They are carried out of their segments once, not again and again.
    let carried = journal.state().carried_bytes;
    assert!((90_000..130_000).contains(&carried), "{carried}");
    (0..10).for_each(|_| journal.tend_once());
    assert!(journal.state().carried_bytes < 130_000);
    assert_eq!(read_all(&journal, a), stuck());
    drop(journal);
    let (entries, all, journal) = found_of_a(&disk);
    assert_eq!((entries, all), (40, stuck()));

    // The segments that had the last numbers are gone, but these count as settled.
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 1200..1201, 100);
    disk.kill();
    drop(journal);
    assert_eq!(found_of_a(&disk).0, 41);
}

#[test]
fn what_is_settled_is_passed_over_however_much_it_is() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..200, 1000);
    journal.settle(a, 1..=99);
    journal.settle(a, 101..=198);
    for from in [0, 1, 50] {
        let numbers: Vec<u64> = read_from(&journal, a, from, 1).into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [0, 100, 199].into_iter().filter(|n| *n >= from).collect::<Vec<_>>());
    }
}
