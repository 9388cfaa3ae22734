//! A disk that neither does what it is asked nor says that it can't.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::Unwritten;
use crate::stalling::{Stalled, StallingDisk};

/// How long this disk may take for an answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// Longer than anything takes that is not stuck.
const LONG: Duration = Duration::from_secs(60);

const CHANGES: Stalled = Stalled { changes: true, syncs: false, looks: false };

fn stalling(disk: &SimulatedDisk) -> (Journal, StallingDisk) {
    let stalling = StallingDisk::new(disk.process());
    (Journal::open_on_disk(settings(64), stalling.disk(), PATIENCE).unwrap().0, stalling)
}

/// Waits until it is so.
#[track_caller]
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let (_never, pause) = mpsc::channel::<()>();
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        let _ = pause.recv_timeout(Duration::from_millis(10));
    }
    panic!("{what}: it never was so");
}

type Answered = mpsc::Receiver<Result<AssignedNumbers, NotWritten>>;

/// Appends a request of two entries, and is told of its end by the journal's thread.
fn append_aside(journal: &Journal, stream: StreamId, n: u64) -> Answered {
    let (answer, answered) = mpsc::channel();
    let entries = [entry(nth("a", n, 100), 3), entry(nth("a", n + 1, 100), 4)].into_iter().collect();
    let done = move |done: Result<AssignedNumbers, NotWritten>| drop(answer.send(done));
    journal.append(vec![StreamEntries { stream, entries }], Box::new(done));
    answered
}

#[test]
fn a_disk_that_hangs_counts_as_failing_until_it_answers() {
    let disk = SimulatedDisk::new(1);
    let (journal, stalling) = stalling(&disk);
    let a = journal.stream(&key("a"));
    assert!(append_aside(&journal, a, 0).recv_timeout(LONG).unwrap().is_ok());
    assert!(journal.room_for(100).is_some() && !journal.is_failing());
    stalling.stall(CHANGES);
    let answered = append_aside(&journal, a, 2);
    until("the disk hangs", || journal.is_failing());
    assert!(journal.room_for(100).is_none());
    let failing = journal.state().failing.unwrap();
    assert!(failing.why.starts_with("the disk does not answer: it was asked to "), "{}", failing.why);
    assert!(failing.since.elapsed().unwrap() >= PATIENCE);
    assert_eq!(journal.unwritten(), Unwritten { requests: 1, records: 7 });
    assert!(answered.try_recv().is_err(), "nobody knows yet");
    stalling.stall(Stalled::default());
    assert_eq!(answered.recv_timeout(LONG).unwrap().unwrap().first[..], [2]);
    until("it works again", || !journal.is_failing() && journal.room_for(100).is_some());
    assert_eq!(journal.unwritten(), Unwritten::default());
    journal.close();
    assert_eq!(open(&disk).1.streams[0].entries, 4);
}

#[test]
fn a_disk_that_hangs_beside_the_log_is_noticed_as_well() {
    let disk = SimulatedDisk::new(1);
    let (journal, stalling) = stalling(&disk);
    let a = journal.stream(&key("a"));
    assert!(append_aside(&journal, a, 0).recv_timeout(LONG).unwrap().is_ok());
    stalling.stall(CHANGES);
    // Nobody appends anything: it is the positions that can't be written.
    journal.settle(a, 0..=0);
    until("the disk hangs", || journal.is_failing());
    stalling.stall(Stalled::default());
    until("it works again", || !journal.is_failing());
}

#[test]
fn reads_that_hang_keep_nobody_from_writing() {
    let disk = SimulatedDisk::new(1);
    let (journal, stalling) = stalling(&disk);
    let a = journal.stream(&key("a"));
    assert!(append_aside(&journal, a, 0).recv_timeout(LONG).unwrap().is_ok());
    stalling.stall(Stalled { looks: true, ..Stalled::default() });
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_all(&journal, a));
        until("it is asked", || stalling.waiting() > 0);
        for n in 1..20 {
            assert!(append_aside(&journal, a, 2 * n).recv_timeout(LONG).unwrap().is_ok());
        }
        stalling.stall(Stalled::default());
        assert!(!reading.join().unwrap().is_empty());
    });
}

#[tokio::test]
async fn closing_ends_in_time_and_says_of_how_many_records_nobody_knows() {
    let disk = SimulatedDisk::new(1);
    let (journal, stalling) = stalling(&disk);
    let a = journal.stream(&key("a"));
    stalling.stall(CHANGES);
    let answered = [append_aside(&journal, a, 0), append_aside(&journal, a, 2)];
    until("it is asked", || stalling.waiting() > 0);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    assert!(!journal.close_until(deadline).await);
    assert_eq!(journal.unwritten(), Unwritten { requests: 2, records: 14 });
    let refused = append_aside(&journal, a, 4).recv_timeout(LONG).unwrap();
    assert_eq!(refused, Err(NotWritten::Closed));
    // It is still being closed, and nobody waits for that.
    drop(journal);
    stalling.stall(Stalled::default());
    for answered in answered {
        assert!(answered.recv_timeout(LONG).unwrap().is_ok());
    }
    let mut opened = None;
    until("another process can have it", || {
        opened = Journal::open_by_hand(settings(64), disk.process()).ok();
        opened.is_some()
    });
    assert_eq!(opened.unwrap().1.streams[0].entries, 4);
}

#[test]
fn a_journal_that_nobody_has_closed_and_whose_disk_hangs_is_let_go_of_in_time() {
    let disk = SimulatedDisk::new(1);
    let (journal, stalling) = stalling(&disk);
    let a = journal.stream(&key("a"));
    stalling.stall(CHANGES);
    let _answered = append_aside(&journal, a, 0);
    until("it is asked", || stalling.waiting() > 0);
    drop(journal);
    stalling.stall(Stalled::default());
}
