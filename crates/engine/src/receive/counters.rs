//! The counts of what has been received, for the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::auth::AuthFailures;
use super::connection_errors::ConnectionErrors;
use crate::outcome::Outcome;
use otlp::Signal;

/// The outcome of a request whose body was taken for OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// All of it is taken; an empty request is accepted as well.
    Accepted,
    /// It is taken, and its sender is told by partial success what is not taken of it, or a warning.
    Partial,
    /// Nothing of it is taken; the sender is to send it again, or has gone without an answer.
    Refused,
    /// Nothing of it is taken, nor will be.
    Rejected,
}

impl RequestOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Partial, Self::Refused, Self::Rejected];

    /// The `outcome` label of `sluice_received_requests_total`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
        }
    }
}

/// Why the body of a request is not taken for OTLP: a fault of its head. These requests are counted by themselves, since they have
/// no records that could be counted, and often not even a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirection {
    /// No signal is received on its path.
    Path,
    /// OTLP is not sent by its method.
    Method,
    /// Its `Content-Type` or `Content-Encoding` is not taken.
    Format,
    /// Its `Host` is missing, not valid, or not the only one.
    Host,
}

impl Misdirection {
    /// Every fault.
    pub const ALL: [Self; 4] = [Self::Path, Self::Method, Self::Format, Self::Host];

    /// The HTTP status that it is answered with, the `code` label of `sluice_misdirected_requests_total`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Path => "404",
            Self::Method => "405",
            Self::Format => "415",
            Self::Host => "400",
        }
    }
}

/// The transport by which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestTransport {
    /// OTLP/HTTP.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

impl RequestTransport {
    /// Every transport.
    pub const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    /// The `transport` label of what is received.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// The counters of all receivers.
#[derive(Debug, Default)]
pub struct ReceiveCounters {
    transports: [TransportCounters; 2],
    /// Records that became dead letters without an exporter.
    dead_lettered: [AtomicU64; 3],
    /// The errors of connections.
    pub connection_errors: ConnectionErrors,
    /// The failed authentications.
    pub auth_failures: AuthFailures,
}

/// The counters of what came by one transport.
#[derive(Debug, Default)]
pub struct TransportCounters {
    records: [[AtomicU64; 4]; 3],
    requests: [[AtomicU64; 4]; 3],
    without_exporter: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
    ignored: [AtomicU64; 3],
    misdirected: [AtomicU64; Misdirection::ALL.len()],
    /// Requests of which nothing was taken, by the names of their receivers.
    not_taken: Mutex<BTreeMap<Arc<str>, u64>>,
    /// When a request was last refused because the journal has no room for it.
    without_journal_room: Mutex<Option<Instant>>,
}

impl ReceiveCounters {
    /// The counters of one transport.
    pub fn of(&self, transport: RequestTransport) -> &TransportCounters {
        &self.transports[transport as usize]
    }

    /// Records by outcome, whatever the transport.
    pub fn records(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.transports.iter().map(|counters| counters.records(signal, outcome)).sum()
    }

    /// Requests that were answered so, whatever the transport.
    pub fn requests(&self, signal: Signal, answered: RequestOutcome) -> u64 {
        self.transports.iter().map(|counters| counters.requests(signal, answered)).sum()
    }

    /// The dropped records that had no exporter, of all transports: no route took them, or their tenants are not in the table. The
    /// other dropped records were shed by exporters, which count them, too.
    pub fn without_exporter(&self, signal: Signal) -> u64 {
        let of =
            |counters: &TransportCounters| counters.without_exporter[signal.index()].load(Ordering::Relaxed);
        self.transports.iter().map(of).sum()
    }

