//! The clock of a test, moved by the test. Sluice has to run in its process, and the test in one thread.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::time::{advance, pause, resume};

use super::PATIENCE;

/// The clock, which stands still until this is dropped.
pub struct Held {
    /// Ends what keeps it from moving by itself.
    _until_dropped: Sender<()>,
}

/// Has time pass by [`advance`] alone. A clock that is only paused jumps to the next timer whenever nobody has anything to do,
/// also while bytes are on their way through the kernel; but not while something blocks a thread.
///
/// A test that waits in vain would do so for ever. So after [`PATIENCE`] by the machine's clock it runs again, and whatever
/// the test waits for is too late.
pub fn hold() -> Held {
    pause();
    let (until_dropped, dropped) = channel();
    tokio::task::spawn_blocking(move || {
        if dropped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the test has taken {PATIENCE:?} with the clock held, which runs again from here");
        }
    });
    Held { _until_dropped: until_dropped }
}

/// Has so much time pass at once, for a clock that runs.
pub async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}
