//! Waiting for room: nobody who waits is forgotten when room is given back, those who wait have it in the order in which they came,
//! and those who give up leave nothing behind.

use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use tokio::time::Instant;

use super::budget::{Budget, Reservation};
use super::check;
use super::wait_queue::{Patience, RoomWaiter, WaitQueue};

/// Some room, as that of a stream, for so many requests.
#[derive(Default)]
struct Room {
    free: AtomicUsize,
    queue: WaitQueue,
    /// Those who wait, in the order in which they came.
    joined: Mutex<Vec<usize>>,
    /// Those of them who got room and never give up, in that order.
    served: Mutex<Vec<usize>>,
}

impl Room {
    fn take(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    fn give_back(&self) {
        self.free.fetch_add(1, Ordering::SeqCst);
        self.queue.room_freed();
    }

    /// Waits for room until `end` as an admission does: it sees whether there is some, and takes it then, unless somebody was faster.
    fn wait(&self, number: usize, end: Option<Instant>) -> bool {
        let waiter = {
            let mut joined = self.joined.lock().unwrap();
            joined.push(number);
            RoomWaiter::join(&self.queue, usize::MAX).unwrap()
        };
        let look = || (self.free.load(Ordering::SeqCst) > 0).then_some(());
        loop {
            let found = block_on(waiter.until(end.unwrap_or_else(far_away), look));
            if found.is_some() && self.take() {
                if end.is_none() {
                    self.served.lock().unwrap().push(number);
                }
                return true;
            }
            if found.is_none() {
                assert!(end.is_some(), "whoever never gives up gets room");
                return false;
            }
        }
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// As many requests as there comes to be room for wait for it, beside one that may give up and one that doesn't wait.
fn requests_wait_for_a_stream() {
    const PATIENT: usize = 3;
    let room = Arc::new(Room::default());
    let start = |run: fn(&Room, usize), number: usize| {
        let room = room.clone();
        thread::spawn(move || run(&room, number))
    };
    let mut threads: Vec<_> =
        (0..PATIENT).map(|number| start(|room, number| assert!(room.wait(number, None)), number)).collect();
    let gives_up = |room: &Room, number| {
        if room.wait(number, Some(Instant::now())) {
            room.give_back();
        }
    };
    threads.push(start(gives_up, PATIENT));
    let does_not_wait = |room: &Room, _| {
        if room.take() {
            room.give_back();
        }
    };
    threads.push(start(does_not_wait, 0));
    (0..PATIENT).for_each(|_| room.give_back());
    for thread in threads {
        thread.join().unwrap();
    }
    let mut joined = room.joined.lock().unwrap().clone();
    joined.retain(|number| *number != PATIENT);
    assert_eq!(*room.served.lock().unwrap(), joined, "in the order in which they came");
    assert_eq!(room.free.load(Ordering::SeqCst), 0, "nobody has kept any");
    assert!(RoomWaiter::join(&room.queue, 1).is_some(), "nobody is left there");
}

#[test]
fn whoever_waits_for_a_stream_gets_room_in_the_order_in_which_they_came() {
    check(requests_wait_for_a_stream);
}

/// Bodies wait for memory, of which some is given back in parts, and some comes with another limit.
fn bodies_wait_for_memory() {
    const LIMIT: u64 = 80;
    let budget = std::sync::Arc::new(Budget::new(LIMIT));
    let mut queued = Reservation::empty(budget.clone());
    assert!(queued.grow(LIMIT));
    let grow = |bytes: u64, latest: Option<Instant>| {
        let budget = budget.clone();
        thread::spawn(move || {
            let mut body = Reservation::empty(budget);
            let mut patience = Patience::until(latest);
            // In two steps, as bodies arrive.
            let mut grown = block_on(body.grow_soon(bytes - 1, 1, &mut patience));
            grown = grown && (body.bytes() + 1 == bytes) && block_on(body.grow_soon(1, 0, &mut patience));
            assert!(grown || latest.is_some(), "whoever never gives up gets memory");
            body
        })
    };
    let looks = {
        let budget = budget.clone();
        thread::spawn(move || {
            let waits = Reservation::empty(budget);
            assert!(block_on(waits.room_soon(4, &mut Patience::until(None))));
        })
    };
    // All that is given back and comes with the other limit is needed in the end.
    let bodies = [grow(2, None), grow(3, None)];
    let gives_up = grow(4, Some(Instant::now()));
    budget.set_limit(LIMIT + 1);
    for _ in 0..4 {
        drop(queued.split_off(2));
    }
    drop(gives_up.join().unwrap());
    let bodies = bodies.map(|thread| thread.join().unwrap());
    looks.join().unwrap();
    drop(bodies);
    drop(queued);
    assert_eq!(budget.used(), 0);
    assert!(RoomWaiter::join(budget.waiting(), 1).is_some(), "nobody is left there");
    assert!(budget.wait_permit(LIMIT / 8, 16 << 20).is_some(), "nor is any leave to wait");
}

#[test]
fn whoever_waits_for_memory_gets_it_and_nothing_is_left_of_those_who_give_up() {
    check(bodies_wait_for_memory);
}
