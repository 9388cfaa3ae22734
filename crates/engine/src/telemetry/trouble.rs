//! That the endpoint does not take own telemetry: since when, for what, and how much was lost meanwhile.

use std::time::SystemTime;

use super::{OwnTelemetry, TelemetryOutcome};
use otlp::Signal;

/// The trouble with one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryTrouble {
    /// When the first request was not taken after the last one that was.
    pub since: SystemTime,
    /// What has come of the newest one, as the `code` of `sluice_export_attempts_total`.
    pub code: String,
    /// Records of the signal that were dropped since then.
    pub dropped: u64,
}

/// A trouble as it is kept.
#[derive(Debug)]
pub(super) struct KeptTrouble {
    since: SystemTime,
    code: String,
    dropped_before: u64,
}

impl OwnTelemetry {
    /// Notes that the endpoint has not taken a request of this signal, before anything of it is counted as dropped.
    pub fn begin_trouble(&self, signal: Signal, code: &str) {
        let mut troubles = self.troubles.lock();
        if let Some(kept) = &mut troubles[signal.index()] {
            code.clone_into(&mut kept.code);
            return;
        }
        let dropped_before = self.counted(signal, TelemetryOutcome::Dropped);
        troubles[signal.index()] =
            Some(KeptTrouble { since: SystemTime::now(), code: code.to_owned(), dropped_before });
    }

    /// Notes that the endpoint has taken something of this signal, or that there is another one.
    pub fn end_trouble(&self, signal: Signal) {
        self.troubles.lock()[signal.index()] = None;
    }

    /// The trouble with a signal, if there is any.
    pub fn trouble(&self, signal: Signal) -> Option<TelemetryTrouble> {
        let troubles = self.troubles.lock();
        let KeptTrouble { since, code, dropped_before } = troubles[signal.index()].as_ref()?;
        let dropped = self.counted(signal, TelemetryOutcome::Dropped) - dropped_before;
        Some(TelemetryTrouble { since: *since, code: code.clone(), dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
