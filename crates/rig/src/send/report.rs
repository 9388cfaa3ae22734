//! The report of a run: its counts, its failures and its latencies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::SendFailure;
use super::settings::SendSettings;
use sluice_engine::rounded::rounded;

/// Longer latencies count as this, an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// The result of one connection, or the sum of several.
#[derive(Clone, Debug)]
pub(super) struct RunTally {
    requests: u64,
    entries: u64,
    records: u64,
    bytes: u64,
    wire_bytes: u64,
    rejected: u64,
    failures: BTreeMap<SendFailure, u64>,
    retries: BTreeMap<SendFailure, u64>,
    /// In microseconds, of which three digits are kept; grows with the longest, since there may be many connections.
    latency: Histogram<u64>,
}

impl Default for RunTally {
    fn default() -> Self {
        let latency = Histogram::new(3).expect("three digits are allowed");
        Self {
            requests: 0,
            entries: 0,
            records: 0,
            bytes: 0,
            wire_bytes: 0,
            rejected: 0,
            failures: BTreeMap::new(),
            retries: BTreeMap::new(),
            latency,
        }
    }
}

impl RunTally {
    /// A request was taken.
    pub(super) fn taken(
        &mut self,
        latency: Duration,
        settings: &SendSettings,
        bytes: u64,
        wire_bytes: u64,
        rejected: u64,
    ) {
        self.requests += 1;
        self.entries += settings.entries as u64;
        self.records += (settings.entries * settings.records) as u64;
        self.bytes += bytes;
        self.wire_bytes += wire_bytes;
        self.rejected += rejected;
        let micros = (latency.as_micros() as u64).min(LONGEST_MICROS);
        self.latency.record(micros).expect("the histogram grows");
    }

    /// A request was given up.
    pub(super) fn failed(&mut self, failure: SendFailure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// A request failed and is going to be repeated.
    pub(super) fn retried(&mut self, failure: SendFailure) {
        *self.retries.entry(failure).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.entries += other.entries;
        self.records += other.records;
        self.bytes += other.bytes;
        self.wire_bytes += other.wire_bytes;
        self.rejected += other.rejected;
        for (mine, others) in [(&mut self.failures, &other.failures), (&mut self.retries, &other.retries)] {
            for (&failure, &count) in others {
                *mine.entry(failure).or_default() += count;
            }
        }
        self.latency.add(&other.latency).expect("the histogram grows");
    }

    /// The report of everything so far.
    pub(super) fn report(&self, time: Duration, unsent: u64) -> Report {
        let seconds = time.as_secs_f64().max(1e-9);
        let by_name = |counts: &BTreeMap<SendFailure, u64>| {
            counts.iter().map(|(failure, &count)| (failure.to_string(), count)).collect::<BTreeMap<_, _>>()
        };
        let latency = |micros: f64| rounded(micros / 1e3);
        let quantile = |quantile| latency(self.latency.value_at_quantile(quantile) as f64);
        Report {
            seconds: rounded(time.as_secs_f64()),
            requests: self.requests,
            failed: self.failures.values().sum(),
            failures: by_name(&self.failures),
            retries: by_name(&self.retries),
            unsent,
            entries: self.entries,
            records: self.records,
            rejected: self.rejected,
            bytes: self.bytes,
            wire_bytes: self.wire_bytes,
            requests_per_second: rounded(self.requests as f64 / seconds),
            records_per_second: rounded(self.records as f64 / seconds),
            megabytes_per_second: rounded(self.bytes as f64 / seconds / 1e6),
            latency_ms: (!self.latency.is_empty()).then(|| Latency {
                mean: latency(self.latency.mean()),
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: latency(self.latency.max() as f64),
            }),
            sequences: Vec::new(),
        }
    }
}

/// The result of a run. Requests, records and bytes count what was answered with 2xx, or OK in gRPC.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long the run took.
    pub seconds: f64,
    /// Requests taken.
    pub requests: u64,
    /// Requests given up.
    pub failed: u64,
    /// The failed requests by status or code, or `connect`, `tls`, `closed`, `timeout`.
    pub failures: BTreeMap<String, u64>,
    /// Attempts that were repeated, by the failure that they had ended with.
    pub retries: BTreeMap<String, u64>,
    /// Requests of a schedule for which no connection was free before the run was over.
    pub unsent: u64,
    /// Entries taken.
    pub entries: u64,
    /// Records in requests that were taken, rejected ones included.
    pub records: u64,
    /// Records that partial success said were rejected.
    pub rejected: u64,
    /// Bytes of encoded OTLP taken.
    pub bytes: u64,
    /// The same as it was sent, compressed; framing not counted.
    pub wire_bytes: u64,
    /// `requests` by `seconds`.
    pub requests_per_second: f64,
    /// `records` by `seconds`.
    pub records_per_second: f64,
    /// Millions of `bytes` by `seconds`.
    pub megabytes_per_second: f64,
    /// How long requests took, all attempts included; `None` if none has ended.
    pub latency_ms: Option<Latency>,
    /// What was taken, by stream and sender; not part of the JSON.
    #[serde(skip)]
    pub sequences: Vec<Acknowledged>,
}

/// Latencies in milliseconds. At a fixed rate they count from when a request was due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the requests were not slower.
    pub p50: f64,
    /// 90 % were not slower.
    pub p90: f64,
    /// 99 % were not slower.
    pub p99: f64,
    /// 99.9 % were not slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// The records with sequence numbers from 0 to below `records` were taken, but for `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// The routing key.
    pub stream: String,
    /// The sender id.
    pub sender: String,
    /// One above the highest sequence number that was taken or given up.
    pub records: u64,
    /// The ranges of numbers whose requests were given up, and may have been taken or not: first number to one past the last, rising. Only with
    /// [`super::SendSettings::at_most_once`].
    pub unknown: Vec<(u64, u64)>,
}

impl Report {
    /// Every request that was sent was taken, and every record in it.
    pub fn all_taken(&self) -> bool {
        self.failed == 0 && self.rejected == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "time        {:.2} s", self.seconds)?;
        writeln!(f, "requests    {} ({:.1}/s)", self.requests, self.requests_per_second)?;
        writeln!(
            f,
            "records     {} ({:.0}/s) in {} entries",
            self.records, self.records_per_second, self.entries
        )?;
        write!(f, "bytes       {} ({:.1} MB/s)", self.bytes, self.megabytes_per_second)?;
        if self.wire_bytes != self.bytes {
            write!(f, ", {} compressed", self.wire_bytes)?;
        }
        writeln!(f)?;
        if let Some(Latency { mean, p50, p90, p99, p999, max }) = self.latency_ms {
            writeln!(
                f,
                "latency     p50 {p50:.3} ms, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}, mean {mean:.3}"
            )?;
        }
        writeln!(f, "failed      {}{}", self.failed, Causes(&self.failures))?;
        if !self.retries.is_empty() {
            writeln!(f, "retried     {}{}", self.retries.values().sum::<u64>(), Causes(&self.retries))?;
        }
        if self.unsent > 0 {
            writeln!(f, "unsent      {} of the schedule: no connection was free", self.unsent)?;
        }
        if self.rejected > 0 {
            writeln!(f, "rejected    {} records, by partial success", self.rejected)?;
        }
        Ok(())
    }
}

/// ` (503: 2, connect: 1)`, or nothing.
struct Causes<'a>(&'a BTreeMap<String, u64>);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (cause, count)) in self.0.iter().enumerate() {
            write!(f, "{}{cause}: {count}", if index == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}
