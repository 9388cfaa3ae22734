//! The numbers of streams: each is given once, with the first entry that is written.

use super::*;
use crate::simulation::DiskFaults;

/// Each stream that is recovered, by its number.
fn recovered(disk: &SimulatedDisk) -> Vec<(u64, String)> {
    let (_, recovery) = open(disk);
    recovery
        .streams
        .iter()
        .map(|stream| (stream.id.0, String::from_utf8(stream.key.as_bytes().to_vec()).unwrap()))
        .collect()
}

#[test]
fn a_request_that_is_refused_uses_up_no_number() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let first = journal.stream(&key("first"));
    fill(&journal, first, "first", 0..1, 10);
    for n in 0..50 {
        // Placed and never appended; then one that the disk refuses.
        journal.forget(journal.stream(&key(&format!("placed{n}"))));
        let refused = journal.stream(&key(&format!("refused{n}")));
        disk.set_faults(DiskFaults { failing_syncs: 1, ..DiskFaults::default() });
        assert!(append_one(&journal, refused, nth("refused", 0, 10)).is_err());
        assert!(append_one(&journal, refused, nth("refused", 0, 10)).is_err(), "it fails still");
        journal.tend_once();
        journal.forget(refused);
    }
    let large = journal.stream(&key("large"));
    let refused = append_one(&journal, large, nth("large", 0, 64 << 20));
    assert!(matches!(refused, Err(NotWritten::TooLarge { .. })), "{refused:?}");
    journal.forget(large);
    let last = journal.stream(&key("last"));
    fill(&journal, last, "last", 0..1, 10);
    disk.kill();
    drop(journal);
    assert_eq!(recovered(&disk), [(1, "first".to_owned()), (2, "last".to_owned())]);
}

#[test]
fn streams_that_come_in_one_group_get_one_number_each_in_the_order_of_their_requests() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let names = ["a", "b", "c"];
    let ids = names.map(|name| journal.stream(&key(name)));
    let answers = Arc::new(Mutex::new(Vec::new()));
    // All of them wait before anything is written.
    for (round, which) in [[2, 0], [0, 1], [1, 2]].into_iter().enumerate() {
        let groups = which.map(|at| {
            let entries = [entry(nth(names[at], round as u64, 20), 1)].into_iter().collect();
            StreamEntries { stream: ids[at], entries }
        });
        let answers = answers.clone();
        let done = move |done: Result<AssignedNumbers, NotWritten>| {
            answers.lock().push(done.unwrap().first.to_vec());
        };
        journal.append(groups.into(), Box::new(done));
    }
    while journal.commit_once() {}
    assert_eq!(*answers.lock(), [vec![0, 0], vec![1, 0], vec![1, 1]]);
    for (name, id) in names.iter().zip(ids) {
        assert_eq!(journal.stream(&key(name)), journal.stream(&key(name)));
        assert_eq!(read_all(&journal, id).len(), 2);
        journal.settle(id, 0..=0);
        assert_eq!(read_all(&journal, id).len(), 1, "it is the same stream under the name of before");
    }
    disk.kill();
    drop(journal);
    let expected = [(1, "c"), (2, "a"), (3, "b")].map(|(number, name)| (number, name.to_owned()));
    assert_eq!(recovered(&disk), expected);
}

#[test]
fn a_number_that_was_written_by_a_write_that_failed_is_anothers_from_the_next_write_on() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let [a, b] = ["a", "b"].map(|name| journal.stream(&key(name)));
    disk.set_faults(DiskFaults { failing_syncs: 1, ..DiskFaults::default() });
    assert!(append_one(&journal, a, nth("a", 0, 100)).is_err());
    journal.tend_once();
    fill(&journal, b, "b", 0..1, 100);
    fill(&journal, a, "a", 0..1, 100);
    disk.kill();
    drop(journal);
    assert_eq!(recovered(&disk), [(1, "b".to_owned()), (2, "a".to_owned())]);
    let (journal, _) = open(&disk);
    for name in ["a", "b"] {
        assert_eq!(read_all(&journal, journal.stream(&key(name))), filled(name, 0..1, 100));
    }
}

#[test]
fn streams_beyond_32_bits_are_told_apart_on_disk() {
    let disk = SimulatedDisk::new(1);
    // As if so many streams had come and gone.
    let (journal, _) = open(&disk);
    journal.objects().store.catalog.lock().streams.next += u64::from(u32::MAX) - 1;
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    let ids: Vec<_> = names.iter().map(|name| journal.stream(&key(name))).collect();
    for (name, id) in names.iter().zip(&ids) {
        // Enough for several segments with an index each.
        fill(&journal, *id, name, 0..40, 2000);
        journal.settle(*id, 0..=4);
        journal.settle(*id, 10..=14);
    }
    (0..3).for_each(|_| journal.tend_once());
    for power in [false, true] {
        if power {
            disk.cut_power();
        } else {
            disk.kill();
        }
        let numbers: Vec<u64> = recovered(&disk).into_iter().map(|(number, _)| number).collect();
        let first = u64::from(u32::MAX);
        assert_eq!(numbers, (first..first + 6).collect::<Vec<_>>());
        let (journal, _) = open(&disk);
        for name in &names {
            let all = read_all(&journal, journal.stream(&key(name)));
            assert_eq!(all, filled(name, (5..10).chain(15..40), 2000));
        }
    }
    drop(journal);
}
