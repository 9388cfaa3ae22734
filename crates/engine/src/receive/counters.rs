//! What has been received, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{AuthFailures, ConnectionErrors};
use crate::outcome::Outcome;
use otlp::Signal;

/// What a request came to in which OTLP was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// All of it is taken, which of an empty one is nothing.
    Accepted,
    /// It is taken, and its sender was told something by partial success: what is not taken of it, or a warning.
    Partial,
    /// None of it is taken; the sender is to send it again, or has gone without an answer.
    Refused,
    /// None of it is taken, nor will be.
    Rejected,
}

impl Answered {
    /// Every way.
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

/// What is wrong with the head of a request, so that no OTLP is looked for behind it. Such requests are counted by
/// themselves: they have no records that could be counted, and often not even a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirection {
    /// No signal is received on its path.
    Path,
    /// OTLP is not sent by its method.
    Method,
    /// Its `Content-Type` or `Content-Encoding` is not taken.
    Format,
    /// It has no `Host`, several, or one that is none.
    Host,
}

impl Misdirection {
    /// Every kind.
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

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/HTTP.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

impl Transport {
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
pub struct Counters {
    transports: [TransportCounters; 2],
    /// Records that became dead letters without an exporter.
    dead_lettered: [AtomicU64; 3],
    /// What was wrong with connections.
    pub connection_errors: ConnectionErrors,
    /// Requests that were refused for what their senders have shown.
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
}

impl Counters {
    /// Those of one transport.
    pub fn of(&self, transport: Transport) -> &TransportCounters {
        &self.transports[transport as usize]
    }

    /// Records by outcome, whatever the transport.
    pub fn records(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.transports.iter().map(|counters| counters.records(signal, outcome)).sum()
    }

    /// Requests that were answered so, whatever the transport.
    pub fn requests(&self, signal: Signal, answered: Answered) -> u64 {
        self.transports.iter().map(|counters| counters.requests(signal, answered)).sum()
    }

    /// Of the dropped records those that had no exporter, whatever the transport: no route took them, or their tenants are not
    /// in the table. The others were shed by exporters, which count them, too.
    pub fn without_exporter(&self, signal: Signal) -> u64 {
        let of =
            |counters: &TransportCounters| counters.without_exporter[signal.index()].load(Ordering::Relaxed);
        self.transports.iter().map(of).sum()
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

    /// Counts a request, once, when it is known what it has come to.
    pub fn count_request(&self, signal: Signal, answered: Answered) {
        self.requests[signal.index()][answered as usize].fetch_add(1, Ordering::Relaxed);
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
    pub fn requests(&self, signal: Signal, answered: Answered) -> u64 {
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
