//! Work that would keep other tasks waiting for milliseconds if a worker of the runtime did it.
//!
//! All work on the bytes of a whole body, or of a step of it, is done through [`aside`]. The caller knows the most work that it can
//! be, and decides before it begins whether that is too much for a worker.

use std::sync::LazyLock;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// The most bytes that a worker decompresses, reads, splits or copies at a time: two or three milliseconds' work.
pub(super) const MOST_OF_A_WORKER: usize = 1024 * 1024;

/// So many pieces of such work go on at a time: more than there are processors would only slow one another down, and take
/// the workers' time from them.
static AT_A_TIME: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Does `work`. If it is `large`, it waits for its turn, and another thread takes over what else this worker has to do.
pub(super) async fn aside<T>(large: bool, work: impl FnOnce() -> T) -> T {
    // With one thread no other thread can take over.
    let several = || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !large || !several() {
        #[cfg(test)]
        counted::add(|done| done.by_worker += 1);
        return work();
    }
    let _turn = AT_A_TIME.acquire().await;
    #[cfg(test)]
    counted::add(|done| done.aside += 1);
    block_in_place(work)
}

/// How often work was done, and by whom, where a test wants to know.
#[cfg(test)]
pub(super) mod counted {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Pieces of work that were done.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(in crate::receive) struct WorkDone {
        pub(in crate::receive) by_worker: usize,
        pub(in crate::receive) aside: usize,
    }

    thread_local! {
        static DONE: Cell<WorkDone> = Cell::default();
    }

    pub(super) fn add(more: impl FnOnce(&mut WorkDone)) {
        let mut done = DONE.get();
        more(&mut done);
        DONE.set(done);
    }

    /// A future that gives, beside what it comes to, what was done in it.
    pub(in crate::receive) struct Counted<F> {
        work: Pin<Box<F>>,
        done: WorkDone,
    }

    impl<F: Future> Counted<F> {
        pub(in crate::receive) fn new(work: F) -> Self {
            Self { work: Box::pin(work), done: WorkDone::default() }
        }
    }

    impl<F: Future> Future for Counted<F> {
        type Output = (F::Output, WorkDone);

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            DONE.take();
            let polled = self.work.as_mut().poll(cx);
            let of_this_poll = DONE.take();
            self.done.by_worker += of_this_poll.by_worker;
            self.done.aside += of_this_poll.aside;
            polled.map(|output| (output, self.done))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn other_tasks_go_on_while_large_work_is_done_aside() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (told, hears) = mpsc::channel();
        let large = runtime.spawn(aside_until(hears));
        runtime.spawn(async move { told.send(()) });
        assert_eq!(runtime.block_on(large).unwrap(), Ok(()));
    }

    /// Large work that ends only once another task has told it to.
    async fn aside_until(hears: mpsc::Receiver<()>) -> Result<(), mpsc::RecvTimeoutError> {
        aside(true, move || hears.recv_timeout(Duration::from_secs(30))).await
    }

    #[tokio::test]
    async fn with_one_thread_large_work_is_done_all_the_same() {
        assert_eq!(aside(true, || 7).await, 7);
    }
}
