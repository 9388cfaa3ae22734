//! Work that would keep other tasks waiting for milliseconds if a worker of the runtime did it.

use std::sync::LazyLock;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// So many pieces of such work go on at a time: more than there are processors would only slow one another down, and take
/// the workers' time from them.
static AT_A_TIME: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Does `work`. If it is `large`, it waits for its turn, and another thread takes over what else this worker has to do.
pub(super) async fn aside<T>(large: bool, work: impl FnOnce() -> T) -> T {
    // With one thread there is nobody to take over.
    let several = || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !large || !several() {
        return work();
    }
    let _turn = AT_A_TIME.acquire().await;
    block_in_place(work)
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
