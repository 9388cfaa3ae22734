//! Endpoints that do not take own telemetry: since when, why, and how much was lost meanwhile.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use otlp::Signal;

/// How long after its last failure a trouble is over, if nothing has come since that could be sent.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// The trouble with one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryTrouble {
    /// When the first request failed after the last one that succeeded.
    pub since: SystemTime,
    /// The result of the newest request, as the `code` of `sluice_export_attempts_total`.
    pub code: String,
    /// Records of the signal that were dropped since then.
    pub dropped: u64,
}

/// A trouble as it is kept.
#[derive(Debug)]
struct KeptTrouble {
    since: SystemTime,
    failed_at: Instant,
    code: String,
    dropped_before: u64,
}

/// The troubles with all signals, by their indexes.
#[derive(Debug, Default)]
pub(super) struct SignalTroubles(Mutex<[Option<KeptTrouble>; 3]>);

impl SignalTroubles {
    /// Notes that the endpoint has not taken a request of this signal, of which so many records were `dropped` before that.
    pub(super) fn begin(&self, signal: Signal, code: &str, dropped: impl FnOnce() -> u64) {
        let mut troubles = self.0.lock();
        if let Some(kept) = &mut troubles[signal.index()] {
            kept.failed_at = Instant::now();
            code.clone_into(&mut kept.code);
            return;
        }
        let (since, failed_at) = (SystemTime::now(), Instant::now());
        troubles[signal.index()] =
            Some(KeptTrouble { since, failed_at, code: code.to_owned(), dropped_before: dropped() });
    }

    /// Ends the trouble with a signal.
    pub(super) fn end(&self, signal: Signal) {
        self.0.lock()[signal.index()] = None;
    }

    /// Ends the trouble with a signal if nothing has failed for a while.
    pub(super) fn forget(&self, signal: Signal) {
        self.0.lock()[signal.index()].take_if(|kept| kept.failed_at.elapsed() >= FORGOTTEN);
    }

    /// The trouble with a signal, of which so many records were `dropped` by now.
    pub(super) fn current(&self, signal: Signal, dropped: impl FnOnce() -> u64) -> Option<TelemetryTrouble> {
        let troubles = self.0.lock();
        let KeptTrouble { since, code, dropped_before, .. } = troubles[signal.index()].as_ref()?;
        let dropped = dropped();
        debug_assert!(dropped >= *dropped_before, "records that were dropped stay counted");
        Some(TelemetryTrouble { since: *since, code: code.clone(), dropped: dropped - dropped_before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{OwnTelemetry, TelemetryOutcome};

    #[test]
    fn a_trouble_is_as_old_as_the_first_failure_has_the_newest_code_and_counts_what_was_lost_since() {
        let telemetry = OwnTelemetry::default();
        telemetry.count(Signal::Metrics, TelemetryOutcome::Dropped, 5);
        assert_eq!(telemetry.trouble(Signal::Metrics), None);
        telemetry.begin_trouble(Signal::Metrics, "503");
        telemetry.count(Signal::Metrics, TelemetryOutcome::Dropped, 7);
        let first = telemetry.trouble(Signal::Metrics).unwrap();
        assert_eq!((&*first.code, first.dropped), ("503", 7));
        telemetry.begin_trouble(Signal::Metrics, "401");
        telemetry.count(Signal::Metrics, TelemetryOutcome::Dropped, 1);
        let second = telemetry.trouble(Signal::Metrics).unwrap();
        assert_eq!((&*second.code, second.dropped, second.since), ("401", 8, first.since));
        assert_eq!(telemetry.trouble(Signal::Traces), None, "each signal is sent by itself");
        telemetry.end_trouble(Signal::Metrics);
        assert_eq!(telemetry.trouble(Signal::Metrics), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_forgotten_a_while_after_the_last_failure_if_nothing_more_is_to_be_sent() {
        let telemetry = OwnTelemetry::default();
        telemetry.begin_trouble(Signal::Traces, "400");
        tokio::time::advance(FORGOTTEN / 2).await;
        telemetry.begin_trouble(Signal::Traces, "400");
        tokio::time::advance(FORGOTTEN * 3 / 4).await;
        telemetry.forget_trouble(Signal::Traces);
        assert!(telemetry.trouble(Signal::Traces).is_some(), "it has failed again meanwhile");
        tokio::time::advance(FORGOTTEN / 4).await;
        assert!(telemetry.trouble(Signal::Traces).is_some(), "something may wait to be sent again");
        telemetry.forget_trouble(Signal::Traces);
        assert_eq!(telemetry.trouble(Signal::Traces), None);
    }
}
