//! Processes that are told to end.

use rand::seq::SliceRandom as _;

use crate::run::{Run, crashes};
use crate::upstream::Weather;

/// One restart for so many kills of the other test.
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_lose_nothing_and_send_nothing_twice() {
    let mut run = Run::begin().await;
    let mut weather: Vec<Weather> = Weather::EVERY.into_iter().cycle().take(crashes() / KILLS).collect();
    weather.shuffle(&mut run.rng);
    for weather in weather {
        run.terminate_one(weather).await;
    }
    let (verdict, tally) = run.end().await;
    assert_eq!((verdict.duplicates, tally.killed()), (0, 0));
    assert_eq!(verdict.unanswered, 0, "what was taken was answered");
    assert!(tally.left_something > 0, "{tally:?}");
}
