//! What the positions say, and what is made of it at the next start.

use super::*;
use crate::journal::disk::BLOCK;

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
        journal.settle(a, 0..=19);
        drop(journal);
        assert_eq!(segments(&disk), [""; 0], "nothing is left of the stream but its position");

        let (journal, _) = open(&disk);
        let b = journal.stream(&key("b"));
        assert_ne!(a, b);
        fill(&journal, b, "b", 0..10, 100);
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
            POSITIONS.iter().for_each(|file| disk.lose(file));
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
