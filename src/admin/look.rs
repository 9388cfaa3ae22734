//! Looking at all streams or tenants: of a million that takes some tens of milliseconds, which no worker has.

use std::panic::resume_unwind;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::panics::contained_as_here;

/// Runs `look` on a thread of its own. The runtime's threads for what blocks may all wait for a disk that does not answer, and then
/// it has to be seen that this is so.
pub(super) async fn on_a_thread<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, looked) = oneshot::channel();
    let (runtime, look) = (Handle::current(), contained_as_here(look));
    let looking = thread::Builder::new().name("look".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        // Whoever asked may have gone.
        let _ = sender.send(look());
    });
    looking.expect("the system has one more thread");
    // A panic has been told of and counted where it was.
    looked.await.unwrap_or_else(|_| resume_unwind(Box::new("the thread that looks has panicked")))
}
