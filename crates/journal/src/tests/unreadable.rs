//! Disks that can't read some places any more, or have no room to keep copies of what is damaged: the rest counts.

use super::damage::{ENTRIES, LENGTH, all_but, closed, copy, entries, kept, killed, recovered};
use super::*;
use crate::Damage;
use crate::disk::BLOCK;
use crate::record::HEADER;
use crate::simulation::DiskFaults;

fn blocks(disk: &SimulatedDisk, name: &str) -> usize {
    disk.content(name).len() / BLOCK
}

#[test]
fn a_block_that_is_lost_before_recovery_costs_what_stood_in_it() {
    let killed = killed();
    let names = segments(&killed);
    for (name, block) in [&names[0], &names[4], &names[names.len() - 1]]
        .into_iter()
        .flat_map(|name| (0..blocks(&killed, name)).map(move |block| (name, block)))
    {
        let disk = copy(&killed);
        disk.lose_blocks(name, block..block + 1);
        let of_segment = entries(&disk, name).into_iter();
        let lost = of_segment.filter(|(at, record)| {
            let last = at + HEADER + record.length as usize - 1;
            block == 0 || (at / BLOCK..=last / BLOCK).contains(&block)
        });
        let lost: Vec<u64> = lost.map(|(_, record)| record.first).collect();
        let (damage, numbers, journal) = recovered(&disk);
        let left = all_but(0..0).into_iter().filter(|n| !lost.contains(n));
        assert_eq!(numbers, left.collect::<Vec<_>>(), "{name} {block}");
        assert!(lost.is_empty() || !damage.is_empty(), "{name} {block}: what is lost is reported");
        let without_copy = damage.iter().filter(|damage| matches!(damage, Damage::Index { .. })).count();
        assert_eq!(kept(&disk), damage.len() - without_copy, "{name} {block}: {damage:?}");
        drop(journal);
        assert_eq!(open(&disk).1.damage, [], "{name} {block}: it is reported once");
    }
}

#[test]
fn a_block_of_an_index_that_is_lost_costs_nothing() {
    let closed = closed();
    for name in segments(&closed) {
        let end = blocks(&closed, &name);
        for block in end - 3..end {
            let disk = copy(&closed);
            disk.lose_blocks(&name, block..block + 1);
            let (damage, numbers, journal) = recovered(&disk);
            assert_eq!(numbers, all_but(0..0), "{name} {block}");
            assert_eq!(damage, [Damage::Index { file: name.clone() }], "{name} {block}");
            drop(journal);
            assert_eq!(open(&disk).1.damage, [], "{name} {block}: the index was made again");
        }
    }
}

#[test]
fn a_block_of_the_positions_that_is_lost_brings_back_what_was_settled_at_most() {
    let killed = killed();
    let (journal, _) = open(&killed);
    let a = journal.stream(&key("a"));
    for n in 0..120 {
        journal.settle(a, n..=n);
        journal.tend_once();
    }
    killed.kill();
    drop(journal);
    for name in ["positions-a", "positions-b"] {
        for block in 0..blocks(&killed, name) {
            let disk = copy(&killed);
            disk.lose_blocks(name, block..block + 1);
            let (journal, _) = open(&disk);
            let a = journal.stream(&key("a"));
            let live = read_all(&journal, a).into_iter().filter(|(n, _)| *n >= 120);
            assert_eq!(live.collect::<Vec<_>>(), filled("a", 120..ENTRIES, LENGTH), "{name} {block}");
        }
    }
}

#[test]
fn an_index_that_is_lost_while_the_journal_runs_is_made_again() {
    let disk = closed();
    let (journal, _) = open(&disk);
    let name = segments(&disk).remove(1);
    let end = blocks(&disk, &name);
    disk.lose_blocks(&name, end - 3..end);
    let a = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, a), filled("a", 0..ENTRIES, LENGTH));
    journal.tend_once();
    disk.kill();
    drop(journal);
    assert_eq!(open(&disk).1.damage, []);
}

#[test]
fn a_damaged_record_is_put_aside_also_when_the_index_is_damaged() {
    let disk = closed();
    let (journal, _) = open(&disk);
    let name = segments(&disk).remove(1);
    let end = blocks(&disk, &name);
    let of_segment = entries(&disk, &name);
    let (at, record) = of_segment[of_segment.len() / 2];
    disk.flip(&name, (at + HEADER) * 8);
    // The first extent.
    disk.flip(&name, (end - 3) * BLOCK * 8);
    let a = journal.stream(&key("a"));
    let left = (0..ENTRIES).filter(|n| *n != record.first);
    assert_eq!(read_all(&journal, a), filled("a", left, LENGTH));
    assert_eq!((kept(&disk), journal.state().quarantined), (1, 1));
}

#[test]
fn records_that_are_lost_with_their_index_are_waited_for_and_not_given_up() {
    let disk = closed();
    let (journal, _) = open(&disk);
    let name = segments(&disk).remove(1);
    let bytes = disk.content(&name);
    let end = blocks(&disk, &name);
    disk.lose_blocks(&name, end - 3..end);
    disk.lose_blocks(&name, 5..6);
    let a = journal.stream(&key("a"));
    for _ in 0..3 {
        assert!(journal.read(a, 0..u64::MAX, usize::MAX).is_err());
        journal.tend_once();
    }
    assert_eq!((kept(&disk), journal.state().settled_entries), (0, 0));
    disk.put(&name, bytes);
    assert_eq!(read_all(&journal, a), filled("a", 0..ENTRIES, LENGTH));
}

#[test]
fn a_settled_part_of_a_record_that_can_not_be_read_does_not_keep_a_journal_from_being_opened() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..1, 100);
    let entries = (1..5).map(|n| entry(nth("a", n, 100), 1)).collect();
    append(&journal, vec![StreamEntries { stream: a, entries }]).unwrap();
    journal.settle(a, 0..=1);
    drop(journal);
    let segment = segments(&disk).remove(0);
    let bytes = disk.content(&segment);
    // The second write.
    disk.lose_blocks(&segment, 2..3);
    let (journal, recovery) = open(&disk);
    assert_eq!((recovery.streams[0].first, recovery.streams[0].last), (2, 4));
    let a = journal.stream(&key("a"));
    assert!(journal.read(a, 2..5, usize::MAX).is_err(), "whoever needs it waits");
    disk.put(&segment, bytes);
    assert_eq!(read_from(&journal, a, 2, usize::MAX), filled("a", 2..5, 100));
}

#[test]
fn a_full_disk_without_room_for_a_copy_does_not_keep_a_journal_from_being_opened() {
    let disk = killed();
    let last = segments(&disk).pop().unwrap();
    let all = entries(&disk, &last);
    let (at, record) = all[all.len() / 2];
    disk.flip(&last, (at + HEADER) * 8);
    let used = disk.files().iter().map(|(_, length)| length).sum();
    disk.set_faults(DiskFaults { capacity: Some(used), ..DiskFaults::default() });
    let (journal, recovery) = open(&disk);
    assert!(matches!(recovery.damage[..], [Damage::Corrupt { .. }]), "{:?}", recovery.damage);
    let a = journal.stream(&key("a"));
    let left = (0..ENTRIES).filter(|n| *n != record.first);
    assert_eq!(read_all(&journal, a), filled("a", left, LENGTH));
    assert_eq!((kept(&disk), journal.state().quarantined), (0, 1));
}
