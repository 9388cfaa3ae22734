//! One test for each kind of damage. What is not damaged is all there, in order; what is, is kept and reported.

use super::*;
use crate::Damage;
use crate::disk::BLOCK;
use crate::format::FileHeader;
use crate::pieces::PiecewiseFile;
use crate::record::{HEADER, Record, RecordKind};
use crate::scan::scan;

pub(super) const ENTRIES: u64 = 150;
pub(super) const LENGTH: usize = 1000;

/// A journal of a few segments whose process was killed.
pub(super) fn killed() -> SimulatedDisk {
    let disk = SimulatedDisk::new(7);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..ENTRIES, LENGTH);
    disk.kill();
    drop(journal);
    disk
}

/// The same, but closed: every segment has its index.
pub(super) fn closed() -> SimulatedDisk {
    let disk = killed();
    drop(open(&disk));
    disk
}

pub(super) fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    let copy = SimulatedDisk::new(8);
    disk.files().iter().for_each(|(name, _)| copy.put(name, disk.content(name)));
    copy
}

/// The records of a segment and where they begin.
fn records(disk: &SimulatedDisk, segment: &str) -> Vec<(usize, Record)> {
    let bytes = disk.content(segment);
    let header = FileHeader::decode(&bytes).unwrap();
    // As if all of it could be read.
    let readable = SimulatedDisk::new(0);
    readable.put(segment, bytes.clone());
    let file = readable.process().open_to_read(segment).unwrap();
    let mut found = Vec::new();
    let scanned =
        scan(&mut PiecewiseFile::new(&*file, bytes.len() as u64), header.seed(), |_, at, record| {
            found.push((at as usize, *record));
            Ok(())
        });
    scanned.unwrap();
    found
}

pub(super) fn entries(disk: &SimulatedDisk, segment: &str) -> Vec<(usize, Record)> {
    records(disk, segment).into_iter().filter(|(_, record)| record.kind == RecordKind::Entries).collect()
}

/// Opens, and returns what stream `a` has, after appending one more entry and reading all of it.
pub(super) fn recovered(disk: &SimulatedDisk) -> (Vec<Damage>, Vec<u64>, Journal) {
    let (journal, recovery) = open(disk);
    let a = journal.stream(&key("a"));
    let all = read_all(&journal, a);
    for (n, bytes) in &all {
        assert_eq!(*bytes, nth("a", *n, LENGTH));
    }
    let numbers: Vec<u64> = all.into_iter().map(|(n, _)| n).collect();
    assert!(numbers.is_sorted());
    let next = append_one(&journal, a, nth("a", 1000, LENGTH)).unwrap();
    assert!(numbers.last().is_none_or(|last| *last < next));
    assert_eq!(read_from(&journal, a, next, 1), [(next, nth("a", 1000, LENGTH))]);
    (recovery.damage, numbers, journal)
}

pub(super) fn kept(disk: &SimulatedDisk) -> usize {
    disk.files().iter().filter(|(name, _)| name.starts_with("quarantine/")).count()
}

pub(super) fn all_but(lost: std::ops::Range<u64>) -> Vec<u64> {
    (0..ENTRIES).filter(|n| !lost.contains(n)).collect()
}

#[test]
fn truncated_at_every_byte_of_the_last_record() {
    let disk = killed();
    let last = segments(&disk).pop().unwrap();
    let (at, record) = *entries(&disk, &last).last().unwrap();
    for cut in at..at + HEADER + record.length as usize {
        let disk = copy(&disk);
        disk.put(&last, disk.content(&last)[..cut].to_vec());
        let (damage, numbers, journal) = recovered(&disk);
        assert_eq!(numbers, all_but(ENTRIES - 1..ENTRIES), "cut at {cut}");
        match &damage[..] {
            [] => assert_eq!(cut, at),
            [Damage::Torn { offset, bytes, .. }] => {
                assert_eq!((*offset, *bytes), (at as u64, (cut - at) as u64));
            }
            other => panic!("{other:?}"),
        }
        drop(journal);
        assert_eq!(open(&disk).1.damage, [], "what was cut is not reported again");
    }
}

