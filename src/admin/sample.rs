//! The counts of one moment, from which the overview and the history compute rates.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::export::{Exporter, Fate};
use crate::otlp::Signal;
use crate::receive::{FlowEdge, FlowVolume, Outcome, RequestOutcome};
use crate::rounded::rounded;
use crate::run::Router;
use crate::stream::{History, Stream};
use crate::tenants::TenantTotals;

/// The counts at one moment since the process began, and the levels of memory and journal at that moment.
#[derive(Clone, Debug)]
pub(super) struct CounterSample {
    pub(super) at: Instant,
    pub(super) received: [ReceivedTotals; 3],
    /// Records that upstreams have taken.
    pub(super) exported: [u64; 3],
    pub(super) not_delivered: NotDelivered,
    pub(super) pending_records: u64,
    pub(super) pending_bytes: u64,
    pub(super) failed_attempts: u64,
    /// Bytes reserved of `limits.memory`.
    pub(super) memory: u64,
    /// Bytes of the journal's files; `None` without a journal.
    pub(super) journal: Option<u64>,
    pub(super) exporters: Vec<(Arc<str>, DeliveryTotals)>,
    pub(super) flow: BTreeMap<FlowEdge, FlowVolume>,
    /// Requests of which nothing was taken, by receiver.
    pub(super) not_taken: BTreeMap<Arc<str>, u64>,
}

/// What was received of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceivedTotals {
    /// Requests in which OTLP was looked for, whatever their outcome.
    pub(super) requests: u64,
    /// Records that were accepted.
    pub(super) records: u64,
    /// Bytes of bodies, after decompression.
    pub(super) bytes: u64,
}

/// Records that were not delivered; each is in one of these counts alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NotDelivered {
    /// Refused for good: by receivers, whose senders were told, or by upstreams where no dead-letter directory keeps them.
    pub(super) rejected: u64,
    /// Dead-lettered by exporters.
    pub(super) dead_lettered: u64,
    /// Dropped by exporters: withdrawn, without room among the dead letters, or as `statuses` and `when_full` say.
    pub(super) dropped: u64,
    /// Refused; their senders are to send them again.
    pub(super) refused: u64,
    /// Dropped or dead-lettered since no route takes them, or their tenants are not in the table.
    pub(super) unrouted: u64,
}

/// The counts of an exporter, a stream or a tenant since the process began, and its pending bytes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryTotals {
    pub(super) exported_records: u64,
    pub(super) not_delivered_records: u64,
    pub(super) failed_attempts: u64,
    pub(super) pending_bytes: u64,
}

impl CounterSample {
    /// The counts of now.
    pub(super) fn of(router: &Router) -> Self {
        let counters = &router.intake().counters;
        let counted = router.counted_exporters();
        let exporters = &counted.exporters;
        let received = Signal::ALL.map(|signal| ReceivedTotals {
            requests: RequestOutcome::ALL
                .into_iter()
                .map(|answered| counters.requests(signal, answered))
                .sum(),
            records: counters.records(signal, Outcome::Accepted),
            bytes: counters.bytes(signal),
        });
        let all_signals = |of: &dyn Fn(Signal) -> u64| Signal::ALL.into_iter().map(of).sum::<u64>();
        let not_delivered = NotDelivered {
            rejected: all_signals(&|signal| {
                counters.records(signal, Outcome::Rejected) + counted.ended(signal, Fate::Rejected)
            }),
            dead_lettered: all_signals(&|signal| counted.ended(signal, Fate::DeadLettered)),
            dropped: all_signals(&|signal| counted.ended(signal, Fate::Dropped)),
            refused: all_signals(&|signal| counters.records(signal, Outcome::Refused)),
            unrouted: all_signals(&|signal| counters.without_exporter(signal)),
        };
        let totals: Vec<_> = exporters
            .iter()
            .map(|exporter| (exporter.name().clone(), DeliveryTotals::of_exporter(exporter)))
            .collect();
        Self {
            at: Instant::now(),
            received,
            exported: Signal::ALL.map(|signal| counted.ended(signal, Fate::Delivered)),
            not_delivered,
            pending_records: exporters.iter().map(|exporter| exporter.registry().pending_records()).sum(),
            pending_bytes: totals.iter().map(|(_, totals)| totals.pending_bytes).sum(),
            failed_attempts: counted.failed_attempts(),
            memory: router.shared().budget.used(),
            journal: router.intake().journal.as_ref().map(|journal| journal.state().bytes_on_disk),
            exporters: totals,
            flow: router.flow().all(),
            not_taken: counters.not_taken_requests(),
        }
    }

