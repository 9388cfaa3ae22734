//! What happens to a routing key's order when its streams are named by other attributes than before.

use tokio::task::yield_now;

use super::*;

impl House {
    fn rename(&self, attributes: &[&str]) -> Arc<[Box<str>]> {
        self.registry.set_attributes(attributes.iter().map(|name| Box::from(*name)).collect());
        self.registry.attributes()
    }

    /// Admits an entry of so many bytes, as a request does that was routed by these attributes.
    fn admit_by(&self, attributes: &Arc<[Box<str>]>, identity: &str, framed: usize) {
        let mut admission = self.admission();
        let at = Placement { registry: &self.registry, identity, attributes, route: None };
        admission.place(0, &Cow::Owned(entry(framed)), 1, &at).expect("it fits");
        admission.commit().expect("there is room");
    }

    /// Lets every stream send; the identities and sizes of batches come in the order in which they were sent, each after
    /// the one before is settled if they are of one stream.
    fn sending(&self) -> Sent {
        let sent = Sent::default();
        for stream in self.consumers.0.lock().drain(..) {
            let sent = sent.clone();
            tokio::spawn(async move {
                while let Some(in_flight) = stream.next().await {
                    sent.0.lock().push(format!("{} {}", stream.name().identity(), in_flight.batch().len()));
                    sent.1.notified().await;
                }
            });
        }
        sent
    }
}

/// What was sent, and the upstream that answers when it is told to.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>, Arc<tokio::sync::Notify>);

impl Sent {
    /// What has been sent once nothing moves any more.
    async fn so_far(&self) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.lock().clone()
    }

    /// Answers everything that is under way.
    async fn answer(&self) {
        self.1.notify_waiters();
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_sends_nothing_by_new_attributes_before_it_has_sent_what_it_has_by_old_ones() {
    let house = House::new(settings());
    let old = house.registry.attributes();
    house.admit_by(&old, "a", 200);
    house.admit_by(&old, "a", 201);
    let new = house.rename(&["tenant"]);
    house.admit_by(&new, "a\0one", 100);
    house.admit_by(&new, "a\0two", 101);
    house.admit_by(&new, "b\0one", 102);
    let sent = house.sending();
    assert_eq!(sent.so_far().await, ["a 200", "b\0one 102"], "another key doesn't wait");
    sent.answer().await;
    assert_eq!(sent.so_far().await[2..], ["a 201"]);
    sent.answer().await;
    let mut last = sent.so_far().await.split_off(3);
    last.sort();
    assert_eq!(last, ["a\0one 100", "a\0two 101"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_all_of_its_earlier_streams() {
    let house = House::new(settings());
    let old = house.rename(&["tenant"]);
    house.admit_by(&old, "a\0one", 200);
    house.admit_by(&old, "a\0two", 201);
    let new = house.rename(&[]);
    house.admit_by(&new, "a", 100);
    let streams: Vec<_> = house.consumers.0.lock().drain(..2).collect();
    let (one, two) = (streams[0].next().await.unwrap(), streams[1].next().await.unwrap());
    let sent = house.sending();
    drop(one);
    assert!(sent.so_far().await.is_empty());
    drop(two);
    assert_eq!(sent.so_far().await, ["a 100"]);
}

#[tokio::test(start_paused = true)]
async fn attributes_that_come_back_name_other_streams_than_before() {
    let house = House::new(settings());
    let first = house.rename(&["tenant"]);
    house.admit_by(&first, "a\0one", 200);
    let second = house.rename(&["region"]);
    house.admit_by(&second, "a\0eu", 201);
    let third = house.rename(&["tenant"]);
    house.admit_by(&third, "a\0one", 202);
    let sent = house.sending();
    for (settled, expected) in ["a\0one 200", "a\0eu 201", "a\0one 202"].iter().enumerate() {
        assert_eq!(sent.so_far().await[settled..], [*expected]);
        sent.answer().await;
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_that_stay_the_same_change_nothing() {
    let house = House::new(settings());
    let before = house.rename(&["tenant"]);
    house.admit_by(&before, "a\0one", 100);
    let after = house.rename(&["tenant"]);
    house.admit_by(&after, "a\0one", 100);
    assert_eq!((house.registry.len(), house.pending("a")), (1, 200));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_routed_before_the_change_goes_before_one_that_was_routed_after_it() {
    let house = House::new(settings());
    let old = house.registry.attributes();
    let new = house.rename(&["tenant"]);
    // The sender of the first has its answer, then another sends the second.
    house.admit_by(&old, "a", 100);
    house.admit_by(&new, "a\0one", 101);
    house.consumers.0.lock().reverse();
    let sent = house.sending();
    assert_eq!(sent.so_far().await, ["a 100"]);
    sent.answer().await;
    assert_eq!(sent.so_far().await, ["a 100", "a\0one 101"]);
}

#[tokio::test(start_paused = true)]
async fn streams_of_before_give_their_places_back_as_soon_as_they_are_empty() {
    let house = House::new(settings());
    house.shared.streams.set_limit(2);
    let old = house.registry.attributes();
    house.admit_by(&old, "idle", 200);
    house.admit_by(&old, "busy", 201);
    let streams: Vec<_> = house.consumers.0.lock().drain(..).collect();
    drop(streams[0].next().await.unwrap());
    assert!(streams[0].next().await.is_none());
    let in_flight = streams[1].next().await.unwrap();

    let new = house.rename(&["tenant"]);
    assert_eq!(house.shared.streams.live(), 1, "what held nothing is gone at once");
    house.admit_by(&new, "idle\0one", 100);
    drop(in_flight);
    assert!(streams[1].next().await.is_none());
    assert_eq!(house.shared.streams.live(), 1);
    house.admit_by(&new, "busy\0one", 100);

    drop(old);
    drop(streams);
    house.registry.sweep();
    assert!(house.registry.knows(&["tenant".into()]) && !house.registry.knows(&[]), "nothing is left of it");
    assert_eq!(house.registry.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_holds_nobody_up() {
    let house = House::new(settings());
    let old = house.rename(&["tenant"]);
    house.admit_by(&old, "a\0one", 900);
    let mut admission = house.admission();
    for (index, identity) in ["b\0one", "a\0one"].into_iter().enumerate() {
        let at = Placement { registry: &house.registry, identity, attributes: &old, route: None };
        admission.place(index, &Cow::Owned(entry(200)), 1, &at).unwrap();
    }
    assert_eq!(full_stream(&admission.commit().unwrap_err()), Some("a"));
    let new = house.rename(&[]);
    house.admit_by(&new, "b", 100);
    let sent = house.sending();
    assert_eq!(sent.so_far().await, ["a\0one 900", "b 100"]);
}
