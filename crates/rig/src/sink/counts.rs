//! What a sink has received, in total and per stream.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use dashmap::DashMap;
use serde::Serialize;

use super::order::{Arrival, Sequence};
use super::walk::{self, BrokenFraming, Numbering};
use crate::sequence::SenderId;
use otlp::Signal;

/// Totals of a sink. Entries, records and what is said about their order count requests that were answered as
/// received, which a cut answer is, too; a request that was refused counts in `refused` and the bytes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests whose head arrived.
    pub requests: u64,
    /// Requests whose records were taken.
    pub accepted: u64,
    /// Requests that were answered with an error, cut off, or left hanging.
    pub refused: u64,
    /// Requests that are no encoded OTLP, which are refused with 400.
    pub malformed: u64,
    /// Body bytes as they came over the wire.
    pub wire_bytes: u64,
    /// Body bytes after decompression.
    pub bytes: u64,
    /// Entries taken.
    pub entries: u64,
    /// Records taken, duplicates included.
    pub records: u64,
    /// These by signal.
    pub by_signal: RecordsBySignal,
    /// Records that partial success said were rejected, as it was told to say (a fault may lie).
    pub rejected: i64,
    /// Records that were overtaken by a later one of their stream and sender, and have not arrived since.
    pub missing: u64,
    /// Records that had arrived before.
    pub duplicates: u64,
    /// Records that arrived after a later one of their stream and sender.
    pub reordered: u64,
    /// Records without a sequence number.
    pub unnumbered: u64,
    /// Records whose resource has no text, number or boolean in the attribute that names the stream.
    pub unnamed: u64,
    /// Routing keys seen.
    pub streams: u64,
}

/// Records that a sink has taken of each signal, duplicates included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordsBySignal {
    /// Spans.
    pub traces: u64,
    /// Data points.
    pub metrics: u64,
    /// Log records.
    pub logs: u64,
}

impl fmt::Display for RecordsBySignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.traces, "span"), (self.metrics, "data point"), (self.logs, "log record")];
        let some: Vec<String> = all
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
            .collect();
        f.write_str(if some.is_empty() { "no records" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}

impl Counts {
    /// No numbered record is missing or came after its successor. Duplicates are allowed: a sender that gets no
    /// answer sends again.
    pub fn in_order(&self) -> bool {
        self.missing == 0 && self.reordered == 0
    }
}

/// What a sink has received in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamCounts {
    /// Entries taken.
    pub entries: u64,
    /// Records taken, duplicates included.
    pub records: u64,
    /// Records overtaken and not arrived since.
    pub missing: u64,
    /// Records that had arrived before.
    pub duplicates: u64,
    /// Records that arrived after a later one.
    pub reordered: u64,
    /// For each sender, one above the highest sequence number that has arrived.
    pub senders: BTreeMap<String, u64>,
}

/// The live counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct SinkCounters {
    pub(super) requests: AtomicU64,
    accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) wire_bytes: AtomicU64,
    pub(super) bytes: AtomicU64,
    entries: AtomicU64,
    /// By `Signal::index`.
    records: [AtomicU64; 3],
    pub(super) rejected: AtomicI64,
    missing: AtomicU64,
    duplicates: AtomicU64,
    reordered: AtomicU64,
    unnumbered: AtomicU64,
    unnamed: AtomicU64,
    /// By `Signal::index`, then by routing key.
    streams: [DashMap<Vec<u8>, ReceivedStream>; 3],
}

/// One stream, and its senders in the order in which they came.
#[derive(Debug, Default)]
struct ReceivedStream {
    tally: StreamTally,
    senders: Vec<(SenderId, Sequence)>,
    /// Where each is in `senders`.
    places: HashMap<SenderId, usize>,
    /// Where in `senders` the last record's was: the next one's is most likely the same.
    last: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct StreamTally {
    entries: u64,
    records: u64,
    missing: u64,
    duplicates: u64,
    reordered: u64,
    unnumbered: u64,
}

impl SinkCounters {
    /// Counts every entry of a request that is taken, each in the stream that its attribute `name` gives.
    pub(super) fn take(&self, signal: Signal, name: &str, request: &[u8]) -> Result<(), BrokenFraming> {
        // Nothing is counted of a request whose framing breaks off half-way.
        walk::entries(request, |entry| walk::routing_key(entry, name).map(drop))?;
        walk::entries(request, |entry| {
            let key = walk::routing_key(entry, name)?;
            let streams = &self.streams[signal.index()];
            let mut stream = match streams.get_mut(&*key) {
                Some(known) => known,
                None => streams.entry(key.into_owned()).or_default(),
            };
            let before = stream.tally;
            stream.tally.entries += 1;
            let walked = walk::records(signal, entry, |place| stream.take(place));
            self.add(signal, before, stream.tally);
            if stream.key().is_empty() {
                self.unnamed.fetch_add(stream.tally.records - before.records, Relaxed);
            }
            walked
        })?;
        self.accepted.fetch_add(1, Relaxed);
        Ok(())
    }

