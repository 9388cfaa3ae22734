//! Waiting for room: who waits, for how long, and who comes next.

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::stream::wait_queue::{RoomWaiter, WaitQueue};

/// The longest that a request may wait, and a little less.
const PATIENCE: Duration = Duration::from_millis(250);
const SHORT: Duration = Duration::from_millis(100);

impl Fixture {
    /// Admits a request as [`Fixture::admit`] does, with as much reserved for its body as it has, and if there is no room waits
    /// for some.
    fn admit_soon(&self, entries: &[(&str, usize)]) -> JoinHandle<bool> {
        let mut body = Reservation::empty(self.shared.budget.clone());
        assert!(body.grow(entries.iter().map(|(_, framed)| *framed as u64).sum()), "the body has been read");
        let mut admission = Admission::new(Signal::Logs, body, 0);
        place(&mut admission, &self.registry, entries).expect("every entry fits its exporter");
        tokio::spawn(async move {
            let mut patience = Patience::default();
            while admission.commit().is_err() {
                if !admission.room(&mut patience).await {
                    return false;
                }
            }
            true
        })
    }

    /// Takes and settles one batch of the stream that was started first.
    async fn settle_one(&self) {
        drop(next(&self.stream("a")).await.expect("something is due"));
        yield_often().await;
    }
}

/// Lets every task do what it can do now.
async fn yield_often() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn roomy() -> Arc<EngineState> {
    Arc::new(EngineState::new(Arc::new(Budget::new(1_000_000)), Arc::new(StreamCount::new(100)), None))
}