#[test]
fn flipped_bits_in_the_header_of_a_segment() {
    let disk = killed();
    let segment = segments(&disk).remove(0);
    for byte in (0..64).chain(BLOCK / 2..BLOCK / 2 + 64) {
        let disk = copy(&disk);
        disk.flip(&segment, byte * 8 + byte % 8);
        let (damage, numbers, _) = recovered(&disk);
        assert_eq!((damage, numbers), (vec![], all_but(0..0)), "byte {byte}");
    }
}

#[test]
fn both_copies_of_a_header_lost() {
    let disk = killed();
    let names = segments(&disk);
    let lost = entries(&disk, &names[1]);
    let lost = lost[0].1.first..lost[lost.len() - 1].1.first + 1;
    disk.flip(&names[1], 100);
    disk.flip(&names[1], BLOCK / 2 * 8 + 100);
    let (damage, numbers, _) = recovered(&disk);
    assert_eq!(numbers, all_but(lost));
    assert!(matches!(&damage[..], [Damage::Unusable { file, .. }] if *file == names[1]), "{damage:?}");
    assert_eq!(kept(&disk), 1);
}

/// Flips a bit of one record, in a journal that was killed and in one that was closed.
fn flipped(byte: impl Fn(&Record) -> usize) {
    let killed = killed();
    // In the middle of a segment that was being written; and in one that has its index.
    for disk in [copy(&killed), closed()] {
        let last = segments(&disk).pop().unwrap();
        let all = entries(&disk, &last);
        let (at, record) = all[all.len() / 2];
        disk.flip(&last, (at + byte(&record)) * 8 + 3);
        let (damage, numbers, journal) = recovered(&disk);
        assert_eq!(numbers, all_but(record.first..record.first + 1));
        assert_eq!(journal.state().quarantined, 1);
        assert_eq!(kept(&disk), 1);
        let offset = at as u64;
        assert!(
            damage.iter().all(|d| matches!(d, Damage::Corrupt { offset: o, .. } if *o == offset)),
            "{damage:?}"
        );
        // What is lost does not keep the rest from being settled.
        let a = journal.stream(&key("a"));
        journal.settle(a, 0..=ENTRIES);
        journal.tend_once();
        disk.kill();
        drop(journal);
        assert_eq!(open(&disk).1.streams, []);
    }
}

#[test]
fn flipped_bits_in_the_length_of_a_record() {
    flipped(|_| 8);
    flipped(|_| 11);
}

#[test]
fn flipped_bits_in_the_header_of_a_record() {
    for byte in 12..HEADER {
        flipped(|_| byte);
    }
}

#[test]
fn flipped_bits_in_the_body_of_a_record() {
    flipped(|_| HEADER);
    flipped(|record| HEADER + record.length as usize / 2);
    flipped(|record| HEADER + record.length as usize - 1);
}

#[test]
fn flipped_bits_in_the_crc_of_a_record() {
    (0..8).for_each(|byte| flipped(|_| byte));
}

#[test]
fn flipped_bits_in_the_index_of_a_segment() {
    let disk = closed();
    for segment in segments(&disk) {
        let length = disk.content(&segment).len();
        // The rows, and the trailer.
        for byte in [length - 2 * BLOCK + 9, length - BLOCK, length - BLOCK + 50] {
            let disk = copy(&disk);
            disk.flip(&segment, byte * 8);
            let (damage, numbers, journal) = recovered(&disk);
            assert_eq!(numbers, all_but(0..0), "{segment} {byte}: {damage:?}");
            drop(journal);
            assert_eq!(open(&disk).1.damage, [], "the index was made again");
        }
    }
}