    fn add(&self, signal: Signal, before: StreamTally, after: StreamTally) {
        self.entries.fetch_add(after.entries - before.entries, Relaxed);
        self.missing.fetch_add(after.missing.wrapping_sub(before.missing), Relaxed);
        self.duplicates.fetch_add(after.duplicates - before.duplicates, Relaxed);
        self.reordered.fetch_add(after.reordered - before.reordered, Relaxed);
        self.unnumbered.fetch_add(after.unnumbered - before.unnumbered, Relaxed);
        self.records[signal.index()].fetch_add(after.records - before.records, Relaxed);
    }

    pub(super) fn snapshot(&self) -> Counts {
        let records = |signal: Signal| self.records[signal.index()].load(Relaxed);
        let by_signal = RecordsBySignal {
            traces: records(Signal::Traces),
            metrics: records(Signal::Metrics),
            logs: records(Signal::Logs),
        };
        Counts {
            requests: self.requests.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            wire_bytes: self.wire_bytes.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            entries: self.entries.load(Relaxed),
            records: by_signal.traces + by_signal.metrics + by_signal.logs,
            by_signal,
            rejected: self.rejected.load(Relaxed),
            missing: self.missing.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            reordered: self.reordered.load(Relaxed),
            unnumbered: self.unnumbered.load(Relaxed),
            unnamed: self.unnamed.load(Relaxed),
            streams: self.streams.iter().map(|streams| streams.len() as u64).sum(),
        }
    }

    pub(super) fn streams(&self, signal: Signal) -> BTreeMap<String, StreamCounts> {
        let streams = self.streams[signal.index()].iter();
        streams.map(|s| (String::from_utf8_lossy(s.key()).into_owned(), s.value().counts())).collect()
    }

    pub(super) fn stream(&self, signal: Signal, key: &str) -> StreamCounts {
        self.streams[signal.index()].get(key.as_bytes()).map(|stream| stream.counts()).unwrap_or_default()
    }
}

impl ReceivedStream {
    #[inline]
    fn take(&mut self, place: Numbering) {
        self.tally.records += 1;
        let Numbering::Numbered(sender, number) = place else {
            self.tally.unnumbered += 1;
            return;
        };
        match self.sequence(sender).arrive(number) {
            Arrival::InOrder => {}
            Arrival::Gap(records) => self.tally.missing += records,
            Arrival::Late => {
                self.tally.missing -= 1;
                self.tally.reordered += 1;
            }
            Arrival::Duplicate => self.tally.duplicates += 1,
        }
    }

    #[inline]
    fn sequence(&mut self, sender: SenderId) -> &mut Sequence {
        if self.senders.get(self.last).is_none_or(|(id, _)| *id != sender) {
            self.last = *self.places.entry(sender).or_insert_with(|| {
                self.senders.push((sender, Sequence::default()));
                self.senders.len() - 1
            });
        }
        &mut self.senders[self.last].1
    }

    fn counts(&self) -> StreamCounts {
        let StreamTally { entries, records, missing, duplicates, reordered, .. } = self.tally;
        let text = |id: &SenderId| String::from_utf8_lossy(id).into_owned();
        let senders = self.senders.iter().map(|(id, sequence)| (text(id), sequence.next())).collect();
        StreamCounts { entries, records, missing, duplicates, reordered, senders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_by_what_they_are() {
        let counted = |traces, metrics, logs| RecordsBySignal { traces, metrics, logs }.to_string();
        assert_eq!(counted(0, 0, 0), "no records");
        assert_eq!(counted(2, 0, 1), "2 spans, 1 log record");
        assert_eq!(counted(1, 3, 2), "1 span, 3 data points, 2 log records");
    }
}
