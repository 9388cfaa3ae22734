//! How many requests a destination is given at a time, and what becomes of those that hang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// An attempt that was not answered in this time hangs, and moves to the second allowance.
const PROMPT: Duration = Duration::from_secs(1);

/// How many hanging attempts there may be for each that is expected to be answered soon.
const HANGING_SHARE: usize = 4;

/// The allowances of one destination.
///
/// The first is what `max_in_flight` names, given to waiting streams in the order in which they asked. Alone it
/// would let that many hanging streams stop all others, so an attempt that is unanswered after a second makes
/// room by moving to the second one, four times as large. If that has no room either, the attempt keeps its
/// place in the first until there is.
///
/// A stream whose last attempt hung is expected to hang again: its next one goes to the second allowance from the
/// start, so that streams that hang for good take a second from the others once and not at every retry.
#[derive(Debug)]
pub(in crate::export) struct Allowance {
    prompt: Semaphore,
    hanging: Semaphore,
}

impl Allowance {
    pub(in crate::export) fn new(max_in_flight: usize) -> Self {
        let first = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let second = first.saturating_mul(HANGING_SHARE).min(Semaphore::MAX_PERMITS);
        Self { prompt: Semaphore::new(first), hanging: Semaphore::new(second) }
    }

    /// Waits for its turn and runs one attempt, unless that is no longer `worthwhile` by then. `attempt` is called only
    /// then, so that a stream that waits holds neither a future of its size nor a compressed body. `hanging` is the
    /// stream's: whether its last attempt hung, and then whether this one did.
    pub(in crate::export) async fn run<F: Future>(
        &self,
        hanging: &AtomicBool,
        worthwhile: impl FnOnce() -> bool,
        attempt: impl FnOnce() -> F,
    ) -> Option<F::Output> {
        let suspect = hanging.load(Ordering::Relaxed);
        let allowance = if suspect { &self.hanging } else { &self.prompt };
        let first = allowance.acquire().await.expect("the semaphore is never closed");
        if !worthwhile() {
            return None;
        }
        let mut attempt = Box::pin(attempt());
        if let Ok(output) = timeout(PROMPT, attempt.as_mut()).await {
            hanging.store(false, Ordering::Relaxed);
            return Some(output);
        }
        hanging.store(true, Ordering::Relaxed);
        if suspect {
            return Some(attempt.await);
        }
        tokio::select! {
            biased;
            output = attempt.as_mut() => Some(output),
            second = self.hanging.acquire() => {
                drop(first);
                let _second = second;
                Some(attempt.await)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn always() -> bool {
        true
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_worthwhile_when_its_turn_comes_is_not_attempted() {
        let (allowance, stream) = (Allowance::new(1), AtomicBool::new(true));
        let attempted = allowance.run(&stream, || false, || async { unreachable!() }).await;
        assert_eq!((attempted, stream.load(Ordering::Relaxed)), (None::<()>, true));
        assert_eq!(allowance.run(&stream, always, || ready(7)).await, Some(7));
    }

    /// Starts `count` attempts that are never answered, and lets them begin.
    async fn hang(allowance: &Arc<Allowance>, count: usize) {
        for _ in 0..count {
            let allowance = Arc::clone(allowance);
            tokio::spawn(async move { allowance.run(&AtomicBool::new(false), always, pending::<()>).await });
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_allowance_run_at_a_time() {
        let allowance = Arc::new(Allowance::new(3));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (allowance, running, most) = (allowance.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    allowance
                        .run(&AtomicBool::new(false), always, || async {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            sleep(Duration::from_millis(100)).await;
                            running.fetch_sub(1, Ordering::SeqCst);
                        })
                        .await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_streams_are_served_in_turn() {
        let allowance = Arc::new(Allowance::new(1));
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for stream in 0..10 {
            let (allowance, order) = (allowance.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                allowance
                    .run(&AtomicBool::new(false), always, || async {
                        order.lock().push(stream);
                        sleep(Duration::from_millis(5)).await;
                    })
                    .await;
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_attempts_make_room_after_a_second() {
        let allowance = Arc::new(Allowance::new(2));
        hang(&allowance, 2).await;
        let start = Instant::now();
        allowance.run(&AtomicBool::new(false), always, || ready(())).await;
        assert!(start.elapsed() >= PROMPT && start.elapsed() < PROMPT * 2, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_attempt_keeps_its_place_while_the_second_allowance_is_full() {
        let allowance = Arc::new(Allowance::new(1));
        for _ in 0..HANGING_SHARE {
            hang(&allowance, 1).await;
            sleep(PROMPT * 2).await;
        }
        assert_eq!((allowance.prompt.available_permits(), allowance.hanging.available_permits()), (1, 0));
        hang(&allowance, 1).await;
        sleep(PROMPT * 10).await;
        assert_eq!((allowance.prompt.available_permits(), allowance.hanging.available_permits()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_frees_either_allowance() {
        let allowance = Arc::new(Allowance::new(1));
        allowance.run(&AtomicBool::new(false), always, || sleep(PROMPT * 5)).await;
        allowance.run(&AtomicBool::new(false), always, || sleep(PROMPT / 2)).await;
        assert_eq!(allowance.prompt.available_permits(), 1);
        assert_eq!(allowance.hanging.available_permits(), HANGING_SHARE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_dropped_frees_its_place() {
        let allowance = Allowance::new(1);
        assert!(
            timeout(PROMPT * 3, allowance.run(&AtomicBool::new(false), always, pending::<()>)).await.is_err()
        );
        assert_eq!(allowance.prompt.available_permits(), 1);
        assert_eq!(allowance.hanging.available_permits(), HANGING_SHARE);
    }

    /// What each of `streams` waits for its answer, when the upstream answers in `ROUND_TRIP` or never.
    async fn waits(allowance: &Arc<Allowance>, streams: &[Arc<AtomicBool>]) -> Vec<Duration> {
        let tasks: Vec<_> = streams
            .iter()
            .map(|hanging| {
                let (allowance, hanging) = (allowance.clone(), hanging.clone());
                tokio::spawn(async move {
                    let start = Instant::now();
                    allowance.run(&hanging, always, || sleep(ROUND_TRIP)).await;
                    start.elapsed()
                })
            })
            .collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.push(task.await.unwrap());
        }
        waits
    }

    const ROUND_TRIP: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn a_thousand_streams_that_hang_delay_a_thousand_others_once_and_not_at_every_retry() {
        const ATTEMPT: Duration = Duration::from_secs(30);
        let allowance = Arc::new(Allowance::new(256));
        let healthy: Vec<Arc<AtomicBool>> = (0..1000).map(|_| Arc::default()).collect();
        let unloaded = waits(&allowance, &healthy).await;
        for _ in 0..1000 {
            let allowance = allowance.clone();
            tokio::spawn(async move {
                let hanging = AtomicBool::new(false);
                loop {
                    let attempt = || timeout(ATTEMPT, pending::<()>());
                    let _ = allowance.run(&hanging, always, attempt).await;
                    sleep(Duration::from_secs(1)).await;
                }
            });
        }
        tokio::task::yield_now().await;
        // 256 places, so that the thousand have all moved after four seconds.
        let meanwhile = waits(&allowance, &healthy).await;
        assert!(meanwhile.iter().all(|wait| *wait <= 4 * PROMPT + 4 * ROUND_TRIP), "{meanwhile:?}");
        for _ in 0..200 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(waits(&allowance, &healthy).await.iter().max(), unloaded.iter().max());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_answered_promptly_again_is_trusted_again() {
        let (allowance, stream) = (Allowance::new(1), AtomicBool::new(false));
        allowance.run(&stream, always, || sleep(PROMPT * 2)).await;
        assert!(stream.load(Ordering::Relaxed));
        allowance.run(&stream, always, || ready(())).await;
        assert!(!stream.load(Ordering::Relaxed));
    }
}