/// A fixture with memory for everything, in which a stream has room for two batches of 400 bytes and little more.
fn fixture() -> Fixture {
    let shared = roomy();
    let (registry, consumers) = Fixture::exporter("one", settings(), &shared);
    Fixture { shared, registry, consumers }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_full_stream_waits_until_a_batch_is_settled() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let waits = fixture.admit_soon(&[("a", 400)]);
    yield_often().await;
    assert!(!waits.is_finished());
    let start = Instant::now();
    fixture.settle_one().await;
    assert!(waits.await.unwrap());
    assert!(start.elapsed() < PATIENCE, "it has not waited for anything else");
    assert_eq!(fixture.pending("a"), 800);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_refused_when_there_was_no_room_for_a_quarter_of_a_second() {
    let fixture = fixture();
    fixture.admit(&[("a", 900)]).unwrap();
    let used = fixture.shared.budget.used();
    let start = Instant::now();
    assert!(!fixture.admit_soon(&[("a", 400), ("b", 400)]).await.unwrap());
    assert_eq!(start.elapsed(), PATIENCE);
    assert_eq!((fixture.pending("a"), fixture.pending("b")), (900, 0));
    assert_eq!(fixture.shared.budget.used(), used, "nothing is left of it");
    assert_eq!(fixture.registry.len(), 1, "nor the stream that was made for it");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_its_sender() {
    let fixture = fixture();
    fixture.admit(&[("a", 900)]).unwrap();
    let mut admission = fixture.admission();
    place(&mut admission, &fixture.registry, &[("a", 400)]).unwrap();
    assert!(admission.commit().is_err());
    let start = Instant::now();
    assert!(!admission.room(&mut Patience::until(Some(start + SHORT))).await);
    assert_eq!(start.elapsed(), SHORT);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_stream_whose_upstream_takes_nothing() {
    let fixture = fixture();
    fixture.admit(&[("a", 900)]).unwrap();
    let start = Instant::now();
    fixture.stream("a").set_failing(true);
    assert!(!fixture.admit_soon(&[("a", 400)]).await.unwrap(), "it has refused the last attempt");
    fixture.stream("a").set_failing(false);
    fixture.stream("a").hanging().store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(!fixture.admit_soon(&[("a", 400)]).await.unwrap(), "it has not answered it for a second");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_is_shed_at_once() {
    let shared = roomy();
    let shedding = QueueSettings { when_full: WhenFull::Shed, ..settings() };
    let (registry, consumers) = Fixture::exporter("one", shedding, &shared);
    let fixture = Fixture { shared, registry, consumers };
    fixture.admit(&[("a", 900)]).unwrap();
    let start = Instant::now();
    assert_eq!(fixture.admit(&[("a", 400)]).unwrap().len(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Two exporters, of which the second sheds, with room for one request of 900 bytes in each stream, which they have; and a
/// request to both.
fn one_refuses_and_one_sheds() -> (Fixture, Fixture, Admission<'static>) {
    let shared = roomy();
    let shedding = QueueSettings { when_full: WhenFull::Shed, ..settings() };
    let [one, two] = [("one", settings()), ("two", shedding)].map(|(name, settings)| {
        let (registry, consumers) = Fixture::exporter(name, settings, &shared);
        Fixture { shared: shared.clone(), registry, consumers }
    });
    for fixture in [&one, &two] {
        fixture.admit(&[("a", 900)]).unwrap();
    }
    let mut admission = Admission::new(Signal::Logs, Reservation::empty(shared.budget.clone()), 0);
    for fixture in [&two, &one] {
        place(&mut admission, &fixture.registry, &[("a", 300)]).unwrap();
    }
    (one, two, admission.keep(&bytes::Bytes::new()))
}

#[tokio::test(start_paused = true)]
async fn what_had_no_room_at_the_first_try_is_shed_only_if_it_has_none_at_the_next_either() {
    for both in [false, true] {
        let (one, two, mut admission) = one_refuses_and_one_sheds();
        for _ in 0..2 {
            assert_eq!(full_stream(&admission.commit().unwrap_err()), Some("a"));
        }
        one.settle_one().await;
        if both {
            two.settle_one().await;
        }
        let shed = admission.commit().unwrap();
        assert_eq!(shed.len(), usize::from(!both));
        assert_eq!((one.pending("a"), two.pending("a")), (300, if both { 300 } else { 900 }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_be_shed_for_want_of_memory_is_admitted_if_there_is_some_when_the_rest_is() {
    for room in [1000, 2000] {
        let (one, two, mut admission) = one_refuses_and_one_sheds();
        one.settle_one().await;
        two.settle_one().await;
        let budget = one.shared.budget.clone();
        let taken = budget.limit() - budget.used();
        assert!(budget.reserve(taken));
        assert_eq!(admission.commit().unwrap_err(), Refused::Full(Full::Memory));
        budget.release(if room == 1000 { 300 } else { taken });
        assert!(
            admission.room(&mut Patience::default()).await,
            "there is room for the part that is not shed"
        );
        assert_eq!(admission.commit().unwrap().len(), usize::from(room == 1000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_undone_tells_those_who_wait() {
    let fixture = Fixture::new(QueueSettings { queue_requests: Some(1), ..settings() });
    fixture.admit(&[("a", 100)]).unwrap();
    let stream = fixture.stream("a");
    let waiter = RoomWaiter::join(&stream.waiting, 1).expect("nobody else waits");
    assert!(has_been_told(&waiter).await, "it is the first");
    // It has room for the bytes and none for the request; and one that finds room here, and none elsewhere.
    for entries in [&[("a", 10)][..], &[("b", 10), ("a", 10)][..]] {
        assert!(!has_been_told(&waiter).await);
        assert!(fixture.admit(entries).is_err());
        assert!(has_been_told(&waiter).await, "whoever waits looks again");
    }
    let shared =
        Arc::new(EngineState::new(Arc::new(Budget::new(900)), Arc::new(StreamCount::new(100)), None));
    let (registry, consumers) = Fixture::exporter("one", settings(), &shared);
    let fixture = Fixture { shared, registry, consumers };
    fixture.admit(&[("a", 100)]).unwrap();
    let stream = fixture.stream("a");
    let waiter = RoomWaiter::join(&stream.waiting, 1).expect("nobody else waits");
    assert!(has_been_told(&waiter).await, "it is the first");
    assert_eq!(fixture.admit(&[("a", 700), ("b", 200)]).unwrap_err(), Refused::Full(Full::Memory));
    assert!(has_been_told(&waiter).await, "what was reserved here is given back");
}

/// Whether one who waits was told since it was last asked that there may be room.
async fn has_been_told(waiter: &RoomWaiter<&WaitQueue>) -> bool {
    let mut looks = 0;
    let look = || {
        looks += 1;
        None::<()>
    };
    waiter.until(Instant::now(), look).await;
    // One of them at the end of its time.
    looks > 1
}

#[tokio::test(start_paused = true)]
async fn a_place_for_a_new_stream_is_not_waited_for() {
    let shared =
        Arc::new(EngineState::new(Arc::new(Budget::new(10_000)), Arc::new(StreamCount::new(1)), None));
    let (registry, consumers) = Fixture::exporter("one", settings(), &shared);
    let fixture = Fixture { shared, registry, consumers };
    fixture.admit(&[("a", 100)]).unwrap();
    assert_eq!(fixture.admit(&[("b", 100)]).unwrap_err(), Refused::Full(Full::Streams));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_stream_come_in_the_order_in_which_they_came() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let mut waits: Vec<_> = (0..5).map(|_| fixture.admit_soon(&[("a", 400)])).collect();
    yield_often().await;
    while !waits.is_empty() {
        assert!(waits.iter().all(|waits| !waits.is_finished()));
        fixture.settle_one().await;
        let done: Vec<bool> = waits.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(done.iter().position(|done| *done), Some(0), "{done:?}");
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "one batch makes room for one: {done:?}");
        assert!(waits.remove(0).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn whom_another_request_is_faster_than_keeps_its_place() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let (first, second) = (fixture.admit_soon(&[("a", 400)]), fixture.admit_soon(&[("a", 400)]));
    yield_often().await;
    drop(next(&fixture.stream("a")).await.expect("something is due"));
    fixture.admit(&[("a", 400)]).expect("it asks before those who wait are told");
    yield_often().await;
    assert!(!first.is_finished() && !second.is_finished());
    fixture.settle_one().await;
    assert!(first.is_finished() && !second.is_finished(), "in the order in which they came");
    fixture.settle_one().await;
    assert!(first.await.unwrap() && second.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_who_wants_more_than_there_is_keeps_nobody_from_what_there_is() {
    let budget = Arc::new(Budget::new(10_000));
    let mut queued = Reservation::empty(budget.clone());
    assert!(queued.grow(10_000));
    let grow = |bytes| {
        let mut body = Reservation::empty(budget.clone());
        tokio::spawn(async move { body.grow_soon(bytes, 0, &mut Patience::default()).await })
    };
    let (large, small) = (grow(5_000), grow(100));
    yield_often().await;
    drop(queued.split_off(1_000));
    assert_eq!((large.await.unwrap(), small.await.unwrap()), (false, true));
}

#[tokio::test(start_paused = true)]
async fn room_for_several_is_taken_by_several() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let waits: Vec<_> = (0..4).map(|_| fixture.admit_soon(&[("a", 100)])).collect();
    yield_often().await;
    // There was room for two of them all the time.
    fixture.settle_one().await;
    for waits in waits {
        assert!(waits.is_finished() && waits.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_two_full_streams_is_admitted_once_both_have_room_and_holds_none_meanwhile() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    fixture.admit(&[("b", 400), ("b", 400)]).unwrap();
    let waits = fixture.admit_soon(&[("a", 400), ("b", 400)]);
    yield_often().await;
    fixture.settle_one().await;
    assert!(!waits.is_finished(), "`b` is full");
    fixture.admit(&[("a", 400)]).expect("it has taken nothing of what `a` has");
    let b = fixture.stream("b");
    drop(next(&b).await.expect("something is due"));
    yield_often().await;
    assert!(!waits.is_finished(), "now `a` is full");
    fixture.settle_one().await;
    assert!(waits.await.unwrap());
    assert_eq!((fixture.pending("a"), fixture.pending("b")), (800, 800));
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_elsewhere_lets_the_next_one_in() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    fixture.admit(&[("b", 400), ("b", 400)]).unwrap();
    let both = fixture.admit_soon(&[("a", 400), ("b", 400)]);
    let one = fixture.admit_soon(&[("a", 400)]);
    yield_often().await;
    fixture.settle_one().await;
    assert!(one.is_finished() && one.await.unwrap(), "the one ahead of it can't use the room");
    assert!(!both.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_when_it_is_his_turn_leaves_it_to_the_next() {
    let fixture = fixture();
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let (first, second) = (fixture.admit_soon(&[("a", 400)]), fixture.admit_soon(&[("a", 400)]));
    yield_often().await;
    drop(next(&fixture.stream("a")).await.expect("something is due"));
    first.abort();
    assert!(timeout(SHORT, second).await.expect("it is let in").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_memory_until_some_is_given_back() {
    let fixture = Fixture::new(QueueSettings { queue_bytes: 100_000, ..settings() });
    fixture.admit(&[("a", 400), ("a", 400)]).unwrap();
    let other = {
        let mut other = Reservation::empty(fixture.shared.budget.clone());
        assert!(other.grow(9_100));
        other
    };
    let mut admission = fixture.admission();
    place(&mut admission, &fixture.registry, &[("b", 300)]).unwrap();
    assert_eq!(admission.commit().unwrap_err(), Refused::Full(Full::Memory));
    let waits = tokio::spawn({
        let mut admission = admission.keep(&bytes::Bytes::new());
        async move { admission.room(&mut Patience::default()).await && admission.commit().is_ok() }
    });
    yield_often().await;
    assert!(!waits.is_finished());
    fixture.settle_one().await;
    assert!(waits.await.unwrap());
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_memory_and_the_next_one_after_it() {
    let budget = Arc::new(Budget::new(10_000));
    let mut queued = Reservation::empty(budget.clone());
    assert!(queued.grow(9_800));
    let grow = || {
        let mut body = Reservation::empty(budget.clone());
        assert!(body.grow(50));
        tokio::spawn(async move {
            let grown = body.grow_soon(1_000, 0, &mut Patience::default()).await;
            sleep(PATIENCE * 10).await;
            grown.then_some(body)
        })
    };
    let (one, other, _third) = (grow(), grow(), grow());
    yield_often().await;
    assert_eq!(budget.used(), 9_950);
    drop(queued.split_off(2_000));
    yield_often().await;
    assert_eq!(budget.used(), 9_950, "two have got what they wanted, the third waits");
    assert!(one.await.unwrap().is_some() && other.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_take_no_more_than_a_part_of_the_memory() {
    let budget = Arc::new(Budget::new(8_000));
    let mut queued = Reservation::empty(budget.clone());
    assert!(queued.grow(5_000));
    let body = |bytes| {
        let mut body = Reservation::empty(budget.clone());
        assert!(body.grow(bytes));
        body
    };
    let start = Instant::now();
    let (mut small, mut large) = (body(1_000), body(1_001));
    assert!(!large.grow_soon(5_000, 0, &mut Patience::default()).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "more than an eighth is refused at once");
    let waits = tokio::spawn(async move { small.grow_soon(5_000, 0, &mut Patience::default()).await });
    yield_often().await;
    let mut one_more = body(1);
    assert!(!one_more.grow_soon(5_000, 0, &mut Patience::default()).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "together, too");
    assert!(!waits.await.unwrap());
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_somebody_waits_is_bounded() {
    let budget = Arc::new(Budget::new(1 << 30));
    assert!(budget.reserve(1 << 30));
    let start = Instant::now();
    let mut body = Reservation::empty(budget.clone());
    assert!(!body.grow_soon(1, (16 << 20) + 1, &mut Patience::default()).await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!body.grow_soon(1, 16 << 20, &mut Patience::default()).await);
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn one_stream_has_no_more_than_some_of_the_places() {
    let fixture = fixture();
    fixture.admit(&[("a", 900)]).unwrap();
    let waits: Vec<_> = (0..70).map(|_| fixture.admit_soon(&[("a", 200)])).collect();
    yield_often().await;
    assert_eq!(waits.iter().filter(|waits| waits.is_finished()).count(), 6, "they are refused at once");
    let start = Instant::now();
    for waits in waits {
        assert!(!waits.await.unwrap());
    }
    assert_eq!(start.elapsed(), PATIENCE);
}
