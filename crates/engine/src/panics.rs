//! What a panic ends: the process, unless it happens in the handling of one connection.
//!
//! tokio ends the task that panics and nothing else. Whoever relies on that task would wait for ever: a stream whose
//! sending task is gone keeps its queue, a journal whose thread is gone keeps its senders, and readiness says that all is
//! well. A supervisor starts an ended process anew, and with a journal it goes on where it was. So the program ends with
//! exit code 70 (`EX_SOFTWARE` of sysexits.h). A connection, on the other hand, serves one peer, and nobody waits for it
//! but that peer: it ends alone, or else one request that finds a bug would end the service for everybody.

use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tracing::error;

/// The exit code of a process that a panic has ended: internal software error.
pub const EXIT_CODE: i32 = 70;

thread_local! {
    /// Whether what this thread does now is the handling of one connection.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic anywhere but in [`Contained`] work ends the process.
pub fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        say(panic);
        if !CONTAINED.get() {
            std::process::exit(EXIT_CODE);
        }
    }));
}

fn say(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = std::backtrace::Backtrace::capture();
    if CONTAINED.get() {
        error!(place, thread, "a connection was closed by a bug in Sluice: {message}\n{backtrace}");
    } else {
        error!(
            place,
            thread, "ending with exit code {EXIT_CODE}, because of a bug in Sluice: {message}\n{backtrace}"
        );
    }
}

/// Work for one connection: a panic in it ends that connection alone.
#[derive(Debug)]
pub struct Contained<F>(F);

impl<F> Contained<F> {
    /// `work` is boxed or otherwise movable, as a future that is spawned can be.
    pub fn new(work: F) -> Self {
        Self(work)
    }
}

impl<F: Future + Unpin> Future for Contained<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        contained(|| Pin::new(&mut self.0).poll(cx))
    }
}

/// Does work for one connection at once, such as on a thread for blocking work.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTAINED.set(self.0);
        }
    }
    // Also when the work panics, since the thread goes on with other work.
    let _restore = Restore(CONTAINED.replace(true));
    work()
}

/// Spawns what a connection has hyper do beside itself, such as its HTTP/2 requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainedExecutor;

impl<F> Executor<F> for ContainedExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, work: F) {
        tokio::spawn(Contained::new(Box::pin(work)));
    }
}

#[cfg(test)]
mod tests;
