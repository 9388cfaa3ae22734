//! An occasional check whether records have the attributes that routes look for on their resources.

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::notice;
use crate::route::RouteTable;
use otlp::{Entry, Signal};

/// When an entry of each signal was last looked at. One in ten seconds is, because to look at all would cost every request.
#[derive(Debug, Default)]
pub struct RecordSample {
    next: [Mutex<Option<Instant>>; Signal::ALL.len()],
}

impl RecordSample {
    /// Whether an entry of this signal is to be looked at.
    pub(super) fn is_due(&self, signal: Signal) -> bool {
        // Another request that holds the lock looks at an entry.
        let Some(mut next) = self.next[signal.index()].try_lock() else { return false };
        let now = Instant::now();
        let is_due = next.is_none_or(|next| next <= now);
        if is_due {
            *next = Some(now + notice::WINDOW);
        }
        is_due
    }
}

/// Says which attributes the first record of an entry has with another value than its resource, where routes look at the resource
/// alone: whoever sends it may expect that the record's counts.
pub(super) fn log_differing(routes: &RouteTable, signal: Signal, tenant: Option<&str>, entry: &Entry<'_>) {
    let hints = routes.record_hints(signal, entry);
    let Some(hint) = hints.iter().find(|hint| !hint.is_missing_on_resource()) else { return };
    if let Some(suppressed) = notice::due(signal.name(), "differs on records") {
        warn!(%signal, tenant, suppressed, "{hint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_entry_of_each_signal_is_looked_at_in_each_window() {
        let sample = RecordSample::default();
        assert!(sample.is_due(Signal::Logs) && !sample.is_due(Signal::Logs));
        assert!(sample.is_due(Signal::Traces));
        tokio::time::advance(notice::WINDOW).await;
        assert!(sample.is_due(Signal::Logs) && !sample.is_due(Signal::Logs));
    }
}
