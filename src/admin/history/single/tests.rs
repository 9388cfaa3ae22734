use std::cell::Cell;
use std::collections::BTreeMap;

use super::super::rings::STEP;
use super::*;
use crate::stream::StreamAddress;

/// Things that are there, each with what it has counted.
#[derive(Debug, Default)]
struct Things {
    there: BTreeMap<usize, DeliveryTotals>,
    /// Those whose counts did not begin at zero.
    resumed: Vec<usize>,
    /// How many were looked at to find some without a history.
    looks: Cell<usize>,
}

impl Subjects for Things {
    type Id = usize;

    fn totals(&self, id: &usize) -> Option<DeliveryTotals> {
        self.there.get(id).copied()
    }

    fn counts_from_zero(&self, id: &usize) -> bool {
        !self.resumed.contains(id)
    }

    fn others(&self, most: usize, known: impl Fn(&usize) -> bool) -> Vec<usize> {
        let looked_at = self.there.keys().inspect(|_| self.looks.set(self.looks.get() + 1));
        looked_at.filter(|id| !known(id)).take(most).copied().collect()
    }
}

impl Things {
    /// So many, numbered from 0, that have counted nothing.
    fn some(count: usize) -> Self {
        Self { there: (0..count).map(|id| (id, DeliveryTotals::default())).collect(), ..Self::default() }
    }

    fn set_exported(&mut self, id: usize, exported_records: u64) {
        self.there.entry(id).or_default().exported_records = exported_records;
    }
}

/// Histories, and the things that they are of.
struct Setup {
    histories: SingleHistories<usize>,
    things: Things,
    now: SystemTime,
}

impl Setup {
    fn of(things: Things) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Self { histories: SingleHistories::new(now), things, now }
    }

    /// Has so many steps pass, of which all but the last are missed, and looks at the things at their end.
    async fn pass(&mut self, steps: u32, failing: &[usize]) {
        let passed = STEP * steps;
        tokio::time::advance(passed).await;
        let (began, ended) = (self.now, self.now + passed);
        let step = HistoryStep { began, ended, seconds: passed.as_secs_f64(), missed: u64::from(steps) - 1 };
        self.histories.add(&step, &self.things, failing.iter().copied());
        self.now = ended;
    }

    /// Somebody looks at one that is there.
    fn look(&mut self, id: usize) -> Value {
        self.histories.look_at(&id, &self.things, None)
    }

    fn has(&self, id: usize) -> bool {
        self.histories.all.contains_key(&id)
    }

    fn began(&mut self, id: usize) -> String {
        self.look(id)["began"].as_str().unwrap().to_owned()
    }

    /// The last values of a figure of one.
    fn last<const N: usize>(&mut self, id: usize, figure: &str) -> [Value; N] {
        let shown = self.look(id);
        let values = shown["series"][figure].as_array().unwrap();
        assert_eq!(values.len(), FINE);
        values[FINE - N..].to_vec().try_into().unwrap()
    }
}

const NULL: Value = Value::Null;

#[tokio::test(start_paused = true)]
async fn what_has_come_since_the_last_look_is_shown_from_its_first_record_on() {
    let mut setup = Setup::of(Things::default());
    setup.pass(1, &[]).await;
    let first_look = setup.now;
    let totals = DeliveryTotals {
        exported_records: 50,
        not_delivered_records: 10,
        failed_attempts: 5,
        pending_bytes: 7,
    };
    setup.things.there.insert(1, totals);
    setup.pass(1, &[]).await;
    setup.things.there.insert(1, DeliveryTotals { exported_records: 150, pending_bytes: 0, ..totals });
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(1, "exported_records"), [NULL, json!(10.0), json!(20.0)]);
    assert_eq!(setup.last(1, "not_delivered_records"), [NULL, json!(2.0), json!(0.0)]);
    assert_eq!(setup.last(1, "failed_attempts"), [NULL, json!(1.0), json!(0.0)]);
    assert_eq!(setup.last(1, "pending_bytes"), [NULL, json!(7.0), json!(0.0)]);
    assert_eq!(setup.began(1), rfc3339(first_look));
    let shown = setup.look(1);
    assert_eq!((&shown["range"], &shown["step_seconds"]), (&json!("15m"), &json!(5)));
    assert_eq!(shown["from"], rfc3339(setup.now - STEP * FINE as u32));
}