    /// Requests of which nothing was taken, by the names of the receivers that they came by: refused and rejected ones, and those whose
    /// senders were not authenticated. Receivers that have taken something of every request are left out.
    pub fn not_taken_requests(&self) -> BTreeMap<Arc<str>, u64> {
        let mut all = BTreeMap::new();
        let mut add = |receiver: &Arc<str>, count| *all.entry(receiver.clone()).or_default() += count;
        for counters in &self.transports {
            counters.not_taken.lock().iter().for_each(|(receiver, count)| add(receiver, *count));
        }
        self.auth_failures.all().iter().for_each(|(receiver, _, count)| add(receiver, *count));
        all
    }

    /// When a request was last refused because the journal has no room for it, or none for one of its streams.
    pub fn last_without_journal_room(&self) -> Option<Instant> {
        self.transports.iter().filter_map(|counters| *counters.without_journal_room.lock()).max()
    }

    /// Counts records of a dead letter that never had an exporter, once it is stored.
    pub fn count_dead_lettered(&self, signal: Signal, records: u64) {
        self.dead_lettered[signal.index()].fetch_add(records, Ordering::Relaxed);
    }

    /// Records that are in dead letters and never had an exporter, however they were counted as received.
    pub fn dead_lettered(&self, signal: Signal) -> u64 {
        self.dead_lettered[signal.index()].load(Ordering::Relaxed)
    }

    /// Bytes of bodies, after decompression, whatever the transport.
    pub fn bytes(&self, signal: Signal) -> u64 {
        self.transports.iter().map(|counters| counters.bytes(signal)).sum()
    }
}

impl TransportCounters {
    /// Counts records of one request.
    pub fn count(&self, signal: Signal, outcome: Outcome, records: u64) {
        if records > 0 {
            self.records[signal.index()][outcome as usize].fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Counts a request that came by this receiver, once, when it is known what it has come to.
    pub fn count_request(&self, signal: Signal, answered: RequestOutcome, receiver: &Arc<str>) {
        self.requests[signal.index()][answered as usize].fetch_add(1, Ordering::Relaxed);
        if matches!(answered, RequestOutcome::Refused | RequestOutcome::Rejected) {
            *self.not_taken.lock().entry(receiver.clone()).or_default() += 1;
        }
    }

    /// Notes that a request is refused because the journal has no room for it.
    pub(super) fn note_without_journal_room(&self) {
        *self.without_journal_room.lock() = Some(Instant::now());
    }

    /// Says of records that were counted as dropped that they had no exporter.
    pub fn count_without_exporter(&self, signal: Signal, records: u64) {
        if records > 0 {
            self.without_exporter[signal.index()].fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Counts a body, as it was after decompression.
    pub fn count_bytes(&self, signal: Signal, bytes: u64) {
        self.bytes[signal.index()].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts parts of a request that have no records, but something that OTLP doesn't know.
    pub fn count_ignored(&self, signal: Signal, parts: u64) {
        if parts > 0 {
            self.ignored[signal.index()].fetch_add(parts, Ordering::Relaxed);
        }
    }

    /// Counts a request in which no OTLP was looked for.
    pub fn count_misdirected(&self, how: Misdirection) {
        self.misdirected[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Records by outcome.
    pub fn records(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.records[signal.index()][outcome as usize].load(Ordering::Relaxed)
    }

    /// Requests by what they came to.
    pub fn requests(&self, signal: Signal, answered: RequestOutcome) -> u64 {
        self.requests[signal.index()][answered as usize].load(Ordering::Relaxed)
    }

    /// Bytes of bodies, after decompression.
    pub fn bytes(&self, signal: Signal) -> u64 {
        self.bytes[signal.index()].load(Ordering::Relaxed)
    }

    /// Parts of requests that have no records, but something that OTLP doesn't know.
    pub fn ignored(&self, signal: Signal) -> u64 {
        self.ignored[signal.index()].load(Ordering::Relaxed)
    }

    /// Requests in which no OTLP was looked for.
    pub fn misdirected(&self, how: Misdirection) -> u64 {
        self.misdirected[how as usize].load(Ordering::Relaxed)
    }
}
