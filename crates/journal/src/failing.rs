//! Whether the journal takes anything: it doesn't while its disk fails or hangs, or is not there any more.

use std::time::Duration;

use super::shared::Shared;
use super::types::Failing;
use sluice_notice as notice;

/// How often it is looked whether the journal's disk still answers, and whether its directory is still there.
const INTERVAL: Duration = Duration::from_millis(250);

impl Shared {
    /// Since when and why nothing can be written, if so.
    pub(super) fn failing(&self) -> Option<Failing> {
        let state = self.state.lock();
        let known = state.displaced.clone().or_else(|| state.failing.clone());
        drop(state);
        known.or_else(|| self.asked.hanging())
    }

    /// Logs that the journal has begun to fail, and why, or that it works again. Not where it happens, since there the state
    /// is locked.
    pub(super) fn tell_whether_failing(&self) {
        let directory = self.settings.directory.display();
        let failing = self.failing();
        let mut told = self.told_failing.lock();
        match failing {
            // A disk that works and fails in turn has a line of each kind now and then.
            Some(failing) if !*told && notice::due("journal", "failing").is_some() => {
                *told = true;
                tracing::error!(
                    %directory, error = &*failing.why,
                    "the journal can't be written: senders are refused, and it goes on by itself once it can"
                );
            }
            None if *told => {
                *told = false;
                tracing::info!(%directory, "the journal can be written again");
            }
            _ => {}
        }
    }

    /// A thread that asks nothing of the disk, and so can tell when it hangs: until the journal is closed.
    pub(super) fn tell_until_closed(&self) {
        while !self.wait_for_end() {
            self.tell_whether_failing();
        }
    }

    /// A thread that looks whether everything is where it was opened: until the journal is closed.
    pub(super) fn look_until_closed(&self) {
        while !self.wait_for_end() {
            self.look_at_place();
        }
    }

    /// Waits a moment; whether the journal is closed.
    fn wait_for_end(&self) -> bool {
        let mut over = self.over.lock();
        if !*over {
            self.told_over.wait_for(&mut over, INTERVAL);
        }
        *over
    }

    /// Ends the threads that look and tell.
    pub(super) fn end_watch(&self) {
        *self.over.lock() = true;
        self.told_over.notify_all();
    }
}
