//! Recovery needs memory for a piece of a file, however large the file is.

use super::*;
use crate::pieces::PIECE;
use crate::stalling::StallingDisk;

const MIB: usize = 1 << 20;

/// Segments of 16 MiB.
fn large() -> JournalSettings {
    JournalSettings { max_size: 16 * (16 << 20), segment_size: 16 << 20, ..settings(64) }
}

/// A journal with some MiB in one segment that has no index, which one entry alone is larger than a piece of.
fn killed() -> SimulatedDisk {
    let disk = SimulatedDisk::new(3);
    let (journal, _) = Journal::open_by_hand(large(), disk.process()).unwrap();
    let a = journal.stream(&key("a"));
    for (n, length) in [100, 3 * MIB, 700_000, 5 * MIB / 2, 100].into_iter().enumerate() {
        append_one(&journal, a, nth("a", n as u64, length)).unwrap();
    }
    disk.kill();
    disk
}

/// Opens it, and returns the entries that are there, and the largest read that opening took.
fn opened(disk: &SimulatedDisk) -> (Vec<u64>, usize) {
    let watched = StallingDisk::new(disk.process());
    let (journal, _) = Journal::open_by_hand(large(), watched.disk()).unwrap();
    let largest = watched.largest_read();
    let all = read_all(&journal, journal.stream(&key("a")));
    disk.kill();
    (all.into_iter().map(|(n, _)| n).collect(), largest)
}

#[test]
fn a_segment_is_scanned_in_pieces_and_so_are_records_larger_than_a_piece() {
    let disk = killed();
    let segment = disk.files().into_iter().find(|(name, _)| name.starts_with("segment-")).unwrap();
    assert!(segment.1 >= 16 << 20, "{segment:?}");
    let (all, largest) = opened(&disk);
    assert_eq!(all, [0, 1, 2, 3, 4]);
    assert!(largest <= PIECE, "{largest} bytes were read at once");
}

#[test]
fn damage_is_found_in_pieces() {
    // In the middle of the record of 3 MiB, and in the small one behind it; and places that can't be read.
    for (spoil, expected) in [(2 * MIB, vec![0, 2, 3, 4]), (7 * MIB / 2, vec![0, 1, 3, 4])] {
        let (flipped, unreadable) = (killed(), killed());
        let segment = segments(&flipped).remove(0);
        flipped.flip(&segment, spoil * 8);
        unreadable.lose_blocks(&segment, spoil / 4096..spoil / 4096 + 1);
        for disk in [flipped, unreadable] {
            let (all, largest) = opened(&disk);
            assert_eq!(all, expected);
            assert!(largest <= PIECE, "{largest} bytes were read at once");
        }
    }
}

#[test]
fn an_index_is_made_again_in_pieces() {
    let disk = killed();
    drop(Journal::open_by_hand(large(), disk.process()).unwrap());
    disk.kill();
    let (segment, length) = disk.files().into_iter().find(|(name, _)| name.starts_with("segment-")).unwrap();
    // In the trailer.
    disk.flip(&segment, (length as usize - 4000) * 8);
    let (all, largest) = opened(&disk);
    assert_eq!(all, [0, 1, 2, 3, 4]);
    assert!(largest <= PIECE, "{largest} bytes were read at once");
}