#[test]
fn flipped_bits_in_the_key_of_a_stream() {
    let disk = killed();
    for segment in segments(&disk) {
        let disk = copy(&disk);
        let all = records(&disk, &segment);
        let (at, _) = *all.iter().find(|(_, record)| record.kind == RecordKind::Stream).unwrap();
        disk.flip(&segment, (at + HEADER) * 8);
        let (damage, numbers, _) = recovered(&disk);
        assert_eq!(numbers, all_but(0..0), "other segments say who it is");
        assert!(matches!(damage[..], [Damage::Corrupt { .. }]), "{damage:?}");
    }
}

#[test]
fn a_stream_that_no_segment_names_any_more_is_kept_aside() {
    let disk = SimulatedDisk::new(7);
    let (journal, _) = open(&disk);
    let [a, b] = ["a", "b"].map(|name| journal.stream(&key(name)));
    fill(&journal, b, "b", 0..3, 100);
    fill(&journal, a, "a", 0..3, 100);
    disk.kill();
    drop(journal);
    let segment = segments(&disk).remove(0);
    let keys: Vec<_> =
        records(&disk, &segment).into_iter().filter(|(_, r)| r.kind == RecordKind::Stream).collect();
    disk.flip(&segment, (keys[0].0 + HEADER) * 8);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.streams.len(), 1);
    let a = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, a), filled("a", 0..3, 100));
    assert_eq!(kept(&disk), 4, "the key and three entries");
}

#[test]
fn a_missing_segment() {
    for disk in [killed(), closed()] {
        let names = segments(&disk);
        let lost = entries(&disk, &names[1]);
        let lost = lost[0].1.first..lost[lost.len() - 1].1.first + 1;
        disk.lose(&names[1]);
        let (damage, numbers, journal) = recovered(&disk);
        assert_eq!(numbers, all_but(lost));
        assert_eq!(damage, [Damage::Missing { file: names[1].clone() }]);
        drop(journal);
        assert_eq!(open(&disk).1.damage, [], "it is reported once");
    }
}

#[test]
fn what_is_missing_does_not_keep_the_rest() {
    let disk = killed();
    disk.lose(&segments(&disk)[1]);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    for (n, _) in read_from(&journal, a, 0, usize::MAX) {
        journal.settle(a, n..=n);
    }
    journal.tend_once();
    disk.kill();
    drop(journal);
    assert_eq!(open(&disk).1.streams, []);
}

#[test]
fn segments_that_were_freed_are_not_missing() {
    let disk = killed();
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    journal.settle(a, 0..=ENTRIES - 10);
    journal.tend_once();
    disk.kill();
    drop(journal);
    assert_eq!(open(&disk).1.damage, []);
}

#[test]
fn an_empty_segment() {
    for disk in [killed(), closed()] {
        let names = segments(&disk);
        let lost = entries(&disk, &names[1]);
        let lost = lost[0].1.first..lost[lost.len() - 1].1.first + 1;
        disk.put(&names[1], Vec::new());
        let (damage, numbers, _) = recovered(&disk);
        assert_eq!(numbers, all_but(lost));
        assert_eq!(damage, [Damage::Empty { file: names[1].clone() }]);
    }
}

