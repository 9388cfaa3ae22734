//! Looking at all streams or tenants: of a million that takes some tens of milliseconds, which no worker has.

use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs `look` on a thread of its own. The runtime's threads for what blocks may all wait for a disk that does not answer, and then
/// it has to be seen that this is so.
pub(super) async fn on_a_thread<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, looked) = oneshot::channel();
    let runtime = Handle::current();
    let looking = thread::Builder::new().name("look".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        // Whoever asked may have gone.
        let _ = sender.send(look());
    });
    looking.expect("the system has one more thread");
    looked.await.expect("looking doesn't panic")
}
