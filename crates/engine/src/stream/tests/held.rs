//! What a stream shows whose batches are held, also where it has several consumers.

use super::*;

/// The stream of a fixture with several consumers, which holds two batches.
fn stream() -> Arc<Stream> {
    let fixture = Fixture::new(QueueSettings { num_consumers: 2, ..settings() });
    for _ in 0..2 {
        fixture.admit(&[("a", 200)]).unwrap();
    }
    fixture.stream("a")
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_sent_and_taken_beside_one_that_is_held_leaves_the_stream_held() {
    let stream = stream();
    let refused = stream.begin_own_hold();
    let since = stream.state().held_since;
    assert!(since.is_some());
    // What the consumer of the other batch says, in its order.
    stream.set_activity(StreamActivity::Sending);
    assert!(stream.is_held() && stream.is_sending());
    stream.set_activity(StreamActivity::Waiting);
    stream.end_own_hold();
    assert!(stream.is_held());
    assert_eq!((stream.state().activity, stream.state().held_since), (StreamActivity::Held, since));
    // Then the batch that was held is taken as well.
    drop(refused);
    stream.set_activity(StreamActivity::Sending);
    assert!(!stream.is_held());
    stream.set_activity(StreamActivity::Waiting);
    stream.end_own_hold();
    assert_eq!((stream.state().activity, stream.state().held_since), (StreamActivity::Waiting, None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_held_until_the_last_of_its_held_batches_goes_on() {
    let stream = stream();
    let (refused, held_by_others) = (stream.begin_own_hold(), stream.hold_batch());
    drop(refused);
    assert!(stream.is_held());
    drop(held_by_others);
    assert!(!stream.is_held());
}
