//! Which streams of an exporter have a batch that is being filled, and when to look whether it is due.
//!
//! A stream that only waits for its batch to fill has no task and no timer: there may be a million of them. One task for each exporter
//! waits until the oldest of these batches is due, and wakes its stream. There is none while nothing waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep_until};

/// So many streams are woken before other tasks have their turn: a million may be due at once.
const AT_ONCE: usize = 256;

/// When the batches of streams were begun that are not due yet.
#[derive(Debug)]
pub(super) struct DueTimes<S> {
    state: Mutex<State<S>>,
    /// Tells the task that an older one has come, or that batches are due at another age.
    changed: Notify,
}

#[derive(Debug)]
struct State<S> {
    waiting: BinaryHeap<Reverse<Opened<S>>>,
    /// Whether there is a task.
    is_watched: bool,
}

/// A stream's batch.
#[derive(Debug)]
struct Opened<S> {
    at: Instant,
    stream: S,
}

impl<S> PartialEq for Opened<S> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<S> Eq for Opened<S> {}

impl<S> PartialOrd for Opened<S> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Opened<S> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<S> Default for DueTimes<S> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { waiting: BinaryHeap::new(), is_watched: false }),
            changed: Notify::new(),
        }
    }
}

impl<S> DueTimes<S> {
    /// Adds a stream whose batch was begun then. Returns whether somebody has to [`watch`](Self::watch) from now on.
    pub(super) fn add(&self, at: Instant, stream: S) -> bool {
        let mut state = self.state.lock();
        let is_first = state.waiting.peek().is_none_or(|Reverse(first)| at < first.at);
        state.waiting.push(Reverse(Opened { at, stream }));
        let was_watched = std::mem::replace(&mut state.is_watched, true);
        drop(state);
        if is_first && was_watched {
            self.changed.notify_one();
        }
        !was_watched
    }

    /// Has the task look again: batches are due at another age from now on.
    pub(super) fn reconsider(&self) {
        self.changed.notify_one();
    }

    /// Wakes streams when their batches are of this age, until none waits. What is woken may be added again.
    pub(super) async fn watch(&self, age: impl Fn() -> Duration, wake: impl Fn(S)) {
        while let Some(oldest) = self.oldest() {
            // An age that reaches beyond what the clock knows is never reached.
            let due = oldest.checked_add(age()).unwrap_or(oldest + Duration::from_secs(86_400 * 365));
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.changed.notified() => continue,
            }
            let mut woken = 0_usize;
            while let Some(stream) = self.take_due(age()) {
                wake(stream);
                woken += 1;
                if woken.is_multiple_of(AT_ONCE) {
                    yield_now().await;
                }
            }
        }
    }

    /// When the oldest batch was begun; without any, the task that asks is to end.
    fn oldest(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let oldest = state.waiting.peek().map(|Reverse(first)| first.at);
        state.is_watched = oldest.is_some();
        if oldest.is_none() {
            state.waiting = BinaryHeap::new();
        }
        oldest
    }

    fn take_due(&self, age: Duration) -> Option<S> {
        let mut state = self.state.lock();
        let Reverse(first) = state.waiting.peek()?;
        if first.at.elapsed() < age {
            return None;
        }
        state.waiting.pop().map(|Reverse(first)| first.stream)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;

    const AGE: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn streams_are_woken_at_their_age_in_the_order_in_which_they_began_and_the_task_ends_with_the_last()
    {
        let (times, woken) = (DueTimes::default(), Mutex::new(Vec::new()));
        let began = Instant::now();
        assert!(times.add(began + AGE, "second"));
        assert!(!times.add(began, "first"), "there is a task already");
        times.watch(|| AGE, |name| woken.lock().push((name, began.elapsed()))).await;
        assert_eq!(*woken.lock(), [("first", AGE), ("second", 2 * AGE)]);
        assert!(times.add(Instant::now(), "third"), "the task has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_age_is_looked_at_as_soon_as_it_is_told() {
        let times = Arc::new(DueTimes::default());
        let age = Arc::new(Mutex::new(Duration::MAX));
        times.add(Instant::now(), ());
        let watching = tokio::spawn({
            let (times, age) = (times.clone(), age.clone());
            async move { times.watch(|| *age.lock(), |()| ()).await }
        });
        advance(Duration::from_secs(3600)).await;
        assert!(!watching.is_finished());
        *age.lock() = AGE;
        times.reconsider();
        watching.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_all_others_is_not_kept_waiting_by_them() {
        let times = Arc::new(DueTimes::default());
        let began = Instant::now();
        times.add(began + AGE, "later");
        let woken = Arc::new(Mutex::new(Vec::new()));
        let watching = tokio::spawn({
            let (times, woken) = (times.clone(), woken.clone());
            async move { times.watch(|| AGE, |name| woken.lock().push((name, began.elapsed()))).await }
        });
        tokio::task::yield_now().await;
        times.add(began, "before");
        watching.await.unwrap();
        assert_eq!(*woken.lock(), [("before", AGE), ("later", 2 * AGE)]);
    }
}
