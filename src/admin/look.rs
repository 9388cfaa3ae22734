//! Reads of all streams or tenants: with a million of them one takes some tens of milliseconds, which is too long for a worker of
//! the runtime.

use std::panic::resume_unwind;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::panics::contained_as_here;

/// Runs `look` on a thread of its own. The runtime's blocking threads may all wait for a disk that does not answer, which is when
/// the pages of the API are needed most.
pub(super) async fn on_a_thread<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, looked) = oneshot::channel();
    let (runtime, look) = (Handle::current(), contained_as_here(look));
    let looking = thread::Builder::new().name("look".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        // The client may have disconnected.
        let _ = sender.send(look());
    });
    looking.expect("the system has one more thread");
    // The panic was logged and counted where it happened.
    looked.await.unwrap_or_else(|_| resume_unwind(Box::new("the thread that looks has panicked")))
}
