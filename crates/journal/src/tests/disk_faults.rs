//! Disks that are full, read-only or failing: what can't be written is refused, nothing that was acknowledged is lost, and
//! the journal goes on by itself.

use super::*;
use crate::AppendCallback;
use crate::simulation::DiskFaults;

fn used(disk: &SimulatedDisk) -> u64 {
    disk.files().iter().map(|(_, length)| length).sum()
}

#[test]
fn a_full_disk_refuses_and_recovers_when_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..10, 1000);
    disk.set_faults(DiskFaults { capacity: Some(used(&disk)), ..DiskFaults::default() });
    let mut taken = 10;
    while append_one(&journal, a, nth("a", taken, 1000)).is_ok() {
        taken += 1;
        assert!(taken < 100);
    }
    assert!(journal.room_for(1).is_none());
    assert!(journal.state().failing.is_some());
    let refused = append_one(&journal, a, nth("a", taken, 1000));
    assert!(matches!(refused, Err(NotWritten::Disk(_))), "{refused:?}");
    journal.tend_once();
    assert!(journal.room_for(1).is_none(), "there is still no room");
    assert_eq!(read_all(&journal, a), filled("a", 0..taken, 1000));
    disk.set_faults(DiskFaults::default());
    journal.tend_once();
    assert!(journal.room_for(1).is_some());
    assert!(journal.state().failing.is_none());
    fill(&journal, a, "a", taken..taken + 100, 1000);
    disk.cut_power();
    drop(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.damage, []);
    let a = journal.stream(&key("a"));
    assert_eq!(read_all(&journal, a), filled("a", 0..taken + 100, 1000));
}

#[test]
fn those_who_are_answered_may_use_the_journal_whatever_the_answer_is() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let append = || {
        let a = journal.stream(&key("a"));
        let group = StreamEntries { stream: a, entries: [entry(nth("a", 0, 1000), 1)].into_iter().collect() };
        let (journal, answers) = (journal.clone(), answers.clone());
        let done = move |result: Result<AssignedNumbers, NotWritten>| {
            journal.forget(a);
            answers.lock().push((result.is_ok(), journal.state().failing.is_some()));
        };
        (group, Box::new(done) as AppendCallback)
    };
    let commit = |(group, done): (StreamEntries, AppendCallback)| {
        journal.append(vec![group], done);
        while journal.commit_once() {}
    };
    commit(append());
    disk.set_faults(DiskFaults { failing_syncs: 1, ..DiskFaults::default() });
    commit(append());
    // The disk is known to fail now: this one is refused without being tried.
    commit(append());
    assert_eq!(*answers.lock(), [(true, false), (false, true), (false, true)]);
    journal.close();
    let (group, done) = append();
    journal.append(vec![group], done);
    assert_eq!(answers.lock()[3], (false, true));
}

#[test]
fn a_full_disk_does_not_keep_what_is_settled_from_being_freed() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..300, 1000);
    disk.set_faults(DiskFaults { capacity: Some(used(&disk)), ..DiskFaults::default() });
    journal.settle(a, 0..=299);
    journal.tend_once();
    journal.tend_once();
    let mut taken = 300;
    while taken < 400 && append_one(&journal, a, nth("a", taken, 1000)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 400, "the segments that were freed are used again");
}

#[test]
fn positions_that_could_not_be_written_are_written_later_wherever_that_was() {
    // Each write takes a block, so that in one of these lives the one that fails is the next file's first.
    for written in 50..70 {
        let disk = SimulatedDisk::new(1);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        let entries = (0..=written).map(|n| entry(nth("a", n, 10), 1)).collect();
        append(&journal, vec![StreamEntries { stream: a, entries }]).unwrap();
        for n in 0..written {
            journal.settle(a, n..=n);
            journal.tend_once();
        }
        journal.settle(a, written..=written);
        disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() });
        journal.tend_once();
        disk.set_faults(DiskFaults::default());
        journal.tend_once();
        disk.cut_power();
        drop(journal);
        assert_eq!(open(&disk).1.streams, [], "after {written} writes");
    }
}

#[test]
fn a_read_only_disk_refuses_and_can_be_read() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open(&disk);
    let a = journal.stream(&key("a"));
    fill(&journal, a, "a", 0..10, 1000);
    disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() });
    assert!(matches!(append_one(&journal, a, nth("a", 10, 10)), Err(NotWritten::Disk(_))));
    journal.settle(a, 0..=1);
    journal.tend_once();
    assert_eq!(read_from(&journal, a, 2, 5000), filled("a", 2..10, 1000));
    disk.set_faults(DiskFaults::default());
    journal.tend_once();
    fill(&journal, a, "a", 10..20, 1000);
    assert_eq!(read_all(&journal, a), filled("a", 2..20, 1000));
}

