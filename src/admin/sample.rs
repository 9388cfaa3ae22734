//! What is counted at one moment, of which the overview and the history make rates.

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

/// What was counted by one moment, since the process began, and how full things are then.
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
    /// Reserved of `limits.memory`.
    pub(super) memory: u64,
    /// Of the journal's files; `None` without a journal.
    pub(super) journal: Option<u64>,
    pub(super) exporters: Vec<(Arc<str>, DeliveryTotals)>,
    pub(super) flow: BTreeMap<FlowEdge, FlowVolume>,
}

/// What has come in of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceivedTotals {
    /// In which OTLP was looked for, whatever they came to.
    pub(super) requests: u64,
    /// That were accepted.
    pub(super) records: u64,
    /// Of bodies, after decompression.
    pub(super) bytes: u64,
}

/// Records that were not delivered; none is in two of these counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NotDelivered {
    /// Refused for good: by receivers, whose senders were told, or by upstreams where no dead-letter directory keeps them.
    pub(super) rejected: u64,
    /// Of exporters.
    pub(super) dead_lettered: u64,
    /// By exporters: withdrawn, or for want of room among the dead letters, or as `statuses` and `when_full` say.
    pub(super) dropped: u64,
    /// Their senders are to send them again.
    pub(super) refused: u64,
    /// Dropped or dead-lettered since no route takes them, or their tenants are not in the table.
    pub(super) unrouted: u64,
}

/// What an exporter has done since the process began, or what became of the records of a stream or tenant; and what is pending now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryTotals {
    pub(super) exported_records: u64,
    pub(super) not_delivered_records: u64,
    pub(super) failed_attempts: u64,
    pub(super) pending_bytes: u64,
}

impl CounterSample {
    /// What is counted now.
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
        }
    }

    /// What was counted of an exporter.
    pub(super) fn exporter(&self, name: &str) -> Option<DeliveryTotals> {
        self.exporters.iter().find(|(known, _)| **known == *name).map(|(_, totals)| *totals)
    }
}

impl NotDelivered {
    /// Those that have ended: what was refused comes again.
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

    /// What these counts have gone on from since they were so many as `before`: zero, where they are less now and so have begun anew.
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

    /// Of what is gone: if it comes again its records are counted on, and its attempts anew.
    pub(super) const fn of_gone(self) -> Self {
        Self { failed_attempts: 0, pending_bytes: 0, ..self }
    }

    /// Of a live stream, and of records those of its name before it. Nothing that sends waits for that.
    pub(super) fn of_stream(stream: &Stream) -> Self {
        Self {
            exported_records: stream.delivered_records(),
            not_delivered_records: stream.not_delivered_records(),
            failed_attempts: stream.all_failed_attempts(),
            pending_bytes: stream.pending_bytes(),
        }
    }

    /// Of streams that are gone.
    pub(super) const fn of_past(past: &History) -> Self {
        Self {
            exported_records: past.delivered_records,
            not_delivered_records: past.not_delivered_records(),
            failed_attempts: 0,
            pending_bytes: 0,
        }
    }

    /// Of a tenant, whatever exporters its records went to.
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

/// How much more a second, to three places. What counts less than before, since an exporter is gone that it was counted of, is none.
pub(super) fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(now.saturating_sub(before) as f64 / seconds) } else { 0.0 }
}
