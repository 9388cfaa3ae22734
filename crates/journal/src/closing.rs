//! Two conditions that the threads of a journal wait for beside their work: that it is closed, or short of room.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Whether a journal is closed or short of room. Its lock is held for a moment only.
#[derive(Debug, Default)]
pub(super) struct Closing {
    inner: Mutex<ClosingState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ClosingState {
    is_closed: bool,
    /// Requests are refused for want of room.
    shortage: bool,
}

impl Closing {
    /// Waits so long; whether the journal is not closed.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let mut inner = self.inner.lock();
        self.changed.wait_while_for(&mut inner, |inner| !inner.is_closed, time);
        !inner.is_closed
    }

    /// Waits for a shortage, for no longer than `time` and no shorter than `least`: those who are refused report it again and
    /// again. Whether the journal is not closed.
    pub(super) fn wait_for_shortage(&self, least: Duration, time: Duration) -> bool {
        let is_open = self.wait(least);
        let mut inner = self.inner.lock();
        let wanted = |inner: &mut ClosingState| !inner.is_closed && !inner.shortage;
        self.changed.wait_while_for(&mut inner, wanted, time.saturating_sub(least));
        is_open && !inner.is_closed
    }

    /// Whether there has been a shortage since this was asked last.
    pub(super) fn take_shortage(&self) -> bool {
        std::mem::take(&mut self.inner.lock().shortage)
    }

    /// Has maintenance look for room at once.
    pub(super) fn report_shortage(&self) {
        self.inner.lock().shortage = true;
        self.changed.notify_all();
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.changed.notify_all();
    }
}
