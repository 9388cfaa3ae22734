//! Running a connection in the task of its requests.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// What reads and writes a connection; gone when the connection has ended. It only does so while a request is waited
/// for: both in one task saves two switches for every request.
pub(super) struct Driver<D>(Option<D>);

impl<D: Future + Unpin> Driver<D> {
    pub(super) fn new(driver: D) -> Self {
        Self(Some(driver))
    }

    /// Runs `task` to its end, and the connection with it. If the connection ends first, it is dropped, so that `task`
    /// learns of it; what had been read is still an answer.
    pub(super) async fn drive<T>(&mut self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        if let Some(running) = &mut self.0 {
            tokio::select! {
                biased;
                done = &mut task => return done,
                _ = running => {}
            }
        }
        self.0 = None;
        task.await
    }

    /// Takes note of what has come since the last request; whether the connection is still there.
    pub(super) async fn is_open(&mut self) -> bool {
        let Some(running) = &mut self.0 else { return false };
        let pending =
            poll_fn(|context| Poll::Ready(Pin::new(&mut *running).poll(context).is_pending())).await;
        if !pending {
            self.0 = None;
        }
        pending
    }
}