    /// What was counted of an exporter.
    pub(super) fn exporter(&self, name: &str) -> Option<DeliveryTotals> {
        self.exporters.iter().find(|(known, _)| **known == *name).map(|(_, totals)| *totals)
    }
}

impl NotDelivered {
    /// The records that have ended: refused ones are sent again.
    pub(super) fn ended(&self) -> u64 {
        self.rejected + self.dead_lettered + self.dropped + self.unrouted
    }
}

impl DeliveryTotals {
    fn of_exporter(exporter: &Exporter) -> Self {
        let exported = |fate| {
            Signal::ALL.into_iter().map(|signal| exporter.counters().exported(signal, fate)).sum::<u64>()
        };
        Self {
            exported_records: exported(Fate::Delivered),
            not_delivered_records: exported(Fate::Rejected)
                + exported(Fate::DeadLettered)
                + exported(Fate::Dropped),
            failed_attempts: exporter.counters().failed_attempts(),
            pending_bytes: exporter.registry().pending_bytes(),
        }
    }

    /// The counts from which these have gone on since the earlier sample `before`: zero for those that are lower now, and so have begun
    /// anew.
    pub(super) const fn counted_from(&self, before: Self) -> Self {
        const fn start(now: u64, before: u64) -> u64 {
            if now < before { 0 } else { before }
        }
        Self {
            exported_records: start(self.exported_records, before.exported_records),
            not_delivered_records: start(self.not_delivered_records, before.not_delivered_records),
            failed_attempts: start(self.failed_attempts, before.failed_attempts),
            pending_bytes: before.pending_bytes,
        }
    }

    /// The counts of a stream that was forgotten: if it comes again, its records are counted on, and its attempts anew.
    pub(super) const fn of_gone(self) -> Self {
        Self { failed_attempts: 0, pending_bytes: 0, ..self }
    }

    /// The counts of a live stream, with the records of earlier streams of its name. Takes no lock that sending waits for.
    pub(super) fn of_stream(stream: &Stream) -> Self {
        Self {
            exported_records: stream.delivered_records(),
            not_delivered_records: stream.not_delivered_records(),
            failed_attempts: stream.all_failed_attempts(),
            pending_bytes: stream.pending_bytes(),
        }
    }

    /// The counts of a stream that was forgotten.
    pub(super) const fn of_past(past: &History) -> Self {
        Self {
            exported_records: past.delivered_records,
            not_delivered_records: past.not_delivered_records(),
            failed_attempts: 0,
            pending_bytes: 0,
        }
    }

    /// The counts of a tenant, over all exporters.
    pub(super) fn of_tenant(totals: &TenantTotals) -> Self {
        let sum = |of: &dyn Fn(Signal) -> u64| Signal::ALL.into_iter().map(of).sum::<u64>();
        let ended = |fate| sum(&|signal| totals.ended(signal, fate));
        Self {
            exported_records: ended(Fate::Delivered),
            not_delivered_records: ended(Fate::Rejected) + ended(Fate::DeadLettered) + ended(Fate::Dropped),
            failed_attempts: sum(&|signal| totals.failed_attempts(signal)),
            pending_bytes: totals.pending_bytes(),
        }
    }
}

/// The increase a second, to three places; zero where the count has fallen because an exporter is gone.
pub(super) fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(now.saturating_sub(before) as f64 / seconds) } else { 0.0 }
}
