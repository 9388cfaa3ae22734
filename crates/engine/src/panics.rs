//! What a panic ends: the process, unless it happens while one request is handled.
//!
//! tokio ends the task that panics and nothing else. Whoever relies on that task would wait for ever: a stream whose
//! sending task is gone keeps its queue, a journal whose thread is gone keeps its senders, a reload or a sweep that is gone never comes
//! again, and readiness says that all is well. Nor does anybody know what is true of what the task has left half done. So the program
//! ends with exit code 70 (`EX_SOFTWARE` of sysexits.h): a supervisor starts it anew, and with a journal it goes on where it was.
//!
//! A connection, on the other hand, serves one peer, and nobody waits for it but that peer: it ends alone, and is counted, or else one
//! request that finds a bug would end the service for everybody. Of a connection over HTTP/2 the one request ends, by a reset. What is
//! begun for a request to go on without it - a reload, a change of holds, tenants or dead letters, the writing of dead letters - is
//! a task of its own, and ends the process.

use std::cell::Cell;
use std::future::pending;
use std::panic::{PanicHookInfo, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tokio::task::spawn_blocking;
use tracing::error;

/// The exit code of a process that a panic has ended: internal software error.
pub const EXIT_CODE: i32 = 70;

/// Panics that have ended a connection alone.
static CONTAINED_PANICS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether what this thread does now is the handling of one connection.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic anywhere but in [`Contained`] work ends the process, and those in such work are counted.
pub fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        if CONTAINED.get() {
            CONTAINED_PANICS.fetch_add(1, Ordering::Relaxed);
        }
        say(panic);
        if !CONTAINED.get() {
            std::process::exit(EXIT_CODE);
        }
    }));
}

/// How many panics have ended a connection alone since [`end_the_process`].
pub fn contained_panics() -> u64 {
    CONTAINED_PANICS.load(Ordering::Relaxed)
}

fn say(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = std::backtrace::Backtrace::capture();
    if CONTAINED.get() {
        error!(
            place,
            thread, "a connection was closed by a bug in Sluice: {message}; report this line\n{backtrace}"
        );
    } else {
        error!(
            place,
            thread,
            "ending with exit code {EXIT_CODE}, because of a bug in Sluice: {message}; start it again, which goes on with what the \
             journal has, and report this line\n{backtrace}"
        );
    }
}

/// Work for one connection: a panic in it, or in dropping it, ends that connection alone.
#[derive(Debug)]
pub struct Contained<F>(Option<Pin<Box<F>>>);

impl<F: Future> Contained<F> {
    /// For a task of the runtime.
    pub fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let work = self.0.as_mut().expect("the work is there until it is dropped");
        contained(|| work.as_mut().poll(cx))
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        contained(|| self.0 = None);
    }
}

/// Does work for one connection at once.
fn contained<T>(work: impl FnOnce() -> T) -> T {
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

/// Work for another thread, a panic in which ends what a panic of whoever asks for it would end.
pub fn contained_as_here<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let for_a_connection = CONTAINED.get();
    move || if for_a_connection { contained(work) } else { work() }
}

/// Does work on a thread for what blocks, [contained as here](contained_as_here). If it panics there, so does whoever waits for it,
/// which is not counted again. Never comes to an end where the runtime does.
pub async fn blocking_as_here<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(contained_as_here(work)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => pending().await,
    }
}

/// Spawns work for one connection that goes on beside it.
pub fn spawn_contained<F>(work: F)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(Contained::new(work));
}

/// Spawns what a connection has hyper do beside itself, such as its HTTP/2 requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainedExecutor;

impl<F> Executor<F> for ContainedExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, work: F) {
        spawn_contained(work);
    }
}

#[cfg(test)]
mod tests;
