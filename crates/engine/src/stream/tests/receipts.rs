//! What a request that waits learns, and what is left of one that doesn't any more.

use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tokio::time::{Instant, timeout};

use super::*;
use crate::outcome::Fate;

/// An entry with so many records.
fn logs(records: usize) -> Vec<u8> {
    let scope = ScopeLogs { log_records: vec![LogRecord::default(); records], ..ScopeLogs::default() };
    ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }.encode_to_vec()
}

impl Fixture {
    /// Admits a request that waits: for each key an entry of so many records.
    fn wait_for(&self, entries: &[(&str, usize)]) -> Receipt {
        let mut admission = self.admission();
        for (index, (key, records)) in entries.iter().enumerate() {
            let at = Placement { registry: &self.registry, key, route: None };
            admission.place(index, &Cow::Owned(logs(*records)), *records as u64, &at).unwrap();
        }
        admission.commit_with_receipt(true).unwrap().1
    }

    fn oldest(&self) -> Option<Duration> {
        self.registry.oldest().map(|since| since.elapsed())
    }
}

fn whole(in_flight: &InFlight, lost: u64, reason: &str) {
    in_flight.ended(in_flight.batch(), None, (lost, Fate::Rejected), reason);
}

fn told(losses: &[Loss]) -> Vec<(usize, u64, &str)> {
    losses.iter().map(|loss| (loss.index, loss.records, &*loss.reason)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_all_its_streams() {
    let fixture = Fixture::new(settings());
    let receipt = fixture.wait_for(&[("a", 1), ("b", 2)]);
    let streams = ["a", "b"].map(|key| fixture.stream(key));
    let (first, second) = (next(&streams[0]).await.unwrap(), next(&streams[1]).await.unwrap());
    whole(&first, 0, "");
    assert!(timeout(Duration::from_secs(3600), receipt.settled()).await.is_err());
    whole(&second, 2, "refused");
    assert_eq!(told(&receipt.settled().await.unwrap()), [(1, 2, "refused")]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken() {
    let fixture = Fixture::new(settings());
    let receipt = fixture.wait_for(&[("a", 1)]);
    let waiting = tokio::spawn(async move { receipt.settled().await });
    let in_flight = next(&fixture.stream("a")).await.unwrap();
    tokio::task::yield_now().await;
    whole(&in_flight, 0, "");
    assert!(waiting.await.unwrap().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_consumer_drops_without_a_word_was_not_delivered() {
    let fixture = Fixture::new(settings());
    let receipt = fixture.wait_for(&[("a", 3)]);
    drop(next(&fixture.stream("a")).await.unwrap());
    assert_eq!(told(&receipt.settled().await.unwrap()), [(0, 3, "sending it was broken off")]);
}

#[tokio::test(start_paused = true)]
async fn requests_share_what_an_upstream_rejects_of_a_batch() {
    let fixture = Fixture::new(settings());
    let receipts =
        [fixture.wait_for(&[("a", 3)]), fixture.wait_for(&[("a", 5)]), fixture.wait_for(&[("a", 2)])];
    let in_flight = next(&fixture.stream("a")).await.unwrap();
    whole(&in_flight, 5, "some");
    let mut shares = Vec::new();
    for receipt in &receipts {
        shares.push(receipt.settled().await.unwrap()[0].records);
    }
    assert_eq!(shares, [1, 3, 1], "together as many as the upstream says");
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_withdrawn_at_once_and_its_room_is_free() {
    let fixture = Fixture::new(QueueSettings { queue_requests: Some(3), ..settings() });
    let open = [fixture.wait_for(&[("a", 1)]), fixture.wait_for(&[("a", 2)]), fixture.wait_for(&[("a", 3)])];
    assert!(fixture.admit(&[("a", 10)]).is_err(), "it is full of requests");
    let before = fixture.pending("a");
    let [first, second, third] = open;
    drop(second);
    assert_eq!(fixture.registry.pending_records(), 4);
    assert_eq!(fixture.pending("a"), before - frame_len(logs(2).len()) as u64);
    let fourth = fixture.wait_for(&[("a", 4)]);
    drop((first, fourth));
    assert_eq!(fixture.registry.pending_records(), 3);
    let in_flight = next(&fixture.stream("a")).await.unwrap();
    assert_eq!((in_flight.batch().records(), in_flight.batch().numbers()), (3, &NumberSet::from(2..3)));
    whole(&in_flight, 0, "");
    drop(in_flight);
    assert!(third.settled().await.unwrap().is_empty());
    drop(third);
    assert_eq!(fixture.shared.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_withdrawn_as_a_whole_is_never_sent() {
    let fixture = Fixture::new(settings());
    let receipt = fixture.wait_for(&[("a", 100)]);
    let state = fixture.stream("a").state();
    assert_eq!(state.waiting_batches, 1);
    drop(receipt);
    assert!(next(&fixture.stream("a")).await.is_none());
    assert_eq!((fixture.registry.pending_bytes(), fixture.shared.budget.used()), (0, 0));
    assert!(fixture.oldest().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_withdrawn_when_its_consumer_looks() {
    let fixture = Fixture::new(QueueSettings { queue_requests: Some(2), ..settings() });
    let (gone, stays) = (fixture.wait_for(&[("a", 1)]), fixture.wait_for(&[("a", 2)]));
    let stream = fixture.stream("a");
    let mut in_flight = next(&stream).await.unwrap();
    let withdrawal = stream.withdrawal().notified();
    drop(gone);
    timeout(Duration::from_secs(1), withdrawal).await.expect("it is told");
    assert_eq!(fixture.registry.pending_records(), 3);
    assert_eq!(in_flight.withdraw(), NumberSet::from(0..1));
    assert_eq!((in_flight.batch().records(), fixture.registry.pending_records()), (2, 2));
    fixture.admit(&[("a", 10)]).expect("a place is free");
    assert!(in_flight.withdraw().is_empty(), "once");
    whole(&in_flight, 0, "");
    drop(in_flight);
    assert!(stays.settled().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_although_it_was_withdrawn_leaves_nothing_behind() {
    let fixture = Fixture::new(settings());
    let gone = fixture.wait_for(&[("a", 1)]);
    let stream = fixture.stream("a");
    let mut in_flight = next(&stream).await.unwrap();
    drop(gone);
    whole(&in_flight, 0, "");
    assert!(in_flight.withdraw().is_empty(), "it was delivered");
    drop(in_flight);
    assert_eq!((fixture.registry.pending_records(), fixture.shared.budget.used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_stream_is_that_of_the_oldest_entry_that_is_left() {
    let fixture = Fixture::new(settings());
    let start = Instant::now();
    let first = fixture.wait_for(&[("a", 1)]);
    advance(Duration::from_secs(5)).await;
    let second = fixture.wait_for(&[("a", 1)]);
    assert_eq!(fixture.oldest(), Some(start.elapsed()));
    drop(first);
    assert_eq!(fixture.oldest(), Some(Duration::ZERO));
    drop(second);
    assert_eq!(fixture.oldest(), None);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_stream_got_waits_for_nothing() {
    let fixture = Fixture::new(settings());
    assert!(fixture.wait_for(&[]).settled().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_no_longer_learns_what_has_ended_and_how_and_what_has_not() {
    let fixture = Fixture::new(settings());
    let receipt = fixture.wait_for(&[("a", 1), ("b", 2)]);
    let streams = ["a", "b"].map(|key| fixture.stream(key));
    let first = next(&streams[0]).await.unwrap();
    first.ended(first.batch(), None, (1, Fate::DeadLettered), "refused");
    let (losses, unsettled) = receipt.so_far();
    assert_eq!((told(&losses), losses[0].fate), (vec![(0, 1, "refused")], Fate::DeadLettered));
    assert_eq!(unsettled.into_iter().collect::<Vec<_>>(), [1]);
    let second = next(&streams[1]).await.unwrap();
    second.give_back_to_senders(second.batch().numbers(), "no more retries");
    assert_eq!(&*receipt.settled().await.unwrap_err(), "no more retries");
    assert_eq!(receipt.so_far().1.into_iter().collect::<Vec<_>>(), [1], "what was given up has not ended");
}