/// What is said of a journal in which one file has another version; nothing of it is touched.
fn of_version(version: u8, file: &str, disk: &SimulatedDisk) -> String {
    let mut bytes = disk.content(file);
    for copy in [0, BLOCK / 2] {
        bytes[copy + 8] = version;
        let crc = crc32c::crc32c(&bytes[copy..copy + 60]);
        bytes[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
    }
    disk.put(file, bytes);
    let content =
        || disk.files().into_iter().map(|(name, _)| (disk.content(&name), name)).collect::<Vec<_>>();
    let before = content();
    let refused = try_open(disk).map(|_| ()).unwrap_err();
    assert!(before == content(), "nothing was touched");
    refused.to_string()
}

#[test]
fn a_segment_from_a_future_version() {
    let disk = killed();
    let segment = segments(&disk).remove(0);
    assert_eq!(
        of_version(4, &segment, &disk),
        format!(
            "`{segment}` has version 4 of the journal's format, and this Sluice knows only 3: \
             use a newer one, or another directory"
        )
    );
}

#[test]
fn a_file_from_a_former_version_is_refused_with_what_to_do() {
    let (one, other) = (killed(), killed());
    for (disk, file) in [(&one, segments(&one).remove(1)), (&other, "positions-a".to_owned())] {
        assert_eq!(
            of_version(1, &file, disk),
            format!(
                "`{file}` has version 1 of the journal's format, and this Sluice knows only 3: let the Sluice that \
                 wrote it deliver what is in it, then move `simulated` away; a new journal is made then"
            )
        );
    }
}

#[test]
fn lost_position_files() {
    let disk = killed();
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    journal.settle(a, 0..=120);
    journal.tend_once();
    disk.kill();
    drop(journal);
    let first_left = entries(&disk, &segments(&disk)[0])[0].1.first;
    for lost in [vec!["positions-a"], vec!["positions-b"], vec!["positions-a", "positions-b"]] {
        let disk = copy(&disk);
        for name in &lost {
            disk.lose(name);
        }
        let (journal, recovery) = open(&disk);
        let a = journal.stream(&key("a"));
        let all = read_all(&journal, a);
        let from = all[0].0;
        assert!(from == 121 || from <= first_left.max(1), "{from}");
        assert_eq!(all, filled("a", from..ENTRIES, LENGTH));
        assert_eq!(recovery.damage == [Damage::PositionsLost], lost.len() == 2);
    }
}

#[test]
fn flipped_bits_in_the_positions() {
    let disk = killed();
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    for n in 0..120 {
        journal.settle(a, n..=n);
        journal.tend_once();
    }
    disk.kill();
    drop(journal);
    for name in ["positions-a", "positions-b"] {
        for byte in [10, BLOCK + 3, BLOCK + 30, BLOCK + HEADER + 2, 2 * BLOCK + 20, 50 * BLOCK + 45] {
            let disk = copy(&disk);
            disk.flip(name, byte * 8);
            let (journal, _) = open(&disk);
            let a = journal.stream(&key("a"));
            let all = read_all(&journal, a);
            // What is settled may come back, as far as it is there.
            let live: Vec<_> = all.into_iter().filter(|(n, _)| *n >= 120).collect();
            assert_eq!(live, filled("a", 120..ENTRIES, LENGTH), "{name} {byte}");
        }
    }
}

#[test]
fn a_duplicated_segment() {
    let disk = killed();
    let names = segments(&disk);
    for copy_as in ["segment-0000000000000000", "segment-00000000000000ff"] {
        let disk = copy(&disk);
        disk.put(copy_as, disk.content(&names[1]));
        let (damage, numbers, _) = recovered(&disk);
        assert_eq!(numbers, all_but(0..0));
        let reason = format!("is a copy of `{}`", names[1]);
        assert_eq!(damage, [Damage::Unusable { file: copy_as.to_owned(), reason }]);
        assert_eq!(kept(&disk), 1);
    }
}

#[test]
fn a_renamed_segment_gets_its_name_back() {
    let disk = killed();
    let names = segments(&disk);
    disk.put("segment-00000000000000ff", disk.content(&names[1]));
    disk.lose(&names[1]);
    let (damage, numbers, _) = recovered(&disk);
    assert_eq!((damage, numbers), (vec![], all_but(0..0)));
    assert!(segments(&disk).contains(&names[1]));
}

#[test]
fn files_of_others_are_left_alone() {
    let disk = killed();
    disk.put("segment-1", vec![1; 10]);
    disk.put("notes.txt", vec![2; 10]);
    let (damage, numbers, _) = recovered(&disk);
    assert_eq!((damage, numbers), (vec![], all_but(0..0)));
    assert_eq!(disk.content("segment-1"), [1; 10]);
}
