//! Processes that are killed.

use rand::Rng as _;

use crate::run::{Run, crashes};
use crate::upstream::Weather;

/// One process in so many gets SIGTERM instead.
const TERMINATED: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_any_kill_in_order_and_only_what_was_under_way_comes_again() {
    let mut run = Run::begin().await;
    while run.tally.killed() < crashes() {
        let weather = Weather::any(&mut run.rng);
        // The answers to those that hang would be waited for, which takes its time.
        if weather != Weather::Hanging && run.rng.random_ratio(1, TERMINATED) {
            run.terminate_one(weather).await;
        } else {
            run.kill_one(weather).await;
        }
    }
    let (verdict, tally) = run.end().await;
    assert!(verdict.acknowledged > 0 && verdict.duplicates > 0, "nothing was under way: {verdict:?}");
    assert!(tally.recovering > 0 && tally.accepting > 0, "{tally:?}");
}