#[tokio::test(start_paused = true)]
async fn of_what_was_counted_before_the_first_look_nothing_is_shown() {
    // There at the first look; and come later, but with the counts of one before it, also where somebody looks at it at once.
    let mut setup = Setup::of(Things::default());
    setup.things.set_exported(1, 1_000);
    setup.pass(1, &[]).await;
    setup.things.set_exported(2, 2_000);
    setup.things.resumed.push(2);
    setup.things.set_exported(3, 3_000);
    setup.things.resumed.push(3);
    setup.look(3);
    setup.pass(1, &[]).await;
    for id in 1..=3 {
        let exported = setup.things.there[&id].exported_records;
        setup.things.set_exported(id, exported + 5);
    }
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(1, "exported_records"), [NULL, json!(0.0), json!(1.0)]);
    assert_eq!(setup.last(2, "exported_records"), [NULL, NULL, json!(1.0)]);
    assert_eq!(setup.last(3, "exported_records"), [NULL, NULL, json!(1.0)]);
    assert_eq!(setup.began(3), rfc3339(setup.now - STEP));
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_shown_from_its_first_record_on_also_if_somebody_looks_before_its_first_step_ends() {
    let mut setup = Setup::of(Things::default());
    setup.pass(1, &[]).await;
    setup.things.set_exported(1, 50);
    assert_eq!(setup.began(1), rfc3339(setup.now));
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(1, "exported_records"), [NULL, json!(10.0)]);
    assert_eq!(setup.began(1), rfc3339(setup.now - STEP));
}

