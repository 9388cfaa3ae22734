//! The order in which letters are written. Exporters take turns, so that one with many letters doesn't keep those of another from
//! being written, and the letters of each come in the order in which they were to be stored.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// Turns at a time, and with them threads that write.
const WRITERS: usize = 4;

/// The turns to store letters in a directory.
#[derive(Debug, Default)]
pub(super) struct DeadLetterTurns {
    state: Mutex<TurnState>,
    /// Notified when a turn ends and nobody waits for one.
    ended: Notify,
}

#[derive(Debug, Default)]
struct TurnState {
    /// Turns that have not ended. If there are fewer than may be, nobody waits.
    begun: usize,
    /// The waiting letters by their exporters; the exporter first that has its turn next. Each exporter has at least one.
    waiting: VecDeque<(Option<String>, VecDeque<oneshot::Sender<DeadLetterTurn>>)>,
    is_closed: bool,
}

/// The turn to store a letter, until this is dropped.
#[derive(Debug)]
pub struct DeadLetterTurn(Arc<DeadLetterTurns>);

impl DeadLetterTurns {
    /// Waits for the turn of a letter of this exporter, or of none; for ever once there are no turns any more.
    pub(super) async fn take(self: &Arc<Self>, exporter: Option<&str>) -> DeadLetterTurn {
        let turn = {
            let mut state = self.state.lock();
            if state.begun < WRITERS && !state.is_closed {
                state.begun += 1;
                return DeadLetterTurn(Arc::clone(self));
            }
            (!state.is_closed).then(|| state.wait(exporter))
        };
        if let Some(turn) = turn
            && let Ok(turn) = turn.await
        {
            return turn;
        }
        pending().await
    }

    /// Gives no more turns, and waits until those have ended that have begun. There is no way back.
    pub(super) async fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        loop {
            // Made before looking, so that the last end is not missed.
            let ended = self.ended.notified();
            if self.state.lock().begun == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl TurnState {
    fn wait(&mut self, exporter: Option<&str>) -> oneshot::Receiver<DeadLetterTurn> {
        let (give, turn) = oneshot::channel();
        match self.waiting.iter_mut().find(|(known, _)| known.as_deref() == exporter) {
            Some((_, waiting)) => waiting.push_back(give),
            None => self.waiting.push_back((exporter.map(ToOwned::to_owned), VecDeque::from([give]))),
        }
        turn
    }

    /// The one whose turn is next, who still waits for it.
    fn next(&mut self) -> Option<oneshot::Sender<DeadLetterTurn>> {
        while let Some((exporter, mut waiting)) = self.waiting.pop_front() {
            let next = std::iter::from_fn(|| waiting.pop_front()).find(|give| !give.is_closed());
            if !waiting.is_empty() {
                self.waiting.push_back((exporter, waiting));
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for DeadLetterTurn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state.lock();
            let next = state.next();
            if next.is_none() {
                state.begun -= 1;
            }
            next
        };
        match next {
            // A waiting letter that is gone by now gives the turn to the next one in the same way.
            Some(next) => drop(next.send(Self(Arc::clone(&self.0)))),
            None => self.0.ended.notify_waiters(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// As many turns as there may be, taken.
    fn all(turns: &Arc<DeadLetterTurns>) -> Vec<DeadLetterTurn> {
        (0..WRITERS).map(|_| turns.take(None).now_or_never().expect("there is one left")).collect()
    }

    #[tokio::test]
    async fn exporters_take_turns_however_many_letters_one_of_them_has() {
        let turns = Arc::new(DeadLetterTurns::default());
        let taken = all(&turns);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut letters = tokio::task::JoinSet::new();
        for (exporter, number) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)] {
            let (turns, order) = (turns.clone(), order.clone());
            letters.spawn(async move {
                let _turn = turns.take(Some(exporter)).await;
                order.lock().push(format!("{exporter}{number}"));
            });
            tokio::task::yield_now().await;
        }
        assert!(order.lock().is_empty(), "all turns are taken");
        drop(taken);
        letters.join_all().await;
        assert_eq!(*order.lock(), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(all(&turns).len(), WRITERS, "all have ended");
    }

    #[tokio::test]
    async fn who_waits_no_more_is_passed_over() {
        let turns = Arc::new(DeadLetterTurns::default());
        let taken = all(&turns);
        let mut gone: Vec<_> = (0..10_000).map(|_| Box::pin(turns.take(Some("a")))).collect();
        for waiting in &mut gone {
            assert!(waiting.now_or_never().is_none());
        }
        let mut waiting = Box::pin(turns.take(Some("b")));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(gone);
        drop(taken);
        assert!(waiting.now_or_never().is_some());
        assert_eq!(all(&turns).len(), WRITERS, "all have ended");
    }

    #[tokio::test]
    async fn once_closed_only_what_has_begun_ends() {
        let turns = Arc::new(DeadLetterTurns::default());
        let taken = all(&turns);
        let mut waiting = Box::pin(turns.take(Some("a")));
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut closing = Box::pin(turns.close());
        assert!(closing.as_mut().now_or_never().is_none(), "some have not ended");
        drop(taken);
        closing.await;
        assert!(waiting.now_or_never().is_none() && turns.take(None).now_or_never().is_none());
    }
}