#[test]
fn nothing_of_what_a_failed_sync_refused_comes_back() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        fill(&journal, a, "a", 0..5, 1000);
        disk.set_faults(DiskFaults { failing_syncs: 1, ..DiskFaults::default() });
        assert!(matches!(append_one(&journal, a, nth("refused", 5, 1000)), Err(NotWritten::Disk(_))));
        assert!(journal.room_for(1).is_none());
        journal.tend_once();
        fill(&journal, a, "a", 5..8, 1000);
        assert_eq!(read_all(&journal, a), filled("a", 0..8, 1000));
        disk.cut_power();
        drop(journal);
        let (journal, recovery) = open(&disk);
        assert_eq!(recovery.streams[0].entries, 8, "seed {seed}");
        let a = journal.stream(&key("a"));
        assert_eq!(read_all(&journal, a), filled("a", 0..8, 1000), "seed {seed}");
    }
}

#[test]
fn a_write_that_failed_in_the_middle_leaves_nothing() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        fill(&journal, a, "a", 0..5, 1000);
        disk.set_faults(DiskFaults { failing_writes: 1, ..DiskFaults::default() });
        let entries = (0..20).map(|n| entry(nth("refused", n, 1000), 1)).collect();
        assert!(append(&journal, vec![StreamEntries { stream: a, entries }]).is_err());
        journal.tend_once();
        fill(&journal, a, "a", 5..8, 1000);
        disk.kill();
        drop(journal);
        let (journal, _) = open(&disk);
        let a = journal.stream(&key("a"));
        assert_eq!(read_all(&journal, a), filled("a", 0..8, 1000), "seed {seed}");
    }
}

#[test]
fn a_full_journal_refuses_until_something_is_settled() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = Journal::open_by_hand(settings(16), disk.process()).unwrap();
    let a = journal.stream(&key("a"));
    let mut taken = 0;
    let refused = loop {
        match append_one(&journal, a, nth("a", taken, 5000)) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, NotWritten::Full);
    assert!(journal.room_for(5000).is_none());
    assert!(journal.state().failing.is_none());
    assert!(taken > 50, "{taken}");
    journal.tend_once();
    assert!(journal.state().bytes_on_disk <= journal.state().max_size);
    journal.settle(a, 0..=taken / 2);
    journal.tend_once();
    journal.tend_once();
    assert!(journal.room_for(5000).is_some());
    fill(&journal, a, "a", taken..taken + 20, 5000);
    assert_eq!(read_from(&journal, a, taken / 2 + 1, 50_000), filled("a", taken / 2 + 1..taken + 20, 5000));
}

#[test]
fn a_full_journal_still_carries_what_keeps_segments() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = Journal::open_by_hand(settings(16), disk.process()).unwrap();
    let [stuck, busy] = ["stuck", "busy"].map(|name| journal.stream(&key(name)));
    let (mut of_stuck, mut of_busy) = (0, 0);
    loop {
        if of_busy % 8 == 0 {
            if append_one(&journal, stuck, nth("stuck", of_stuck, 3000)).is_err() {
                break;
            }
            of_stuck += 1;
        }
        if append_one(&journal, busy, nth("busy", of_busy, 3000)).is_err() {
            break;
        }
        of_busy += 1;
    }
    assert!(journal.room_for(1000).is_none());
    journal.settle(busy, 0..=of_busy - 1);
    for _ in 0..10 {
        journal.tend_once();
    }
    assert!(journal.room_for(1000).is_some(), "{:?}", journal.state());
    assert!(journal.state().segments < 8, "{:?}", journal.state());
    assert!(journal.state().bytes_on_disk <= journal.state().max_size);
    assert_eq!(read_all(&journal, stuck), filled("stuck", 0..of_stuck, 3000));
}

#[test]
fn what_never_fits_is_told_from_what_does_not_fit_now() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = Journal::open_by_hand(settings(16), disk.process()).unwrap();
    let a = journal.stream(&key("a"));
    let refused = append_one(&journal, a, nth("a", 0, 2 << 20));
    assert!(matches!(refused, Err(NotWritten::TooLarge { .. })), "{refused:?}");
    fill(&journal, a, "a", 0..1, 500_000);
}