#[tokio::test(start_paused = true)]
async fn steps_in_which_the_process_did_not_run_are_missing_and_what_was_counted_is_spread_over_them() {
    let mut setup = Setup::of(Things::some(1));
    setup.pass(1, &[]).await;
    setup.pass(1, &[]).await;
    setup.things.set_exported(0, 100);
    setup.pass(4, &[]).await;
    assert_eq!(setup.last(0, "exported_records"), [json!(0.0), NULL, NULL, NULL, json!(5.0)]);
    setup.pass(10 * FINE as u32, &[]).await;
    let values: [Value; FINE] = setup.last(0, "exported_records");
    assert_eq!(values.iter().filter(|value| !value.is_null()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_goes_and_comes_again_goes_on_where_it_was() {
    let mut setup = Setup::of(Things::default());
    setup.pass(1, &[]).await;
    let totals = DeliveryTotals { exported_records: 10, failed_attempts: 10, ..DeliveryTotals::default() };
    setup.things.there.insert(0, totals);
    setup.pass(1, &[]).await;
    setup.things.there.clear();
    setup.pass(1, &[]).await;
    // Its records are counted on, its attempts anew.
    setup.things.there.insert(0, DeliveryTotals { exported_records: 25, failed_attempts: 15, ..totals });
    setup.things.resumed.push(0);
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(0, "exported_records"), [NULL, json!(2.0), json!(0.0), json!(3.0)]);
    assert_eq!(setup.last(0, "failed_attempts"), [NULL, json!(2.0), json!(0.0), json!(3.0)]);
    // Nothing of it was kept, so that its counts begin anew.
    setup.things.set_exported(0, 5);
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(0, "exported_records"), [json!(3.0), json!(1.0)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_has_a_history_once_somebody_looks_and_is_forgotten_when_that_is_empty() {
    let mut setup = Setup::of(Things::default());
    setup.pass(1, &[]).await;
    let past = DeliveryTotals { exported_records: 100, ..DeliveryTotals::default() };
    setup.histories.look_at(&0, &setup.things, Some(past));
    setup.pass(1, &[]).await;
    setup.things.set_exported(0, 110);
    setup.things.resumed.push(0);
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(0, "exported_records"), [NULL, json!(0.0), json!(2.0)]);
    setup.things.there.clear();
    for _ in 1..FINE {
        setup.pass(1, &[]).await;
    }
    assert!(setup.has(0), "a step of it is left that was not zero");
    setup.pass(1, &[]).await;
    assert!(!setup.has(0));
}

#[tokio::test(start_paused = true)]
async fn no_more_have_a_history_than_there_are_places_for_and_those_that_come_first_do() {
    let mut setup = Setup::of(Things::some(MOST - 1));
    setup.pass(1, &[]).await;
    assert_eq!(setup.things.looks.take(), MOST - 1);
    for id in MOST - 1..10 * MOST {
        setup.things.set_exported(id, 1);
    }
    setup.pass(1, &[]).await;
    assert!(setup.has(MOST - 1) && !setup.has(MOST));
    assert!(setup.things.looks.take() <= MOST, "no look at all of them");
    setup.pass(1, &[]).await;
    assert_eq!((setup.histories.all.len(), setup.things.looks.take()), (MOST, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_takes_the_place_of_one_that_does_not_and_of_none_that_does() {
    let mut setup = Setup::of(Things::some(3 * MOST));
    setup.pass(1, &[]).await;
    setup.look(0);
    setup.things.there.get_mut(&1).unwrap().failed_attempts = 1;
    setup.pass(1, &[MOST]).await;
    assert!(setup.has(0) && setup.has(1) && setup.has(MOST));
    assert_eq!(setup.histories.all.len(), MOST);
    // All of the others are failing now.
    let failing: Vec<usize> = (MOST + 1..3 * MOST).collect();
    setup.pass(1, &failing).await;
    assert!(setup.has(0) && setup.has(1) && setup.has(MOST));
    let failing_have = |setup: &Setup| (MOST + 1..3 * MOST).filter(|id| setup.has(*id)).count();
    assert_eq!((setup.histories.all.len(), failing_have(&setup)), (MOST, MOST - 3));
    let kept: Vec<usize> = setup.histories.all.keys().copied().collect();
    setup.pass(1, &failing).await;
    assert!(kept.iter().all(|id| setup.has(*id)), "those that began first keep theirs");
    // None of them fails for so long that others may have their places.
    tokio::time::advance(WANTED).await;
    setup.pass(1, &[2]).await;
    assert!(setup.has(2) && !setup.has(0), "of that nobody has heard for longest");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_keeps_its_place_also_if_it_is_told_of_after_one_that_takes_a_place() {
    let mut setup = Setup::of(Things::some(2 * MOST));
    setup.pass(1, &[]).await;
    // The others are failing, so that the first alone could give up its place.
    setup.pass(1, &(1..MOST).collect::<Vec<_>>()).await;
    setup.pass(1, &[MOST, 0]).await;
    assert!(setup.has(0) && !setup.has(MOST));
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_looks_at_takes_a_place_whatever_the_others_do() {
    let mut setup = Setup::of(Things::some(MOST + 2));
    let all: Vec<usize> = (0..MOST).collect();
    setup.pass(1, &[]).await;
    setup.pass(1, &all).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    setup.pass(1, &all[1..]).await;
    let shown = setup.look(MOST);
    assert_eq!(shown["series"]["exported_records"], json!(vec![NULL; FINE]), "nothing is known yet");
    assert!(setup.has(MOST) && !setup.has(0), "nothing was heard of that for longest");
    setup.pass(1, &[]).await;
    setup.pass(1, &[]).await;
    assert_eq!(setup.last(MOST, "exported_records"), [NULL, json!(0.0)]);
}

#[tokio::test(start_paused = true)]
async fn what_had_to_give_up_its_place_is_not_taken_for_what_has_just_come() {
    let mut setup = Setup::of(Things::some(MOST - 1));
    let all: Vec<usize> = (1..MOST - 1).collect();
    setup.pass(1, &[]).await;
    setup.things.there.remove(&1);
    setup.pass(1, &all).await;
    for _ in 2..FINE {
        setup.pass(1, &[]).await;
    }
    setup.look(MOST);
    setup.look(MOST + 1);
    assert!(setup.has(1) && !setup.has(0), "of that nobody has ever asked");
    setup.things.set_exported(0, 1_000);
    setup.pass(1, &[]).await;
    assert!(!setup.has(1) && setup.has(0));
    assert_eq!(setup.last(0, "exported_records"), [NULL, NULL]);
}

#[test]
fn a_history_takes_as_much_memory_as_is_said() {
    let ring = FINE * OF_DELIVERY.len() * size_of::<f32>();
    let all = ring + size_of::<(StreamAddress, SingleHistory)>();
    assert!(all <= 3 << 10, "{all}");
}
