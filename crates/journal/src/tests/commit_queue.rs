//! The commit queue under the schedules of threads that Shuttle thinks of: every request is answered once, in order, by whichever
//! thread takes it, and nobody waits for ever.

use std::collections::VecDeque;

use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;

use self::queue::CommitQueue;
use crate::Unwritten;

#[expect(clippy::duplicate_mod, reason = "this copy of the queue has the locks of Shuttle")]
#[path = "../queue.rs"]
mod queue;

/// The locks of Shuttle, used as those of the queue are.
mod sync {
    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    #[derive(Debug)]
    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    pub(super) struct Guard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    #[derive(Debug)]
    pub(super) struct Condvar(shuttle::sync::Condvar);

    impl<T> Mutex<T> {
        pub(super) fn new(inner: T) -> Self {
            Self(shuttle::sync::Mutex::new(inner))
        }

        pub(super) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    impl Condvar {
        pub(super) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(super) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            guard.0 = guard.0.take().map(|guard| self.0.wait(guard).unwrap());
        }

        pub(super) fn wait_for<T>(&self, guard: &mut Guard<'_, T>, _: Duration) {
            self.wait(guard);
        }

        pub(super) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(super) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

const SENDERS: usize = 3;
const REQUESTS: usize = 3;

/// Of a request that is written with no other but small ones.
const LARGE: u64 = 3 << 20;

/// A request: its sender, and which one of that sender's it is.
type Request = (usize, usize);

struct Journal {
    queue: CommitQueue<Request>,
    /// As the committer's log: whoever writes a group has it until the group is answered.
    log: Mutex<()>,
    answers: Mutex<Vec<Request>>,
    answered: Condvar,
}

impl Journal {
    fn commit_once(&self) -> bool {
        let _log = self.log.lock().unwrap();
        let group: VecDeque<Request> = self.queue.take_group();
        let (taken, unwritten) = (group.len() as u64, self.queue.unwritten());
        assert!(taken <= unwritten.requests && unwritten.requests == unwritten.records, "{unwritten:?}");
        assert!(group.iter().filter(|request| is_large(**request)).count() <= 1, "a group has a limit");
        self.answers.lock().unwrap().extend(group);
        self.answered.notify_all();
        self.queue.answered();
        taken > 0
    }

    fn commit_until_closed(&self) {
        while self.queue.wait(None) {
            while self.commit_once() {}
        }
    }

    /// Appends a sender's requests, each once the one before is answered if `patient`; those that were refused.
    fn send(&self, sender: usize, patient: bool) -> Vec<Request> {
        let mut refused = Vec::new();
        for request in (0..REQUESTS).map(|n| (sender, n)) {
            let bytes = if is_large(request) { LARGE } else { 100 };
            let pushed = self.queue.push(request, bytes, 1);
            if pushed.is_ok() && patient {
                let answers = self.answers.lock().unwrap();
                drop(self.answered.wait_while(answers, |answers| !answers.contains(&request)).unwrap());
            }
            refused.extend(pushed.err());
        }
        refused
    }
}

fn is_large((sender, n): Request) -> bool {
    (sender + n).is_multiple_of(2)
}

/// Senders append while the journal is written, and closed: by then, or once all of them are done.
fn life(closed_meanwhile: bool) {
    let (log, answers, answered) = (Mutex::new(()), Mutex::default(), Condvar::new());
    let journal = Arc::new(Journal { queue: CommitQueue::new(), log, answers, answered });
    let start = |run: fn(&Journal)| {
        let journal = journal.clone();
        thread::spawn(move || run(&journal))
    };
    let committer = start(Journal::commit_until_closed);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let journal = journal.clone();
            thread::spawn(move || journal.send(sender, !closed_meanwhile))
        })
        .collect();
    let close = |journal: &Journal| {
        journal.queue.close();
        while journal.commit_once() {}
    };
    let closer = closed_meanwhile.then(|| {
        let journal = journal.clone();
        thread::spawn(move || close(&journal))
    });
    let refused: Vec<Request> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    match closer {
        Some(closer) => closer.join().unwrap(),
        None => close(&journal),
    }
    committer.join().unwrap();
    let answers = journal.answers.lock().unwrap().clone();
    for sender in 0..SENDERS {
        let of_sender = |requests: &[Request]| -> Vec<usize> {
            requests.iter().filter(|(of, _)| *of == sender).map(|(_, n)| *n).collect()
        };
        let ends = [of_sender(&answers), of_sender(&refused)].concat();
        assert_eq!(
            ends,
            (0..REQUESTS).collect::<Vec<_>>(),
            "each ends once, in order, and none is taken again"
        );
    }
    assert!(closed_meanwhile || refused.is_empty());
    assert_eq!((journal.queue.unwritten(), journal.queue.waiting()), (Unwritten::default(), (0, 0)));
}

#[test]
fn every_request_is_answered_once_and_in_order_whenever_the_journal_is_closed() {
    shuttle::check_random(|| life(true), 1000);
    shuttle::check_pct(|| life(true), 1000, 3);
}

#[test]
fn nobody_waits_for_ever_for_an_answer() {
    shuttle::check_random(|| life(false), 1000);
    shuttle::check_pct(|| life(false), 1000, 3);
}
